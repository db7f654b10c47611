/* Reads YAML texts into trees with marks, over libyaml's events. */
#include "yaml.h"

#include <inttypes.h>
#include <string.h>
#include <yaml.h>

#include "base/text.h"

#define DEPTH_MAX 32
#define ENTRIES_MAX 4096 /* of one list or mapping */

typedef struct level {   /* a collection that is still open */
    ql_yaml *node, *key; /* key: of a mapping, what the next value belongs to; NULL: the next node is a key */
    bool dropped;        /* the key can't be used, and its value with it */
} level;

typedef struct reader {
    ql_ctx *cx;
    ql_problems *problems;
    const char *file, *text;
    yaml_parser_t parser;
    bool masked; /* by ql_yaml_mask */
    bool
        useless; /* it is broken, or has something that is not supported: what is read around it would only look wrong */
    ql_yaml *root;
    int depth;
    level levels[DEPTH_MAX];
} reader;

static ql_place
place_of(const reader *r, yaml_mark_t mark)
{
    return (ql_place){.file = r->file, .line = (int64_t)mark.line + 1, .column = (int64_t)mark.column + 1};
}

static ql_status
tell_parser_error(reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const bool undecoded = p->error == YAML_READER_ERROR; /* libyaml gives no line then */
    const char *what = p->problem ? p->problem : "it can't be read", *context = "";
    ql_place place = place_of(r, p->problem_mark);

    r->useless = true;
    if (p->error == YAML_MEMORY_ERROR)
        return QL_FAIL(r->cx, QL_MEMORY, "no memory to read %s", r->file);
    if (undecoded)
        ql_text_place(r->text, p->problem_offset, &place.line, &place.column);
    else if (p->context)
        context = ql_format(r->cx, " %s that began at line %zu", p->context, p->context_mark.line + 1);
    ql_problem_add(r->cx, r->problems, place, "not YAML: %s%s", what, context ? context : "");
    return QL_OK;
}

static void
refuse(reader *r, ql_place place, const char *what, const char *sign, const void *name)
{
    ql_problem_add(r->cx, r->problems, place, "%s ('%s%s') are not supported", what, sign, (const char *)name);
    r->useless = true;
}

/* --- nodes into their collections -------------------------------------------------------------------------------- */

static void
take_key(reader *r, level *at, ql_yaml *key)
{
    const int64_t first = key->kind == QL_YAML_SCALAR ? ql_yaml_find(at->node, key->text) : -1;

    at->key = key;
    at->dropped = key->kind != QL_YAML_SCALAR || first >= 0;
    if (key->kind != QL_YAML_SCALAR) {
        ql_problem_add(r->cx, r->problems, key->place, "a key must be a word, not %s",
                       key->kind == QL_YAML_LIST ? "a list" : "a mapping");
        r->useless = true;
    } else if (first >= 0) {
        ql_problem_add(r->cx, r->problems, key->place, "duplicate key '%s' (first on line %" PRId64 ")", key->text,
                       at->node->keys[first]->place.line);
    } else if (!key->quoted && strcmp(key->text, "<<") == 0) {
        refuse(r, key->place, "merge keys", "", key->text);
    }
}

/* Puts a node where it belongs. *more becomes false when there is no room for it. */
static ql_status
add(reader *r, ql_yaml *v, bool *more)
{
    level *at = r->depth ? &r->levels[r->depth - 1] : NULL;
    ql_yaml *key = at ? at->key : NULL;

    if (!at) {
        r->root = v;
        return QL_OK;
    }
    if (at->node->kind == QL_YAML_MAP && !key) {
        take_key(r, at, v);
        return QL_OK;
    }
    at->key = NULL;
    if (key && at->dropped)
        return QL_OK;
    if (at->node->count >= ENTRIES_MAX) {
        ql_problem_add(r->cx, r->problems, v->place, "more than %d entries", ENTRIES_MAX);
        r->useless = true;
        *more = false;
        return QL_OK;
    }
    return ql_yaml_put(r->cx, at->node, key, v);
}

