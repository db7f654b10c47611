/* Hashes of files and texts, for names, manifests and fingerprints: 128-bit xxHash. */
#include "hash.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "file.h"

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

static ql_status
hash_open_file(ql_ctx *cx, const char *path, int fd, size_t limit, XXH3_state_t *state)
{
    unsigned char buffer[READ_BYTES];

    while (limit > 0) {
        const ssize_t n = read(fd, buffer, limit < sizeof buffer ? limit : sizeof buffer);

        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
        if (n > 0) {
            (void)XXH3_128bits_update(state, buffer, (size_t)n); /* fails for NULL only */
            limit -= (size_t)n;
        }
        QL_TRY(cx, ql_check_interrupt(cx));
    }
    return QL_OK;
}

ql_status
ql_hash_file(ql_ctx *cx, const char *path, size_t limit, uint64_t out[2])
{
    XXH3_state_t *state;
    struct stat info;
    ql_status st;
    int fd;

    QL_TRY(cx, ql_file_open(cx, path, &fd, &info));
    state = XXH3_createState();
    if (state && XXH3_128bits_reset(state) == XXH_OK)
        st = hash_open_file(cx, path, fd, limit, state);
    else
        st = QL_FAIL(cx, QL_MEMORY, "no memory to hash %s", path);
    if (st == QL_OK)
        digits(XXH3_128bits_digest(state), out);
    XXH3_freeState(state);
    close(fd);
    return st;
}

const char *
ql_hash_text(ql_ctx *cx, const uint64_t hash[2])
{
    return ql_format(cx, "%016" PRIx64 "%016" PRIx64, hash[0], hash[1]);
}
