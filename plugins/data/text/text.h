/* The data plugin `text`: its parameters, and what its files share. */
#ifndef TEXT_TEXT_H
#define TEXT_TEXT_H

#include <qloom/data.h>
#include <qloom/records.h>

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
    int samples, seqlen, bos, documents, errors, bad_records, sampling;
    bool allow_long;
} text;

/* --- buffers.c: bytes that grow in the innermost scope --- */

typedef struct text_buffer { /* zero is its empty value */
    char *data;
    size_t count;
    int64_t capacity;
} text_buffer;

ql_status text_put(ql_ctx *cx, text_buffer *b, const void *data, size_t bytes);

/* --- sampling.c: documents to token sequences --- */

typedef struct text_draw { /* one call of `read` */
    const text *self;
    const ql_data_request *req;
    ql_bos bos;
    int64_t seqlen, samples;
    ql_records *docs;
    int64_t rejected, longest, doubled; /* longest: tokens of a text; doubled: texts that brought a BOS with them */
    text_buffer ids, offsets;           /* int32_t, int64_t: the sequences so far */
    int64_t count;
} text_draw;

ql_status text_draw_run(ql_ctx *cx, text_draw *d);

#endif
