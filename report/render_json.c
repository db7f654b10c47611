/* Results as JSON: an array with one object a cell, whatever the layout of the table. */
#include "render.h"

#include <math.h>
#include <string.h>

#include <qloom/json.h>

/* Original models on top, as in the table. */
#define IN_ORDER " ORDER BY c.baseline DESC, c.id"

/* What a cell says comes from four queries, in the order of the cells; column 0 of each is the cell. */
enum { LABELS, NUMBERS, NOTES, FOOTNOTES, PARTS };

static const char *const part_sql[PARTS] = {
    [LABELS] =
        "SELECT c.id, a.reference, l.label FROM cell c JOIN axis a ON a.run = c.run AND a.in_matrix LEFT JOIN label l"
        " ON l.cell = c.id AND l.reference = a.reference" IN_ORDER ", a.position",
    [NUMBERS] = "SELECT c.id, n.metric, n.value FROM cell c JOIN number n ON n.cell = c.id WHERE NOT n.cost" IN_ORDER
                ", n.position",
    [NOTES] = "SELECT c.id, n.stage, n.name, n.value FROM cell c JOIN (SELECT *, min(position) OVER (PARTITION BY"
              " cell, stage) AS first FROM note) n ON n.cell = c.id" IN_ORDER ", n.first, n.position",
    [FOOTNOTES] = "SELECT c.id, f.text FROM cell c JOIN footnote f ON f.cell = c.id" IN_ORDER ", f.position",
};

typedef struct cursor {
    ql_sheet rows;
    int64_t at;
} cursor;

/* The next row of that cell; NULL: it has no more. */
static const ql_field *
next(cursor *c, int64_t cell)
{
    return c->at < c->rows.count && ql_row(&c->rows, c->at)->integer == cell ? ql_row(&c->rows, c->at++) : NULL;
}

/* {"ppl": {"protocol": "gptq", …}, …}: the notes of a stage together, stages in the order of their first note. */
static void
put_notes(ql_json_writer *w, cursor *notes, int64_t cell)
{
    const char *stage = NULL;

    for (const ql_field *v; (v = next(notes, cell));) {
        if (!stage)
            ql_json_put_open(w, "notes", '{', QL_JSON_SPACED);
        if (!stage || strcmp(stage, v[1].text) != 0) {
            if (stage)
                ql_json_put_close(w);
            ql_json_put_open(w, v[1].text, '{', QL_JSON_SPACED);
        }
        stage = v[1].text;
        ql_json_put_text(w, v[2].text, v[3].text);
    }
    for (int level = 0; stage && level < 2; level++)
        ql_json_put_close(w);
}

/* A row of the query for cells: id, baseline, error, run. */
static void
put_cell(ql_json_writer *w, const ql_field *cell, cursor *parts, bool one_run)
{
    const int64_t id = cell[0].integer;
    char number[QL_NUMBER_SIZE];
    bool any = false;

    ql_json_put_open(w, NULL, '{', QL_JSON_SPACED);
    ql_json_put_open(w, "cell", '{', QL_JSON_SPACED);
    for (const ql_field *v; (v = next(&parts[LABELS], id));)
        ql_json_put_text(w, v[1].text, v[2].text);
    ql_json_put_close(w);
    ql_json_put_open(w, "metrics", '{', QL_JSON_SPACED);
    for (const ql_field *v; (v = next(&parts[NUMBERS], id));) {
        ql_number_exact(v[2].real, number);
        ql_json_put_raw(w, v[1].text, isfinite(v[2].real) ? number : "null");
    }
    ql_json_put_close(w);
    if (cell[1].integer)
        ql_json_put_bool(w, "baseline", true);
    if (cell[2].text) {
        ql_json_put_text(w, "status", "failed");
        ql_json_put_text(w, "error", cell[2].text);
    }
    put_notes(w, &parts[NOTES], id);
    for (const ql_field *v; (v = next(&parts[FOOTNOTES], id)); any = true) {
        if (!any)
            ql_json_put_open(w, "footnotes", '[', QL_JSON_SPACED);
        ql_json_put_text(w, NULL, v[1].text);
    }
    if (any)
        ql_json_put_close(w);
    if (!one_run)
        ql_json_put_text(w, "run", cell[3].text);
    ql_json_put_close(w);
}

ql_status
ql_render_json(const ql_book *b, FILE *out)
{
    ql_json_writer w = {.cx = b->cx, .out = out};
    cursor parts[PARTS] = {0};
    ql_sheet cells;

    QL_TRY(b->cx, ql_sheet_read(
                      b->db, &cells,
                      "SELECT c.id, c.baseline, c.error, r.name FROM cell c JOIN run r ON r.id = c.run" IN_ORDER, ""));
    for (int k = 0; k < PARTS; k++)
        QL_TRY(b->cx, ql_sheet_read(b->db, &parts[k].rows, part_sql[k], ""));
    for (int64_t i = 0; i < cells.count; i++) {
        fputs(i ? ",\n" : "[\n", out);
        put_cell(&w, ql_row(&cells, i), parts, b->runs == 1);
    }
    fputs(cells.count ? "\n]\n" : "[]\n", out);
    return ql_json_put_end(&w);
}
