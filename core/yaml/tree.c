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

ql_status
ql_yaml_append(ql_ctx *cx, ql_yaml *to, ql_yaml *key, ql_yaml *item)
{
    const size_t n = (size_t)to->count;

    if (!item)
        return QL_MEMORY;
    if (to->count >= to->capacity) {
        const size_t capacity = n ? 2 * n : 4;
        ql_yaml **keys = ql_alloc(cx, capacity, sizeof(ql_yaml *)), **items = ql_alloc(cx, capacity, sizeof(ql_yaml *));

        if (!keys || !items)
            return QL_MEMORY;
        if (n) {
            memcpy(keys, to->keys, n * sizeof(ql_yaml *));
            memcpy(items, to->items, n * sizeof(ql_yaml *));
        }
        to->keys = keys;
        to->items = items;
        to->capacity = (int64_t)capacity;
    }
    to->keys[n] = key;
    to->items[n] = item;
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

/* --- YAML again, through libyaml's emitter: stages and variants one a line, the rest in blocks ------------------- */

static int
write_bytes(void *user, unsigned char *data, size_t bytes)
{
    return fwrite(data, 1, bytes, user) == bytes;
}

/* Emits an event that was made if `made`. */
static bool
emit(yaml_emitter_t *e, int made, yaml_event_t *event)
{
    return made && yaml_emitter_emit(e, event);
}

static bool
emit_scalar(yaml_emitter_t *e, const ql_yaml *v)
{
    const yaml_scalar_style_t style = v->quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE;
    const yaml_char_t *text = (const yaml_char_t *)v->text;
    yaml_event_t event;

    return emit(e, yaml_scalar_event_initialize(&event, NULL, NULL, text, (int)strlen(v->text), 1, 1, style), &event);
}

static bool
has_collections(const ql_yaml *v)
{
    for (int64_t i = 0; i < v->count; i++)
        if (v->items[i]->kind != QL_YAML_SCALAR)
            return true;
    return false;
}

static bool
emit_node(yaml_emitter_t *e, const ql_yaml *v, int depth)
{
    const bool map = v->kind == QL_YAML_MAP;
    const bool block = map ? depth < BLOCK_DEPTH : depth <= BLOCK_DEPTH && has_collections(v);
    const yaml_mapping_style_t map_style = block ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE;
    const yaml_sequence_style_t list_style = block ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE;
    yaml_event_t event;
    bool ok;

    if (v->kind == QL_YAML_SCALAR)
        return emit_scalar(e, v);
    ok = emit(e,
              map ? yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, map_style)
                  : yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, list_style),
              &event);
    for (int64_t i = 0; ok && i < v->count; i++)
        ok = (!map || emit_scalar(e, v->keys[i])) && emit_node(e, v->items[i], depth + 1);
    return ok && emit(e, map ? yaml_mapping_end_event_initialize(&event) : yaml_sequence_end_event_initialize(&event),
                      &event);
}

static bool
emit_document(yaml_emitter_t *e, const ql_yaml *v)
{
    yaml_event_t event;

    return emit(e, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING), &event) &&
           emit(e, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1), &event) && emit_node(e, v, 0) &&
           emit(e, yaml_document_end_event_initialize(&event, 1), &event) &&
           emit(e, yaml_stream_end_event_initialize(&event), &event);
}

/* A text of the tree that is no UTF-8, which YAML can't hold: a path on an old disk; NULL: none. */
static const char *
foreign_text(const ql_yaml *v)
{
    const char *found = NULL;

    if (v->kind == QL_YAML_SCALAR) {
        for (size_t i = 0, n = strlen(v->text); i < n;) {
            utf8proc_int32_t c;
            const utf8proc_ssize_t got =
                utf8proc_iterate((const utf8proc_uint8_t *)v->text + i, (utf8proc_ssize_t)(n - i), &c);

            if (got <= 0)
                return v->text;
            i += (size_t)got;
        }
        return NULL;
    }
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
        yaml_emitter_set_output(&e, write_bytes, p.out);
        yaml_emitter_set_unicode(&e, 1);
        yaml_emitter_set_width(&e, WIDTH);
        ok = emit_document(&e, v);
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
