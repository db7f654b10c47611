/* A run under way and its end; finding a finished one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "db.h"
#include "base/guess.h"

int64_t
ql_run_id(const ql_results *r)
{
    return r->run;
}

int64_t
ql_run_original(const ql_results *r, int64_t cell, bool *first)
{
    const int64_t original = r->original[cell];

    *first = original >= 0;
    for (int64_t i = 0; i < cell && *first; i++)
        *first = r->original[i] != original;
    return original;
}

ql_status
ql_run_put_link(ql_results *r, const ql_run_link *l)
{
    QL_TRY(r->cx, ql_db_put(r,
                            "INSERT OR REPLACE INTO cell_node SELECT id, ?3, ?4, ?5, ?6, ?7 FROM cell"
                            " WHERE run = ?1 AND number = ?2",
                            "iiittit", r->run, l->cell, l->position, l->stage, l->prefix, l->node, l->error));
    if (!l->error)
        return QL_OK;
    return ql_db_put(r, "UPDATE cell SET error = ? WHERE run = ? AND number = ? AND error IS NULL", "tii", l->error,
                     r->run, l->cell);
}

ql_status
ql_run_footnote(ql_results *r, int64_t cell, const char *text)
{
    return ql_db_put(
        r,
        "INSERT INTO footnote SELECT c.id, (SELECT count(*) FROM footnote WHERE cell = c.id), ?3 FROM cell c"
        " WHERE c.run = ?1 AND c.number = ?2 ON CONFLICT DO NOTHING",
        "iit", r->run, cell, text);
}

ql_status
ql_run_cell_cost(ql_results *r, int64_t cell, double bits, const ql_cost *cost)
{
    return ql_db_put(
        r,
        "UPDATE cell SET bits = ?, seconds = seconds + ?, peak_bytes = max(peak_bytes, ?) WHERE run = ? AND number = ?",
        "rriii", bits, cost->seconds, (int64_t)cost->peak, r->run, cell);
}

ql_status
ql_run_stage_cost(ql_results *r, const ql_node *n, const ql_cost *c)
{
    return ql_db_put(r,
                     "UPDATE stage SET seconds = seconds + ?3, calls = calls + ?4, up_bytes = up_bytes + ?5,"
                     " down_bytes = down_bytes + ?6, peak_bytes = max(peak_bytes, ?7) WHERE run = ?1 AND position = ?2",
                     "iiriiii", r->run, n->id, c->seconds, (int64_t)c->calls, (int64_t)c->up, (int64_t)c->down,
                     (int64_t)c->peak);
}

/* --- means over linears --- */

typedef struct mean {
    char name[QL_FACT_NAME];
    double sum;
    int64_t count;
} mean;

typedef struct means {
    mean *items;
    int64_t count, capacity;
} means;

/* Sums are taken in the order of blocks and linears, so they have the same bits wherever the facts come from. */
static ql_status
add_to_mean(ql_ctx *cx, means *m, const char *name, double value)
{
    int64_t i = 0;

    while (i < m->count && strcmp(m->items[i].name, name) != 0)
        i++;
    if (i == m->count) {
        QL_TRY(cx, ql_grow(cx, &m->items, &m->capacity, m->count + 1, sizeof *m->items));
        m->items[m->count++] = (mean){.sum = 0};
        strncpy(m->items[i].name, name, QL_FACT_NAME - 1);
    }
    m->items[i].sum += value;
    m->items[i].count++;
    return QL_OK;
}

static ql_status
sum_linears(ql_results *r, int64_t node, means *m)
{
    ql_query *rows;
    const char *name;
    bool more;

    QL_TRY(r->cx, ql_query_open(r, &rows,
                                "SELECT name || ifnull('.' || part, ''), value FROM fact WHERE node = ? AND block >= 0"
                                " AND linear IS NOT NULL AND typeof(part) <> 'integer' ORDER BY block, position",
                                "i", node));
    for (;;) {
        QL_TRY(r->cx, ql_query_next(rows, &more));
        if (!more)
            return QL_OK;
        QL_TRY(r->cx, ql_query_text(rows, 0, &name));
        QL_TRY(r->cx, add_to_mean(r->cx, m, name ? name : "", ql_query_real(rows, 1)));
    }
}

