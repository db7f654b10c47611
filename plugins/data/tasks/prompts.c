/* Documents of a task that generates: each is a prompt, whose last tokens a model goes on with. */
#include <string.h>

#include "tasks.h"

/* Sequences as they come, one behind the other. */
typedef struct prompts {
    ql_ctx *cx;
    const tasks *p;
    const ql_data_request *req;
    const ql_task *task;
    int64_t most; /* tokens of a prompt that are kept */
    int64_t *offsets;
    ql_ids all; /* of the prompts so far */
    ql_document *documents;
    ql_request *requests;
    ql_tokens *out;
} prompts;

/* The reference is the answer, without the delimiter in front of it. */
static ql_status
add_prompt(prompts *b, int64_t i, const ql_task_document *d)
{
    const ql_task_request *r = &d->requests[0];
    const size_t front = strlen(ql_task_about(b->task)->delimiter);
    ql_ids ids;
    int64_t kept;

    QL_TRY(b->cx,
           ql_task_encode_prompt(b->cx, b->req->tokenizer, (ql_bos)b->p->bos, r->context, r->context_bytes, &ids));
    kept = ids.count < b->most ? ids.count : b->most;
    QL_TRY(b->cx, ql_ids_put(b->cx, &b->all, ids.ids + ids.count - kept, kept));
    b->requests[i] =
        (ql_request){.document = i, .context = ids.count, .crc = {tasks_crc(ids.ids + ids.count - kept, kept), 0}};
    b->documents[i] = (ql_document){.number = d->number,
                                    .name = d->name,
                                    .part = d->part,
                                    .first_request = i,
                                    .request_count = 1,
                                    .reference = r->continuation + front};
    b->offsets[i + 1] = b->all.count;
    b->out->asked += ids.count;
    return ql_check_interrupt(b->cx);
}

static ql_status
add_prompts(prompts *b)
{
    const ql_task_options options = {
        .path = b->p->path, .pool = b->p->pool, .shots = b->p->shots, .seed = b->p->seed, .limit = b->p->limit};
    const ql_task_document *documents;

    QL_TRY(b->cx, ql_task_read(b->cx, b->task, &options, &documents, &b->out->count));
    b->offsets = ql_alloc(b->cx, (size_t)b->out->count + 1, sizeof *b->offsets);
    b->documents = ql_alloc(b->cx, (size_t)b->out->count, sizeof *b->documents);
    b->requests = ql_alloc(b->cx, (size_t)b->out->count, sizeof *b->requests);
    if (!b->offsets || !b->documents || !b->requests)
        return QL_MEMORY;
    for (int64_t i = 0; i < b->out->count; i++) {
        const ql_status st = add_prompt(b, i, &documents[i]);

        if (st == QL_INVALID)
            return ql_where(b->cx, st, "%s", documents[i].name);
        QL_TRY(b->cx, st);
    }
    return QL_OK;
}

ql_status
tasks_prompts_make(ql_ctx *cx, const tasks *p, const ql_data_request *req, const ql_task *task, int64_t max_length,
                   ql_tokens *out, ql_questions *questions)
{
    const int64_t max_gen = p->max_gen ? p->max_gen : ql_task_generates(task)->max_gen;
    prompts b = {.cx = cx, .p = p, .req = req, .task = task, .most = max_length - max_gen, .out = out};

    if (b.most < 1)
        return QL_FAIL(cx, QL_INVALID, "max_gen: %lld new tokens leave nothing of max_length, %lld, for a prompt",
                       (long long)max_gen, (long long)max_length);
    QL_TRY(cx, add_prompts(&b));
    out->offsets = b.offsets;
    out->ids = b.all.ids;
    questions->generates = task;
    questions->max_gen = max_gen;
    questions->document_count = questions->request_count = out->count;
    questions->documents = b.documents;
    questions->requests = b.requests;
    return QL_OK;
}
