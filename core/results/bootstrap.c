/* The paired bootstrap for SQL: numbers of two models, part by part, drawn again and again with replacement. What the differences of the
 * draws are is kept as a blob of doubles, so that means over tasks can be made of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "db.h"

typedef struct pairs { /* of what one call of `resampled` has seen */
    double *x;         /* [capacity][2] */
    int64_t count, capacity, draws;
    uint64_t key;
    bool exp, failed;
} pairs;

/* SplitMix64 (Steele, Lea, Flood 2014): number `at` of the stream `key`. */
static uint64_t
random_at(uint64_t key, uint64_t at)
{
    uint64_t z = key + (at + 1) * 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* FNV-1a of the text that names the data. */
static uint64_t
key_of(const unsigned char *text)
{
    uint64_t key = 0xCBF29CE484222325u;

    for (; text && *text; text++)
        key = (key ^ *text) * 0x100000001B3u;
    return key;
}

static bool
make_room(pairs *p)
{
    const int64_t more = p->capacity ? 2 * p->capacity : 256;
    double *grown;

    if (p->count < p->capacity)
        return true;
    grown = realloc(p->x, (size_t)more * 2 * sizeof *grown);
    if (!grown)
        return false;
    p->x = grown;
    p->capacity = more;
    return true;
}

/* resampled(data, draws, x, y, exp) */
static void
pair_row(sqlite3_context *context, int count, sqlite3_value **values)
{
    pairs *p = sqlite3_aggregate_context(context, sizeof *p);

    (void)count;
    if (!p || !make_room(p)) {
        if (p)
            p->failed = true;
        return;
    }
    p->key = key_of(sqlite3_value_text(values[0]));
    p->draws = sqlite3_value_int64(values[1]);
    p->x[2 * p->count] = sqlite3_value_double(values[2]);
    p->x[2 * p->count++ + 1] = sqlite3_value_double(values[3]);
    p->exp = sqlite3_value_int(values[4]);
}

static double
draw(const pairs *p, int64_t number)
{
    const uint64_t key = random_at(p->key, (uint64_t)number);
    double x = 0, y = 0;

    for (int64_t i = 0; i < p->count; i++) {
        const int64_t at = (int64_t)(random_at(key, (uint64_t)i) % (uint64_t)p->count);

        x += p->x[2 * at];
        y += p->x[2 * at + 1];
    }
    x /= (double)p->count;
    y /= (double)p->count;
    return p->exp ? exp(x) - exp(y) : x - y;
}

static void
pair_end(sqlite3_context *context)
{
    pairs *p = sqlite3_aggregate_context(context, 0);
    const size_t bytes = p && p->draws > 0 ? (size_t)p->draws * sizeof(double) : 0;
    double *out = bytes ? malloc(bytes) : NULL;

    if (p && (p->failed || (bytes && !out)))
        sqlite3_result_error_nomem(context);
    for (int64_t i = 0; out && i < p->draws; i++)
        out[i] = draw(p, i);
    if (out && !p->failed)
        sqlite3_result_blob(context, out, (int)bytes, SQLITE_TRANSIENT);
    free(out);
    if (p)
        free(p->x);
}

/* average(draws): of as many blobs of one length, number by number; NULL where one is missing or of another length. */
typedef struct average {
    double *sum;
    int64_t count;
    int bytes;
    bool failed;
} average;

static void
average_row(sqlite3_context *context, int count, sqlite3_value **values)
{
    average *a = sqlite3_aggregate_context(context, sizeof *a);
    const int bytes = sqlite3_value_bytes(values[0]);
    const double *from = sqlite3_value_blob(values[0]);

    (void)count;
    if (!a)
        return;
    if (!a->sum && !a->failed) {
        a->bytes = bytes;
        a->sum = calloc((size_t)bytes + 1, 1);
    }
    a->failed = a->failed || !a->sum || !from || bytes != a->bytes;
    for (size_t i = 0; !a->failed && i < (size_t)bytes / sizeof *from; i++)
        a->sum[i] += from[i];
    a->count++;
}

static void
average_end(sqlite3_context *context)
{
    average *a = sqlite3_aggregate_context(context, 0);

    for (size_t i = 0; a && !a->failed && i < (size_t)a->bytes / sizeof *a->sum; i++)
        a->sum[i] /= (double)a->count;
    if (a && !a->failed)
        sqlite3_result_blob(context, a->sum, a->bytes, SQLITE_TRANSIENT);
    if (a)
        free(a->sum);
}

static int
ascending(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;

    return (a > b) - (a < b);
}

/* quantile(draws, q): between the two nearest, as much of each as q is near it. */
static void
quantile(sqlite3_context *context, int count, sqlite3_value **values)
{
    const int bytes = sqlite3_value_bytes(values[0]), n = bytes / (int)sizeof(double);
    const void *from = sqlite3_value_blob(values[0]);
    const double at = sqlite3_value_double(values[1]) * (n - 1);
    double *sorted = from && n ? malloc((size_t)bytes) : NULL;
    const int below = at > 0 && at < n ? (int)at : 0;

    (void)count;
    if (!from || !n)
        return;
    if (!sorted) {
        sqlite3_result_error_nomem(context);
        return;
    }
    memcpy(sorted, from, (size_t)bytes);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    sqlite3_result_double(context, below + 1 < n ? sorted[below] + (at - below) * (sorted[below + 1] - sorted[below])
                                                 : sorted[n - 1]);
    free(sorted);
}

int
ql_db_bootstrap(sqlite3 *handle)
{
    const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC;
    int code = sqlite3_create_function_v2(handle, "resampled", 5, flags, NULL, NULL, pair_row, pair_end, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_create_function_v2(handle, "average", 1, flags, NULL, NULL, average_row, average_end, NULL);
    return code != SQLITE_OK
               ? code
               : sqlite3_create_function_v2(handle, "quantile", 2, flags, NULL, quantile, NULL, NULL, NULL);
}
