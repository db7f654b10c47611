/* The factor of the inverse Hessian that error feedback runs on (docs/methods.md 3.1): dead columns, column order, damping with
 * rescue, and one Cholesky of the reversed matrix, from which a triangular inverse gives U without an explicit inverse. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qloom/factor.h>

#define FLOOR_ROUNDS 6

typedef struct rank { /* a column or a group, and what it is sorted by */
    double key;
    int32_t index;
} rank;

typedef struct work {
    const ql_factor_spec *spec;
    const ql_tensor *h, *deciding; /* deciding: a diagonal other than h's for order and dead columns; NULL: none */
    int64_t n;
    double *diag;        /* [n], in stored order: of H, then with dead columns filled */
    double *seen;        /* [n]: what decides order and dead columns */
    double *damped;      /* [n], in reversed processing order: of the attempt under way */
    bool *dead;          /* [n], in stored order */
    int32_t *order;      /* [n]: processing position -> column */
    ql_tensor *reversed; /* [n] i32: `order` from its end */
    ql_tensor *flip;     /* [n] i32: n - 1, …, 0 */
} work;

static int
by_key(const void *pa, const void *pb)
{
    const rank *a = pa, *b = pb;

    if (a->key != b->key)
        return a->key < b->key ? 1 : -1;
    return a->index < b->index ? -1 : 1;
}

/* Columns inside each whole or ragged group by decreasing diagonal, then whole groups by their largest. `place` has room for n. */
static void
order_by_group(work *w, rank *place)
{
    int64_t g = w->spec->group < w->n ? w->spec->group : w->n, whole = g ? w->n / g : 0;
    int32_t *sorted = w->order;
    rank *groups = place + w->n;

    for (int64_t first = 0; first < w->n; first += g)
        qsort(place + first, (size_t)(first + g < w->n ? g : w->n - first), sizeof *place, by_key);
    for (int64_t k = 0; k < whole; k++)
        groups[k] = (rank){place[k * g].key, (int32_t)k};
    qsort(groups, (size_t)whole, sizeof *groups, by_key);
    for (int64_t k = 0; k < whole; k++)
        for (int64_t j = 0; j < g; j++)
            *sorted++ = place[groups[k].index * g + j].index;
    for (int64_t j = whole * g; j < w->n; j++)
        *sorted++ = place[j].index;
}

static ql_status
find_order(ql_ctx *cx, work *w)
{
    rank *place = ql_alloc(cx, (size_t)w->n, 2 * sizeof *place);

    w->order = ql_alloc(cx, (size_t)w->n, sizeof *w->order);
    if (!place || !w->order)
        return QL_MEMORY;
    for (int64_t j = 0; j < w->n; j++)
        place[j] = (rank){w->seen[j], (int32_t)j};
    if (w->spec->order == QL_ORDER_GROUP) {
        order_by_group(w, place);
        return QL_OK;
    }
    if (w->spec->order == QL_ORDER_DESC)
        qsort(place, (size_t)w->n, sizeof *place, by_key);
    for (int64_t j = 0; j < w->n; j++)
        w->order[j] = place[j].index;
    return QL_OK;
}

/* A vector of the device in double on the host. */
static ql_status
read_vector(ql_ctx *cx, const ql_tensor *v, double **out)
{
    ql_tensor *wide;
    const double *host;

    *out = ql_alloc(cx, (size_t)ql_count(v), sizeof **out);
    if (!*out)
        return QL_MEMORY;
    QL_TRY(cx, ql_convert(cx, v, QL_F64, &wide));
    QL_TRY(cx, ql_map(cx, wide, QL_READ, &host));
    memcpy(*out, host, (size_t)ql_count(v) * sizeof **out);
    QL_TRY(cx, ql_unmap(cx, wide));
    ql_drop(cx, &wide);
    return QL_OK;
}

/* The diagonal of H; NUMERIC when anything in H is not finite. */
static ql_status
read_diag(ql_ctx *cx, work *w, const ql_tensor *deciding)
{
    int64_t bad;
    ql_tensor *d;

    QL_TRY(cx, ql_nonfinite(cx, w->h, &bad));
    if (bad >= 0)
        return QL_FAIL(cx, QL_NUMERIC, "the statistics are not finite: H[%lld, %lld] is NaN or infinite",
                       (long long)(bad / w->n), (long long)(bad % w->n));
    w->damped = ql_alloc(cx, (size_t)w->n, sizeof *w->damped);
    w->dead = ql_alloc(cx, (size_t)w->n, sizeof *w->dead);
    if (!w->damped || !w->dead)
        return QL_MEMORY;
    QL_TRY(cx, ql_diag(cx, w->h, &d));
    QL_TRY(cx, read_vector(cx, d, &w->diag));
    QL_TRY(cx, read_vector(cx, deciding ? deciding : d, &w->seen));
    ql_drop(cx, &d);
    return QL_OK;
}

