/* What a tokenizer adds around a text: what the post-processor says. */
#include "post.h"

#include <string.h>

static ql_status
add_special(ql_ctx *cx, const ql_json *v, int64_t id, ql_specials *out)
{
    if (out->count == QL_SPECIALS_MAX)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: more than %d special tokens on one side are not supported",
                       ql_json_where(cx, v), QL_SPECIALS_MAX);
    out->ids[out->count++] = (int32_t)id;
    return QL_OK;
}

static ql_status
read_id(ql_ctx *cx, const ql_json *v, const ql_json *number, ql_specials *out)
{
    int64_t id;

    if (!number)
        return QL_FAIL(cx, QL_INVALID, "%s: no token with its id", ql_json_where(cx, v));
    if (!ql_json_as_int(number, &id) || id < 0 || id >= QL_VOCAB_MAX)
        return ql_json_expected(cx, number, "an id from 0 to 4194303");
    return add_special(cx, v, id, out);
}

/* {"SpecialToken": {"id": "<s>"}}: the name's ids stand in `special_tokens`. */
static ql_status
read_special(ql_ctx *cx, const ql_json *post, const ql_json *v, ql_specials *out)
{
    const ql_json *ids;
    const char *name;

    QL_TRY(cx, ql_json_text(cx, v, "id", "", &name));
    ids = ql_json_member(ql_json_member(ql_json_member(post, "special_tokens"), name), "ids");
    if (!ql_json_is_array(ids))
        return QL_FAIL(cx, QL_INVALID, "%s: 'special_tokens' has no ids of %s", ql_json_where(cx, v),
                       ql_json_quote(cx, name, strlen(name)));
    for (int64_t i = 0; i < ql_json_length(ids); i++) {
        QL_TRY(cx, read_id(cx, v, ql_json_item(ids, i), out));
    }
    return QL_OK;
}

static ql_status
read_template(ql_ctx *cx, const ql_json *v, int kind, void *post)
{
    const ql_json *single = ql_json_member(v, "single");
    ql_post *out = post;
    bool after = false;

    (void)kind;
    if (out->before.count || out->after.count)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: a second template is not supported", ql_json_where(cx, v));
    for (int64_t i = 0; i < ql_json_length(single); i++) {
        const ql_json *item = ql_json_item(single, i), *special = ql_json_member(item, "SpecialToken");

        if (special) {
            QL_TRY(cx, read_special(cx, v, special, after ? &out->after : &out->before));
            continue;
        }
        if (!ql_json_member(item, "Sequence") || after)
            return ql_json_expected(
                cx, item, after ? "a SpecialToken: one Sequence is there already" : "a SpecialToken or a Sequence");
        after = true;
    }
    if (!after)
        return QL_FAIL(cx, QL_INVALID, "%s: the template 'single' has no Sequence", ql_json_where(cx, v));
    return QL_OK;
}

/* "sep" and "cls" are pairs of text and id. */
static ql_status
read_roberta(ql_ctx *cx, const ql_json *v, int kind, void *post)
{
    ql_post *out = post;

    (void)kind;
    if (out->before.count || out->after.count)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: a second template is not supported", ql_json_where(cx, v));
    QL_TRY(cx, read_id(cx, v, ql_json_item(ql_json_member(v, "cls"), 1), &out->before));
    return read_id(cx, v, ql_json_item(ql_json_member(v, "sep"), 1), &out->after);
}

static ql_status
read_nothing(ql_ctx *cx, const ql_json *v, int kind, void *post) /* what moves offsets only */
{
    (void)cx, (void)v, (void)kind, (void)post;
    return QL_OK;
}

ql_status
ql_post_read(ql_ctx *cx, const ql_json *v, ql_post *out)
{
    static const ql_component_type types[] = {{"ByteLevel", 0, read_nothing},
                                              {"RobertaProcessing", 0, read_roberta},
                                              {"TemplateProcessing", 0, read_template},
                                              {0}};

    return ql_component_read(cx, v, "processors", types, out);
}

/* "bos_token" is a text or an object with one, which is an added token by now; -1 for none. */
static int64_t
find_special(const ql_json *config, const char *key, const ql_added_tokens *added)
{
    const ql_json *v = ql_json_member(config, key);
    const char *text = ql_json_string(ql_json_is_object(v) ? ql_json_member(v, "content") : v);

    return text ? ql_added_id(added, text) : -1;
}

/* What tokenizer_config.json says of adding a token has no effect in current transformers, where the post-processor of
 * tokenizer.json counts. */
static ql_status
compare(ql_ctx *cx, const ql_json *config, const char *key, const ql_specials *added)
{
    const ql_json *v = ql_json_member(config, key);
    bool add;

    QL_TRY(cx, ql_json_bool(cx, config, key, false, &add));
    if (v && add != (added->count > 0))
        return ql_follow(
            cx, ql_json_where(cx, v),
            "it is %s, but the post_processor of tokenizer.json %s, which is followed as in current transformers",
            add ? "true" : "false", add ? "adds none" : "adds one");
    return QL_OK;
}

ql_status
ql_post_configure(ql_ctx *cx, const ql_json *config, const ql_added_tokens *added, ql_post *out)
{
    out->bos = find_special(config, "bos_token", added);
    out->eos = find_special(config, "eos_token", added);
    QL_TRY(cx, compare(cx, config, "add_bos_token", &out->before));
    QL_TRY(cx, compare(cx, config, "add_eos_token", &out->after));
    if (out->bos < 0 && out->before.count)
        out->bos = out->before.ids[0];
    if (out->eos < 0 && out->after.count)
        out->eos = out->after.ids[out->after.count - 1];
    return ql_json_bool(cx, config, "clean_up_tokenization_spaces", false, &out->clean_up);
}
