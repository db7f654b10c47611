/* GPTQ checkpoints, read: configuration, shapes, codes. Every tensor comes from outside. The version is what the label says, but for
 * symmetric linears whose zero points tell of another: labels lie, so these are followed, with a warning. */
#include <string.h>

#include "codes.h"
#include "packed.h"

/* --- the configuration ---------------------------------------------------------------------------------------------- */

static ql_status gptq_read(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, ql_qlinear *out);

ql_status
gptq_open(ql_ctx *cx, packed_format *out)
{
    static const packed_layout layout = {.codes = "qweight", .read = gptq_read};
    const char *label;

    out->layout = &layout;
    QL_TRY(cx, ql_json_int(cx, out->config, "group_size", -1, &out->group));
    QL_TRY(cx, ql_json_bool(cx, out->config, "sym", true, &out->sym));
    QL_TRY(cx, ql_json_bool(cx, out->config, "desc_act", false, &out->ordered));
    QL_TRY(cx, ql_json_text(cx, out->config, "checkpoint_format", "gptq", &label));
    if (strcmp(label, "gptq") != 0 && strcmp(label, "gptq_v2") != 0)
        return QL_FAIL(cx, QL_UNSUPPORTED,
                       "config.json: 'quantization_config.checkpoint_format': expected \"gptq\" or \"gptq_v2\", got "
                       "\"%s\"",
                       label);
    out->exact_zeros = strcmp(label, "gptq_v2") == 0;
    return QL_OK;
}

/* --- one linear ------------------------------------------------------------------------------------------------------- */

typedef struct packed { /* a linear's tensors by their headers */
    ql_want codes, zeros, scales, order;
    int bits;
    int64_t out, in, groups, group;
    bool ordered; /* g_idx is there */
} packed;

/* Bits follow from the shape: rules for single modules need no reading. */
static ql_status
find_bits(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, packed *p)
{
    static const int known[] = {2, 3, 4, 8};

    p->codes.name = packed_name(cx, at->name, "qweight");
    if (!p->codes.name)
        return QL_MEMORY;
    if (!ql_source_shape(f->source, p->codes.name, &p->codes) || p->codes.ndim != 2 || p->codes.dims[1] != at->out)
        return QL_FAIL(cx, QL_INVALID, "qweight: expected [%lld * bits / 32, %lld]", (long long)at->in,
                       (long long)at->out);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (at->in * known[i] == p->codes.dims[0] * 32)
            p->bits = known[i];
    if (!p->bits)
        return QL_FAIL(cx, QL_UNSUPPORTED,
                       "qweight: %lld rows for %lld inputs are not 2, 3, 4 or 8 bits in the layout of GPTQ checkpoints",
                       (long long)p->codes.dims[0], (long long)at->in);
    return QL_OK;
}

static ql_status
look(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, packed *p)
{
    *p = (packed){.out = at->out, .in = at->in};
    QL_TRY(cx, find_bits(cx, f, at, p));
    p->codes.dtype = QL_I32;
    QL_TRY(cx, packed_check(cx, f, &p->codes));
    p->scales.name = packed_name(cx, at->name, "scales");
    if (!p->scales.name)
        return QL_MEMORY;
    if (!ql_source_shape(f->source, p->scales.name, &p->scales) || p->scales.ndim != 2 || p->scales.dims[0] < 1 ||
        p->scales.dims[0] > at->in)
        return QL_FAIL(cx, QL_INVALID, "scales: expected [groups, %lld]", (long long)at->out);
    p->groups = p->scales.dims[0];
    p->scales = (ql_want){packed_name(cx, at->name, "scales"), QL_F32, 2, {p->groups, at->out}};
    QL_TRY(cx, packed_check(cx, f, &p->scales));
    p->zeros = (ql_want){packed_name(cx, at->name, "qzeros"), QL_I32, 2, {p->groups, codes_words(at->out, p->bits)}};
    QL_TRY(cx, packed_check(cx, f, &p->zeros));
    p->order = (ql_want){packed_name(cx, at->name, "g_idx"), QL_I32, 1, {at->in}};
    p->ordered = p->order.name && ql_source_has(f->source, p->order.name);
    if (p->ordered)
        QL_TRY(cx, packed_check(cx, f, &p->order));
    p->group = f->group < 1 || f->group > at->in ? at->in : f->group;
    return QL_OK;
}

static ql_status
read_codes(ql_ctx *cx, const packed_format *f, const packed *p, ql_qlinear *out)
{
    uint8_t *codes = ql_alloc(cx, (size_t)p->out, (size_t)p->in);
    const uint32_t *words;

    if (!codes)
        return QL_MEMORY;
    QL_TRY(cx, packed_words(cx, f, &p->codes, &words));
    for (int64_t first = 0; first < p->in; first += 32) /* in the order of memory */
        for (int64_t o = 0; o < p->out; o++)
            for (int64_t i = first; i < first + 32 && i < p->in; i++)
                codes[o * p->in + i] = (uint8_t)codes_get(words + o, p->out, i, p->bits);
    return ql_upload(cx, QL_U8, p->out, p->in, codes, &out->codes);
}

