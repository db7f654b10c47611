/* The decoder of a tokenizer: from the texts of tokens to one text. */
#include "decode.h"

#include <stdlib.h>
#include <string.h>

#include "unicode.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* --- reading ----------------------------------------------------------------------------------------------------- */

static ql_status
read_strip(ql_ctx *cx, const ql_json *v, ql_decoder_step *step)
{
    QL_TRY(cx, ql_read_text(cx, v, "content", &step->from));
    QL_TRY(cx, ql_json_int(cx, v, "start", 0, &step->start));
    QL_TRY(cx, ql_json_int(cx, v, "stop", 0, &step->stop));
    return *step->from ? QL_OK : ql_json_expected(cx, ql_json_member(v, "content"), "a character");
}

static ql_status
read_step(ql_ctx *cx, const ql_json *v, const char *type, ql_decoder_step *step)
{
    static const char *const types[] = {"ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip"};

    for (int i = 0; i < (int)(sizeof types / sizeof *types); i++) {
        if (strcmp(type, types[i]) != 0)
            continue;
        step->kind = (ql_decoder_kind)i;
        if (step->kind == QL_DECODE_REPLACE)
            return ql_read_replace(cx, v, &step->from, &step->to);
        return step->kind == QL_DECODE_STRIP ? read_strip(cx, v, step) : QL_OK;
    }
    return ql_unsupported_type(cx, v, "ByteLevel, Replace, ByteFallback, Fuse, Strip, Sequence");
}

ql_status
ql_decoder_read(ql_ctx *cx, const ql_json *v, ql_decoder *out)
{
    const char *type;

    if (!v)
        return QL_OK;
    out->present = true;
    QL_TRY(cx, ql_json_text(cx, v, "type", "", &type));
    if (strcmp(type, "Sequence") == 0) {
        const ql_json *list = ql_json_member(v, "decoders");

        for (int64_t i = 0; i < ql_json_length(list); i++)
            QL_TRY(cx, ql_decoder_read(cx, ql_json_item(list, i), out));
        return QL_OK;
    }
    if (out->count == QL_DECODER_STEPS)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: more than %d steps are not supported", ql_json_where(cx, v),
                       QL_DECODER_STEPS);
    return read_step(cx, v, type, &out->steps[out->count++]);
}

void
ql_decoder_fini(ql_decoder *d)
{
    for (int i = 0; i < d->count; i++) {
        free(d->steps[i].from);
        free(d->steps[i].to);
    }
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
strip(ql_ctx *cx, const ql_decoder_step *step, const char *text, int64_t bytes, ql_pieces *out)
{
    const int64_t n = (int64_t)strlen(step->from);

    for (int64_t i = 0; i < step->start && bytes >= n && memcmp(text, step->from, (size_t)n) == 0; i++) {
        text += n;
        bytes -= n;
    }
    for (int64_t i = 0; i < step->stop && bytes >= n && memcmp(text + bytes - n, step->from, (size_t)n) == 0; i++)
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
run_step(ql_ctx *cx, const ql_decoder_step *step, const ql_pieces *in, ql_pieces *out)
{
    switch (step->kind) {
    case QL_DECODE_BYTE_LEVEL:
        return byte_level(cx, in, out);
    case QL_DECODE_BYTE_FALLBACK:
        return byte_fallback(cx, in, out);
    case QL_DECODE_FUSE:
        return join(cx, in, "", out);
    case QL_DECODE_REPLACE:
        for (int64_t i = 0; i < in->count; i++) {
            QL_TRY(cx, ql_pieces_add(cx, out, "", 0));
            QL_TRY(cx, ql_text_replace(cx, &out->text, piece_text(in, i), (size_t)in->items[i].bytes, step->from,
                                       step->to));
            end_piece(out);
        }
        return QL_OK;
    case QL_DECODE_STRIP:
    default:
        for (int64_t i = 0; i < in->count; i++)
            QL_TRY(cx, strip(cx, step, piece_text(in, i), in->items[i].bytes, out));
        return QL_OK;
    }
}

ql_status
ql_decoder_run(ql_ctx *cx, const ql_decoder *d, ql_pieces *p)
{
    ql_status st = QL_OK;

    for (int i = 0; i <= d->count && st == QL_OK; i++) {
        ql_pieces next = {0};

        if (i < d->count)
            st = run_step(cx, &d->steps[i], p, &next);
        else
            st = join(cx, p, d->present ? "" : " ", &next);
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
        ql_text next = {0};

        st = ql_text_replace(cx, &next, text->data, (size_t)text->count, pairs[i][0], pairs[i][1]);
        free(text->data);
        *text = next;
    }
    return st;
}
