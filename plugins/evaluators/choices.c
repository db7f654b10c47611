/* Multiple choice and cloze: the likeliest of several continuations, or the likelihood of one (docs/evaluation.md). */
#include "agreement.h"
#include "answers.h"

#include <math.h>
#include <string.h>

static const ql_param params[] = {
    ANSWERS_DTYPE,
    QL_FLAG(answers_options, save, false,
            "write the log-likelihoods of every document to a JSON lines file of the run"),
    QL_PARAMS_END,
};

enum { ACC, ACC_NORM, ACC_BYTES, RULES };
static const char *const rules[RULES] = {"acc", "acc_norm", "acc_bytes"};
static const char *const lists[RULES] = {"right", "right_norm", "right_bytes"}; /* document by document */

/* Of tasks with two classes. */
static const struct {
    const char *name;
    double (*of)(const agreement *);
} agreements[] = {{"f1", agreement_f1}, {"mcc", agreement_mcc}};
#define AGREEMENTS (sizeof agreements / sizeof *agreements)

/* One document: what each rule takes for the answer, and whether it is right. */
typedef struct verdict {
    int64_t pred[RULES];
    bool right[RULES];
    double margin;
} verdict;

/* Sums over the documents of one part, or of all. */
typedef struct totals {
    const char *part;
    answers_mean right[RULES], margin, logp;
    agreement classes;
} totals;

static bool
asks(const ql_questions *q, const char *metric)
{
    for (int64_t i = 0; i < q->metric_count; i++)
        if (strcmp(q->metrics[i], metric) == 0)
            return true;
    return false;
}

/* Numbers of two classes need documents with two choices, of which one is right. */
static ql_status
check_classes(ql_ctx *cx, const ql_questions *q)
{
    for (int64_t i = 0; i < q->document_count; i++) {
        const ql_document *d = &q->documents[i];

        if (d->request_count != 2 || d->gold_count != 1)
            return QL_FAIL(cx, QL_INVALID, "%s: f1 and mcc need two choices of which one is right, got %lld and %lld",
                           d->name, (long long)d->request_count, (long long)d->gold_count);
    }
    return QL_OK;
}

/* Before anything runs. */
static ql_status
tokens(ql_ctx *cx, const void *self, const ql_tokens *in, ql_tokens *out)
{
    (void)self;
    *out = *in;
    if (in->questions->rolling)
        return QL_FAIL(cx, QL_INVALID, "task '%s' scores texts whole: use the evaluator 'rolling'",
                       in->questions->task);
    for (size_t i = 0; i < AGREEMENTS; i++)
        if (asks(in->questions, agreements[i].name))
            return check_classes(cx, in->questions);
    return QL_OK;
}

static bool
leaves_files(const void *self)
{
    return ((const answers_options *)self)->save;
}

/* --- one document ------------------------------------------------------------------------------------------------ */

/* log p by each rule: as it is, per code point, per byte of the choice. */
static double
score(const ql_request *r, const answers_sum *s, int rule)
{
    const int64_t by = rule == ACC_NORM ? r->points : rule == ACC_BYTES ? r->bytes : 1;

    return s->logp / (double)(by ? by : 1);
}

static bool
is_gold(const ql_document *d, int64_t choice)
{
    for (int64_t i = 0; i < d->gold_count; i++)
        if (d->gold[i] == choice)
            return true;
    return false;
}

/* Of equal choices the first is taken. */
static verdict
judge(const ql_questions *q, const ql_document *d, const answers_sum *sums)
{
    const ql_request *requests = q->requests + d->first_request;
    verdict v = {.margin = INFINITY};

    sums += d->first_request;
    for (int rule = 0; rule < RULES; rule++) {
        for (int64_t i = 1; i < d->request_count; i++)
            if (score(&requests[i], &sums[i], rule) > score(&requests[v.pred[rule]], &sums[v.pred[rule]], rule))
                v.pred[rule] = i;
        v.right[rule] = is_gold(d, v.pred[rule]);
    }
    for (int64_t i = 0; i < d->request_count; i++)
        if (i != v.pred[ACC])
            v.margin = fmin(v.margin, sums[v.pred[ACC]].logp - sums[i].logp);
    if (d->request_count == 1) { /* a cloze: right when each word is the likeliest */
        v.right[ACC] = sums->greedy;
        v.margin = NAN;
    }
    return v;
}

