/* What commands on finished runs share: their operands, which cells and numbers, and where the output goes. */
#ifndef QLOOM_CLI_RUNS_H
#define QLOOM_CLI_RUNS_H

#include "base/printer.h"
#include "report/table.h"
#include "cli.h"

typedef struct ql_runs {
    ql_book book;
    ql_table_spec spec;         /* the first run's table, but for what the options say */
    const char *rows, *columns; /* "A,B": options of the commands that make tables */
    const char **reference;     /* "AXIS=LABEL": likewise, of the command that shows differences */
    const char *output;         /* NULL: standard output */
    ql_printer printer;         /* what the command writes to */
} ql_runs;

/* Takes the options that these commands share, at most eight of its own (ended as every table), and the names of runs;
 * opens the runs, with their lists where `lists` or differences ask for them. Close it on failure too. */
ql_status ql_runs_open(ql_cli *cli, const ql_option *own, bool lists, int *argc, char **argv, ql_runs *out);
/* Puts out what was printed when `st` is OK; frees everything. Returns the first failure. */
ql_status ql_runs_close(ql_ctx *cx, ql_runs *r, ql_status st);

/* Parts of the usage of these commands. */
#define QL_LAYOUT_USAGE                                                                                          \
    "  --rows A,B           what makes a row: axes of the matrix (quant.bits), variants (quant.use), or 'run'\n" \
    "  --columns A,B        what makes a column\n"
#define QL_RUNS_USAGE                                                                                 \
    "  --value METRIC       the number shown: ppl.perplexity, cost.bits, cost.seconds, cost.memory\n" \
    "  -w, --where AXIS=LABEL\n"                                                                      \
    "                       only cells with that label: quant.bits=3 (repeatable; of one axis any)\n" \
    "  --runs DIR           the folder of runs; default: runs\n"                                      \
    "  -o, --output FILE    write there instead of to standard output\n"

#endif
