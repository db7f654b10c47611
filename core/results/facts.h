/* What one call of a plugin reports: facts and notes, in the order of the calls. */
#ifndef QLOOM_RESULTS_FACTS_H
#define QLOOM_RESULTS_FACTS_H

#include <qloom/evaluator.h>

#define QL_FACT_NAME 48 /* bytes of a name or a part, with the NUL */

typedef struct ql_fact_row { /* a number, or `count` numbers in order that belong together */
    char name[QL_FACT_NAME], part[QL_FACT_NAME];
    double value;
    int64_t count; /* of `values`; -1: a single number, `value` */
    double *values;
} ql_fact_row;

typedef struct ql_fact_word {
    char name[QL_FACT_NAME], *value;
} ql_fact_word;

typedef struct ql_fact_reply { /* an answer; texts NULL where nothing is said */
    char *task, *gold, *pred, *pred_norm;
    int64_t document;
    int right, right_norm;
    double margin;
} ql_fact_reply;

struct ql_facts { /* zero is empty; on the heap until ql_facts_fini */
    int64_t count, capacity, note_count, note_capacity, reply_count, reply_capacity;
    ql_fact_row *rows;
    ql_fact_word *notes;
    ql_fact_reply *replies;
};

void ql_facts_fini(ql_facts *f);

#endif
