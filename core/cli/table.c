/* qloom table RUN...: results of finished runs as one table. */
#include <stdio.h>
#include <string.h>

#include "../run/folder.h"
#include "../run/table.h"
#include "cli.h"

typedef struct table_options {
    const char *runs, *format, *rows, *columns, *value;
} table_options;

/* "a,b" as a list; `text` NULL: empty. */
static ql_status
split(ql_ctx *cx, const char *option, const char *text, const char *const **items, int64_t *count)
{
    size_t n = text ? strlen(text) : 0;
    const char **list = ql_alloc(cx, n + 1, sizeof *list);

    *items = list;
    *count = 0;
    for (const char *p = text; list && p;) {
        size_t length = strcspn(p, ",");

        if (length == 0)
            return QL_FAIL(cx, QL_INVALID, "%s: got '%s', expected names with a comma between two", option, text);
        list[*count] = ql_copy_text(cx, p, length);
        if (!list[(*count)++])
            return QL_MEMORY;
        p = p[length] ? p + length + 1 : NULL;
    }
    return list ? QL_OK : QL_MEMORY;
}

/* The pipeline file's table, but for what the options say; a choice of rows or columns alone leaves the other to the
 * defaults. */
static ql_status
make_spec(ql_ctx *cx, const table_options *opt, const ql_result_set *first, ql_table_spec *spec)
{
    *spec = (ql_table_spec){.value = opt->value};
    QL_TRY(cx, split(cx, "--rows", opt->rows, &spec->rows, &spec->row_count));
    QL_TRY(cx, split(cx, "--columns", opt->columns, &spec->columns, &spec->column_count));
    if (!opt->rows && !opt->columns) {
        const char *value = opt->value ? opt->value : first->table.value;

        *spec = first->table;
        spec->value = value;
    } else if (!opt->value) {
        spec->value = opt->columns ? first->table.value : NULL;
    }
    return QL_OK;
}

static ql_status
write_table(ql_ctx *cx, const table_options *opt, const ql_result_set *const *sets, int64_t count)
{
    ql_table_format format = QL_TABLE_MARKDOWN;
    ql_table_spec spec;

    if (opt->format)
        QL_TRY(cx, ql_table_format_parse(cx, opt->format, &format));
    QL_TRY(cx, make_spec(cx, opt, sets[0], &spec));
    if (count > 1 && !opt->rows && spec.row_count) /* the file's rows don't tell the runs apart; the default ones do */
        spec.row_count = 0;
    return ql_table_write(cx, sets, count, &spec, format, stdout);
}

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    ql_ctx *cx = cli->cx;
    table_options opt = {.runs = QL_RUNS_DEFAULT};
    const ql_option options[] = {
        {.name = "--format", .letter = "-f", .value = &opt.format},
        {.name = "--rows", .value = &opt.rows},
        {.name = "--columns", .value = &opt.columns},
        {.name = "--value", .value = &opt.value},
        {.name = "--runs", .value = &opt.runs},
    };
    const ql_result_set **sets;
    ql_result_set *loaded;
    ql_status st = QL_OK;
    int count;

    QL_TRY(cx, ql_options(cli, options, sizeof options / sizeof *options, &argc, argv));
    count = argc - 1;
    if (count < 1)
        return QL_FAIL(cx, QL_INVALID, "table: expected the name of a run; folders in '%s' are runs", opt.runs);
    sets = ql_alloc(cx, (size_t)count, sizeof *sets);
    loaded = ql_alloc(cx, (size_t)count, sizeof *loaded);
    if (!sets || !loaded)
        return QL_MEMORY;
    for (int i = 0; i < count && st == QL_OK; i++) {
        st = ql_results_load(cx, opt.runs, argv[i + 1], &loaded[i]);
        sets[i] = &loaded[i];
    }
    if (st == QL_OK)
        st = write_table(cx, &opt, sets, count);
    for (int i = 0; i < count; i++)
        ql_results_fini(cx, &loaded[i]);
    return st;
}

const ql_command ql_cmd_table = {
    .name = "table",
    .arguments = "RUN...",
    .help = "make a table of finished runs",
    .usage =
        "A RUN is a run folder, or its name in the folder of runs. Without --rows and --columns the table is the one\n"
        "that the pipeline file asks for.\n\n"
        "  -f, --format FORMAT  md (default), csv, tex or json\n"
        "  --rows A,B           what makes a row: axes of the matrix (quant.bits), variants (quant.use), or 'run'\n"
        "  --columns A,B        what makes a column\n"
        "  --value METRIC       the number shown: ppl.perplexity; default: every metric a column\n"
        "  --runs DIR           the folder of runs; default: runs\n",
    .run = run,
};
