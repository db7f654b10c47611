/* A template's text, read word by word and sign by sign from place `at` on. */
#ifndef QLOOM_TEXT_SCAN_H
#define QLOOM_TEXT_SCAN_H

#include "text.h"

typedef struct ql_scan {
    ql_ctx *cx;
    const char *text;
    size_t at;
} ql_scan;

void ql_scan_space(ql_scan *s); /* goes past white space */
/* Takes `sign` if it comes next; a word only if it ends there. */
bool ql_scan_take(ql_scan *s, const char *sign);
ql_status ql_scan_need(ql_scan *s, const char *sign);     /* the same where it has to come next */
ql_status ql_scan_expected(ql_scan *s, const char *what); /* INVALID: "expected WHAT, got …" */
const char *ql_scan_name(ql_scan *s); /* in the innermost scope; NULL when none comes next, or without memory */
/* A string with Python's escapes, from behind its first quotation mark to behind the last. */
ql_status ql_scan_string(ql_scan *s, char mark, ql_text *out);

#endif
