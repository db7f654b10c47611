/* A compensator that writes to what it is lent, in its tenth call: `to` says to what, `by` in which way. Where no pipeline file says it,
 * WRITES_TO and WRITES_BY do, for the first call. */
#include <stdlib.h>
#include <string.h>

#include <qloom/compensator.h>

#include "touch.h"

typedef struct writes {
    int rank, to, by;
} writes;

enum { NOTHING, W, WHAT, H, ABS_MEAN, ABS_MAX, MEMO, LAST_OF_W, PARAMETERS, STATISTICS };

static const char *const inputs[] = {"nothing", "w",         "what",       "h",          "abs_mean", "abs_max",
                                     "memo",    "last_of_w", "parameters", "statistics", NULL};
static const ql_param params[] = {QL_RANK(writes, 2), QL_ENUM(writes, to, NOTHING, inputs, "what it writes to"),
                                  QL_ENUM(writes, by, OPERATION, ways, "how"), QL_PARAMS_END};

static int
index_of(const char *const *words, const char *word)
{
    int i = 0;

    while (words[i] && strcmp(words[i], word ? word : "") != 0)
        i++;
    return words[i] ? i : 0;
}

/* What the statistics keep for all who have them; made here where nobody else has. */
static ql_status
kept(ql_ctx *cx, const ql_stats *stats, const ql_tensor **out)
{
    const void *value = ql_stats_get(stats, "writes");
    ql_tensor *t;

    if (!value) {
        QL_TRY(cx, ql_convert(cx, stats->abs_mean, QL_F32, &t));
        QL_TRY(cx, ql_stats_put(cx, stats, "writes", &t, sizeof t, (const ql_tensor *const[]){t}, 1));
        value = ql_stats_get(stats, "writes");
    }
    *out = NULL;
    if (value)
        memcpy(out, value, sizeof *out);
    return QL_OK;
}

static ql_status
write_to(ql_ctx *cx, const writes *p, const ql_compensate_in *in, const ql_tensor *memo)
{
    switch (p->to) {
    case W:
    case LAST_OF_W:
        return write_tensor(cx, in->w, p->by, p->to == LAST_OF_W);
    case WHAT:
        return write_tensor(cx, in->what, p->by, false);
    case H:
        return write_tensor(cx, in->stats->h, p->by, false);
    case ABS_MEAN:
        return write_tensor(cx, in->stats->abs_mean, p->by, false);
    case ABS_MAX:
        return write_tensor(cx, in->stats->abs_max, p->by, false);
    case MEMO:
        return memo ? write_tensor(cx, memo, p->by, false) : QL_OK;
    case PARAMETERS:
        ((writes *)(uintptr_t)p)->rank = 1;
        return QL_OK;
    case STATISTICS:
        ((ql_stats *)(uintptr_t)in->stats)->tokens = 1;
        return QL_OK;
    default:
        return QL_OK;
    }
}

static ql_status
compensate(ql_ctx *cx, const void *self, const ql_compensate_in *in, ql_adapter *out)
{
    static int calls;
    const writes *p = self;
    const writes told = {.to = index_of(inputs, getenv("WRITES_TO")), .by = index_of(ways, getenv("WRITES_BY"))};
    const ql_tensor *memo = NULL;
    ql_tensor *e;

    QL_TRY(cx, kept(cx, in->stats, &memo));
    if (told.to != NOTHING)
        QL_TRY(cx, write_to(cx, &told, in, memo));
    if (p->to != NOTHING && ++calls == 10)
        QL_TRY(cx, write_to(cx, p, in, memo));
    QL_TRY(cx, ql_convert(cx, in->w, QL_F32, &e));
    QL_TRY(cx, ql_axpby(cx, -1, in->what, 1, e));
    QL_TRY(cx, ql_zeros(cx, QL_F32, ql_dim(in->w, 0), p->rank, &out->b));
    return ql_zeros(cx, QL_F32, p->rank, ql_dim(in->w, 1), &out->a);
}

QL_PLUGIN(.kind = QL_COMPENSATOR, .name = "writes", .version = "0.1", .help = "writes to what it is lent",
          .params = params, .self_size = sizeof(writes),
          .compensator = QL_TABLE(ql_compensator, .needs = QL_NEEDS_STATS, .compensate = compensate), );
