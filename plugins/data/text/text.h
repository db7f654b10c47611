/* The data plugin `text`: its parameters, and what its files share. */
#ifndef TEXT_TEXT_H
#define TEXT_TEXT_H

#include <qloom/data.h>

typedef enum text_sampling {
    TEXT_WINDOWS,
    TEXT_GPTQ_WIKITEXT2,
    TEXT_GPTQ_C4,
    TEXT_FIRST_N,
    TEXT_PACK,
    TEXT_PROJQ_C4,
    TEXT_SRR
} text_sampling;

typedef struct text { /* the parameters */
    const char *path, *join, *field;
    int samples, seqlen, bos, documents, errors, sampling;
} text;

/* --- buffers.c: bytes that grow in the innermost scope --- */

typedef struct text_buffer { /* zero is its empty value */
    char *data;
    size_t count, capacity;
} text_buffer;

ql_status text_put(ql_ctx *cx, text_buffer *b, const void *data, size_t bytes);

/* --- lines.c: files, plain or gzip, line by line --- */

typedef struct text_file {
    const char *path;
    bool replace;   /* invalid UTF-8 becomes U+FFFD instead of an error */
    void *gz;       /* zlib's handle */
    int64_t line;   /* number of the line that text_file_line gave last */
    int64_t offset; /* of its first byte in the (unpacked) file */
    int64_t after;  /* of the byte behind it */
    char *block;    /* what was read and not yet given: [at, filled) */
    size_t at, filled;
    text_buffer whole, clean;
} text_file;

ql_status text_file_open(ql_ctx *cx, const char *path, bool replace, text_file *out);
void text_file_close(text_file *f);
/* The next line with its line end, valid until the next call; NULL at the end of the file. */
ql_status text_file_line(ql_ctx *cx, text_file *f, const char **line, size_t *bytes);
/* Bytes of `line` without its line end, \n or \r\n. */
size_t text_line_end(const char *line, size_t bytes);
bool text_line_blank(const char *line, size_t bytes); /* nothing but white space of ASCII */

/* --- json_lines.c, csv.c: one document of a record file; NULL at the end --- */

ql_status text_json_next(ql_ctx *cx, text_file *f, const char *field, text_buffer *out, bool *end);

typedef struct text_csv {
    int64_t columns, wanted; /* 0: the header was not read yet */
    text_buffer row;         /* fields of the record at hand, one behind the other */
    text_buffer ends;        /* size_t: where each ends */
} text_csv;

ql_status text_csv_next(ql_ctx *cx, text_file *f, text_csv *csv, const char *field, text_buffer *out, bool *end);

/* --- documents.c: any of the formats as a stream of documents --- */

typedef struct text_documents {
    const text *self;
    int format;
    const char *rows_join; /* plain text: rows joined by this; NULL: the file as it is */
    text_file file;
    text_csv csv;
    text_buffer document;
    int64_t count; /* documents given */
    bool done;
} text_documents;

ql_status text_documents_check(ql_ctx *cx, const text *self);
ql_status text_documents_open(ql_ctx *cx, const text *self, text_documents *out);
void text_documents_close(text_documents *d);
/* The next document, in d->document until the next call; *end instead when there is none. */
ql_status text_documents_next(ql_ctx *cx, text_documents *d, bool *end);

/* --- sampling.c: documents to token sequences --- */

typedef struct text_draw { /* one call of `read` */
    const text *self;
    const ql_data_request *req;
    ql_bos bos;
    int64_t seqlen, samples;
    text_documents docs;
    int64_t rejected;
    text_buffer ids, offsets; /* int32_t, int64_t: the sequences so far */
    int64_t count;
} text_draw;

ql_status text_draw_run(ql_ctx *cx, text_draw *d);

#endif
