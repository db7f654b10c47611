/* The typed functions of linear algebra and elements; blocks and groups are beside. */
#include "base/hash.h"
#include "op.h"

#define QUAD_ELEMENTS (1 << 22) /* of the product that ql_quad holds at once */

/* --- operations that their record says whole --------------------------------------------------------------------- */

/* Each row defines a function of ops.h that fills a record and runs it; MAKE: whose one result comes out as `out`. */
#define ARGUMENTS(...) __VA_ARGS__
#define T(...) .t = {__VA_ARGS__}
#define RUN(name, op_code, parameters, ...)                                   \
    ql_status name(ql_ctx *cx, ARGUMENTS parameters)                          \
    {                                                                         \
        return ql_op_run(cx, &(ql_op){.code = QL_OP_##op_code, __VA_ARGS__}); \
    }
#define MAKE(name, op_code, parameters, ...)                                        \
    ql_status name(ql_ctx *cx, ARGUMENTS parameters)                                \
    {                                                                               \
        return ql_op_make(cx, &(ql_op){.code = QL_OP_##op_code, __VA_ARGS__}, out); \
    }

/* clang-format off */
RUN(ql_gram, GRAM, (const ql_tensor *x, ql_tensor *sum, ql_tensor *comp), T(x, sum, comp))
RUN(ql_trtri, TRTRI, (ql_tensor *a), T(a))
RUN(ql_syevd, SYEVD, (ql_tensor *a, ql_tensor *w), T(a, w))
RUN(ql_fill, FILL, (ql_tensor *t, double value), T(t), .alpha = value)
RUN(ql_axpby, AXPBY, (double alpha, const ql_tensor *x, double beta, ql_tensor *y), T(x, y), .alpha = alpha,
    .beta = beta)
RUN(ql_scale_cols, SCALE_COLS, (const ql_tensor *v, ql_tensor *t), T(t, v))
RUN(ql_scale_rows, SCALE_ROWS, (const ql_tensor *v, ql_tensor *t), T(t, v))
RUN(ql_diag_set, DIAG_SET, (const ql_tensor *d, ql_tensor *a), T(a, d))
RUN(ql_add_bias, ADD_BIAS, (const ql_tensor *bias, ql_tensor *y), T(y, bias))
RUN(ql_abs_stats, ABS_STATS, (const ql_seqs *seqs, const ql_tensor *x, ql_tensor *abs_sum, ql_tensor *abs_max),
    T(x, abs_sum, abs_max), .seqs = seqs)
MAKE(ql_transpose, TRANSPOSE, (const ql_tensor *src, ql_tensor **out), T(src))
MAKE(ql_diag, DIAG, (const ql_tensor *a, ql_tensor **out), T(a))
MAKE(ql_rmsnorm, RMSNORM, (const ql_tensor *x, const ql_tensor *w, double eps, ql_tensor **out), T(x, w), .alpha = eps)
MAKE(ql_swiglu, SWIGLU, (const ql_tensor *gate, const ql_tensor *up, ql_tensor **out), T(gate, up))
MAKE(ql_add, ADD, (const ql_tensor *a, const ql_tensor *b, ql_tensor **out), T(a, b))
MAKE(ql_nll, NLL, (const ql_tensor *x, const ql_tensor *head, const ql_tensor *targets, ql_tensor **out),
     T(x, head, targets))
/* clang-format on */

/* --- operations with rules or results of their own ---------------------------------------------------------------- */

static ql_status
multiply(ql_ctx *cx, ql_op *product)
{
    ql_tensor *c;

    QL_TRY(cx, ql_op_begin(cx, product));
    c = ql_op_made(product, 2);
    if (ql_count(product->t[0]) > 0 || product->beta == 1.0)
        return ql_op_call(cx, product);
    return product->beta == 0.0 ? ql_fill(cx, c, 0.0) : ql_axpby(cx, 0.0, c, product->beta, c); /* over nothing */
}

ql_status
ql_gemm(ql_ctx *cx, ql_trans op, double alpha, const ql_tensor *a, const ql_tensor *b, double beta, ql_tensor *c)
{
    static const ql_op_code codes[] = {[QL_NN] = QL_OP_GEMM_NN, [QL_NT] = QL_OP_GEMM_NT, [QL_TN] = QL_OP_GEMM_TN};

    return multiply(cx, &(ql_op){.code = codes[op], .t = {a, b, c}, .alpha = alpha, .beta = beta});
}

ql_status
ql_op_linear(ql_ctx *cx, const ql_seqs *seqs, const ql_tensor *x, const ql_tensor *w, double beta, ql_tensor *y)
{
    return multiply(cx, &(ql_op){.code = QL_OP_GEMM_NT, .t = {x, w, y}, .alpha = 1, .beta = beta, .seqs = seqs});
}

ql_status
ql_potrf(ql_ctx *cx, ql_tensor *a, bool *ok)
{
    *ok = true;
    return ql_op_run(cx, &(ql_op){.code = QL_OP_POTRF, .t = {a}, .result = ok});
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
