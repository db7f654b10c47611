/* What a tokenizer adds around a text: what the post-processor says. */
#ifndef QLOOM_TEXT_POST_H
#define QLOOM_TEXT_POST_H

#include "added.h"
#include "component.h"
#include "vocab.h"

#define QL_SPECIALS_MAX 8 /* on either side of a text */

typedef struct ql_specials {
    int count;
    int32_t ids[QL_SPECIALS_MAX];
} ql_specials;

typedef struct ql_post {
    ql_specials before, after;
    int64_t bos, eos; /* -1: none */
    bool clean_up;    /* what tokenizer_config.json says of decoding */
} ql_post;

/* `v` NULL: no post-processor; `config` NULL: no tokenizer_config.json. */
ql_status ql_post_read(ql_ctx *cx, const ql_json *v, ql_post *out);
ql_status ql_post_configure(ql_ctx *cx, const ql_json *config, const ql_added_tokens *added, ql_post *out);

#endif
