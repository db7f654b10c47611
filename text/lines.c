/* Lines of a text file: valid UTF-8 only, without a byte order mark. */
#include "lines.h"

#include <stdlib.h>
#include <string.h>

#include <qloom/tokenizer.h>

#include "base/json.h"

#define BLOCK_BYTES 65536
#define LINE_BYTES ((size_t)1 << 30) /* of a line; a larger one is no text, but a file of another kind */

ql_status
ql_lines_open(ql_ctx *cx, const char *path, ql_packing packing, ql_lines *out)
{
    out->block = ql_heap(cx, BLOCK_BYTES, 1);
    return out->block ? ql_packed_open(cx, path, packing, &out->file) : QL_MEMORY;
}

void
ql_lines_close(ql_lines *l)
{
    ql_packed_close(&l->file);
    free(l->block);
    free(l->raw.data);
    free(l->clean.data);
}

static ql_status
fill(ql_ctx *cx, ql_lines *l)
{
    l->at = 0;
    return ql_packed_read(cx, &l->file, l->block, BLOCK_BYTES, &l->filled);
}

/* Where the line's end stands in what was read; NULL: further on. */
static const char *
find_end(const ql_lines *l)
{
    const char *begin = l->block + l->at, *end = memchr(begin, '\n', l->filled - l->at), *other = NULL;

    if (l->universal)
        other = memchr(begin, '\r', end ? (size_t)(end - begin) : l->filled - l->at);
    return other ? other : end;
}

/* The \n behind a \r that ended a line belongs to the same line end. */
static ql_status
end_with_return(ql_ctx *cx, ql_lines *l, int64_t *taken)
{
    l->raw.data[l->raw.count - 1] = '\n';
    l->line_ends++;
    if (l->at == l->filled)
        QL_TRY(cx, fill(cx, l));
    if (l->at < l->filled && l->block[l->at] == '\n') {
        l->at++;
        ++*taken;
    }
    return QL_OK;
}

/* The next line, in l->raw; `taken`: how many bytes of the file it was. */
static ql_status
raw_line(ql_ctx *cx, ql_lines *l, int64_t *taken)
{
    l->raw.count = *taken = 0;
    for (const char *end = NULL; !end;) {
        size_t n;

        if (l->at == l->filled)
            QL_TRY(cx, fill(cx, l));
        if (!l->filled)
            break;
        end = find_end(l);
        n = end ? (size_t)(end + 1 - (l->block + l->at)) : l->filled - l->at;
        if ((size_t)l->raw.count + n > LINE_BYTES)
            return QL_FAIL(cx, QL_INVALID, "%s:%lld: a line of more than %zu bytes", l->file.path,
                           (long long)l->line + 1, LINE_BYTES);
        QL_TRY(cx, ql_text_put(cx, &l->raw, l->block + l->at, n));
        l->at += n;
        *taken += (int64_t)n;
    }
    if (l->universal && l->raw.count && l->raw.data[l->raw.count - 1] == '\r')
        QL_TRY(cx, end_with_return(cx, l, taken));
    l->line++;
    return QL_OK;
}

/* Every part of `line` that is no UTF-8 becomes U+FFFD, in l->clean. */
static ql_status
replace_invalid(ql_ctx *cx, ql_lines *l, const char *line, size_t bytes)
{
    size_t bad, good;

    l->clean.count = 0;
    for (; bytes; line += good + bad, bytes -= good + bad) {
        good = ql_utf8_check(line, bytes, &bad);
        QL_TRY(cx, ql_text_put(cx, &l->clean, line, good));
        if (bad)
            QL_TRY(cx, ql_text_put(cx, &l->clean, "\xef\xbf\xbd", 3));
    }
    return QL_OK;
}

/* What a download left in place of the file, and UTF-16, are refused; a byte order mark of UTF-8 is left out. */
static ql_status
check_begin(ql_ctx *cx, ql_lines *l, const char **line, size_t *bytes)
{
    const unsigned char *s = (const unsigned char *)*line;

    const char *wrong = l->line == 1 && *bytes && **line != '\xef' ? ql_known_wrong(*line, *bytes) : NULL;

    if (l->line == 1 && *bytes >= 2 && ((s[0] == 0xff && s[1] == 0xfe) || (s[0] == 0xfe && s[1] == 0xff)))
        return QL_FAIL(cx, QL_INVALID, "%s: UTF-16, by its byte order mark; texts are UTF-8: iconv -f UTF-16 -t UTF-8",
                       l->file.path);
    if (wrong)
        return QL_FAIL(cx, QL_INVALID, "%s: %s", l->file.path, wrong);
    if ((l->line == 1 || l->marks) && *bytes >= 3 && memcmp(*line, "\xef\xbb\xbf", 3) == 0) {
        *line += 3;
        *bytes -= 3;
        l->offset += 3;
    }
    return QL_OK;
}

ql_status
ql_lines_next(ql_ctx *cx, ql_lines *l, const char **line, size_t *bytes)
{
    const int64_t begin = l->after;
    int64_t taken;
    size_t bad, good;

    QL_TRY(cx, raw_line(cx, l, &taken));
    l->offset = begin;
    l->after = begin + taken;
    *line = l->raw.count ? l->raw.data : NULL;
    *bytes = (size_t)l->raw.count;
    if (!*line)
        return QL_OK;
    QL_TRY(cx, check_begin(cx, l, line, bytes));
    good = ql_utf8_check(*line, *bytes, &bad);
    if (good == *bytes)
        return QL_OK;
    if (!l->replace)
        return QL_FAIL(cx, QL_INVALID,
                       "%s:%lld: not UTF-8 at byte %lld of the file (0x%02X); 'errors: replace' goes on with U+FFFD",
                       l->file.path, (long long)l->line, (long long)l->offset + (long long)good,
                       (unsigned char)(*line)[good]);
    QL_TRY(cx, replace_invalid(cx, l, *line, *bytes));
    *line = l->clean.data;
    *bytes = (size_t)l->clean.count;
    return QL_OK;
}

size_t
ql_line_length(const char *line, size_t bytes)
{
    if (bytes && line[bytes - 1] == '\n')
        bytes--;
    if (bytes && line[bytes - 1] == '\r')
        bytes--;
    return bytes;
}

bool
ql_line_blank(const char *line, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)line[i] > ' ')
            return false;
    return true;
}
