/* Operations of training and their vjps against golden-train/ops.safetensors, which public libraries made in double: in f32, and in f64
 * where the device has it. */
#include "core/tensor/safetensors.h"
#include "kernel.h"

typedef struct book {
    kernel *k;
    ql_st_file file;
    const char *op; /* names are OP.x, OP.dy, … */
    bool angles;    /* of f32 in any dtype: another powf or cosf gives others */
    ql_dtype dtype; /* that it runs in */
} book;

static const ql_st_tensor *
entry(const book *b, const char *name)
{
    const char *full = strchr(name, '.') ? name : ql_format(b->k->cx, "%s.%s", b->op, name);
    const ql_st_tensor *t = ql_st_find(&b->file, full);

    if (!t) {
        TEST_FAIL("no tensor %s", full);
        exit(1);
    }
    return t;
}

static double *
values(const book *b, const char *name)
{
    const ql_st_tensor *t = entry(b, name);
    double *x = k_doubles(b->k, (int64_t)t->count);
    int32_t whole;

    for (uint64_t i = 0; i < t->count; i++)
        if (t->dtype == QL_ST_F64) {
            memcpy(&x[i], ql_st_data(t) + i * sizeof x[i], sizeof x[i]);
        } else {
            memcpy(&whole, ql_st_data(t) + i * sizeof whole, sizeof whole);
            x[i] = whole;
        }
    return x;
}

static int64_t *
whole(const book *b, const char *name)
{
    const double *x = values(b, name);
    const int64_t n = (int64_t)entry(b, name)->count;
    int64_t *out = ql_alloc(b->k->cx, (size_t)n, sizeof *out);

    for (int64_t i = 0; i < n; i++)
        out[i] = (int64_t)x[i];
    return out;
}

/* Part `i` of a tensor that is a list of matrices; of others all. */
static ql_tensor *
tensor(const book *b, const char *name, int64_t i)
{
    const ql_st_tensor *t = entry(b, name);
    const int64_t *dims = t->dims + (t->ndim > 2), rows = dims[0], cols = t->ndim > 1 ? dims[1] : -1;

    return k_put(b->k, b->dtype, rows, cols, values(b, name) + i * rows * (cols < 0 ? 1 : cols));
}

/* `t` against part `i` of what the file has. */
static void
expect(const book *b, const char *name, int64_t i, const ql_tensor *t)
{
    const int64_t n = ql_count(t);
    const double *x = values(b, name) + i * n;

    b->k->name = ql_format(b->k->cx, "%s.%s in %s", b->op, name, ql_dtype_name(b->dtype));
    k_close(b->k, k_get(b->k, t), x, n, 0, (b->dtype == QL_F64 ? (b->angles ? 1e-6 : 1e-12) : 5e-6) * k_largest(x, n));
}

static ql_seqs
seqs(const book *b, bool first)
{
    return (ql_seqs){.count = (int64_t)entry(b, "offsets")->count - 1,
                     .offsets = whole(b, "offsets"),
                     .first = first ? whole(b, "first") : NULL};
}

static ql_tensor *
empty_like(const book *b, const ql_tensor *t)
{
    ql_tensor *out;

    REQUIRE_OK(b->k->cx, ql_new(b->k->cx, b->dtype, ql_dim(t, 0), ql_dim(t, 1), &out));
    return out;
}

static void
norm(const book *b)
{
    ql_tensor *x = tensor(b, "x", 0), *w = tensor(b, "w", 0), *dy = tensor(b, "dy", 0), *dx = empty_like(b, x), *y;
    const double eps = *values(b, "eps");

    REQUIRE_OK(b->k->cx, ql_rmsnorm(b->k->cx, x, w, eps, &y));
    expect(b, "y", 0, y);
    REQUIRE_OK(b->k->cx, ql_rmsnorm_back(b->k->cx, x, w, eps, dy, 0, dx));
    expect(b, "dx", 0, dx);
}

