/* Python's random.Random: MT19937 (Matsumoto and Nishimura 1998) with the seeding and the draws of CPython, so that
 * the samples of published procedures come out the same. */
#include <string.h>

#include <qloom/mt19937.h>

#define N 624
#define M 397

static void
init_genrand(ql_mt19937 *g, uint32_t seed)
{
    g->state[0] = seed;
    for (uint32_t i = 1; i < N; i++)
        g->state[i] = 1812433253u * (g->state[i - 1] ^ g->state[i - 1] >> 30) + i;
    g->next = N;
}

/* init_by_array with the 32-bit words of the seed, the lowest first; 0 is one word. */
void
ql_mt19937_seed(ql_mt19937 *g, uint64_t seed)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t length = key[1] ? 2 : 1;
    uint32_t *s = g->state, i = 1;

    init_genrand(g, 19650218u);
    for (uint32_t k = 0, j = 0; k < N; k++) {
        s[i] = (s[i] ^ (s[i - 1] ^ s[i - 1] >> 30) * 1664525u) + key[j] + j;
        j = (j + 1) % length;
        if (++i == N) {
            s[0] = s[N - 1];
            i = 1;
        }
    }
    for (uint32_t k = 0; k < N - 1; k++) {
        s[i] = (s[i] ^ (s[i - 1] ^ s[i - 1] >> 30) * 1566083941u) - i;
        if (++i == N) {
            s[0] = s[N - 1];
            i = 1;
        }
    }
    s[0] = 0x80000000u;
}

static uint32_t
next32(ql_mt19937 *g)
{
    uint32_t *s = g->state, y;

    if (g->next == N) {
        for (int i = 0; i < N; i++) {
            y = (s[i] & 0x80000000u) | (s[(i + 1) % N] & 0x7fffffffu);
            s[i] = s[(i + M) % N] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        g->next = 0;
    }
    y = s[g->next++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

uint64_t
ql_mt19937_bits(ql_mt19937 *g, int bits)
{
    uint64_t low;

    if (bits <= 32)
        return bits > 0 ? next32(g) >> (32 - bits) : 0;
    low = next32(g);
    return (uint64_t)(next32(g) >> (64 - bits)) << 32 | low;
}

int64_t
ql_mt19937_below(ql_mt19937 *g, int64_t n)
{
    int bits = 0;
    int64_t drawn;

    while (bits < 63 && n >> bits)
        bits++;
    do
        drawn = (int64_t)ql_mt19937_bits(g, bits);
    while (drawn >= n);
    return drawn;
}

int64_t
ql_mt19937_between(ql_mt19937 *g, int64_t low, int64_t high)
{
    return low + ql_mt19937_below(g, high - low + 1);
}

void
ql_mt19937_shuffle(ql_mt19937 *g, int64_t *items, int64_t count)
{
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = ql_mt19937_below(g, i + 1), kept = items[i];

        items[i] = items[j];
        items[j] = kept;
    }
}

static bool
contains(const int64_t *items, int64_t count, int64_t wanted)
{
    for (int64_t i = 0; i < count; i++)
        if (items[i] == wanted)
            return true;
    return false;
}

/* CPython keeps a pool of what is left while that is smaller than a set of what was taken, and the two draw
 * differently. */
ql_status
ql_mt19937_sample(ql_ctx *cx, ql_mt19937 *g, int64_t n, int64_t count, int64_t *out)
{
    int64_t *pool, set = 21, power = 1, j;

    if (count < 0 || count > n)
        return QL_FAIL(cx, QL_BUG, "a sample of %lld from %lld", (long long)count, (long long)n);
    while (power < 3 * count)
        power *= 4;
    if (count > 5)
        set += power;
    if (n > set) {
        for (int64_t i = 0; i < count; i++) {
            do
                j = ql_mt19937_below(g, n);
            while (contains(out, i, j));
            out[i] = j;
        }
        return QL_OK;
    }
    pool = ql_alloc(cx, (size_t)n, sizeof *pool);
    if (!pool)
        return QL_MEMORY;
    for (int64_t i = 0; i < n; i++)
        pool[i] = i;
    for (int64_t i = 0; i < count; i++) {
        j = ql_mt19937_below(g, n - i);
        out[i] = pool[j];
        pool[j] = pool[n - i - 1];
    }
    return QL_OK;
}

/* torch.randperm: numpy's seeding, and remainders of 32-bit draws. */
void
ql_mt19937_epoch(uint64_t seed, int64_t epoch, int64_t n, int64_t *out)
{
    ql_mt19937 g;

    init_genrand(&g, (uint32_t)(seed + (uint64_t)epoch));
    for (int64_t i = 0; i < n; i++)
        out[i] = i;
    for (int64_t i = 0; i + 1 < n; i++) {
        const int64_t j = i + (int64_t)(next32(&g) % (uint64_t)(n - i)), kept = out[i];

        out[i] = out[j];
        out[j] = kept;
    }
}
