/* Lines of a text file: valid UTF-8 only, without a byte order mark. */
#ifndef QLOOM_TEXT_LINES_H
#define QLOOM_TEXT_LINES_H

#include "packed.h"
#include "text.h"

typedef struct ql_lines { /* zero is its empty value */
    ql_packed file;
    bool replace;          /* what is no UTF-8 becomes U+FFFD instead of an error */
    bool universal;        /* \r\n and \r end a line, too, and become \n */
    bool marks;            /* a byte order mark may begin any line: files were put one behind the other */
    int64_t line;          /* number of the line that was given last */
    int64_t offset, after; /* of its first byte in the (unpacked) file, and of the byte behind it */
    int64_t line_ends;     /* that became \n */
    char *block;           /* what was read and not yet given: [at, filled) */
    size_t at, filled;
    ql_text raw, clean;
} ql_lines;

ql_status ql_lines_open(ql_ctx *cx, const char *path, ql_packing packing, ql_lines *out);
void ql_lines_close(ql_lines *l);
/* The next line with its line end, valid until the next call; NULL at the end of the file. */
ql_status ql_lines_next(ql_ctx *cx, ql_lines *l, const char **line, size_t *bytes);

/* Bytes of `line` without its line end, \n or \r\n. */
size_t ql_line_length(const char *line, size_t bytes);
bool ql_line_blank(const char *line, size_t bytes); /* nothing but white space of ASCII */

#endif
