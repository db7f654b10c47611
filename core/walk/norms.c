/* Norms of original weights, which no cell changes: worked out once for all that are measured against them. */
#include "walk.h"

typedef struct norms {
    double output, weight;
} norms;

static ql_status
measure(ql_ctx *cx, const ql_linear_result *in, norms *out)
{
    QL_TRY(cx, ql_quad(cx, in->w, in->stats->h, &out->output));
    return ql_dot(cx, in->w, in->w, &out->weight);
}

ql_status
ql_linear_norms(ql_ctx *cx, const ql_linear_result *in, double *output, double *weight)
{
    const char *key = ql_format(cx, "norms of %s", in->name);
    const norms *kept = key ? ql_stats_get(in->stats, key) : NULL;
    norms made;

    if (!key)
        return QL_MEMORY;
    if (!kept) {
        QL_TRY(cx, measure(cx, in, &made));
        QL_TRY(cx, ql_stats_put(cx, in->stats, key, &made, sizeof made, NULL, 0));
        kept = &made;
    }
    *output = kept->output;
    *weight = kept->weight;
    return QL_OK;
}
