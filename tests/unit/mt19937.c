/* Python's generator: the check values of the design's documents, and more from CPython 3. */
#include "test.h"

#include <qloom/data.h>

#include "core/base/ctx.h"

static void
check_draws(uint64_t seed, int64_t low, int64_t high, const int64_t *expected, int count)
{
    ql_mt19937 g;

    ql_mt19937_seed(&g, seed);
    for (int i = 0; i < count; i++)
        CHECK_INT(ql_mt19937_between(&g, low, high), expected[i]);
}

static void
check_sample(ql_ctx *cx, uint64_t seed, int64_t n, const int64_t *expected, int count)
{
    int64_t got[16];
    ql_mt19937 g;

    ql_mt19937_seed(&g, seed);
    CHECK_OK(cx, ql_mt19937_sample(cx, &g, n, count, got));
    for (int i = 0; i < count; i++)
        CHECK_INT(got[i], expected[i]);
}

static void
test_bits(void)
{
    static const uint32_t first[] = {4150886329u, 3342196574u, 1892932127u};
    static const int widths[] = {1, 7, 32, 33, 47, 64};
    static const uint64_t wide[] = {1u, 97u, 1037313734u, 6260509555u, 15666984345026u, 15098536332145909440u};
    ql_mt19937 g;

    ql_mt19937_seed(&g, 1234);
    for (int i = 0; i < 3; i++)
        CHECK_INT(ql_mt19937_bits(&g, 32), first[i]);
    ql_mt19937_seed(&g, ((uint64_t)1 << 40) + 17); /* a seed of two words */
    for (int i = 0; i < 6; i++)
        CHECK_INT(ql_mt19937_bits(&g, widths[i]), (int64_t)wide[i]);
    CHECK_INT(ql_mt19937_bits(&g, 0), 0);
}

/* The public trainer's shuffled epochs, drawn by it. */
static void
test_epochs(void)
{
    static const struct {
        uint64_t seed;
        int64_t epoch, order[10];
    } drawn[] = {
        {11u, 0, {1, 7, 2, 0, 9, 3, 5, 6, 4, 8}},          {11u, 1, {3, 5, 8, 1, 0, 6, 9, 2, 7, 4}},
        {11u, 2, {8, 5, 4, 6, 2, 3, 1, 9, 0, 7}},          {42u, 0, {2, 6, 1, 8, 4, 5, 0, 9, 3, 7}},
        {42u, 1, {8, 4, 9, 0, 5, 1, 6, 7, 2, 3}},          {42u, 2, {2, 6, 3, 8, 7, 9, 1, 4, 5, 0}},
        {12345678901u, 0, {6, 0, 5, 4, 2, 7, 8, 3, 9, 1}}, {12345678901u, 1, {2, 7, 9, 6, 8, 1, 3, 4, 0, 5}},
        {12345678901u, 2, {1, 9, 4, 6, 8, 2, 7, 0, 3, 5}},
    };
    static const int64_t large[] = {52441, 9871,  67910, 54388, 12129, 9807,  24405, 22900, 17025, 1942,
                                    31412, 11132, 22585, 49295, 33844, 42430, 23568, 3454,  26956, 25076};
    static int64_t got[70000];

    for (size_t i = 0; i < sizeof drawn / sizeof *drawn; i++) {
        ql_mt19937_epoch(drawn[i].seed, drawn[i].epoch, 10, got);
        for (int k = 0; k < 10; k++)
            CHECK_INT(got[k], drawn[i].order[k]);
    }
    ql_mt19937_epoch(11, 0, 70000, got);
    for (int k = 0; k < 20; k++)
        CHECK_INT(got[k], large[k]);
    ql_mt19937_epoch(11, 0, 1, got);
    CHECK_INT(got[0], 0);
}

int
main(void)
{
    static const int64_t formats[] = {50494, 99346, 55125, 5306}, c4[] = {25247, 27562, 2653, 16968, 33506};
    static const int64_t shuffled[] = {228, 51, 563, 501, 457},
                         large[] = {17502085471870, 32092906029137, 6685611058627};
    static const int64_t order[] = {6, 8, 9, 7, 5, 3, 0, 4, 1, 2}, pool[] = {7, 18, 17, 4, 11, 19, 15},
                         set[] = {30939, 39753, 13522, 94531, 51912, 62767, 20312, 11809, 8718}, few[] = {7, 9, 3},
                         few_set[] = {7, 9, 3};
    int64_t items[10];
    ql_mt19937 g;
    ql_scope scope;
    ql_ctx cx;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_bits();
    test_epochs();
    check_draws(0, 0, 100000, formats, 4);
    check_draws(0, 0, 45575, c4, 5);
    check_draws(42, 0, 1279, shuffled, 5);
    check_draws(UINT64_MAX, 0, ((int64_t)1 << 45) + 2, large, 3);
    for (int i = 0; i < 10; i++)
        items[i] = i;
    ql_mt19937_seed(&g, 1);
    ql_mt19937_shuffle(&g, items, 10);
    for (int i = 0; i < 10; i++)
        CHECK_INT(items[i], order[i]);
    check_sample(&cx, 3, 30, pool, 7);
    check_sample(&cx, 4, 100000, set, 9);
    check_sample(&cx, 4, 20, few, 3); /* 21 is where few draws go from the pool to the set */
    check_sample(&cx, 4, 22, few_set, 3);
    CHECK_ERROR(&cx, ql_mt19937_sample(&cx, &g, 3, 4, items), QL_BUG, "a sample of 4 from 3");
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
