/* results.db, the one place that knows what runs found: facts belong to nodes (a stage's work, by content), and a run's cells say
 * which nodes they show. docs/database.md has the schema. SQLite is seen in this folder only. */
#ifndef QLOOM_RESULTS_RESULTS_H
#define QLOOM_RESULTS_RESULTS_H

#include <qloom/job.h>

#include "facts.h"
#include "pipeline/graph.h"

#define QL_RESULTS_FILE "results.db"
#define QL_NOTE_DATA "data"          /* the note with the hash of the tokens that a stage read */
#define QL_ORIGINAL_LABEL "original" /* of a baseline, where it stands for every label */
#define QL_WHOLE_MODEL (-1)          /* in the place of a block: facts of the whole model */

typedef struct ql_results ql_results;

typedef struct ql_cost {
    double seconds;
    uint64_t calls, up, down, peak; /* bytes to and from the device, and the most that it held meanwhile */
} ql_cost;

void ql_cost_add(ql_cost *to, const ql_cost *from);

/* Opens a results.db; for writing it is made when it is not there. `path` NULL: one in memory, for reading without any
 * table: connections have temporary ones of their own. A file of an earlier schema is brought
 * up to this one, on reading too. NOT_FOUND, or IO in words: damaged, locked by another program, no results of qloom, written by a
 * later one. The text at `path` stays the caller's and has to live as long. [one thread per context, as all here] */
ql_status ql_results_open(ql_ctx *cx, const char *path, bool write, ql_results **out);
/* NULL is fine; what was not committed is gone. */
void ql_results_close(ql_results *r);

/* Changes between the two are one transaction: others see all of them or none. Outside of it each change is one of its own. */
ql_status ql_results_begin(ql_results *r);
ql_status ql_results_commit(ql_results *r);

/* --- nodes and their facts --- */

/* The node with that content key, made when it is not there; NULL: one of its own, which nothing finds again. */
ql_status ql_results_node(ql_results *r, const uint64_t key[2], const ql_node *n, int64_t *node);

/* Facts of a block (or QL_WHOLE_MODEL), of one linear or with NULL of all. Nothing is on the disk and no lock is held until they are
 * kept. */
ql_status ql_results_add(ql_results *r, int64_t node, int64_t block, const char *linear, const ql_facts *facts);
/* What was added for the block is all of it: it takes the place of what the database has there, with a digest. */
ql_status ql_results_keep(ql_results *r, int64_t node, int64_t block, const ql_cost *cost);
/* A number of a series of the node, under its step; forget: all of them. */
ql_status ql_results_series(ql_results *r, int64_t node, const char *name, int64_t step, double value);
ql_status ql_results_forget_series(ql_results *r, int64_t node);
/* Whatever was added and not kept is forgotten. */
ql_status ql_results_drop(ql_results *r);
/* Has the database the block's facts, as they were kept? Damaged ones are reported in the log and removed. `cost`: as kept. */
ql_status ql_results_known(ql_results *r, int64_t node, int64_t block, ql_cost *cost, bool *known);

/* --- a run, while it is under way --- */

/* What `table:` of the file and the cells of the graph say, before anything is worked out: rows of an unfinished run of that name,
 * which takes the place of an unfinished one. The cells are those of the graph in their order, then the baselines unless the file says
 * `baseline: false`. Cells whose evaluators, evaluation data and base model are the same share a baseline: there are several only where
 * the matrix varies those, and none for cells that are the original model themselves. */
ql_status ql_run_begin(ql_results *r, const ql_graph *g, const char *name);
/* The baseline of a cell: its number; -1: none. `first`: no earlier cell has the same. */
int64_t ql_run_original(const ql_results *r, int64_t cell, bool *first);

/* The cell shows the node's facts as those of `stage`, each name behind `prefix`; stages in the order of `position`. `error`: why it
 * has none, and the cell failed; the first reason stays. NULL: fine. Again for a position: replaces it. */
typedef struct ql_run_link {
    int64_t cell, position;
    const char *stage, *prefix;
    int64_t node;
    const char *error;
} ql_run_link;
ql_status ql_run_put_link(ql_results *r, const ql_run_link *link);
/* A warning that goes with the cell's numbers; the same text counts once. */
ql_status ql_run_footnote(ql_results *r, int64_t cell, const char *text);
/* What the cell stores per weight (NaN: unknown); adds to what its own stages cost. */
ql_status ql_run_cell_cost(ql_results *r, int64_t cell, double bits, const ql_cost *cost);
/* Adds to what a node of the graph cost. */
ql_status ql_run_stage_cost(ql_results *r, const ql_node *n, const ql_cost *cost);

typedef struct ql_run_end_info {
    const char *device, *version;
    double seconds; /* of the whole run */
    uint64_t peak;  /* bytes of host memory at most */
} ql_run_end_info;
/* The run is finished: means over linears become facts of their nodes, it takes the place of an earlier run of that name, and nodes that
 * no run refers to go, all in one transaction. */
ql_status ql_run_end(ql_results *r, const ql_run_end_info *info);
/* The number of the run under way in column `run` of the tables; 0: none. */
int64_t ql_run_id(const ql_results *r);

/* The number of a finished run, its rows compared with their digests. NOT_FOUND names the nearest; IO: damaged. */
ql_status ql_run_find(ql_results *r, const char *name, int64_t *run);

/* --- queries --- */

typedef struct ql_field { /* of a column in a row */
    const char *text;     /* NULL unless it is a text */
    int64_t integer;      /* 0 unless it is a whole number */
    double real;          /* of any number; NULL is NaN, for so SQLite stores it */
} ql_field;

typedef struct ql_sheet {
    int64_t count;
    int width;
    ql_field *values; /* row by row */
} ql_sheet;

/* All rows of a statement, in the innermost scope; `types` has a letter an argument that is bound: t text or NULL, i int64_t, r double. */
ql_status ql_sheet_read(ql_results *r, ql_sheet *out, const char *sql, const char *types, ...);
/* The rows of `sql`, whose parameters are ?1 … of `numbers`, become those of `put` on another database, a column a parameter. */
ql_status ql_results_copy(ql_results *from, const char *sql, const int64_t numbers[3], ql_results *to, const char *put);
/* Statements without arguments and rows. */
ql_status ql_results_exec(ql_results *r, const char *sql);

static inline const ql_field *
ql_row(const ql_sheet *r, int64_t i)
{
    return r->values + i * r->width;
}

/* ql_job_query over RUNS/results.db, with `run` in the place of `:run`. */
ql_status ql_results_query(ql_ctx *cx, const char *runs, const char *run, const char *sql, ql_job_row row, void *user);

#endif
