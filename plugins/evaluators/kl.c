/* Divergence from the unquantized model on the same tokens (docs/methods.md 10): what perplexity hides, because errors of
 * it compensate. */
#include <math.h>
#include <stdlib.h>

#include <qloom/evaluator.h>

typedef struct divergence {
    int bos;
    bool next_token;
} divergence;

static const char *const bos_modes[] = {"auto", "yes", "no", "data", NULL}; /* order of ql_bos */

static const ql_param params[] = {
    QL_ENUM(divergence, bos, QL_BOS_DATA, bos_modes,
            "BOS at the start: as the tokenizer says, always, never, as the data stage says"),
    QL_FLAG(divergence, next_token, true,
            "also compare what both give the text's own next token: twice the products with the head"),
    QL_PARAMS_END,
};

typedef struct running { /* mean and sum of squared deviations of what comes (Welford) */
    int64_t count;
    double mean, spread;
} running;

typedef struct sums {
    float *kl;                    /* [scored]: of every position, for the quantiles */
    double *windows, *log_ratios; /* [sequences]: mean divergence and mean difference of losses of each window */
    int64_t scored, agreed;
    double sum, dp, dp_squares; /* over positions */
    running divergence, log_ratio;
} sums;

/* One window of n scored positions; nll NULL: without the text's own next token. */
typedef struct window {
    int64_t n;
    const float *kl, *nll, *ref_nll;
    const uint8_t *agree;
} window;

static ql_bos
bos(const void *self)
{
    return (ql_bos)((const divergence *)self)->bos;
}

static ql_status
begin(ql_ctx *cx, const void *self, const ql_eval_info *info, void *state)
{
    sums *s = state;
    const ql_tokens *t = info->tokens;

    (void)self;
    s->kl = ql_alloc(cx, (size_t)t->offsets[t->count], sizeof *s->kl);
    s->windows = ql_alloc(cx, (size_t)t->count, sizeof *s->windows);
    s->log_ratios = ql_alloc(cx, (size_t)t->count, sizeof *s->log_ratios);
    return s->kl && s->windows && s->log_ratios ? QL_OK : QL_MEMORY;
}

static void
put(running *r, double value)
{
    const double delta = value - r->mean;

    r->mean += delta / (double)++r->count;
    r->spread += delta * (value - r->mean);
}

/* Standard error of the mean. */
static double
error_of(const running *r)
{
    return r->count > 1 ? sqrt(r->spread / (double)(r->count - 1) / (double)r->count) : 0;
}

static ql_status
add_window(ql_ctx *cx, sums *s, const window *w)
{
    double sum = 0, ratio = 0;

    for (int64_t t = 0; t < w->n; t++) {
        s->kl[s->scored++] = w->kl[t];
        s->agreed += w->agree[t];
        sum += w->kl[t];
        if (w->nll) {
            const double dp = exp(-(double)w->nll[t]) - exp(-(double)w->ref_nll[t]);

            ratio += (double)w->nll[t] - w->ref_nll[t];
            s->dp += dp;
            s->dp_squares += dp * dp;
        }
    }
    if (!isfinite(sum) || !isfinite(ratio))
        return QL_FAIL(cx, QL_NUMERIC, "the divergence of window %lld is not finite", (long long)s->divergence.count);
    s->sum += sum;
    s->windows[s->divergence.count] = sum / (double)w->n;
    s->log_ratios[s->divergence.count] = ratio / (double)w->n;
    put(&s->log_ratio, ratio / (double)w->n);
    put(&s->divergence, sum / (double)w->n);
    return QL_OK;
}

/* -log p of each next token under both models. */
static ql_status
next_tokens(ql_ctx *cx, const ql_eval_chunk *c, ql_tensor **nll, ql_tensor **ref_nll)
{
    const int64_t total = c->seqs->offsets[c->seqs->count];
    int32_t *next = ql_alloc(cx, (size_t)total, sizeof *next);
    ql_tensor *targets;

    if (!next)
        return QL_MEMORY;
    for (int64_t w = 0; w < c->seqs->count; w++)
        for (int64_t t = c->seqs->offsets[w]; t < c->seqs->offsets[w + 1]; t++)
            next[t] = t + 1 < c->seqs->offsets[w + 1] ? c->ids[t + 1] : -1;
    QL_TRY(cx, ql_upload(cx, QL_I32, total, -1, next, &targets));
    QL_TRY(cx, ql_nll(cx, c->x, c->head, targets, nll));
    return ql_nll(cx, c->ref, c->head, targets, ref_nll);
}

