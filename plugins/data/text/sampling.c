/* Documents to token sequences: windows over the whole text, and the calibration sampling of published work by name. */
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define PROJQ_CANDIDATES 10 /* documents a sample, before the shuffle */
#define PROJQ_SEED 42
#define SRR_DOCUMENTS 20 /* documents a sample */

/* --- sequences --------------------------------------------------------------------------------------------------- */

static ql_status
add(ql_ctx *cx, text_draw *d, const int32_t *ids, int64_t count)
{
    int64_t end;

    QL_TRY(cx, text_put(cx, &d->ids, ids, (size_t)count * sizeof *ids));
    end = (int64_t)(d->ids.count / sizeof *ids);
    d->count++;
    return text_put(cx, &d->offsets, &end, sizeof end);
}

static bool
enough(const text_draw *d)
{
    return d->samples && d->count >= d->samples;
}

/* Windows one behind the other, at most as many as samples; the rest of the text is dropped. */
static ql_status
cut(ql_ctx *cx, text_draw *d, const ql_ids *ids)
{
    for (int64_t at = 0; at + d->seqlen <= ids->count && !enough(d); at += d->seqlen)
        QL_TRY(cx, add(cx, d, ids->ids + at, d->seqlen));
    return QL_OK;
}

/* --- texts ------------------------------------------------------------------------------------------------------- */

static int64_t
documents(const text_draw *d)
{
    return ql_records_counted(d->docs).records;
}

/* The ids of a text in place of those in `ids`. A text that begins with the BOS token itself gets no second one. */
static ql_status
encode(ql_ctx *cx, text_draw *d, const char *document, size_t bytes, ql_ids *ids)
{
    const int64_t bos = ql_tokenizer_bos(d->req->tokenizer);

    ids->count = 0;
    QL_TRY(cx, ql_tokenizer_encode(cx, d->req->tokenizer, document, bytes, d->bos, ids));
    if (d->bos != QL_BOS_NO && ids->count > 1 && ids->ids[0] == bos && ids->ids[1] == bos) {
        ids->count--;
        memmove(ids->ids, ids->ids + 1, (size_t)ids->count * sizeof *ids->ids);
        d->doubled++;
    }
    d->longest = ids->count > d->longest ? ids->count : d->longest;
    return QL_OK;
}

/* The next document's ids in place of those in `ids`. */
static ql_status
next_ids(ql_ctx *cx, text_draw *d, ql_ids *ids, bool *end)
{
    const char *document;
    size_t bytes;

    QL_TRY(cx, ql_records_next(cx, d->docs, &document, &bytes));
    ids->count = 0;
    *end = !document;
    return *end ? QL_OK : encode(cx, d, document, bytes, ids);
}

/* The first `limit` documents (0: all) joined to one text and tokenized once. */
static ql_status
joined(ql_ctx *cx, text_draw *d, int64_t limit, ql_ids *ids)
{
    const char *join = d->self->join ? d->self->join : "\n\n", *document;
    text_buffer all = {0};
    size_t bytes;

    while (!limit || documents(d) < limit) {
        QL_TRY(cx, ql_records_next(cx, d->docs, &document, &bytes));
        if (!document)
            break;
        if (documents(d) > 1)
            QL_TRY(cx, text_put(cx, &all, join, strlen(join)));
        QL_TRY(cx, text_put(cx, &all, document, bytes));
    }
    return encode(cx, d, all.count ? all.data : "", all.count, ids);
}

/* --- procedures -------------------------------------------------------------------------------------------------- */

