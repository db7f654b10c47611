/* What evaluation by tasks asks of a device: attention over trees, whose bits are those of each path by itself, and the
 * log-probabilities of chosen words. */
#include "kernel.h"

static ql_dtype
narrow_dtype(kernel *k)
{
    static const ql_dtype d[] = {QL_F32, QL_F32, QL_BF16, QL_F16};

    return d[k_int(k, 0, 3)];
}

/* Chains, stars, one-token segments, empty ones, several roots. */
static ql_seqs
tree(kernel *k, int64_t count, int64_t most)
{
    int64_t *offsets = ql_alloc(k->cx, (size_t)count + 1, sizeof *offsets),
            *first = ql_alloc(k->cx, (size_t)count, sizeof *first),
            *parent = ql_alloc(k->cx, (size_t)count, sizeof *parent);
    const int64_t shape = k_int(k, 0, 2);

    for (int64_t s = 0; s < count; s++) {
        offsets[s + 1] = offsets[s] + (k_int(k, 0, 7) ? k_size(k, k_int(k, 0, 2) ? 7 : most) : 0);
        parent[s] = shape == 0 ? s - 1 : shape == 1 ? (s ? 0 : -1) : k_int(k, -1, s - 1);
        first[s] = parent[s] < 0 ? 0 : first[parent[s]] + offsets[parent[s] + 1] - offsets[parent[s]];
    }
    return (ql_seqs){.count = count, .offsets = offsets, .first = first, .parent = parent};
}

/* Rows of the path that ends in segment s, in their order. Returns how many. */
static int64_t
path_rows(const ql_seqs *seqs, int64_t s, int32_t *rows)
{
    const int64_t n = seqs->first[s] + seqs->offsets[s + 1] - seqs->offsets[s];

    for (; s >= 0; s = seqs->parent[s])
        for (int64_t t = seqs->offsets[s]; t < seqs->offsets[s + 1]; t++)
            rows[seqs->first[s] + t - seqs->offsets[s]] = (int32_t)t;
    return n;
}

/* One path by itself: near its definition, and the same bits as in the tree. */
static void
check_path(kernel *k, const ql_seqs *seqs, const ql_attention_spec *spec, int64_t s, const ql_tensor *const qkv[3],
           const double *const plain[3], const double *in_tree)
{
    const int64_t width[3] = {spec->heads * spec->head_dim, spec->kv_heads * spec->head_dim,
                              spec->kv_heads * spec->head_dim},
                  none = -1, own = seqs->offsets[s + 1] - seqs->offsets[s];
    int32_t *rows = ql_alloc(k->cx, (size_t)seqs->offsets[seqs->count] + 1, sizeof *rows);
    const int64_t n = path_rows(seqs, s, rows), offsets[] = {0, n}, before = n - own;
    const ql_dtype d = ql_dtype_of(qkv[0]);
    double *flat[3], *y = k_doubles(k, n * width[0]), *got;
    ql_tensor *tr, *part[3], *ty;

    if (n == 0)
        return;
    REQUIRE_OK(k->cx, ql_upload(k->cx, QL_I32, n, -1, rows, &tr));
    for (int i = 0; i < 3; i++) {
        flat[i] = k_doubles(k, n * width[i]);
        for (int64_t r = 0; r < n; r++)
            memcpy(flat[i] + r * width[i], plain[i] + rows[r] * width[i], (size_t)width[i] * sizeof(double));
        REQUIRE_OK(k->cx, ql_gather(k->cx, qkv[i], tr, NULL, &part[i]));
    }
    plain_attention(&(ql_seqs){.count = 1, .offsets = offsets}, spec, (const double *const *)flat, y);
    REQUIRE_OK(k->cx, ql_attention(k->cx, &(ql_seqs){.count = 1, .offsets = offsets, .parent = &none}, spec,
                                   (const ql_tensor *const *)part, &ty));
    got = k_get(k, ty);
    k_close(k, got, y, n * width[0], k_eps(d) * 2,
            2e-6 * sqrt((double)spec->head_dim) + (d == QL_F32 ? 0 : k_eps(d) * k_largest(flat[2], n * width[2])));
    if (memcmp(got + before * width[0], in_tree + seqs->offsets[s] * width[0],
               (size_t)(own * width[0]) * sizeof *got) != 0)
        TEST_FAIL("segment %lld has other bits in the tree than its path has alone", (long long)s);
}

static void
check_tree(kernel *k, ql_dtype d, int64_t dim, ql_seqs seqs)
{
    const int64_t t = seqs.offsets[seqs.count], kv = k_int(k, 1, 3), heads = kv * k_int(k, 1, dim > 64 ? 2 : 3);
    const ql_attention_spec spec = {heads, kv, dim, k_int(k, 0, 1) ? k_size(k, 300) : 0};
    double *plain[] = {k_normal(k, t * heads * dim), k_normal(k, t * kv * dim), k_normal(k, t * kv * dim)};
    const double *y;
    ql_tensor *qkv[3], *ty;

    for (int i = 0; i < 3; i++)
        qkv[i] = k_put(k, d, t, (i ? kv : heads) * dim, plain[i]);
    REQUIRE_OK(k->cx, ql_attention(k->cx, &seqs, &spec, (const ql_tensor *const *)qkv, &ty));
    y = k_get(k, ty);
    for (int64_t s = 0; s < seqs.count; s++)
        check_path(k, &seqs, &spec, s, (const ql_tensor *const *)qkv, (const double *const *)plain, y);
}

