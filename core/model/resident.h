/* A model at rest on the device, all of its blocks at once, as codes or in the dtype of its files; and texts that it goes on with. All:
 * [one thread per context]. */
#ifndef QLOOM_MODEL_RESIDENT_H
#define QLOOM_MODEL_RESIDENT_H

#include "block.h"

typedef struct ql_resident ql_resident;

/* What multiplies in the place of a linear's original weight: codes or numbers [out, in], and an adapter. */
typedef struct ql_stand_in {
    const ql_qlinear *q; /* NULL: w */
    const ql_tensor *w;  /* without codes */
    const ql_tensor *b, *a;
} ql_stand_in;

/* Final norm and head; `blocks` blocks come one by one. On the heap until ql_resident_close, also on failure. */
ql_status ql_resident_open(ql_ctx *cx, const ql_model_handle *m, int64_t blocks, ql_resident **out);
/* The next block: what is needed of it is kept, so that `b` may be closed. as[l] NULL: linear l as the model's files have it. */
ql_status ql_resident_add(ql_ctx *cx, ql_resident *r, const ql_block *b, const ql_stand_in *const *as);
void ql_resident_close(ql_resident *r); /* NULL is fine */

/* Bytes of keys and values that a page of QL_PAGE tokens takes in all blocks. UNSUPPORTED where the model does not say. */
ql_status ql_resident_page_bytes(ql_ctx *cx, const ql_resident *r, size_t *out);

/* Rows of sequences that go through the model together. */
typedef struct ql_resident_rows {
    const ql_seqs *seqs; /* their new tokens, with `first` and pages; ql_seqs.kept is set here */
    const int32_t *ids;
    const int32_t *const *pages; /* of each sequence */
} ql_resident_rows;

/* Room for keys and values of so many pages. */
ql_status ql_resident_keep(ql_ctx *cx, ql_resident *r, int64_t pages);
/* Logits [count, vocab] f32 of what follows each sequence's last token. */
ql_status ql_resident_step(ql_ctx *cx, ql_resident *r, const ql_resident_rows *rows, ql_tensor **logits);

/* --- generate.c ---------------------------------------------------------------------------------------------------- */

typedef struct ql_prompt {
    const int32_t *ids;
    int64_t count, most; /* tokens to go on with, at most */
} ql_prompt;

typedef struct ql_generation {
    const ql_prompt *prompts;
    int64_t count;
    const bool *done;     /* [count]: those that are left out; NULL: none */
    int64_t pool;         /* sequences that run at a time, at most */
    size_t kv_memory;     /* bytes of keys and values, at most */
    bool kv_said;         /* the user chose it: too little is INVALID, else MEMORY */
    int64_t chunk_tokens; /* rows of a step, unless one prompt alone has more */
    bool share;           /* what prompts begin with alike is computed once */
    int64_t end_count;
    const int64_t *ends; /* tokens that end a text */
    /* Gets prompt i's new tokens so far, after each one. *end: those were all; set already after one of `ends`, and after the last that the
     * prompt may have. */
    ql_status (*said)(ql_ctx *cx, void *user, int64_t i, const int32_t *ids, int64_t count, bool *end);
    void *user;
} ql_generation;

/* What a generation took. */
typedef struct ql_generated {
    int64_t steps, prompt_tokens, shared_tokens, new_tokens;
    int64_t running; /* sequences, at most */
    size_t kv_bytes;
} ql_generated;

/* Goes on with every prompt, greedily: the likeliest token, of equal ones the first. What runs beside a sequence changes no bit of it.
 * INVALID or MEMORY when a prompt needs more pages than there are. On a rehearsal's device two steps stand for all. */
ql_status ql_generate(ql_ctx *cx, ql_resident *r, const ql_generation *g, ql_generated *out);

/* Token ids that end a text: those of config.json and generation_config.json; in the innermost scope. */
ql_status ql_model_ends_of_text(ql_ctx *cx, const ql_model_handle *m, const int64_t **out, int64_t *count);
/* The penalties that generation_config.json asks for, which change what is likeliest: "repetition_penalty, …"; NULL: none. */
ql_status ql_model_penalties(ql_ctx *cx, const ql_model_handle *m, const char **text);

#endif
