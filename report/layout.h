/* Rows and columns of a table: which references make them, and where a cell belongs. */
#ifndef QLOOM_REPORT_LAYOUT_H
#define QLOOM_REPORT_LAYOUT_H

#include "set.h"

#define QL_RUN_KEY "run"   /* the reference whose labels are the names of the runs */
#define QL_SEED_KEY "seed" /* the axis that numbers are averaged over */

typedef struct ql_tuples { /* distinct label combinations, `width` labels each */
    ql_names labels;
    int64_t width, count, baselines; /* the first `baselines` are of original models */
} ql_tuples;

typedef struct ql_layout {
    const ql_result_set *const *sets;
    int64_t set_count;
    ql_names row_keys, column_keys, metrics; /* metrics: "ppl.perplexity" */
    ql_tuples rows, columns;                 /* a table has a column for every tuple and metric */
} ql_layout;

ql_status ql_layout_make(ql_ctx *cx, const ql_result_set *const *sets, int64_t count, const ql_table_spec *spec,
                         ql_layout *out);

/* What a cell is called under `key`: "-" where the key means nothing in it. */
const char *ql_layout_label(ql_ctx *cx, const ql_layout *l, const ql_result_set *set, const ql_result_cell *c,
                            const char *key);
/* The row of a cell. */
int64_t ql_layout_row(ql_ctx *cx, const ql_layout *l, const ql_result_set *set, const ql_result_cell *c);
/* Does the cell belong under column tuple `column`? An original model does wherever no label says otherwise. */
bool ql_layout_meets(ql_ctx *cx, const ql_layout *l, const ql_result_set *set, const ql_result_cell *c, int64_t column);

#endif
