/* The decoder of a tokenizer: from the texts of tokens to one text. */
#ifndef QLOOM_TEXT_DECODE_H
#define QLOOM_TEXT_DECODE_H

#include "component.h"

#define QL_PIECE_END "\xff" /* stands behind the text of every token, since UTF-8 has no such byte */

ql_status ql_decoder_read(ql_ctx *cx, const ql_json *v, ql_text_steps *out); /* v NULL: none */

/* `text`: the texts of tokens, each with its end behind it; becomes what they say. */
ql_status ql_decoder_run(ql_ctx *cx, const ql_text_steps *d, ql_text *text);
/* The clean-up of spaces before punctuation and English contractions. */
ql_status ql_decoder_clean_up(ql_ctx *cx, ql_text *text);

#endif
