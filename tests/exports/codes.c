/* Codes read from the published words, and against single bits. */
#include "plugins/formats/codes.h"

#include "test.h"

static void
published(int bits, const uint32_t *codes, const uint32_t *words, int count)
{
    for (int n = 0; n < 32 * count / bits; n++)
        CHECK_INT(codes_get(words, 1, n, bits), codes[n]);
}

/* Codes that count up, and the symmetric zeros of both versions. */
static void
test_published(void)
{
    static const uint32_t up[9][8] = {
        [2] = {0xE4E4E4E4, 0xE4E4E4E4},
        [3] = {0x88FAC688, 0xC688FAC6, 0xFAC688FA},
        [4] = {0x76543210, 0xFEDCBA98, 0x76543210, 0xFEDCBA98},
        [8] = {0x03020100, 0x07060504, 0x0B0A0908, 0x0F0E0D0C, 0x13121110, 0x17161514, 0x1B1A1918, 0x1F1E1D1C},
    };
    static const uint32_t less[9][3] = {[2] = {0x55555555, 0x55555555},
                                        [3] = {0xDB6DB6DB, 0xB6DB6DB6, 0x6DB6DB6D},
                                        [4] = {0x77777777, 0x77777777},
                                        [8] = {0x7F7F7F7F, 0x7F7F7F7F}};
    static const uint32_t exact[9][3] = {[2] = {0xAAAAAAAA, 0xAAAAAAAA},
                                         [3] = {0x24924924, 0x49249249, 0x92492492},
                                         [4] = {0x88888888, 0x88888888},
                                         [8] = {0x80808080, 0x80808080}};
    static const int widths[] = {2, 3, 4, 8};

    for (int i = 0; i < 4; i++) {
        const int b = widths[i];
        uint32_t codes[32], mid[32], below[32];

        for (uint32_t n = 0; n < 32; n++) {
            codes[n] = n & ((1u << b) - 1);
            mid[n] = 1u << (b - 1);
            below[n] = mid[n] - 1;
        }
        published(b, codes, up[b], b);
        published(b, below, less[b], b == 3 ? 3 : 2);
        published(b, mid, exact[b], b == 3 ? 3 : 2);
    }
}

/* Stream bit t is bit t mod 32 of word t / 32, in columns of a table as well. */
static void
test_bits(uint64_t *rng)
{
    for (int round = 0; round < 200; round++) {
        const int bits = 1 + (int)(test_u64(rng) % 8);
        const int64_t count = 1 + (int64_t)(test_u64(rng) % 70), stride = 1 + (int64_t)(test_u64(rng) % 5);
        const int64_t words = codes_words(count, bits);
        uint32_t *packed = calloc((size_t)(words * stride), sizeof *packed);

        if (!packed)
            abort();
        CHECK_INT(words, (count * bits + 31) / 32);
        for (int64_t i = 0; i < words * stride; i++)
            packed[i] = (uint32_t)test_u64(rng);
        for (int64_t n = 0; n < count; n++) {
            uint32_t code = 0;

            for (int64_t t = n * bits; t < (n + 1) * bits; t++)
                code |= (packed[t / 32 * stride + stride - 1] >> t % 32 & 1) << (t - n * bits);
            CHECK_INT(codes_get(packed + stride - 1, stride, n, bits), code);
        }
        free(packed);
    }
}

int
main(void)
{
    uint64_t rng = test_seed();

    test_published();
    test_bits(&rng);
    return TEST_DONE();
}
