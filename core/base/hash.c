/* Hashes of files and texts, for names, manifests and fingerprints: 128-bit xxHash. */
#include "hash.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#define READ_BYTES 65536

static void
digits(XXH128_hash_t h, uint64_t out[2])
{
    out[0] = h.high64;
    out[1] = h.low64;
}

void
ql_hash_bytes(const void *data, size_t bytes, uint64_t out[2])
{
    digits(XXH3_128bits(data, bytes), out);
}

ql_status
ql_hash_file(ql_ctx *cx, const char *path, size_t limit, uint64_t out[2])
{
    unsigned char buffer[READ_BYTES];
    FILE *f = fopen(path, "rb");
    XXH3_state_t *state = XXH3_createState();
    ql_status st = QL_OK;
    size_t n = 1;

    if (!f)
        st = QL_FAIL(cx, errno == ENOENT ? QL_NOT_FOUND : QL_IO, "%s: %s", path, strerror(errno));
    else if (!state || XXH3_128bits_reset(state) != XXH_OK)
        st = QL_FAIL(cx, QL_MEMORY, "no memory to hash %s", path);
    while (st == QL_OK && limit > 0 && n > 0) {
        n = fread(buffer, 1, limit < sizeof buffer ? limit : sizeof buffer, f);
        XXH3_128bits_update(state, buffer, n);
        limit -= n;
        st = ferror(f) ? QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno)) : ql_check_interrupt(cx);
    }
    if (st == QL_OK)
        digits(XXH3_128bits_digest(state), out);
    XXH3_freeState(state);
    if (f)
        (void)fclose(f);
    return st;
}

const char *
ql_hash_text(ql_ctx *cx, const uint64_t hash[2])
{
    return ql_format(cx, "%016" PRIx64 "%016" PRIx64, hash[0], hash[1]);
}