static ql_status
keep_answer(ql_ctx *cx, const ql_questions *q, const ql_document *d, const verdict *v, const answers_sum *sums,
            ql_facts *out)
{
    const bool one = d->request_count == 1, norm = asks(q, rules[ACC_NORM]);
    ql_answer a = {
        .task = q->task, .document = d->number, .right = v->right[ACC], .right_norm = -1, .margin = v->margin};

    if (one) {
        a.pred = ql_format(cx, "%.17g", sums[d->first_request].logp);
    } else {
        a.gold = ql_format(cx, "%lld", (long long)d->gold[0]);
        a.pred = ql_format(cx, "%lld", (long long)v->pred[ACC]);
    }
    if (norm && !one) {
        a.pred_norm = ql_format(cx, "%lld", (long long)v->pred[ACC_NORM]);
        a.right_norm = v->right[ACC_NORM];
    }
    return ql_fact_answer(cx, out, &a);
}

/* --- totals ------------------------------------------------------------------------------------------------------ */

static void
count(totals *t, const ql_document *d, const verdict *v, const answers_sum *sums)
{
    for (int rule = 0; rule < RULES; rule++)
        answers_put(&t->right[rule], v->right[rule]);
    if (d->request_count > 1)
        answers_put(&t->margin, v->margin);
    if (d->request_count == 2)
        t->classes.count[d->gold[0]][v->pred[ACC]]++;
    answers_put(&t->logp, sums[d->first_request].logp);
}

static ql_status
report(ql_ctx *cx, const ql_questions *q, const totals *t, ql_facts *out)
{
    const double perplexity = exp(-answers_mean_of(&t->logp));

    for (int rule = 0; rule < RULES; rule++)
        if (asks(q, rules[rule]))
            QL_TRY(cx, answers_fact(cx, out, rules[rule], t->part, answers_mean_of(&t->right[rule]),
                                    answers_error(&t->right[rule])));
    for (size_t i = 0; i < AGREEMENTS; i++)
        if (asks(q, agreements[i].name))
            QL_TRY(cx, answers_fact(cx, out, agreements[i].name, t->part, agreements[i].of(&t->classes),
                                    agreement_error(&t->classes, agreements[i].of)));
    if (asks(q, "perplexity"))
        QL_TRY(cx, answers_fact(cx, out, "perplexity", t->part, perplexity, perplexity * answers_error(&t->logp)));
    return t->margin.count ? ql_fact(cx, out, "margin", t->part, answers_mean_of(&t->margin)) : QL_OK;
}

/* What each rule says of every document, by which two models are compared document by document. */
static ql_status
report_documents(ql_ctx *cx, const ql_questions *q, const answers_sum *sums, const verdict *verdicts, ql_facts *out)
{
    double *values = ql_alloc(cx, (size_t)q->document_count + 1, sizeof *values);

    if (!values)
        return QL_MEMORY;
    for (int rule = 0; rule < RULES; rule++) {
        for (int64_t i = 0; i < q->document_count; i++)
            values[i] = verdicts[i].right[rule];
        if (asks(q, rules[rule]))
            QL_TRY(cx, ql_fact_list(cx, out, lists[rule], q->document_count, values));
    }
    for (int64_t i = 0; i < q->document_count; i++)
        values[i] = -sums[q->documents[i].first_request].logp;
    return asks(q, "perplexity") ? ql_fact_list(cx, out, "losses", q->document_count, values) : QL_OK;
}

/* The totals of a part, made when it is first met. */
static totals *
totals_of(totals *parts, int64_t *count, const char *part)
{
    for (int64_t i = 0; i < *count; i++)
        if (strcmp(parts[i].part, part) == 0)
            return &parts[i];
    parts[*count].part = part;
    return &parts[(*count)++];
}

/* --- the file of answers ----------------------------------------------------------------------------------------- */

static void
put_list(ql_json_writer *w, const ql_questions *q, const ql_document *d, const answers_sum *sums, const char *name)
{
    ql_json_put_open(w, name, '[', QL_JSON_TIGHT);
    for (int64_t i = d->first_request; i < d->first_request + d->request_count; i++) {
        const ql_request *r = &q->requests[i];
        char crc[17];

        snprintf(crc, sizeof crc, "%08x%08x", (unsigned)r->crc[0], (unsigned)r->crc[1]);
        if (strcmp(name, "ll") == 0)
            ql_json_put_real(w, NULL, sums[i].logp);
        else if (strcmp(name, "greedy") == 0)
            ql_json_put_bool(w, NULL, sums[i].greedy);
        else if (strcmp(name, "crc") == 0)
            ql_json_put_text(w, NULL, crc);
        else
            ql_json_put_int(w, NULL, strcmp(name, "ctx") == 0 ? r->context : r->tokens);
    }
    ql_json_put_close(w);
}