static ql_status
keep_means(ql_results *r, int64_t node, const means *m)
{
    const ql_cost none = {0};
    ql_facts facts = {0};
    ql_status st = QL_OK;

    for (int64_t i = 0; i < m->count && st == QL_OK; i++)
        st = ql_fact(r->cx, &facts, m->items[i].name, NULL, m->items[i].sum / (double)m->items[i].count);
    if (st == QL_OK)
        st = ql_results_add(r, node, QL_WHOLE_MODEL, NULL, &facts);
    ql_facts_fini(&facts);
    return st == QL_OK ? ql_results_keep(r, node, QL_WHOLE_MODEL, &none) : st;
}

static ql_status
put_means_of(ql_results *r, int64_t node)
{
    means m = {0};
    ql_scope scope;
    ql_status st;

    ql_scope_open(r->cx, &scope);
    st = sum_linears(r, node, &m);
    if (st == QL_OK && m.count)
        st = keep_means(r, node, &m);
    ql_scope_close(r->cx, &scope);
    free(m.items);
    return st;
}

/* The node with the smallest number above *node that the run shows; 0: there is none left. */
static ql_status
next_node(ql_results *r, int64_t *node)
{
    return ql_db_int(r, node,
                     "SELECT min(n.node) FROM cell_node n JOIN cell c ON c.id = n.cell"
                     " WHERE c.run = ? AND n.error IS NULL AND n.node > ?",
                     "ii", r->run, *node);
}

static ql_status
put_means(ql_results *r)
{
    int64_t node = 0;

    QL_TRY(r->cx, next_node(r, &node));
    while (node) {
        QL_TRY(r->cx, put_means_of(r, node));
        QL_TRY(r->cx, next_node(r, &node));
    }
    return QL_OK;
}

/* --- the end --- */

/* Of all that the run says; facts of nodes have digests of their own, which count here. */
static ql_status
digest(ql_results *r, int64_t run, const char **out)
{
    static const char *const rows[] = {
        "SELECT name, version, device, seconds, peak_bytes FROM run WHERE id = ?1",
        "SELECT position, reference, in_matrix FROM axis WHERE run = ?1 ORDER BY position",
        "SELECT id, number, baseline, original, error, bits, seconds, peak_bytes FROM cell WHERE run = ?1 ORDER BY "
        "number",
        "SELECT cell, reference, label FROM label WHERE cell IN (SELECT id FROM cell WHERE run = ?1) ORDER BY cell, "
        "reference",
        "SELECT cell, position, text FROM footnote WHERE cell IN (SELECT id FROM cell WHERE run = ?1)"
        " ORDER BY cell, position",
        "SELECT l.cell, l.position, l.stage, l.prefix, l.error, l.node, n.key FROM cell_node l"
        " LEFT JOIN node n ON n.id = l.node WHERE l.cell IN (SELECT id FROM cell WHERE run = ?1) ORDER BY l.cell, "
        "l.position",
        "SELECT node, block, digest FROM cost WHERE node IN (SELECT l.node FROM cell_node l JOIN cell c ON c.id = "
        "l.cell"
        " WHERE c.run = ?1) ORDER BY node, block",
        "SELECT position, stage, kind, label, cells, seconds, calls, up_bytes, down_bytes, peak_bytes FROM stage"
        " WHERE run = ?1 ORDER BY position",
        "SELECT stage, position, port, source FROM edge WHERE run = ?1 ORDER BY stage, position",
        "SELECT position, stage, name, unit, better, parts, exp FROM kind WHERE run = ?1 ORDER BY position",
        "SELECT position, stage, label, plugin, cite FROM citation WHERE run = ?1 ORDER BY position",
        "SELECT part, position, reference FROM layout WHERE run = ?1 ORDER BY part, position",
        NULL,
    };

    return ql_db_digest(r, rows, run, 0, out);
}

static ql_status
sign(ql_results *r, int64_t run)
{
    const char *sum;

    QL_TRY(r->cx, digest(r, run, &sum));
    return ql_db_put(r, "UPDATE run SET digest = ? WHERE id = ?", "ti", sum, run);
}

ql_status
ql_db_sign_runs(ql_results *r)
{
    int64_t run = 0;

    for (;;) {
        QL_TRY(r->cx, ql_db_int(r, &run, "SELECT min(id) FROM run WHERE id > ?", "i", run));
        if (run == 0)
            return QL_OK;
        QL_TRY(r->cx, sign(r, run));
    }
}

