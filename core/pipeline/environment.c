/* ${VAR} and ${VAR:-default} in the values of a YAML tree. */
#include <string.h>

#include "base/env.h"
#include "yaml.h"

/* One character each, so that columns stay: U+E000 and U+E001, which mean nothing to YAML and to anybody else. */
#define OPEN "\xEE\x80\x80"
#define CLOSE "\xEE\x80\x81"
#define MARK_BYTES 3

/* The brace that ends the reference beginning at `at` ("${"), on the same line and inside the same quotes; NULL: none
 * does. */
static const char *
find_close(const char *at, const char *end)
{
    for (at += 2; at < end && !strchr("\n{\"'", *at); at++)
        if (*at == '}')
            return at;
    return NULL;
}

static bool
contains(const char *text, size_t bytes, const char *mark)
{
    for (size_t i = 0; i + MARK_BYTES <= bytes; i++)
        if (memcmp(text + i, mark, MARK_BYTES) == 0)
            return true;
    return false;
}

ql_status
ql_yaml_mask(ql_ctx *cx, const char **text, size_t *bytes)
{
    const char *end = *text + *bytes, *close = NULL;
    size_t count = 0, used = 0;
    char *out;

    if (contains(*text, *bytes, OPEN) || contains(*text, *bytes, CLOSE))
        return QL_OK;
    for (const char *p = *text; p + 1 < end; p++)
        count += p[0] == '$' && p[1] == '{' && find_close(p, end);
    if (count == 0)
        return QL_OK;
    out = ql_alloc(cx, *bytes + count * 2 * (MARK_BYTES - 1), 1);
    if (!out)
        return QL_MEMORY;
    for (const char *p = *text; p < end; p++) {
        const bool opens = !close && p + 1 < end && p[0] == '$' && p[1] == '{' && find_close(p, end);

        if (p == close) {
            memcpy(out + used, CLOSE, MARK_BYTES);
            used += MARK_BYTES;
            close = NULL;
            continue;
        }
        out[used++] = *p;
        if (opens) {
            close = find_close(p, end);
            memcpy(out + used, OPEN, MARK_BYTES);
            used += MARK_BYTES;
            p++;
        }
    }
    *text = out;
    *bytes = used;
    return QL_OK;
}

void
ql_yaml_unmask(char *text)
{
    char *out = text;

    while (*text) {
        if (strncmp(text, OPEN, MARK_BYTES) == 0 || strncmp(text, CLOSE, MARK_BYTES) == 0) {
            *out++ = text[MARK_BYTES - 1] == CLOSE[MARK_BYTES - 1] ? '}' : '{';
            text += MARK_BYTES;
        } else {
            *out++ = *text++;
        }
    }
    *out = '\0';
}

static bool
is_name(const char *s, size_t n)
{
    bool ok = n > 0 && !(s[0] >= '0' && s[0] <= '9');

    for (size_t i = 0; i < n && ok; i++)
        ok =
            s[i] == '_' || (s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z');
    return ok;
}

/* What the reference `ref` (between the braces, n bytes) stands for; NULL with the problem told. */
static const char *
look_up(ql_ctx *cx, ql_problems *problems, ql_place place, const char *ref, size_t n)
{
    const char *text = ql_copy_text(cx, ref, n), *dash = text ? strstr(text, ":-") : NULL, *value, *name;
    const size_t length = dash ? (size_t)(dash - text) : n;

    name = text ? ql_copy_text(cx, text, length) : NULL;
    if (!name) {
        problems->failed = QL_MEMORY;
        return NULL;
    }
    if (!is_name(name, length) || strchr(text, '{')) { /* a reference in a default would be left as it is */
        ql_problem_add(cx, problems, place,
                       "'${%s}' is no reference to the environment: expected ${NAME} or ${NAME:-default}", text);
        return NULL;
    }
    value = ql_env(name);
    if (dash && (!value || !*value))
        return dash + 2;
    if (!value)
        ql_problem_add(cx, problems, place,
                       "the environment has no variable '%s'; ${%s:-default} would give a value of its own", name,
                       name);
    return value;
}

static void
expand_text(ql_ctx *cx, ql_problems *problems, ql_yaml *v)
{
    const char *at = v->text, *open, *text = "";

    while ((open = strstr(at, "${")) != NULL) {
        const char *close = strchr(open, '}'), *value;

        if (!close) {
            ql_problem_add(cx, problems, v->place, "'${' without '}' in '%s'", v->text);
            return;
        }
        value = look_up(cx, problems, v->place, open + 2, (size_t)(close - open - 2));
        if (!value)
            return;
        text = ql_format(cx, "%s%.*s%s", text, (int)(open - at), at, value);
        if (!text) {
            problems->failed = QL_MEMORY;
            return;
        }
        at = close + 1;
    }
    if (at == v->text)
        return;
    v->text = ql_format(cx, "%s%s", text, at);
    if (!v->text)
        problems->failed = QL_MEMORY;
}

void
ql_yaml_environment(ql_ctx *cx, ql_problems *problems, ql_yaml *v)
{
    for (int64_t i = 0; i < v->count; i++)
        ql_yaml_environment(cx, problems, v->items[i]);
    if (v->kind == QL_YAML_SCALAR && problems->failed == QL_OK)
        expand_text(cx, problems, v);
}
