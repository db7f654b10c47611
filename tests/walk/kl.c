/* The divergence from the original model: numbers of the evaluator against a plain computation on the same hidden
 * states, and the original's stream, which is there whether the table has a baseline or not. */
#include "walk.h"

#include <qloom/evaluator.h>

#include "../kernels/plain.h"

typedef struct position {
    int64_t window;
    double kl, dp, ratio, agrees, nll;
} position;

static ql_status
values(ql_ctx *cx, const ql_tensor *t, double **out)
{
    ql_tensor *wide;
    const double *p;

    QL_TRY(cx, ql_convert(cx, t, QL_F64, &wide));
    *out = ql_alloc(cx, (size_t)ql_count(t), sizeof **out);
    if (!*out)
        return QL_MEMORY;
    QL_TRY(cx, ql_map(cx, wide, QL_READ, &p));
    memcpy(*out, p, (size_t)ql_count(t) * sizeof **out);
    return ql_unmap(cx, wide);
}

static ql_status
chunk(ql_ctx *cx, const void *self, const ql_eval_chunk *c, ql_eval_found *found)
{
    const int64_t tdv[] = {ql_dim(c->x, 0), ql_dim(c->x, 1), ql_dim(c->head, 0)};
    position *at = ql_alloc(cx, (size_t)tdv[0], sizeof *at);
    int64_t count = 0;
    double *ref, *x, *head, *out[3], *nll[2];
    int32_t *next = ql_alloc(cx, (size_t)tdv[0], sizeof *next);

    (void)self;
    CHECK(c->ref != NULL);
    QL_TRY(cx, values(cx, c->ref, &ref));
    QL_TRY(cx, values(cx, c->x, &x));
    QL_TRY(cx, values(cx, c->head, &head));
    for (int i = 0; i < 3; i++)
        out[i] = ql_alloc(cx, (size_t)tdv[0], sizeof(double));
    plain_kl(tdv, (const double *const[]){ref, x}, head, out);
    for (int i = 0; i < 2; i++) {
        nll[i] = ql_alloc(cx, (size_t)tdv[0], sizeof(double));
        for (int64_t t = 0; t < tdv[0]; t++)
            next[t] = t + 1 < tdv[0] ? c->ids[t + 1] : 0; /* the last of a window is not read */
        plain_nll(tdv, i ? ref : x, head, next, nll[i]);
    }
    for (int64_t w = 0; w < c->seqs->count; w++)
        for (int64_t t = c->seqs->offsets[w]; t + 1 < c->seqs->offsets[w + 1]; t++)
            if (!c->scored || c->scored[t + 1])
                at[count++] = (position){.window = c->first_sequence + w,
                                         .kl = out[0][t],
                                         .dp = exp(-nll[0][t]) - exp(-nll[1][t]),
                                         .ratio = nll[0][t] - nll[1][t],
                                         .agrees = out[1][t],
                                         .nll = nll[0][t]};
    *found = (ql_eval_found){.data = at, .bytes = (size_t)count * sizeof *at};
    return QL_OK;
}

static int
rising(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;

    return (a > b) - (a < b);
}

/* Means over windows of the means over their positions. */
static ql_status
windows(ql_ctx *cx, const position *at, int64_t count, ql_facts *out)
{
    double ratio = 0, nll = 0;
    int64_t all = 0;

    for (int64_t i = 0, n; i < count; i += n, all++) {
        double r = 0, l = 0;

        for (n = 0; i + n < count && at[i + n].window == at[i].window; n++) {
            r += at[i + n].ratio;
            l += at[i + n].nll;
        }
        ratio += r / (double)n;
        nll += l / (double)n;
    }
    QL_TRY(cx, ql_fact(cx, out, "log_ratio", NULL, ratio / (double)all));
    return ql_fact(cx, out, "loss", NULL, nll / (double)all);
}

