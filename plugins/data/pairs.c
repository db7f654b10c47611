/* Examples to learn from: of each record a prompt, which is read, and what should follow it, which is scored
 * (docs/training.md). */
#include <stdlib.h>
#include <string.h>

#include <qloom/data.h>

#include "tasks/one_line.h"

typedef struct pairs { /* the parameters */
    const char *path, *task, *file, *prompt, *completion;
    int score, boundary, bos, max_length, too_long, samples, part;
    double holdout;
    bool eos, allow_long;
} pairs;

enum { AS_TASK, COMPLETION, ALL };
enum { JOINT, SEPARATE };
enum { TRUNCATE, DROP };
enum { TRAIN, HELD };
static const char *const score_words[] = {"task", "completion", "all", NULL};
static const char *const boundary_words[] = {"joint", "separate", NULL};
static const char *const long_words[] = {"truncate", "drop", NULL};
static const char *const part_words[] = {"train", "held", NULL};

static const ql_param params[] = {
    QL_PATH(pairs, path, true,
            "the records: JSON lines, a JSON array, .csv or .tsv, as they are or packed as .gz or .zst"),
    QL_TEXT(pairs, task, NULL,
            "name of a shipped task, whose prompt and right answer are learned: `qloom tasks` lists them"),
    QL_PATH(pairs, file, false, "a task file of one's own, in the place of `task`"),
    QL_TEXT(pairs, prompt, NULL, "with `completion`, in the place of `task`: a template, as in task files"),
    QL_TEXT(pairs, completion, NULL, "the template of what follows the prompt at once"),
    QL_ENUM(pairs, score, AS_TASK, score_words,
            "targets: as the task says (`score: whole` is all), the completion, or all tokens but the first"),
    QL_ENUM(pairs, boundary, JOINT, boundary_words,
            "prompt and completion are tokenized as one text, or each by itself"),
    QL_ENUM(pairs, bos, QL_BOS_AUTO, ql_bos_words,
            "begin an example with the BOS token: auto: as the tokenizer's files say"),
    QL_FLAG(pairs, eos, true, "end an example with the EOS token, a target"),
    QL_NUM(pairs, max_length, 0, 0, 1 << 24, "tokens of an example at most; 0: the positions that the model has"),
    QL_FLAG(pairs, allow_long, false, "a max_length beyond the positions that the model has"),
    QL_ENUM(pairs, too_long, TRUNCATE, long_words, "a longer example loses its last tokens, or is left out"),
    QL_NUM(pairs, samples, 0, 0, 1 << 30, "so many examples, drawn with the seed; 0: all"),
    QL_NUM(pairs, holdout, 0, 0, 0.9, "share of the records, drawn with the seed, that is kept for `part: held`"),
    QL_ENUM(pairs, part, TRAIN, part_words, "the records that are not kept out, or those that are"),
    QL_PARAMS_END};

typedef struct maker {
    ql_ctx *cx;
    const pairs *p;
    const ql_tokenizer *tokenizer;
    bool adds_bos, all; /* all: prompts are targets, too */
    int64_t max_length;
    ql_ids ids, prompt, whole; /* of the examples so far; of the example at hand */
    int64_t *offsets, *first;  /* first: target of each example, counted in all ids */
    int64_t count, cut, dropped, uneven;
} maker;

static ql_status
open_task(ql_ctx *cx, const pairs *p, const ql_task **out)
{
    const bool templates = p->prompt || p->completion;

    if ((p->task != NULL) + (p->file != NULL) + templates != 1 || !p->prompt != !p->completion)
        return QL_FAIL(cx, QL_INVALID,
                       "expected one of: `task`, the name of a shipped task; `file`, a task file of one's own; "
                       "`prompt` and `completion`");
    return task_on_one_line(cx, templates ? ql_task_of_pair(cx, p->prompt, p->completion, out)
                                          : ql_task_open(cx, p->file ? p->file : p->task, out));
}

static ql_status
check(ql_ctx *cx, const void *self)
{
    const pairs *p = self;
    const ql_task_options options = {.path = p->path};
    const ql_task *task;

    if (p->part == HELD && p->holdout == 0)
        return QL_FAIL(cx, QL_INVALID, "part: held needs holdout, the share of the records that is kept out");
    QL_TRY(cx, open_task(cx, p, &task));
    return ql_task_check(cx, task, &options);
}

/* The shipped task file, which no parameter names by its path. */
static ql_status
own_file(ql_ctx *cx, const void *self, const char **out)
{
    const pairs *p = self;
    const ql_task *task;

    if (!p->task)
        return QL_OK;
    QL_TRY(cx, open_task(cx, p, &task));
    *out = ql_task_about(task)->file;
    return QL_OK;
}

/* --- which records ----------------------------------------------------------------------------------------------- */

