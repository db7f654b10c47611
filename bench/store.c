/* Packing and unpacking of codes, one thread, against copying them; and how many bytes of codes each does in a second.
 *
 * store [MIB [REPETITIONS]]: MIB (64) of codes, a byte each. */
#include "bench.h"

#include "core/store/pack.h"

typedef struct job {
    int bits;
    size_t count;
    uint8_t *codes, *packed, *back;
} job;

static void
run_pack(void *arg)
{
    const job *j = arg;

    if (!ql_codes_pack(j->codes, j->count, j->bits, j->packed))
        exit(1);
}

static void
run_unpack(void *arg)
{
    const job *j = arg;

    ql_codes_unpack(j->packed, j->count, j->bits, j->back);
}

static void
run_copy(void *arg)
{
    const job *j = arg;

    memcpy(j->back, j->codes, j->count);
}

static void
compare(const job *j, const char *name, void (*run)(void *arg), int repetitions)
{
    bench_side side = {.run = run, .arg = (void *)j}, copy = {.run = run_copy, .arg = (void *)j};
    char title[64];

    snprintf(title, sizeof title, "%s, %d bits, against memcpy", name, j->bits);
    bench_ratio(title, &side, &copy, repetitions, false);
    printf("%44s %6.2f GB/s of codes\n", "", 1e-9 * (double)j->count / bench_median(side.times, repetitions));
}

int
main(int argc, char **argv)
{
    const size_t mib = argc > 1 ? (size_t)atoi(argv[1]) : 64;
    const int repetitions = argc > 2 ? atoi(argv[2]) : 9;
    job j = {.count = mib << 20};
    uint64_t rng = 1;

    j.codes = malloc(j.count);
    j.packed = malloc(j.count);
    j.back = malloc(j.count);
    if (!j.codes || !j.packed || !j.back || repetitions < 1 || repetitions > BENCH_MOST)
        return 1;
    for (j.bits = 1; j.bits <= 8; j.bits++) {
        for (size_t i = 0; i < j.count; i++)
            j.codes[i] = (uint8_t)(test_u64(&rng) >> (64 - j.bits));
        compare(&j, "pack", run_pack, repetitions);
        compare(&j, "unpack", run_unpack, repetitions);
        run_unpack(&j);
        if (memcmp(j.back, j.codes, j.count) != 0)
            return 1;
    }
    free(j.codes);
    free(j.packed);
    free(j.back);
    return 0;
}
