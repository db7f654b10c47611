/* A test is a program: CHECK* print both sides and go on, the exit status says whether any failed. SKIP says why. */
#ifndef QLOOM_TEST_H
#define QLOOM_TEST_H

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qloom/status.h>

static int test_failures;

#define TEST_FAIL(...)                                  \
    do {                                                \
        test_failures++;                                \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
        fprintf(stderr, __VA_ARGS__);                   \
        fputc('\n', stderr);                            \
    } while (0)

#define CHECK(cond)                           \
    do {                                      \
        if (!(cond))                          \
            TEST_FAIL("not true: %s", #cond); \
    } while (0)

#define CHECK_INT(got, expected)                                               \
    do {                                                                       \
        int64_t g_ = (int64_t)(got), e_ = (int64_t)(expected);                 \
        if (g_ != e_)                                                          \
            TEST_FAIL("%s: got %" PRId64 ", expected %" PRId64, #got, g_, e_); \
    } while (0)

/* |got - expected| <= tol; NaN fails */
#define CHECK_NEAR(got, expected, tol)                                              \
    do {                                                                            \
        double g_ = (got), e_ = (expected), t_ = (tol);                             \
        if (!(fabs(g_ - e_) <= t_))                                                 \
            TEST_FAIL("%s: got %.9g, expected %.9g within %.3g", #got, g_, e_, t_); \
    } while (0)

#define CHECK_STR(got, expected)                                                                                  \
    do {                                                                                                          \
        const char *g_ = (got), *e_ = (expected);                                                                 \
        if (!g_ || !e_ || strcmp(g_, e_) != 0)                                                                    \
            TEST_FAIL("%s:\n  got      \"%s\"\n  expected \"%s\"", #got, g_ ? g_ : "(null)", e_ ? e_ : "(null)"); \
    } while (0)

/* The call succeeds; prints the context's error otherwise. */
#define CHECK_OK(cx, call)                                                    \
    do {                                                                      \
        ql_status s_ = (call);                                                \
        if (s_ != QL_OK)                                                      \
            TEST_FAIL("%s: %s: %s", #call, ql_status_text(s_), ql_error(cx)); \
    } while (0)

/* The same where going on makes no sense. */
#define REQUIRE_OK(cx, call)                                                  \
    do {                                                                      \
        ql_status s_ = (call);                                                \
        if (s_ != QL_OK) {                                                    \
            TEST_FAIL("%s: %s: %s", #call, ql_status_text(s_), ql_error(cx)); \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

/* The call fails with `st` and its text contains `part`. */
#define CHECK_ERROR(cx, call, st, part)                                                                     \
    do {                                                                                                    \
        ql_status s_ = (call);                                                                              \
        if (s_ != (st) || !strstr(ql_error(cx), (part)))                                                    \
            TEST_FAIL("%s: got %s: \"%s\", expected %s: \"…%s…\"", #call, ql_status_text(s_), ql_error(cx), \
                      ql_status_text(st), part);                                                            \
    } while (0)

#define SKIP(...)            \
    do {                     \
        printf("skipped: "); \
        printf(__VA_ARGS__); \
        putchar('\n');       \
        exit(77);            \
    } while (0)

/* The folder of the fixtures; NULL, said in words, where there are none. In CI they have to be there. */
static inline const char *
test_fixtures(void)
{
    const char *folder = getenv("QLOOM_FIXTURES"), *ci = getenv("CI");

    if (folder && access(folder, R_OK) == 0)
        return folder;
    printf("skipped: there are no fixtures at %s\n", folder ? folder : "QLOOM_FIXTURES");
    if (ci && strcmp(ci, "true") == 0)
        TEST_FAIL("fixtures are missing in CI");
    return NULL;
}

#define TEST_DONE() (test_failures ? (fprintf(stderr, "%d checks failed\n", test_failures), 1) : 0)

/* Fresh inputs each run, reproducible on demand: QLOOM_TEST_SEED, printed. */
static inline uint64_t
test_seed(void)
{
    const char *s = getenv("QLOOM_TEST_SEED");
    uint64_t seed = 0;

    if (s) {
        seed = strtoull(s, NULL, 10);
    } else {
        FILE *f = fopen("/dev/urandom", "rb");

        if (f) {
            if (fread(&seed, 1, 4, f) != 4)
                seed = 1;
            fclose(f);
        }
    }
    printf("QLOOM_TEST_SEED=%" PRIu64 "\n", seed);
    return seed * 2 + 1;
}

static inline uint64_t
test_u64(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u); /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline double
test_uniform(uint64_t *state) /* [0, 1) */
{
    return (double)(test_u64(state) >> 11) * 0x1p-53;
}

static inline double
test_normal(uint64_t *state)
{
    double u = 1.0 - test_uniform(state), v = test_uniform(state);

    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

#endif
