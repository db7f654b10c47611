/* What a Split or a Replace looks for: a text, or a regular expression. */
#ifndef QLOOM_TEXT_PATTERN_H
#define QLOOM_TEXT_PATTERN_H

#include "base/json.h"
#include "regex.h"

typedef struct ql_pattern {
    char *literal; /* NULL: `regex` */
    size_t bytes;
    ql_regex *regex;
} ql_pattern;

typedef struct ql_match { /* zero before the first; `end` is where the next one is looked for */
    bool found;
    size_t begin, end;
    bool any; /* was there one before? */
} ql_match;

/* `v` is a component with a 'pattern': {"String": ...} or {"Regex": ...}. */
ql_status ql_pattern_read(ql_ctx *cx, const ql_json *v, ql_pattern *out);
ql_status ql_pattern_regex(ql_ctx *cx, const ql_json *v, const char *regex, ql_pattern *out);
void ql_pattern_fini(ql_pattern *p);

/* From one match in `text` to the next; an empty match is none where the one before ended. */
ql_status ql_pattern_next(ql_ctx *cx, const ql_pattern *p, ql_regex_work *work, const char *text, size_t bytes,
                          ql_match *match);

/* Appends `text` with `to` in place of every match. */
ql_status ql_pattern_replace(ql_ctx *cx, const ql_pattern *p, ql_regex_work *work, const char *text, size_t bytes,
                             const char *to, ql_text *out);

#endif
