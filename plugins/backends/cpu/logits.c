/* One tile of logits and its sums. */
#include "logits.h"

#include <math.h>

#define DEPTH 512 /* of operands that are converted first */

size_t
logits_work(ql_dtype dtype)
{
    return dtype == QL_F32 ? 0 : (LOGIT_TOKENS + LOGIT_WORDS) * DEPTH;
}

static void
load_tile(const cpu *d, const mat *m, const int64_t at[4], float *to)
{
    for (int64_t i = 0; i < at[1]; i++)
        cpu_load(d->isa, m->dtype, mat_at(m, at[0] + i, at[2]), at[3], to + i * at[3]);
}

void
logits_make(const cpu *d, const mat *x, const mat *head, const logit_tile *at, float *logits, float *work)
{
    float *wide_head = work + (x->dtype == QL_F32 ? 0 : LOGIT_TOKENS * DEPTH);
    product p = {
        .tb = true, .m = at->tokens, .n = at->words, .k = x->cols, .alpha = 1, .c = logits, .ldc = LOGIT_WORDS};

    if (x->dtype == QL_F32) {
        p.a = mat_at(x, at->token, 0);
        p.b = mat_at(head, at->word, 0);
        p.lda = x->ld;
        p.ldb = head->ld;
        cpu_product(&d->blas, &p);
        return;
    }
    for (int64_t k = 0; k < x->cols; k += DEPTH) {
        p.k = cpu_min(DEPTH, x->cols - k);
        load_tile(d, x, (const int64_t[]){at->token, at->tokens, k, p.k}, work);
        load_tile(d, head, (const int64_t[]){at->word, at->words, k, p.k}, wide_head);
        p.a = work;
        p.b = wide_head;
        p.lda = p.ldb = p.k;
        p.beta = k > 0;
        cpu_product(&d->blas, &p);
    }
}

double
logits_add(const cpu *d, float *row, int64_t word, int64_t words, logit_sum *to)
{
    const float max = d->isa->row_max(row, words);
    double shrink = 1;

    if (max > to->max) {
        shrink = exp((double)to->max - (double)max);
        to->sum *= shrink;
        to->max = max;
        for (to->best = word; row[to->best - word] != max;)
            to->best++;
    }
    to->sum += (double)d->isa->exp_sum(row, words, to->max);
    return shrink;
}

ql_status
cpu_no_double(ql_ctx *cx, const ql_op *op)
{
    return ql_dtype_of(op->t[0]) == QL_F64 ? QL_FAIL(cx, QL_UNSUPPORTED, "the cpu works in f32, got f64") : QL_OK;
}
