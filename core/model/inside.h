/* A block from the inside. */
#ifndef QLOOM_MODEL_INSIDE_H
#define QLOOM_MODEL_INSIDE_H

#include "block.h"

typedef struct block_linear {
    char *name;           /* "model.layers.3.mlp.down_proj" */
    ql_tensor *w;         /* compute dtype */
    ql_tensor *bias;      /* compute dtype; NULL: none */
    ql_tensor *exact;     /* as the file has it, where w has lost bits of it; else NULL */
    ql_dtype file;        /* f32 where the folder holds codes, or an adapter on top */
    ql_tensor *b, *a;     /* an adapter that the model came with, f32; NULL: none */
    ql_weight adapter;    /* the same in the compute dtype, its w NULL */
    ql_tensor *f32, *raw; /* for quantizers, on demand */
} block_linear;

struct ql_block {
    const ql_model_handle *m;
    int64_t layer;
    ql_dtype compute;
    block_linear *linears; /* [linear_count] */
    ql_tensor **smalls;    /* [small_count] */
    ql_tensor **begun;     /* [slot_count] as the file has them, on their way or arrived; NULL: loaded without */
};

#endif
