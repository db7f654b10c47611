/* Text files as token sequences: plain text, JSON lines or CSV, sampled as published work does, or window by window. */
#include "text.h"

static const char *const documents_words[] = {"whole", "lines", NULL};
static const char *const errors_words[] = {"strict", "replace", NULL};
static const char *const bad_records_words[] = {"error", "skip", NULL};
static const char *const sampling_words[] = {"windows", "gptq-wikitext2", "gptq-c4", "first-n",
                                             "pack",    "projq-c4",       "srr",     NULL};

static const ql_param params[] = {
    QL_PATH(text, path, true,
            "a .txt, .raw, .tokens, .jsonl, .json, .csv or .tsv file, as it is or packed as .gz or .zst"),
    QL_NUM(text, samples, 0, 0, 1 << 24, "sequences to take; 0: all full windows in order"),
    QL_NUM(text, seqlen, 0, 0, 1 << 24, "tokens of a sequence; 0: the positions that the model has"),
    QL_FLAG(text, allow_long, false, "take sequences that are longer than the positions that the model has"),
    QL_ENUM(text, bos, QL_BOS_AUTO, ql_bos_words,
            "begin a text with the BOS token: auto: as the tokenizer's files say"),
    QL_ENUM(text, documents, 0, documents_words,
            "plain text: the whole file is one document, or each line that is not blank"),
    QL_TEXT(text, join, NULL,
            "put between documents that become one text (default: two newlines); for plain text, makes rows of the "
            "lines (a "
            "blank line: an empty row) and joins those"),
    QL_TEXT(text, field, NULL,
            "JSON field (a.b: the field b of a) or CSV column of the document (default: text); a list of chat messages "
            "becomes for each a line with the role, then the content, with blank lines between"),
    QL_ENUM(text, errors, 0, errors_words, "invalid UTF-8: an error, or U+FFFD in its place"),
    QL_ENUM(text, bad_records, 0, bad_records_words,
            "JSON or CSV that is no record with a text in its field: an error, or left out"),
    QL_ENUM(
        text, sampling, TEXT_WINDOWS, sampling_words,
        "windows: windows of the joined text, with samples that many of them, drawn without replacement; the others as "
        "published"),
    QL_PARAMS_END};

/* How the file is read: by what its parameters say, and published procedures that take rows make rows of lines. */
static ql_records_options
options(const text *p)
{
    return (ql_records_options){
        .path = p->path,
        .field = p->field,
        .join = p->sampling == TEXT_GPTQ_WIKITEXT2 && !p->join ? "\n\n" : p->join,
        .lines = p->documents != 0,
        .replace = p->errors != 0,
        .skip = p->bad_records != 0,
    };
}

static ql_status
check(ql_ctx *cx, const void *self)
{
    const text *p = self;
    const ql_records_options o = options(p);

    if (!p->samples && p->sampling != TEXT_WINDOWS && p->sampling != TEXT_PACK)
        return QL_FAIL(cx, QL_INVALID, "sampling: %s needs samples", sampling_words[p->sampling]);
    return ql_records_check(cx, &o);
}

/* What was asked for and what came of it; a shortfall is a warning at the start, not a footnote. */
static ql_status
report(ql_ctx *cx, const text_draw *d)
{
    const long long used = (long long)(d->ids.count / sizeof(int32_t));
    const ql_records_counts counts = ql_records_counted(d->docs);
    const long long read = (long long)counts.records;

    if (counts.line_ends)
        ql_info(cx, "%s: %lld line ends CRLF or CR are read as LF, as Python reads them", d->self->path,
                (long long)counts.line_ends);
    if (counts.skipped)
        ql_warn(cx, "%s: %lld bad records left out", d->self->path, (long long)counts.skipped);
    if (d->doubled)
        ql_warn(cx, "%s: a text that already begins with the BOS token gets no second one (%lld texts)", d->self->path,
                (long long)d->doubled);
    if (!d->count)
        return QL_FAIL(cx, QL_INVALID,
                       "%s: not one sequence of %lld tokens: the longest text has %lld (%lld documents read)",
                       d->self->path, (long long)d->seqlen, (long long)d->longest, read);
    ql_info(cx, "%s: %lld documents read, %lld too short, %lld sequences, %lld tokens", d->self->path, read,
            (long long)d->rejected, (long long)d->count, used);
    if (used < d->samples * d->seqlen)
        ql_warn(cx, "%s: %lld tokens in %lld sequences, asked for %lld in %lld", d->self->path, used,
                (long long)d->count, (long long)(d->samples * d->seqlen), (long long)d->samples);
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
    const ql_records_options o = options(p);
    int64_t documents;
    ql_status st;

    if (d.seqlen <= 0)
        return QL_FAIL(cx, QL_INVALID, "seqlen is needed: the model does not say how many positions it has");
    if (req->max_positions > 0 && d.seqlen > req->max_positions && !p->allow_long)
        return QL_FAIL(cx, QL_INVALID,
                       "seqlen: %lld tokens are more than the %lld positions of the model: allow_long: true takes them",
                       (long long)d.seqlen, (long long)req->max_positions);
    QL_TRY(cx, ql_records_open(cx, &o, &d.docs));
    st = text_draw_run(cx, &d);
    if (st == QL_OK)
        st = report(cx, &d);
    documents = ql_records_counted(d.docs).records;
    ql_records_close(d.docs);
    if (st == QL_MEMORY)
        return QL_FAIL(cx, st, "%s: no memory for its text (%lld documents read)", p->path, (long long)documents);
    QL_TRY(cx, st);
    *out = (ql_tokens){.count = d.count,
                       .offsets = (const int64_t *)(const void *)d.offsets.data,
                       .ids = (const int32_t *)(const void *)d.ids.data,
                       .seqlen = d.seqlen,
                       .bos = d.bos == QL_BOS_YES || (d.bos == QL_BOS_AUTO && ql_tokenizer_adds_bos(req->tokenizer)),
                       .bos_id = ql_tokenizer_bos(req->tokenizer),
                       .documents = documents,
                       .rejected = d.rejected,
                       .asked = d.samples * d.seqlen};
    return QL_OK;
}

QL_PLUGIN(.kind = QL_DATA, .name = "text", .version = "1.0", .help = "text files as token sequences", .params = params,
          .self_size = sizeof(text), .check = check, .data = QL_TABLE(ql_data, .read = read), );