static void
swiglu(const book *b)
{
    ql_tensor *gate = tensor(b, "gate", 0), *up = tensor(b, "up", 0), *y, *dgate, *dup;

    REQUIRE_OK(b->k->cx, ql_swiglu(b->k->cx, gate, up, &y));
    expect(b, "y", 0, y);
    REQUIRE_OK(b->k->cx, ql_swiglu_back(b->k->cx, gate, up, tensor(b, "dy", 0), &dgate, &dup));
    expect(b, "dgate", 0, dgate);
    expect(b, "dup", 0, dup);
}

/* Frequencies with their signs turned take the angles back. */
static float *
frequencies(const book *b, int64_t dim, float sign)
{
    float *f = ql_alloc(b->k->cx, (size_t)dim, sizeof *f);

    for (int64_t i = 0; i < dim / 2; i++)
        f[i] = sign / powf((float)*values(b, "theta"), (float)(2 * i) / (float)dim);
    return f;
}

static void
rope(const book *b)
{
    const int64_t dim = *whole(b, "head_dim");
    const ql_seqs s = seqs(b, true);
    ql_tensor *x = tensor(b, "x", 0), *dy = tensor(b, "dy", 0);

    REQUIRE_OK(b->k->cx, ql_rope(b->k->cx, &s, &(ql_rope_spec){dim, frequencies(b, dim, 1), 0, 1}, x));
    expect(b, "y", 0, x);
    REQUIRE_OK(b->k->cx, ql_rope(b->k->cx, &s, &(ql_rope_spec){dim, frequencies(b, dim, -1), 0, 1}, dy));
    expect(b, "dx", 0, dy);
}

/* x as one row a head, contiguous. */
static ql_tensor *
heads_of(const book *b, const ql_tensor *x, int64_t dim)
{
    ql_tensor *whole, *heads;

    REQUIRE_OK(b->k->cx, ql_convert(b->k->cx, x, b->dtype, &whole));
    REQUIRE_OK(b->k->cx, ql_reshape(b->k->cx, whole, 2, (const int64_t[]){ql_count(x) / dim, dim}, &heads));
    return heads;
}

static void
qk_norm_rope(const book *b)
{
    const int64_t dim = *whole(b, "head_dim");
    const ql_seqs s = seqs(b, true);
    ql_tensor *x = tensor(b, "x", 0), *w = tensor(b, "w", 0), *dy = tensor(b, "dy", 0), *dx = empty_like(b, x),
              *heads = heads_of(b, x, dim), *y;
    const int64_t dims[] = {ql_dim(x, 0), ql_dim(x, 1)}, rows[] = {ql_count(x) / dim, dim};
    const double eps = *values(b, "eps");
    ql_tensor *turned, *d_heads;

    REQUIRE_OK(b->k->cx, ql_rmsnorm(b->k->cx, heads, w, eps, &y));
    REQUIRE_OK(b->k->cx, ql_reshape(b->k->cx, y, 2, dims, &y));
    REQUIRE_OK(b->k->cx, ql_rope(b->k->cx, &s, &(ql_rope_spec){dim, frequencies(b, dim, 1), 0, 1}, y));
    expect(b, "y", 0, y);
    REQUIRE_OK(b->k->cx, ql_convert(b->k->cx, dy, b->dtype, &turned));
    REQUIRE_OK(b->k->cx, ql_rope(b->k->cx, &s, &(ql_rope_spec){dim, frequencies(b, dim, -1), 0, 1}, turned));
    REQUIRE_OK(b->k->cx, ql_reshape(b->k->cx, turned, 2, rows, &turned));
    REQUIRE_OK(b->k->cx, ql_reshape(b->k->cx, dx, 2, rows, &d_heads));
    REQUIRE_OK(b->k->cx, ql_rmsnorm_back(b->k->cx, heads, w, eps, turned, 0, d_heads));
    expect(b, "dx", 0, dx);
}

