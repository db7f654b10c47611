/* What SQL lacks: a digest of rows, a mean whose bits don't depend on the version of SQLite, the standard error of a mean, and
 * McNemar's test. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "db.h"

#define COLUMNS 16 /* at most, of a row that is hashed */

/* A value as its type, its length, and its bits or the hash of its bytes, so that no two rows look alike. */
typedef struct item {
    int64_t type, bytes;
    uint64_t value[2];
} item;

static item
item_of(sqlite3_value *v)
{
    item out = {.type = sqlite3_value_type(v)};
    const double real = out.type == SQLITE_FLOAT ? sqlite3_value_double(v) : 0;

    if (out.type == SQLITE_INTEGER)
        out.value[0] = (uint64_t)sqlite3_value_int64(v);
    if (out.type == SQLITE_FLOAT)
        memcpy(out.value, &real, sizeof real);
    if (out.type == SQLITE_TEXT || out.type == SQLITE_BLOB) {
        const void *bytes = sqlite3_value_blob(v);

        out.bytes = sqlite3_value_bytes(v);
        ql_hash_bytes(bytes ? bytes : "", (size_t)out.bytes, out.value);
    }
    return out;
}

static void
digest_row(sqlite3_context *context, int count, sqlite3_value **values)
{
    uint64_t *sum = sqlite3_aggregate_context(context, 2 * sizeof *sum), hash[2];
    item items[COLUMNS];

    if (!sum || count > COLUMNS) {
        sqlite3_result_error_nomem(context);
        return;
    }
    for (int i = 0; i < count; i++)
        items[i] = item_of(values[i]);
    ql_hash_bytes(items, (size_t)count * sizeof *items, hash);
    sum[0] += hash[0];
    sum[1] += hash[1];
}

static void
digest_end(sqlite3_context *context)
{
    static const uint64_t none[2] = {0, 0};
    const uint64_t *sum = sqlite3_aggregate_context(context, 0);
    char text[33];

    sum = sum ? sum : none;
    snprintf(text, sizeof text, "%016llx%016llx", (unsigned long long)sum[0], (unsigned long long)sum[1]);
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

typedef struct mean {
    double sum;
    int64_t count;
} mean;

static void
mean_row(sqlite3_context *context, int count, sqlite3_value **values)
{
    mean *m = sqlite3_aggregate_context(context, sizeof *m);

    (void)count;
    if (!m) {
        sqlite3_result_error_nomem(context);
        return;
    }
    m->sum += sqlite3_value_type(values[0]) == SQLITE_NULL ? NAN : sqlite3_value_double(values[0]);
    m->count++;
}

static void
mean_end(sqlite3_context *context)
{
    const mean *m = sqlite3_aggregate_context(context, 0);

    if (m && m->count)
        sqlite3_result_double(context, m->sum / (double)m->count);
}

/* Windows of the whole partition never lose a row. */
static void
mean_lose(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    sqlite3_result_error(context, "mean: of whole partitions only", -1);
}

/* A mean that moves with each number, and the squared distances from it (Welford). */
typedef struct spread {
    double mean, square;
    int64_t count;
} spread;

static void
spread_row(sqlite3_context *context, int count, sqlite3_value **values)
{
    spread *s = sqlite3_aggregate_context(context, sizeof *s);
    const double x = sqlite3_value_type(values[0]) == SQLITE_NULL ? NAN : sqlite3_value_double(values[0]);
    double off;

    (void)count;
    if (!s) {
        sqlite3_result_error_nomem(context);
        return;
    }
    off = x - s->mean;
    s->mean += off / (double)++s->count;
    s->square += off * (x - s->mean);
}

static void
spread_end(sqlite3_context *context)
{
    const spread *s = sqlite3_aggregate_context(context, 0);

    if (s && s->count > 1)
        sqlite3_result_double(context, sqrt(s->square / (double)(s->count - 1) / (double)s->count));
}

/* McNemar's exact test: of documents that only one and only the other of two models has right, how likely it is that they part as unevenly
 * by chance. Two-sided. */
static void
mcnemar(sqlite3_context *context, int count, sqlite3_value **values)
{
    const double a = sqlite3_value_double(values[0]), b = sqlite3_value_double(values[1]), n = a + b;
    double p = 0;

    (void)count;
    if (sqlite3_value_type(values[0]) == SQLITE_NULL || !(a >= 0) || !(b >= 0) || !(n < 1e9))
        return;
    for (double i = 0; i <= fmin(a, b); i++)
        p += exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) - n * log(2));
    sqlite3_result_double(context, fmin(1, 2 * p));
}

int
ql_db_functions(sqlite3 *handle)
{
    const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC;
    int code = sqlite3_create_function_v2(handle, "digest", -1, flags, NULL, NULL, digest_row, digest_end, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_create_function_v2(handle, "mcnemar", 2, flags, NULL, mcnemar, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_create_function_v2(handle, "standard_error", 1, flags, NULL, NULL, spread_row, spread_end, NULL);
    if (code == SQLITE_OK)
        code = ql_db_bootstrap(handle);
    return code != SQLITE_OK ? code
                             : sqlite3_create_window_function(handle, "mean", 1, flags, NULL, mean_row, mean_end,
                                                              mean_end, mean_lose, NULL);
}