static ql_status
end(ql_ctx *cx, const void *self, const ql_eval_info *info, const ql_eval_found *found, ql_facts *out)
{
    const position *at = found->data;
    const int64_t count = (int64_t)(found->bytes / sizeof *at);
    double *kl = ql_alloc(cx, (size_t)count, sizeof *kl), sum = 0, agreed = 0, dp = 0, squares = 0;

    (void)self, (void)info;
    QL_TRY(cx, windows(cx, at, count, out));
    for (int64_t i = 0; i < count; i++) {
        kl[i] = at[i].kl;
        agreed += at[i].agrees;
        dp += at[i].dp / (double)count;
        squares += at[i].dp * at[i].dp / (double)count;
    }
    QL_TRY(cx, ql_fact(cx, out, "dp", NULL, dp));
    QL_TRY(cx, ql_fact(cx, out, "dp_rms", NULL, sqrt(squares)));
    qsort(kl, (size_t)count, sizeof *kl, rising);
    for (int64_t i = 0; i < count; i++)
        sum += kl[i];
    QL_TRY(cx, ql_fact(cx, out, "mean", NULL, sum / (double)count));
    QL_TRY(cx, ql_fact(cx, out, "max", NULL, kl[count - 1]));
    QL_TRY(cx, ql_fact(cx, out, "top1", NULL, agreed / (double)count));
    /* 201 positions: places 0.5 · 200 and 0.99 · 200 are whole */
    QL_TRY(cx, ql_fact(cx, out, "median", NULL, kl[(count - 1) / 2]));
    QL_TRY(cx, ql_fact(cx, out, "p99", NULL, kl[(count - 1) * 99 / 100]));
    return ql_fact(cx, out, "tokens", NULL, (double)count);
}

static const ql_param no_params[] = {QL_PARAMS_END};
static const ql_evaluator evaluator = {
    .size = sizeof(ql_evaluator), .needs_reference = true, .chunk = chunk, .end = end};
static const ql_plugin plugin = {
    .abi_major = QL_ABI_MAJOR,
    .abi_minor = QL_ABI_MINOR,
    .size = sizeof(ql_plugin),
    .kind = QL_EVALUATOR,
    .name = "plain_kl",
    .version = "1.0",
    .help = "what the divergence means",
    .params = no_params,
    .evaluator = &evaluator,
};

/* Three windows of 68 tokens: 201 positions have a successor. */
#define STAGES                                                      \
    "chunk_tokens: 128\n"                                           \
    "stages:\n"                                                     \
    "  base: {use: auto, path: tiny-qwen3}\n"                       \
    "  wiki: {use: text, path: eval.txt, seqlen: 68, samples: 3}\n" \
    "  quant: {use: rtn, model: $base, bits: 8}\n"                  \
    "  kl: {use: kl, model: $quant, data: $wiki}\n"
#define MATRIX "matrix: {quant.bits: [8, 3]}\n"

static const char *const names[] = {"mean", "median", "p99", "max", "top1", "tokens", "dp", "dp_rms", "log_ratio"};
#define NAMES (sizeof names / sizeof *names)

/* Numbers of the evaluator against the plain ones; less precision means more divergence. */
static void
check_numbers(walk_test *t)
{
    WALK_OK(t,
            walk_run(t, "qloom: 1\nname: kl\n" STAGES "  plain: {use: plain_kl, model: $quant, data: $wiki}\n" MATRIX,
                     1, 0));
    CHECK_INT(walk_cells(t), 3);
    for (int c = 0; c < 3; c++)
        for (size_t i = 0; i < NAMES; i++) {
            const double expected = walk_metric(t, c, "plain", names[i]);

            CHECK_NEAR(walk_metric(t, c, "kl", names[i]), expected, 1e-3 * fabs(expected) + 1e-6);
        }
    CHECK(walk_metric(t, 0, "kl", "mean") < 0.1 * walk_metric(t, 1, "kl", "mean"));
    CHECK(walk_metric(t, 1, "kl", "p999") <= walk_metric(t, 1, "kl", "max"));
    CHECK_INT(walk_metric(t, 1, "kl", "tokens"), 201);
    CHECK_NEAR(walk_metric(t, 2, "kl", "max"), 0, 0); /* the original itself */
    CHECK_NEAR(walk_metric(t, 2, "kl", "top1"), 1, 0);
    CHECK_NEAR(walk_metric(t, 2, "kl", "dp_rms"), 0, 0);
    CHECK_NEAR(walk_metric(t, 2, "kl", "log_ratio"), 0, 0);
}

