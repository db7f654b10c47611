/* A table in LaTeX: a tabular with the rules of the booktabs package, its notes below. */
#include "render.h"

#include <string.h>

static const char *
special(const char *text, size_t i)
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
escape(ql_ctx *cx, const char *text)
{
    return ql_escape(cx, text, special);
}

/* The row before ends with a command that takes a star or a bracket behind it, also after blanks, for its argument. */
static void
put_row(const char *const *fields, int64_t count, FILE *out)
{
    const char first = fields[0][strspn(fields[0], " ")];

    fputs(first == '[' || first == '*' ? "{}" : "", out);
    for (int64_t k = 0; k < count; k++)
        fprintf(out, "%s%s", k ? " & " : "", fields[k]);
    fputs(" \\\\\n", out);
}

static ql_status
put_notes(ql_ctx *cx, const ql_table *t, FILE *out)
{
    for (int64_t i = 0; i < t->remarks.count; i++) {
        const char *text = escape(cx, t->remarks.items[i]);

        if (!text)
            return QL_MEMORY;
        fprintf(out, "\\par\\footnotesize %s\n", text);
    }
    for (int64_t i = 0; i < t->footnotes.count; i++) {
        const char *text = escape(cx, t->footnotes.items[i]);

        if (!text)
            return QL_MEMORY;
        fprintf(out, "\\par\\footnotesize \\textsuperscript{%lld}~%s\n", (long long)i + 1, text);
    }
    return QL_OK;
}

ql_status
ql_render_latex(ql_ctx *cx, const ql_table *t, FILE *out)
{
    static const ql_dialect dialect = {.escape = escape,
                                       .marks = {"\\textsuperscript{", ",", "}"},
                                       .plus_minus = " $\\pm$ ",
                                       .failed = "\\emph{failed}",
                                       .best = {"\\textbf{", "}"}};
    const int64_t width = t->key_count + t->column_count;
    const char **grid, *value = t->value ? escape(cx, t->value) : "";

    if (!value)
        return QL_MEMORY;
    QL_TRY(cx, ql_grid_make(cx, t, &dialect, &grid));
    fputs("% \\usepackage{booktabs}\n\\begin{table}\n\\centering\n", out);
    if (*value)
        fprintf(out, "\\caption{%s}\n", value);
    fputs("\\begin{tabular}{", out);
    for (int64_t k = 0; k < width; k++)
        fputc(k < t->key_count ? 'l' : 'r', out);
    fputs("}\n\\toprule\n", out);
    put_row(grid, width, out);
    fputs("\\midrule\n", out);
    for (int64_t i = 0; i < t->row_count; i++) {
        put_row(grid + (i + 1) * width, width, out);
        if (i + 1 == t->baseline_count && i + 1 < t->row_count)
            fputs("\\midrule\n", out);
    }
    fputs("\\bottomrule\n\\end{tabular}\n", out);
    QL_TRY(cx, put_notes(cx, t, out));
    fputs("\\end{table}\n", out);
    return QL_OK;
}
