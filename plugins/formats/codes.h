/* Codes of 1 to 8 bits in 32-bit words: a bit stream, least significant bit first, whose words lie `stride` words apart. */
#ifndef FORMATS_CODES_H
#define FORMATS_CODES_H

#include <stdint.h>

/* Words that `count` codes fill. */
static inline int64_t
codes_words(int64_t count, int bits)
{
    return (count * bits + 31) / 32;
}

static inline uint32_t
codes_get(const uint32_t *words, int64_t stride, int64_t n, int bits)
{
    const int64_t at = n * bits;
    const int shift = (int)(at % 32);
    uint32_t code = words[at / 32 * stride] >> shift;

    if (shift + bits > 32)
        code |= words[(at / 32 + 1) * stride] << (32 - shift);
    return code & ((1u << bits) - 1);
}

#endif
