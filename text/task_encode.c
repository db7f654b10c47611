/* Texts to ids as the public harness makes them of context and continuation, and of texts that are longer than a window. */
#include <string.h>

#include <qloom/tasks.h>

#include "text.h"
#include "unicode.h"

/* The text of the token that stands where there is no context: BOS, else EOS. */
static ql_status
prefix_text(ql_ctx *cx, const ql_tokenizer *tk, const char **out, size_t *bytes)
{
    int32_t id = (int32_t)(ql_tokenizer_bos(tk) >= 0 ? ql_tokenizer_bos(tk) : ql_tokenizer_eos(tk));

    *bytes = 0;
    if (id < 0)
        return QL_OK;
    return ql_tokenizer_decode(cx, tk, &(ql_ids){.count = 1, .capacity = 1, .ids = &id}, 0, out, bytes);
}

/* A text that begins with the prefix token's text is encoded without another one. */
static ql_status
encode(ql_ctx *cx, const ql_tokenizer *tk, ql_bos bos, const char *text, size_t bytes, ql_ids *out)
{
    const char *prefix = "";
    size_t length = 0;

    QL_TRY(cx, prefix_text(cx, tk, &prefix, &length));
    if (length && bytes >= length && memcmp(text, prefix, length) == 0)
        bos = QL_BOS_NO;
    return ql_tokenizer_encode(cx, tk, text, bytes, bos, out);
}

/* Without a context the continuation stands behind the prefix token, which may be its own first one. */
static ql_status
without_context(ql_ctx *cx, const ql_tokenizer *tk, const char *text, size_t bytes, ql_ids *context, ql_ids *rest)
{
    const int64_t prefix = ql_tokenizer_bos(tk) >= 0 ? ql_tokenizer_bos(tk) : ql_tokenizer_eos(tk);

    if (prefix < 0)
        return QL_FAIL(cx, QL_INVALID,
                       "an empty context needs a token in front, and the tokenizer has neither BOS nor EOS");
    QL_TRY(cx, ql_tokenizer_encode(cx, tk, text, bytes, QL_BOS_NO, rest));
    context->ids = ql_alloc(cx, 1, sizeof *context->ids);
    if (!context->ids)
        return QL_MEMORY;
    context->ids[0] = (int32_t)prefix;
    context->count = context->capacity = 1;
    if (rest->count && rest->ids[0] == prefix) {
        rest->ids++;
        rest->count--;
        rest->capacity--;
    }
    return QL_OK;
}

/* Bytes of the context before the white space that ends it. */
static size_t
stripped(const char *text, size_t bytes)
{
    size_t n;

    while (bytes > 0) {
        const size_t at = ql_utf8_back(text, bytes);

        if (!ql_char_is_python_space(ql_utf8_char((const unsigned char *)text + at, &n)))
            break;
        bytes = at;
    }
    return bytes;
}

ql_status
ql_task_encode(ql_ctx *cx, const ql_tokenizer *tk, ql_bos bos, const ql_task_request *request, ql_ids *context,
               ql_ids *continuation)
{
    const size_t kept = stripped(request->context, request->context_bytes),
                 all = request->context_bytes + request->continuation_bytes;
    char *text = ql_alloc(cx, all + 1, 1);
    ql_ids whole = {0};

    *context = *continuation = (ql_ids){0};
    if (!text)
        return QL_MEMORY;
    if (request->context_bytes)
        memcpy(text, request->context, request->context_bytes);
    if (request->continuation_bytes)
        memcpy(text + request->context_bytes, request->continuation, request->continuation_bytes);
    if (kept == 0) {
        QL_TRY(cx, without_context(cx, tk, text, all, context, continuation));
    } else {
        QL_TRY(cx, encode(cx, tk, bos, text, kept, context));
        QL_TRY(cx, encode(cx, tk, bos, text, all, &whole));
        if (whole.count > context->count)
            *continuation = (ql_ids){.count = whole.count - context->count,
                                     .capacity = whole.count - context->count,
                                     .ids = whole.ids + context->count};
    }
    if (continuation->count == 0)
        return QL_FAIL(
            cx, QL_INVALID, "nothing is left of the continuation '%.*s': its tokens merge with the context's end",
            (int)(request->continuation_bytes < 80 ? request->continuation_bytes : 80), request->continuation);
    return QL_OK;
}

ql_status
ql_task_encode_prompt(ql_ctx *cx, const ql_tokenizer *tk, ql_bos bos, const char *text, size_t bytes, ql_ids *out)
{
    *out = (ql_ids){0};
    if (ql_tokenizer_bos(tk) < 0)
        QL_TRY(cx, ql_tokenizer_encode(cx, tk, text, bytes, bos, out));
    else
        QL_TRY(cx, encode(cx, tk, bos, text, bytes, out));
    return out->count ? QL_OK : QL_FAIL(cx, QL_INVALID, "the prompt has no token");
}

ql_status
ql_task_windows(ql_ctx *cx, int64_t tokens, int64_t max_length, const ql_task_window **out, int64_t *count)
{
    ql_task_window *windows = ql_alloc(cx, (size_t)(tokens / max_length) + 1, sizeof *windows);

    if (!windows)
        return QL_MEMORY;
    *count = 0;
    for (int64_t done = 0; done < tokens;) {
        const int64_t scored = tokens - done < max_length ? tokens - done : max_length, end = done + scored;
        const int64_t first = done ? end - 1 - max_length : 0;

        windows[(*count)++] =
            (ql_task_window){.first = first, .count = end - 1 - first, .scored = scored, .prefix = !done};
        done = end;
    }
    *out = windows;
    return QL_OK;
}
