/* The typed functions of linear algebra and elements; blocks and groups are beside. */
#include "base/hash.h"
#include "op.h"

#define QUAD_ELEMENTS (1 << 22) /* of the product that ql_quad holds at once */

ql_status
ql_gemm(ql_ctx *cx, ql_trans op, double alpha, const ql_tensor *a, const ql_tensor *b, double beta, ql_tensor *c)
{
    static const ql_op_code codes[] = {[QL_NN] = QL_OP_GEMM_NN, [QL_NT] = QL_OP_GEMM_NT, [QL_TN] = QL_OP_GEMM_TN};
    ql_op product = {.code = codes[op], .t = {a, b, c}, .alpha = alpha, .beta = beta};

    QL_TRY(cx, ql_op_begin(cx, &product));
    if (ql_count(a) > 0 || beta == 1.0)
        return ql_op_call(cx, &product);
    return beta == 0.0 ? ql_fill(cx, c, 0.0) : ql_axpby(cx, 0.0, c, beta, c); /* a product over nothing */
}

ql_status
ql_gram(ql_ctx *cx, const ql_tensor *x, ql_tensor *sum, ql_tensor *comp)
{
    return ql_op_run(cx, &(ql_op){.code = QL_OP_GRAM, .t = {x, sum, comp}});
}

ql_status
ql_potrf(ql_ctx *cx, ql_tensor *a, bool *ok)
{
    *ok = true;
    return ql_op_run(cx, &(ql_op){.code = QL_OP_POTRF, .t = {a}, .result = ok});
}

ql_status
ql_trtri(ql_ctx *cx, ql_tensor *a)
{
    return ql_op_run(cx, &(ql_op){.code = QL_OP_TRTRI, .t = {a}});
}

ql_status
ql_syevd(ql_ctx *cx, ql_tensor *a, ql_tensor *w)
{
    return ql_op_run(cx, &(ql_op){.code = QL_OP_SYEVD, .t = {a, w}});
}

ql_status
ql_orth(ql_ctx *cx, ql_tensor *y)
{
    ql_op op = {.code = QL_OP_ORTH, .t = {y}};
    char text[128];

    QL_TRY(cx, ql_op_begin(cx, &op));
    if (y->dims[1] > y->dims[0])
        return QL_FAIL(cx, QL_INVALID, "orth: y is %s, expected no more columns than rows",
                       ql_tensor_text(y, text, sizeof text));
    return ql_op_call(cx, &op);
}

ql_status
ql_fill(ql_ctx *cx, ql_tensor *t, double value)
{
    return ql_op_run(cx, &(ql_op){.code = QL_OP_FILL, .t = {t}, .alpha = value});
}

ql_status
ql_axpby(ql_ctx *cx, double alpha, const ql_tensor *x, double beta, ql_tensor *y)
{
    return ql_op_run(cx, &(ql_op){.code = QL_OP_AXPBY, .t = {x, y}, .alpha = alpha, .beta = beta});
}

ql_status
ql_scale_cols(ql_ctx *cx, const ql_tensor *v, ql_tensor *t)
{
    return ql_op_run(cx, &(ql_op){.code = QL_OP_SCALE_COLS, .t = {t, v}});
}

ql_status
ql_scale_rows(ql_ctx *cx, const ql_tensor *v, ql_tensor *t)
{
    return ql_op_run(cx, &(ql_op){.code = QL_OP_SCALE_ROWS, .t = {t, v}});
}

/* The key of a stream of random numbers: never the method's, so that whoever asks for the same thing gets the same numbers. */
static void
random_key(const ql_ctx *cx, ql_purpose purpose, uint32_t key[2])
{
    const ql_site *at = &cx->site;
    const int64_t where[] = {(int64_t)at->seed, at->block, at->subset, purpose == QL_PROBE ? at->index : -1, purpose};
    uint64_t hash[2];

    ql_hash_bytes(where, sizeof where, hash);
    key[0] = (uint32_t)hash[0];
    key[1] = (uint32_t)(hash[0] >> 32);
}

