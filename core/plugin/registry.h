/* The plugins of this process: found, checked, loaded. */
#ifndef QLOOM_PLUGIN_REGISTRY_H
#define QLOOM_PLUGIN_REGISTRY_H

#include <qloom/plugin.h>

#include "base/ctx.h"
#include "kinds.h"
#include "params.h"

typedef struct ql_registry ql_registry;

typedef struct ql_found { /* one shared object in a plugin folder */
    const char *file;
    const char *name; /* of the plugin; of the file, without "lib" and ".so", where the plugin's own can't be read */
    const char *help; /* the plugin's, one line; NULL: broken */
    ql_kind kind;     /* NONE: broken */
    const ql_plugin *plugin; /* host-side copy of the descriptor; NULL: broken, or a backend that is not loaded yet */
    const char *problem;     /* why it is broken, one line; NULL when fine */
    bool own;                /* it lies in the program's own plugin folder */
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
/* Is it one of the program's own? Others' calls are guarded (device/guard.h). */
bool ql_registry_owns(const ql_registry *r, const ql_plugin *plugin);
/* Adds a descriptor of the program itself or of a library that it has loaded, checked as one from a plugin's file. */
ql_status ql_registry_add(ql_ctx *cx, ql_registry *r, const ql_plugin *plugin);
/* Loads one file as the registry would, for check-plugin: INVALID with the reason when it is broken. */
ql_status ql_plugin_load(ql_ctx *cx, const char *file, ql_plugin *out);

#endif