static void
attention_over_trees(kernel *k)
{
    static const int64_t sizes[] = {8, 16, 33, 64, 80, 128, 130};
    const int64_t dim = sizes[k_int(k, 0, sizeof sizes / sizeof *sizes - 1)];

    check_tree(k, narrow_dtype(k), dim, tree(k, k_int(k, 1, 12), dim <= 64 ? 300 : 67));
    check_tree(k, narrow_dtype(k), 16, tree(k, 50, 3));
}

static void
wrong_trees(kernel *k)
{
    const ql_attention_spec spec = {1, 1, 8, 0};
    const int64_t offsets[] = {0, 3, 5}, self[] = {-1, 1}, root[] = {-1, 0}, early[] = {0, 2}, zero[] = {0, 0};
    double *x = k_normal(k, 5 * 8);
    ql_tensor *t = k_put(k, QL_F32, 5, 8, x), *y;
    const ql_tensor *qkv[] = {t, t, t};

    CHECK_ERROR(k->cx, ql_attention(k->cx, &(ql_seqs){2, offsets, zero, self, NULL}, &spec, qkv, &y), QL_INVALID,
                "sequence 1 has the parent 1, expected an earlier sequence");
    CHECK_ERROR(k->cx, ql_attention(k->cx, &(ql_seqs){2, offsets, early, root, NULL}, &spec, qkv, &y), QL_INVALID,
                "sequence 1 starts at position 2, its parent ends at 3");
}

/* Any rows in any order, several targets a row or one. */
static void
logprob(kernel *k)
{
    const int64_t t = k_size(k, 67), n = k_size(k, 70), r = k_size(k, k_int(k, 0, 3) ? 33 : 300), m = k_size(k, 129),
                  v = k_int(k, 0, 3) ? k_size(k, 600) : 4000 + k_size(k, 600);
    const ql_dtype d = narrow_dtype(k);
    double *x = k_normal(k, t * n), *head = k_normal(k, v * n), *rows = k_doubles(k, r), *of = k_doubles(k, m),
           *ids = k_doubles(k, m), *y = k_doubles(k, 1), *got, *one;
    ql_tensor *tx = k_put(k, d, t, n, x), *th = k_put(k, d, v, n, head), *tr, *to, *ti, *logp, *best, *alone, *first;
    int32_t target;

    for (int64_t i = 0; i < r; i++)
        rows[i] = (double)k_int(k, 0, t - 1);
    for (int64_t i = 0; i < m; i++) {
        of[i] = (double)(i * r / m);
        ids[i] = (double)k_int(k, 0, v - 1);
    }
    tr = k_put(k, QL_I32, r, -1, rows);
    to = k_put(k, QL_I32, m, -1, of);
    ti = k_put(k, QL_I32, m, -1, ids);
    REQUIRE_OK(k->cx, ql_logprob(k->cx, tx, th, tr, to, ti, &logp, &best));
    got = k_get(k, logp);
    for (int64_t i = 0; i < m; i++) {
        target = (int32_t)ids[i];
        plain_nll((const int64_t[]){1, n, v}, x + (int64_t)rows[(int64_t)of[i]] * n, head, &target, y);
        k_close(k, got + i, (const double[]){-*y}, 1, 1e-6, 4e-6 * sqrt((double)n));
    }
    one = k_get(k, best);
    for (int64_t i = 0; i < r; i++) { /* the best word's own probability is the largest: no other row in its place */
        target = (int32_t)one[i];
        plain_nll((const int64_t[]){1, n, v}, x + (int64_t)rows[i] * n, head, &target, y);
        CHECK(*y <= log((double)v) + 1e-3);
    }
    /* the last row's numbers, without the other rows */
    REQUIRE_OK(k->cx, ql_upload(k->cx, QL_I32, 1, -1, &(const int32_t){(int32_t)rows[(int64_t)of[m - 1]]}, &tr));
    REQUIRE_OK(k->cx, ql_upload(k->cx, QL_I32, 1, -1, &(const int32_t){0}, &to));
    REQUIRE_OK(k->cx, ql_upload(k->cx, QL_I32, 1, -1, &(const int32_t){(int32_t)ids[m - 1]}, &ti));
    REQUIRE_OK(k->cx, ql_logprob(k->cx, tx, th, tr, to, ti, &alone, &first));
    k_close(k, k_get(k, alone), got + m - 1, 1, 0, 0);
    k_close(k, k_get(k, first), one + (int64_t)of[m - 1], 1, 0, 0);
}

static void
logprob_of_nothing(kernel *k)
{
    double *x = k_normal(k, 8), *head = k_normal(k, 12), zero[] = {0, 0}, far[] = {3, 0};
    ql_tensor *tx = k_put(k, QL_F32, 2, 4, x), *th = k_put(k, QL_F32, 3, 4, head), *tz = k_put(k, QL_I32, 2, -1, zero),
              *tf = k_put(k, QL_I32, 2, -1, far), *tb, *logp, *best;

    CHECK_ERROR(k->cx, ql_logprob(k->cx, tx, th, tz, tz, tf, &logp, &best), QL_INVALID,
                "logprob: target 0 is 3, but the vocabulary has 3 entries");
    REQUIRE_OK(k->cx, ql_upload(k->cx, QL_I32, 2, -1, (const int32_t[]){0, 2}, &tb));
    CHECK_ERROR(k->cx, ql_logprob(k->cx, tx, th, tz, tb, tz, &logp, &best), QL_INVALID,
                "the row of target 1 is 2: expected ascending rows below 2");
}

static const kernel_case cases[] = {
    {"attention over trees", attention_over_trees},
    {"wrong trees", wrong_trees},
    {"logprob", logprob},
    {"logprob of nothing", logprob_of_nothing},
};

int
main(void)
{
    return k_main(cases, sizeof cases / sizeof *cases,
                  getenv("QLOOM_TEST_BACKEND") ? 2 : 8); /* an emulated one is slow */
}
