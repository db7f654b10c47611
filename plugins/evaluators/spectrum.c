/* Singular values of a few weights, of their errors, and of what adapters leave of these: how much an adapter of
 * some rank can take. */
#include <fnmatch.h>
#include <math.h>

#include <qloom/evaluator.h>

typedef struct spectrum {
    ql_strings match;
    int values;
} spectrum;

static const ql_param params[] = {
    QL_LIST(spectrum, match, "globs over names of linears that are looked at; default: those of the first block"),
    QL_NUM(spectrum, values, 256, 1, 1 << 16, "singular values kept of each linear, the largest"),
    QL_PARAMS_END,
};

static bool
wanted(const spectrum *p, const ql_linear_result *in)
{
    for (int64_t i = 0; i < p->match.count; i++)
        if (fnmatch(p->match.items[i], in->name, 0) == 0)
            return true;
    return p->match.count == 0 && in->layer == 0;
}

/* Roots of the eigenvalues of M M^T or M^T M, whichever is smaller, in double: relative to the largest they are
 * right to 1e-8. */
static ql_status
put_values(ql_ctx *cx, const spectrum *p, const ql_tensor *m, const char *name, ql_facts *out)
{
    const int64_t rows = ql_dim(m, 0), columns = ql_dim(m, 1), n = rows < columns ? rows : columns;
    const int64_t kept = n < p->values ? n : p->values;
    double *values = ql_alloc(cx, (size_t)kept, sizeof *values);
    ql_tensor *x, *gram, *w;
    const double *squares;

    if (!values)
        return QL_MEMORY;
    QL_TRY(cx, ql_convert(cx, m, QL_F64, &x));
    QL_TRY(cx, ql_new(cx, QL_F64, n, n, &gram));
    QL_TRY(cx, ql_new(cx, QL_F64, n, -1, &w));
    QL_TRY(cx, ql_gemm(cx, rows <= columns ? QL_NT : QL_TN, 1, x, x, 0, gram));
    QL_TRY(cx, ql_syevd(cx, gram, w));
    QL_TRY(cx, ql_map(cx, w, QL_READ, &squares));
    for (int64_t i = 0; i < kept; i++) /* they rise */
        values[i] = sqrt(fmax(0, squares[n - 1 - i]));
    QL_TRY(cx, ql_unmap(cx, w));
    return ql_fact_list(cx, out, name, kept, values);
}

static ql_status
linear(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_facts *out)
{
    const spectrum *p = self;
    ql_tensor *e, *a, *b;

    if (!wanted(p, in))
        return QL_OK;
    QL_TRY(cx, put_values(cx, p, in->w, "weight", out));
    if (!in->qlinear)
        return QL_OK;
    QL_TRY(cx, ql_convert(cx, in->w, QL_F32, &e));
    QL_TRY(cx, ql_axpby(cx, -1, in->what, 1, e));
    QL_TRY(cx, put_values(cx, p, e, "error", out));
    if (!in->b)
        return QL_OK;
    QL_TRY(cx, ql_convert(cx, in->b, QL_F32, &b));
    QL_TRY(cx, ql_convert(cx, in->a, QL_F32, &a));
    QL_TRY(cx, ql_gemm(cx, QL_NN, -1, b, a, 1, e));
    return put_values(cx, p, e, "compensated error", out);
}

QL_PLUGIN(.kind = QL_EVALUATOR, .name = "spectrum", .version = "1.0",
          .help = "singular values of a weight, of its error W - W^, and of W - W^ - BA, for some linears; the report "
                  "draws them",
          .params = params, .self_size = sizeof(spectrum), .evaluator = QL_TABLE(ql_evaluator, .linear = linear), );
