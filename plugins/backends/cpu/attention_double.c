/* Attention in double, for tests: a task is one token, whose heads go over the keys that it sees one by one. */
#include "attention.h"

#include <math.h>
#include <string.h>

/* Token of position p on the path to segment *s, on which *s becomes the segment that holds it. */
static int64_t
token_at(const attention *a, int64_t *s, int64_t p)
{
    while (p < attention_before(a, *s))
        *s = a->seqs->parent[*s];
    return a->seqs->offsets[*s] + p - attention_before(a, *s);
}

/* Query head `head` of token t at position p of segment s: keys from the last to the first, twice. */
static void
attend(const attention *a, int64_t t, int64_t s, int64_t p, int64_t head)
{
    const int64_t dim = a->spec->head_dim, col = head / (a->spec->heads / a->spec->kv_heads) * dim,
                  least = a->spec->window > 0 && p >= a->spec->window ? p - a->spec->window + 1 : 0;
    const double *q = mat_at(&a->q, t, head * dim);
    double *y = mat_at(&a->y, t, head * dim), max = -INFINITY, sum = 0;

    memset(y, 0, (size_t)dim * sizeof *y);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t key = p, at = s; key >= least; key--) {
            const int64_t token = token_at(a, &at, key);
            const double *k = mat_at(&a->k, token, col), *v = mat_at(&a->v, token, col);
            double score = 0, weight;

            for (int64_t j = 0; j < dim; j++)
                score += q[j] * k[j];
            score /= sqrt((double)dim);
            max = fmax(max, score);
            if (pass == 0)
                continue;
            weight = exp(score - max);
            sum += weight;
            for (int64_t j = 0; j < dim; j++)
                y[j] += weight * v[j];
        }
    for (int64_t j = 0; j < dim; j++)
        y[j] /= sum;
    if (a->lse.p)
        *(double *)mat_at(&a->lse, t, head) = max + log(sum);
}

void
attention_double_task(void *arg, int64_t task, void *scratch)
{
    const attention *a = arg;
    const int64_t t = task, s = cpu_sequence_of(a->seqs, t);

    (void)scratch;
    for (int64_t head = 0; head < a->spec->heads; head++)
        attend(a, t, s, t - a->seqs->offsets[s] + attention_before(a, s), head);
}
