/* Tasks as data: questions whose answers a model scores. A task file says how records become texts; what several texts begin with is read
 * once (docs/evaluation.md). */
#include "tasks.h"

#include "one_line.h"

#define DEFAULT_LENGTH 2048 /* where the model does not say how many positions it has, as the public harness takes */

static const ql_param params[] = {
    QL_TEXT(tasks, task, NULL, "name of a shipped task: `qloom tasks` lists them"),
    QL_PATH(tasks, file, false, "a task file of one's own, in the place of `task`"),
    QL_PATH(tasks, path, true,
            "the records: JSON lines, a JSON array, .csv or .tsv, as they are or packed as .gz or .zst"),
    QL_PATH(tasks, pool, false, "the records that shots are taken from, where that is another file"),
    QL_NUM(tasks, shots, -1, -1, 1 << 10, "solved examples in front of each question; -1: as many as the task says"),
    QL_UINT64(tasks, seed, 1234, "of the generator that draws them, as Python's random"),
    QL_NUM(tasks, limit, 0, 0, 1 << 30, "the first so many documents; 0: all"),
    QL_ENUM(tasks, bos, QL_BOS_AUTO, ql_bos_words,
            "begin a text with the BOS token: auto: as the tokenizer's files say"),
    QL_NUM(tasks, max_length, 0, 0, 1 << 24, "tokens that the model reads at most; 0: the positions that it has"),
    QL_NUM(tasks, max_gen, 0, 0, 1 << 20, "tokens of a generated text at most; 0: as many as the task says"),
    QL_FLAG(tasks, allow_long, false, "a max_length beyond the positions that the model has"),
    QL_FLAG(tasks, share, true, "read what several texts begin with once; the numbers are the same bits without"),
    QL_PARAMS_END};

static ql_status
open_task(ql_ctx *cx, const tasks *p, const ql_task **out)
{
    if (!p->task == !p->file)
        return QL_FAIL(cx, QL_INVALID,
                       "expected `task`, the name of a shipped task, or `file`, a task file of one's own");
    return task_on_one_line(cx, ql_task_open(cx, p->file ? p->file : p->task, out));
}

static ql_status
check(ql_ctx *cx, const void *self)
{
    const tasks *p = self;
    const ql_task_options options = {.path = p->path, .pool = p->pool, .shots = p->shots};
    const ql_task *task;

    QL_TRY(cx, open_task(cx, p, &task));
    if (p->max_gen && ql_task_about(task)->kind != QL_TASK_GENERATE)
        return QL_FAIL(cx, QL_INVALID, "max_gen: task '%s' generates no texts", ql_task_about(task)->name);
    return ql_task_check(cx, task, &options);
}

/* The shipped task file, which no parameter names by its path. */
static ql_status
own_file(ql_ctx *cx, const void *self, const char **out)
{
    const tasks *p = self;
    const ql_task *task;

    if (p->file)
        return QL_OK;
    QL_TRY(cx, open_task(cx, p, &task));
    *out = ql_task_about(task)->file;
    return QL_OK;
}

static ql_status
length_of(ql_ctx *cx, const tasks *p, const ql_data_request *req, int64_t *out)
{
    *out = p->max_length ? p->max_length : req->max_positions ? req->max_positions : DEFAULT_LENGTH;
    if (req->max_positions > 0 && *out > req->max_positions && !p->allow_long)
        return QL_FAIL(
            cx, QL_INVALID,
            "max_length: %lld tokens are more than the %lld positions of the model: allow_long: true takes them",
            (long long)*out, (long long)req->max_positions);
    return QL_OK;
}

/* What is asked and how, once the documents are known. */
static ql_status
describe(ql_ctx *cx, const tasks *p, const ql_task *task, int64_t max_length, ql_questions *out)
{
    const ql_task_info *info = ql_task_about(task);
    const int64_t shots = p->shots < 0 ? info->shots : p->shots;

    out->task = info->name;
    out->rolling = info->kind == QL_TASK_ROLLING;
    out->partial = info->kind == QL_TASK_CONTEXTS;
    out->metric_count = info->metric_count;
    out->metrics = info->metrics;
    out->protocol =
        ql_format(cx, "%s version %lld, %lld shots%s, bos %s, max_length %lld%s%s, %lld documents", info->name,
                  (long long)info->version, (long long)shots,
                  shots ? ql_format(cx, " (seed %llu)", (unsigned long long)p->seed) : "", ql_bos_words[p->bos],
                  (long long)max_length, out->max_gen ? ql_format(cx, ", max_gen %lld", (long long)out->max_gen) : "",
                  info->whole ? ", whole strings scored" : "", (long long)out->document_count);
    return out->protocol ? QL_OK : QL_MEMORY;
}

/* The inputs of all answers that are scored, as segments of trees. */
static ql_status
read_answers(ql_ctx *cx, const tasks *p, const ql_data_request *req, const ql_task *task, int64_t max_length,
             ql_tokens *out, ql_questions *questions)
{
    tasks_inputs in = {0};

    QL_TRY(cx, tasks_inputs_make(cx, p, req, task, max_length, &in));
    questions->document_count = in.document_count;
    questions->request_count = in.request_count;
    questions->documents = in.documents;
    questions->requests = in.requests;
    for (int64_t i = 0; i < in.count; i++)
        out->asked += in.items[i].count;
    return tasks_tree_make(cx, &in, p->share && !req->apart ? req->chunk_tokens : 0, out, questions);
}

/* A token beyond the vocabulary is found by the model's embedding; here is what came of the questions. */
static ql_status
read(ql_ctx *cx, const void *self, const ql_data_request *req, ql_tokens *out)
{
    const tasks *p = self;
    ql_questions *questions = ql_alloc(cx, 1, sizeof *questions);
    const ql_task *task;
    int64_t max_length;

    if (!questions)
        return QL_MEMORY;
    QL_TRY(cx, open_task(cx, p, &task));
    QL_TRY(cx, length_of(cx, p, req, &max_length));
    if (ql_task_about(task)->kind == QL_TASK_GENERATE)
        QL_TRY(cx, tasks_prompts_make(cx, p, req, task, max_length, out, questions));
    else
        QL_TRY(cx, read_answers(cx, p, req, task, max_length, out, questions));
    QL_TRY(cx, describe(cx, p, task, max_length, questions));
    out->seqlen = max_length;
    out->bos = p->bos == QL_BOS_YES || (p->bos == QL_BOS_AUTO && ql_tokenizer_adds_bos(req->tokenizer));
    out->bos_id = ql_tokenizer_bos(req->tokenizer);
    out->documents = questions->document_count;
    out->questions = questions;
    ql_info(cx, "%s: %lld documents, %lld requests, %lld tokens to read of %lld, %lld scored", questions->task,
            (long long)questions->document_count, (long long)questions->request_count,
            (long long)out->offsets[out->count], (long long)out->asked, (long long)questions->scored_count);
    return QL_OK;
}

QL_PLUGIN(.kind = QL_DATA, .name = "tasks", .version = "1.0",
          .help = "the questions of a task: multiple choice, cloze, texts scored whole", .params = params,
          .self_size = sizeof(tasks), .check = check, .data = QL_TABLE(ql_data, .read = read, .file = own_file), );
