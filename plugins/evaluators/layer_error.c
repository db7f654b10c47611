/* What is left of the error of each linear: in its output, in the norm that H gives (docs/methods.md 1), and in its
 * weight; how much of it an adapter could take; and what the linear costs to store. */
#include <math.h>

#include <qloom/evaluator.h>
#include <qloom/lowrank.h>

typedef struct layer_error {
    int rank;
} layer_error;

static const ql_param params[] = {
    QL_NUM(layer_error, rank, 0, 0, 1 << 16,
           "also give tail_energy and captured of the best adapter of this rank for W - W^; 0: neither"),
    QL_PARAMS_END,
};

/* sqrt(part / whole): a relative norm from two squared ones; nothing of nothing is 0. */
static double
relative(double part, double whole)
{
    return whole > 0 ? sqrt(fmax(part, 0) / whole) : 0;
}

/* Bits per weight; a linear that was skipped has those of its file. */
static double
bits_of(const ql_linear_result *in)
{
    return in->qlinear ? ql_qlinear_bits(in->qlinear, in->b, in->a) / (double)ql_count(in->w)
                       : 8 * (double)ql_dtype_size(in->file_dtype);
}

/* --- errors ------------------------------------------------------------------------------------------------------ */

/* Of e = W - W^ without any adapter: what the best one of rank `rank` leaves (docs/methods.md 5.1) against |W|_H^2,
 * and what it takes. */
static ql_status
tail(ql_ctx *cx, const layer_error *p, const ql_linear_result *in, const ql_tensor *e, double whole, ql_facts *out)
{
    ql_lowrank_result top;
    double left;

    QL_TRY(cx, ql_lowrank(cx, e, &(ql_lowrank_spec){.h = in->stats->h, .rank = p->rank, .total = true}, &top));
    left = top.total;
    for (int64_t i = 0; i < top.rank; i++)
        left -= top.sig2[i];
    left = fmax(left, 0);
    QL_TRY(cx, ql_fact(cx, out, "tail_energy", NULL, whole > 0 ? left / whole : 0));
    return ql_fact(cx, out, "captured", NULL, top.total > 0 ? 1 - left / top.total : 0);
}

static ql_status
linear(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_facts *out)
{
    const layer_error *p = self;
    double eh, wh, ee, ww;
    ql_tensor *e, *a, *b;

    QL_TRY(cx, ql_linear_norms(cx, in, &wh, &ww));
    QL_TRY(cx, ql_convert(cx, in->w, QL_F32, &e));
    QL_TRY(cx, ql_axpby(cx, -1, in->what, 1, e));
    if (p->rank > 0)
        QL_TRY(cx, tail(cx, p, in, e, wh, out));
    if (in->b) {
        QL_TRY(cx, ql_convert(cx, in->b, QL_F32, &b));
        QL_TRY(cx, ql_convert(cx, in->a, QL_F32, &a));
        QL_TRY(cx, ql_gemm(cx, QL_NN, -1, b, a, 1, e));
    }
    QL_TRY(cx, ql_quad(cx, e, in->stats->h, &eh));
    QL_TRY(cx, ql_dot(cx, e, e, &ee));
    QL_TRY(cx, ql_fact(cx, out, "output_error", NULL, relative(eh, wh)));
    QL_TRY(cx, ql_fact(cx, out, "weight_error", NULL, relative(ee, ww)));
    QL_TRY(cx, ql_fact(cx, out, "bits", NULL, bits_of(in)));
    if (in->k >= 0)
        QL_TRY(cx, ql_fact(cx, out, "k", NULL, in->k));
    QL_TRY(cx, ql_fact(cx, out, "damp", NULL, in->qlinear ? in->qlinear->damp : 0));
    return ql_fact(cx, out, "status", NULL, in->status);
}

static const ql_metric_kind metrics[] = {
    {.name = "output_error", .better = QL_BETTER_LOWER},
    {.name = "weight_error", .better = QL_BETTER_LOWER},
    {.name = "tail_energy", .better = QL_BETTER_LOWER},
    {.name = "captured", .better = QL_BETTER_HIGHER},
    {.name = "bits", .unit = "bits per weight", .better = QL_BETTER_LOWER},
    {.name = NULL},
};

QL_PLUGIN(.kind = QL_EVALUATOR, .name = "layer_error", .version = "1.0",
          .help =
              "per linear: output_error, relative in the norm of H; weight_error, relative; tail_energy, of the error "
              "W - W^ after the best adapter of rank `rank`, against the energy of W in that norm; captured, the share "
              "of the error's energy that this adapter takes; bits per weight, of codes, scales, zeros and adapter; k, "
              "the rank that was spent before quantization, where a method has one; damp, damping used; status, "
              "numerical status as a sum of bits",
          .params = params, .self_size = sizeof(layer_error),
          .evaluator = QL_TABLE(ql_evaluator, .needs = QL_NEEDS_STATS, .metrics = metrics, .linear = linear), );
