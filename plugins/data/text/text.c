/* Text files as token sequences: plain text, JSON lines or CSV, sampled as published work does, or window by window. */
#include "text.h"

static const char *const documents_words[] = {"whole", "lines", NULL};
static const char *const errors_words[] = {"strict", "replace", NULL};
static const char *const sampling_words[] = {"windows", "gptq-wikitext2", "gptq-c4", "first-n",
                                             "pack",    "projq-c4",       "srr",     NULL};

static const ql_param params[] = {
    QL_PATH(text, path, true, "a .txt, .raw, .jsonl, .json, .jsonl.gz, .json.gz or .csv file"),
    QL_NUM(text, samples, 0, 0, 1 << 24, "sequences to take; 0: all full windows in order"),
    QL_NUM(text, seqlen, 0, 0, 1 << 24, "tokens of a sequence; 0: the positions that the model has"),
    QL_ENUM(text, bos, QL_BOS_AUTO, ql_bos_words,
            "begin a text with the BOS token: auto: as the tokenizer's files say"),
    QL_ENUM(text, documents, 0, documents_words,
            "plain text: the whole file is one document, or each line that is not blank"),
    QL_TEXT(text, join, NULL,
            "put between documents that become one text (default: two newlines); for plain text, makes rows of the "
            "lines (a "
            "blank line: an empty row) and joins those"),
    QL_TEXT(text, field, "text", "JSON field or CSV column of the document"),
    QL_ENUM(text, errors, 0, errors_words, "invalid UTF-8: an error, or U+FFFD in its place"),
    QL_ENUM(
        text, sampling, TEXT_WINDOWS, sampling_words,
        "windows: windows of the joined text, with samples that many of them, drawn without replacement; the others as "
        "published"),
    QL_PARAMS_END};

static ql_status
check(ql_ctx *cx, const void *self)
{
    const text *p = self;

    if (!p->samples && p->sampling != TEXT_WINDOWS && p->sampling != TEXT_PACK)
        return QL_FAIL(cx, QL_INVALID, "sampling: %s needs samples", sampling_words[p->sampling]);
    return text_documents_check(cx, p);
}

/* What was asked for and what came of it; a shortfall is a warning at the start, not a footnote. */
static ql_status
report(ql_ctx *cx, const text_draw *d, ql_tokens *out)
{
    const long long used = (long long)(d->ids.count / sizeof(int32_t)), read = (long long)d->docs.count;

    if (!d->count)
        return QL_FAIL(cx, QL_INVALID, "%s: not one sequence of %lld tokens (%lld documents read, %lld too short)",
                       d->self->path, (long long)d->seqlen, read, (long long)d->rejected);
    ql_info(cx, "%s: %lld documents read, %lld too short, %lld sequences, %lld tokens", d->self->path, read,
            (long long)d->rejected, (long long)d->count, used);
    if (out->asked && used < out->asked)
        ql_warn(cx, "%s: %lld tokens in %lld sequences, asked for %lld in %lld", d->self->path, used,
                (long long)d->count, (long long)out->asked, (long long)d->samples);
    return QL_OK;
}

static ql_status
read(ql_ctx *cx, const void *self, const ql_data_request *req, ql_tokens *out)
{
    const text *p = self;
    text_draw d = {.self = p,
                   .req = req,
                   .bos = req->bos == QL_BOS_DATA ? (ql_bos)p->bos : req->bos,
                   .seqlen = p->seqlen ? p->seqlen : req->max_positions,
                   .samples = p->samples};
    ql_status st;

    if (d.seqlen <= 0)
        return QL_FAIL(cx, QL_INVALID, "seqlen is needed: the model does not say how many positions it has");
    QL_TRY(cx, text_documents_open(cx, p, &d.docs));
    st = text_draw_run(cx, &d);
    text_documents_close(&d.docs);
    QL_TRY(cx, st);
    *out = (ql_tokens){.count = d.count,
                       .offsets = (const int64_t *)(const void *)d.offsets.data,
                       .ids = (const int32_t *)(const void *)d.ids.data,
                       .seqlen = d.seqlen,
                       .bos = d.bos == QL_BOS_YES || (d.bos == QL_BOS_AUTO && ql_tokenizer_adds_bos(req->tokenizer)),
                       .bos_id = ql_tokenizer_bos(req->tokenizer),
                       .documents = d.docs.count,
                       .rejected = d.rejected,
                       .asked = d.samples * d.seqlen};
    return report(cx, &d, out);
}

QL_PLUGIN(.kind = QL_DATA, .name = "text", .version = "1.0", .help = "text files as token sequences", .params = params,
          .self_size = sizeof(text), .check = check, .data = QL_TABLE(ql_data, .read = read), );
