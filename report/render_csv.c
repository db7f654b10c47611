/* A table as CSV for programs: exact numbers, standard deviations in columns of their own, footnotes as text. */
#include "render.h"

#include <string.h>

#include "base/text.h"

/* A spreadsheet takes text that begins so for a formula, which may do anything; a number, and a sign alone, it does not. */
static bool
is_formula(const char *text)
{
    char *end;

    (void)ql_to_double(text, &end);
    return *text && strchr("=+-@\t\r", *text) && text[1] && (*end || end == text);
}

/* Behind an apostrophe what would be a formula. Line ends stay as they are, in quotes. */
static void
put_field(const char *text, FILE *out)
{
    const bool quote = text[strcspn(text, ",\"\r\n")] != '\0';
    char shown[QL_SHOWN_SIZE];

    if (quote)
        fputc('"', out);
    if (is_formula(text))
        fputc('\'', out);
    while (*text) {
        const size_t control = strchr("\t\r\n", *text) ? 0 : ql_control(text, shown);

        if (control)
            fputs(shown, out);
        else
            fprintf(out, "%s%c", *text == '"' ? "\"" : "", *text);
        text += control ? control : 1;
    }
    if (quote)
        fputc('"', out);
}

typedef struct extras { /* columns beside that of a number: those that some row has something for */
    bool spread, interval;
} extras;

static ql_status
find_extras(ql_ctx *cx, const ql_table *t, extras **out)
{
    *out = ql_alloc(cx, (size_t)t->column_count, sizeof **out);
    if (!*out)
        return QL_MEMORY;
    for (int64_t i = 0; i < t->row_count * t->column_count; i++) {
        extras *x = &(*out)[i % t->column_count];

        x->spread = x->spread || t->entries[i].spread;
        x->interval = x->interval || t->entries[i].interval;
    }
    return QL_OK;
}

static void
put_number(double value, bool there, FILE *out)
{
    char text[QL_NUMBER_SIZE];

    ql_number_exact(value, text);
    fprintf(out, "%s,", there ? text : "");
}

/* A field and what ends it; NULL: it could not be made. */
static ql_status
put_text(const char *text, FILE *out)
{
    if (!text)
        return QL_MEMORY;
    put_field(text, out);
    fputc(',', out);
    return QL_OK;
}

static ql_status
put_header(ql_ctx *cx, const ql_table *t, const extras *all, FILE *out)
{
    for (int64_t k = 0; k < t->key_count; k++)
        QL_TRY(cx, put_text(t->keys[k], out));
    for (int64_t k = 0; k < t->column_count; k++) {
        QL_TRY(cx, put_text(t->columns[k].text, out));
        if (all[k].spread)
            QL_TRY(cx, put_text(ql_format(cx, "%s %s", t->columns[k].text, t->differences ? "error" : "sd"), out));
        if (all[k].interval) {
            QL_TRY(cx, put_text(ql_format(cx, "%s low", t->columns[k].text), out));
            QL_TRY(cx, put_text(ql_format(cx, "%s high", t->columns[k].text), out));
        }
    }
    fputs("notes\n", out);
    return QL_OK;
}

static void
put_entry(const ql_table_entry *e, const extras *x, FILE *out)
{
    if (e->count)
        put_number(e->mean, true, out);
    else
        fprintf(out, "%s,", e->failed ? "failed" : "");
    if (x->spread)
        put_number(e->sd, e->spread, out);
    if (x->interval) {
        put_number(e->low, e->interval, out);
        put_number(e->high, e->interval, out);
    }
}

/* The footnotes of a row's numbers, each once: labels keep theirs for formats that people read. */
static ql_status
put_notes(ql_ctx *cx, const ql_table *t, int64_t row, FILE *out)
{
    const char *text = "";

    for (int64_t number = 1; number <= t->footnotes.count && text; number++) {
        bool used = false;

        for (int64_t k = 0; k < t->column_count; k++) {
            const ql_notes *n = &t->entries[row * t->column_count + k].notes;

            for (int64_t i = 0; i < n->count; i++)
                used = used || n->items[i] == number;
        }
        if (used)
            text = ql_format(cx, "%s%s%s", text, *text ? "; " : "", t->footnotes.items[number - 1]);
    }
    if (!text)
        return QL_MEMORY;
    put_field(text, out);
    fputs("\n", out);
    return QL_OK;
}

ql_status
ql_render_csv(ql_ctx *cx, const ql_table *t, FILE *out)
{
    extras *all;

    QL_TRY(cx, find_extras(cx, t, &all));
    QL_TRY(cx, put_header(cx, t, all, out));
    for (int64_t i = 0; i < t->row_count; i++) {
        for (int64_t k = 0; k < t->key_count; k++)
            QL_TRY(cx, put_text(t->rows[i * t->key_count + k].text, out));
        for (int64_t k = 0; k < t->column_count; k++)
            put_entry(&t->entries[i * t->column_count + k], &all[k], out);
        QL_TRY(cx, put_notes(cx, t, i, out));
    }
    return QL_OK;
}
