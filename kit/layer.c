/* Tiny random linears of awkward shapes, for the contract of methods. */
#include "layer.h"

#include "tensor/tensor.h"

static double
uniform(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u); /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* Bell-shaped enough, without a logarithm of zero. */
static float
random_value(uint64_t *state)
{
    return (float)(uniform(state) + uniform(state) + uniform(state) + uniform(state) - 2.0);
}

/* Inputs whose columns depend on each other, as in a model; from three columns on, one that never sees a value. */
static void
random_inputs(uint64_t *state, int64_t tokens, int64_t n, float *x)
{
    for (int64_t t = 0; t < tokens; t++) {
        float before = 0;

        for (int64_t j = 0; j < n; j++)
            x[t * n + j] = before = 0.6f * before + random_value(state);
        if (n >= 3)
            x[t * n + 1] = 0;
    }
}

static ql_status
make_stats(ql_ctx *cx, uint64_t *state, int64_t n, ql_stats *out)
{
    const int64_t tokens = 2 * n + 6, offsets[] = {0, tokens / 2, tokens};
    const ql_seqs seqs = {.count = 2, .offsets = offsets};
    float *host = ql_alloc(cx, (size_t)(tokens * n), sizeof *host);
    ql_tensor *x, *h, *comp, *sum, *most;

    if (!host)
        return QL_MEMORY;
    random_inputs(state, tokens, n, host);
    QL_TRY(cx, ql_upload(cx, QL_F32, tokens, n, host, &x));
    QL_TRY(cx, ql_zeros(cx, QL_F32, n, n, &h));
    QL_TRY(cx, ql_zeros(cx, QL_F32, n, n, &comp));
    QL_TRY(cx, ql_gram(cx, x, h, comp));
    QL_TRY(cx, ql_axpby(cx, 1, comp, 1, h));
    QL_TRY(cx, ql_zeros(cx, QL_F32, n, -1, &sum));
    QL_TRY(cx, ql_zeros(cx, QL_F32, n, -1, &most));
    QL_TRY(cx, ql_abs_stats(cx, &seqs, x, sum, most));
    QL_TRY(cx, ql_axpby(cx, 0, most, 1.0 / (double)tokens, sum));
    ql_tensor_seal(h);
    ql_tensor_seal(sum);
    ql_tensor_seal(most);
    *out = (ql_stats){.h = h, .abs_mean = sum, .abs_max = most, .tokens = tokens, .sequences = 2};
    return QL_OK;
}

/* A plugin is lent all of it. */
static void
seal(const ql_layer *l)
{
    ql_tensor *const all[] = {l->w, l->what, l->rounded.codes, l->rounded.scales, l->rounded.zeros};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ql_tensor_seal(all[i]);
}

ql_status
ql_layer_make(ql_ctx *cx, const ql_shape *s, bool raw, ql_layer *out)
{
    uint64_t state = (uint64_t)s->rows * 1000003u + (uint64_t)s->columns;
    float *host = ql_alloc(cx, (size_t)(s->rows * s->columns), sizeof *host);
    ql_tensor *w;

    if (!host)
        return QL_MEMORY;
    for (int64_t i = 0; i < s->rows * s->columns; i++)
        host[i] = random_value(&state);
    QL_TRY(cx, ql_upload(cx, QL_F32, s->rows, s->columns, host, &w));
    out->rounded = (ql_qlinear){.grid = {.bits = 3, .group = s->columns, .scale_dtype = QL_F16}};
    QL_TRY(cx, ql_group_minmax(cx, w, &out->rounded.grid, &out->rounded.scales, &out->rounded.zeros));
    QL_TRY(cx, ql_group_encode(cx, w, &out->rounded));
    QL_TRY(cx, ql_group_decode(cx, &out->rounded, &out->what));
    out->w = w;
    if (raw)
        QL_TRY(cx, ql_convert(cx, w, QL_BF16, &out->w));
    seal(out);
    return make_stats(cx, &state, s->columns, &out->stats);
}
