/* Records of data files as the official releases have them: JSON lines, an array, CSV, the shapes of the parquet viewer, articles. */
#include <stdlib.h>
#include <string.h>

#include <qloom/records.h>

#include "task.h"

#define RECORD_BYTES ((size_t)64 << 20)

static ql_status
add(ql_ctx *cx, ql_task_records *r, const ql_json *item)
{
    QL_TRY(cx, ql_alloc_more(cx, &r->items, &r->capacity, r->count + 1, sizeof(const ql_json *)));
    r->items[r->count++] = item;
    return QL_OK;
}

/* One JSON object, whose texts the tree keeps. */
static ql_status
add_text(ql_ctx *cx, ql_task_records *r, const char *text, size_t bytes)
{
    const char *copy = ql_copy_text(cx, text, bytes);
    ql_json_input in = {.text = copy, .bytes = bytes};
    const ql_json *item;

    in.file = ql_format(cx, "%s: record %lld", r->file, (long long)r->count);
    if (!copy || !in.file)
        return QL_MEMORY;
    if (bytes > RECORD_BYTES)
        return QL_FAIL(cx, QL_INVALID, "%s: %zu bytes, more than a record may have (%zu)", in.file, bytes,
                       RECORD_BYTES);
    QL_TRY(cx, ql_json_parse(cx, &in, &item));
    return add(cx, r, item);
}

/* --- articles ---------------------------------------------------------------------------------------------------- */

/* " = Robert Boulter = ": a heading of the first level. */
static bool
is_heading(const char *line, size_t bytes)
{
    while (bytes && (line[bytes - 1] == '\n' || line[bytes - 1] == ' '))
        bytes--;
    while (bytes && *line == ' ') {
        line++;
        bytes--;
    }
    return bytes > 4 && memcmp(line, "= ", 2) == 0 && line[2] != '=' && memcmp(line + bytes - 2, " =", 2) == 0 &&
           line[bytes - 3] != '=';
}

static ql_status
add_article(ql_ctx *cx, ql_task_records *r, const char *text, size_t bytes)
{
    const char *quoted = ql_json_quote(cx, text, bytes),
               *object = quoted ? ql_format(cx, "{\"page\":%s}", quoted) : NULL;

    return object ? add_text(cx, r, object, strlen(object)) : QL_MEMORY;
}

/* The line end in front of a heading belongs to no article. */
static ql_status
cut_articles(ql_ctx *cx, ql_task_records *r, const char *text, size_t bytes)
{
    size_t begin = 0, next;
    bool any = false;

    for (size_t at = 0; at < bytes; at = next) {
        const char *end = memchr(text + at, '\n', bytes - at);

        next = end ? (size_t)(end - text) + 1 : bytes;
        if (!is_heading(text + at, next - at))
            continue;
        if (any)
            QL_TRY(cx, add_article(cx, r, text + begin, at - begin - 1));
        begin = at;
        any = true;
    }
    return any ? add_article(cx, r, text + begin, bytes - begin) : QL_OK;
}

/* --- all records in one object ---------------------------------------------------------------------------------- */

/* The items of a list, or what each has as its member `inside`. */
static ql_status
take_items(ql_ctx *cx, ql_task_records *r, const ql_json *list, const char *inside)
{
    r->count = 0;
    for (int64_t i = 0; i < ql_json_length(list); i++) {
        const ql_json *item = ql_json_item(list, i), *record = inside ? ql_json_member(item, inside) : item;

        if (!ql_json_is_object(record))
            return ql_json_expected(cx, item,
                                    inside ? ql_format(cx, "an object with the member '%s'", inside) : "an object");
        QL_TRY(cx, add(cx, r, record));
    }
    return QL_OK;
}

static bool
is_column(const ql_json *v)
{
    return ql_json_is_object(v) && (ql_json_member(v, "0") || ql_json_is_null(v, "0"));
}

/* Record `key` of {"field": {"0": …}, …} as the text of an object, written into `file`. */
static ql_status
put_row(ql_ctx *cx, const ql_json *columns, const char *key, FILE *file)
{
    ql_json_writer w = {.cx = cx, .out = file};

    ql_json_put_open(&w, NULL, '{', QL_JSON_TIGHT);
    for (int64_t i = 0; i < ql_json_members(columns); i++) {
        const char *name;
        const ql_json *column = ql_json_at(columns, i, &name), *v = ql_json_member(column, key);

        if (!v && !ql_json_is_null(column, key))
            return QL_FAIL(cx, QL_INVALID, "%s: no entry '%s'", ql_json_where(cx, column), key);
        if (v)
            ql_json_put_value(&w, name, v);
        else
            ql_json_put_text(&w, name, NULL);
    }
    ql_json_put_close(&w);
    return ql_json_put_end(&w);
}

static ql_status
take_columns(ql_ctx *cx, ql_task_records *r, const ql_json *columns)
{
    const char *name, *key;
    const ql_json *first = ql_json_at(columns, 0, &name);

    r->count = 0;
    for (int64_t i = 0; i < ql_json_members(first); i++) {
        char *text = NULL;
        size_t bytes = 0;
        FILE *file = open_memstream(&text, &bytes);
        ql_status st;

        if (!file)
            return QL_FAIL(cx, QL_MEMORY, "no memory for a record");
        (void)ql_json_at(first, i, &key);
        st = put_row(cx, columns, key, file);
        if (fclose(file) != 0 && st == QL_OK)
            st = QL_FAIL(cx, QL_MEMORY, "no memory for a record");
        if (st == QL_OK)
            st = add_text(cx, r, text, bytes);
        free(text);
        QL_TRY(cx, st);
    }
    return QL_OK;
}

/* A file that is one object may hold all records: {"rows": [{"row": {…}}, …]}, {"examples": [{…}, …]} of BIG-Bench Hard, or columns. */
static ql_status
unfold(ql_ctx *cx, ql_task_records *r)
{
    const ql_json *only = r->count == 1 ? r->items[0] : NULL, *rows = ql_json_member(only, "rows"),
                  *examples = ql_json_member(only, "examples");
    const char *name;

    if (rows && ql_json_is_array(rows))
        return take_items(cx, r, rows, "row");
    if (examples && ql_json_is_array(examples))
        return take_items(cx, r, examples, NULL);
    for (int64_t i = 0; i < ql_json_members(only); i++)
        if (!is_column(ql_json_at(only, i, &name)))
            return QL_OK;
    return only && ql_json_members(only) ? take_columns(cx, r, only) : QL_OK;
}

/* --- the file ---------------------------------------------------------------------------------------------------- */

static ql_status
read_records(ql_ctx *cx, ql_records *records, bool articles, ql_task_records *out)
{
    for (;;) {
        const char *text;
        size_t bytes;

        QL_TRY(cx, ql_records_next(cx, records, &text, &bytes));
        if (!text)
            return QL_OK;
        if (articles)
            QL_TRY(cx, cut_articles(cx, out, text, bytes));
        else
            QL_TRY(cx, add_text(cx, out, text, bytes));
    }
}

ql_status
ql_task_records_read(ql_ctx *cx, const char *path, bool articles, ql_task_records *out)
{
    const ql_records_options options = {.path = path, .whole = !articles};
    ql_records *records;
    ql_status st;

    *out = (ql_task_records){.file = path};
    QL_TRY(cx, ql_records_open(cx, &options, &records));
    st = read_records(cx, records, articles, out);
    ql_records_close(records);
    QL_TRY(cx, st);
    QL_TRY(cx, unfold(cx, out));
    return out->count ? QL_OK : QL_FAIL(cx, QL_INVALID, "%s: no records", path);
}
