/* Divergence from the unquantized model on the same tokens (formats 8.8): what perplexity hides, because errors of it compensate. */
#include <math.h>
#include <stdlib.h>

#include <qloom/evaluator.h>

typedef struct divergence {
    int bos;
} divergence;

static const char *const bos_modes[] = {"auto", "yes", "no", "data", NULL}; /* order of ql_bos */

static const ql_param params[] = {
    QL_ENUM(divergence, bos, QL_BOS_DATA, bos_modes,
            "BOS at the start: as the tokenizer says, always, never, as the data stage says"),
    QL_PARAMS_END,
};

typedef struct sums {
    float *kl; /* [scored]: of every position, for the quantiles */
    int64_t scored, agreed, windows;
    double sum, mean, spread; /* mean and spread: of the windows' means, running (Welford) */
} sums;

static ql_bos
bos(const void *self)
{
    return (ql_bos)((const divergence *)self)->bos;
}

static ql_status
begin(ql_ctx *cx, const void *self, const ql_eval_info *info, void *state)
{
    sums *s = state;

    (void)self;
    s->kl = ql_alloc(cx, (size_t)info->tokens->offsets[info->tokens->count], sizeof *s->kl);
    return s->kl ? QL_OK : QL_MEMORY;
}

static ql_status
add_window(ql_ctx *cx, sums *s, const float *kl, const uint8_t *agree, int64_t n)
{
    double sum = 0, delta;

    for (int64_t t = 0; t < n; t++) {
        s->kl[s->scored++] = kl[t];
        s->agreed += agree[t];
        sum += kl[t];
    }
    if (!isfinite(sum))
        return QL_FAIL(cx, QL_NUMERIC, "the divergence of window %lld is not finite", (long long)s->windows);
    s->sum += sum;
    delta = sum / (double)n - s->mean;
    s->mean += delta / (double)++s->windows;
    s->spread += delta * (sum / (double)n - s->mean);
    return QL_OK;
}

/* The positions that perplexity scores: those of a window that have a successor in it. */
static ql_status
chunk(ql_ctx *cx, const void *self, const ql_eval_chunk *c, void *state)
{
    ql_tensor *divergences, *agreements;
    const uint8_t *agree;
    const float *kl;

    (void)self;
    QL_TRY(cx, ql_kl(cx, c->ref, c->x, c->head, &divergences, &agreements));
    QL_TRY(cx, ql_map(cx, divergences, QL_READ, &kl));
    QL_TRY(cx, ql_map(cx, agreements, QL_READ, &agree));
    for (int64_t w = 0; w < c->seqs->count; w++) {
        const int64_t a = c->seqs->offsets[w], n = c->seqs->offsets[w + 1] - 1 - a;

        if (n > 0)
            QL_TRY(cx, add_window(cx, state, kl + a, agree + a, n));
    }
    QL_TRY(cx, ql_unmap(cx, agreements));
    return ql_unmap(cx, divergences);
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
end(ql_ctx *cx, const void *self, void *state, ql_metrics *out)
{
    const sums *s = state;
    double error = 0;

    (void)self;
    if (s->scored == 0)
        return QL_FAIL(cx, QL_INVALID, "no token to score: the data stage gave no window of two tokens or more");
    qsort(s->kl, (size_t)s->scored, sizeof *s->kl, rising);
    if (s->windows > 1)
        error = sqrt(s->spread / (double)(s->windows - 1) / (double)s->windows);
    QL_TRY(cx, ql_metric(cx, out, "mean", s->sum / (double)s->scored));
    QL_TRY(cx, ql_metric(cx, out, "stderr", error));
    QL_TRY(cx, ql_metric(cx, out, "median", quantile(s, 0.5)));
    QL_TRY(cx, ql_metric(cx, out, "p99", quantile(s, 0.99)));
    QL_TRY(cx, ql_metric(cx, out, "p999", quantile(s, 0.999)));
    QL_TRY(cx, ql_metric(cx, out, "max", (double)s->kl[s->scored - 1]));
    QL_TRY(cx, ql_metric(cx, out, "top1", (double)s->agreed / (double)s->scored));
    return ql_metric(cx, out, "tokens", (double)s->scored);
}

QL_PLUGIN(.kind = QL_EVALUATOR, .name = "kl", .version = "1.0",
          .help =
              "divergence from the original model per token, in nats: mean and its stderr over windows, median, p99, "
              "p999, max; top1: share of tokens where both put the same word first",
          .params = params, .self_size = sizeof(divergence),
          .evaluator = &(const ql_evaluator){.needs_reference = true,
                                             .state_size = sizeof(sums),
                                             .bos = bos,
                                             .begin = begin,
                                             .chunk = chunk,
                                             .end = end}, );
