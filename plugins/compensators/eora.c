/* EoRA (Liu et al., arXiv:2410.21271): the error projected into the eigenspace of the inputs, truncated there, projected back. The same
 * optimum as LoRDQ and QERA-exact for equal statistics (docs/methods.md 6), so the same call: no eigenbasis is needed. */
#include <qloom/compensator.h>
#include <qloom/lowrank.h>

typedef struct eora {
    int rank, adapter_dtype;
} eora;

static const ql_param params[] = {QL_RANK(eora, 64), QL_ADAPTER_DTYPE(eora), QL_PARAMS_END};

static ql_status
compensate(ql_ctx *cx, const void *self, const ql_compensate_in *in, ql_adapter *out)
{
    const eora *p = self;

    return ql_reconstruct(cx, in->w, in->what, &(ql_lowrank_spec){.h = in->stats->h, .rank = p->rank}, &out->b,
                          &out->a);
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    const eora *p = self;

    (void)in;
    out->rank = p->rank;
    out->best_in = "layer output";
}

QL_PLUGIN(.kind = QL_COMPENSATOR, .name = "eora", .version = "1.0",
          .help = "low-rank reconstruction in the eigenspace of the inputs, training-free", .cite = "arXiv:2410.21271",
          .params = params, .self_size = sizeof(eora),
          .compensator = QL_TABLE(ql_compensator, .needs = QL_NEEDS_STATS, .compensate = compensate,
                                  .describe = describe), );
