/* Log-probabilities of chosen words: as nll.c, with any number of words a row. A row's bits do not depend on the rows beside it, so small
 * tiles are filled up: the library takes other kernels for small products. */
#include "logits.h"

#include <math.h>
#include <string.h>

#define LEAST 4096 /* elements of a product that is never small to the library */

typedef struct logprob {
    const cpu *d;
    mat x, head;
    const int32_t *row_of, *ids; /* [targets], rows ascending */
    int64_t targets, spans;
    logit_sum *parts; /* [rows, spans] */
    float *chosen;    /* [targets]: their logits */
} logprob;

/* The first target of row `row` or one behind it. */
static int64_t
first_target(const logprob *p, int64_t row)
{
    int64_t lo = 0, hi = p->targets;

    while (lo < hi) {
        const int64_t mid = (lo + hi) / 2;

        if (p->row_of[mid] < row)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Rows that a product against so few words needs. */
static int64_t
least_rows(int64_t words)
{
    return cpu_min(LOGIT_TOKENS, cpu_div_up(LEAST, words));
}

/* The rows of x from `t`, followed by zeros where the product would be a small one. */
static mat
filled(const logprob *p, int64_t t, int64_t rows, int64_t *least, void *copy)
{
    const int64_t words = cpu_min(LOGIT_WORDS, p->head.rows), last = p->head.rows % LOGIT_WORDS;
    const size_t bytes = (size_t)p->x.cols * p->x.size;
    mat m = p->x;

    *least = least_rows(last && last < words ? last : words);
    m.p = mat_at(&p->x, t, 0);
    m.rows = rows;
    if (rows >= *least)
        return m;
    for (int64_t i = 0; i < rows; i++)
        memcpy((char *)copy + (size_t)i * bytes, mat_at(&p->x, t + i, 0), bytes);
    memset((char *)copy + (size_t)rows * bytes, 0, (size_t)(*least - rows) * bytes);
    m.p = copy;
    m.rows = *least;
    m.ld = m.cols;
    return m;
}

static void
logprob_task(void *arg, int64_t task, void *scratch)
{
    const logprob *p = arg;
    const int64_t span = task % p->spans, t = task / p->spans * LOGIT_TOKENS,
                  rows = cpu_min(LOGIT_TOKENS, p->x.rows - t), end = cpu_min((span + 1) * LOGIT_SPAN, p->head.rows);
    float *logits = scratch, *work = logits + LOGIT_TILE;
    int64_t least;
    const mat x = filled(p, t, rows, &least, work + logits_work(p->x.dtype));

    for (int64_t i = 0; i < rows; i++)
        p->parts[(t + i) * p->spans + span] = (logit_sum){.max = -INFINITY};
    for (int64_t v = span * LOGIT_SPAN; v < end; v += LOGIT_WORDS) {
        const int64_t words = cpu_min(LOGIT_WORDS, end - v);

        logits_make(p->d, &x, &p->head, &(logit_tile){0, x.rows, v, words}, logits, work);
        for (int64_t i = first_target(p, t); i < p->targets && p->row_of[i] < t + rows; i++)
            if (p->ids[i] >= v && p->ids[i] < v + words)
                p->chosen[i] = logits[(p->row_of[i] - t) * LOGIT_WORDS + p->ids[i] - v];
        for (int64_t i = 0; i < rows; i++)
            (void)logits_add(p->d, logits + i * LOGIT_WORDS, v, words, &p->parts[(t + i) * p->spans + span]);
    }
}

/* The logarithm of the sum of a row's exponentials; *best is its first largest word. */
static double
row_lse(const logprob *p, int64_t row, int32_t *best)
{
    const logit_sum *part = p->parts + row * p->spans, *top = part;
    double sum;

    for (int64_t s = 1; s < p->spans; s++)
        if (part[s].max > top->max)
            top = &part[s];
    *best = (int32_t)top->best;
    sum = part[0].sum * exp((double)part[0].max - (double)top->max);
    for (int64_t s = 1; s < p->spans; s++)
        sum += part[s].sum * exp((double)part[s].max - (double)top->max);
    return log(sum) + (double)top->max;
}

static ql_status
check_targets(ql_ctx *cx, const logprob *p)
{
    for (int64_t i = 0; i < p->targets; i++) {
        if (p->row_of[i] < 0 || p->row_of[i] >= p->x.rows || (i && p->row_of[i] < p->row_of[i - 1]))
            return QL_FAIL(cx, QL_INVALID, "logprob: the row of target %lld is %d: expected ascending rows below %lld",
                           (long long)i, (int)p->row_of[i], (long long)p->x.rows);
        if (p->ids[i] < 0 || p->ids[i] >= p->head.rows)
            return QL_FAIL(cx, QL_INVALID, "logprob: target %lld is %d, but the vocabulary has %lld entries",
                           (long long)i, (int)p->ids[i], (long long)p->head.rows);
    }
    return QL_OK;
}

static ql_status
cpu_logprob(ql_ctx *cx, void *dev, const ql_op *op)
{
    logprob p = {.d = dev,
                 .x = cpu_mat(op->t[0]),
                 .head = cpu_mat(op->t[1]),
                 .row_of = ql_ptr(op->t[2]),
                 .ids = ql_ptr(op->t[3]),
                 .targets = ql_dim(op->t[2], 0)};
    const size_t floats = LOGIT_TILE + logits_work(p.x.dtype),
                 bytes = floats * sizeof(float) + (size_t)(LOGIT_TOKENS * p.x.cols) * p.x.size;
    float *out = ql_ptr(op->t[4]);
    int32_t *best = ql_ptr(op->t[5]);
    double *lse;

    QL_TRY(cx, cpu_fits(cx, &p.x));
    QL_TRY(cx, cpu_fits(cx, &p.head));
    QL_TRY(cx, check_targets(cx, &p));
    p.spans = cpu_div_up(p.head.rows, LOGIT_SPAN);
    QL_TRY(cx, ql_scratch(cx, (size_t)(p.x.rows * p.spans) * sizeof *p.parts, &p.parts));
    QL_TRY(cx, ql_scratch(cx, (size_t)p.targets * sizeof *p.chosen, &p.chosen));
    QL_TRY(cx, ql_scratch(cx, (size_t)p.x.rows * sizeof *lse, &lse));
    QL_TRY(cx, cpu_run(cx, dev, cpu_div_up(p.x.rows, LOGIT_TOKENS) * p.spans, bytes, logprob_task, &p));
    for (int64_t r = 0; r < p.x.rows; r++)
        lse[r] = row_lse(&p, r, &best[r]);
    for (int64_t i = 0; i < p.targets; i++)
        out[i] = (float)((double)p.chosen[i] - lse[p.row_of[i]]);
    return QL_OK;
}

const ql_op_row cpu_logprob_ops[] = {
    {QL_OP_LOGPROB, cpu_logprob, NULL, cpu_no_double},
    QL_OP_ROWS_END,
};
