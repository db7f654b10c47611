/* FP8 checkpoints: a weight is the number of E4M3 that its byte stands for, times the scale of its block, row or tensor. In the terms of a
 * quantized linear its bytes are codes of 8 bits, and the 256 numbers their levels. */
#include <math.h>
#include <string.h>

#include "packed.h"

#define DTYPE "F8_E4M3"
#define NAN_CODE 0x7f /* with either sign */

/* --- the configuration --------------------------------------------------------------------------------------------- */

/* [rows, cols] of a block; NULL: there are none. */
static ql_status
read_block(ql_ctx *cx, const ql_json *size, packed_format *out)
{
    if (!size)
        return QL_OK;
    if (ql_json_length(size) != 2 || !ql_json_as_int(ql_json_item(size, 0), &out->rows) ||
        !ql_json_as_int(ql_json_item(size, 1), &out->cols) || out->rows < 1 || out->cols < 1)
        return ql_json_expected(cx, size, "two sizes of a block, such as [128, 128]");
    return QL_OK;
}

/* The members of compressed-tensors: one group of weights that are 8-bit floats. */
static ql_status
read_compressed(ql_ctx *cx, const ql_json *config, packed_format *out)
{
    const ql_json *groups = ql_json_member(config, "config_groups"), *weights = NULL;
    const char *key = "", *type, *strategy;
    int64_t bits;

    for (int64_t i = 0; i < ql_json_members(groups); i++) {
        weights = ql_json_member(ql_json_at(groups, i, &key), "weights");
        QL_TRY(cx, ql_json_text(cx, weights, "type", "int", &type));
        QL_TRY(cx, ql_json_int(cx, weights, "num_bits", 0, &bits));
        if (strcmp(type, "float") != 0 || bits != 8)
            return QL_FAIL(
                cx, QL_UNSUPPORTED,
                "config.json: 'quantization_config.config_groups.%s': expected 8-bit floats, got %s of %lld bits: of "
                "compressed-tensors FP8 and pack-quantized are read",
                key, type, (long long)bits);
        QL_TRY(cx, ql_json_text(cx, weights, "strategy", "tensor", &strategy));
        if (strcmp(strategy, "tensor") != 0 && strcmp(strategy, "channel") != 0 && strcmp(strategy, "block") != 0)
            return QL_FAIL(
                cx, QL_UNSUPPORTED,
                "config.json: 'quantization_config.config_groups.%s': expected a scale for each tensor, channel or "
                "block, got \"%s\"",
                key, strategy);
        QL_TRY(cx, read_block(cx, ql_json_member(weights, "block_structure"), out));
    }
    out->scale = "weight_scale";
    return weights ? QL_OK : ql_json_expected(cx, config, "config_groups with weights");
}

static ql_status fp8_read(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, ql_qlinear *out);

ql_status
fp8_open(ql_ctx *cx, packed_format *out)
{
    static const packed_layout layout = {.codes = "weight", .dtype = "F8_", .read = fp8_read};
    const ql_json *config = out->config;
    const char *method, *format;
    ql_status st;

    out->layout = &layout;
    out->scale = "weight_scale_inv";
    QL_TRY(cx, ql_json_text(cx, config, "quant_method", "", &method));
    QL_TRY(cx, ql_json_text(cx, config, "fmt", "e4m3", &format));
    if (strcmp(format, "e4m3") != 0)
        return QL_FAIL(cx, QL_UNSUPPORTED, "config.json: 'quantization_config.fmt': expected \"e4m3\", got \"%s\"",
                       format);
    st = strcmp(method, "fp8") == 0 ? read_block(cx, ql_json_member(config, "weight_block_size"), out)
                                    : read_compressed(cx, config, out);
    return st == QL_OK ? ql_follow(cx, "config.json", "weights of " DTYPE " with scales are decoded as they are loaded")
                       : st;
}

/* --- one linear ------------------------------------------------------------------------------------------------------ */

typedef struct parts { /* a linear's tensors by their headers */
    ql_want weight, scales;
    int64_t rows, cols; /* that a scale covers */
} parts;

/* The shape of the scales says what each is of; all of one dimension less are read as well, as some programs write them. */
static ql_status
look_at_scales(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, parts *p)
{
    const char *name = ql_format(cx, "%s.%s", at->name, f->scale);
    int64_t count = 1, blocks[2];

    if (!name)
        return QL_MEMORY;
    if (!ql_source_shape(f->source, name, &p->scales))
        return QL_FAIL(cx, QL_INVALID, "its weight is " DTYPE ", and there are no scales %s", name);
    for (int i = 0; i < p->scales.ndim; i++)
        count *= p->scales.dims[i];
    p->rows = f->rows ? f->rows : count == 1 ? at->out : 1;
    p->cols = f->cols ? f->cols : at->in;
    blocks[0] = (at->out + p->rows - 1) / p->rows;
    blocks[1] = (at->in + p->cols - 1) / p->cols;
    if (count != blocks[0] * blocks[1] || (p->scales.ndim == 2 && p->scales.dims[0] != blocks[0]))
        return QL_FAIL(cx, QL_INVALID, "%s: expected [%lld, %lld] scales, there are %lld", name, (long long)blocks[0],
                       (long long)blocks[1], (long long)count);
    p->scales.dtype = QL_F32;
    return ql_source_check(cx, f->source, &p->scales);
}

