/* What commands on finished runs share. */
#include "runs.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "run/folder.h"
#include "signals.h"

#define SHARED 4 /* options of each of these commands */
#define OWN_MAX 8

typedef struct shared_options {
    const char *runs, *value;
    const char **where;
} shared_options;

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
 * defaults, and so do several runs, which the file's rows don't tell apart. */
static ql_status
make_spec(ql_ctx *cx, const shared_options *opt, ql_runs *r)
{
    ql_table_spec *spec = &r->spec, file;

    QL_TRY(cx, ql_book_spec(&r->book, &file));
    *spec = (ql_table_spec){.value = opt->value, .picks = file.picks, .pick_count = file.pick_count};
    QL_TRY(cx, split(cx, "--rows", r->rows, &spec->rows, &spec->row_count));
    QL_TRY(cx, split(cx, "--columns", r->columns, &spec->columns, &spec->column_count));
    if (!r->rows && !r->columns) {
        *spec = file;
        spec->value = opt->value ? opt->value : file.value;
        spec->row_count = r->book.runs > 1 ? 0 : spec->row_count;
    } else if (!opt->value) {
        spec->value = r->columns ? file.value : NULL;
    }
    return QL_OK;
}

ql_status
ql_runs_open(ql_cli *cli, const ql_option *own, bool lists, int *argc, char **argv, ql_runs *out)
{
    ql_ctx *cx = cli->cx;
    shared_options opt = {.runs = QL_RUNS_DEFAULT};
    ql_option options[SHARED + OWN_MAX + 1] = {
        {.name = "--value", .value = &opt.value},
        {.name = "--runs", .value = &opt.runs, .path = true},
        {.name = "--where", .letter = "-w", .list = &opt.where},
        {.name = "--output", .letter = "-o", .value = &out->output, .path = true},
    };

    *out = (ql_runs){0};
    for (int i = 0; i < OWN_MAX && own[i].name; i++)
        options[SHARED + i] = own[i];
    QL_TRY(cx, ql_options(cli, options, argc, argv, 0, INT_MAX, "names of runs"));
    if (*argc < 2)
        return QL_FAIL(cx, QL_INVALID, "%s: expected the name of a run; folders in '%s' are runs", argv[0], opt.runs);
    QL_TRY(cx, ql_book_open(cx, &out->book));
    for (int i = 1; i < *argc; i++)
        QL_TRY(cx, ql_book_add(&out->book, opt.runs, argv[i], lists || out->reference));
    QL_TRY(cx, ql_book_filter(&out->book, opt.where));
    QL_TRY(cx, make_spec(cx, &opt, out));
    return ql_printer_open(cx, &out->printer);
}

static ql_status
put_out(ql_ctx *cx, ql_runs *r)
{
    const char *text;
    ql_status st;

    QL_TRY(cx, ql_printer_close(cx, &r->printer, &text));
    if (!r->output) {
        fputs(text, stdout);
        return QL_OK;
    }
    ql_signals_hold(true);
    st = ql_file_write(cx, r->output, text, strlen(text));
    ql_signals_hold(false);
    return st;
}

ql_status
ql_runs_close(ql_ctx *cx, ql_runs *r, ql_status st)
{
    const char *unused;

    if (st == QL_OK)
        st = put_out(cx, r);
    else if (r->printer.out)
        (void)ql_printer_close(cx, &r->printer, &unused);
    ql_book_close(&r->book);
    return st;
}
