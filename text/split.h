/* The pre-tokenizer: cuts a normalized piece into the words that the model sees. */
#ifndef QLOOM_TEXT_SPLIT_H
#define QLOOM_TEXT_SPLIT_H

#include "component.h"

typedef struct ql_splitter {
    ql_text_steps steps;
    bool byte_level; /* the model sees the bytes of the words */
    bool splits;     /* is there a step that cuts? */
} ql_splitter;

typedef struct ql_split_work { /* scratch of one thread; zero is its empty value */
    ql_regex_work regex;
    ql_text made[QL_STEPS_MAX];
} ql_split_work;

typedef ql_status (*ql_word_fn)(ql_ctx *cx, void *user, const char *word, size_t bytes);

/* `v` NULL: none. `bytes`: can the model see bytes, where that is what the last step makes? */
ql_status ql_splitter_read(ql_ctx *cx, const ql_json *v, bool bytes, ql_splitter *out);

/* Cuts before every run of `mark`, too. `v` is the tokenizer, for messages. */
ql_status ql_splitter_cut_before(ql_ctx *cx, const ql_json *v, const char *mark, ql_splitter *out);

/* Hands every word of `text` (valid UTF-8) to `word`. `start`: is it the begin of the whole text? */
ql_status ql_split(ql_ctx *cx, const ql_splitter *s, ql_split_work *work, bool start, const char *text, size_t bytes,
                   ql_word_fn word, void *user);
void ql_split_work_fini(ql_split_work *work);

#endif
