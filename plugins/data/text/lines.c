/* Files, plain or gzip, line by line: valid UTF-8 only, without a byte order mark. */
#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "text.h"

#define BLOCK_BYTES 65536
#define LINE_BYTES ((size_t)1 << 30) /* of a line; a larger one is no text, but a file of another kind */

static ql_status
system_error(ql_ctx *cx, const char *path)
{
    return QL_FAIL(cx,
                   errno == ENOENT   ? QL_NOT_FOUND
                   : errno == ENOMEM ? QL_MEMORY
                                     : QL_IO,
                   "%s: %s", path, strerror(errno));
}

static bool
named_gz(const char *path)
{
    size_t n = strlen(path);

    return n > 3 && strcmp(path + n - 3, ".gz") == 0;
}

ql_status
text_file_open(ql_ctx *cx, const char *path, bool replace, text_file *out)
{
    const char *unexpected;
    ql_status st;
    bool plain;
    int code;

    *out = (text_file){.path = path, .replace = replace, .block = ql_alloc(cx, BLOCK_BYTES, 1)};
    if (!out->block)
        return QL_MEMORY;
    errno = 0;
    out->gz = gzopen(path, "rb");
    if (!out->gz)
        return system_error(cx, path);
    gzbuffer(out->gz, BLOCK_BYTES);
    plain = gzdirect(out->gz) != 0; /* looks at the first bytes, so a folder is an error here */
    gzerror(out->gz, &code);
    unexpected =
        plain ? "its name ends in .gz, but it is not gzip data" : "gzip data, but its name does not end in .gz";
    if (code == Z_ERRNO)
        st = system_error(cx, path);
    else if (plain == named_gz(path))
        st = QL_FAIL(cx, QL_INVALID, "%s: %s", path, unexpected);
    else
        return QL_OK;
    text_file_close(out);
    return st;
}

void
text_file_close(text_file *f)
{
    if (f->gz)
        gzclose(f->gz);
    f->gz = NULL;
}

/* Reads a block. A gzip file that ends too early gives what there is and says so at its end only. */
static ql_status
fill(ql_ctx *cx, text_file *f)
{
    int code, n;

    errno = 0;
    n = gzread(f->gz, f->block, BLOCK_BYTES);
    f->at = 0;
    f->filled = n > 0 ? (size_t)n : 0;
    gzerror(f->gz, &code);
    if (n < 0 && code == Z_ERRNO)
        return system_error(cx, f->path);
    if (n < 0 && code == Z_MEM_ERROR)
        return QL_FAIL(cx, QL_MEMORY, "%s: no memory to unpack it", f->path);
    if (code == Z_BUF_ERROR && f->filled == 0)
        return QL_FAIL(cx, QL_INVALID, "%s: the gzip data end too early, after %lld bytes of text", f->path,
                       (long long)f->after);
    if (n < 0)
        return QL_FAIL(cx, QL_INVALID, "%s: the gzip data are damaged after %lld bytes of text", f->path,
                       (long long)f->after);
    return QL_OK;
}

/* The next line as it stands, in f->whole. */
static ql_status
raw_line(ql_ctx *cx, text_file *f)
{
    f->whole.count = 0;
    for (const char *end = NULL; !end;) {
        size_t n;

        if (f->at == f->filled)
            QL_TRY(cx, fill(cx, f));
        if (!f->filled)
            break;
        end = memchr(f->block + f->at, '\n', f->filled - f->at);
        n = end ? (size_t)(end + 1 - (f->block + f->at)) : f->filled - f->at;
        if (f->whole.count + n > LINE_BYTES)
            return QL_FAIL(cx, QL_INVALID, "%s:%lld: a line of more than %zu bytes", f->path, (long long)f->line + 1,
                           LINE_BYTES);
        QL_TRY(cx, text_put(cx, &f->whole, f->block + f->at, n));
        f->at += n;
    }
    f->line++;
    f->offset = f->after;
    f->after += (int64_t)f->whole.count;
    return QL_OK;
}

/* Every part of `line` that is no UTF-8 becomes U+FFFD, in f->clean. */
static ql_status
replace_invalid(ql_ctx *cx, text_file *f, const char *line, size_t bytes)
{
    size_t bad, good;

    f->clean.count = 0;
    for (; bytes; line += good + bad, bytes -= good + bad) {
        good = ql_utf8_check(line, bytes, &bad);
        QL_TRY(cx, text_put(cx, &f->clean, line, good));
        if (bad)
            QL_TRY(cx, text_put(cx, &f->clean, "\xef\xbf\xbd", 3));
    }
    return QL_OK;
}

ql_status
text_file_line(ql_ctx *cx, text_file *f, const char **line, size_t *bytes)
{
    size_t bad, good;

    QL_TRY(cx, raw_line(cx, f));
    *line = f->whole.count ? f->whole.data : NULL;
    *bytes = f->whole.count;
    if (f->line == 1 && *bytes >= 3 && memcmp(*line, "\xef\xbb\xbf", 3) == 0) {
        *line += 3;
        *bytes -= 3;
        f->offset = 3;
    }
    good = *line ? ql_utf8_check(*line, *bytes, &bad) : *bytes;
    if (good == *bytes)
        return QL_OK;
    if (!f->replace)
        return QL_FAIL(cx, QL_INVALID,
                       "%s:%lld: not UTF-8 at byte %lld of the file (0x%02X); 'errors: replace' goes on with U+FFFD",
                       f->path, (long long)f->line, (long long)f->offset + (long long)good,
                       (unsigned char)(*line)[good]);
    QL_TRY(cx, replace_invalid(cx, f, *line, *bytes));
    *line = f->clean.data;
    *bytes = f->clean.count;
    return QL_OK;
}

size_t
text_line_end(const char *line, size_t bytes)
{
    if (bytes && line[bytes - 1] == '\n')
        bytes--;
    if (bytes && line[bytes - 1] == '\r')
        bytes--;
    return bytes;
}

bool
text_line_blank(const char *line, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)line[i] > ' ')
            return false;
    return true;
}
