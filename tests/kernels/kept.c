/* What generation asks of a device: attention over keys and values in pages, and products with weights at rest. Neither knows what else is
 * there: bits are those of each sequence and each row by itself. */
#include "core/tensor/op.h"
#include "kernel.h"

#define SEQUENCES 4
#define PAGES_EACH 6

/* Sequences that arrive piece by piece, with pages in any order. */
typedef struct paged {
    kernel *k;
    ql_attention_spec spec;
    ql_dtype d;
    int64_t count, length[SEQUENCES], done[SEQUENCES];
    ql_tensor *qkv[SEQUENCES][3];
    double *plain[SEQUENCES][3], *got[SEQUENCES];
    int32_t pages[SEQUENCES][PAGES_EACH];
    ql_tensor *keys, *values;
} paged;

static int64_t
width(const paged *p, int i)
{
    return (i ? p->spec.kv_heads : p->spec.heads) * p->spec.head_dim;
}

static void
open_paged(paged *p, int64_t dim)
{
    kernel *k = p->k;
    int32_t all[SEQUENCES * PAGES_EACH];
    const int64_t kv = k_int(k, 1, 2);

    p->spec = (ql_attention_spec){kv * k_int(k, 1, 3), kv, dim, k_int(k, 0, 1) ? k_size(k, 300) : 0};
    p->count = k_int(k, 1, SEQUENCES);
    for (int32_t i = 0; i < SEQUENCES * PAGES_EACH; i++) {
        const int64_t at = k_int(k, 0, i);

        all[i] = all[at];
        all[at] = i;
    }
    for (int64_t s = 0; s < p->count; s++) {
        p->length[s] = k_size(k, k_int(k, 0, 1) ? 67 : 300);
        memcpy(p->pages[s], all + s * PAGES_EACH, sizeof p->pages[s]);
        for (int i = 0; i < 3; i++) {
            p->plain[s][i] = k_normal(k, p->length[s] * width(p, i));
            k->whole = k_int(k, 0, 1) != 0;
            p->qkv[s][i] = k_put(k, p->d, p->length[s], width(p, i), p->plain[s][i]);
        }
        p->got[s] = k_doubles(k, p->length[s] * width(p, 0));
    }
    k->whole = false;
    REQUIRE_OK(k->cx, ql_new(k->cx, p->d, SEQUENCES * PAGES_EACH * QL_PAGE, width(p, 1), &p->keys));
    REQUIRE_OK(k->cx, ql_new(k->cx, p->d, SEQUENCES * PAGES_EACH * QL_PAGE, width(p, 1), &p->values));
}

/* Rows `from` … of the sequences that take part, one behind the other. */
static ql_tensor *
joined(paged *p, int i, const ql_seqs *seqs, const int64_t *which)
{
    ql_tensor *all, *part, *rows;

    REQUIRE_OK(p->k->cx, ql_new(p->k->cx, p->d, seqs->offsets[seqs->count], width(p, i), &all));
    for (int64_t n = 0; n < seqs->count; n++) {
        const int64_t rows_here = seqs->offsets[n + 1] - seqs->offsets[n];

        REQUIRE_OK(p->k->cx, ql_rows(p->k->cx, p->qkv[which[n]][i], seqs->first[n], rows_here, &part));
        REQUIRE_OK(p->k->cx, ql_rows(p->k->cx, all, seqs->offsets[n], rows_here, &rows));
        REQUIRE_OK(p->k->cx, ql_copy(p->k->cx, part, rows));
    }
    return all;
}

/* Some of the sequences go on, by one token or more; false: all are at their end. */
static bool
go_on(paged *p)
{
    int64_t which[SEQUENCES], offsets[SEQUENCES + 1] = {0}, first[SEQUENCES], n = 0;
    const int32_t *pages[SEQUENCES];
    const ql_kept kept = {p->keys, p->values, pages};
    ql_seqs seqs = {.offsets = offsets, .first = first, .kept = &kept};
    ql_tensor *qkv[3], *y;
    bool left = false;
    const double *got;

    for (int64_t s = p->count; s-- > 0;) {
        const int64_t rest = p->length[s] - p->done[s];

        left = left || rest > 0;
        if (rest == 0 || k_int(p->k, 0, 3) == 0)
            continue;
        which[n] = s;
        first[n] = p->done[s];
        pages[n] = p->pages[s];
        offsets[n + 1] = offsets[n] + (k_int(p->k, 0, 1) ? rest : k_int(p->k, 1, rest));
        p->done[s] += offsets[n + 1] - offsets[n];
        n++;
    }
    seqs.count = n;
    if (n == 0)
        return left;
    for (int i = 0; i < 3; i++)
        qkv[i] = joined(p, i, &seqs, which);
    REQUIRE_OK(p->k->cx, ql_attention(p->k->cx, &seqs, &p->spec, (const ql_tensor *const *)qkv, &y));
    got = k_get(p->k, y);
    for (int64_t i = 0; i < n; i++)
        memcpy(p->got[which[i]] + first[i] * width(p, 0), got + offsets[i] * width(p, 0),
               (size_t)((offsets[i + 1] - offsets[i]) * width(p, 0)) * sizeof *got);
    return true;
}