static int
ascending(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* All windows of the joined text in order; with samples that many of them, drawn without replacement. */
static ql_status
windows(ql_ctx *cx, text_draw *d)
{
    ql_mt19937 g;
    ql_ids ids = {0};
    int64_t *drawn;

    QL_TRY(cx, joined(cx, d, 0, &ids));
    if (!d->samples || d->samples >= ids.count / d->seqlen)
        return cut(cx, d, &ids);
    drawn = ql_alloc(cx, (size_t)d->samples, sizeof *drawn);
    if (!drawn)
        return QL_MEMORY;
    ql_mt19937_seed(&g, d->req->seed);
    QL_TRY(cx, ql_mt19937_sample(cx, &g, ids.count / d->seqlen, d->samples, drawn));
    qsort(drawn, (size_t)d->samples, sizeof *drawn, ascending);
    for (int64_t i = 0; i < d->samples; i++)
        QL_TRY(cx, add(cx, d, ids.ids + drawn[i] * d->seqlen, d->seqlen));
    return QL_OK;
}

static ql_status
gptq_wikitext2(ql_ctx *cx, text_draw *d)
{
    ql_mt19937 g;
    ql_ids ids = {0};

    QL_TRY(cx, joined(cx, d, 0, &ids));
    if (ids.count <= d->seqlen)
        return QL_OK;
    ql_mt19937_seed(&g, d->req->seed);
    while (!enough(d))
        QL_TRY(cx, add(cx, d, ids.ids + ql_mt19937_between(&g, 0, ids.count - d->seqlen - 1), d->seqlen));
    return QL_OK;
}

typedef struct stored { /* a document kept for random access; tokens -1: not counted yet */
    char *text;
    size_t bytes;
    int64_t tokens;
} stored;

static ql_status
store_all(ql_ctx *cx, text_draw *d, text_buffer *docs)
{
    const char *document;

    for (;;) {
        stored s = {.tokens = -1};

        QL_TRY(cx, ql_records_next(cx, d->docs, &document, &s.bytes));
        if (!document)
            return QL_OK;
        s.text = ql_alloc(cx, s.bytes + 1, 1);
        if (!s.text)
            return QL_MEMORY;
        memcpy(s.text, document, s.bytes);
        QL_TRY(cx, text_put(cx, docs, &s, sizeof s));
    }
}

/* Index and start come from one generator; a document of exactly the length has one window, which is not drawn. */
static ql_status
gptq_c4(ql_ctx *cx, text_draw *d)
{
    text_buffer docs = {0};
    ql_mt19937 g;
    ql_ids ids = {0};

    QL_TRY(cx, store_all(cx, d, &docs));
    ql_mt19937_seed(&g, d->req->seed);
    while (!enough(d) && d->rejected < documents(d)) {
        stored *s = (stored *)(void *)docs.data + ql_mt19937_between(&g, 0, documents(d) - 1);
        bool fresh = s->tokens < 0;

        if (!fresh && s->tokens < d->seqlen)
            continue;
        QL_TRY(cx, ql_check_interrupt(cx));
        QL_TRY(cx, encode(cx, d, s->text, s->bytes, &ids));
        s->tokens = ids.count;
        if (s->tokens < d->seqlen) {
            d->rejected++;
            continue;
        }
        QL_TRY(cx,
               add(cx, d, ids.ids + (ids.count == d->seqlen ? 0 : ql_mt19937_between(&g, 0, ids.count - d->seqlen - 1)),
                   d->seqlen));
    }
    return QL_OK;
}

static ql_status
first_n(ql_ctx *cx, text_draw *d)
{
    ql_ids ids = {0};
    bool end = false;

    while (!enough(d)) {
        QL_TRY(cx, next_ids(cx, d, &ids, &end));
        if (end)
            return QL_OK;
        if (ids.count == 0)
            d->rejected++;
        else
            QL_TRY(cx, add(cx, d, ids.ids, ids.count < d->seqlen ? ids.count : d->seqlen));
    }
    return QL_OK;
}

/* Documents with the end-of-sequence token behind each, in one row. What is cut off is kept for the next window. */
static ql_status
pack(ql_ctx *cx, text_draw *d)
{
    const int32_t eos = (int32_t)ql_tokenizer_eos(d->req->tokenizer);
    text_buffer row = {0};
    ql_ids ids = {0};
    bool end = false;

    if (eos < 0)
        return QL_FAIL(cx, QL_INVALID,
                       "sampling: pack puts an end-of-sequence token behind each document, and the tokenizer has none");
    while (!enough(d)) {
        const size_t window = (size_t)d->seqlen * sizeof *ids.ids;
        size_t at = 0;

        QL_TRY(cx, next_ids(cx, d, &ids, &end));
        if (end)
            return QL_OK;
        QL_TRY(cx, text_put(cx, &row, ids.ids, (size_t)ids.count * sizeof *ids.ids));
        QL_TRY(cx, text_put(cx, &row, &eos, sizeof eos));
        for (; at + window <= row.count && !enough(d); at += window)
            QL_TRY(cx, add(cx, d, (const int32_t *)(const void *)(row.data + at), d->seqlen));
        memmove(row.data, row.data + at, row.count - at);
        row.count -= at;
    }
    return QL_OK;
}

/* The first 10 n documents that are long enough, their first tokens, shuffled, the first n of those. */
static ql_status
projq_c4(ql_ctx *cx, text_draw *d)
{
    const int64_t wanted = PROJQ_CANDIDATES * d->samples, length = d->seqlen;
    text_buffer rows = {0};
    int64_t *order = ql_alloc(cx, (size_t)wanted, sizeof *order), count = 0;
    ql_mt19937 g;
    ql_ids ids = {0};
    bool end = false;

    if (!order)
        return QL_MEMORY;
    while (count < wanted) {
        QL_TRY(cx, next_ids(cx, d, &ids, &end));
        if (end)
            break;
        if (ids.count < length) {
            d->rejected++;
            continue;
        }
        QL_TRY(cx, text_put(cx, &rows, ids.ids, (size_t)length * sizeof *ids.ids));
        order[count] = count;
        count++;
    }
    if (count < wanted)
        ql_warn(cx, "%s: %lld documents of %lld tokens, the procedure shuffles %lld", d->self->path, (long long)count,
                (long long)length, (long long)wanted);
    ql_mt19937_seed(&g, PROJQ_SEED);
    ql_mt19937_shuffle(&g, order, count);
    for (int64_t i = 0; i < count && !enough(d); i++)
        QL_TRY(cx, add(cx, d, (const int32_t *)(const void *)rows.data + order[i] * length, length));
    return QL_OK;
}

static ql_status
srr(ql_ctx *cx, text_draw *d)
{
    ql_ids ids = {0};

    QL_TRY(cx, joined(cx, d, SRR_DOCUMENTS * d->samples, &ids));
    return cut(cx, d, &ids);
}

ql_status
text_draw_run(ql_ctx *cx, text_draw *d)
{
    static ql_status (*const procedures[])(ql_ctx *, text_draw *) = {
        [TEXT_WINDOWS] = windows, [TEXT_GPTQ_WIKITEXT2] = gptq_wikitext2,
        [TEXT_GPTQ_C4] = gptq_c4, [TEXT_FIRST_N] = first_n,
        [TEXT_PACK] = pack,       [TEXT_PROJQ_C4] = projq_c4,
        [TEXT_SRR] = srr};
    const int64_t zero = 0;

    QL_TRY(cx, text_put(cx, &d->offsets, &zero, sizeof zero));
    return procedures[d->self->sampling](cx, d);
}
