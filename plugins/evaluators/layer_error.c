/* What is left of the error of each linear: in its output, in the norm that H gives (methods-qer 0), and in its weight; how much of it
 * an adapter could take; and what the linear costs to store. */
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

/* --- bits ---------------------------------------------------------------------------------------------------------- */

static double
dtype_bits(ql_dtype d)
{
    return 8 * (double)ql_dtype_size(d);
}

static bool
is_power_of_two(float x)
{
    int exponent;

    return fabsf(frexpf(x, &exponent)) == 0.5f;
}

/* Bits of one scale: 8 where all are powers of two, so that exponents are enough. */
static ql_status
scale_bits(ql_ctx *cx, const ql_qlinear *q, double *out)
{
    bool powers = true;
    ql_tensor *scales;
    const float *x;

    QL_TRY(cx, ql_convert(cx, q->scales, QL_F32, &scales));
    QL_TRY(cx, ql_map(cx, scales, QL_READ, &x));
    for (int64_t i = 0; i < ql_count(scales) && powers; i++)
        powers = is_power_of_two(x[i]);
    QL_TRY(cx, ql_unmap(cx, scales));
    *out = powers ? 8 : dtype_bits(q->grid.scale_dtype);
    return QL_OK;
}

/* Bits of one zero: none where it is fixed, those of a code where all are codes, else those of a scale. */
static ql_status
zero_bits(ql_ctx *cx, const ql_qlinear *q, double *out)
{
    const float top = (float)((1 << q->grid.bits) - 1);
    bool codes = true;
    ql_tensor *zeros;
    const float *x;

    *out = 0;
    if (q->grid.sym || !q->zeros)
        return QL_OK;
    QL_TRY(cx, ql_convert(cx, q->zeros, QL_F32, &zeros));
    QL_TRY(cx, ql_map(cx, zeros, QL_READ, &x));
    for (int64_t i = 0; i < ql_count(zeros) && codes; i++)
        codes = x[i] >= 0 && x[i] <= top && x[i] == floorf(x[i]);
    QL_TRY(cx, ql_unmap(cx, zeros));
    *out = codes ? q->grid.bits : dtype_bits(q->grid.scale_dtype);
    return QL_OK;
}

/* Bits per weight: codes, scales, zeros, adapter (methods-projq 1; methods-qer 2.7); a weight that was skipped has those of its file. */
static ql_status
bits_of(ql_ctx *cx, const ql_linear_result *in, double *out)
{
    const double weights = (double)ql_count(in->w);
    double scale = 0, zero = 0, groups;

    if (in->qlinear) {
        QL_TRY(cx, scale_bits(cx, in->qlinear, &scale));
        QL_TRY(cx, zero_bits(cx, in->qlinear, &zero));
        groups = (double)ql_count(in->qlinear->scales);
        *out = in->qlinear->grid.bits + groups * (scale + zero) / weights;
    } else {
        *out = dtype_bits(in->file_dtype);
    }
    if (in->b)
        *out += ((double)ql_count(in->b) * dtype_bits(ql_dtype_of(in->b)) +
                 (double)ql_count(in->a) * dtype_bits(ql_dtype_of(in->a))) /
                weights;
    return QL_OK;
}

/* --- errors -------------------------------------------------------------------------------------------------------- */

/* Of e = W - W^ without any adapter: what the best one of rank `rank` leaves (methods-projq 3.1) against |W|_H^2, and what it takes. */
static ql_status
tail(ql_ctx *cx, const layer_error *p, const ql_linear_result *in, const ql_tensor *e, double whole, ql_metrics *out)
{
    ql_lowrank_result top;
    double left;

    QL_TRY(cx, ql_lowrank(cx, e, &(ql_lowrank_spec){.h = in->stats->h, .rank = p->rank, .total = true}, &top));
    left = top.total;
    for (int64_t i = 0; i < top.rank; i++)
        left -= top.sig2[i];
    left = fmax(left, 0);
    QL_TRY(cx, ql_metric(cx, out, "tail_energy", whole > 0 ? left / whole : 0));
    return ql_metric(cx, out, "captured", top.total > 0 ? 1 - left / top.total : 0);
}

static ql_status
linear(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_metrics *out)
{
    const layer_error *p = self;
    double eh, wh, ee, ww, bits = 0;
    ql_tensor *e, *a, *b;

    QL_TRY(cx, ql_quad(cx, in->w, in->stats->h, &wh));
    QL_TRY(cx, ql_dot(cx, in->w, in->w, &ww));
    QL_TRY(cx, bits_of(cx, in, &bits));
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
    QL_TRY(cx, ql_metric(cx, out, "output_error", relative(eh, wh)));
    QL_TRY(cx, ql_metric(cx, out, "weight_error", relative(ee, ww)));
    QL_TRY(cx, ql_metric(cx, out, "bits", bits));
    if (in->k >= 0)
        QL_TRY(cx, ql_metric(cx, out, "k", in->k));
    QL_TRY(cx, ql_metric(cx, out, "damp", in->qlinear ? in->qlinear->damp : 0));
    return ql_metric(cx, out, "status", in->status);
}

QL_PLUGIN(.kind = QL_EVALUATOR, .name = "layer_error", .version = "1.0",
          .help =
              "per linear: output_error, relative in the norm of H; weight_error, relative; tail_energy, of the error "
              "W - W^ after the best adapter of rank `rank`, against the energy of W in that norm; captured, the share "
              "of the error's energy that this adapter takes; bits per weight, of codes, scales, zeros and adapter; k, "
              "the rank that was spent before quantization, where a method has one; damp, damping used; status, "
              "numerical status as a sum of bits",
          .params = params, .self_size = sizeof(layer_error),
          .evaluator = &(const ql_evaluator){.needs = QL_NEEDS_STATS, .linear = linear}, );