/* Of examples, what follows a prompt alone: examples of several lengths, one of them without a target but its end. */
static void
check_targets(walk_test *t)
{
    static const char *const compared[] = {"mean", "max", "top1", "tokens", "dp", "dp_rms", "log_ratio"};

    walk_shell(t,
               walk_format(t, "cat > '%s/pairs.jsonl' <<'E'\n%s\nE\n", t->folder,
                           "{\"q\": \"One day a girl\", \"a\": \" went to the park.\"}\n{\"q\": \"Tom\", \"a\": \"\"}\n"
                           "{\"q\": \"The cat sat on the mat and\", \"a\": \" it was very, very happy all day.\"}"));
    WALK_OK(t, walk_run(t,
                        "qloom: 1\nname: targets\nchunk_tokens: 32\n"
                        "stages:\n"
                        "  base: {use: auto, path: tiny-qwen3}\n"
                        "  some: {use: pairs, path: pairs.jsonl, prompt: '{{q}}', completion: '{{a}}'}\n"
                        "  every: {use: pairs, path: pairs.jsonl, prompt: '{{q}}', completion: '{{a}}', score: all}\n"
                        "  quant: {use: rtn, model: $base, bits: 3}\n"
                        "  kl: {use: kl, model: $quant, data: $some}\n"
                        "  plain: {use: plain_kl, model: $quant, data: $some}\n"
                        "  ppl: {use: perplexity, model: $quant, data: $some}\n"
                        "  whole: {use: perplexity, model: $quant, data: $every}\n"
                        "  plain_whole: {use: plain_kl, model: $quant, data: $every}\n",
                        1, 0));
    for (size_t i = 0; i < sizeof compared / sizeof *compared; i++) {
        const double expected = walk_metric(t, 0, "plain", compared[i]);

        CHECK_NEAR(walk_metric(t, 0, "kl", compared[i]), expected, 1e-3 * fabs(expected) + 1e-6);
    }
    CHECK_NEAR(walk_metric(t, 0, "ppl", "loss"), walk_metric(t, 0, "plain", "loss"), 1e-5);
    CHECK_NEAR(walk_metric(t, 0, "whole", "loss"), walk_metric(t, 0, "plain_whole", "loss"), 1e-5);
    CHECK_INT(walk_metric(t, 0, "ppl", "tokens"), walk_metric(t, 0, "plain", "tokens"));
    CHECK(walk_metric(t, 0, "kl", "mean") > 0);
    CHECK(walk_metric(t, 0, "ppl", "tokens") < walk_metric(t, 0, "whole", "tokens"));
}

/* Without a baseline the reference is still the original, and the numbers are the same. */
static void
check_without_baseline(walk_test *t)
{
    double with[2][NAMES];

    WALK_OK(t, walk_run(t, "qloom: 1\nname: kl\n" STAGES MATRIX, 1, 0));
    for (int c = 0; c < 2; c++)
        for (size_t i = 0; i < NAMES; i++)
            with[c][i] = walk_metric(t, c, "kl", names[i]);
    WALK_OK(t, walk_run(t, "qloom: 1\nname: kl\nbaseline: false\n" STAGES MATRIX, 2, 0));
    CHECK_INT(walk_cells(t), 2);
    for (int c = 0; c < 2; c++)
        for (size_t i = 0; i < NAMES; i++)
            CHECK_NEAR(walk_metric(t, c, "kl", names[i]), with[c][i], 0);
}

int
main(void)
{
    static const ql_plugin *const plugins[] = {&plugin, NULL};
    static walk_test t;

    walk_open(&t);
    t.plugins = plugins;
    check_numbers(&t);
    check_without_baseline(&t);
    check_targets(&t);
    return walk_close(&t);
}
