/* YAML trees as text, through libyaml's emitter: stages and variants one a line, the rest in blocks. */
#include <string.h>
#include <yaml.h>

#include "yaml.h"

#include "base/printer.h"

#define BLOCK_DEPTH 2 /* mappings deeper than this are written on one line */
#define WIDTH 120

static int
write_bytes(void *user, unsigned char *data, size_t bytes)
{
    return fwrite(data, 1, bytes, user) == bytes;
}

static bool
emit_scalar(yaml_emitter_t *e, const ql_yaml *v)
{
    const yaml_scalar_style_t style = v->quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE;
    yaml_event_t event;

    return yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)v->text, (int)strlen(v->text), 1, 1,
                                        style) &&
           yaml_emitter_emit(e, &event);
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
    const bool map = v->kind == QL_YAML_MAP,
               block = map ? depth < BLOCK_DEPTH : depth <= BLOCK_DEPTH && has_collections(v);
    yaml_event_t event;
    bool ok;

    if (v->kind == QL_YAML_SCALAR)
        return emit_scalar(e, v);
    if (map)
        ok = yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
                                                 block ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE);
    else
        ok = yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                                  block ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE);
    ok = ok && yaml_emitter_emit(e, &event);
    for (int64_t i = 0; ok && i < v->count; i++)
        ok = (!map || emit_scalar(e, v->keys[i])) && emit_node(e, v->items[i], depth + 1);
    if (!ok)
        return false;
    ok = map ? yaml_mapping_end_event_initialize(&event) : yaml_sequence_end_event_initialize(&event);
    return ok && yaml_emitter_emit(e, &event);
}

static bool
emit_document(yaml_emitter_t *e, const ql_yaml *v)
{
    yaml_event_t event;

    return yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) && yaml_emitter_emit(e, &event) &&
           yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) && yaml_emitter_emit(e, &event) &&
           emit_node(e, v, 0) && yaml_document_end_event_initialize(&event, 1) && yaml_emitter_emit(e, &event) &&
           yaml_stream_end_event_initialize(&event) && yaml_emitter_emit(e, &event);
}

ql_status
ql_yaml_emit(ql_ctx *cx, const ql_yaml *v, const char **out)
{
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
    return ok ? QL_OK : QL_FAIL(cx, QL_BUG, "the pipeline can't be written as YAML");
}
