/* Negative log-likelihoods: a maximum and a sum of exponentials per token and span of the vocabulary, and the target's logit. */
#include "logits.h"

#include <math.h>

typedef struct nll {
    const cpu *d;
    mat x, head;
    const int32_t *targets;
    logit_sum *parts; /* [tokens, spans] */
    float *chosen;    /* [tokens]: the target's logit */
    int64_t spans;
} nll;

static void
nll_task(void *arg, int64_t task, void *scratch)
{
    const nll *n = arg;
    int64_t span = task % n->spans, t = task / n->spans * LOGIT_TOKENS, rows = cpu_min(LOGIT_TOKENS, n->x.rows - t);
    int64_t end = cpu_min((span + 1) * LOGIT_SPAN, n->head.rows);
    float *logits = scratch;

    for (int64_t i = 0; i < rows; i++)
        n->parts[(t + i) * n->spans + span] = (logit_sum){.max = -INFINITY};
    for (int64_t v = span * LOGIT_SPAN; v < end; v += LOGIT_WORDS) {
        int64_t words = cpu_min(LOGIT_WORDS, end - v);

        logits_make(n->d, &n->x, &n->head, &(logit_tile){t, rows, v, words}, logits, logits + LOGIT_TILE);
        for (int64_t i = 0; i < rows; i++) {
            int64_t target = n->targets[t + i];

            if (target >= v && target < v + words)
                n->chosen[t + i] = logits[i * LOGIT_WORDS + target - v];
            (void)logits_add(n->d, logits + i * LOGIT_WORDS, v, words, &n->parts[(t + i) * n->spans + span]);
        }
    }
}

static double
token_nll(const nll *n, int64_t t)
{
    const logit_sum *part = n->parts + t * n->spans;
    double max = (double)part[0].max, sum;

    for (int64_t s = 1; s < n->spans; s++)
        max = fmax(max, (double)part[s].max);
    sum = part[0].sum * exp((double)part[0].max - max);
    for (int64_t s = 1; s < n->spans; s++)
        sum += part[s].sum * exp((double)part[s].max - max);
    return log(sum) + max - (double)n->chosen[t];
}

static ql_status
check_targets(ql_ctx *cx, const nll *n)
{
    for (int64_t t = 0; t < n->x.rows; t++)
        if (n->targets[t] >= n->head.rows)
            return QL_FAIL(cx, QL_INVALID, "nll: the target of token %lld is %d, but the vocabulary has %lld entries",
                           (long long)t, (int)n->targets[t], (long long)n->head.rows);
    return QL_OK;
}

static ql_status
cpu_nll(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *x = op->t[0], *head = op->t[1], *targets = op->t[2], *out = op->t[3];
    nll n = {.d = dev, .x = cpu_mat(x), .head = cpu_mat(head), .targets = ql_ptr(targets)};
    size_t floats = LOGIT_TILE + logits_work(n.x.dtype);
    float *y = ql_ptr(out);

    QL_TRY(cx, cpu_fits(cx, &n.x));
    QL_TRY(cx, cpu_fits(cx, &n.head));
    QL_TRY(cx, check_targets(cx, &n));
    n.spans = cpu_div_up(n.head.rows, LOGIT_SPAN);
    QL_TRY(cx, ql_scratch(cx, (size_t)n.x.rows * ((size_t)n.spans * sizeof *n.parts + sizeof *n.chosen), &n.parts));
    n.chosen = (float *)(n.parts + n.x.rows * n.spans);
    QL_TRY(cx, cpu_run(cx, dev, cpu_div_up(n.x.rows, LOGIT_TOKENS) * n.spans, floats * sizeof(float), nll_task, &n));
    for (int64_t t = 0; t < n.x.rows; t++)
        y[t] = n.targets[t] < 0 ? 0 : (float)token_nll(&n, t);
    return QL_OK;
}

const ql_op_row cpu_nll_ops[] = {
    {QL_OP_NLL, cpu_nll, NULL, cpu_no_double},
    QL_OP_ROWS_END,
};
