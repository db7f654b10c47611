/* LQER (Zhang et al., arXiv:2402.02446): reconstruction of the error weighted by the mean magnitude of each input (docs/methods.md 6). */
#include <qloom/compensator.h>
#include <qloom/lowrank.h>

typedef struct lqer {
    int rank, adapter_dtype, lqer_stat;
} lqer;

static const char *const stat_words[] = {"mean", "max", NULL};

static const ql_param params[] = {
    QL_RANK(lqer, 64),
    QL_ADAPTER_DTYPE(lqer),
    QL_ENUM(lqer, lqer_stat, 0, stat_words,
            "magnitude of an input: its mean over tokens (the paper), or the largest mean over a sequence (its code)"),
    QL_PARAMS_END,
};

static ql_status
compensate(ql_ctx *cx, const void *self, const ql_compensate_in *in, ql_adapter *out)
{
    const lqer *p = self;
    ql_lowrank_spec spec = {.rank = p->rank};
    ql_stats stats = *in->stats;

    stats.abs_mean = p->lqer_stat == 1 ? stats.abs_max : stats.abs_mean;
    QL_TRY(cx, ql_scaling_norm(cx, &stats, QL_SCALING_LQER, &spec.h));
    return ql_reconstruct(cx, in->w, in->what, &spec, &out->b, &out->a);
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    const lqer *p = self;

    (void)in;
    out->rank = p->rank;
}

QL_PLUGIN(.kind = QL_COMPENSATOR, .name = "lqer", .version = "1.0",
          .help = "low-rank reconstruction of the error, inputs weighted by their mean magnitude",
          .cite = "arXiv:2402.02446", .params = params, .self_size = sizeof(lqer),
          .compensator = QL_TABLE(ql_compensator, .needs = QL_NEEDS_STATS, .compensate = compensate,
                                  .describe = describe), );
