/* A tokenizer.json: opened, encoding (<qloom/data.h>) and decoding. One immutable object. */
#ifndef QLOOM_TEXT_TOKENIZER_H
#define QLOOM_TEXT_TOKENIZER_H

#include <qloom/data.h>

#include "base/ctx.h"

/* Opens FOLDER/tokenizer.json, and FOLDER/tokenizer_config.json where there is one. What a file asks for and we do
 * not do is UNSUPPORTED and named. */
ql_status ql_tokenizer_open(ql_ctx *cx, const char *folder, ql_tokenizer **out);

typedef struct ql_tokenizer_files {
    const char *name, *text; /* of tokenizer.json; the name is for messages */
    size_t bytes;
    const char *config_name, *config_text; /* of tokenizer_config.json; NULL: there is none */
    size_t config_bytes;
} ql_tokenizer_files;

/* The same from memory. */
ql_status ql_tokenizer_parse(ql_ctx *cx, const ql_tokenizer_files *files, ql_tokenizer **out);
void ql_tokenizer_close(ql_tokenizer *tk); /* NULL is fine */

enum {
    QL_DECODE_SKIP_SPECIAL = 1, /* leave special tokens out */
    QL_DECODE_CLEAN_UP = 2      /* " ." -> "." and the like, as generation scores of some models expect */
};

/* `text` (UTF-8, `bytes` long and NUL-terminated) is put into the innermost scope. INVALID for an id that is no token.
 * [one thread per context] */
ql_status ql_tokenizer_decode(ql_ctx *cx, const ql_tokenizer *tk, const ql_ids *ids, int flags, const char **text,
                              size_t *bytes);

/* Does tokenizer_config.json ask for the clean-up above? */
bool ql_tokenizer_cleans_up(const ql_tokenizer *tk);

#endif