static ql_status
look(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, parts *p)
{
    const char *name = ql_format(cx, "%s.weight", at->name), *dtype = name ? ql_source_dtype(f->source, name) : NULL;
    ql_want unread;

    *p = (parts){.weight = {.name = name, .dtype = QL_U8, .ndim = 2, .dims = {at->out, at->in}}};
    if (!name)
        return QL_MEMORY;
    if (!dtype || strcmp(dtype, DTYPE) != 0)
        return QL_FAIL(cx, QL_UNSUPPORTED, "its weight is %s, and of 8-bit floats " DTYPE " is read", dtype);
    QL_TRY(cx, ql_source_check(cx, f->source, &p->weight));
    name = ql_format(cx, "%s.input_scale", at->name); /* of activations, which keep the compute dtype here */
    if (name && ql_source_shape(f->source, name, &unread))
        QL_TRY(cx, ql_source_check(cx, f->source, &unread));
    return look_at_scales(cx, f, at, p);
}

static double
number_of(int code)
{
    const int exponent = code >> 3 & 15, mantissa = code & 7;
    const double size = exponent ? ldexp(8 + mantissa, exponent - 10) : ldexp(mantissa, -9);

    return (code & NAN_CODE) == NAN_CODE ? NAN : code & 0x80 ? -size : size;
}

static ql_status
make_levels(ql_ctx *cx, ql_tensor **out)
{
    float *levels;

    QL_TRY(cx, ql_new(cx, QL_F32, 256, -1, out));
    QL_TRY(cx, ql_map(cx, *out, QL_WRITE, &levels));
    for (int code = 0; code < 256; code++)
        levels[code] = (float)number_of(code);
    return ql_unmap(cx, *out);
}

static ql_status
check_codes(ql_ctx *cx, const ql_tensor *codes)
{
    const uint8_t *code;
    int64_t at = -1;

    QL_TRY(cx, ql_map(cx, codes, QL_READ, &code));
    for (int64_t i = 0; i < ql_count(codes) && at < 0; i++)
        at = (code[i] & NAN_CODE) == NAN_CODE ? i : -1;
    QL_TRY(cx, ql_unmap(cx, codes));
    return at < 0 ? QL_OK
                  : QL_FAIL(cx, QL_INVALID, "its weight is NaN in row %lld, column %lld",
                            (long long)(at / ql_dim(codes, 1)), (long long)(at % ql_dim(codes, 1)));
}

/* Scales of blocks as scales of groups of columns: those of a block's rows are alike. */
static ql_status
spread(ql_ctx *cx, const parts *p, const ql_linear_at *at, const ql_tensor *scales, ql_tensor **out)
{
    const int64_t groups = (at->in + p->cols - 1) / p->cols;
    const float *from;
    bool fine = true;
    float *to;

    QL_TRY(cx, ql_new(cx, QL_F32, at->out, groups, out));
    QL_TRY(cx, ql_map(cx, scales, QL_READ, &from));
    QL_TRY(cx, ql_map(cx, *out, QL_WRITE, &to));
    for (int64_t row = 0; row < at->out; row++)
        for (int64_t g = 0; g < groups; g++) {
            const float scale = from[row / p->rows * groups + g];

            fine = fine && isfinite(scale) && scale >= 0;
            to[row * groups + g] = scale;
        }
    QL_TRY(cx, ql_unmap(cx, *out));
    QL_TRY(cx, ql_unmap(cx, scales));
    return fine ? QL_OK : QL_FAIL(cx, QL_INVALID, "%s: expected scales that are no negative numbers", p->scales.name);
}

static ql_status
fp8_read(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, ql_qlinear *out)
{
    ql_tensor *scales;
    parts p;

    QL_TRY(cx, look(cx, f, at, &p));
    if (!at->load)
        return QL_OK;
    *out = (ql_qlinear){.grid = {.bits = 8, .group = p.cols < at->in ? p.cols : at->in, .scale_dtype = QL_F32}};
    QL_TRY(cx, ql_source_load(cx, f->source, &p.weight, &out->codes));
    QL_TRY(cx, check_codes(cx, out->codes));
    QL_TRY(cx, ql_source_load(cx, f->source, &p.scales, &scales));
    QL_TRY(cx, spread(cx, &p, at, scales, &out->scales));
    return make_levels(cx, &out->levels);
}
