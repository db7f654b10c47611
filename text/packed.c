/* Files of bytes: as they are, or packed with gzip or zstd. */
#include "packed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>
#include <zstd.h>

#include "base/file.h"

#define BLOCK_BYTES 65536

static const unsigned char zstd_begin[4] = {0x28, 0xb5, 0x2f, 0xfd};

static ql_status
system_error(ql_ctx *cx, const char *path)
{
    return QL_FAIL(cx, errno == ENOMEM ? QL_MEMORY : QL_IO, "%s: %s", path, strerror(errno));
}

static ql_status
open_zstd(ql_ctx *cx, int fd, ql_packed *out)
{
    out->fd = fd;
    out->block = ql_heap(cx, BLOCK_BYTES, 1);
    if (!out->block) {
        close(fd);
        return QL_MEMORY;
    }
    out->zstd = ZSTD_createDStream();
    return out->zstd ? QL_OK : QL_FAIL(cx, QL_MEMORY, "%s: no memory to unpack it", out->path);
}

static ql_status
open_gzip(ql_ctx *cx, int fd, ql_packing packing, ql_packed *out)
{
    bool plain;
    int code;

    out->gz = gzdopen(fd, "rb");
    if (!out->gz) {
        close(fd);
        return QL_FAIL(cx, QL_MEMORY, "%s: no memory to read it", out->path);
    }
    gzbuffer(out->gz, BLOCK_BYTES);
    errno = 0;
    plain = gzdirect(out->gz) != 0; /* looks at the first bytes */
    gzerror(out->gz, &code);
    if (code == Z_ERRNO)
        return system_error(cx, out->path);
    if (plain && packing == QL_GZIP)
        return QL_FAIL(cx, QL_INVALID, "%s: its name ends in .gz, but it is not gzip data", out->path);
    if (!plain && packing == QL_PLAIN)
        return QL_FAIL(cx, QL_INVALID, "%s: gzip data, but its name does not end in .gz", out->path);
    return QL_OK;
}

ql_status
ql_packed_open(ql_ctx *cx, const char *path, ql_packing packing, ql_packed *out)
{
    struct stat st;
    int fd;

    *out = (ql_packed){.path = path, .fd = -1};
    QL_TRY(cx, ql_file_open(cx, path, &fd, &st));
    return packing == QL_ZSTD ? open_zstd(cx, fd, out) : open_gzip(cx, fd, packing, out);
}

void
ql_packed_close(ql_packed *p)
{
    if (p->gz)
        gzclose(p->gz);
    if (p->block)
        close(p->fd);
    ZSTD_freeDStream(p->zstd);
    free(p->block);
    *p = (ql_packed){0};
}

static ql_status
damaged(ql_ctx *cx, const ql_packed *p, const char *kind, const char *how)
{
    return QL_FAIL(cx, QL_INVALID, "%s: the %s data %s after %lld bytes of text", p->path, kind, how,
                   (long long)p->given);
}

/* A gzip file that ends too early gives what there is and says so at its end only. */
static ql_status
read_gzip(ql_ctx *cx, ql_packed *p, char *out, size_t most, size_t *got)
{
    int code, n;

    errno = 0;
    n = gzread(p->gz, out, (unsigned)most);
    *got = n > 0 ? (size_t)n : 0;
    gzerror(p->gz, &code);
    if (n < 0 && code == Z_ERRNO)
        return system_error(cx, p->path);
    if (n < 0 && code == Z_MEM_ERROR)
        return QL_FAIL(cx, QL_MEMORY, "%s: no memory to unpack it", p->path);
    if (code == Z_BUF_ERROR && *got == 0)
        return damaged(cx, p, "gzip", "end too early,");
    return n < 0 ? damaged(cx, p, "gzip", "are damaged") : QL_OK;
}

static ql_status
fill(ql_ctx *cx, ql_packed *p)
{
    ssize_t n;

    do
        n = read(p->fd, p->block, BLOCK_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return system_error(cx, p->path);
    p->at = 0;
    p->filled = (size_t)n;
    if (!p->begun && (n < 4 || memcmp(p->block, zstd_begin, 4) != 0))
        return QL_FAIL(cx, QL_INVALID, "%s: its name ends in .zst, but it is not zstd data", p->path);
    p->begun = true;
    return QL_OK;
}

static ql_status
read_zstd(ql_ctx *cx, ql_packed *p, char *out, size_t most, size_t *got)
{
    ZSTD_outBuffer to = {.dst = out, .size = most};

    while (to.pos == 0) {
        ZSTD_inBuffer from;
        size_t code;

        if (p->at == p->filled)
            QL_TRY(cx, fill(cx, p));
        from = (ZSTD_inBuffer){.src = p->block, .size = p->filled, .pos = p->at};
        code = ZSTD_decompressStream(p->zstd, &to, &from);
        if (ZSTD_isError(code))
            return damaged(cx, p, "zstd", "are damaged");
        if (to.pos == 0 && !p->filled) /* the end of the file */
            return p->open_frame ? damaged(cx, p, "zstd", "end too early,") : QL_OK;
        p->open_frame = code != 0;
        p->at = from.pos;
    }
    *got = to.pos;
    return QL_OK;
}

ql_status
ql_packed_read(ql_ctx *cx, ql_packed *p, char *out, size_t most, size_t *got)
{
    ql_status st;

    *got = 0;
    st = p->zstd ? read_zstd(cx, p, out, most, got) : read_gzip(cx, p, out, most, got);
    p->failed = st != QL_OK;
    p->given += (int64_t)*got;
    return st;
}
