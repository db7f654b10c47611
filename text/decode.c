/* The decoder of a tokenizer: from the texts of tokens to one text. */
#include "decode.h"

#include <stdlib.h>
#include <string.h>

#include "normalize.h"
#include "unicode.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

enum { BYTE_LEVEL, REPLACE, BYTE_FALLBACK, FUSE, STRIP }; /* kinds of steps */

static ql_status
read_strip(ql_ctx *cx, const ql_json *v, int kind, void *steps)
{
    ql_text_step *step = NULL;

    QL_TRY(cx, ql_step_add(cx, v, kind, steps, &step));
    QL_TRY(cx, ql_read_text(cx, v, "content", &step->text));
    QL_TRY(cx, ql_json_int(cx, v, "start", 0, &step->start));
    QL_TRY(cx, ql_json_int(cx, v, "stop", 0, &step->stop));
    return *step->text ? QL_OK : ql_json_expected(cx, ql_json_member(v, "content"), "a character");
}

ql_status
ql_decoder_read(ql_ctx *cx, const ql_json *v, ql_text_steps *out)
{
    static const ql_component_type types[] = {{"ByteLevel", BYTE_LEVEL, ql_step_read},
                                              {"Replace", REPLACE, ql_step_read_replace},
                                              {"ByteFallback", BYTE_FALLBACK, ql_step_read},
                                              {"Fuse", FUSE, ql_step_read},
                                              {"Strip", STRIP, read_strip},
                                              {0}};

    out->present = v != NULL;
    return ql_component_read(cx, v, "decoders", types, out);
}

/* --- what a step makes of one piece ------------------------------------------------------------------------------ */

/* Bytes as UTF-8; each invalid part becomes one U+FFFD. */
static ql_status
put_lossy(ql_ctx *cx, ql_text *out, const char *data, size_t bytes)
{
    size_t bad, good;

    for (; bytes; data += good + bad, bytes -= good + bad) {
        good = ql_utf8_check(data, bytes, &bad);
        QL_TRY(cx, ql_text_put(cx, out, data, good));
        if (bad)
            QL_TRY(cx, ql_text_put(cx, out, replacement, 3));
    }
    return QL_OK;
}

/* The bytes of a token in the byte-level alphabet; one with a character outside it stands for its own UTF-8. */
static ql_status
put_bytes(ql_ctx *cx, ql_text *out, const char *text, size_t bytes)
{
    const int64_t begin = out->count;
    size_t step;

    for (size_t i = 0; i < bytes; i += step) {
        int byte = ql_byte_of_char(ql_utf8_char((const unsigned char *)text + i, &step));
        char c = (char)byte;

        if (byte < 0) {
            out->count = begin;
            return ql_text_put(cx, out, text, bytes);
        }
        QL_TRY(cx, ql_text_put(cx, out, &c, 1));
    }
    return QL_OK;
}

static int
hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static int
fallback_byte(const char *t, size_t bytes) /* 0x41 for "<0x41>"; -1: no such token */
{
    if (bytes != 6 || memcmp(t, "<0x", 3) != 0 || t[5] != '>' || hex(t[3]) < 0 || hex(t[4]) < 0)
        return -1;
    return hex(t[3]) * 16 + hex(t[4]);
}

/* Ends a run of bytes, which began at *run of `out`, as one piece; if they are no UTF-8 together, every byte becomes
 * U+FFFD. */
static ql_status
end_run(ql_ctx *cx, ql_text *out, int64_t *run)
{
    const int64_t begin = *run;
    int64_t bytes = out->count - begin;
    size_t bad;

    *run = -1;
    if (begin < 0)
        return QL_OK;
    ql_utf8_check(out->data + begin, (size_t)bytes, &bad);
    if (bad)
        for (out->count = begin; bytes > 0; bytes--)
            QL_TRY(cx, ql_text_put(cx, out, replacement, 3));
    return ql_text_put(cx, out, QL_PIECE_END, 1);
}

/* Byte tokens in a row are one piece. */
static ql_status
byte_fallback(ql_ctx *cx, const char *text, size_t bytes, ql_text *out, int64_t *run)
{
    const int byte = fallback_byte(text, bytes);
    const char c = (char)byte;

    if (byte >= 0) {
        *run = *run < 0 ? out->count : *run;
        return ql_text_put(cx, out, &c, 1);
    }
    QL_TRY(cx, end_run(cx, out, run));
    return ql_text_put(cx, out, text, bytes + 1);
}

