/* What one asks of a YAML tree: members, comparison, one-line texts; the tree as YAML again. */
#include <string.h>
#include <utf8proc.h>
#include <yaml.h>

#include "base/printer.h"
#include "yaml.h"

#define BLOCK_DEPTH 2 /* mappings deeper than this are written on one line */
#define WIDTH 120

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

/* Doubles the room of a list or mapping. */
static ql_status
grow(ql_ctx *cx, ql_yaml *v)
{
    const size_t n = (size_t)v->count, capacity = n ? 2 * n : 4;
    ql_yaml **keys = ql_alloc(cx, capacity, sizeof(ql_yaml *)), **items = ql_alloc(cx, capacity, sizeof(ql_yaml *));

    if (!keys || !items)
        return QL_MEMORY;
    if (n) {
        memcpy(keys, v->keys, n * sizeof(ql_yaml *));
        memcpy(items, v->items, n * sizeof(ql_yaml *));
    }
    v->keys = keys;
    v->items = items;
    v->capacity = (int64_t)capacity;
    return QL_OK;
}

ql_status
ql_yaml_put(ql_ctx *cx, ql_yaml *to, ql_yaml *key, ql_yaml *item)
{
    int64_t i = key ? ql_yaml_find(to, key->text) : -1;

    if (!item)
        return QL_MEMORY;
    if (i < 0 && to->count >= to->capacity)
        QL_TRY(cx, grow(cx, to));
    if (i < 0)
        i = to->count++;
    to->keys[i] = key;
    to->items[i] = item;
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
    const char *text = v->kind == QL_YAML_LIST  ? "a list"
                       : v->kind == QL_YAML_MAP ? "a mapping"
                       : ql_yaml_empty(v)       ? "nothing"
                                                : ql_format(cx, "'%s'", v->text);

    return text ? text : "";
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

/* --- YAML again, over libyaml's documents: stages and variants one a line, the rest in blocks ----------------------- */

static bool
has_collections(const ql_yaml *v)
{
    for (int64_t i = 0; i < v->count; i++)
        if (v->items[i]->kind != QL_YAML_SCALAR)
            return true;
    return false;
}

/* The number of the node that `v` becomes in the document; 0: there is no memory, or a text that is no UTF-8. */
static int
add_node(yaml_document_t *d, const ql_yaml *v, int depth)
{
    const bool map = v->kind == QL_YAML_MAP;
    const bool block = map ? depth < BLOCK_DEPTH : depth <= BLOCK_DEPTH && has_collections(v);
    int node;

    if (v->kind == QL_YAML_SCALAR)
        return yaml_document_add_scalar(d, NULL, (const yaml_char_t *)v->text, (int)strlen(v->text),
                                        v->quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE);
    if (map)
        node = yaml_document_add_mapping(d, NULL, block ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE);
    else
        node = yaml_document_add_sequence(d, NULL, block ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE);
    for (int64_t i = 0; node && i < v->count; i++) {
        const int key = map ? add_node(d, v->keys[i], depth) : 1, item = key ? add_node(d, v->items[i], depth + 1) : 0;

        if (!item || !(map ? yaml_document_append_mapping_pair(d, node, key, item)
                           : yaml_document_append_sequence_item(d, node, item)))
            node = 0;
    }
    return node;
}

static bool
emit(yaml_emitter_t *e, const ql_yaml *v)
{
    yaml_document_t d;

    if (!yaml_document_initialize(&d, NULL, NULL, NULL, 1, 1))
        return false;
    if (add_node(&d, v, 0))
        return yaml_emitter_dump(e, &d) && yaml_emitter_close(e); /* which also deletes the document */
    yaml_document_delete(&d);
    return false;
}

/* A text of the tree that is no UTF-8, which YAML can't hold: a path on an old disk; NULL: none. */
static const char *
foreign_text(const ql_yaml *v)
{
    const utf8proc_uint8_t *text = (const utf8proc_uint8_t *)v->text;
    const char *found = NULL;

    if (v->kind == QL_YAML_SCALAR && utf8proc_decompose(text, 0, NULL, 0, UTF8PROC_NULLTERM) < 0)
        return v->text;
    for (int64_t i = 0; i < v->count && !found; i++)
        found = foreign_text(v->items[i]);
    return found;
}

ql_status
ql_yaml_emit(ql_ctx *cx, const ql_yaml *v, const char **out)
{
    const char *foreign;
    yaml_emitter_t e;
    ql_printer p;
    bool ok;

    QL_TRY(cx, ql_printer_open(cx, &p));
    ok = yaml_emitter_initialize(&e) != 0;
    if (ok) {
        yaml_emitter_set_output_file(&e, p.out);
        yaml_emitter_set_unicode(&e, 1);
        yaml_emitter_set_width(&e, WIDTH);
        ok = emit(&e, v);
        yaml_emitter_delete(&e);
    }
    QL_TRY(cx, ql_printer_close(cx, &p, out));
    if (ok)
        return QL_OK;
    foreign = foreign_text(v);
    return foreign ? QL_FAIL(cx, QL_INVALID,
                             "%s: not UTF-8, so the pipeline can't be written down: rename the folder or file", foreign)
                   : QL_FAIL(cx, QL_MEMORY, "no memory to write the pipeline as YAML");
}
