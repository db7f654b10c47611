/* Choosing cells by their labels, and comparing two of them part by part. */
#ifndef QLOOM_REPORT_COMPARE_H
#define QLOOM_REPORT_COMPARE_H

#include "set.h"

/* "quant.bits=3": a reference of `sets` and a label that one of their cells has there. INVALID, with the name of the
 * option, lists what there is. In the innermost scope. */
ql_status ql_choice_parse(ql_ctx *cx, const char *option, const char *text, const ql_result_set *sets, int64_t count,
                          ql_choice *out);

/* Leaves the cells that meet the choices, those on one reference any of them, and the original models that these are
 * compared with. */
ql_status ql_results_filter(ql_ctx *cx, ql_result_set *set, const ql_choice *choices, int64_t count);

/* The cell that `cell` is compared with: without choices its original model; else the one that meets them and is
 * like it on all other axes. -1: there is none. */
int64_t ql_results_reference(const ql_result_set *set, int64_t cell, const ql_choice *choices, int64_t count);

/* Were the numbers of `stage` made in the same way in both: protocol, BOS, tokens, …? */
bool ql_results_same_notes(const ql_result_cell *a, const ql_result_cell *b, const char *stage);

typedef struct ql_difference {
    double value, error; /* error: paired standard error; NaN: the metric has no parts, or not the same ones */
    double p;            /* of McNemar's exact test, two-sided, where all parts are right or wrong; else NaN */
    int64_t parts;
} ql_difference;

/* Of a metric of one cell from that of another, by the parts (windows, questions) that both have: their difference part
 * by part has far less variance than either (docs/methods.md 10). False: one of them has no such metric. */
bool ql_results_difference(const ql_result_set *set, int64_t cell, int64_t from, const char *metric,
                           ql_difference *out);
/* McNemar's exact test: of `a` and `b` documents that only one and only the other of two models has right, how likely it is that they part
 * as unevenly by chance. */
double ql_mcnemar(int64_t a, int64_t b);

#endif
