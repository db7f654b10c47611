/* QERA (Zhang et al., arXiv:2410.06040): reconstruction of the error in the norm of the inputs, exact with their whole second
 * moment, approximate with its diagonal (docs/methods.md 6). No matrix root (4.1). */
#include <qloom/compensator.h>
#include <qloom/lowrank.h>

typedef struct qera {
    int rank, adapter_dtype, scaling;
} qera;

static const char *const scalings[] = {"exact", "approx", NULL}; /* the first two of ql_scaling */

static const ql_param params[] = {
    QL_RANK(qera, 64),
    QL_ADAPTER_DTYPE(qera),
    QL_ENUM(qera, scaling, QL_SCALING_EXACT, scalings,
            "second moment of the inputs: the whole matrix, or its diagonal"),
    QL_PARAMS_END,
};

static ql_status
compensate(ql_ctx *cx, const void *self, const ql_compensate_in *in, ql_adapter *out)
{
    const qera *p = self;
    ql_lowrank_spec spec = {.rank = p->rank};

    QL_TRY(cx, ql_scaling_norm(cx, in->stats, (ql_scaling)p->scaling, &spec.h));
    return ql_reconstruct(cx, in->w, in->what, &spec, &out->b, &out->a);
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    const qera *p = self;

    (void)in;
    out->rank = p->rank;
    out->best_in = p->scaling == QL_SCALING_EXACT ? "layer output" : NULL;
}

QL_PLUGIN(.kind = QL_COMPENSATOR, .name = "qera", .version = "1.0",
          .help = "low-rank reconstruction of the error, optimal for the layer's output", .cite = "arXiv:2410.06040",
          .params = params, .self_size = sizeof(qera),
          .compensator = QL_TABLE(ql_compensator, .needs = QL_NEEDS_STATS, .compensate = compensate,
                                  .describe = describe), );