static ql_status
add_scalar(reader *r, const yaml_event_t *e, bool *more)
{
    const char *text = (const char *)e->data.scalar.value;
    const size_t bytes = e->data.scalar.length;
    char *copy = ql_alloc(r->cx, bytes + 1, 1);
    ql_yaml *v = ql_yaml_scalar(r->cx, place_of(r, e->start_mark), copy);

    if (!v)
        return QL_MEMORY;
    memcpy(copy, text, bytes);
    if (r->masked)
        ql_yaml_unmask(copy);
    if (strlen(text) != bytes) {
        ql_problem_add(r->cx, r->problems, v->place, "a text must not contain a NUL character");
        r->useless = true;
    }
    v->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return add(r, v, more);
}

static ql_status
open_collection(reader *r, const yaml_event_t *e, ql_yaml_kind kind, bool *more)
{
    ql_yaml *v = ql_yaml_scalar(r->cx, place_of(r, e->start_mark), "");

    if (!v)
        return QL_MEMORY;
    v->kind = kind;
    QL_TRY(r->cx, add(r, v, more));
    if (r->depth == DEPTH_MAX) {
        ql_problem_add(r->cx, r->problems, v->place, "nested more than %d deep", DEPTH_MAX);
        r->useless = true;
        *more = false;
        return QL_OK;
    }
    r->levels[r->depth++] = (level){.node = v};
    return QL_OK;
}

/* --- events ------------------------------------------------------------------------------------------------------ */

static void
refuse_properties(reader *r, const yaml_event_t *e, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        refuse(r, place_of(r, e->start_mark), "anchors", "&", anchor);
    if (tag)
        refuse(r, place_of(r, e->start_mark), "tags", "", tag);
}

static ql_status
take_event(reader *r, const yaml_event_t *e, bool *more)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        refuse_properties(r, e, e->data.scalar.anchor, e->data.scalar.tag);
        return add_scalar(r, e, more);
    case YAML_ALIAS_EVENT:
        refuse(r, place_of(r, e->start_mark), "aliases", "*", e->data.alias.anchor);
        return add(r, ql_yaml_scalar(r->cx, place_of(r, e->start_mark), ""), more);
    case YAML_SEQUENCE_START_EVENT:
        refuse_properties(r, e, e->data.sequence_start.anchor, e->data.sequence_start.tag);
        return open_collection(r, e, QL_YAML_LIST, more);
    case YAML_MAPPING_START_EVENT:
        refuse_properties(r, e, e->data.mapping_start.anchor, e->data.mapping_start.tag);
        return open_collection(r, e, QL_YAML_MAP, more);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        return QL_OK;
    case YAML_DOCUMENT_START_EVENT:
        if (r->root)
            ql_problem_add(r->cx, r->problems, place_of(r, e->start_mark), "a second document: a file holds one");
        *more = !r->root;
        return QL_OK;
    default:
        *more = e->type != YAML_STREAM_END_EVENT && e->type != YAML_NO_EVENT;
        return QL_OK;
    }
}

static ql_status
read_events(reader *r)
{
    for (bool more = true; more;) {
        yaml_event_t e;
        ql_status st;

        if (!yaml_parser_parse(&r->parser, &e))
            return tell_parser_error(r);
        st = take_event(r, &e, &more);
        yaml_event_delete(&e);
        QL_TRY(r->cx, st);
    }
    return r->problems->failed;
}

ql_status
ql_yaml_parse(ql_ctx *cx, ql_problems *problems, const char *file, const char *text, size_t bytes, ql_yaml **out)
{
    static const char bom[] = "\xEF\xBB\xBF";
    reader r = {.cx = cx, .problems = problems, .file = file, .text = text};
    ql_status st;

    *out = NULL;
    if (bytes > QL_YAML_BYTES_MAX) {
        ql_problem_add(cx, problems, (ql_place){.file = file}, "%zu bytes are too many: at most %d are read", bytes,
                       QL_YAML_BYTES_MAX);
        return problems->failed;
    }
    if (bytes >= 3 && memcmp(text, bom, 3) == 0) { /* else it would count as a column */
        r.text += 3;
        bytes -= 3;
    }
    QL_TRY(cx, ql_yaml_mask(cx, &r.text, &bytes, &r.masked));
    if (!yaml_parser_initialize(&r.parser))
        return QL_FAIL(cx, QL_MEMORY, "no memory to read %s", file);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.text, bytes);
    st = read_events(&r);
    yaml_parser_delete(&r.parser);
    *out = r.useless ? NULL : r.root;
    return st;
}