static ql_status
strip(ql_ctx *cx, const ql_text_step *step, const char *text, size_t bytes, ql_text *out)
{
    const size_t n = strlen(step->text);

    for (int64_t i = 0; i < step->start && bytes >= n && memcmp(text, step->text, n) == 0; i++) {
        text += n;
        bytes -= n;
    }
    for (int64_t i = 0; i < step->stop && bytes >= n && memcmp(text + bytes - n, step->text, n) == 0; i++)
        bytes -= n;
    QL_TRY(cx, ql_text_put(cx, out, text, bytes));
    return ql_text_put(cx, out, QL_PIECE_END, 1);
}

/* --- steps over all pieces --------------------------------------------------------------------------------------- */

static ql_status
run_piece(ql_ctx *cx, const ql_text_step *step, ql_regex_work *work, const char *text, size_t bytes, ql_text *out,
          int64_t *run)
{
    switch (step->kind) {
    case BYTE_LEVEL:
        return put_bytes(cx, out, text, bytes);
    case BYTE_FALLBACK:
        return byte_fallback(cx, text, bytes, out, run);
    case REPLACE:
        QL_TRY(cx, ql_pattern_replace(cx, &step->pattern, work, text, bytes, step->text, out));
        return ql_text_put(cx, out, QL_PIECE_END, 1);
    case STRIP:
        return strip(cx, step, text, bytes, out);
    default:
        return ql_text_put(cx, out, text, bytes);
    }
}

/* What makes one piece of all of them leaves it without its end until here. */
static ql_status
end_step(ql_ctx *cx, const ql_text_step *step, ql_text *out, int64_t *run)
{
    ql_text raw = *out;
    ql_status st;

    if (step->kind == BYTE_FALLBACK)
        return end_run(cx, out, run);
    if (step->kind == FUSE)
        return ql_text_put(cx, out, QL_PIECE_END, 1);
    if (step->kind != BYTE_LEVEL)
        return QL_OK;
    *out = (ql_text){0};
    st = put_lossy(cx, out, raw.data, (size_t)raw.count);
    free(raw.data);
    return st == QL_OK ? ql_text_put(cx, out, QL_PIECE_END, 1) : st;
}

static ql_status
run_step(ql_ctx *cx, const ql_text_step *step, ql_regex_work *work, const ql_text *in, ql_text *out)
{
    int64_t run = -1;
    size_t bytes;

    for (const char *at = in->count ? in->data : "", *end = at + in->count; at < end; at += bytes + 1) {
        bytes = (size_t)((const char *)memchr(at, 0xff, (size_t)(end - at)) - at);
        QL_TRY(cx, run_piece(cx, step, work, at, bytes, out, &run));
    }
    return end_step(cx, step, out, &run);
}

/* The pieces without their ends, which are spaces where there is no decoder. */
static void
join(ql_text *text, bool spaces)
{
    int64_t count = 0;

    for (int64_t i = 0; i < text->count; i++)
        if (text->data[i] != QL_PIECE_END[0])
            text->data[count++] = text->data[i];
        else if (spaces && i + 1 < text->count)
            text->data[count++] = ' ';
    text->count = count;
}

ql_status
ql_decoder_run(ql_ctx *cx, const ql_text_steps *d, ql_text *text)
{
    const size_t original = (size_t)text->count;
    ql_regex_work work = {0};
    ql_status st = QL_OK;

    for (int i = 0; i < d->count && st == QL_OK; i++) {
        ql_text next = {0};

        st = run_step(cx, &d->items[i], &work, text, &next);
        if (st == QL_OK)
            st = ql_check_growth(cx, "decoder", original, next.count);
        free(text->data);
        *text = next;
    }
    join(text, !d->present);
    ql_regex_work_fini(&work);
    return st;
}

ql_status
ql_decoder_clean_up(ql_ctx *cx, ql_text *text)
{
    static const char *const pairs[][2] = {{" .", "."},     {" ?", "?"},     {" !", "!"},   {" ,", ","},
                                           {" ' ", "'"},    {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"},
                                           {" 've", "'ve"}, {" 're", "'re"}};
    ql_status st = QL_OK;

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && st == QL_OK && text->count; i++) {
        const ql_pattern from = {.literal = (char *)pairs[i][0], .bytes = strlen(pairs[i][0])};
        ql_text next = {0};

        st = ql_pattern_replace(cx, &from, NULL, text->data, (size_t)text->count, pairs[i][1], &next);
        free(text->data);
        *text = next;
    }
    return st;
}
