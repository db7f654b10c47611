/* What evaluators report: numbers and notes by name, in the order of the calls. */
#ifndef QLOOM_RESULTS_METRICS_H
#define QLOOM_RESULTS_METRICS_H

#include <qloom/evaluator.h>

typedef struct ql_metric_value {
    char name[48];
    double value;
} ql_metric_value;

typedef struct ql_metric_word {
    char name[48], *value;
} ql_metric_word;

typedef struct ql_metric_values {
    char name[48];
    int64_t count;
    double *values;
} ql_metric_values;

struct ql_metrics { /* zero is empty; on the heap until ql_metrics_fini */
    int64_t count, capacity, note_count, note_capacity, list_count, list_capacity;
    ql_metric_value *values;
    ql_metric_word *notes;
    ql_metric_values *lists;
};

void ql_metrics_fini(ql_metrics *m);

#endif
