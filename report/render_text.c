/* Tables for people, as Markdown, LaTeX and HTML: one way to write them, with what each format puts where. */
#include "render.h"

#include <ctype.h>
#include <string.h>

#include "base/printer.h"
#include "svg.h"

/* What a format puts where; NULL: nothing. */
typedef struct format {
    const char *(*escape)(ql_ctx *cx, const char *text); /* into the innermost scope; NULL without memory */
    const char *marks[3];                                /* before, between and behind the numbers of footnotes */
    const char *plus_minus, *failed, *best[2];           /* best: what stands around the best number */
    const char *open, *value[2], *close,
        *end;                        /* before all; around what the numbers are; behind the rows, behind the notes */
    const char *row[3], *row_end[2]; /* before the header, a row, that of an original model; behind the header, a row */
    const char *field[2][2][2];      /* in the header and in a row, around a label and around a number */
    const char *join, *guard;        /* between two fields; before a row that begins with a star or a bracket */
    const char *remark[3];           /* before the first one, before others, behind each */
    const char *notes[2],
        *note[3]; /* around the footnotes; before a number (NULL: it is not written), behind it, behind the text */
    void (*rule)(const ql_table *t, const int *widths, int64_t row,
                 FILE *out); /* before the header, row 0, and each other row */
    bool padded;
} format;

/* --- Markdown, padded so that it reads well on a terminal too --- */

/* Text that Markdown would read as markup. An underscore inside a word is plain text in every dialect in use. */
static const char *
markdown_special(const char *text, size_t i)
{
    static const char marked[] = "\\`*[]<>|", *const as[] = {"\\\\", "\\`", "\\*", "\\[", "\\]", "\\<", "\\>", "\\|"};
    const char *found = strchr(marked, text[i]);

    if (text[i] == '_')
        return i > 0 && isalnum((unsigned char)text[i - 1]) && isalnum((unsigned char)text[i + 1]) ? NULL : "\\_";
    return found ? as[found - marked] : NULL;
}

static const char *
markdown_escape(ql_ctx *cx, const char *text)
{
    return ql_escape(cx, text, markdown_special);
}

static void
markdown_rule(const ql_table *t, const int *widths, int64_t row, FILE *out)
{
    for (int64_t k = 0; k < t->key_count + t->column_count && row == 1; k++) {
        fputs("| ", out);
        for (int i = 0; i < widths[k] - 1; i++)
            fputc('-', out);
        fputs(k < t->key_count ? "- " : ": ", out);
    }
    fputs(row == 1 ? "|\n" : "", out);
}

#define BAR       \
    {             \
        "| ", " " \
    }

static const format markdown = {.escape = markdown_escape,
                                .marks = {"[^", "][^", "]"},
                                .plus_minus = " \xc2\xb1 ",
                                .failed = "failed",
                                .best = {"**", "**"},
                                .value = {NULL, "\n\n"},
                                .row_end = {"|\n", "|\n"},
                                .field = {{BAR, BAR}, {BAR, BAR}},
                                .remark = {"\n- ", "- ", "\n"},
                                .notes = {"\n", NULL},
                                .note = {"[^", "]: ", "\n"},
                                .rule = markdown_rule,
                                .padded = true};

/* --- LaTeX: a tabular with the rules of the booktabs package --- */

static const char *
latex_special(const char *text, size_t i)
{
    static const char marked[] = "\\{}$&#%_^~<>|";
    static const char *const as[] = {"\\textbackslash{}",
                                     "\\{",
                                     "\\}",
                                     "\\$",
                                     "\\&",
                                     "\\#",
                                     "\\%",
                                     "\\_",
                                     "\\textasciicircum{}",
                                     "\\textasciitilde{}",
                                     "\\textless{}",
                                     "\\textgreater{}",
                                     "\\textbar{}"};
    const char *found = strchr(marked, text[i]);

    return found ? as[found - marked] : NULL;
}

static const char *
latex_escape(ql_ctx *cx, const char *text)
{
    return ql_escape(cx, text, latex_special);
}

/* The columns before the header, and lines below it and below the original models. */
static void
latex_rule(const ql_table *t, const int *widths, int64_t row, FILE *out)
{
    (void)widths;
    if (row == 0) {
        fputs("\\begin{tabular}{", out);
        for (int64_t k = 0; k < t->key_count + t->column_count; k++)
            fputc(k < t->key_count ? 'l' : 'r', out);
        fputs("}\n\\toprule\n", out);
    } else if (row == 1 || row == t->baseline_count + 1) {
        fputs("\\midrule\n", out);
    }
}