/* A rescue round adds `floor` to an element of the diagonal, and leaves none below it. */
static double
floored(double d, double floor)
{
    return floor > 0.0 ? fmax(d + floor, floor) : d;
}

/* Mean diagonal over the columns that saw something. */
static double
live_mean(const work *w, double floor)
{
    double sum = 0.0;
    int64_t live = 0;

    for (int64_t j = 0; j < w->n; j++) {
        if (w->dead[j])
            continue;
        sum += floored(w->diag[j], floor);
        live++;
    }
    return live ? sum / (double)live : 1.0; /* nothing was seen at all: any diagonal will do */
}

/* Flags dead columns, gives them the mean live diagonal, and makes the mask of live ones when there are any. */
static ql_status
fill_dead(ql_ctx *cx, work *w, ql_factor *out)
{
    float *mask = ql_alloc(cx, (size_t)w->n, sizeof *mask);
    ql_tensor *live;
    double mean;

    if (!mask)
        return QL_MEMORY;
    for (int64_t j = 0; j < w->n; j++) {
        w->dead[j] = w->seen[j] == 0.0;
        out->dead += w->dead[j];
        mask[j] = w->dead[j] ? 0.0f : 1.0f;
        w->dead[j] =
            w->dead[j] ||
            (w->deciding && w->diag[j] <= 1e-7 * w->seen[j]); /* all of it projected away: no weight is zeroed */
    }
    mean = live_mean(w, 0.0);
    for (int64_t j = 0; j < w->n; j++)
        w->diag[j] = w->dead[j] ? mean : w->diag[j];
    if (!out->dead)
        return QL_OK;
    QL_TRY(cx, ql_upload(cx, QL_F32, w->n, -1, mask, &live));
    out->live = live;
    return QL_OK;
}

/* The damped diagonal in reversed processing order, as a tensor of the factor's dtype. */
static ql_status
damped_diag(ql_ctx *cx, const work *w, double floor, double lambda, ql_tensor **out)
{
    ql_tensor *wide;

    for (int64_t i = 0; i < w->n; i++)
        w->damped[i] = floored(w->diag[w->order[w->n - 1 - i]], floor) + lambda;
    QL_TRY(cx, ql_upload(cx, QL_F64, w->n, -1, w->damped, &wide));
    QL_TRY(cx, ql_convert(cx, wide, w->spec->fp64 ? QL_F64 : QL_F32, out));
    ql_drop(cx, &wide);
    return QL_OK;
}

/* With J the reversal, J H J = L L^T and U = J L^-1 J. *u stays NULL when H is not positive definite. */
static ql_status
attempt(ql_ctx *cx, const work *w, double floor, double lambda, ql_tensor **u)
{
    ql_tensor *a, *narrow, *diag;
    int64_t bad;
    bool ok;

    QL_TRY(cx, ql_check_interrupt(cx));
    QL_TRY(cx, ql_gather(cx, w->h, w->reversed, w->reversed, &a));
    if (w->spec->fp64 && ql_dtype_of(a) != QL_F64) {
        narrow = a;
        QL_TRY(cx, ql_convert(cx, narrow, QL_F64, &a));
        ql_drop(cx, &narrow);
    }
    QL_TRY(cx, damped_diag(cx, w, floor, lambda, &diag));
    QL_TRY(cx, ql_diag_set(cx, diag, a));
    QL_TRY(cx, ql_potrf(cx, a, &ok));
    if (ok) {
        QL_TRY(cx, ql_trtri(cx, a));
        QL_TRY(cx, ql_nonfinite(cx, a, &bad)); /* a pivot that underflowed is no better than none */
        if (bad < 0)
            QL_TRY(cx, ql_gather(cx, a, w->flip, w->flip, u));
    }
    ql_drop(cx, &diag);
    ql_drop(cx, &a);
    return QL_OK;
}

/* damp, damp + inc, … < 1 over a diagonal with `floor` added. */
static ql_status
damp_loop(ql_ctx *cx, const work *w, double floor, ql_factor *out)
{
    const ql_factor_spec *spec = w->spec;
    double mean = live_mean(w, floor), damp = spec->damp;
    ql_tensor *u = NULL;

    for (int64_t k = 1; damp < 1.0; k++) {
        QL_TRY(cx, attempt(cx, w, floor, damp * mean, &u));
        if (u) {
            out->u = u;
            out->damp = damp;
            out->lambda = damp * mean + floor;
            return QL_OK;
        }
        if (spec->damp_inc == 0.0)
            return QL_OK;
        damp = spec->damp + (double)k * spec->damp_inc;
    }
    return QL_OK;
}