/* The positions that perplexity scores: those of a window that have a successor in it. */
static ql_status
chunk(ql_ctx *cx, const void *self, const ql_eval_chunk *c, void *state)
{
    const divergence *p = self;
    ql_tensor *kl, *agree, *nll = NULL, *ref_nll = NULL;
    window all = {0};

    QL_TRY(cx, ql_kl(cx, c->ref, c->x, c->head, &kl, &agree));
    QL_TRY(cx, ql_map(cx, kl, QL_READ, &all.kl));
    QL_TRY(cx, ql_map(cx, agree, QL_READ, &all.agree));
    if (p->next_token) {
        QL_TRY(cx, next_tokens(cx, c, &nll, &ref_nll));
        QL_TRY(cx, ql_map(cx, nll, QL_READ, &all.nll));
        QL_TRY(cx, ql_map(cx, ref_nll, QL_READ, &all.ref_nll));
    }
    for (int64_t w = 0; w < c->seqs->count; w++) {
        const int64_t a = c->seqs->offsets[w];
        const window one = {.n = c->seqs->offsets[w + 1] - 1 - a,
                            .kl = all.kl + a,
                            .agree = all.agree + a,
                            .nll = nll ? all.nll + a : NULL,
                            .ref_nll = nll ? all.ref_nll + a : NULL};

        if (one.n > 0)
            QL_TRY(cx, add_window(cx, state, &one));
    }
    if (nll) {
        QL_TRY(cx, ql_unmap(cx, nll));
        QL_TRY(cx, ql_unmap(cx, ref_nll));
    }
    QL_TRY(cx, ql_unmap(cx, agree));
    return ql_unmap(cx, kl);
}

static int
rising(const void *pa, const void *pb)
{
    const float a = *(const float *)pa, b = *(const float *)pb;

    return (a > b) - (a < b);
}

/* Between the two sorted values next to place q (n - 1), linearly. */
static double
quantile(const sums *s, double q)
{
    const double place = q * (double)(s->scored - 1), rest = place - floor(place);
    const int64_t i = (int64_t)place, next = i + 1 < s->scored ? i + 1 : i;

    return (1 - rest) * (double)s->kl[i] + rest * (double)s->kl[next];
}

static ql_status
end(ql_ctx *cx, const void *self, void *state, ql_facts *out)
{
    const divergence *p = self;
    const sums *s = state;

    if (s->scored == 0)
        return QL_FAIL(cx, QL_INVALID, "no token to score: the data stage gave no window of two tokens or more");
    qsort(s->kl, (size_t)s->scored, sizeof *s->kl, rising);
    QL_TRY(cx, ql_fact_note(cx, out, "protocol", "every position"));
    QL_TRY(cx, ql_fact_list(cx, out, "windows", s->divergence.count, s->windows));
    QL_TRY(cx, ql_fact(cx, out, "mean", NULL, s->sum / (double)s->scored));
    QL_TRY(cx, ql_fact(cx, out, "stderr", NULL, error_of(&s->divergence)));
    QL_TRY(cx, ql_fact(cx, out, "median", NULL, quantile(s, 0.5)));
    QL_TRY(cx, ql_fact(cx, out, "p99", NULL, quantile(s, 0.99)));
    QL_TRY(cx, ql_fact(cx, out, "p999", NULL, quantile(s, 0.999)));
    QL_TRY(cx, ql_fact(cx, out, "max", NULL, (double)s->kl[s->scored - 1]));
    QL_TRY(cx, ql_fact(cx, out, "top1", NULL, (double)s->agreed / (double)s->scored));
    if (p->next_token) {
        QL_TRY(cx, ql_fact_list(cx, out, "log_ratios", s->log_ratio.count, s->log_ratios));
        QL_TRY(cx, ql_fact(cx, out, "dp", NULL, s->dp / (double)s->scored));
        QL_TRY(cx, ql_fact(cx, out, "dp_rms", NULL, sqrt(s->dp_squares / (double)s->scored)));
        QL_TRY(cx, ql_fact(cx, out, "log_ratio", NULL, s->log_ratio.mean));
        QL_TRY(cx, ql_fact(cx, out, "log_ratio_stderr", NULL, error_of(&s->log_ratio)));
    }
    return ql_fact(cx, out, "tokens", NULL, (double)s->scored);
}

static const ql_metric_kind metrics[] = {
    {.name = "mean", .unit = "nats", .better = QL_BETTER_LOWER, .parts = "windows"},
    {.name = "median", .unit = "nats", .better = QL_BETTER_LOWER},
    {.name = "p99", .unit = "nats", .better = QL_BETTER_LOWER},
    {.name = "p999", .unit = "nats", .better = QL_BETTER_LOWER},
    {.name = "max", .unit = "nats", .better = QL_BETTER_LOWER},
    {.name = "top1", .better = QL_BETTER_HIGHER},
    {.name = "dp_rms", .better = QL_BETTER_LOWER},
    {.name = "log_ratio", .unit = "nats", .better = QL_BETTER_LOWER, .parts = "log_ratios"},
    {.name = NULL},
};

QL_PLUGIN(.kind = QL_EVALUATOR, .name = "kl", .version = "1.0",
          .help =
              "divergence from the original model per token, in nats: mean and its stderr over windows, median, p99, "
              "p999, max; top1: share of tokens where both put the same word first; of the text's next token dp, the "
              "mean change of its probability, dp_rms, and log_ratio, ln of the ratio of perplexities, with its stderr",
          .params = params, .self_size = sizeof(divergence),
          .evaluator = QL_TABLE(ql_evaluator, .needs_reference = true, .metrics = metrics, .state_size = sizeof(sums),
                                .bos = bos, .begin = begin, .chunk = chunk, .end = end), );