static void
attention(const book *b)
{
    const int64_t *h = whole(b, "heads");
    const ql_attention_spec spec = {h[0], h[1], h[2], h[3]};
    const ql_seqs s = seqs(b, false);
    ql_tensor *q = tensor(b, "q", 0), *k = tensor(b, "k", 0), *v = tensor(b, "v", 0), *lse, *y, *d[3];
    const ql_status st = ql_attention_lse(b->k->cx, &s, &spec, (const ql_tensor *const[]){q, k, v}, &lse, &y);

    if (st == QL_UNSUPPORTED && b->dtype == QL_F64) {
        ql_error_clear(b->k->cx);
        return;
    }
    REQUIRE_OK(b->k->cx, st);
    expect(b, "y", 0, y);
    expect(b, "lse", 0, lse);
    REQUIRE_OK(b->k->cx,
               ql_attention_back(b->k->cx, &s, &spec, &(ql_attended){q, k, v, y, lse}, tensor(b, "dy", 0), d));
    expect(b, "dq", 0, d[0]);
    expect(b, "dk", 0, d[1]);
    expect(b, "dv", 0, d[2]);
}

static void
cross_entropy(const book *b)
{
    const int64_t n = (int64_t)entry(b, "targets")->count, *ids = whole(b, "targets");
    const double *nll = values(b, "nll"), *got;
    int32_t *targets = ql_alloc(b->k->cx, (size_t)n, sizeof *targets);
    ql_tensor *x = tensor(b, "x", 0), *head = tensor(b, "cross_entropy.head", 0), *losses, *dx;
    int64_t scored = 0;

    for (int64_t i = 0; i < n; i++)
        targets[i] = (int32_t)ids[i];
    REQUIRE_OK(b->k->cx, ql_head_loss(b->k->cx, x, head, targets, *values(b, "scale"), &losses, &dx));
    expect(b, "dx", 0, dx);
    got = k_get(b->k, losses);
    for (int64_t i = 0; i < n; i++)
        if (targets[i] >= 0)
            k_close(b->k, &got[scored++], &nll[i], 1, b->dtype == QL_F64 ? 1e-12 : 5e-6,
                    b->dtype == QL_F64 ? 1e-12 : 2e-6);
    CHECK_INT(ql_dim(losses, 0), scored);
}

static void
adamw(const book *b)
{
    const double *rates = values(b, "lr");
    ql_tensor *p = tensor(b, "p", 0), *m = empty_like(b, p), *v = empty_like(b, p);

    REQUIRE_OK(b->k->cx, ql_fill(b->k->cx, m, 0));
    REQUIRE_OK(b->k->cx, ql_fill(b->k->cx, v, 0));
    for (int64_t u = 0; u < (int64_t)entry(b, "lr")->count; u++) {
        const ql_adamw_spec spec = {.scale = 1,
                                    .rate = rates[u],
                                    .decay = *values(b, "weight_decay"),
                                    .beta1 = 0.9,
                                    .beta2 = 0.999,
                                    .eps = 1e-8,
                                    .t = u + 1};

        REQUIRE_OK(b->k->cx, ql_adamw(b->k->cx, &spec, tensor(b, "grads", u), m, v, p));
        expect(b, "p_after", u, p);
    }
    expect(b, "m", 0, m);
    expect(b, "v", 0, v);
}

static void
goldens(kernel *k)
{
    static const struct {
        const char *op;
        void (*run)(const book *b);
    } all[] = {
        {"rmsnorm", norm},
        {"swiglu", swiglu},
        {"rope", rope},
        {"qk_norm_rope", qk_norm_rope},
        {"attention", attention},
        {"attention_window", attention},
        {"attention_long", attention},
        {"attention_mha", attention},
        {"cross_entropy", cross_entropy},
        {"cross_entropy_large", cross_entropy},
        {"adamw", adamw},
    };
    book b = {.k = k};

    REQUIRE_OK(k->cx, ql_st_open(k->cx, ql_format(k->cx, "%s/golden-train/ops.safetensors", getenv("QLOOM_FIXTURES")),
                                 &b.file));
    for (size_t i = 0; i < 2 * (sizeof all / sizeof *all); i++) {
        b.op = all[i / 2].op;
        b.angles = strstr(b.op, "rope") != NULL;
        b.dtype = i % 2 ? QL_F64 : QL_F32;
        all[i / 2].run(&b);
    }
    ql_st_close(&b.file);
}

static const kernel_case cases[] = {{"goldens", goldens}};

int
main(void)
{
    return test_fixtures() ? k_main(cases, sizeof cases / sizeof *cases, 1) : test_failures ? 1 : 77;
}
