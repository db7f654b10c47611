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

static bool
has_sd(const ql_table *t, int64_t column)
{
    for (int64_t i = 0; i < t->row_count; i++)
        if (t->entries[i * t->column_count + column].spread)
            return true;
    return false;
}

static bool
has_interval(const ql_table *t, int64_t column)
{
    for (int64_t i = 0; i < t->row_count; i++)
        if (t->entries[i * t->column_count + column].interval)
            return true;
    return false;
}

static void
put_number(double value, bool there, FILE *out)
{
    char text[QL_NUMBER_SIZE];

    ql_number_exact(value, text);
    fprintf(out, "%s,", there ? text : "");
}

static ql_status
put_header(ql_ctx *cx, const ql_table *t, FILE *out)
{
    for (int64_t k = 0; k < t->key_count; k++) {
        put_field(t->keys[k], out);
        fputc(',', out);
    }
    for (int64_t k = 0; k < t->column_count; k++) {
        const char *sd = ql_format(cx, "%s %s", t->columns[k].text, t->differences ? "error" : "sd");

        if (!sd)
            return QL_MEMORY;
        put_field(t->columns[k].text, out);
        fputc(',', out);
        if (has_sd(t, k)) {
            put_field(sd, out);
            fputc(',', out);
        }
        if (has_interval(t, k)) {
            put_field(ql_format(cx, "%s low", t->columns[k].text), out);
            fputc(',', out);
            put_field(ql_format(cx, "%s high", t->columns[k].text), out);
            fputc(',', out);
        }
    }
    fputs("notes\n", out);
    return QL_OK;
}

static void
put_entry(const ql_table_entry *e, bool sd, bool interval, FILE *out)
{
    if (e->count)
        put_number(e->mean, true, out);
    else
        fprintf(out, "%s,", e->failed ? "failed" : "");
    if (sd)
        put_number(e->sd, e->spread, out);
    if (interval) {
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
    QL_TRY(cx, put_header(cx, t, out));
    for (int64_t i = 0; i < t->row_count; i++) {
        for (int64_t k = 0; k < t->key_count; k++) {
            put_field(t->rows[i * t->key_count + k].text, out);
            fputc(',', out);
        }
        for (int64_t k = 0; k < t->column_count; k++)
            put_entry(&t->entries[i * t->column_count + k], has_sd(t, k), has_interval(t, k), out);
        QL_TRY(cx, put_notes(cx, t, i, out));
    }
    return QL_OK;
}
