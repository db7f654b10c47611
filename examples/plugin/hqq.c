/* HQQ: real zero points by half-quadratic splitting, without calibration (Badri & Shaji 2023, "Half-Quadratic Quantization of Large
 * Machine Learning Models"). For each group u = w / scale, min over z, e of |e|_p^p + beta/2 |u - dequant(u, z) - e|^2 by turns: e is a
 * shrinkage that leaves outliers alone, z a mean. Residuals are in steps of the scale, so that beta means the same in every layer. */
#include <math.h>

#include <qloom/quantizer.h>

typedef struct hqq {
    int bits, group_size, scale_dtype, iterations;
    double norm, beta, growth;
} hqq;

static const ql_param params[] = {
    QL_BITS(hqq, 4),
    QL_GROUP_SIZE(hqq, 64),
    QL_SCALE_DTYPE(hqq),
    QL_NUM(hqq, iterations, 20, 0, 1000, "turns of the splitting"),
    QL_NUM(hqq, norm, 0.7, 0.1, 1, "exponent p of the error's norm; below 1: outliers count little"),
    QL_NUM(hqq, beta, 10, 1e-3, 1e6, "weight of the splitting's penalty at the start"),
    QL_NUM(hqq, growth, 1.01, 1, 2, "factor on beta after each turn"),
    QL_PARAMS_END,
};

/* Zero point of the group w[0 .. n): from z on, the one at which the error's p-norm was least. */
static double
fit_zero(const hqq *p, const float *w, int64_t n, double scale, double z)
{
    double beta = p->beta, best = z, least = INFINITY, top = (1 << p->bits) - 1;

    for (int turn = 0; turn <= p->iterations; turn++, beta *= p->growth) {
        double error = 0, sum = 0;

        for (int64_t j = 0; j < n; j++) {
            const double u = w[j] / scale, code = fmin(fmax(rint(u + z), 0), top), r = u - (code - z), size = fabs(r);

            error += pow(size, p->norm);
            sum += code - u + (size > 0 ? copysign(fmax(size - pow(size, p->norm - 1) / beta, 0), r) : 0);
        }
        best = error < least ? z : best;
        least = fmin(error, least);
        z = sum / (double)n;
    }
    return best;
}

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    const hqq *p = self;
    const int64_t columns = ql_dim(w, 1), g = ql_group_columns(p->group_size, columns), groups = (columns + g - 1) / g;
    const float *weights, *scales;
    float *zeros;
    uint8_t *codes;

    (void)stats;
    *out = (ql_qlinear){.grid = {p->bits, g, .scale_dtype = ql_float_dtype(p->scale_dtype), .free_zeros = true}};
    QL_TRY(cx, ql_group_minmax(cx, w, &out->grid, &out->scales, &out->zeros)); /* the start, and the scales for good */
    QL_TRY(cx, ql_new(cx, QL_U8, ql_dim(w, 0), columns, &out->codes));
    QL_TRY(cx, ql_map(cx, w, QL_READ, &weights));
    QL_TRY(cx, ql_map(cx, out->scales, QL_READ, &scales));
    QL_TRY(cx, ql_map(cx, out->zeros, QL_READ_WRITE, &zeros));
    QL_TRY(cx, ql_map(cx, out->codes, QL_WRITE, &codes));
    for (int64_t i = 0; i < ql_count(out->zeros); i++) { /* group by group */
        const int64_t first = i % groups * g, at = i / groups * columns + first,
                      n = columns - first < g ? columns - first : g;

        zeros[i] = (float)fit_zero(p, weights + at, n, (double)scales[i], (double)zeros[i]);
        for (int64_t j = at; j < at + n; j++)
            codes[j] =
                (uint8_t)fmin(fmax(rint(weights[j] / (double)scales[i] + (double)zeros[i]), 0), (1 << p->bits) - 1);
    }
    QL_TRY(cx, ql_unmap(cx, out->codes));
    QL_TRY(cx, ql_unmap(cx, out->zeros));
    QL_TRY(cx, ql_unmap(cx, out->scales));
    return ql_unmap(cx, w);
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "hqq", .version = "1.0", .help = "zero points by half-quadratic splitting",
          .params = params, .self_size = sizeof(hqq), .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize), );
