/* How a decoder's folder holds its linears. */
#include "stored.h"

ql_status
stored_open(ql_ctx *cx, const ql_source *src, const char *adapter, const ql_model_info *info, stored *out)
{
    *out = (stored){.adapted = adapter && *adapter};
    QL_TRY(cx, packed_open(cx, src, &out->codes));
    if (!out->adapted)
        return QL_OK;
    QL_TRY(cx, lora_open(cx, adapter, &out->adapter));
    return lora_check_all(cx, &out->adapter, info);
}

ql_status
stored_linear(ql_ctx *cx, const stored *s, const ql_linear_at *at, ql_stored_linear *out)
{
    out->packed = packed_has(cx, &s->codes, at->name);
    if (out->packed)
        QL_TRY(cx, packed_read(cx, &s->codes, at, &out->q));
    return s->adapted ? lora_read(cx, &s->adapter, at, out) : QL_OK;
}
