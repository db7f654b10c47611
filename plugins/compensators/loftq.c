/* LoftQ (Li et al., arXiv:2310.08659): quantize what the adapter leaves, fit the adapter to what the quantizer leaves, T rounds
 * (docs/methods.md 8). With `scaling: exact` the fit is in the norm of the inputs (CALDERA's with plain factors). */
#include <math.h>

#include <qloom/compensator.h>
#include <qloom/lowrank.h>

typedef struct loftq {
    int rank, adapter_dtype, iterations, keep, scaling;
} loftq;

enum { LAST, BEST };
static const char *const keep_words[] = {"last", "best", NULL};
static const char *const scalings[] = {"exact", "approx", "lqer", "identity", NULL}; /* order of ql_scaling */

static const ql_param params[] = {
    QL_RANK(loftq, 64),
    QL_ADAPTER_DTYPE(loftq),
    QL_NUM(loftq, iterations, 5, 1, 1000, "rounds of quantizing and fitting"),
    QL_ENUM(loftq, keep, LAST, keep_words,
            "the round to return: the last (the paper), or the one with the least error"),
    QL_ENUM(loftq, scaling, QL_SCALING_IDENTITY, scalings, "norm of the fit: identity is the paper's"),
    QL_PARAMS_END,
};

static ql_status
compensate(ql_ctx *cx, const void *self, const ql_compensate_in *in, ql_adapter *out)
{
    const loftq *p = self;
    const ql_tensor *target = in->w;
    double best = INFINITY;
    ql_lowrank_spec spec = {.rank = p->rank, .total = true};

    QL_TRY(cx, ql_scaling_norm(cx, in->stats, (ql_scaling)p->scaling, &spec.h));
    for (int t = 0; t < p->iterations; t++) {
        ql_lowrank_result c;
        ql_qlinear q;
        ql_tensor *e, *next;
        double left;

        QL_TRY(cx, ql_quantize(cx, in->quantizer, target, NULL, &q));
        QL_TRY(cx, ql_residual(cx, in->w, &q, &e));
        QL_TRY(cx, ql_lowrank(cx, e, &spec, &c));
        left = c.total;
        for (int64_t i = 0; i < c.rank; i++)
            left -= c.sig2[i];
        if (p->keep == LAST || left < best) {
            best = left;
            out->qlinear = q;
            if (c.rank > 0)
                QL_TRY(cx, ql_balance(cx, c.u, c.v, &out->b, &out->a));
        }
        if (c.rank < 1)
            break; /* without an adapter every round is the first */
        QL_TRY(cx, ql_convert(cx, in->w, QL_F32, &next));
        QL_TRY(cx, ql_gemm(cx, QL_NN, -1, c.u, c.v, 1, next));
        target = next;
        ql_drop(cx, &e);
    }
    return QL_OK;
}

static unsigned
needs_of(const void *self)
{
    return ((const loftq *)self)->scaling == QL_SCALING_IDENTITY ? 0 : QL_NEEDS_STATS;
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    const loftq *p = self;

    (void)in;
    out->rank = p->rank;
}

QL_PLUGIN(.kind = QL_COMPENSATOR, .name = "loftq", .version = "1.0",
          .help = "alternates quantization and low-rank fit of the rest", .cite = "arXiv:2310.08659", .params = params,
          .self_size = sizeof(loftq),
          .compensator = QL_TABLE(ql_compensator, .needs_of = needs_of, .couples = true, .compensate = compensate,
                                  .describe = describe), );
