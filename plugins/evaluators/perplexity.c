/* Perplexity (docs/methods.md 10): `gptq`, windows scored whole, and `llama.cpp`, the second half of each window behind a BOS.
 */
#include <math.h>
#include <string.h>

#include <qloom/evaluator.h>

typedef struct perplexity {
    int protocol, bos;
    bool save_nll;
} perplexity;

enum { GPTQ, LLAMA_CPP };
static const char *const protocols[] = {"gptq", "llama.cpp", NULL};
static const char *const bos_modes[] = {"auto", "yes", "no", "data", NULL}; /* order of ql_bos */

static const ql_param params[] = {
    QL_ENUM(
        perplexity, protocol, GPTQ, protocols,
        "gptq: every position of disjoint windows; llama.cpp: the second half of each window, its first token a BOS"),
    QL_ENUM(perplexity, bos, QL_BOS_DATA, bos_modes,
            "BOS at the start: as the tokenizer says, always, never, as the data stage says"),
    QL_FLAG(perplexity, save_nll, false,
            "write the negative log-likelihood of every token to a safetensors file of the run"),
    QL_PARAMS_END,
};

typedef struct sums {
    double *losses; /* [windows]: mean of each */
    int64_t scored, windows;
    double mean, spread; /* of the windows' mean losses: running mean and sum of squared deviations (Welford) */
    double token_sum, token_squares;
} sums;

static ql_bos
bos(const void *self)
{
    return (ql_bos)((const perplexity *)self)->bos;
}

static bool
leaves_files(const void *self)
{
    return ((const perplexity *)self)->save_nll;
}

/* llama.cpp puts a BOS over the first token of each window, where the model uses one. */
static ql_status
tokens(ql_ctx *cx, const void *self, const ql_tokens *in, ql_tokens *out)
{
    const perplexity *p = self;
    int32_t *ids;

    *out = *in;
    if (p->protocol != LLAMA_CPP || !in->bos || in->bos_id < 0)
        return QL_OK;
    ids = ql_alloc(cx, (size_t)in->offsets[in->count], sizeof *ids);
    if (!ids)
        return QL_MEMORY;
    memcpy(ids, in->ids, (size_t)in->offsets[in->count] * sizeof *ids);
    for (int64_t s = 0; s < in->count; s++)
        if (in->offsets[s + 1] > in->offsets[s])
            ids[in->offsets[s]] = (int32_t)in->bos_id;
    out->ids = ids;
    return QL_OK;
}

/* The first position of a window of n tokens whose successor is scored. */
static int64_t
first_scored(const perplexity *p, int64_t n)
{
    return p->protocol == LLAMA_CPP ? n / 2 : 0;
}

/* Leaves the loss of each token, 0 where nothing is scored. */
static ql_status
chunk(ql_ctx *cx, const void *self, const ql_eval_chunk *c, ql_eval_found *found)
{
    const perplexity *p = self;
    const int64_t total = c->seqs->offsets[c->seqs->count];
    int32_t *next = ql_alloc(cx, (size_t)total, sizeof *next);
    float *losses = ql_alloc(cx, (size_t)total, sizeof *losses);
    const float *nll;
    ql_tensor *targets, *out;

    if (!next || !losses)
        return QL_MEMORY;
    ql_eval_targets(c, next);
    for (int64_t w = 0; w < c->seqs->count; w++) {
        const int64_t a = c->seqs->offsets[w], b = c->seqs->offsets[w + 1];

        for (int64_t t = a; t < a + first_scored(p, b - a); t++)
            next[t] = -1;
    }
    QL_TRY(cx, ql_upload(cx, QL_I32, total, -1, next, &targets));
    QL_TRY(cx, ql_nll(cx, c->x, c->head, targets, &out));
    QL_TRY(cx, ql_map(cx, out, QL_READ, &nll));
    memcpy(losses, nll, (size_t)total * sizeof *nll);
    *found = (ql_eval_found){.data = losses, .bytes = (size_t)total * sizeof *losses};
    return ql_unmap(cx, out);
}