static ql_status
finish(ql_results *r, const ql_run_end_info *info)
{
    QL_TRY(r->cx, put_means(r));
    QL_TRY(r->cx,
           ql_db_put(r,
                     "UPDATE run SET version = ?, device = ?, seconds = ?, peak_bytes = ?, finished = datetime('now')"
                     " WHERE id = ?",
                     "ttrii", info->version, info->device, info->seconds, (int64_t)info->peak, r->run));
    QL_TRY(r->cx,
           ql_db_put(r, "DELETE FROM run WHERE id <> ?1 AND name = (SELECT name FROM run WHERE id = ?1)", "i", r->run));
    QL_TRY(r->cx, ql_db_put(r, "DELETE FROM node WHERE id NOT IN (SELECT node FROM cell_node)", ""));
    return sign(r, r->run);
}

ql_status
ql_run_end(ql_results *r, const ql_run_end_info *info)
{
    ql_scope scope;
    ql_status st;

    QL_TRY(r->cx, ql_results_begin(r));
    ql_scope_open(r->cx, &scope);
    st = finish(r, info);
    ql_scope_close(r->cx, &scope);
    QL_TRY(r->cx, st);
    return ql_results_commit(r);
}

/* --- finding a run --- */

/* The name is not in the file: says which one was meant. */
static ql_status
no_such_run(ql_results *r, const char *name)
{
    ql_guess near = ql_guess_open(name);
    ql_query *q;
    bool more;

    QL_TRY(r->cx, ql_query_open(r, &q, "SELECT name FROM run WHERE finished IS NOT NULL ORDER BY name", ""));
    for (;;) {
        const char *other;

        QL_TRY(r->cx, ql_query_next(q, &more));
        if (!more)
            break;
        QL_TRY(r->cx, ql_query_text(q, 0, &other));
        ql_guess_offer(&near, other);
    }
    return QL_FAIL(r->cx, QL_NOT_FOUND, "%s: there is no run '%s'%s", r->path, name, ql_guess_text(r->cx, &near, ""));
}

/* Do the run's own rows have their digest? */
static ql_status
check_rows(ql_results *r, int64_t run, bool *right)
{
    const char *kept = NULL, *now;
    ql_query *q;
    bool more = true;

    QL_TRY(r->cx, ql_query_open(r, &q, "SELECT digest FROM run WHERE id = ?", "i", run));
    for (;;) {
        QL_TRY(r->cx, ql_query_next(q, &more));
        if (!more)
            break;
        QL_TRY(r->cx, ql_query_text(q, 0, &kept));
    }
    QL_TRY(r->cx, digest(r, run, &now));
    *right = kept && strcmp(kept, now) == 0;
    return QL_OK;
}

/* Do the facts of all nodes that it shows? */
static ql_status
check_facts(ql_results *r, int64_t run, bool *right)
{
    ql_query *q;
    bool more;

    QL_TRY(r->cx, ql_query_open(r, &q,
                                "SELECT DISTINCT k.node, k.block FROM cost k JOIN cell_node n ON n.node = k.node"
                                " JOIN cell c ON c.id = n.cell WHERE c.run = ?",
                                "i", run));
    while (*right) {
        QL_TRY(r->cx, ql_query_next(q, &more));
        if (!more)
            break;
        QL_TRY(r->cx, ql_db_check(r, ql_query_int(q, 0), ql_query_int(q, 1), right));
    }
    return QL_OK;
}

static ql_status
find(ql_results *r, const char *name, int64_t *run)
{
    bool right = false;

    QL_TRY(r->cx, ql_db_int(r, run, "SELECT id FROM run WHERE name = ? AND finished IS NOT NULL", "t", name));
    if (*run == 0)
        return no_such_run(r, name);
    QL_TRY(r->cx, check_rows(r, *run, &right));
    QL_TRY(r->cx, check_facts(r, *run, &right));
    return right ? QL_OK
                 : QL_FAIL(r->cx, QL_IO, "%s: run '%s' is damaged: its rows don't have their digest; run it again",
                           r->path, name);
}

ql_status
ql_run_find(ql_results *r, const char *name, int64_t *run)
{
    ql_scope scope;
    ql_status st;

    ql_scope_open(r->cx, &scope);
    st = find(r, name, run);
    ql_scope_close(r->cx, &scope);
    return st;
}
