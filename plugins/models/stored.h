/* How a decoder's folder holds its linears: as they are, or as codes of a checkpoint; with a PEFT adapter on top, or none. */
#ifndef QLOOM_MODELS_STORED_H
#define QLOOM_MODELS_STORED_H

#include "../formats/lora.h"
#include "../formats/packed.h"

typedef struct stored {
    bool adapted;
    packed_format codes;
    lora adapter;
} stored;

/* `adapter`: folder of a PEFT adapter, NULL: none. */
ql_status stored_open(ql_ctx *cx, const ql_source *src, const char *adapter, const ql_model_info *info, stored *out);
ql_status stored_linear(ql_ctx *cx, const stored *s, const ql_linear_at *at, ql_stored_linear *out);

#endif
