/* Checkpoints of packed codes: which format a folder is of, and what reading all of them shares. */
#include "packed.h"

#include <string.h>
#include <strings.h>

ql_status
packed_open(ql_ctx *cx, const ql_source *src, packed_format *out)
{
    const ql_json *model = ql_source_config(src), *config;
    const char *method, *packing;

    if (!model) /* a part of a folder alone was opened */
        QL_TRY(cx, ql_source_json(cx, src, "config.json", &model));
    config = ql_json_member(model, "quantization_config");
    if (!config)
        QL_TRY(cx, ql_source_json(cx, src, "quantize_config.json", &config));
    *out = (packed_format){.source = src, .config = config};
    if (!config)
        return QL_OK;
    QL_TRY(cx, ql_json_text(cx, config, "quant_method", "gptq", &method));
    QL_TRY(cx, ql_json_text(cx, config, "packing_format", "", &packing));
    if (strcasecmp(method, "gptq") == 0 || strcmp(packing, "auto_round:auto_gptq") == 0)
        return gptq_open(cx, out);
    if (strcmp(method, "fp8") == 0)
        return fp8_open(cx, out);
    if (strcmp(method, "compressed-tensors") == 0) {
        QL_TRY(cx, ql_json_text(cx, config, "format", "", &packing));
        return strcmp(packing, "pack-quantized") == 0 ? compressed_open(cx, out) : fp8_open(cx, out);
    }
    if (strcmp(method, "mxfp4") == 0)
        return QL_FAIL(
            cx, QL_UNSUPPORTED,
            "config.json: 'quantization_config.quant_method': MXFP4 is not read: take the model's 16-bit release");
    return QL_FAIL(cx, QL_UNSUPPORTED,
                   "config.json: 'quantization_config.quant_method': expected \"gptq\", \"fp8\" or "
                   "\"compressed-tensors\", got \"%s\"",
                   method);
}

const char *
packed_name(ql_ctx *cx, const char *linear, const char *part)
{
    return ql_format(cx, "%s.%s", linear, part);
}

bool
packed_has(ql_ctx *cx, const packed_format *f, const char *linear)
{
    const char *name = f->layout ? packed_name(cx, linear, f->layout->codes) : NULL;

    const char *dtype = name ? ql_source_dtype(f->source, name) : NULL;

    return dtype && (!f->layout->dtype || strncmp(dtype, f->layout->dtype, strlen(f->layout->dtype)) == 0);
}

ql_status
packed_read(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, ql_qlinear *out)
{
    return f->layout->read(cx, f, at, out);
}

ql_status
packed_check(ql_ctx *cx, const packed_format *f, const ql_want *want)
{
    ql_want found;

    if (!want->name)
        return QL_MEMORY;
    QL_TRY(cx, ql_source_check(cx, f->source, want));
    if (ql_source_shape(f->source, want->name, &found) && found.dtype != want->dtype &&
        !(want->dtype == QL_F32 && (found.dtype == QL_F16 || found.dtype == QL_BF16)))
        return QL_FAIL(cx, QL_INVALID, "%s: expected dtype %s, the file has %s", want->name,
                       ql_dtype_name(want->dtype == QL_F32 ? QL_F16 : want->dtype),
                       found.dtype == QL_DTYPE_NONE ? "another" : ql_dtype_name(found.dtype));
    return QL_OK;
}

ql_status
packed_words(ql_ctx *cx, const packed_format *f, const ql_want *want, const uint32_t **out)
{
    uint32_t *copy;
    const void *data;
    ql_tensor *t;

    QL_TRY(cx, ql_source_load(cx, f->source, want, &t));
    copy = ql_alloc(cx, (size_t)ql_count(t), sizeof *copy);
    if (!copy)
        return QL_MEMORY;
    QL_TRY(cx, ql_map(cx, t, QL_READ, &data));
    memcpy(copy, data, (size_t)ql_count(t) * sizeof *copy);
    QL_TRY(cx, ql_unmap(cx, t));
    ql_drop(cx, &t);
    *out = copy;
    return QL_OK;
}
