/* The decoder of a tokenizer: from the texts of tokens to one text. */
#include "decode.h"

#include <stdlib.h>
#include <string.h>

#include "unicode.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

enum { BYTE_LEVEL, REPLACE, BYTE_FALLBACK, FUSE, STRIP }; /* kinds of steps */

/* --- reading ----------------------------------------------------------------------------------------------------- */

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

/* --- pieces ------------------------------------------------------------------------------------------------------ */

ql_status
ql_pieces_add(ql_ctx *cx, ql_pieces *p, const char *text, size_t bytes)
{
    QL_TRY(cx, ql_grow(cx, &p->items, &p->capacity, p->count + 1, sizeof *p->items));
    p->items[p->count++] = (ql_piece){.at = p->text.count, .bytes = (int64_t)bytes};
    return ql_text_put(cx, &p->text, text, bytes);
}

void
ql_pieces_fini(ql_pieces *p)
{
    free(p->text.data);
    free(p->items);
}

static const char *
piece_text(const ql_pieces *p, int64_t i)
{
    return p->items[i].bytes ? p->text.data + p->items[i].at : "";
}

static void
end_piece(ql_pieces *p) /* what was put after the last piece becomes part of it */
{
    p->items[p->count - 1].bytes = p->text.count - p->items[p->count - 1].at;
}

/* --- steps: from the pieces of `in` to those of `out`, which is empty -------------------------------------------- */

/* Appends bytes as UTF-8; each invalid part becomes one U+FFFD. */
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

static ql_status
byte_level(ql_ctx *cx, const ql_pieces *in, ql_pieces *out)
{
    ql_text raw = {0};
    ql_status st = ql_pieces_add(cx, out, "", 0);

    for (int64_t i = 0; i < in->count && st == QL_OK; i++)
        st = put_bytes(cx, &raw, piece_text(in, i), (size_t)in->items[i].bytes);
    if (st == QL_OK)
        st = put_lossy(cx, &out->text, raw.data, (size_t)raw.count);
    if (st == QL_OK)
        end_piece(out);
    free(raw.data);
    return st;
}

static int
hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static int
fallback_byte(const char *t, int64_t bytes) /* 0x41 for "<0x41>"; -1: no such token */
{
    if (bytes != 6 || memcmp(t, "<0x", 3) != 0 || t[5] != '>' || hex(t[3]) < 0 || hex(t[4]) < 0)
        return -1;
    return hex(t[3]) * 16 + hex(t[4]);
}

/* Byte tokens in a row are one piece; if they are no UTF-8 together, every byte becomes U+FFFD. */
static ql_status
byte_fallback(ql_ctx *cx, const ql_pieces *in, ql_pieces *out)
{
    for (int64_t i = 0, run; i < in->count; i += run) {
        const int64_t begin = out->text.count;
        int byte;
        size_t bad;

        run = 1;
        if (fallback_byte(piece_text(in, i), in->items[i].bytes) < 0) {
            QL_TRY(cx, ql_pieces_add(cx, out, piece_text(in, i), (size_t)in->items[i].bytes));
            continue;
        }
        QL_TRY(cx, ql_pieces_add(cx, out, "", 0));
        for (run = 0; i + run < in->count; run++) {
            char c;

            byte = fallback_byte(piece_text(in, i + run), in->items[i + run].bytes);
            if (byte < 0)
                break;
            c = (char)byte;
            QL_TRY(cx, ql_text_put(cx, &out->text, &c, 1));
        }
        ql_utf8_check(out->text.data + begin, (size_t)run, &bad);
        if (bad) {
            out->text.count = begin;
            for (int64_t k = 0; k < run; k++)
                QL_TRY(cx, ql_text_put(cx, &out->text, replacement, 3));
        }
        end_piece(out);
    }
    return QL_OK;
}

static ql_status
strip(ql_ctx *cx, const ql_text_step *step, const char *text, int64_t bytes, ql_pieces *out)
{
    const int64_t n = (int64_t)strlen(step->text);

    for (int64_t i = 0; i < step->start && bytes >= n && memcmp(text, step->text, (size_t)n) == 0; i++) {
        text += n;
        bytes -= n;
    }
    for (int64_t i = 0; i < step->stop && bytes >= n && memcmp(text + bytes - n, step->text, (size_t)n) == 0; i++)
        bytes -= n;
    return ql_pieces_add(cx, out, text, (size_t)bytes);
}

static ql_status
join(ql_ctx *cx, const ql_pieces *in, const char *between, ql_pieces *out)
{
    QL_TRY(cx, ql_pieces_add(cx, out, "", 0));
    for (int64_t i = 0; i < in->count; i++) {
        if (i)
            QL_TRY(cx, ql_text_put(cx, &out->text, between, strlen(between)));
        QL_TRY(cx, ql_text_put(cx, &out->text, piece_text(in, i), (size_t)in->items[i].bytes));
    }
    end_piece(out);
    return QL_OK;
}

static ql_status
replace(ql_ctx *cx, const ql_text_step *step, const ql_pieces *in, ql_pieces *out)
{
    ql_regex_work work = {0};
    ql_status st = QL_OK;

    for (int64_t i = 0; i < in->count && st == QL_OK; i++) {
        st = ql_pieces_add(cx, out, "", 0);
        if (st == QL_OK)
            st = ql_pattern_replace(cx, &step->pattern, &work, piece_text(in, i), (size_t)in->items[i].bytes,
                                    step->text, &out->text);
        if (st == QL_OK)
            end_piece(out);
    }
    ql_regex_work_fini(&work);
    return st;
}

static ql_status
run_step(ql_ctx *cx, const ql_text_step *step, const ql_pieces *in, ql_pieces *out)
{
    switch (step->kind) {
    case BYTE_LEVEL:
        return byte_level(cx, in, out);
    case BYTE_FALLBACK:
        return byte_fallback(cx, in, out);
    case FUSE:
        return join(cx, in, "", out);
    case REPLACE:
        return replace(cx, step, in, out);
    default:
        for (int64_t i = 0; i < in->count; i++)
            QL_TRY(cx, strip(cx, step, piece_text(in, i), in->items[i].bytes, out));
        return QL_OK;
    }
}

ql_status
ql_decoder_run(ql_ctx *cx, const ql_text_steps *d, ql_pieces *p)
{
    const size_t original = (size_t)p->text.count;
    ql_status st = QL_OK;

    for (int i = 0; i <= d->count && st == QL_OK; i++) {
        ql_pieces next = {0};

        if (i < d->count)
            st = run_step(cx, &d->items[i], p, &next);
        else
            st = join(cx, p, d->present ? "" : " ", &next);
        if (st == QL_OK)
            st = ql_check_growth(cx, "decoder", original, next.text.count);
        ql_pieces_fini(p);
        *p = next;
    }
    return st;
}

ql_status
ql_decoder_clean_up(ql_ctx *cx, ql_text *text)
{
    static const char *const pairs[][2] = {{" .", "."},     {" ?", "?"},     {" !", "!"},   {" ,", ","},
                                           {" ' ", "'"},    {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"},
                                           {" 've", "'ve"}, {" 're", "'re"}};
    ql_status st = QL_OK;

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && st == QL_OK; i++) {
        const ql_pattern from = {.literal = (char *)pairs[i][0], .bytes = strlen(pairs[i][0])};
        ql_text next = {0};

        if (text->count)
            st = ql_pattern_replace(cx, &from, NULL, text->data, (size_t)text->count, pairs[i][1], &next);
        free(text->data);
        *text = next;
    }
    return st;
}
