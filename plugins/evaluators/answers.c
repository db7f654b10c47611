/* Words of questions: their log-probabilities chunk by chunk, and the sums of requests. */
#include "answers.h"

#include <math.h>

/* The scored tokens and targets of a chunk: places in the lists of the whole stream. */
typedef struct chunk_part {
    int64_t first_row, rows, first_target, targets;
} chunk_part;

/* The first of `count` ascending numbers, `apart` bytes apart, that is not below `least`. */
static int64_t
first_from(const void *numbers, size_t apart, int64_t count, int64_t least)
{
    int64_t lo = 0, hi = count;

    while (lo < hi) {
        const int64_t mid = (lo + hi) / 2;

        if (*(const int64_t *)(const void *)((const char *)numbers + (size_t)mid * apart) < least)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int64_t
first_scored(const ql_questions *q, int64_t token)
{
    return first_from(q->scored, sizeof *q->scored, q->scored_count, token);
}

static int64_t
first_target(const ql_questions *q, int64_t row)
{
    return first_from(q->targets, sizeof *q->targets, q->target_count, row); /* a word begins with its row */
}

static chunk_part
part_of(const ql_eval_chunk *c)
{
    const ql_questions *q = c->questions;
    chunk_part p = {.first_row = first_scored(q, c->first_token)};

    p.rows = first_scored(q, c->first_token + c->seqs->offsets[c->seqs->count]) - p.first_row;
    p.first_target = first_target(q, p.first_row);
    p.targets = first_target(q, p.first_row + p.rows) - p.first_target;
    return p;
}

/* Rows of the chunk, and of each target its place among them and its word, on the device. */
static ql_status
send(ql_ctx *cx, const ql_eval_chunk *c, const chunk_part *p, ql_tensor *out[3])
{
    int32_t *rows = ql_alloc(cx, (size_t)(p->rows + 2 * p->targets), sizeof *rows), *of, *ids;

    if (!rows)
        return QL_MEMORY;
    of = rows + p->rows;
    ids = of + p->targets;
    for (int64_t i = 0; i < p->rows; i++)
        rows[i] = (int32_t)(c->questions->scored[p->first_row + i] - c->first_token);
    for (int64_t i = 0; i < p->targets; i++) {
        const ql_scored_word *t = &c->questions->targets[p->first_target + i];

        of[i] = (int32_t)(t->row - p->first_row);
        ids[i] = (int32_t)t->id;
    }
    QL_TRY(cx, ql_upload(cx, QL_I32, p->rows, -1, rows, &out[0]));
    QL_TRY(cx, ql_upload(cx, QL_I32, p->targets, -1, of, &out[1]));
    return ql_upload(cx, QL_I32, p->targets, -1, ids, &out[2]);
}

/* *t, f32 [n], rounded to the dtype of the options. */
static ql_status
round_to(ql_ctx *cx, const answers_options *options, ql_tensor **t)
{
    const ql_dtype dtype = ql_float_dtype(options->logprob_dtype);
    ql_tensor *narrow;

    if (dtype == QL_F32)
        return QL_OK;
    QL_TRY(cx, ql_convert(cx, *t, dtype, &narrow));
    return ql_convert(cx, narrow, QL_F32, t);
}

ql_status
answers_chunk(ql_ctx *cx, const void *self, const ql_eval_chunk *c, ql_eval_found *found)
{
    const chunk_part p = part_of(c);
    answers_word *words = ql_alloc(cx, (size_t)p.targets + 1, sizeof *words);
    ql_tensor *in[3], *logp, *best;
    const float *values;
    const int32_t *likeliest;

    if (!words)
        return QL_MEMORY;
    if (p.targets == 0)
        return QL_OK;
    QL_TRY(cx, send(cx, c, &p, in));
    QL_TRY(cx, ql_logprob(cx, c->x, c->head, in[0], in[1], in[2], &logp, &best));
    QL_TRY(cx, round_to(cx, self, &logp));
    QL_TRY(cx, ql_map(cx, logp, QL_READ, &values));
    QL_TRY(cx, ql_map(cx, best, QL_READ, &likeliest));
    for (int64_t i = 0; i < p.targets; i++) {
        const ql_scored_word *t = &c->questions->targets[p.first_target + i];

        words[i] = (answers_word){.logp = values[i], .best = likeliest[t->row - p.first_row] == (int32_t)t->id};
    }
    *found = (ql_eval_found){.data = words, .bytes = (size_t)p.targets * sizeof *words};
    QL_TRY(cx, ql_unmap(cx, best));
    return ql_unmap(cx, logp);
}

static ql_status
round_sums(ql_ctx *cx, const answers_options *options, int64_t count, answers_sum *sums)
{
    float *values = ql_alloc(cx, (size_t)count, sizeof *values);
    const float *rounded;
    ql_tensor *t;

    if (!values)
        return QL_MEMORY;
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)sums[i].logp;
    QL_TRY(cx, ql_upload(cx, QL_F32, count, -1, values, &t));
    QL_TRY(cx, round_to(cx, options, &t));
    QL_TRY(cx, ql_map(cx, t, QL_READ, &rounded));
    for (int64_t i = 0; i < count; i++)
        sums[i].logp = (double)rounded[i];
    return ql_unmap(cx, t);
}

ql_status
answers_sums(ql_ctx *cx, const answers_options *options, const ql_questions *q, const ql_eval_found *found,
             answers_sum **out)
{
    const answers_word *words = found->data;
    answers_sum *sums = ql_alloc(cx, (size_t)q->request_count + 1, sizeof *sums);

    if (!sums)
        return QL_MEMORY;
    if (found->bytes != (size_t)q->target_count * sizeof *words)
        return QL_FAIL(cx, QL_BUG, "%zu bytes were found for %lld words", found->bytes, (long long)q->target_count);
    for (int64_t i = 0; i < q->request_count; i++)
        sums[i].greedy = true;
    for (int64_t i = 0; i < q->target_count; i++) { /* a request's words come in the order of the text */
        answers_sum *s = &sums[q->targets[i].request];

        s->logp += (double)words[i].logp;
        s->greedy = s->greedy && words[i].best;
        s->words++;
    }
    if (ql_float_dtype(options->logprob_dtype) != QL_F32) /* sums of f32 stay double */
        QL_TRY(cx, round_sums(cx, options, q->request_count, sums));
    for (int64_t i = 0; i < q->request_count; i++)
        if (!isfinite(sums[i].logp))
            return QL_FAIL(cx, QL_NUMERIC, "%s: the log-likelihood of choice %lld is not finite",
                           q->documents[q->requests[i].document].name,
                           (long long)(i - q->documents[q->requests[i].document].first_request));
    *out = sums;
    return QL_OK;
}

void
answers_put(answers_mean *m, double value)
{
    const double delta = value - m->mean;

    m->sum += value;
    m->mean += delta / (double)++m->count;
    m->spread += delta * (value - m->mean);
}

double
answers_error(const answers_mean *m)
{
    return m->count > 1 ? sqrt(m->spread / (double)(m->count - 1) / (double)m->count) : NAN;
}

ql_status
answers_fact(ql_ctx *cx, ql_facts *out, const char *name, const char *part, double value, double error)
{
    const char *error_name = ql_format(cx, "%s_stderr", name);

    if (!error_name)
        return QL_MEMORY;
    QL_TRY(cx, ql_fact(cx, out, name, part, value));
    return isnan(error) ? QL_OK : ql_fact(cx, out, error_name, part, error);
}

static ql_status
save_document(ql_ctx *cx, FILE *file, const ql_eval_info *info, int64_t i, answers_members put, const void *user)
{
    const ql_questions *q = info->tokens->questions;
    ql_json_writer w = {.cx = cx, .out = file};

    ql_json_put_open(&w, NULL, '{', QL_JSON_TIGHT);
    ql_json_put_text(&w, "task", q->task);
    ql_json_put_int(&w, "doc", q->documents[i].number);
    QL_TRY(cx, put(&w, info, i, user));
    ql_json_put_close(&w);
    QL_TRY(cx, ql_json_put_end(&w));
    return fputc('\n', file) == EOF ? QL_FAIL(cx, QL_IO, "the answers can't be written") : QL_OK;
}

ql_status
answers_save(ql_ctx *cx, const ql_eval_info *info, answers_members put, const void *user)
{
    const char *path = ql_format(cx, "%s/answers-%s.jsonl", info->folder, info->cell);
    FILE *file = path ? fopen(path, "w") : NULL;
    ql_status st = QL_OK;

    if (!file)
        return path ? QL_FAIL(cx, QL_IO, "%s: can't be written", path) : QL_MEMORY;
    for (int64_t i = 0; st == QL_OK && i < info->tokens->questions->document_count; i++)
        st = save_document(cx, file, info, i, put, user);
    if (fclose(file) != 0 && st == QL_OK)
        st = QL_FAIL(cx, QL_IO, "%s: can't be written", path);
    return st;
}
