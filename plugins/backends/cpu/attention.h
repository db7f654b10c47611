/* What the forms of attention share. */
#ifndef QLOOM_CPU_ATTENTION_H
#define QLOOM_CPU_ATTENTION_H

#include "cpu.h"

typedef struct attention {
    const cpu *d;
    const ql_seqs *seqs;
    const ql_attention_spec *spec;
    mat q, k, v, y, lse; /* lse.p NULL: not wanted */
    int64_t (*tiles)[2]; /* first token of a tile of queries, its sequence */
    bool exact;          /* a row's bits follow from its path alone */
    mat kept_k, kept_v;  /* pages, if the sequences have them */
} attention;

/* Tokens that stand before sequence `s` on its path and that its queries see. */
static inline int64_t
attention_before(const attention *a, int64_t s)
{
    return a->exact && a->seqs->first ? a->seqs->first[s] : 0;
}

/* Token `task`, in double. */
void attention_double_task(void *arg, int64_t task, void *scratch);

#endif
