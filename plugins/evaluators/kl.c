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

typedef struct position {   /* what a chunk leaves of each of its tokens */
    float kl, nll, ref_nll; /* nll: of the text's own next token, 0 without `next_token` */
    float agree;            /* 1: both models think the same token the likeliest */
} position;

typedef struct sums {
    float *kl;                    /* [scored]: of every position, for the quantiles */
    double *windows, *log_ratios; /* [sequences]: mean divergence and mean difference of losses of each window */
    int64_t scored, agreed;
    double sum, dp, dp_squares; /* over positions */
    running divergence, log_ratio;
} sums;

static ql_bos
bos(const void *self)
{
    return (ql_bos)((const divergence *)self)->bos;
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

/* Sequence `w`, which begins at token `begin` and ends before `end`: the positions whose successor is a target. */
static ql_status
add_window(ql_ctx *cx, sums *s, const unsigned char *scored, const position *at, int64_t begin, int64_t end)
{
    double sum = 0, ratio = 0;
    int64_t n = 0;

    for (int64_t t = begin; t + 1 < end; t++) {
        const double dp = exp(-(double)at[t].nll) - exp(-(double)at[t].ref_nll);

        if (!ql_is_target(scored, begin, t + 1))
            continue;
        n++;
        s->kl[s->scored++] = at[t].kl;
        s->agreed += at[t].agree > 0;
        sum += at[t].kl;
        ratio += (double)at[t].nll - at[t].ref_nll;
        s->dp += dp;
        s->dp_squares += dp * dp;
    }
    if (n == 0)
        return QL_OK;
    if (!isfinite(sum) || !isfinite(ratio))
        return QL_FAIL(cx, QL_NUMERIC, "the divergence of window %lld is not finite", (long long)s->divergence.count);
    s->sum += sum;
    s->windows[s->divergence.count] = sum / (double)n;
    s->log_ratios[s->divergence.count] = ratio / (double)n;
    put(&s->log_ratio, ratio / (double)n);
    put(&s->divergence, sum / (double)n);
    return QL_OK;
}

/* The positions that perplexity scores. */
static ql_status
add_windows(ql_ctx *cx, const ql_tokens *t, const position *at, sums *s)
{
    s->kl = ql_alloc(cx, (size_t)t->offsets[t->count], sizeof *s->kl);
    s->windows = ql_alloc(cx, (size_t)t->count, sizeof *s->windows);
    s->log_ratios = ql_alloc(cx, (size_t)t->count, sizeof *s->log_ratios);
    if (!s->kl || !s->windows || !s->log_ratios)
        return QL_MEMORY;
    for (int64_t w = 0; w < t->count; w++)
        QL_TRY(cx, add_window(cx, s, t->scored, at, t->offsets[w], t->offsets[w + 1]));
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
    ql_eval_targets(c, next);
    QL_TRY(cx, ql_upload(cx, QL_I32, total, -1, next, &targets));
    QL_TRY(cx, ql_nll(cx, c->x, c->head, targets, nll));
    return ql_nll(cx, c->ref, c->head, targets, ref_nll);
}

static ql_status
chunk(ql_ctx *cx, const void *self, const ql_eval_chunk *c, ql_eval_found *found)
{
    const divergence *p = self;
    const int64_t total = c->seqs->offsets[c->seqs->count];
    position *at = ql_alloc(cx, (size_t)total, sizeof *at);
    ql_tensor *kl, *agree, *nll = NULL, *ref_nll = NULL;
    const float *each, *own = NULL, *ref_own = NULL;
    const uint8_t *same;

    if (!at)
        return QL_MEMORY;
    QL_TRY(cx, ql_kl(cx, c->ref, c->x, c->head, &kl, &agree));
    QL_TRY(cx, ql_map(cx, kl, QL_READ, &each));
    QL_TRY(cx, ql_map(cx, agree, QL_READ, &same));
    if (p->next_token) {
        QL_TRY(cx, next_tokens(cx, c, &nll, &ref_nll));
        QL_TRY(cx, ql_map(cx, nll, QL_READ, &own));
        QL_TRY(cx, ql_map(cx, ref_nll, QL_READ, &ref_own));
    }
    for (int64_t t = 0; t < total; t++)
        at[t] = (position){.kl = each[t], .nll = own ? own[t] : 0, .ref_nll = own ? ref_own[t] : 0, .agree = same[t]};
    *found = (ql_eval_found){.data = at, .bytes = (size_t)total * sizeof *at};
    if (own) {
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
end(ql_ctx *cx, const void *self, const ql_eval_info *info, const ql_eval_found *found, ql_facts *out)
{
    const divergence *p = self;
    sums all = {0}, *s = &all;

    QL_TRY(cx, add_windows(cx, info->tokens, found->data, s));
    if (s->scored == 0)
        return QL_FAIL(cx, QL_INVALID, "no token to score: the data stage gave no window of two tokens or more");
    qsort(s->kl, (size_t)s->scored, sizeof *s->kl, rising);
    QL_TRY(cx, ql_fact_note(cx, out, "protocol", info->tokens->scored ? "every scored position" : "every position"));
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
          .evaluator = QL_TABLE(ql_evaluator, .needs_reference = true, .metrics = metrics, .bos = bos, .chunk = chunk,
                                .end = end), );