ql_status
ql_random(ql_ctx *cx, ql_purpose purpose, ql_tensor *t)
{
    uint32_t key[2];

    random_key(cx, purpose, key);
    return ql_op_run(cx, &(ql_op){.code = QL_OP_RANDOM, .t = {t}, .spec = key, .n = {purpose == QL_SKETCH}});
}

ql_status
ql_gather(ql_ctx *cx, const ql_tensor *src, const ql_tensor *rows, const ql_tensor *cols, ql_tensor **out)
{
    ql_op op = {.code = QL_OP_GATHER,
                .t = {src, rows, cols},
                .n = {ql_dim(rows ? rows : src, 0), cols ? ql_dim(cols, 0) : ql_dim(src, 1)}};

    QL_TRY(cx, ql_op_begin(cx, &op));
    *out = ql_op_made(&op, 3);
    if (ql_count(*out) > 0 && ql_count(src) == 0)
        return QL_FAIL(cx, QL_INVALID, "gather: elements of an empty tensor");
    return ql_op_call(cx, &op);
}

ql_status
ql_transpose(ql_ctx *cx, const ql_tensor *src, ql_tensor **out)
{
    return ql_op_make(cx, &(ql_op){.code = QL_OP_TRANSPOSE, .t = {src}}, out);
}

ql_status
ql_diag(ql_ctx *cx, const ql_tensor *a, ql_tensor **out)
{
    return ql_op_make(cx, &(ql_op){.code = QL_OP_DIAG, .t = {a}}, out);
}

ql_status
ql_diag_set(ql_ctx *cx, const ql_tensor *d, ql_tensor *a)
{
    return ql_op_run(cx, &(ql_op){.code = QL_OP_DIAG_SET, .t = {a, d}});
}

ql_status
ql_dot(ql_ctx *cx, const ql_tensor *a, const ql_tensor *b, double *out)
{
    *out = 0.0;
    return ql_op_run(cx, &(ql_op){.code = QL_OP_DOT, .t = {a, b}, .result = out});
}

static ql_status
quad_rows(ql_ctx *cx, const ql_tensor *e, const ql_tensor *h, double *out)
{
    ql_tensor *product;

    QL_TRY(cx, ql_new(cx, e->dtype, e->dims[0], e->dims[1], &product));
    QL_TRY(cx, ql_gemm(cx, QL_NN, 1.0, e, h, 0.0, product));
    return ql_dot(cx, product, e, out);
}

ql_status
ql_quad(ql_ctx *cx, const ql_tensor *e, const ql_tensor *h, double *out)
{
    int64_t n = ql_dim(e, 1), rows = n > 0 && n < QUAD_ELEMENTS ? QUAD_ELEMENTS / n : 1;
    double sum = 0.0, part;

    QL_TRY(cx, ql_operands_check(cx, "quad", "E:real[m,n], H:same[n,n]", &(ql_op){.t = {e, h}}));
    for (int64_t i = 0; i < e->dims[0]; i += rows) {
        int64_t left = e->dims[0] - i;
        ql_scope scope;
        ql_tensor *chunk;
        ql_status st;

        ql_scope_open(cx, &scope);
        st = ql_rows(cx, e, i, left < rows ? left : rows, &chunk);
        if (st == QL_OK)
            st = quad_rows(cx, chunk, h, &part);
        ql_scope_close(cx, &scope);
        QL_TRY(cx, st);
        sum += part;
    }
    *out = sum;
    return QL_OK;
}

ql_status
ql_nonfinite(ql_ctx *cx, const ql_tensor *t, int64_t *first)
{
    *first = -1;
    return ql_op_run(cx, &(ql_op){.code = QL_OP_NONFINITE, .t = {t}, .result = first});
}
