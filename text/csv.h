/* CSV as in RFC 4180: a header of names, fields parted by commas, quotes around fields with commas, quotes or line
 * ends. */
#ifndef QLOOM_TEXT_CSV_H
#define QLOOM_TEXT_CSV_H

#include "lines.h"

typedef struct ql_csv {      /* zero is its empty value */
    char separator;          /* 0: a comma */
    const char **names;      /* of the columns, as JSON texts, for ql_csv_object */
    int64_t columns, wanted; /* 0: the header was not read yet */
    ql_text row;             /* fields of the record at hand, one behind the other */
    int64_t *ends;           /* where each ends */
    int64_t count, capacity;
} ql_csv;

/* The column `field` of the next record; NULL at the end. */
ql_status ql_csv_next(ql_ctx *cx, ql_csv *csv, ql_lines *lines, const char *field, const char **text, size_t *bytes);
/* Appends the next record as the text of a JSON object; *end instead, when there is none. */
ql_status ql_csv_object(ql_ctx *cx, ql_csv *csv, ql_lines *lines, ql_text *out, bool *end);
void ql_csv_fini(ql_csv *csv);

#endif
