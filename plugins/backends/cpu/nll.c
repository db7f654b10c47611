/* Negative log-likelihoods without logits of all tokens: a task holds one tile of tokens against one span of the vocabulary, tile
 * by tile, and leaves a maximum and a sum; spans are joined afterwards, in order. */
#include "cpu.h"

#include <math.h>

#define TOKENS 256
#define WORDS 512 /* of the vocabulary, in one tile of logits */
#define SPAN 4096 /* of the vocabulary, in one task */
#define DEPTH 512 /* of operands that are converted first */

typedef struct partial {
    float max;  /* of the logits of a span */
    double sum; /* of exp(logit - max) */
} partial;

typedef struct nll {
    const cpu *d;
    mat x, head;
    const int32_t *targets;
    partial *parts; /* [tokens, spans] */
    float *chosen;  /* [tokens]: the target's logit */
    int64_t spans;
} nll;

static void
load_tile(const nll *n, const mat *m, const int64_t at[4], float *to)
{
    for (int64_t i = 0; i < at[1]; i++)
        cpu_load(n->d->isa, m->dtype, mat_at(m, at[0] + i, at[2]), at[3], to + i * at[3]);
}

/* logits[rows, words] = x[t ..] head[v ..]^T */
static void
make_logits(const nll *n, int64_t t, int64_t rows, int64_t v, int64_t words, float *logits)
{
    float *x = logits + TOKENS * WORDS, *head = x + TOKENS * DEPTH;
    product p = {.tb = true, .m = rows, .n = words, .k = n->x.cols, .alpha = 1, .c = logits, .ldc = WORDS};

    if (n->x.dtype == QL_F32) {
        p.a = mat_at(&n->x, t, 0);
        p.b = mat_at(&n->head, v, 0);
        p.lda = n->x.ld;
        p.ldb = n->head.ld;
        cpu_product(&n->d->blas, &p);
        return;
    }
    for (int64_t k = 0; k < n->x.cols; k += DEPTH) {
        p.k = cpu_min(DEPTH, n->x.cols - k);
        load_tile(n, &n->x, (const int64_t[]){t, rows, k, p.k}, x);
        load_tile(n, &n->head, (const int64_t[]){v, words, k, p.k}, head);
        p.a = x;
        p.b = head;
        p.lda = p.ldb = p.k;
        p.beta = k > 0;
        cpu_product(&n->d->blas, &p);
    }
}

/* One tile of logits joins the running maximum and sum of its row. */
static void
add_row(const nll *n, float *logits, int64_t words, partial *part)
{
    float max = n->d->isa->row_max(logits, words);

    if (max > part->max) {
        part->sum *= exp((double)part->max - (double)max);
        part->max = max;
    }
    part->sum += (double)n->d->isa->exp_sum(logits, words, part->max);
}

static void
nll_task(void *arg, int64_t task, void *scratch)
{
    const nll *n = arg;
    int64_t span = task % n->spans, t = task / n->spans * TOKENS, rows = cpu_min(TOKENS, n->x.rows - t);
    int64_t end = cpu_min((span + 1) * SPAN, n->head.rows);
    float *logits = scratch;

    for (int64_t i = 0; i < rows; i++)
        n->parts[(t + i) * n->spans + span] = (partial){-INFINITY, 0};
    for (int64_t v = span * SPAN; v < end; v += WORDS) {
        int64_t words = cpu_min(WORDS, end - v);

        make_logits(n, t, rows, v, words, logits);
        for (int64_t i = 0; i < rows; i++) {
            int64_t target = n->targets[t + i];

            if (target >= v && target < v + words)
                n->chosen[t + i] = logits[i * WORDS + target - v];
            add_row(n, logits + i * WORDS, words, &n->parts[(t + i) * n->spans + span]);
        }
    }
}

static double
token_nll(const nll *n, int64_t t)
{
    const partial *part = n->parts + t * n->spans;
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

ql_status
cpu_nll(ql_ctx *cx, void *dev, const ql_tensor *x, const ql_tensor *head, const ql_tensor *targets, ql_tensor *out)
{
    nll n = {.d = dev, .x = cpu_mat(x), .head = cpu_mat(head), .targets = ql_ptr(targets)};
    size_t floats = TOKENS * WORDS + (n.x.dtype == QL_F32 ? 0 : (TOKENS + WORDS) * DEPTH);
    float *y = ql_ptr(out);

    if (n.x.dtype == QL_F64)
        return QL_FAIL(cx, QL_UNSUPPORTED, "nll on the cpu works in f32, got f64");
    QL_TRY(cx, cpu_fits(cx, &n.x));
    QL_TRY(cx, cpu_fits(cx, &n.head));
    QL_TRY(cx, check_targets(cx, &n));
    n.spans = cpu_div_up(n.head.rows, SPAN);
    QL_TRY(cx,
           cpu_shared(cx, dev, (size_t)n.x.rows * ((size_t)n.spans * sizeof *n.parts + sizeof *n.chosen), &n.parts));
    n.chosen = (float *)(n.parts + n.x.rows * n.spans);
    QL_TRY(cx, cpu_run(cx, dev, cpu_div_up(n.x.rows, TOKENS) * n.spans, floats * sizeof(float), nll_task, &n));
    for (int64_t t = 0; t < n.x.rows; t++)
        y[t] = n.targets[t] < 0 ? 0 : (float)token_nll(&n, t);
    return QL_OK;
}
