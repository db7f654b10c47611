/* The decoder of a tokenizer: from the texts of tokens to one text. */
#ifndef QLOOM_TEXT_DECODE_H
#define QLOOM_TEXT_DECODE_H

#include "normalize.h"

typedef struct ql_piece { /* of `ql_pieces.text` */
    int64_t at, bytes;
} ql_piece;

typedef struct ql_pieces { /* texts of tokens, on the heap */
    ql_text text;
    ql_piece *items;
    int64_t count, capacity;
} ql_pieces;

ql_status ql_decoder_read(ql_ctx *cx, const ql_json *v, ql_text_steps *out); /* v NULL: none */

ql_status ql_pieces_add(ql_ctx *cx, ql_pieces *p, const char *text, size_t bytes);
void ql_pieces_fini(ql_pieces *p);

/* `p` becomes one piece, or none. */
ql_status ql_decoder_run(ql_ctx *cx, const ql_text_steps *d, ql_pieces *p);
/* The clean-up of spaces before punctuation and English contractions. */
ql_status ql_decoder_clean_up(ql_ctx *cx, ql_text *text);

#endif
