/* The plugins of this process: found, checked, loaded; and parameter tables at work. */
#ifndef QLOOM_PLUGIN_REGISTRY_H
#define QLOOM_PLUGIN_REGISTRY_H

#include <qloom/plugin.h>

#include "base/ctx.h"
#include "kinds.h"

typedef struct ql_registry ql_registry;

typedef struct ql_found { /* one shared object in a plugin folder */
    const char *file;
    const char *name; /* of the plugin; of the file, without "lib" and ".so", where the plugin's own can't be read */
    const char *help; /* the plugin's, one line; NULL: broken */
    ql_kind kind;     /* NONE: broken */
    const ql_plugin *plugin; /* host-side copy of the descriptor; NULL: broken, or a backend that is not loaded yet */
    const char *problem;     /* why it is broken, one line; NULL when fine */
} ql_found;

/* Finds the plugins of `paths` (colon-separated, may be NULL), of QLOOM_PLUGIN_PATH, then of the folder qloom/ beside the
 * library. Broken plugins are kept with their problem and logged as warnings, as are folders that others can write to;
 * backends are loaded later. NOT_FOUND for a folder of a path that is not there. Never unloads a plugin. */
ql_status ql_registry_open(ql_ctx *cx, const char *paths, ql_registry **out);
void ql_registry_close(ql_registry *r); /* NULL is fine */

int64_t ql_registry_count(const ql_registry *r);
const ql_found *ql_registry_item(const ql_registry *r, int64_t i); /* sorted by kind, then name; broken ones last */
/* The plugin of that name, loaded: a backend is then, at the latest. A broken one of that name comes before a good one (a
 * duplicate, say), so that nothing else runs in its place. NULL: none. */
const ql_found *ql_registry_find(const ql_registry *r, const char *name);
/* The same without loading it. */
const ql_found *ql_registry_peek(const ql_registry *r, const char *name);
/* `f`, loaded, or with its problem; NULL for NULL and without memory. */
const ql_found *ql_registry_load(const ql_registry *r, const ql_found *f);
/* Adds a descriptor that is in memory, checked as one from a file. */
ql_status ql_registry_add(ql_ctx *cx, ql_registry *r, const ql_plugin *plugin);
/* Loads one file as the registry would, for check-plugin: INVALID with the reason when it is broken. */
ql_status ql_plugin_load(ql_ctx *cx, const char *file, ql_plugin *out);

/* --- parameter tables -------------------------------------------------------------------------------------------- */

/* A value as a file gives it: a scalar's text, or a list of them. */
typedef struct ql_value {
    const char *text; /* NULL with count == 0: no value (null) */
    bool quoted;      /* "3" in quotes is a string */
    int64_t count;    /* of a list; text == NULL then */
    const char *const *items;
} ql_value;

/* Row of parameter `name`; NULL when the plugin has none. */
const ql_param *ql_param_find(const ql_plugin *p, const char *name);
/* Value of the whole number or enumeration `name` in `self`; `def` where the plugin has no such parameter. */
int ql_param_int(const ql_plugin *p, const void *self, const char *name, int def);
/* Value of the text or path `name` in `self`, "" where it is not given or the plugin has no such parameter. */
const char *ql_param_text(const ql_plugin *p, const void *self, const char *name);
/* Has it a parameter without a default? */
bool ql_param_any_required(const ql_plugin *p);
/* Bytes of the field that a row describes; 0 for a type that this qloom does not know. */
size_t ql_param_size(const ql_param *row);
/* Fills every field of `self` (zeroed, p->self_size) with its default. */
void ql_param_defaults(const ql_plugin *p, void *self);
/* Sets one field; strings are copied into the innermost scope; paths are taken relative to `folder` (NULL: as they are)
 * unless absolute. INVALID texts begin with the parameter's name and say what the value is, what is allowed, and the
 * parameter's help. */
ql_status ql_param_set(ql_ctx *cx, const ql_param *row, const ql_value *value, const char *folder, void *self);
/* The value of a field as text, canonical: the shortest that reads back equal. In the innermost scope. */
const char *ql_param_print(ql_ctx *cx, const ql_param *row, const void *self);
/* "true or false", "a whole number from 2 to 8", "fp16, bf16 or fp32": what a row accepts. */
void ql_param_allowed(const ql_param *row, char *out, size_t size);

#endif
