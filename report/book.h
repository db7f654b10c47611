/* Finished runs as tables and figures read them: their rows in a database of this process alone, for queries. */
#ifndef QLOOM_REPORT_BOOK_H
#define QLOOM_REPORT_BOOK_H

#include "results/results.h"

/* Its tables have a row each, in the order in which the rows came:
 *   run (id, name, version, device, seconds, peak): ids count from 1
 *   axis (run, position, reference, in_matrix)
 *   cell (id, run, baseline, original, error, bits, seconds, peak): ids count cells of all runs; `original`: NULL for none
 *   label (cell, reference, label): where the reference means something in the cell
 *   number (cell, position, metric, value, cost): "ppl.perplexity"; `cost` 1: of ql_book_cost
 *   note (cell, position, stage, name, value), footnote (cell, position, text)
 *   linear (cell, stage, linear, name, value), item (cell, stage, block, linear, name, item, value): facts of linears, and items of lists
 *   series (cell, stage, name, step, value): what a trainer saw, update by update
 *   kind (run, stage, name, metric, unit, better, parts, exp): `better` as ql_better
 *   stage (run, position, stage, kind, label, cells, seconds, calls, up, down, peak), edge (run, stage, position, port, source)
 *   citation (run, stage, label, plugin, cite), layout (run, part, position, reference)
 *   mean (name, metric, terms): metrics that are means of others
 *   choice (option, reference, label): "AXIS=LABEL" of --where or --reference, and meeting (option, cell), a view: cells with those labels,
 *     of each reference any
 *   title (cell, title), a view: what tells a cell from all others: its labels, and its run where there are several */
typedef struct ql_book {
    ql_ctx *cx;
    ql_results *db;
    int64_t runs, cells; /* that were added */
} ql_book;

/* An empty one. `lists`: runs are added with their lists and facts of linears, which only differences and figures read. */
ql_status ql_book_open(ql_ctx *cx, ql_book *out);
/* A zeroed one is fine. */
void ql_book_close(ql_book *b);

/* Adds a run folder ("runs/tiny-1a2b3c4d"), or the run of that name under `runs`. NOT_FOUND names the nearest. [one thread per context] */
ql_status ql_book_add(ql_book *b, const char *runs, const char *run, bool lists);
/* Adds run number `run` of an open database. */
ql_status ql_book_copy(ql_book *b, ql_results *from, int64_t run, bool lists);

/* The table that the first run's pipeline file asks for. In the innermost scope. */
ql_status ql_book_spec(const ql_book *b, ql_table_spec *out);

/* Leaves the cells that have the labels "AXIS=LABEL" (NULL-terminated; NULL: all stay), those on one axis any of them, and the original
 * models that these are compared with. INVALID says what there is. */
ql_status ql_book_filter(ql_book *b, const char *const *choices);
/* What differences are taken from: each cell's original model (NULL, or "original" alone), or the cell that has these labels and is like
 * it on all other axes. Makes the table pair (cell, other). */
ql_status ql_book_compare(ql_book *b, const char *const *choices);
/* Makes the table difference (cell, metric, value, error, p, draws) of all pairs; `metric` NULL: of all metrics. `error`, the standard
 * error of the difference, comes from the parts (windows, questions) that both cells have of the same data: part by part a difference
 * has far less variance than either (docs/methods.md 10). NULL: the metric has no parts, or not the same ones. `p` is that of McNemar's
 * exact test where all parts are 0 or 1. `draws` are the differences of as many draws of the parts, the same ones in all cells with the
 * same data. */
ql_status ql_book_differences(ql_book *b, const char *metric, int draws);

/* Makes numbers of "cost.bits", "cost.seconds" or "cost.memory": what each cell cost, unless a stage has a number of that name. Any other
 * metric changes nothing, and neither does the same one again. */
ql_status ql_book_cost(ql_book *b, const char *metric);

/* The texts that a query of one column gives for its argument, NULL behind them. In the innermost scope. */
ql_status ql_book_texts(const ql_book *b, const char *sql, const char *part, const char *const **items, int64_t *count);

typedef struct ql_names { /* a growing list */
    const char **items;
    int64_t count, room;
} ql_names;

/* The metrics that `value` lists, parted by commas (NULL: all that there are), costs and means made as numbers: "mean(A.acc, B.acc)"
 * becomes the metric "mean of 2". INVALID, with `who` in front, for one that no cell has. */
ql_status ql_book_metrics(ql_book *b, const char *who, const char *value, ql_names *out);

/* " (did you mean 'WORD'?)" of the words that a query gives, or "". In the innermost scope. */
ql_status ql_book_guess(const ql_book *b, const char *wrong, const char *sql, const char **out);

/* Position of the name, which is put at the end if it isn't there; -1 without memory, also for `name` NULL. The text is not copied. */
int64_t ql_names_add(ql_ctx *cx, ql_names *n, const char *name);

#endif
