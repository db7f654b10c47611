/* JSON texts as trees that know their file, so that every later complaint names file and key. The public getters
 * are in <qloom/model.h>; here is what the core needs besides. Trees live in the innermost scope and are immutable:
 * [any thread]. */
#ifndef QLOOM_BASE_JSON_H
#define QLOOM_BASE_JSON_H

#include <qloom/model.h>

#include "ctx.h"

#define QL_JSON_DEPTH 64 /* deep enough for every file that we read but not for a stack overflow */

/* Parses one JSON value of any type (white space around it is fine). `file` is used in messages and has to live as
 * long as the tree. Nesting beyond `depth`, a key that occurs twice, invalid UTF-8 and everything else that is no
 * JSON is INVALID, "FILE:LINE:COLUMN: what". */
ql_status ql_json_parse(ql_ctx *cx, const char *file, const char *text, size_t bytes, int depth, const ql_json **out);
/* The same for a file, with QL_JSON_DEPTH. */
ql_status ql_json_read(ql_ctx *cx, const char *file, const ql_json **out);

/* False when `v` is NULL or of another type; a real without a fraction is no integer, an integer is a real. */
bool ql_json_as_int(const ql_json *v, int64_t *out);
bool ql_json_as_real(const ql_json *v, double *out);
bool ql_json_as_bool(const ql_json *v, bool *out);
/* A string with its length: it may hold NUL, for which ql_json_string gives NULL. NULL when it is not a string. */
const char *ql_json_bytes(const ql_json *v, size_t *bytes);

/* INVALID: "FILE: 'rope_scaling.factor': expected a number, got "abc"". */
ql_status ql_json_expected(ql_ctx *cx, const ql_json *v, const char *what);
/* "FILE: 'rope_scaling.factor'", or "FILE" for the root; NULL without memory. In the innermost scope. */
const char *ql_json_where(ql_ctx *cx, const ql_json *v);

/* The value as JSON text, indented by two spaces a level; in the innermost scope. */
ql_status ql_json_print(ql_ctx *cx, const ql_json *v, const char **out);

/* The shortest text that reads back as the same real, with a point or an exponent; in the innermost scope. */
const char *ql_json_real_text(ql_ctx *cx, double value);

#endif
