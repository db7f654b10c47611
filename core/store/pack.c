/* Eight codes are one word of eight bytes, which three steps close up to 8 bits a code or open again: pairs of bytes, of halves of a
 * word, of words. So eight codes of b bits are b bytes, whatever b is. A run of words takes each step together, which the compiler does
 * in vector registers. */
#include "pack.h"

#include <string.h>

#define RUN 64 /* words */

/* Shifts and masks of the three steps. */
typedef struct steps {
    int shift[3];
    uint64_t low[3], high[3]; /* of each step: the bits of a field's lower half, and those that join them above */
} steps;

/* `bits` ones at the bottom of every field of `field` bits; below 64. */
static uint64_t
ones(int field, int bits)
{
    uint64_t mask = 0;

    for (int at = 0; at < 64; at += field)
        mask |= (((uint64_t)1 << bits) - 1) << at;
    return mask;
}

static steps
steps_of(int bits)
{
    steps s;

    for (int i = 0; i < 3; i++) {
        s.shift[i] = (8 - bits) << i;
        s.low[i] = ones(16 << i, bits << i);
        s.high[i] = s.low[i] << (bits << i);
    }
    return s;
}

static void
close_up(uint64_t *x, int shift, uint64_t low, uint64_t high)
{
    for (int i = 0; i < RUN; i++)
        x[i] = (x[i] & low) | (x[i] >> shift & high);
}

static void
open_up(uint64_t *x, int shift, uint64_t low, uint64_t high)
{
    for (int i = 0; i < RUN; i++)
        x[i] = (x[i] & low) | (x[i] & high) << shift;
}

size_t
ql_packed_bytes(size_t count, int bits)
{
    return count / 8 * (size_t)bits + (count % 8 * (size_t)bits + 7) / 8;
}

bool
ql_codes_pack(const uint8_t *codes, size_t count, int bits, uint8_t *out)
{
    const steps s = steps_of(bits);
    const uint64_t above = ~ones(8, bits);
    uint64_t words[RUN], seen = 0;
    uint8_t packed[8 * RUN + 8];

    for (size_t done = 0; done < count;) {
        const size_t n = count - done < sizeof words ? count - done : sizeof words;
        const size_t bytes = ql_packed_bytes(n, bits);

        if (n < sizeof words)
            memset(words, 0, sizeof words);
        memcpy(words, codes + done, n);
        for (int i = 0; i < RUN; i++)
            seen |= words[i] & above;
        for (int i = 0; i < 3; i++)
            close_up(words, s.shift[i], s.low[i], s.high[i]);
        for (int i = 0; i < RUN; i++) /* each over the zeros above the one before */
            memcpy(packed + i * bits, &words[i], 8);
        memcpy(out, packed, bytes);
        out += bytes;
        done += n;
    }
    return seen == 0;
}

void
ql_codes_unpack(const uint8_t *packed, size_t count, int bits, uint8_t *codes)
{
    const steps s = steps_of(bits);
    uint64_t words[RUN];
    uint8_t run[8 * RUN + 8] = {0};

    for (size_t done = 0; done < count;) {
        const size_t n = count - done < sizeof words ? count - done : sizeof words;
        const size_t bytes = ql_packed_bytes(n, bits);

        memcpy(run, packed, bytes);
        for (int i = 0; i < RUN; i++)
            memcpy(&words[i], run + i * bits, 8);
        for (int i = 2; i >= 0; i--)
            open_up(words, s.shift[i], s.low[i], s.high[i]);
        memcpy(codes + done, words, n);
        packed += bytes;
        done += n;
    }
}
