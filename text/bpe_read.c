/* The model of a tokenizer.json, type BPE: vocabulary, merges and flags, checked and tabulated. */
#include <stdio.h>
#include <string.h>

#include "bpe.h"
#include "component.h"
#include "unicode.h"

static ql_status
refuse_affix(ql_ctx *cx, const ql_json *model, const char *key)
{
    const char *text;

    QL_TRY(cx, ql_json_text(cx, model, key, "", &text));
    if (*text)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: %s %s is not supported", ql_json_where(cx, model), key,
                       ql_json_quote(cx, text, strlen(text)));
    return QL_OK;
}

static ql_status
refuse_extras(ql_ctx *cx, const ql_json *model)
{
    const char *type;
    double dropout;

    QL_TRY(cx, ql_json_text(cx, model, "type", "BPE", &type));
    if (strcmp(type, "BPE") != 0)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: type \"%s\" is not supported (supported: BPE)",
                       ql_json_where(cx, model), type);
    QL_TRY(cx, ql_json_real(cx, model, "dropout", 0, &dropout));
    if (dropout > 0 || dropout < 0)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: dropout %g is not supported", ql_json_where(cx, model), dropout);
    QL_TRY(cx, refuse_affix(cx, model, "continuing_subword_prefix"));
    return refuse_affix(cx, model, "end_of_word_suffix");
}

static ql_status
read_unk(ql_ctx *cx, const ql_json *model, ql_bpe *out)
{
    const char *unk;

    out->unk = -1;
    QL_TRY(cx, ql_json_text(cx, model, "unk_token", NULL, &unk));
    if (!unk)
        return QL_OK;
    out->unk = (int32_t)ql_vocab_find(&out->vocab, unk, strlen(unk));
    if (out->unk < 0) /* fine as long as no text needs it */
        out->unk = QL_UNK_UNKNOWN;
    return QL_OK;
}

static void
tabulate(ql_bpe *m)
{
    char text[8];

    for (unsigned i = 0; i < 256; i++) {
        size_t n = 6;

        if (m->byte_level)
            n = ql_utf8_put(ql_byte_char(i), text);
        else
            snprintf(text, sizeof text, "<0x%02X>", i);
        m->bytes[i] = (int32_t)ql_vocab_find(&m->vocab, text, n);
    }
    for (unsigned i = 0; i < 128; i++)
        m->ascii[i] = (int32_t)ql_vocab_find(&m->vocab, (const char[]){(char)i}, 1);
}

ql_status
ql_bpe_read(ql_ctx *cx, const ql_json *model, bool byte_level, ql_bpe *out)
{
    const ql_json *vocab = ql_json_member(model, "vocab"), *merges = ql_json_member(model, "merges");

    QL_TRY(cx, refuse_extras(cx, model));
    if (!ql_json_is_object(vocab) || !ql_json_is_array(merges))
        return QL_FAIL(cx, QL_INVALID, "%s: no '%s', %s", ql_json_where(cx, model),
                       ql_json_is_object(vocab) ? "merges" : "vocab",
                       ql_json_is_object(vocab) ? "an array" : "an object");
    QL_TRY(cx, ql_vocab_read(cx, vocab, &out->vocab));
    QL_TRY(cx, ql_merges_read(cx, merges, &out->vocab, &out->merges));
    QL_TRY(cx, read_unk(cx, model, out));
    QL_TRY(cx, ql_json_bool(cx, model, "byte_fallback", false, &out->byte_fallback));
    QL_TRY(cx, ql_json_bool(cx, model, "fuse_unk", false, &out->fuse_unk));
    QL_TRY(cx, ql_json_bool(cx, model, "ignore_merges", false, &out->ignore_merges));
    out->byte_level = byte_level;
    tabulate(out);
    return QL_OK;
}

void
ql_bpe_fini(ql_bpe *m)
{
    ql_vocab_fini(&m->vocab);
    ql_merges_fini(&m->merges);
}