static int
ascending(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Those of the part, and of them the first that were drawn; in the order of the file. */
static ql_status
choose(ql_ctx *cx, const pairs *p, uint64_t seed, int64_t n, const int64_t **out, int64_t *count)
{
    const int64_t held = (int64_t)(p->holdout * (double)n);
    int64_t *order = ql_alloc(cx, (size_t)n, sizeof *order);
    ql_mt19937 g;

    if (!order)
        return QL_MEMORY;
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    ql_mt19937_seed(&g, seed);
    ql_mt19937_shuffle(&g, order, n);
    *out = p->part == HELD ? order + n - held : order;
    *count = p->part == HELD ? held : n - held;
    if (*count == 0)
        return QL_FAIL(cx, QL_INVALID, "%s: a holdout of %g of %lld records is none", p->path, p->holdout,
                       (long long)n);
    if (p->samples > *count)
        ql_warn(cx, "%s: %lld records, asked for %d", p->path, (long long)*count, p->samples);
    if (p->samples && p->samples < *count)
        *count = p->samples;
    qsort(order + (*out - order), (size_t)*count, sizeof *order, ascending);
    return QL_OK;
}

/* --- one example ------------------------------------------------------------------------------------------------- */

/* The right answer behind its question; a text that is scored whole has no question. */
static ql_task_request
pair_of(const ql_task_document *d)
{
    if (!d->request_count)
        return (ql_task_request){.context = "", .continuation = d->text, .continuation_bytes = d->text_bytes};
    return d->requests[d->gold_count ? d->gold[0] : 0];
}

/* The ids of prompt and completion together, and those of the prompt alone. */
static ql_status
encode(maker *m, const ql_task_request *r)
{
    const char *text = r->context;
    size_t bytes = r->context_bytes;

    m->prompt.count = m->whole.count = 0;
    QL_TRY(m->cx, ql_tokenizer_encode(m->cx, m->tokenizer, text, bytes, QL_BOS_NO, &m->prompt));
    if (m->p->boundary == SEPARATE) {
        QL_TRY(m->cx, ql_tokenizer_encode(m->cx, m->tokenizer, text, bytes, QL_BOS_NO, &m->whole));
        return ql_tokenizer_encode(m->cx, m->tokenizer, r->continuation, r->continuation_bytes, QL_BOS_NO, &m->whole);
    }
    text = ql_format(m->cx, "%s%s", r->context, r->continuation);
    if (!text)
        return QL_MEMORY;
    bytes += r->continuation_bytes;
    if (strlen(text) != bytes)
        return QL_FAIL(m->cx, QL_INVALID, "a text with a NUL character");
    QL_TRY(m->cx, ql_tokenizer_encode(m->cx, m->tokenizer, text, bytes, QL_BOS_NO, &m->whole));
    m->uneven +=
        m->prompt.count > m->whole.count ||
        (m->prompt.count && memcmp(m->prompt.ids, m->whole.ids, (size_t)m->prompt.count * sizeof *m->prompt.ids) != 0);
    return QL_OK;
}

static ql_status
add_example(maker *m, const ql_task_document *d)
{
    const ql_task_request pair = pair_of(d);
    const int32_t bos = (int32_t)ql_tokenizer_bos(m->tokenizer), eos = (int32_t)ql_tokenizer_eos(m->tokenizer);
    const int64_t begin = m->ids.count;
    int64_t first = begin, end;

    QL_TRY(m->cx, ql_check_interrupt(m->cx));
    QL_TRY(m->cx, encode(m, &pair));
    if (m->adds_bos && !(m->whole.count && m->whole.ids[0] == bos)) { /* a text may bring its own */
        QL_TRY(m->cx, ql_ids_put(m->cx, &m->ids, &bos, 1));
        first++;
    }
    QL_TRY(m->cx, ql_ids_put(m->cx, &m->ids, m->whole.ids, m->whole.count));
    if (m->p->eos && !(m->whole.count && m->whole.ids[m->whole.count - 1] == eos))
        QL_TRY(m->cx, ql_ids_put(m->cx, &m->ids, &eos, 1));
    first = m->all ? begin + 1 : first + m->prompt.count;
    first = first > begin ? first : begin + 1;
    end = m->ids.count;
    if (end - begin > m->max_length) {
        end = m->p->too_long == DROP ? begin : begin + m->max_length;
        m->cut += end > first;
    }
    m->ids.count = end > first ? end : begin;
    if (end > first) {
        m->first[m->count++] = first;
        m->offsets[m->count] = end;
    } else {
        m->dropped++;
    }
    return QL_OK;
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

static ql_status
open_maker(maker *m, const ql_data_request *req)
{
    const pairs *p = m->p;
    const ql_bos bos = req->bos == QL_BOS_DATA ? (ql_bos)p->bos : req->bos;

    m->adds_bos = bos == QL_BOS_YES || (bos == QL_BOS_AUTO && ql_tokenizer_adds_bos(m->tokenizer));
    m->max_length = p->max_length ? p->max_length : req->max_positions;
    if (bos == QL_BOS_YES && ql_tokenizer_bos(m->tokenizer) < 0)
        return QL_FAIL(m->cx, QL_INVALID, "bos: yes, but the tokenizer has no BOS token");
    if (p->eos && ql_tokenizer_eos(m->tokenizer) < 0)
        return QL_FAIL(m->cx, QL_INVALID, "eos: the tokenizer has no EOS token; `eos: false` leaves it out");
    if (m->max_length <= 0)
        return QL_FAIL(m->cx, QL_INVALID, "max_length is needed: the model does not say how many positions it has");
    if (req->max_positions > 0 && m->max_length > req->max_positions && !p->allow_long)
        return QL_FAIL(
            m->cx, QL_INVALID,
            "max_length: %lld tokens are more than the %lld positions of the model: allow_long: true takes them",
            (long long)m->max_length, (long long)req->max_positions);
    return QL_OK;
}

static ql_status
make(maker *m, const ql_task_document *documents, const int64_t *chosen, int64_t count)
{
    m->offsets = ql_alloc(m->cx, (size_t)count + 1, sizeof *m->offsets);
    m->first = ql_alloc(m->cx, (size_t)count, sizeof *m->first);
    if (!m->offsets || !m->first)
        return QL_MEMORY;
    for (int64_t i = 0; i < count; i++) {
        const ql_task_document *d = &documents[chosen[i]];
        const ql_status st = add_example(m, d);

        if (st != QL_OK)
            return st == QL_MEMORY || st == QL_INTERRUPTED
                       ? st
                       : QL_FAIL(m->cx, st, "%s: %s", d->name, ql_format(m->cx, "%s", ql_error(m->cx)));
    }
    return QL_OK;
}

/* Marks the targets, and says what came of the records. */
static ql_status
finish(maker *m, int64_t documents, ql_tokens *out)
{
    unsigned char *scored = ql_alloc(m->cx, (size_t)m->ids.count + 1, 1);
    long long targets = 0;

    if (!scored)
        return QL_MEMORY;
    if (!m->count)
        return QL_FAIL(
            m->cx, QL_INVALID,
            "%s: not one example is left: nothing to score in the first %lld tokens, or longer (%lld records)",
            m->p->path, (long long)m->max_length, (long long)documents);
    for (int64_t i = 0; i < m->count; i++) {
        memset(scored + m->first[i], 1, (size_t)(m->offsets[i + 1] - m->first[i]));
        targets += m->offsets[i + 1] - m->first[i];
    }
    ql_info(m->cx, "%s: %lld of %lld records, %lld tokens, %lld of them targets", m->p->path, (long long)m->count,
            (long long)documents, (long long)m->ids.count, targets);
    if (m->cut)
        ql_warn(m->cx, "%s: %lld examples cut to %lld tokens", m->p->path, (long long)m->cut, (long long)m->max_length);
    if (m->dropped)
        ql_warn(m->cx, "%s: %lld examples left out: nothing to score in the first %lld tokens, or longer", m->p->path,
                (long long)m->dropped, (long long)m->max_length);
    if (m->uneven)
        ql_warn(m->cx,
                "%s: %lld examples whose prompt's tokens are no begin of the whole's: `boundary: separate` keeps them "
                "apart",
                m->p->path, (long long)m->uneven);
    *out = (ql_tokens){.count = m->count,
                       .offsets = m->offsets,
                       .ids = m->ids.ids,
                       .scored = scored,
                       .seqlen = m->max_length,
                       .bos = m->adds_bos,
                       .bos_id = ql_tokenizer_bos(m->tokenizer),
                       .documents = documents,
                       .rejected = m->dropped};
    return QL_OK;
}

static ql_status
read(ql_ctx *cx, const void *self, const ql_data_request *req, ql_tokens *out)
{
    const pairs *p = self;
    maker m = {.cx = cx, .p = p, .tokenizer = req->tokenizer};
    const ql_task_options options = {.path = p->path};
    const ql_task_document *documents;
    const int64_t *chosen;
    const ql_task *task;
    int64_t count, of;

    QL_TRY(cx, open_task(cx, p, &task));
    QL_TRY(cx, open_maker(&m, req));
    QL_TRY(cx, ql_task_read(cx, task, &options, &documents, &of));
    m.all = p->score == ALL || (p->score == AS_TASK && ql_task_about(task)->whole);
    QL_TRY(cx, choose(cx, p, req->seed, of, &chosen, &count));
    QL_TRY(cx, make(&m, documents, chosen, count));
    return finish(&m, of, out);
}

QL_PLUGIN(.kind = QL_DATA, .name = "pairs", .version = "1.0",
          .help = "examples to learn from: a prompt that is read and a completion that is scored", .params = params,
          .self_size = sizeof(pairs), .check = check, .data = QL_TABLE(ql_data, .read = read, .file = own_file), );