/* A row's end is a command that takes a star or a bracket behind it, also after blanks, for its argument. */
static const format latex = {.escape = latex_escape,
                             .marks = {"\\textsuperscript{", ",", "}"},
                             .plus_minus = " $\\pm$ ",
                             .failed = "\\emph{failed}",
                             .best = {"\\textbf{", "}"},
                             .open = "% \\usepackage{booktabs}\n\\begin{table}\n\\centering\n",
                             .value = {"\\caption{", "}\n"},
                             .close = "\\bottomrule\n\\end{tabular}\n",
                             .end = "\\end{table}\n",
                             .row_end = {" \\\\\n", " \\\\\n"},
                             .join = " & ",
                             .guard = "{}",
                             .remark = {"\\par\\footnotesize ", "\\par\\footnotesize ", "\n"},
                             .note = {"\\par\\footnotesize \\textsuperscript{", "}~", "\n"},
                             .rule = latex_rule};

/* --- HTML: a part of the report --- */

static const char *
html_escape(ql_ctx *cx, const char *text)
{
    const char *safe = NULL;
    ql_printer p;

    if (ql_printer_open(cx, &p) != QL_OK)
        return NULL;
    ql_html_put(p.out, text);
    return ql_printer_close(cx, &p, &safe) == QL_OK ? safe : NULL;
}

static const format html = {.escape = html_escape,
                            .marks = {"<sup>", ", ", "</sup>"},
                            .plus_minus = " <span class=\"pm\">\xc2\xb1</span> ",
                            .failed = "<em>failed</em>",
                            .best = {"<strong>", "</strong>"},
                            .open = "<div class=\"scroll\"><table>\n",
                            .value = {"<caption>", "</caption>\n"},
                            .close = "</tbody></table></div>\n",
                            .row = {"<thead><tr>", "<tr>", "<tr class=\"original\">"},
                            .row_end = {"</tr></thead>\n<tbody>\n", "</tr>\n"},
                            .field = {{{"<th scope=\"col\">", "</th>"}, {"<th scope=\"col\" class=\"n\">", "</th>"}},
                                      {{"<th scope=\"row\">", "</th>"}, {"<td class=\"n\">", "</td>"}}},
                            .remark = {"<p class=\"remark\">", "<p class=\"remark\">", "</p>\n"},
                            .notes = {"<ol class=\"notes\">\n", "</ol>\n"},
                            .note = {NULL, "<li>", "</li>\n"}};

/* --- fields as text --- */

/* The numbers of footnotes as the format marks them; "" for none. */
static const char *
marks_text(ql_ctx *cx, const format *f, const ql_notes *notes)
{
    const char *text = "";

    for (int64_t i = 0; i < notes->count && text; i++)
        text = ql_format(cx, "%s%s%lld", text, f->marks[i > 0], (long long)notes->items[i]);
    return text && *text ? ql_format(cx, "%s%s", text, f->marks[2]) : text;
}

static const char *
label_text(ql_ctx *cx, const format *f, const ql_table_label *l)
{
    const char *text = f->escape(cx, l->text), *marks = marks_text(cx, f, &l->notes);

    return text && marks ? ql_format(cx, "%s%s", text, marks) : NULL;
}

static const char *
entry_text(ql_ctx *cx, const format *f, const ql_table *t, const ql_table_entry *e)
{
    const char *marks = marks_text(cx, f, &e->notes), *sign = t->differences && e->mean > 0 ? "+" : "", *interval;
    char mean[QL_NUMBER_SIZE], sd[QL_NUMBER_SIZE], low[QL_NUMBER_SIZE], high[QL_NUMBER_SIZE];

    if (!marks)
        return NULL;
    if (!e->count)
        return ql_format(cx, "%s%s", e->failed ? f->failed : "", marks);
    ql_number_short(e->mean, mean);
    ql_number_short(e->sd, sd);
    ql_number_short(e->low, low);
    ql_number_short(e->high, high);
    interval = e->interval ? ql_format(cx, " [%s, %s]", low, high) : "";
    return interval ? ql_format(cx, "%s%s%s%s%s%s%s%s", e->best ? f->best[0] : "", sign, mean,
                                e->spread ? f->plus_minus : "", e->spread ? sd : "", interval,
                                e->best ? f->best[1] : "", marks)
                    : NULL;
}