/* Near the definition, and the same bits as the whole sequence in one call, without pages. */
static void
check_sequence(paged *p, int64_t s)
{
    const int64_t n = p->length[s], offsets[] = {0, n}, none = -1;
    double *y = k_doubles(p->k, n * width(p, 0));
    ql_tensor *ty;

    plain_attention(&(ql_seqs){.count = 1, .offsets = offsets}, &p->spec, (const double *const *)p->plain[s], y);
    k_close(p->k, p->got[s], y, n * width(p, 0), k_eps(p->d) * 2,
            2e-6 * sqrt((double)p->spec.head_dim) +
                (p->d == QL_F32 ? 0 : k_eps(p->d) * k_largest(p->plain[s][2], n * width(p, 2))));
    REQUIRE_OK(p->k->cx, ql_attention(p->k->cx, &(ql_seqs){.count = 1, .offsets = offsets, .parent = &none}, &p->spec,
                                      (const ql_tensor *const *)p->qkv[s], &ty));
    k_close(p->k, p->got[s], k_get(p->k, ty), n * width(p, 0), 0, 0);
}

static void
attention_over_pages(kernel *k)
{
    static const int64_t sizes[] = {8, 16, 33, 64, 80, 128};
    paged p = {.k = k, .d = QL_F32};

    if (getenv("QLOOM_TEST_BACKEND")) /* the cpu keeps f32 alone */
        p.d = (const ql_dtype[]){QL_F32, QL_BF16, QL_F16}[k_int(k, 0, 2)];
    open_paged(&p, sizes[k_int(k, 0, sizeof sizes / sizeof *sizes - 1)]);
    while (go_on(&p))
        ;
    for (int64_t s = 0; s < p.count; s++)
        check_sequence(&p, s);
}

static void
wrong_pages(kernel *k)
{
    const ql_attention_spec spec = {1, 1, 8, 0};
    const int64_t offsets[] = {0, 3}, first[] = {64}, parent[] = {0};
    const int32_t pages[] = {0, 2}, *of_each[] = {pages};
    double *x = k_normal(k, QL_PAGE * 2 * 8);
    ql_tensor *t = k_put(k, QL_F32, 3, 8, x), *keys, *values, *y;
    const ql_tensor *qkv[] = {t, t, t};
    ql_kept kept = {.pages = of_each};
    ql_seqs seqs = {.count = 1, .offsets = offsets, .first = first, .kept = &kept};

    REQUIRE_OK(k->cx, ql_new(k->cx, QL_F32, 2 * QL_PAGE, 8, &keys));
    REQUIRE_OK(k->cx, ql_new(k->cx, QL_F32, 2 * QL_PAGE, 8, &values));
    kept.keys = keys;
    kept.values = values;
    CHECK_ERROR(k->cx, ql_attention(k->cx, &seqs, &spec, qkv, &y), QL_INVALID,
                "attention: page 1 of sequence 0 is 2, expected 0 to 1");
    seqs.parent = parent;
    CHECK_ERROR(k->cx, ql_attention(k->cx, &seqs, &spec, qkv, &y), QL_INVALID,
                "attention: sequence 0 has the parent 0, expected an earlier sequence");
}

/* --- weights at rest --------------------------------------------------------------------------------------------- */

