/* Documents to inputs: texts are encoded, cut to the model's length, and their words to score noted. */
#include <string.h>

#include "tasks.h"

typedef struct maker {
    ql_ctx *cx;
    const tasks *p;
    const ql_data_request *req;
    const ql_task_info *info;
    int64_t max_length;
    tasks_inputs *out;
} maker;

/* CRC-32 as in zlib and PNG, of ids as 32-bit little-endian integers. */
uint32_t
tasks_crc(const int32_t *ids, int64_t count)
{
    uint32_t crc = 0xFFFFFFFFu;

    for (int64_t i = 0; i < count * 4; i++) {
        crc ^= (uint32_t)ids[i / 4] >> (8 * (i % 4)) & 0xFF;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static ql_status
add_input(maker *m, const tasks_input *input)
{
    tasks_inputs *o = m->out;

    QL_TRY(m->cx, ql_alloc_more(m->cx, &o->items, &o->capacity, o->count + 1, sizeof *o->items));
    o->items[o->count++] = *input;
    return QL_OK;
}

/* --- choices ----------------------------------------------------------------------------------------------------- */

static ql_status
too_long(maker *m, int64_t choice, int64_t tokens)
{
    return QL_FAIL(
        m->cx, QL_INVALID,
        "choice %lld: its continuation has %lld tokens, max_length is %lld: nothing of the context would be left",
        (long long)choice, (long long)tokens, (long long)m->max_length);
}

/* The last max_length ids are read, and the continuation's are scored; with `score: whole` the first, and all of them. */
static ql_status
add_request(maker *m, const ql_ids *context, const ql_ids *rest, int64_t choice)
{
    const int64_t all = context->count + rest->count;
    int32_t *ids = ql_alloc(m->cx, (size_t)all, sizeof *ids);
    tasks_input in = {.request = m->out->request_count - 1};
    int64_t end = all, begin = 0;

    if (!ids)
        return QL_MEMORY;
    memcpy(ids, context->ids, (size_t)context->count * sizeof *ids);
    memcpy(ids + context->count, rest->ids, (size_t)rest->count * sizeof *ids);
    if (m->info->whole) {
        end = all > m->max_length ? m->max_length : all;
        in.scored = end - 1;
    } else {
        begin = all > m->max_length + 1 ? all - m->max_length - 1 : 0;
        in.scored = rest->count;
        if (rest->count > m->max_length)
            return too_long(m, choice, rest->count);
    }
    in.ids = ids + begin;
    in.count = end - begin - 1;
    in.words = ids + end - in.scored;
    if (in.count < 1)
        return QL_FAIL(m->cx, QL_INVALID, "choice %lld: one token, with nothing that predicts it", (long long)choice);
    return add_input(m, &in);
}

static ql_status
add_choices(maker *m, const ql_task_document *d)
{
    for (int64_t i = 0; i < d->request_count; i++) {
        ql_request *r = &m->out->requests[m->out->request_count++];
        ql_ids context, rest;

        QL_TRY(m->cx, ql_task_encode(m->cx, m->req->tokenizer, (ql_bos)m->p->bos, &d->requests[i], &context, &rest));
        *r = (ql_request){.document = m->out->document_count - 1,
                          .context = context.count,
                          .tokens = rest.count,
                          .points = d->requests[i].points,
                          .bytes = d->requests[i].bytes,
                          .crc = {tasks_crc(context.ids, context.count), tasks_crc(rest.ids, rest.count)}};
        QL_TRY(m->cx, add_request(m, &context, &rest, i));
    }
    return QL_OK;
}

/* --- rolling texts ----------------------------------------------------------------------------------------------- */

static ql_status
add_window(maker *m, const ql_ids *text, const ql_task_window *w, int32_t prefix)
{
    const int64_t count = w->count + w->prefix;
    int32_t *ids = ql_alloc(m->cx, (size_t)count, sizeof *ids);

    if (!ids)
        return QL_MEMORY;
    ids[0] = prefix;
    memcpy(ids + w->prefix, text->ids + w->first, (size_t)w->count * sizeof *ids);
    return add_input(m, &(tasks_input){.ids = ids,
                                       .count = count,
                                       .scored = w->scored,
                                       .request = m->out->request_count - 1,
                                       .words = text->ids + w->first + w->count + 1 - w->scored});
}

static ql_status
add_rolling(maker *m, const ql_task_document *d)
{
    const ql_tokenizer *tk = m->req->tokenizer;
    const int64_t prefix = ql_tokenizer_bos(tk) >= 0 ? ql_tokenizer_bos(tk) : ql_tokenizer_eos(tk);
    const ql_task_window *windows;
    ql_ids text = {0};
    int64_t count;

    if (prefix < 0)
        return QL_FAIL(m->cx, QL_INVALID, "windows begin with a BOS or EOS token, and the tokenizer has neither");
    QL_TRY(m->cx, ql_tokenizer_encode(m->cx, tk, d->text, d->text_bytes, (ql_bos)m->p->bos, &text));
    QL_TRY(m->cx, ql_task_windows(m->cx, text.count, m->max_length, &windows, &count));
    m->out->requests[m->out->request_count++] = (ql_request){
        .document = m->out->document_count - 1, .tokens = text.count, .crc = {0, tasks_crc(text.ids, text.count)}};
    for (int64_t i = 0; i < count; i++)
        QL_TRY(m->cx, add_window(m, &text, &windows[i], (int32_t)prefix));
    return QL_OK;
}

/* --- documents --------------------------------------------------------------------------------------------------- */

static ql_status
add_document(maker *m, const ql_task_document *d)
{
    const bool rolling = m->info->kind == QL_TASK_ROLLING;
    ql_status st;

    m->out->documents[m->out->document_count++] = (ql_document){
        .number = d->number,
        .name = d->name,
        .part = d->part,
        .first_request = m->out->request_count,
        .request_count = rolling ? 1 : d->request_count,
        .gold_count = d->gold_count,
        .gold = d->gold,
        .words = d->words,
        .bytes = d->count_bytes,
    };
    QL_TRY(m->cx, ql_check_interrupt(m->cx));
    st = rolling ? add_rolling(m, d) : add_choices(m, d);
    return st == QL_OK || st == QL_MEMORY
               ? st
               : QL_FAIL(m->cx, st, "%s: %s", d->name, ql_format(m->cx, "%s", ql_error(m->cx)));
}

ql_status
tasks_inputs_make(ql_ctx *cx, const tasks *p, const ql_data_request *req, const ql_task *task, int64_t max_length,
                  tasks_inputs *out)
{
    maker m = {.cx = cx, .p = p, .req = req, .info = ql_task_about(task), .max_length = max_length, .out = out};
    const ql_task_options options = {
        .path = p->path, .pool = p->pool, .shots = p->shots, .seed = p->seed, .limit = p->limit};
    const ql_task_document *documents;
    int64_t count, requests = 0;

    QL_TRY(cx, ql_task_read(cx, task, &options, &documents, &count));
    for (int64_t i = 0; i < count; i++)
        requests += documents[i].request_count + 1;
    out->documents = ql_alloc(cx, (size_t)count, sizeof *out->documents);
    out->requests = ql_alloc(cx, (size_t)requests, sizeof *out->requests);
    if (!out->documents || !out->requests)
        return QL_MEMORY;
    for (int64_t i = 0; i < count; i++)
        QL_TRY(cx, add_document(&m, &documents[i]));
    return QL_OK;
}
