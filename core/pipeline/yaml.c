/* Reads YAML texts into trees with marks, over libyaml's events. */
#include "yaml.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 32
#define ENTRIES_MAX 4096 /* of one list or mapping */

typedef struct reader {
    ql_ctx *cx;
    ql_problems *problems;
    const char *file, *text;
    yaml_parser_t parser;
    bool masked;  /* by ql_yaml_mask */
    bool broken;  /* the text can't be read on; the reason has been told */
    bool refused; /* it has something that is not supported; what is read around it would only look wrong */
    int64_t count, capacity;
    ql_yaml **pending; /* children of the collections that are still open */
} reader;

static ql_place
place_of(const reader *r, yaml_mark_t mark)
{
    return (ql_place){.file = r->file, .line = (int64_t)mark.line + 1, .column = (int64_t)mark.column + 1};
}

/* Where byte `offset` stands; libyaml gives no line for bytes that it can't decode. */
static ql_place
place_of_byte(const reader *r, size_t offset)
{
    ql_place place = {.file = r->file, .line = 1, .column = 1};

    for (size_t i = 0; i < offset; i++) {
        const unsigned char c = (unsigned char)r->text[i];

        if (c == '\n') {
            place.line++;
            place.column = 1;
        } else if ((c & 0xC0) != 0x80) {
            place.column++;
        }
    }
    return place;
}

static ql_status
tell_parser_error(reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *what = p->problem ? p->problem : "it can't be read";

    r->broken = true;
    if (p->error == YAML_MEMORY_ERROR)
        return QL_FAIL(r->cx, QL_MEMORY, "no memory to read %s", r->file);
    if (p->error == YAML_READER_ERROR)
        ql_problem_add(r->cx, r->problems, place_of_byte(r, p->problem_offset), "not YAML: %s", what);
    else if (p->context)
        ql_problem_add(r->cx, r->problems, place_of(r, p->problem_mark), "not YAML: %s %s that began at line %zu", what,
                       p->context, p->context_mark.line + 1);
    else
        ql_problem_add(r->cx, r->problems, place_of(r, p->problem_mark), "not YAML: %s", what);
    return QL_OK;
}

/* The next event; an empty one once the text is broken. The caller deletes it. */
static ql_status
next_event(reader *r, yaml_event_t *event)
{
    *event = (yaml_event_t){.type = YAML_NO_EVENT};
    if (r->broken || yaml_parser_parse(&r->parser, event))
        return QL_OK;
    return tell_parser_error(r);
}

static ql_yaml *
new_node(reader *r, ql_yaml_kind kind, yaml_mark_t mark)
{
    ql_yaml *v = ql_alloc(r->cx, 1, sizeof *v);

    if (v)
        *v = (ql_yaml){.kind = kind, .place = place_of(r, mark), .text = ""};
    return v;
}

static void
refuse(reader *r, ql_place place, const char *what, const char *sign, const void *name)
{
    ql_problem_add(r->cx, r->problems, place, "%s ('%s%s') are not supported", what, sign, (const char *)name);
    r->refused = true;
}

static void
refuse_properties(reader *r, const yaml_event_t *e, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        refuse(r, place_of(r, e->start_mark), "anchors", "&", anchor);
    if (tag)
        refuse(r, place_of(r, e->start_mark), "tags", "", tag);
}

static ql_status
read_scalar(reader *r, const yaml_event_t *e, ql_yaml **out)
{
    const char *text = (const char *)e->data.scalar.value;
    const size_t bytes = e->data.scalar.length;
    ql_yaml *v = new_node(r, QL_YAML_SCALAR, e->start_mark);
    char *copy = ql_alloc(r->cx, bytes + 1, 1);

    refuse_properties(r, e, e->data.scalar.anchor, e->data.scalar.tag);
    if (!v || !copy)
        return QL_MEMORY;
    memcpy(copy, text, bytes);
    if (r->masked)
        ql_yaml_unmask(copy);
    v->text = copy;
    if (strlen(text) != bytes) {
        ql_problem_add(r->cx, r->problems, v->place, "a text must not contain a NUL character");
        r->refused = true;
    }
    v->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    *out = v;
    return QL_OK;
}

static ql_status
push(reader *r, ql_yaml *v)
{
    QL_TRY(r->cx, ql_grow(r->cx, &r->pending, &r->capacity, r->count + 1, sizeof *r->pending));
    r->pending[r->count++] = v;
    return QL_OK;
}

/* Is `key` new among the keys pushed since `first`? Tells when it isn't. */
static bool
key_is_new(reader *r, int64_t first, const ql_yaml *key)
{
    for (int64_t i = first; i < r->count; i += 2)
        if (strcmp(r->pending[i]->text, key->text) == 0) {
            ql_problem_add(r->cx, r->problems, key->place, "duplicate key '%s' (first on line %" PRId64 ")", key->text,
                           r->pending[i]->place.line);
            return false;
        }
    return true;
}

/* Moves what was pushed since `first` into `v`. */
static ql_status
collect(reader *r, int64_t first, ql_yaml *v)
{
    const int64_t step = v->kind == QL_YAML_MAP ? 2 : 1;

    v->count = (r->count - first) / step;
    v->keys = ql_alloc(r->cx, (size_t)v->count, sizeof *v->keys);
    v->items = ql_alloc(r->cx, (size_t)v->count, sizeof *v->items);
    if (!v->keys || !v->items)
        return QL_MEMORY;
    for (int64_t i = 0; i < v->count; i++) {
        v->keys[i] = step == 2 ? r->pending[first + 2 * i] : NULL;
        v->items[i] = r->pending[first + step * i + step - 1];
    }
    r->count = first;
    return QL_OK;
}

