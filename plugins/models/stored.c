/* How a decoder's folder holds its linears. */
#include "stored.h"

ql_status
stored_open(ql_ctx *cx, const ql_source *src, const char *adapter, const ql_model_info *info, stored *out)
{
    const ql_json *config = ql_json_member(ql_source_config(src), "quantization_config");

    *out = (stored){.adapted = adapter && *adapter};
    QL_TRY(cx, fp8_open(cx, src, config, &out->fp8, &out->floats));
    if (!out->floats)
        QL_TRY(cx, gptq_open(cx, src, config, &out->codes, &out->packed));
    if (!out->adapted)
        return QL_OK;
    QL_TRY(cx, lora_open(cx, adapter, &out->adapter));
    return lora_check_all(cx, &out->adapter, info);
}

ql_status
stored_linear(ql_ctx *cx, const stored *s, const ql_linear_at *at, ql_stored_linear *out)
{
    const bool codes = s->packed && gptq_has(cx, &s->codes, at->name);
    const bool floats = s->floats && fp8_has(cx, &s->fp8, at->name);

    out->packed = codes || floats;
    if (codes)
        QL_TRY(cx, gptq_read(cx, &s->codes, at, &out->q));
    if (floats)
        QL_TRY(cx, fp8_read(cx, &s->fp8, at, &out->q));
    return s->adapted ? lora_read(cx, &s->adapter, at, out) : QL_OK;
}
