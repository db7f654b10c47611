/* An evaluator of the end of the model that writes to what it is lent: `to` says to what, `by` in which way. */
#include <qloom/evaluator.h>

#include "touch.h"

typedef struct marks {
    int to, by;
} marks;

enum { NOTHING, X, HEAD, IDS, OFFSETS, CHUNK, PARAMETERS, TOKENS };

static const char *const inputs[] = {"nothing", "x", "head", "ids", "offsets", "chunk", "parameters", "tokens", NULL};
static const ql_param params[] = {QL_ENUM(marks, to, NOTHING, inputs, "what it writes to"),
                                  QL_ENUM(marks, by, OPERATION, ways, "how"), QL_PARAMS_END};
static const ql_metric_kind metrics[] = {{.name = "zero"}, {.name = NULL}};

static ql_status
chunk(ql_ctx *cx, const void *self, const ql_eval_chunk *in, ql_eval_found *out)
{
    const marks *p = self;

    (void)out;
    switch (p->to) {
    case X:
        return write_tensor(cx, in->x, p->by, false);
    case HEAD:
        return write_tensor(cx, in->head, p->by, false);
    case IDS:
        ((int32_t *)(uintptr_t)in->ids)[3] = 1;
        return QL_OK;
    case OFFSETS:
        ((int64_t *)(uintptr_t)in->seqs->offsets)[1] -= 2;
        return QL_OK;
    case CHUNK:
        ((ql_eval_chunk *)(uintptr_t)in)->x = in->head; /* a copy of its own: no harm */
        return QL_OK;
    case PARAMETERS:
        ((marks *)(uintptr_t)p)->by = POINTER + 1;
        return QL_OK;
    default:
        return QL_OK;
    }
}

static ql_status
tokens(ql_ctx *cx, const void *self, const ql_tokens *in, ql_tokens *out)
{
    const marks *p = self;

    (void)cx;
    (void)out;
    if (p->to == TOKENS)
        ((int32_t *)(uintptr_t)in->ids)[3] = 1;
    return QL_OK;
}

static ql_status
end(ql_ctx *cx, const void *self, const ql_eval_info *info, const ql_eval_found *found, ql_facts *out)
{
    (void)self;
    (void)info;
    (void)found;
    return ql_fact(cx, out, "zero", NULL, 0);
}

QL_PLUGIN(.kind = QL_EVALUATOR, .name = "marks", .version = "0.1", .help = "writes to what it is lent",
          .params = params, .self_size = sizeof(marks),
          .evaluator = QL_TABLE(ql_evaluator, .metrics = metrics, .tokens = tokens, .chunk = chunk, .end = end), );