static ql_status read_node(reader *r, const yaml_event_t *e, int depth, ql_yaml **out);

/* One event and the node that it begins; NULL at the end of the collection. */
static ql_status
read_next(reader *r, int depth, ql_yaml **out)
{
    yaml_event_t e;
    ql_status st;

    *out = NULL;
    QL_TRY(r->cx, next_event(r, &e));
    st = read_node(r, &e, depth, out);
    yaml_event_delete(&e);
    return st;
}

static ql_status
read_collection(reader *r, ql_yaml *v, int depth)
{
    const int64_t first = r->count;

    while (true) {
        ql_yaml *key = NULL, *item;

        if (v->kind == QL_YAML_MAP) {
            QL_TRY(r->cx, read_next(r, depth + 1, &key));
            if (!key)
                break;
        }
        QL_TRY(r->cx, read_next(r, depth + 1, &item));
        if (!item)
            break;
        if (r->count - first >= (v->kind == QL_YAML_MAP ? 2 : 1) * ENTRIES_MAX) {
            ql_problem_add(r->cx, r->problems, item->place, "more than %d entries", ENTRIES_MAX);
            r->broken = true;
            break;
        }
        if (key && key->kind != QL_YAML_SCALAR) {
            ql_problem_add(r->cx, r->problems, key->place, "a key must be a word, not %s",
                           key->kind == QL_YAML_LIST ? "a list" : "a mapping");
            r->refused = true;
            continue;
        }
        if (key && !key->quoted && strcmp(key->text, "<<") == 0)
            refuse(r, key->place, "merge keys", "", key->text);
        if (key && !key_is_new(r, first, key))
            continue;
        if (key)
            QL_TRY(r->cx, push(r, key));
        QL_TRY(r->cx, push(r, item));
    }
    return collect(r, first, v);
}

static ql_status
read_node(reader *r, const yaml_event_t *e, int depth, ql_yaml **out)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(r, e, out);
    case YAML_ALIAS_EVENT:
        refuse(r, place_of(r, e->start_mark), "aliases", "*", e->data.alias.anchor);
        *out = new_node(r, QL_YAML_SCALAR, e->start_mark);
        return *out ? QL_OK : QL_MEMORY;
    case YAML_SEQUENCE_START_EVENT:
        refuse_properties(r, e, e->data.sequence_start.anchor, e->data.sequence_start.tag);
        *out = new_node(r, QL_YAML_LIST, e->start_mark);
        break;
    case YAML_MAPPING_START_EVENT:
        refuse_properties(r, e, e->data.mapping_start.anchor, e->data.mapping_start.tag);
        *out = new_node(r, QL_YAML_MAP, e->start_mark);
        break;
    default: /* the end of the collection, or of what can be read */
        return QL_OK;
    }
    if (!*out)
        return QL_MEMORY;
    if (depth >= DEPTH_MAX) {
        ql_problem_add(r->cx, r->problems, (*out)->place, "nested more than %d deep", DEPTH_MAX);
        r->broken = true;
        return QL_OK;
    }
    return read_collection(r, *out, depth);
}

/* Everything after the first document is too much. */
static ql_status
read_rest(reader *r)
{
    bool more = true;

    while (more && !r->broken) {
        yaml_event_t e;

        QL_TRY(r->cx, next_event(r, &e));
        if (e.type == YAML_DOCUMENT_START_EVENT) {
            ql_problem_add(r->cx, r->problems, place_of(r, e.start_mark),
                           "a second document: a pipeline file holds one");
            more = false;
        }
        more = more && e.type != YAML_STREAM_END_EVENT && e.type != YAML_NO_EVENT;
        yaml_event_delete(&e);
    }
    return QL_OK;
}

static ql_status
read_stream(reader *r, ql_yaml **out)
{
    for (bool more = true; more && !*out && !r->broken;) {
        yaml_event_t e;
        ql_status st;

        QL_TRY(r->cx, next_event(r, &e));
        more = e.type == YAML_STREAM_START_EVENT || e.type == YAML_DOCUMENT_START_EVENT;
        st = read_node(r, &e, 0, out);
        yaml_event_delete(&e);
        QL_TRY(r->cx, st);
    }
    if (*out)
        QL_TRY(r->cx, read_rest(r));
    return r->problems->failed;
}

ql_status
ql_yaml_parse(ql_ctx *cx, ql_problems *problems, const char *file, const char *text, size_t bytes, ql_yaml **out)
{
    static const char bom[] = "\xEF\xBB\xBF";
    reader r = {.cx = cx, .problems = problems, .file = file, .text = text};
    const char *unmasked;
    ql_status st;

    *out = NULL;
    if (bytes > QL_YAML_BYTES_MAX) {
        ql_problem_add(cx, problems, (ql_place){.file = file}, "%zu bytes are no pipeline file: at most %d are read",
                       bytes, QL_YAML_BYTES_MAX);
        return problems->failed;
    }
    if (bytes >= 3 && memcmp(text, bom, 3) == 0) { /* else it would count as a column */
        r.text += 3;
        bytes -= 3;
    }
    unmasked = r.text;
    QL_TRY(cx, ql_yaml_mask(cx, &r.text, &bytes));
    r.masked = r.text != unmasked;
    if (!yaml_parser_initialize(&r.parser))
        return QL_FAIL(cx, QL_MEMORY, "no memory to read %s", file);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.text, bytes);
    st = read_stream(&r, out);
    yaml_parser_delete(&r.parser);
    if (r.broken || r.refused) /* half a tree would only bring problems that aren't there */
        *out = NULL;
    free(r.pending);
    return st;
}