typedef struct judged { /* [request_count], [document_count] */
    const answers_sum *sums;
    const verdict *verdicts;
} judged;

static ql_status
put_document(ql_json_writer *w, const ql_eval_info *info, int64_t i, const void *user)
{
    static const char *const fields[] = {"ll", "greedy", "ctx", "cont", "crc"};
    const judged *all = user;
    const verdict *v = &all->verdicts[i];
    const ql_questions *q = info->tokens->questions;
    const ql_document *d = &q->documents[i];

    for (size_t k = 0; k < sizeof fields / sizeof *fields; k++)
        put_list(w, q, d, all->sums, fields[k]);
    if (d->request_count > 1) {
        ql_json_put_int(w, "pred", v->pred[ACC]);
        ql_json_put_real(w, "margin", v->margin);
    }
    ql_json_put_int(w, "acc", v->right[ACC]);
    for (int rule = ACC_NORM; rule < RULES && d->request_count > 1 && !q->partial; rule++)
        ql_json_put_int(w, rules[rule], v->right[rule]);
    return QL_OK;
}

/* --- the end ----------------------------------------------------------------------------------------------------- */

static ql_status
end(ql_ctx *cx, const void *self, const ql_eval_info *info, const ql_eval_found *found, ql_facts *out)
{
    const answers_options *p = self;
    const ql_questions *q = info->tokens->questions;
    totals all = {0}, *parts = ql_alloc(cx, (size_t)q->document_count + 1, sizeof *parts);
    verdict *verdicts = ql_alloc(cx, (size_t)q->document_count + 1, sizeof *verdicts);
    int64_t part_count = 0;
    answers_sum *sums;

    if (!parts || !verdicts)
        return QL_MEMORY;
    QL_TRY(cx, answers_sums(cx, self, q, found, &sums));
    for (int64_t i = 0; i < q->document_count; i++) {
        const ql_document *d = &q->documents[i];

        verdicts[i] = judge(q, d, sums);
        count(&all, d, &verdicts[i], sums);
        if (d->part)
            count(totals_of(parts, &part_count, d->part), d, &verdicts[i], sums);
        QL_TRY(cx, keep_answer(cx, q, d, &verdicts[i], sums, out));
    }
    QL_TRY(cx, report(cx, q, &all, out));
    for (int64_t i = 0; i < part_count; i++)
        QL_TRY(cx, report(cx, q, &parts[i], out));
    QL_TRY(cx, report_documents(cx, q, sums, verdicts, out));
    QL_TRY(cx, ql_fact_note(cx, out, "protocol", q->protocol));
    QL_TRY(cx, ql_fact(cx, out, "documents", NULL, (double)q->document_count));
    QL_TRY(cx, ql_fact(cx, out, "tokens", NULL, (double)info->tokens->offsets[info->tokens->count]));
    QL_TRY(cx, ql_fact(cx, out, "tokens_unshared", NULL, (double)info->tokens->asked));
    return p->save ? answers_save(cx, info, put_document, &(judged){.sums = sums, .verdicts = verdicts}) : QL_OK;
}

static const ql_metric_kind metrics[] = {
    {.name = "acc", .better = QL_BETTER_HIGHER, .parts = "right"},
    {.name = "acc_norm", .better = QL_BETTER_HIGHER, .parts = "right_norm"},
    {.name = "acc_bytes", .better = QL_BETTER_HIGHER, .parts = "right_bytes"},
    {.name = "f1", .better = QL_BETTER_HIGHER},
    {.name = "mcc", .better = QL_BETTER_HIGHER},
    {.name = "perplexity", .better = QL_BETTER_LOWER, .parts = "losses", .exp = true},
    {.name = NULL},
};

QL_PLUGIN(.kind = QL_EVALUATOR, .name = "choices", .version = "1.0",
          .help = "multiple choice and cloze by the public harness's protocol: accuracy of the likeliest continuation, "
                  "as it is, per character (acc_norm) and per byte; each document's answer is kept",
          .params = params, .self_size = sizeof(answers_options),
          .evaluator = QL_TABLE(ql_evaluator, .questions = true, .metrics = metrics, .tokens = tokens,
                                .leaves_files = leaves_files, .chunk = answers_chunk, .end = end), );
