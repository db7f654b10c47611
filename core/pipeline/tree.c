/* What one asks of a YAML tree: members, comparison, one-line texts. */
#include "yaml.h"

#include <string.h>

#include "base/printer.h"

int64_t
ql_yaml_find(const ql_yaml *map, const char *key)
{
    if (!map || map->kind != QL_YAML_MAP)
        return -1;
    for (int64_t i = 0; i < map->count; i++)
        if (strcmp(map->keys[i]->text, key) == 0)
            return i;
    return -1;
}

ql_yaml *
ql_yaml_get(const ql_yaml *map, const char *key)
{
    const int64_t i = ql_yaml_find(map, key);

    return i < 0 ? NULL : map->items[i];
}

ql_status
ql_yaml_append(ql_ctx *cx, ql_yaml *to, ql_yaml *key, ql_yaml *item)
{
    const size_t n = (size_t)to->count;
    ql_yaml **keys = ql_alloc(cx, n + 1, sizeof(ql_yaml *)), **items = ql_alloc(cx, n + 1, sizeof(ql_yaml *));

    if (!keys || !items || !item)
        return QL_MEMORY;
    if (n) {
        memcpy(keys, to->keys, n * sizeof(ql_yaml *));
        memcpy(items, to->items, n * sizeof(ql_yaml *));
    }
    keys[n] = key;
    items[n] = item;
    to->keys = keys;
    to->items = items;
    to->count++;
    return QL_OK;
}

ql_yaml *
ql_yaml_scalar(ql_ctx *cx, ql_place place, const char *text)
{
    ql_yaml *v = text ? ql_alloc(cx, 1, sizeof *v) : NULL;

    if (v)
        *v = (ql_yaml){.place = place, .text = text};
    return v;
}

bool
ql_yaml_empty(const ql_yaml *v)
{
    return v->kind == QL_YAML_SCALAR && !v->quoted && !*v->text;
}

const char *
ql_yaml_describe(ql_ctx *cx, const ql_yaml *v)
{
    switch (v->kind) {
    case QL_YAML_LIST:
        return "a list";
    case QL_YAML_MAP:
        return "a mapping";
    default:
        return ql_yaml_empty(v) ? "nothing" : ql_format(cx, "'%s'", v->text);
    }
}

static void
print_line(FILE *out, const ql_yaml *v)
{
    if (v->kind == QL_YAML_SCALAR) {
        fputs(v->text, out);
        return;
    }
    fputc(v->kind == QL_YAML_MAP ? '{' : '[', out);
    for (int64_t i = 0; i < v->count; i++) {
        if (i)
            fputs(", ", out);
        if (v->kind == QL_YAML_MAP)
            fprintf(out, "%s: ", v->keys[i]->text);
        print_line(out, v->items[i]);
    }
    fputc(v->kind == QL_YAML_MAP ? '}' : ']', out);
}

const char *
ql_yaml_line(ql_ctx *cx, const ql_yaml *v)
{
    const char *text = NULL;
    ql_printer p;

    if (v->kind == QL_YAML_SCALAR)
        return v->text;
    if (ql_printer_open(cx, &p) == QL_OK) {
        print_line(p.out, v);
        (void)ql_printer_close(cx, &p, &text); /* NULL then, with the error set */
    }
    return text;
}

bool
ql_yaml_equal(const ql_yaml *a, const ql_yaml *b)
{
    if (a->kind != b->kind || a->count != b->count)
        return false;
    if (a->kind == QL_YAML_SCALAR)
        return strcmp(a->text, b->text) == 0;
    for (int64_t i = 0; i < a->count; i++) {
        const int64_t j = a->kind == QL_YAML_MAP ? ql_yaml_find(b, a->keys[i]->text) : i;

        if (j < 0 || !ql_yaml_equal(a->items[i], b->items[j]))
            return false;
    }
    return true;
}
