/* What the components of a tokenizer.json (normalizer, pre-tokenizer, post-processor, decoder) have in common. */
#include "component.h"

#include <stdlib.h>
#include <string.h>

static ql_status
unsupported(ql_ctx *cx, const ql_json *v, const char *type, const ql_component_type *types)
{
    const char *names = "";

    for (; types->name; types++) {
        names = ql_format(cx, "%s%s, ", names, types->name);
        if (!names)
            return QL_MEMORY;
    }
    return QL_FAIL(cx, QL_UNSUPPORTED, "%s: type \"%s\" is not supported (supported: %sSequence)", ql_json_where(cx, v),
                   type, names);
}

ql_status
ql_component_read(ql_ctx *cx, const ql_json *v, const char *list, const ql_component_type *types, void *out)
{
    const char *type;

    if (!v)
        return QL_OK;
    QL_TRY(cx, ql_json_text(cx, v, "type", "", &type));
    if (strcmp(type, "Sequence") == 0) {
        const ql_json *items = ql_json_member(v, list);

        for (int64_t i = 0; i < ql_json_length(items); i++)
            QL_TRY(cx, ql_component_read(cx, ql_json_item(items, i), list, types, out));
        return QL_OK;
    }
    for (const ql_component_type *t = types; t->name; t++)
        if (strcmp(type, t->name) == 0)
            return t->read(cx, v, t->kind, out);
    return unsupported(cx, v, type, types);
}

ql_status
ql_step_add(ql_ctx *cx, const ql_json *v, int kind, void *steps, ql_text_step **out)
{
    ql_text_steps *s = steps;

    if (s->count == QL_STEPS_MAX)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: more than %d steps are not supported", ql_json_where(cx, v),
                       QL_STEPS_MAX);
    *out = &s->items[s->count++];
    (*out)->kind = kind;
    return QL_OK;
}

ql_status
ql_step_read(ql_ctx *cx, const ql_json *v, int kind, void *steps)
{
    ql_text_step *step = NULL;

    return ql_step_add(cx, v, kind, steps, &step);
}

ql_status
ql_step_read_replace(ql_ctx *cx, const ql_json *v, int kind, void *steps)
{
    ql_text_step *step = NULL;

    QL_TRY(cx, ql_step_add(cx, v, kind, steps, &step));
    QL_TRY(cx, ql_pattern_read(cx, v, &step->pattern));
    return ql_read_text(cx, v, "content", &step->text);
}

ql_status
ql_prefix_space(ql_ctx *cx, const ql_json *v, const void *steps, bool *own)
{
    const int asked = ((const ql_text_steps *)steps)->prefix_space;

    if (asked == 0 || (asked > 0) == *own)
        return QL_OK;
    *own = asked > 0;
    return ql_follow(cx, ql_json_where(cx, v), "add_prefix_space: %s of tokenizer_config.json is followed",
                     asked > 0 ? "true" : "false");
}

void
ql_steps_fini(ql_text_steps *s)
{
    for (int i = 0; i < s->count; i++) {
        ql_pattern_fini(&s->items[i].pattern);
        free(s->items[i].text);
    }
}

ql_status
ql_read_text(ql_ctx *cx, const ql_json *v, const char *key, char **out)
{
    const char *text;

    QL_TRY(cx, ql_json_text(cx, v, key, NULL, &text));
    if (!text)
        return QL_FAIL(cx, QL_INVALID, "%s: no '%s', a text", ql_json_where(cx, v), key);
    *out = ql_heap(cx, strlen(text) + 1, 1);
    if (!*out)
        return QL_MEMORY;
    memcpy(*out, text, strlen(text));
    return QL_OK;
}

ql_status
ql_read_word(ql_ctx *cx, const ql_json *v, const char *key, const char *const *words, int def, int *out)
{
    const char *text, *names = "";

    QL_TRY(cx, ql_json_text(cx, v, key, words[def], &text));
    for (*out = 0; words[*out]; ++*out)
        if (strcmp(text, words[*out]) == 0)
            return QL_OK;
    for (int i = 0; words[i]; i++) {
        names = ql_format(cx, "%s%s\"%s\"", names, i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
        if (!names)
            return QL_MEMORY;
    }
    return ql_json_expected(cx, ql_json_member(v, key), names);
}