/* All fields of a table, the header's first: (row_count + 1) x (key_count + column_count). */
static ql_status
make_grid(ql_ctx *cx, const ql_table *t, const format *f, const char ***out)
{
    const int64_t width = t->key_count + t->column_count;
    const char **grid = ql_alloc(cx, (size_t)((t->row_count + 1) * width), sizeof *grid);

    for (int64_t i = 0; grid && i < (t->row_count + 1) * width; i++) {
        int64_t row = i / width - 1, column = i % width - t->key_count;

        if (row < 0)
            grid[i] = column < 0 ? f->escape(cx, t->keys[i]) : label_text(cx, f, &t->columns[column]);
        else if (column < 0)
            grid[i] = label_text(cx, f, &t->rows[row * t->key_count + i % width]);
        else
            grid[i] = entry_text(cx, f, t, &t->entries[row * t->column_count + column]);
        if (!grid[i])
            return QL_MEMORY;
    }
    *out = grid;
    return grid ? QL_OK : QL_MEMORY;
}

/* --- the whole --- */

static const char *
or_nothing(const char *text)
{
    return text ? text : "";
}

static void
put_row(const format *f, const ql_table *t, int64_t row, const char *const *fields, const int *widths, FILE *out)
{
    const char first = fields[0][strspn(fields[0], " ")];

    if (f->rule)
        f->rule(t, widths, row, out);
    fputs(or_nothing(f->row[row == 0 ? 0 : row <= t->baseline_count ? 2 : 1]), out);
    fputs(first == '[' || first == '*' ? or_nothing(f->guard) : "", out);
    for (int64_t k = 0; k < t->key_count + t->column_count; k++) {
        const bool number = k >= t->key_count;
        const char *const *around = f->field[row > 0][number];
        const int pad = f->padded ? widths[k] - ql_text_columns(fields[k]) : 0;

        fprintf(out, "%s%s%*s%s%*s%s", k ? or_nothing(f->join) : "", or_nothing(around[0]), number ? pad : 0, "",
                fields[k], number ? 0 : pad, "", or_nothing(around[1]));
    }
    fputs(f->row_end[row > 0], out);
}

static ql_status
put_notes(ql_ctx *cx, const format *f, const ql_table *t, FILE *out)
{
    const int64_t remarks = t->remarks.count;

    for (int64_t i = 0; i < remarks + t->footnotes.count; i++) {
        const int64_t number = i - remarks;
        const char *text = f->escape(cx, number < 0 ? t->remarks.items[i] : t->footnotes.items[number]);

        if (!text)
            return QL_MEMORY;
        fputs(number == 0 ? or_nothing(f->notes[0]) : "", out);
        if (number < 0)
            fprintf(out, "%s%s%s", f->remark[i > 0], text, f->remark[2]);
        else if (f->note[0])
            fprintf(out, "%s%lld%s%s%s", f->note[0], (long long)number + 1, f->note[1], text, f->note[2]);
        else
            fprintf(out, "%s%s%s", f->note[1], text, f->note[2]);
    }
    fputs(t->footnotes.count ? or_nothing(f->notes[1]) : "", out);
    return QL_OK;
}

ql_status
ql_render_text(ql_ctx *cx, const ql_table *t, ql_text_format which, FILE *out)
{
    static const format *const formats[] = {&markdown, &latex, &html};
    const format *f = formats[which];
    const int64_t width = t->key_count + t->column_count;
    int *widths = ql_alloc(cx, (size_t)width, sizeof *widths);
    const char **grid, *value = t->value ? f->escape(cx, t->value) : "";

    if (!widths || !value)
        return QL_MEMORY;
    QL_TRY(cx, make_grid(cx, t, f, &grid));
    for (int64_t i = 0; i < (t->row_count + 1) * width && f->padded; i++) {
        int w = ql_text_columns(grid[i]), *most = &widths[i % width];

        *most = w > *most ? w : *most < 3 ? 3 : *most; /* a rule is three dashes at least */
    }
    fputs(or_nothing(f->open), out);
    if (t->value)
        fprintf(out, "%s%s%s", or_nothing(f->value[0]), value, f->value[1]);
    for (int64_t row = 0; row <= t->row_count; row++)
        put_row(f, t, row, grid + row * width, widths, out);
    if (t->row_count == 0 && f->rule)
        f->rule(t, widths, 1, out);
    fputs(or_nothing(f->close), out);
    QL_TRY(cx, put_notes(cx, f, t, out));
    fputs(or_nothing(f->end), out);
    return QL_OK;
}
