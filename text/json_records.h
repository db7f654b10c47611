/* Records in JSON: one a line, or the items of one array. */
#ifndef QLOOM_TEXT_JSON_RECORDS_H
#define QLOOM_TEXT_JSON_RECORDS_H

#include "lines.h"

typedef struct ql_json_records { /* zero is its empty value */
    bool begun, array;
    bool whole;  /* a record is the text of its object, not that of a field */
    ql_text all; /* of an array: the whole file, of which `at` bytes are read */
    size_t at;
    int64_t line, item; /* where that is */
    bool torn;          /* no further record can be found after an error */
} ql_json_records;

/* Appends the text of the next record to `out`; *end instead, when there is none. */
ql_status ql_json_records_next(ql_ctx *cx, ql_json_records *r, ql_lines *lines, const char *field, ql_text *out,
                               bool *end);
void ql_json_records_fini(ql_json_records *r);

#endif