/* Are zero points stored as they are, or less one? */
static ql_status
find_version(ql_ctx *cx, const packed_format *f, const packed *p, const uint32_t *words, bool *exact_zeros)
{
    bool exact = true, less = true;

    for (int64_t g = 0; g < p->groups; g++)
        for (int64_t o = 0; o < p->out; o++) {
            const uint32_t field = codes_get(words + g * p->zeros.dims[1], 1, o, p->bits);

            exact = exact && field == 1u << (p->bits - 1);
            less = less && field == (1u << (p->bits - 1)) - 1;
        }
    *exact_zeros = f->sym && (exact || less) ? exact : f->exact_zeros;
    if (*exact_zeros != f->exact_zeros)
        return ql_follow(cx, "config.json",
                         "zero points are of version %d, which is taken, not of version %d as the label says",
                         exact ? 2 : 1, f->exact_zeros ? 2 : 1);
    return QL_OK;
}

/* A field of all ones in version 1 is a zero of 0, less one. */
static ql_status
read_zeros(ql_ctx *cx, const packed_format *f, const packed *p, ql_qlinear *out)
{
    const int64_t width = p->zeros.dims[1];
    const uint32_t mask = (1u << p->bits) - 1;
    float *zeros = ql_alloc(cx, (size_t)(p->out * p->groups), sizeof *zeros);
    const uint32_t *words;
    uint32_t more;
    bool exact;

    if (!zeros)
        return QL_MEMORY;
    QL_TRY(cx, packed_words(cx, f, &p->zeros, &words));
    QL_TRY(cx, find_version(cx, f, p, words, &exact));
    more = exact ? 0 : 1;
    out->grid.sym = true;
    for (int64_t o = 0; o < p->out; o++)
        for (int64_t g = 0; g < p->groups; g++) {
            const uint32_t zero = (codes_get(words + g * width, 1, o, p->bits) + more) & mask;

            zeros[o * p->groups + g] = (float)zero;
            out->grid.sym = out->grid.sym && zero == 1u << (p->bits - 1);
        }
    return ql_upload(cx, QL_F32, p->out, p->groups, zeros, &out->zeros);
}

/* A group without a column was made from nothing. With desc_act a g_idx of zeros is taken as it is. */
static ql_status
check_groups(ql_ctx *cx, const packed_format *f, const packed *p, const uint32_t *g_idx)
{
    int64_t *columns = ql_alloc(cx, (size_t)p->groups, sizeof *columns);

    if (!columns)
        return QL_MEMORY;
    for (int64_t i = 0; i < p->in; i++)
        columns[g_idx[i]]++;
    if (columns[0] == p->in && p->groups > 1 && !f->ordered)
        return QL_FAIL(cx, QL_INVALID, "g_idx: it is all zero, although there are %lld groups and desc_act is false",
                       (long long)p->groups);
    for (int64_t g = 0; g < p->groups && columns[0] < p->in; g++)
        if (columns[g] == 0)
            return QL_FAIL(cx, QL_INVALID, "g_idx: no column is in group %lld of %lld", (long long)g,
                           (long long)p->groups);
    return QL_OK;
}

/* The group of each column. `p->group` is what the configuration says; a rule for this module may say another, which g_idx shows. */
static ql_status
read_order(ql_ctx *cx, const packed_format *f, packed *p, ql_qlinear *out)
{
    const uint32_t *g_idx = NULL;
    bool plain = true;

    if (p->ordered)
        QL_TRY(cx, packed_words(cx, f, &p->order, &g_idx));
    for (int64_t i = 0; g_idx && i < p->in; i++)
        if (g_idx[i] >= (uint64_t)p->groups)
            return QL_FAIL(cx, QL_INVALID, "g_idx: column %lld is in group %d, expected 0 to %lld", (long long)i,
                           (int)(int32_t)g_idx[i], (long long)p->groups - 1);
    if ((p->in + p->group - 1) / p->group != p->groups) {
        p->group = p->in;
        for (int64_t i = p->in; g_idx && i-- > 0;)
            if (g_idx[i] > 0)
                p->group = i;
        p->group = p->group < 1 ? 1 : p->group;
    }
    if ((p->in + p->group - 1) / p->group != p->groups)
        return QL_FAIL(cx, QL_INVALID, "scales: expected [%lld, %lld] for groups of %lld, the file has [%lld, %lld]",
                       (long long)((p->in + p->group - 1) / p->group), (long long)p->out, (long long)p->group,
                       (long long)p->groups, (long long)p->out);
    if (g_idx)
        QL_TRY(cx, check_groups(cx, f, p, g_idx));
    for (int64_t i = 0; g_idx && i < p->in; i++)
        plain = plain && g_idx[i] == (uint64_t)(i / p->group);
    return plain ? QL_OK : ql_upload(cx, QL_I32, p->in, -1, g_idx, &out->g_idx);
}

static ql_status
gptq_read(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, ql_qlinear *out)
{
    ql_tensor *scales;
    packed p;

    QL_TRY(cx, look(cx, f, at, &p));
    if (!at->load)
        return QL_OK;
    QL_TRY(cx, read_order(cx, f, &p, out));
    out->grid = (ql_grid){.bits = p.bits, .group = p.group, .scale_dtype = QL_F16};
    QL_TRY(cx, read_codes(cx, f, &p, out));
    QL_TRY(cx, read_zeros(cx, f, &p, out));
    QL_TRY(cx, ql_source_load(cx, f->source, &p.scales, &scales));
    return ql_transpose(cx, scales, &out->scales);
}
