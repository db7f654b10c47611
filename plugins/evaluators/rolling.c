/* Texts scored whole, window by window: perplexity per word and per byte of the original text (docs/evaluation.md). */
#include "answers.h"

#include <math.h>

static const ql_param params[] = {ANSWERS_DTYPE, QL_PARAMS_END};

/* A ratio of sums over documents, log p by words or bytes, and its standard error by the delta method. */
typedef struct ratio {
    double sum, by, squares[3]; /* of log p squared, log p times the count, the count squared */
    int64_t count;
} ratio;

static void
put(ratio *r, double logp, double by)
{
    r->sum += logp;
    r->by += by;
    r->squares[0] += logp * logp;
    r->squares[1] += logp * by;
    r->squares[2] += by * by;
    r->count++;
}

static double
error_of(const ratio *r)
{
    const double rate = r->sum / r->by, n = (double)r->count,
                 spread = r->squares[0] - 2 * rate * r->squares[1] + rate * rate * r->squares[2];

    return r->count > 1 ? sqrt(fmax(spread, 0) * n / (n - 1)) / r->by : NAN;
}

/* Before anything runs. */
static ql_status
tokens(ql_ctx *cx, const void *self, const ql_tokens *in, ql_tokens *out)
{
    (void)self;
    *out = *in;
    if (!in->questions->rolling)
        return QL_FAIL(cx, QL_INVALID, "task '%s' asks for continuations: use the evaluator 'choices'",
                       in->questions->task);
    return QL_OK;
}

static ql_status
end(ql_ctx *cx, const void *self, const ql_eval_info *info, const ql_eval_found *found, ql_facts *out)
{
    const ql_questions *q = info->tokens->questions;
    ratio words = {0}, bytes = {0};
    double word, byte, scored = 0;
    answers_sum *sums;

    QL_TRY(cx, answers_sums(cx, self, q, found, &sums));
    for (int64_t i = 0; i < q->document_count; i++) {
        const ql_document *d = &q->documents[i];
        const double logp = sums[d->first_request].logp;

        put(&words, logp, (double)d->words);
        put(&bytes, logp, (double)d->bytes);
        scored += (double)sums[d->first_request].words;
        QL_TRY(cx, ql_fact_answer(cx, out,
                                  &(ql_answer){.task = q->task,
                                               .document = d->number,
                                               .pred = ql_format(cx, "%.17g", logp),
                                               .right = -1,
                                               .right_norm = -1,
                                               .margin = NAN}));
    }
    if (words.by <= 0 || bytes.by <= 0)
        return QL_FAIL(cx, QL_INVALID, "task '%s': its texts are empty", q->task);
    word = exp(-words.sum / words.by);
    byte = exp(-bytes.sum / bytes.by);
    QL_TRY(cx, answers_fact(cx, out, "word_perplexity", NULL, word, word * error_of(&words)));
    QL_TRY(cx, answers_fact(cx, out, "byte_perplexity", NULL, byte, byte * error_of(&bytes)));
    QL_TRY(cx, answers_fact(cx, out, "bits_per_byte", NULL, -bytes.sum / bytes.by / log(2), error_of(&bytes) / log(2)));
    QL_TRY(cx, ql_fact_note(cx, out, "protocol", q->protocol));
    QL_TRY(cx, ql_fact(cx, out, "documents", NULL, (double)q->document_count));
    return ql_fact(cx, out, "tokens", NULL, scored);
}

static const ql_metric_kind metrics[] = {
    {.name = "word_perplexity", .better = QL_BETTER_LOWER},
    {.name = "byte_perplexity", .better = QL_BETTER_LOWER},
    {.name = "bits_per_byte", .better = QL_BETTER_LOWER},
    {.name = NULL},
};

QL_PLUGIN(.kind = QL_EVALUATOR, .name = "rolling", .version = "1.0",
          .help = "texts of a task scored whole: perplexity per word and per byte, bits per byte", .params = params,
          .self_size = sizeof(answers_options),
          .evaluator = QL_TABLE(ql_evaluator, .questions = true, .metrics = metrics, .tokens = tokens,
                                .chunk = answers_chunk, .end = end), );
