/* The decoder of a tokenizer: from the texts of tokens to one text. */
#ifndef QLOOM_TEXT_DECODE_H
#define QLOOM_TEXT_DECODE_H

#include "normalize.h"

#define QL_DECODER_STEPS 8

typedef enum ql_decoder_kind {
    QL_DECODE_BYTE_LEVEL,
    QL_DECODE_REPLACE,
    QL_DECODE_BYTE_FALLBACK,
    QL_DECODE_FUSE,
    QL_DECODE_STRIP
} ql_decoder_kind;

typedef struct ql_decoder_step {
    ql_decoder_kind kind;
    char *from, *to;     /* REPLACE; STRIP takes `from` away */
    int64_t start, stop; /* STRIP: how often at either end */
} ql_decoder_step;

typedef struct ql_decoder {
    bool present; /* without one, tokens are joined by spaces */
    int count;
    ql_decoder_step steps[QL_DECODER_STEPS];
} ql_decoder;

typedef struct ql_piece { /* of `ql_pieces.text` */
    int64_t at, bytes;
} ql_piece;

typedef struct ql_pieces { /* texts of tokens, on the heap */
    ql_text text;
    ql_piece *items;
    int64_t count, capacity;
} ql_pieces;

ql_status ql_decoder_read(ql_ctx *cx, const ql_json *v, ql_decoder *out); /* v NULL: none */
void ql_decoder_fini(ql_decoder *d);

ql_status ql_pieces_add(ql_ctx *cx, ql_pieces *p, const char *text, size_t bytes);
void ql_pieces_fini(ql_pieces *p);

/* `p` becomes one piece, or none. */
ql_status ql_decoder_run(ql_ctx *cx, const ql_decoder *d, ql_pieces *p);
/* The clean-up of spaces before punctuation and English contractions. */
ql_status ql_decoder_clean_up(ql_ctx *cx, ql_text *text);

#endif
