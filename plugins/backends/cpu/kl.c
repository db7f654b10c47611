/* Divergence of two models' predictions: KL(p_ref || p) = sum p_ref (ref - x) + lse(x) - lse(ref) over the words' logits, so one pass
 * over tiles of both logits is enough. */
#include "logits.h"

#include <math.h>

#define LANES 8 /* partial sums, so that the loop need not wait for each */

typedef struct partial {
    logit_sum ref, x;
    double shift; /* sum of exp(ref - ref.max) (ref - x) */
} partial;

typedef struct divergence {
    const cpu *d;
    mat ref, x, head;
    partial *parts; /* [tokens, spans] */
    int64_t spans;
} divergence;

static double
dot(const float *a, const float *b, int64_t n)
{
    double sum[LANES] = {0};
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            sum[l] += (double)a[i + l] * (double)b[i + l];
    for (; i < n; i++)
        sum[i % LANES] += (double)a[i] * (double)b[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

static void
add_rows(const divergence *k, const logit_tile *at, float *ref, float *x, partial *part)
{
    float difference[LOGIT_WORDS];

    for (int64_t j = 0; j < at->words; j++)
        difference[j] = ref[j] - x[j];
    part->shift *= logits_add(k->d, ref, at->word, at->words, &part->ref);
    part->shift += dot(ref, difference, at->words);
    (void)logits_add(k->d, x, at->word, at->words, &part->x);
}

static void
kl_task(void *arg, int64_t task, void *scratch)
{
    const divergence *k = arg;
    const int64_t span = task % k->spans, end = cpu_min((span + 1) * LOGIT_SPAN, k->head.rows);
    float *ref = scratch, *x = ref + LOGIT_TILE, *work = x + LOGIT_TILE;
    logit_tile at = {.token = task / k->spans * LOGIT_TOKENS};
    partial *parts = k->parts + at.token * k->spans + span;

    at.tokens = cpu_min(LOGIT_TOKENS, k->x.rows - at.token);
    for (int64_t i = 0; i < at.tokens; i++)
        parts[i * k->spans] = (partial){.ref.max = -INFINITY, .x.max = -INFINITY};
    for (at.word = span * LOGIT_SPAN; at.word < end; at.word += LOGIT_WORDS) {
        at.words = cpu_min(LOGIT_WORDS, end - at.word);
        logits_make(k->d, &k->ref, &k->head, &at, ref, work);
        logits_make(k->d, &k->x, &k->head, &at, x, work);
        for (int64_t i = 0; i < at.tokens; i++)
            add_rows(k, &at, ref + i * LOGIT_WORDS, x + i * LOGIT_WORDS, &parts[i * k->spans]);
    }
}

/* The sum over a further part of the vocabulary joins; returns what weights the part's other sums have against the new maximum in
 * `right`, and those of the sum so far in `left`. */
static void
join(logit_sum *sum, const logit_sum *part, double *left, double *right)
{
    const float max = part->max > sum->max ? part->max : sum->max;

    *left = exp((double)sum->max - (double)max);
    *right = exp((double)part->max - (double)max);
    sum->best = part->max > sum->max ? part->best : sum->best;
    sum->sum = sum->sum * *left + part->sum * *right;
    sum->max = max;
}

static double
token_kl(const partial *parts, int64_t spans, bool *agree)
{
    partial all = parts[0];
    double left, right, kl;

    for (int64_t s = 1; s < spans; s++) {
        join(&all.x, &parts[s].x, &left, &right);
        join(&all.ref, &parts[s].ref, &left, &right);
        all.shift = all.shift * left + parts[s].shift * right;
    }
    *agree = all.ref.best == all.x.best;
    kl = all.shift / all.ref.sum + ((double)all.x.max - (double)all.ref.max) + (log(all.x.sum) - log(all.ref.sum));
    return kl < 0 ? 0 : kl; /* by rounding; NaN stays */
}

static ql_status
cpu_kl(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *ref = op->t[0], *x = op->t[1], *head = op->t[2];
    const ql_tensor *const *out = op->t + 3;
    divergence k = {.d = dev, .ref = cpu_mat(ref), .x = cpu_mat(x), .head = cpu_mat(head)};
    const size_t floats = 2 * LOGIT_TILE + logits_work(k.x.dtype);
    float *y = ql_ptr(out[0]);
    uint8_t *agree = ql_ptr(out[1]);

    QL_TRY(cx, cpu_fits(cx, &k.x));
    QL_TRY(cx, cpu_fits(cx, &k.head));
    k.spans = cpu_div_up(k.head.rows, LOGIT_SPAN);
    QL_TRY(cx, ql_scratch(cx, (size_t)(k.x.rows * k.spans) * sizeof *k.parts, &k.parts));
    QL_TRY(cx, cpu_run(cx, dev, cpu_div_up(k.x.rows, LOGIT_TOKENS) * k.spans, floats * sizeof(float), kl_task, &k));
    for (int64_t t = 0; t < k.x.rows; t++) {
        bool same;

        y[t] = (float)token_kl(k.parts + t * k.spans, k.spans, &same);
        agree[t] = same;
    }
    return QL_OK;
}

const ql_op_row cpu_kl_ops[] = {
    {QL_OP_KL, cpu_kl, NULL, cpu_no_double},
    QL_OP_ROWS_END,
};