/* A weight [in, out] at rest, and its numbers. */
static ql_resting
weight(kernel *k, ql_dtype x, int64_t in, int64_t out, double *w)
{
    const int kind = (int)k_int(k, 0, 3); /* numbers; a uniform grid; levels; a uniform grid with groups in any order */
    const int64_t groups = (in + 31) / 32;
    ql_resting r = {.grid = {.bits = 4, .group = 32, .scale_dtype = QL_F32}};
    double *codes = k_doubles(k, in * out), *scales = k_normal(k, groups * out), *zeros = k_doubles(k, groups * out),
           *levels = k_normal(k, 16), *index = k_doubles(k, in);

    if (kind == 0) {
        memcpy(w, k_normal(k, in * out), (size_t)(in * out) * sizeof *w);
        r.w = k_put(k, x == QL_F32 ? (const ql_dtype[]){QL_F32, QL_BF16, QL_F16}[k_int(k, 0, 2)] : x, in, out, w);
        return r;
    }
    r.scales = k_put(k, QL_F32, groups, out, scales);
    for (int64_t i = 0; i < groups * out; i++)
        zeros[i] = (double)k_int(k, 0, 15);
    if (kind == 2)
        r.levels = k_put(k, QL_F32, 16, -1, levels);
    else
        r.zeros = k_put(k, QL_F32, groups, out, zeros);
    for (int64_t i = 0; i < in; i++)
        index[i] = (double)(kind == 3 ? k_int(k, 0, groups - 1) : i / 32);
    if (kind == 3)
        r.g_idx = k_put(k, QL_I32, in, -1, index);
    for (int64_t i = 0; i < in * out; i++) {
        const int64_t g = (int64_t)index[i / out] * out + i % out;

        codes[i] = (double)k_int(k, 0, 15);
        w[i] = plain_round(QL_F32, scales[g] * (kind == 2 ? levels[(int)codes[i]] : codes[i] - zeros[g]));
        w[i] = plain_round(x, w[i]);
    }
    r.w = k_put(k, QL_U8, in, out, codes);
    return r;
}

/* The product, and the same bits of its last row without the others. */
static void
resting(kernel *k)
{
    const int64_t t = k_size(k, 67), in = k_size(k, 300), out = k_size(k, 300);
    const ql_dtype d = getenv("QLOOM_TEST_BACKEND") ? (const ql_dtype[]){QL_F32, QL_BF16}[k_int(k, 0, 1)] : QL_F32;
    double *x = k_normal(k, t * in), *w = k_doubles(k, in * out), *y = k_normal(k, t * out), *got;
    const ql_resting r = weight(k, d, in, out, w);
    const bool add = k_int(k, 0, 1) != 0;
    ql_tensor *tx = k_put(k, d, t, in, x), *ty = k_put(k, QL_F32, t, out, y), *last, *one;

    REQUIRE_OK(k->cx, ql_rows(k->cx, tx, t - 1, 1, &last));
    one = k_put(k, QL_F32, 1, out, y + (t - 1) * out);
    REQUIRE_OK(k->cx, ql_op_resting(k->cx, tx, &r, add, ty));
    plain_gemm(QL_NN, (const int64_t[]){t, out, in}, 1, x, w, add, y);
    got = k_get(k, ty);
    k_close(k, got, y, t * out, 1e-6, 1e-6 * (double)in);
    REQUIRE_OK(k->cx, ql_op_resting(k->cx, last, &r, add, one));
    k_close(k, k_get(k, one), got + (t - 1) * out, out, 0, 0);
}

static void
wrong_weights(kernel *k)
{
    double *x = k_normal(k, 64), zero[64] = {0}, far[8] = {0, 0, 1};
    ql_tensor *tx = k_put(k, QL_F32, 1, 8, x), *ty = k_put(k, QL_F32, 1, 8, x);
    ql_resting r = {.w = k_put(k, QL_U8, 8, 8, zero), .grid = {.bits = 4, .group = 8, .scale_dtype = QL_F32}};

    CHECK_ERROR(k->cx, ql_op_resting(k->cx, tx, &r, false, ty), QL_INVALID, "codes need scales, and zeros or levels");
    r.scales = k_put(k, QL_F32, 1, 8, x);
    r.zeros = k_put(k, QL_F32, 1, 8, zero);
    r.g_idx = k_put(k, QL_I32, 8, -1, far);
    CHECK_ERROR(k->cx, ql_op_resting(k->cx, tx, &r, false, ty), QL_INVALID, "group 1 of ");
}

static const kernel_case cases[] = {
    {"attention over pages", attention_over_pages},
    {"wrong pages", wrong_pages},
    {"resting", resting},
    {"wrong weights", wrong_weights},
};

int
main(void)
{
    return k_main(cases, sizeof cases / sizeof *cases,
                  getenv("QLOOM_TEST_BACKEND") ? 3 : 16); /* an emulated one is slow */
}
