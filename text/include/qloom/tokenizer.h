/* Tokenizers: a folder with a tokenizer.json, opened; texts to token ids and back. */
#ifndef QLOOM_TOKENIZER_H
#define QLOOM_TOKENIZER_H

#include <qloom/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ql_tokenizer ql_tokenizer; /* immutable: [any thread] */

typedef enum ql_bos { QL_BOS_AUTO, QL_BOS_YES, QL_BOS_NO, QL_BOS_DATA } ql_bos; /* DATA: as the data stage says */

static const char *const ql_bos_words[] = {"auto", "yes", "no", NULL};

typedef struct ql_ids { /* growable; `ids` lives in the scope that made it */
    int64_t count, capacity;
    int32_t *ids;
} ql_ids;

/* Appends `count` ids. [one thread per context] */
QL_API ql_status ql_ids_put(ql_ctx *cx, ql_ids *out, const int32_t *ids, int64_t count);

/* Opens FOLDER/tokenizer.json, and FOLDER/tokenizer_config.json where there is one. What a file asks for and we do
 * not do is UNSUPPORTED and named. */
QL_API ql_status ql_tokenizer_open(ql_ctx *cx, const char *folder, ql_tokenizer **out);
QL_API void ql_tokenizer_close(ql_tokenizer *tk); /* NULL is fine */

/* Appends the ids of `text` (UTF-8, NUL included; INVALID with the offset when it is not UTF-8). `bos`: NO: the text
 * alone; AUTO: with what the tokenizer's files add around it; YES: the same, with a BOS even where they add none, INVALID
 * when there is none. [one thread per context] */
QL_API ql_status ql_tokenizer_encode(ql_ctx *cx, const ql_tokenizer *tk, const char *text, size_t bytes, ql_bos bos,
                                     ql_ids *out);

enum {
    QL_DECODE_SKIP_SPECIAL = 1, /* leave special tokens out */
    QL_DECODE_CLEAN_UP = 2      /* " ." -> "." and the like, as generation scores of some models expect */
};

/* `text` (UTF-8, `bytes` long and NUL-terminated) is put into the innermost scope. INVALID for an id that is no token.
 * [one thread per context] */
QL_API ql_status ql_tokenizer_decode(ql_ctx *cx, const ql_tokenizer *tk, const ql_ids *ids, int flags,
                                     const char **text, size_t *bytes);

QL_API int64_t ql_tokenizer_bos(const ql_tokenizer *tk);    /* id, or -1 when the tokenizer has none; [any thread] */
QL_API int64_t ql_tokenizer_eos(const ql_tokenizer *tk);    /* id, or -1; [any thread] */
QL_API bool ql_tokenizer_adds_bos(const ql_tokenizer *tk);  /* does AUTO add one? [any thread] */
QL_API bool ql_tokenizer_cleans_up(const ql_tokenizer *tk); /* does tokenizer_config.json ask for the clean-up? */

/* The libraries that know Unicode and in which version, which tokens depend on; in the innermost scope, NULL without
 * memory. */
QL_API const char *ql_tokenizer_unicode(ql_ctx *cx);

/* Bytes before the first that is no UTF-8, and in `bad` how many of those after them one U+FFFD would stand for;
 * `bytes` and 0 for valid text. [any thread] */
QL_API size_t ql_utf8_check(const char *text, size_t bytes, size_t *bad);

#ifdef __cplusplus
}
#endif

#endif
