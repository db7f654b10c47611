/* CSV as in RFC 4180: a header of names, fields parted by commas, quotes around fields with commas, quotes or line
 * ends. */
#include "csv.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "unicode.h"

#define NAME_BYTES 40  /* of each of them */
#define NAMES_SHOWN 20 /* columns that a message names */

static ql_status
end_field(ql_ctx *cx, ql_csv *csv)
{
    QL_TRY(cx, ql_grow(cx, &csv->ends, &csv->capacity, csv->count + 1, sizeof *csv->ends));
    csv->ends[csv->count++] = csv->row.count;
    return QL_OK;
}

static const char *
field_text(const ql_csv *csv, int64_t i, size_t *bytes)
{
    const int64_t begin = i > 0 ? csv->ends[i - 1] : 0;

    *bytes = (size_t)(csv->ends[i] - begin);
    return csv->row.count ? csv->row.data + begin : "";
}

/* A quoted field from behind its opening quote to behind its closing one; it may go on over further lines. */
static ql_status
quoted(ql_ctx *cx, ql_lines *f, ql_csv *csv, const char **at, const char **end)
{
    const int64_t first = f->line;

    for (;;) {
        const char *quote = memchr(*at, '"', (size_t)(*end - *at));
        size_t bytes;

        QL_TRY(cx, ql_text_put(cx, &csv->row, *at, (size_t)((quote ? quote : *end) - *at)));
        if (quote) {
            *at = quote + 1;
            if (*at == *end || **at != '"')
                return QL_OK;
            QL_TRY(cx, ql_text_put(cx, &csv->row, "\"", 1));
            ++*at;
            continue;
        }
        QL_TRY(cx, ql_lines_next(cx, f, at, &bytes));
        if (!*at)
            return QL_FAIL(cx, QL_INVALID, "%s:%lld: a quoted field does not end", f->file.path, (long long)first);
        *end = *at + bytes;
    }
}

/* The fields of the record that begins with `line`. */
static ql_status
record(ql_ctx *cx, ql_lines *f, ql_csv *csv, const char *line, size_t bytes)
{
    const char separator = csv->separator ? csv->separator : ',';
    const char *at = line, *end = line + bytes, *stop, *last;

    csv->row.count = csv->count = 0;
    for (;;) {
        if (at < end && *at == '"') {
            at++;
            QL_TRY(cx, quoted(cx, f, csv, &at, &end));
        } else {
            stop = at;
            last = at + ql_line_length(at, (size_t)(end - at));
            while (stop < last && *stop != separator)
                stop++;
            QL_TRY(cx, ql_text_put(cx, &csv->row, at, (size_t)(stop - at)));
            at = stop;
        }
        QL_TRY(cx, end_field(cx, csv));
        if (at == end || ql_line_length(at, (size_t)(end - at)) == 0)
            return QL_OK;
        if (*at != separator)
            return QL_FAIL(cx, QL_INVALID, "%s:%lld: expected a comma or a line end after a closing quote, got '%c'",
                           f->file.path, (long long)f->line, *at);
        at++;
    }
}

static ql_status
header(ql_ctx *cx, const ql_lines *f, ql_csv *csv, const char *field)
{
    const char *names = "";

    csv->columns = csv->count;
    csv->wanted = -1;
    for (int64_t i = 0; i < csv->columns; i++) {
        size_t bytes;
        const char *name = field_text(csv, i, &bytes);

        if (bytes == strlen(field) && memcmp(name, field, bytes) == 0) {
            if (csv->wanted >= 0)
                return QL_FAIL(cx, QL_INVALID, "%s:1: two columns '%s'", f->file.path, field);
            csv->wanted = i;
        }
        for (; bytes > NAME_BYTES; bytes = ql_utf8_back(name, bytes))
            ;
        if (i < NAMES_SHOWN)
            names = ql_format(cx, "%s%s%.*s", names, i ? ", " : "", (int)bytes, name);
        if (!names)
            return QL_MEMORY;
    }
    if (csv->wanted < 0)
        return QL_FAIL(cx, QL_INVALID, "%s:1: no column '%s' (columns: %s)", f->file.path, field, names);
    return QL_OK;
}

