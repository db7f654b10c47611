/* Any of the formats, chosen by the file's name, as a stream of documents. */
#include <string.h>

#include "text.h"

enum { FORMAT_NONE, FORMAT_TEXT, FORMAT_JSON, FORMAT_CSV };

static int
format_of(const char *path)
{
    static const struct {
        const char *ending;
        int format;
    } rows[] = {{".txt", FORMAT_TEXT},      {".raw", FORMAT_TEXT},     {".jsonl", FORMAT_JSON}, {".json", FORMAT_JSON},
                {".jsonl.gz", FORMAT_JSON}, {".json.gz", FORMAT_JSON}, {".csv", FORMAT_CSV}};
    const size_t n = strlen(path);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t m = strlen(rows[i].ending);

        if (n > m && strcmp(path + n - m, rows[i].ending) == 0)
            return rows[i].format;
    }
    return FORMAT_NONE;
}

ql_status
text_documents_check(ql_ctx *cx, const text *self)
{
    const int format = format_of(self->path);

    if (format == FORMAT_NONE)
        return QL_FAIL(cx, QL_UNSUPPORTED,
                       "%s: unknown kind of file, expected .txt, .raw, .jsonl, .json, .jsonl.gz, .json.gz or .csv",
                       self->path);
    if (format != FORMAT_TEXT && self->documents)
        return QL_FAIL(cx, QL_INVALID, "documents: lines is for .txt and .raw files: here every record is a document");
    if (format == FORMAT_TEXT && strcmp(self->field, "text") != 0)
        return QL_FAIL(cx, QL_INVALID, "field: %s: a .txt or .raw file has no fields", self->field);
    return QL_OK;
}

ql_status
text_documents_open(ql_ctx *cx, const text *self, text_documents *out)
{
    *out = (text_documents){.self = self, .format = format_of(self->path), .rows_join = self->join};
    if (self->sampling == TEXT_GPTQ_WIKITEXT2 && !self->join)
        out->rows_join = "\n\n";
    return text_file_open(cx, self->path, self->errors, &out->file);
}

void
text_documents_close(text_documents *d)
{
    text_file_close(&d->file);
}

/* The whole file: as it is, or made of its rows, which are its lines with their line ends; a blank line is an empty
 * row. */
static ql_status
whole_text(ql_ctx *cx, text_documents *d, bool *end)
{
    const char *line;
    size_t bytes;

    *end = d->done;
    d->done = true;
    while (!*end) {
        QL_TRY(cx, text_file_line(cx, &d->file, &line, &bytes));
        if (!line)
            return QL_OK;
        if (d->rows_join && d->file.line > 1)
            QL_TRY(cx, text_put(cx, &d->document, d->rows_join, strlen(d->rows_join)));
        if (!d->rows_join || !text_line_blank(line, bytes))
            QL_TRY(cx, text_put(cx, &d->document, line, bytes));
    }
    return QL_OK;
}

static ql_status
next_line(ql_ctx *cx, text_documents *d, bool *end)
{
    const char *line;
    size_t bytes;

    do {
        QL_TRY(cx, text_file_line(cx, &d->file, &line, &bytes));
        *end = !line;
        if (*end)
            return QL_OK;
    } while (text_line_blank(line, bytes));
    return text_put(cx, &d->document, line, text_line_end(line, bytes));
}

ql_status
text_documents_next(ql_ctx *cx, text_documents *d, bool *end)
{
    ql_status st;

    d->document.count = 0;
    QL_TRY(cx, ql_check_interrupt(cx));
    if (d->format == FORMAT_JSON)
        st = text_json_next(cx, &d->file, d->self->field, &d->document, end);
    else if (d->format == FORMAT_CSV)
        st = text_csv_next(cx, &d->file, &d->csv, d->self->field, &d->document, end);
    else
        st = d->self->documents ? next_line(cx, d, end) : whole_text(cx, d, end);
    if (st == QL_OK && !*end)
        d->count++;
    return st;
}
