/* Texts that a model goes on with: stop strings end them, filters find the answer in them, which is compared with the reference. */
#include <math.h>
#include <string.h>

#include <qloom/tasks.h>

#include "answers.h"

typedef struct generate {
    int pool, penalties;
    uint64_t kv_memory;
    bool save;
} generate;

enum { REFUSE, IGNORE };
static const char *const penalty_words[] = {"refuse", "ignore", NULL};

static const ql_param params[] = {
    QL_NUM(generate, pool, 0, 0, 4096,
           "texts that are generated side by side at most, which changes no bit of them; 0: 64"),
    QL_BYTES(generate, kv_memory, 0,
             "memory of keys and values at most, which says how many texts run at a time; 0: half of what is free"),
    QL_ENUM(generate, penalties, REFUSE, penalty_words,
            "repetition_penalty and the like of generation_config.json, which change what is likeliest"),
    QL_FLAG(generate, save, false, "write every text with its tokens to a JSON lines file of the run"),
    QL_PARAMS_END,
};

static bool
leaves_files(const void *self)
{
    return ((const generate *)self)->save;
}

static void
pool(const void *self, ql_pool_wish *out)
{
    const generate *p = self;

    *out = (ql_pool_wish){.sequences = p->pool, .kv_memory = p->kv_memory, .ignore_penalties = p->penalties == IGNORE};
}

/* --- texts ------------------------------------------------------------------------------------------------------- */

/* Stop strings of the task, and the text of EOS as the last. */
static ql_status
stops_of(ql_ctx *cx, const ql_questions *q, const ql_tokenizer *tk, const char *const **out, int64_t *count)
{
    const ql_task_generation *g = ql_task_generates(q->generates);
    const char **all = ql_alloc(cx, (size_t)g->stop_count + 1, sizeof(const char *));
    int32_t eos = (int32_t)ql_tokenizer_eos(tk);
    size_t bytes;

    if (!all)
        return QL_MEMORY;
    for (*count = 0; *count < g->stop_count; ++*count)
        all[*count] = g->stops[*count];
    if (eos >= 0) {
        QL_TRY(cx,
               ql_tokenizer_decode(cx, tk, &(ql_ids){.count = 1, .capacity = 1, .ids = &eos}, 0, &all[*count], &bytes));
        ++*count;
    }
    *out = all;
    return QL_OK;
}

static ql_status
decode(ql_ctx *cx, const ql_tokenizer *tk, const int32_t *ids, int64_t count, int flags, const char **text,
       size_t *bytes)
{
    if (ql_tokenizer_cleans_up(tk))
        flags |= QL_DECODE_CLEAN_UP;
    return ql_tokenizer_decode(cx, tk, &(ql_ids){.count = count, .capacity = count, .ids = (int32_t *)ids}, flags, text,
                               bytes);
}

/* A text ends where it holds a stop string, special tokens written out. */
static ql_status
said(ql_ctx *cx, const void *self, const ql_said *s, bool *end)
{
    const char *const *stops, *text;
    int64_t count;
    size_t bytes;

    (void)self;
    QL_TRY(cx, stops_of(cx, s->questions, s->tokenizer, &stops, &count));
    QL_TRY(cx, decode(cx, s->tokenizer, s->ids, s->count, 0, &text, &bytes));
    *end = ql_task_cut(stops, count, text, bytes) < bytes;
    return QL_OK;
}

/* --- verdicts ---------------------------------------------------------------------------------------------------- */

/* One document, once its text has ended. */
typedef struct verdict {
    const int32_t *ids;
    int64_t count;
    const char *text;         /* cut */
    const char *const *found; /* by each filter */
    const bool *right;
} verdict;

static ql_status
judge(ql_ctx *cx, const ql_questions *q, const ql_tokenizer *tk, const ql_document *d, verdict *v)
{
    const int64_t filters = ql_task_generates(q->generates)->filter_count;
    const char **found = ql_alloc(cx, (size_t)filters, sizeof(const char *)), *const * stops, *text;
    bool *right = ql_alloc(cx, (size_t)filters, sizeof *right);
    int64_t count;
    size_t bytes;

    if (!found || !right)
        return QL_MEMORY;
    QL_TRY(cx, stops_of(cx, q, tk, &stops, &count));
    QL_TRY(cx, decode(cx, tk, v->ids, v->count, QL_DECODE_SKIP_SPECIAL, &text, &bytes));
    bytes = ql_task_cut(stops, count, text, bytes);
    v->text = ql_format(cx, "%.*s", (int)bytes, text);
    if (!v->text)
        return QL_MEMORY;
    for (int64_t f = 0; f < filters; f++) {
        QL_TRY(cx, ql_task_extract(cx, q->generates, f, v->text, strlen(v->text), &found[f]));
        QL_TRY(cx, ql_task_matches(cx, q->generates, f, found[f], d->reference, &right[f]));
    }
    v->found = found;
    v->right = right;
    return QL_OK;
}