/* Window `w`: the losses of its targets, each of which stands at the token before. */
static ql_status
add_window(ql_ctx *cx, const perplexity *p, sums *s, const ql_tokens *tokens, int64_t w, const float *nll)
{
    const int64_t begin = tokens->offsets[w], end = tokens->offsets[w + 1];
    double sum = 0, delta;
    int64_t n = 0;

    for (int64_t t = begin + first_scored(p, end - begin); t + 1 < end; t++) {
        n += ql_is_target(tokens->scored, begin, t + 1);
        sum += nll[t]; /* 0 where none follows */
        s->token_squares += (double)nll[t] * nll[t];
    }
    if (n == 0)
        return QL_OK;
    if (!isfinite(sum))
        return QL_FAIL(cx, QL_NUMERIC, "the loss of window %lld is not finite", (long long)w);
    s->token_sum += sum;
    s->scored += n;
    delta = sum / (double)n - s->mean;
    s->losses[s->windows++] = sum / (double)n;
    s->mean += delta / (double)s->windows;
    s->spread += delta * (sum / (double)n - s->mean);
    return QL_OK;
}

static ql_status
save_nll(ql_ctx *cx, const ql_eval_info *info, const float *nll)
{
    const char *file = ql_format(cx, "%s/nll-%s.safetensors", info->folder, info->cell);
    ql_tensor *t;

    if (!file)
        return QL_MEMORY;
    QL_TRY(cx, ql_upload(cx, QL_F32, info->tokens->offsets[info->tokens->count], -1, nll, &t));
    return ql_save(cx, file, 1, (const char *[]){"nll"}, (const ql_tensor *[]){t});
}

static ql_status
end(ql_ctx *cx, const void *self, const ql_eval_info *info, const ql_eval_found *found, ql_facts *out)
{
    const perplexity *p = self;
    const float *nll = found->data;
    sums s = {.losses = ql_alloc(cx, (size_t)info->tokens->count, sizeof *s.losses)};
    double loss, error = 0;

    if (!s.losses)
        return QL_MEMORY;
    for (int64_t w = 0; w < info->tokens->count; w++)
        QL_TRY(cx, add_window(cx, p, &s, info->tokens, w, nll));
    if (s.scored == 0)
        return QL_FAIL(cx, QL_INVALID,
                       info->tokens->scored ? "no token to score"
                                            : "no token to score: the data stage gave no window of two tokens or more");
    /* gptq: mean of window means; llama.cpp: mean over tokens, with the standard error it prints */
    loss = p->protocol == GPTQ ? s.mean : s.token_sum / (double)s.scored;
    if (p->protocol == GPTQ && s.windows > 1)
        error = sqrt(s.spread / (double)(s.windows - 1) / (double)s.windows);
    else if (p->protocol == LLAMA_CPP && s.scored > 1)
        error = sqrt(fmax(0, s.token_squares / (double)s.scored - loss * loss) / (double)(s.scored - 1));
    if (p->save_nll)
        QL_TRY(cx, save_nll(cx, info, nll));
    QL_TRY(cx, ql_fact_note(cx, out, "protocol", protocols[p->protocol]));
    QL_TRY(cx, ql_fact_list(cx, out, "windows", s.windows, s.losses));
    QL_TRY(cx, ql_fact(cx, out, "perplexity", NULL, exp(loss)));
    QL_TRY(cx, ql_fact(cx, out, "loss", NULL, loss));
    QL_TRY(cx, ql_fact(cx, out, "stderr", NULL, exp(loss) * error));
    return ql_fact(cx, out, "tokens", NULL, (double)s.scored);
}

static const ql_metric_kind metrics[] = {
    {.name = "perplexity", .better = QL_BETTER_LOWER, .parts = "windows", .exp = true},
    {.name = "loss", .unit = "nats", .better = QL_BETTER_LOWER, .parts = "windows"},
    {.name = NULL},
};

QL_PLUGIN(.kind = QL_EVALUATOR, .name = "perplexity", .version = "1.0",
          .help = "perplexity of a text, by the protocol of the quantization papers or of llama.cpp", .params = params,
          .self_size = sizeof(perplexity),
          .evaluator = QL_TABLE(ql_evaluator, .metrics = metrics, .tokens = tokens, .bos = bos,
                                .leaves_files = leaves_files, .chunk = chunk, .end = end), );
