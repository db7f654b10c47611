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

struct ql_facts { /* zero is empty; on the heap until ql_facts_fini */
    int64_t count, capacity, note_count, note_capacity;
    ql_fact_row *rows;
    ql_fact_word *notes;
};

void ql_facts_fini(ql_facts *f);

#endif
