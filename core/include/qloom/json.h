/* JSON: texts read as trees that know their file, so that every later complaint names file and key, and texts written member by member.
 * Trees lie in the innermost scope and are immutable: [any thread]. */
#ifndef QLOOM_JSON_H
#define QLOOM_JSON_H

#include <stdio.h>

#include <qloom/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ql_json ql_json; /* a value of a parsed text; owned by its document */

/* --- members and items ----------------------------------------------------------------------------------------- */

/* Members of a JSON object. Absent and null give the default; a value of another type is INVALID, naming file and key. */
QL_API ql_status ql_json_int(ql_ctx *cx, const ql_json *o, const char *key, int64_t def, int64_t *out);
QL_API ql_status ql_json_real(ql_ctx *cx, const ql_json *o, const char *key, double def, double *out);
QL_API ql_status ql_json_bool(ql_ctx *cx, const ql_json *o, const char *key, bool def, bool *out);
QL_API ql_status ql_json_text(ql_ctx *cx, const ql_json *o, const char *key, const char *def, const char **out);
QL_API const ql_json *ql_json_member(const ql_json *o, const char *key); /* NULL: absent or null */
QL_API int64_t ql_json_members(const ql_json *v);                        /* of an object, else 0 */
/* Member i in the order of the file, nulls included, and its key. */
QL_API const ql_json *ql_json_at(const ql_json *v, int64_t i, const char **key);
QL_API bool ql_json_is_null(const ql_json *o, const char *key); /* is the member there, and null? */
QL_API bool ql_json_is_object(const ql_json *v);
QL_API bool ql_json_is_array(const ql_json *v);
QL_API int64_t ql_json_length(const ql_json *v); /* items of an array, else 0 */
QL_API const ql_json *ql_json_item(const ql_json *v, int64_t i);
QL_API const char *ql_json_string(const ql_json *v); /* NULL when it is not a string, or one with a NUL */

/* The value itself. False when `v` is NULL or of another type; a real without a fraction is no integer, an integer is a real. */
QL_API bool ql_json_as_int(const ql_json *v, int64_t *out);
QL_API bool ql_json_as_real(const ql_json *v, double *out);
QL_API bool ql_json_as_bool(const ql_json *v, bool *out);
/* A string with its length; it may hold NUL. NULL when it is not a string. */
QL_API const char *ql_json_bytes(const ql_json *v, size_t *bytes);

/* INVALID: "FILE: 'rope_scaling.factor': expected a number, got "abc"". */
QL_API ql_status ql_json_expected(ql_ctx *cx, const ql_json *v, const char *what);
/* "FILE: 'rope_scaling.factor'", or "FILE" for the root; NULL without memory. In the innermost scope. */
QL_API const char *ql_json_where(ql_ctx *cx, const ql_json *v);

/* --- reading --------------------------------------------------------------------------------------------------- */

#define QL_JSON_DEPTH 64 /* levels: enough for every file that is read, and no danger to the stack */

typedef struct ql_json_input {
    const char *file; /* for messages; lives as long as the tree */
    const char *text;
    size_t bytes;
    int depth;    /* levels allowed; 0: QL_JSON_DEPTH */
    int64_t line; /* of the text's beginning in its file; 0: 1 */
    bool
        python; /* also what Python's json reads: NaN, Infinity and -Infinity, the last of equal keys, lone surrogates (as U+FFFD) */
    size_t *used; /* where the value ends, and anything may follow; NULL: only white space may */
} ql_json_input;

/* Parses one value of any type. Integers beyond 64 bits become reals. Anything that is no JSON is INVALID, "FILE:LINE:COLUMN: what";
 * byte order marks, Git LFS pointers and HTML pages are named. */
QL_API ql_status ql_json_parse(ql_ctx *cx, const ql_json_input *in, const ql_json **out);

/* --- writing --------------------------------------------------------------------------------------------------- */

/* How the members of an object or the items of an array are set: each on its own line, indented by two spaces a level; behind ", ";
 * or without any space. */
typedef enum ql_json_style { QL_JSON_LINES, QL_JSON_SPACED, QL_JSON_TIGHT } ql_json_style;

typedef struct ql_json_writer { /* the caller's memory; zeroed but for cx and out */
    ql_ctx *cx;
    FILE *out;
    ql_status status; /* the first failure; what follows it writes nothing */
    int depth;
    struct {
        ql_json_style style;
        char close;
        bool any;
    } levels[QL_JSON_DEPTH];
} ql_json_writer;

/* All: `key` is the member's in an object, NULL in an array and at the root. */
QL_API void ql_json_put_open(ql_json_writer *w, const char *key, char bracket, ql_json_style style); /* '{' or '[' */
QL_API void ql_json_put_close(ql_json_writer *w);
QL_API void ql_json_put_text(ql_json_writer *w, const char *key, const char *text); /* NULL: null; no UTF-8: U+FFFD */
QL_API void ql_json_put_int(ql_json_writer *w, const char *key, int64_t value);
QL_API void ql_json_put_real(ql_json_writer *w, const char *key,
                             double value); /* not finite: null; "3.0" stays a real */
QL_API void ql_json_put_bool(ql_json_writer *w, const char *key, bool value);
QL_API void ql_json_put_value(ql_json_writer *w, const char *key, const ql_json *value); /* in lines */
/* JSON text as it is, its lines indented as far as the member is. */
QL_API void ql_json_put_raw(ql_json_writer *w, const char *key, const char *text);
/* Has all been written, and every bracket closed? */
QL_API ql_status ql_json_put_end(ql_json_writer *w);

/* `text` as a JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. NULL without memory. In the innermost scope. */
QL_API const char *ql_json_quote(ql_ctx *cx, const char *text, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
