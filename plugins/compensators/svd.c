/* ZeroQuant-V2's low-rank compensation (Yao et al., arXiv:2303.08302): truncated SVD of the error, no statistics (docs/methods.md 6). */
#include <qloom/compensator.h>
#include <qloom/lowrank.h>

typedef struct svd {
    int rank, adapter_dtype;
} svd;

static const ql_param params[] = {QL_RANK(svd, 64), QL_ADAPTER_DTYPE(svd), QL_PARAMS_END};

static ql_status
compensate(ql_ctx *cx, const void *self, const ql_compensate_in *in, ql_adapter *out)
{
    return ql_reconstruct(cx, in->w, in->what, &(ql_lowrank_spec){.rank = ((const svd *)self)->rank}, &out->b, &out->a);
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    const svd *p = self;

    (void)in;
    out->rank = p->rank;
    out->best_in = "weight";
}

QL_PLUGIN(.kind = QL_COMPENSATOR, .name = "svd", .version = "1.0",
          .help = "truncated SVD of the weight error (ZeroQuant-V2)", .cite = "arXiv:2303.08302", .params = params,
          .self_size = sizeof(svd),
          .compensator = QL_TABLE(ql_compensator, .compensate = compensate, .describe = describe), );
