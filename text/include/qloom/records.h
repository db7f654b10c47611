/* Texts as people keep them, record by record: plain text, JSON lines or an array, CSV; as they are, or packed with gzip or zstd. */
#ifndef QLOOM_RECORDS_H
#define QLOOM_RECORDS_H

#include <qloom/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ql_records ql_records; /* a file, opened; it owns its memory: [one thread] */

typedef struct ql_records_options {
    const char *path; /* its ending says what it is */
    const char
        *field; /* CSV: a column; JSON: a member, "a.b" the member b of the member a. A list of chat messages becomes
                        * for each of them a line with the role, then the content, with blank lines between. */
    const char
        *join;    /* plain text, whole: put between its lines, of which a blank one is empty; NULL: the text as it is */
    bool lines;   /* plain text: each line that is not blank is a record; else the whole text is one */
    bool replace; /* bytes that are no UTF-8 become U+FFFD; else they are INVALID */
    bool whole;   /* JSON and CSV: each record as the text of a JSON object, strictly read; plain text: as without */
    bool skip;    /* JSON and CSV: a record that is none, or has not the field as a text, is left out; else INVALID */
} ql_records_options;

typedef struct ql_records_counts {
    int64_t records, skipped;
    int64_t line_ends; /* of plain text, \r\n or \r alone, which were read as \n, as Python reads them */
} ql_records_counts;

/* Can such a file be read like this? Looks at the options, not at the file. */
QL_API ql_status ql_records_check(ql_ctx *cx, const ql_records_options *options);
/* `options` and its texts live as long as the records. */
QL_API ql_status ql_records_open(ql_ctx *cx, const ql_records_options *options, ql_records **out);
/* `text` is UTF-8 and lives until the next call; NULL: that was all. */
QL_API ql_status ql_records_next(ql_ctx *cx, ql_records *r, const char **text, size_t *bytes);
QL_API ql_records_counts ql_records_counted(const ql_records *r); /* so far */
QL_API void ql_records_close(ql_records *r);                      /* NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