/* The verdicts on all documents: of each, what was found is the number of its tokens and their ids. */
static ql_status
judge_all(ql_ctx *cx, const ql_eval_info *info, const ql_eval_found *found, verdict **out)
{
    const ql_questions *q = info->tokens->questions;
    const int32_t *at = found->data, *end = at + found->bytes / sizeof *at;
    verdict *all = ql_alloc(cx, (size_t)q->document_count, sizeof *all);
    ql_status st;

    if (!all)
        return QL_MEMORY;
    for (int64_t i = 0; i < q->document_count; i++) {
        if (at >= end || *at < 0 || *at > end - at - 1)
            return QL_FAIL(cx, QL_BUG, "%s: its text is not there", q->documents[i].name);
        all[i] = (verdict){.ids = at + 1, .count = *at};
        at += 1 + *at;
        st = judge(cx, q, info->tokenizer, &q->documents[i], &all[i]);
        if (st != QL_OK)
            return ql_where(cx, st, "%s", q->documents[i].name);
    }
    *out = all;
    return QL_OK;
}

/* --- what is told ------------------------------------------------------------------------------------------------ */

static ql_status
report(ql_ctx *cx, const ql_questions *q, const verdict *all, ql_facts *out)
{
    const ql_task_generation *g = ql_task_generates(q->generates);
    int64_t tokens = 0;

    for (int64_t f = 0; f < g->filter_count; f++) {
        answers_mean mean = {0};

        for (int64_t i = 0; i < q->document_count; i++)
            answers_put(&mean, all[i].right[f]);
        QL_TRY(cx, answers_fact(cx, out, "exact_match", g->filters[f], answers_mean_of(&mean), answers_error(&mean)));
    }
    for (int64_t i = 0; i < q->document_count; i++)
        tokens += all[i].count;
    QL_TRY(cx, ql_fact_note(cx, out, "protocol", q->protocol));
    QL_TRY(cx, ql_fact(cx, out, "documents", NULL, (double)q->document_count));
    return ql_fact(cx, out, "tokens", NULL, (double)tokens);
}

/* The text, what the last filter found in it, and what the first and the last say. */
static ql_status
keep_answer(ql_ctx *cx, const ql_questions *q, const ql_document *d, const verdict *v, ql_facts *out)
{
    const int64_t last = ql_task_generates(q->generates)->filter_count - 1;
    const ql_answer a = {.task = q->task,
                         .document = d->number,
                         .gold = d->reference,
                         .pred = v->text,
                         .pred_norm = v->found[last],
                         .right = v->right[0],
                         .right_norm = v->right[last],
                         .margin = NAN};

    return ql_fact_answer(cx, out, &a);
}

/* `user`: the verdicts. */
static ql_status
put_document(ql_json_writer *w, const ql_eval_info *info, int64_t i, const void *user)
{
    const verdict *v = (const verdict *)user + i;
    const ql_questions *q = info->tokens->questions;
    const ql_task_generation *g = ql_task_generates(q->generates);
    char crc[9];

    snprintf(crc, sizeof crc, "%08x", (unsigned)q->requests[i].crc[0]);
    ql_json_put_int(w, "ctx_full", q->requests[i].context);
    ql_json_put_int(w, "ctx", info->tokens->offsets[i + 1] - info->tokens->offsets[i]);
    ql_json_put_text(w, "crc", crc);
    ql_json_put_open(w, "ids", '[', QL_JSON_TIGHT);
    for (int64_t k = 0; k < v->count; k++)
        ql_json_put_int(w, NULL, v->ids[k]);
    ql_json_put_close(w);
    ql_json_put_text(w, "text", v->text);
    ql_json_put_text(w, "reference", q->documents[i].reference);
    for (int64_t f = 0; f < g->filter_count; f++) {
        const char *match = ql_format(w->cx, "%s_match", g->filters[f]);

        if (!match)
            return QL_MEMORY;
        ql_json_put_text(w, g->filters[f], v->found[f]);
        ql_json_put_int(w, match, v->right[f]);
    }
    return QL_OK;
}

static ql_status
end(ql_ctx *cx, const void *self, const ql_eval_info *info, const ql_eval_found *found, ql_facts *out)
{
    const ql_questions *q = info->tokens->questions;
    verdict *all = NULL;

    QL_TRY(cx, judge_all(cx, info, found, &all));
    for (int64_t i = 0; i < q->document_count; i++)
        QL_TRY(cx, keep_answer(cx, q, &q->documents[i], &all[i], out));
    QL_TRY(cx, report(cx, q, all, out));
    return ((const generate *)self)->save ? answers_save(cx, info, put_document, all) : QL_OK;
}

static const ql_metric_kind metrics[] = {
    {.name = "exact_match", .better = QL_BETTER_HIGHER},
    {.name = NULL},
};

QL_PLUGIN(.kind = QL_EVALUATOR, .name = "generate", .version = "1.0",
          .help = "texts that the finished model goes on with, greedily: how often the answer that filters find in "
                  "them is the "
                  "reference; every text is kept",
          .params = params, .self_size = sizeof(generate),
          .evaluator = QL_TABLE(ql_evaluator, .questions = true, .metrics = metrics, .leaves_files = leaves_files,
                                .end = end, .said = said, .pool = pool), );