static ql_status
upload_orders(ql_ctx *cx, work *w, ql_factor *out)
{
    int32_t *host = ql_alloc(cx, (size_t)w->n, sizeof *host);
    ql_tensor *perm;

    if (!host)
        return QL_MEMORY;
    for (int64_t i = 0; i < w->n; i++)
        host[i] = (int32_t)(w->n - 1 - i);
    QL_TRY(cx, ql_upload(cx, QL_I32, w->n, -1, host, &w->flip));
    for (int64_t i = 0; i < w->n; i++)
        host[i] = w->order[w->n - 1 - i];
    QL_TRY(cx, ql_upload(cx, QL_I32, w->n, -1, host, &w->reversed));
    if (w->spec->order == QL_ORDER_NATURAL)
        return QL_OK;
    QL_TRY(cx, ql_upload(cx, QL_I32, w->n, -1, w->order, &perm));
    out->perm = perm;
    out->order = w->order;
    return QL_OK;
}

static ql_status
factor(ql_ctx *cx, work *w, ql_factor *out)
{
    double largest = 0.0;

    QL_TRY(cx, read_diag(cx, w, w->deciding));
    QL_TRY(cx, find_order(cx, w)); /* before dead columns are filled, so that they come last */
    QL_TRY(cx, upload_orders(cx, w, out));
    QL_TRY(cx, fill_dead(cx, w, out));
    for (int64_t j = 0; j < w->n; j++)
        largest = fmax(largest, fabs(w->diag[j]));
    QL_TRY(cx, damp_loop(cx, w, 0.0, out));
    for (int k = 1; !out->u && k <= FLOOR_ROUNDS; k++) {
        out->floor_rounds = k;
        QL_TRY(cx, damp_loop(cx, w, 1e-6 * largest * pow(10.0, k - 1), out));
    }
    return QL_OK;
}

static ql_status
spec_check(ql_ctx *cx, const ql_tensor *h, const ql_factor_spec *spec)
{
    const ql_dtype dtype = ql_dtype_of(h);

    if (!h)
        return QL_FAIL(cx, QL_INVALID, "factor: H: missing");
    if (ql_ndim(h) != 2 || ql_dim(h, 0) != ql_dim(h, 1) || (dtype != QL_F32 && dtype != QL_F64))
        return QL_FAIL(cx, QL_INVALID, "factor: H: got %s [%lld, %lld], expected a square of f32 or f64",
                       ql_dtype_name(dtype), (long long)ql_dim(h, 0), (long long)ql_dim(h, 1));
    if (!(spec->damp > 0.0 && spec->damp < 1.0))
        return QL_FAIL(cx, QL_INVALID, "factor: damp is %g, expected a number between 0 and 1", spec->damp);
    if (!(spec->damp_inc >= 0.0))
        return QL_FAIL(cx, QL_INVALID, "factor: damp_inc is %g, expected 0 or more", spec->damp_inc);
    if (spec->order == QL_ORDER_GROUP && spec->group < 1)
        return QL_FAIL(cx, QL_INVALID, "factor: groups of %lld columns, expected 1 or more", (long long)spec->group);
    return QL_OK;
}

/* A factor among the results that are kept with the statistics. */
typedef struct kept {
    ql_factor factor;
    int32_t order[]; /* where the factor has one */
} kept;

static ql_status
keep(ql_ctx *cx, const ql_stats *stats, const char *key, int64_t n, const ql_factor *f)
{
    const size_t order = f->order ? (size_t)n * sizeof *f->order : 0;
    kept *k = ql_alloc(cx, 1, sizeof *k + order);

    if (!k)
        return QL_MEMORY;
    k->factor = *f;
    if (order)
        memcpy(k->order, f->order, order);
    return ql_stats_put(cx, stats, key, k, sizeof *k + order, (const ql_tensor *const[]){f->u, f->perm, f->live}, 3);
}

ql_status
ql_factor_inverse(ql_ctx *cx, const ql_stats *stats, const ql_factor_spec *spec, ql_factor *out)
{
    work w = {.spec = spec, .h = stats->h, .deciding = stats->diag, .n = ql_dim(stats->h, 0)};
    const kept *k;
    char key[160];

    *out = (ql_factor){0};

    QL_TRY(cx, spec_check(cx, stats->h, spec));
    snprintf(key, sizeof key, "factor %a %a %d %lld %d", spec->damp, spec->damp_inc, (int)spec->order,
             spec->order == QL_ORDER_GROUP ? (long long)spec->group : 0, spec->fp64);
    k = ql_stats_get(stats, key);
    if (!k) {
        QL_TRY(cx, factor(cx, &w, out));
        ql_drop(cx, &w.reversed);
        ql_drop(cx, &w.flip);
        QL_TRY(cx, keep(cx, stats, key, w.n, out));
        k = ql_stats_get(stats, key);
    }
    if (k) {
        *out = k->factor;
        out->order = out->order ? k->order : NULL;
    }
    return QL_OK;
}
