/* Parameter tables at work: defaults, values from a file, and their canonical print. */
#ifndef QLOOM_PLUGIN_PARAMS_H
#define QLOOM_PLUGIN_PARAMS_H

#include <qloom/plugin.h>

#include "base/guess.h"

/* A value as a file gives it: a scalar's text, or a list of them. */
typedef struct ql_value {
    const char *text; /* NULL with count == 0: no value (null) */
    bool quoted;      /* "3" in quotes is a string */
    int64_t count;    /* of a list; text == NULL then */
    const char *const *items;
} ql_value;

/* Row of parameter `name`; NULL when the plugin has none. */
const ql_param *ql_param_find(const ql_plugin *p, const char *name);
/* Offers the names of all rows. */
void ql_param_offer(ql_guess *g, const ql_param *rows);
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
