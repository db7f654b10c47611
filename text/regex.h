/* Regular expressions as tokenizer.json writes them (Oniguruma's Ruby syntax) and as Python does, matched by PCRE2. */
#ifndef QLOOM_TEXT_REGEX_H
#define QLOOM_TEXT_REGEX_H

#include "text.h"

typedef struct ql_regex ql_regex; /* a compiled pattern; immutable: [any thread] */

typedef struct ql_regex_work { /* what matching needs, of one thread; zero is its empty value */
    void *match, *context, *stack;
    bool groups; /* of the one pattern that this is used with, ql_regex_group can tell the places */
} ql_regex_work;

/* `where` begins the messages. UNSUPPORTED for syntax that PCRE2 would read otherwise, INVALID for what is no pattern. */
ql_status ql_regex_compile(ql_ctx *cx, const char *where, const char *pattern, size_t bytes, ql_regex **out);
/* A pattern of Python's re, which PCRE2 reads nearly alike (docs/compatibility.md). INVALID for what is no pattern. */
ql_status ql_regex_compile_python(ql_ctx *cx, const char *where, const char *pattern, size_t bytes, ql_regex **out);
void ql_regex_free(ql_regex *re); /* NULL is fine */

/* The first match at or after `from` in `text`, which is UTF-8. UNSUPPORTED where the pattern needs more steps than
 * any that splits words does. */
ql_status ql_regex_find(ql_ctx *cx, const ql_regex *re, ql_regex_work *work, const char *text, size_t bytes,
                        size_t from, bool *found, size_t *begin, size_t *end);
/* How many groups the pattern has, the whole match included. */
uint32_t ql_regex_groups(const ql_regex_work *work);
/* Where group `i`, which the pattern has, is in the last match; false: it took no part. */
bool ql_regex_group(const ql_regex_work *work, uint32_t i, size_t *begin, size_t *end);
void ql_regex_work_fini(ql_regex_work *work);

/* Appends `pattern` as PCRE2 writes it. */
ql_status ql_regex_rewrite(ql_ctx *cx, const char *where, const char *pattern, size_t bytes, ql_text *out);

#endif
