/* Texts as people keep them, record by record: any of the formats, chosen by the file's name. */
#include <qloom/records.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "csv.h"
#include "json_records.h"

typedef enum format_kind { UNKNOWN, TEXT, JSON, CSV, PARQUET } format_kind;

struct ql_records {
    const ql_records_options *options;
    format_kind format;
    ql_lines lines;
    ql_csv csv;
    ql_json_records json;
    ql_text record;
    ql_records_counts counts;
    bool done;
};

static bool
take_ending(const char *path, size_t *bytes, const char *ending)
{
    const size_t n = strlen(ending);

    if (*bytes <= n || strncasecmp(path + *bytes - n, ending, n) != 0)
        return false;
    *bytes -= n;
    return true;
}

static format_kind
format_of(const char *path, ql_packing *packing)
{
    static const struct {
        const char *ending;
        format_kind format;
    } rows[] = {{".txt", TEXT},  {".raw", TEXT}, {".tokens", TEXT}, {".jsonl", JSON},     {".ndjson", JSON},
                {".json", JSON}, {".csv", CSV},  {".tsv", CSV},     {".parquet", PARQUET}};
    size_t bytes = strlen(path);

    *packing = take_ending(path, &bytes, ".gz") ? QL_GZIP : take_ending(path, &bytes, ".zst") ? QL_ZSTD : QL_PLAIN;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (take_ending(path, &bytes, rows[i].ending))
            return rows[i].format;
    return UNKNOWN;
}

static bool
is_tabbed(const char *path)
{
    size_t bytes = strlen(path);

    (void)(take_ending(path, &bytes, ".gz") || take_ending(path, &bytes, ".zst"));
    return take_ending(path, &bytes, ".tsv");
}

ql_status
ql_records_check(ql_ctx *cx, const ql_records_options *o)
{
    ql_packing packing;
    const format_kind kind = format_of(o->path, &packing);

    if (kind == PARQUET)
        return QL_FAIL(
            cx, QL_UNSUPPORTED,
            "%s: Parquet is not read; this makes JSON lines of it: python3 -c \"import pandas, sys; "
            "pandas.read_parquet(sys.argv[1]).to_json(sys.argv[2], orient='records', lines=True)\" IN.parquet "
            "OUT.jsonl",
            o->path);
    if (kind == UNKNOWN)
        return QL_FAIL(
            cx, QL_UNSUPPORTED,
            "%s: unknown kind of file, expected .txt, .raw, .tokens, .jsonl, .json, .csv or .tsv, as it is or packed "
            "as .gz or .zst",
            o->path);
    if (kind != TEXT && o->lines)
        return QL_FAIL(cx, QL_INVALID, "documents: lines is for files of plain text: here every record is a document");
    if (kind == TEXT && o->field)
        return QL_FAIL(cx, QL_INVALID, "field: %s: a file of plain text has no fields", o->field);
    if (kind == TEXT && o->skip)
        return QL_FAIL(cx, QL_INVALID, "bad_records: skip is for JSON and CSV: plain text has no records that are bad");
    return QL_OK;
}

ql_status
ql_records_open(ql_ctx *cx, const ql_records_options *options, ql_records **out)
{
    ql_records *r;
    ql_packing packing;
    ql_status st;

    QL_TRY(cx, ql_records_check(cx, options));
    r = ql_heap(cx, 1, sizeof *r);
    if (!r)
        return QL_MEMORY;
    r->options = options;
    r->format = format_of(options->path, &packing);
    r->lines.replace = options->replace;
    r->lines.universal = r->format == TEXT;
    r->json.whole = options->whole;
    r->csv.separator = is_tabbed(options->path) ? '\t' : ',';
    st = ql_lines_open(cx, options->path, packing, &r->lines);
    if (st == QL_OK)
        *out = r;
    else
        ql_records_close(r);
    return st;
}

void
ql_records_close(ql_records *r)
{
    if (!r)
        return;
    ql_lines_close(&r->lines);
    ql_csv_fini(&r->csv);
    ql_json_records_fini(&r->json);
    free(r->record.data);
    free(r);
}

ql_records_counts
ql_records_counted(const ql_records *r)
{
    ql_records_counts counts = r->counts;

    counts.line_ends = r->lines.line_ends;
    return counts;
}

/* The whole text: as it is, or made of its lines, which keep their line ends; a blank one is empty. */
static ql_status
whole_text(ql_ctx *cx, ql_records *r)
{
    const char *join = r->options->join, *line;
    size_t bytes;

    for (;;) {
        QL_TRY(cx, ql_lines_next(cx, &r->lines, &line, &bytes));
        if (!line)
            return QL_OK;
        if (join && r->lines.line > 1)
            QL_TRY(cx, ql_text_put(cx, &r->record, join, strlen(join)));
        if (!join || !ql_line_blank(line, bytes))
            QL_TRY(cx, ql_text_put(cx, &r->record, line, bytes));
    }
}

static ql_status
next_line(ql_ctx *cx, ql_records *r, bool *end)
{
    const char *line;
    size_t bytes;

    do {
        QL_TRY(cx, ql_lines_next(cx, &r->lines, &line, &bytes));
        *end = !line;
        if (*end)
            return QL_OK;
    } while (ql_line_blank(line, bytes));
    return ql_text_put(cx, &r->record, line, ql_line_length(line, bytes));
}

static ql_status
next(ql_ctx *cx, ql_records *r, bool *end)
{
    const char *field = r->options->field, *text;
    size_t bytes;

    r->record.count = 0;
    switch (r->format) {
    case JSON:
        return ql_json_records_next(cx, &r->json, &r->lines, field, &r->record, end);
    case CSV:
        if (r->options->whole)
            return ql_csv_object(cx, &r->csv, &r->lines, &r->record, end);
        QL_TRY(cx, ql_csv_next(cx, &r->csv, &r->lines, field ? field : "text", &text, &bytes));
        *end = !text;
        return *end ? QL_OK : ql_text_put(cx, &r->record, text, bytes);
    default:
        if (r->options->lines)
            return next_line(cx, r, end);
        *end = r->done;
        r->done = true;
        return *end ? QL_OK : whole_text(cx, r);
    }
}

/* Is what went wrong a matter of this one record? Not where the file itself can't be read on. */
static bool
may_skip(const ql_records *r, ql_status st)
{
    return st == QL_INVALID && r->options->skip && !r->lines.file.failed &&
           (r->format == JSON ? !r->json.torn : r->csv.wanted >= 0);
}

ql_status
ql_records_next(ql_ctx *cx, ql_records *r, const char **text, size_t *bytes)
{
    bool end = false;
    ql_status st;

    for (;;) {
        QL_TRY(cx, ql_check_interrupt(cx));
        st = next(cx, r, &end);
        if (!may_skip(r, st))
            break;
        ql_error_clear(cx);
        r->counts.skipped++;
    }
    QL_TRY(cx, st);
    r->counts.records += !end;
    *text = end ? NULL : r->record.count ? r->record.data : "";
    *bytes = end ? 0 : (size_t)r->record.count;
    return QL_OK;
}