/* The next record that is not an empty line; *end when there is none. */
static ql_status
next_record(ql_ctx *cx, ql_lines *f, ql_csv *csv, bool *end)
{
    const char *line;
    size_t bytes;

    do {
        QL_TRY(cx, ql_lines_next(cx, f, &line, &bytes));
        *end = !line;
        if (*end)
            return QL_OK;
    } while (ql_line_length(line, bytes) == 0);
    return record(cx, f, csv, line, bytes);
}

static ql_status
check_width(ql_ctx *cx, const ql_lines *f, const ql_csv *csv)
{
    if (csv->count == csv->columns)
        return QL_OK;
    return QL_FAIL(cx, QL_INVALID, "%s:%lld: %lld fields, expected %lld as in the header", f->file.path,
                   (long long)f->line, (long long)csv->count, (long long)csv->columns);
}

/* The names of the columns, which have to differ, on the heap. */
static ql_status
read_names(ql_ctx *cx, ql_lines *f, ql_csv *csv, bool *end)
{
    QL_TRY(cx, next_record(cx, f, csv, end));
    csv->columns = *end ? 0 : csv->count;
    csv->names = ql_heap(cx, (size_t)csv->columns + 1, sizeof *csv->names);
    if (!csv->names)
        return QL_MEMORY;
    for (int64_t i = 0; i < csv->columns; i++) {
        size_t bytes;
        const char *name = field_text(csv, i, &bytes), *quoted = ql_json_quote(cx, name, bytes);

        csv->names[i] = quoted ? strdup(quoted) : NULL;
        if (!csv->names[i])
            return QL_FAIL(cx, QL_MEMORY, "no memory for the names of columns");
        for (int64_t j = 0; j < i; j++)
            if (strcmp(csv->names[i], csv->names[j]) == 0)
                return QL_FAIL(cx, QL_INVALID, "%s:1: two columns %s", f->file.path, csv->names[i]);
    }
    return QL_OK;
}

ql_status
ql_csv_object(ql_ctx *cx, ql_csv *csv, ql_lines *f, ql_text *out, bool *end)
{
    *end = false;
    if (!csv->names)
        QL_TRY(cx, read_names(cx, f, csv, end));
    if (!*end)
        QL_TRY(cx, next_record(cx, f, csv, end));
    if (*end)
        return QL_OK;
    QL_TRY(cx, check_width(cx, f, csv));
    for (int64_t i = 0; i < csv->columns; i++) {
        size_t bytes;
        const char *text = field_text(csv, i, &bytes), *quoted = ql_json_quote(cx, text, bytes);

        if (!quoted)
            return QL_MEMORY;
        QL_TRY(cx, ql_text_put(cx, out, i ? "," : "{", 1));
        QL_TRY(cx, ql_text_put(cx, out, csv->names[i], strlen(csv->names[i])));
        QL_TRY(cx, ql_text_put(cx, out, ":", 1));
        QL_TRY(cx, ql_text_put(cx, out, quoted, strlen(quoted)));
    }
    return ql_text_put(cx, out, "}", 1);
}

ql_status
ql_csv_next(ql_ctx *cx, ql_csv *csv, ql_lines *f, const char *field, const char **text, size_t *bytes)
{
    bool end;

    *text = NULL;
    if (!csv->columns) {
        QL_TRY(cx, next_record(cx, f, csv, &end));
        if (end)
            return QL_OK;
        QL_TRY(cx, header(cx, f, csv, field));
    }
    QL_TRY(cx, next_record(cx, f, csv, &end));
    if (end)
        return QL_OK;
    QL_TRY(cx, check_width(cx, f, csv));
    *text = field_text(csv, csv->wanted, bytes);
    return QL_OK;
}

void
ql_csv_fini(ql_csv *csv)
{
    for (int64_t i = 0; csv->names && i < csv->columns; i++)
        free((char *)csv->names[i]);
    free(csv->names);
    free(csv->row.data);
    free(csv->ends);
}
