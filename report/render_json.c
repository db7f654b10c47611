/* Results as JSON: an array with one object a cell, whatever the layout of the table. */
#include "render.h"

#include <math.h>
#include <string.h>

#include "base/json.h"

/* ql_json_quote, straight to the file. */
static ql_status
put_string(ql_ctx *cx, const char *text, FILE *out)
{
    ql_scope scope;
    const char *quoted;

    ql_scope_open(cx, &scope);
    quoted = ql_json_quote(cx, text, strlen(text));
    if (quoted)
        fputs(quoted, out);
    ql_scope_close(cx, &scope);
    return quoted ? QL_OK : QL_MEMORY;
}

/* `"key": `, behind a comma unless it is the first of its object. */
static ql_status
put_key(ql_ctx *cx, bool first, const char *key, FILE *out)
{
    if (!first)
        fputs(", ", out);
    QL_TRY(cx, put_string(cx, key, out));
    fputs(": ", out);
    return QL_OK;
}

static ql_status
put_labels(ql_ctx *cx, const ql_result_set *set, const ql_result_cell *c, FILE *out)
{
    fputs("{\"cell\": {", out);
    for (int64_t i = 0; i < set->axis_count; i++) {
        QL_TRY(cx, put_key(cx, i == 0, set->references[i], out));
        if (c->labels[i])
            QL_TRY(cx, put_string(cx, c->labels[i], out));
        else
            fputs("null", out);
    }
    fputs("}", out);
    return QL_OK;
}

static ql_status
put_metrics(ql_ctx *cx, const ql_result_cell *c, FILE *out)
{
    ql_scope scope;
    ql_status st = QL_OK;

    fputs(", \"metrics\": {", out);
    ql_scope_open(cx, &scope);
    for (int64_t i = 0; i < c->metric_count && st == QL_OK; i++) {
        const char *key = ql_format(cx, "%s.%s", c->metrics[i].stage, c->metrics[i].name);
        char number[QL_NUMBER_SIZE];

        st = key ? put_key(cx, i == 0, key, out) : QL_MEMORY;
        ql_number_exact(c->metrics[i].value, number);
        fputs(isfinite(c->metrics[i].value) ? number : "null", out);
    }
    ql_scope_close(cx, &scope);
    fputs("}", out);
    return st;
}

/* {"ppl": {"protocol": "gptq", …}, …}: the notes of a stage together, stages in the order of their first note. */
static ql_status
put_notes(ql_ctx *cx, const ql_result_cell *c, FILE *out)
{
    const char *before = "";

    for (int64_t i = 0; i < c->note_count; i++) {
        bool seen = false;

        for (int64_t k = 0; k < i; k++)
            seen = seen || strcmp(c->notes[k].stage, c->notes[i].stage) == 0;
        if (seen)
            continue;
        fputs(*before ? before : ", \"notes\": {", out);
        QL_TRY(cx, put_key(cx, true, c->notes[i].stage, out));
        for (int64_t k = i; k < c->note_count; k++) {
            if (strcmp(c->notes[k].stage, c->notes[i].stage) != 0)
                continue;
            fputs(k == i ? "{" : "", out);
            QL_TRY(cx, put_key(cx, k == i, c->notes[k].name, out));
            QL_TRY(cx, put_string(cx, c->notes[k].value, out));
        }
        fputs("}", out);
        before = ", ";
    }
    fputs(*before ? "}" : "", out);
    return QL_OK;
}

static ql_status
put_footnotes(ql_ctx *cx, const ql_result_cell *c, FILE *out)
{
    for (int64_t i = 0; i < c->footnote_count; i++) {
        fputs(i == 0 ? ", \"footnotes\": [" : ", ", out);
        QL_TRY(cx, put_string(cx, c->footnotes[i], out));
    }
    fputs(c->footnote_count ? "]" : "", out);
    return QL_OK;
}

static ql_status
put_cell(ql_ctx *cx, const ql_result_set *set, const ql_result_cell *c, FILE *out)
{
    QL_TRY(cx, put_labels(cx, set, c, out));
    QL_TRY(cx, put_metrics(cx, c, out));
    if (c->baseline)
        fputs(", \"baseline\": true", out);
    if (c->error) {
        fputs(", \"status\": \"failed\", \"error\": ", out);
        QL_TRY(cx, put_string(cx, c->error, out));
    }
    QL_TRY(cx, put_notes(cx, c, out));
    return put_footnotes(cx, c, out);
}

ql_status
ql_render_json(ql_ctx *cx, const ql_result_set *const *sets, int64_t count, FILE *out)
{
    const char *before = "[\n";

    for (int pass = 0; pass < 2; pass++) /* baselines on top, as in the table */
        for (int64_t s = 0; s < count; s++)
            for (int64_t i = 0; i < sets[s]->cell_count; i++) {
                if (sets[s]->cells[i].baseline != (pass == 0))
                    continue;
                fputs(before, out);
                QL_TRY(cx, put_cell(cx, sets[s], &sets[s]->cells[i], out));
                if (count > 1) {
                    fputs(", \"run\": ", out);
                    QL_TRY(cx, put_string(cx, sets[s]->run, out));
                }
                fputs("}", out);
                before = ",\n";
            }
    fputs(*before == '[' ? "[]\n" : "\n]\n", out);
    return QL_OK;
}
