/* LoRDQ: the adapter that reconstructs the quantization error best in the norm of the layer's inputs (ProjQ's second phase;
 * docs/methods.md 5.3, in the root-free form of 4.1). */
#include <qloom/compensator.h>
#include <qloom/lowrank.h>

typedef struct lordq {
    int rank, adapter_dtype;
} lordq;

static const ql_param params[] = {QL_RANK(lordq, 64), QL_ADAPTER_DTYPE(lordq), QL_PARAMS_END};

static ql_status
compensate(ql_ctx *cx, const void *self, const ql_compensate_in *in, ql_adapter *out)
{
    const lordq *p = self;

    return ql_reconstruct(cx, in->w, in->what, &(ql_lowrank_spec){.h = in->stats->h, .rank = p->rank}, &out->b,
                          &out->a);
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    const lordq *p = self;

    (void)in;
    out->rank = p->rank;
    out->best_in = "layer output";
}

QL_PLUGIN(.kind = QL_COMPENSATOR, .name = "lordq", .version = "1.0",
          .help = "best low-rank reconstruction of the error in the norm of the inputs", .params = params,
          .self_size = sizeof(lordq),
          .compensator = QL_TABLE(ql_compensator, .needs = QL_NEEDS_STATS, .compensate = compensate,
                                  .describe = describe), );
