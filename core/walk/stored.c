/* Results to entries of the store and back, bit for bit. */
#include "stored.h"

#include <string.h>

#include "tensor/tensor.h"

/* What a result has besides tensors. */
typedef struct record {
    int64_t skipped, status, own, k;
    int64_t bits, group, sym, scale_dtype, fp64, exponents, free_zeros, q_status, dead;
    double mse, damp, loss;
} record;

typedef struct tensor_row { /* a tensor of a result and its name in the entry */
    const char *name;
    size_t offset;
} tensor_row;

static const tensor_row tensor_rows[] = {
    {"codes", offsetof(ql_result, q.codes)},
    {"scales", offsetof(ql_result, q.scales)},
    {"zeros", offsetof(ql_result, q.zeros)},
    {"g_idx", offsetof(ql_result, q.g_idx)},
    {"levels", offsetof(ql_result, q.levels)},
    {"own_b", offsetof(ql_result, q.b)},
    {"own_a", offsetof(ql_result, q.a)},
    {"b", offsetof(ql_result, b)},
    {"a", offsetof(ql_result, a)},
};

#define TENSORS ((int)(sizeof tensor_rows / sizeof *tensor_rows))

static ql_tensor **
tensor_at(ql_result *r, const tensor_row *row)
{
    return (ql_tensor **)(void *)((char *)r + row->offset);
}

static record
record_of(const ql_result *r)
{
    const ql_grid *g = &r->q.grid;

    return (record){.skipped = r->skipped,
                    .status = r->status,
                    .own = r->own,
                    .k = r->k,
                    .bits = g->bits,
                    .group = g->group,
                    .sym = g->sym,
                    .scale_dtype = (int64_t)g->scale_dtype,
                    .fp64 = g->fp64,
                    .exponents = g->exponents,
                    .free_zeros = g->free_zeros,
                    .q_status = r->q.status,
                    .dead = r->q.dead,
                    .mse = g->mse,
                    .damp = r->q.damp,
                    .loss = r->q.loss};
}

static ql_result
result_of(const record *m)
{
    return (ql_result){
        .skipped = m->skipped != 0,
        .status = (unsigned)m->status,
        .own = (unsigned)m->own,
        .k = (int)m->k,
        .q = {.grid = {.bits = (int)m->bits,
                       .group = m->group,
                       .sym = m->sym != 0,
                       .mse = m->mse,
                       .scale_dtype = (ql_dtype)m->scale_dtype,
                       .fp64 = m->fp64 != 0,
                       .exponents = m->exponents != 0,
                       .free_zeros = m->free_zeros != 0},
              .status = (unsigned)m->q_status,
              .damp = m->damp,
              .loss = m->loss,
              .dead = m->dead},
    };
}

static const char *
part_name(ql_ctx *cx, int linear, const char *name)
{
    return ql_format(cx, "%d.%s", linear, name);
}

/* --- what things are called --- */

static const char *
about_path(ql_walk *w, const ql_path *p)
{
    const char *root = w->plan->root->label;
    const char *quantized = p->quantizer ? ql_format(w->cx, "%s on %s", p->quantizer->node->label, root) : root;

    if (quantized && p->compensator)
        quantized = ql_format(w->cx, "%s on %s", p->compensator->node->label, quantized);
    return quantized && p->written ? ql_format(w->cx, "%s of %s", p->written->label, quantized) : quantized;
}

static const char *
about_unit(ql_walk *w, int64_t unit)
{
    const ql_path path = ql_unit_path(w, w->plan->units[unit]);

    return about_path(w, &path);
}

static const char *
about_evaluation(ql_walk *w, int64_t i)
{
    const ql_eval *e = &w->plan->evals[i];
    const char *path = about_path(w, &w->plan->paths[e->path]);

    return path ? ql_format(w->cx, "%s of %s", e->node->label, path) : NULL;
}

/* --- entries --- */

typedef struct place { /* of an entry */
    ql_key key;
    int64_t block;
    const char *stage, *about;
} place;

static place
unit_place(ql_walk *w, int64_t unit, int64_t block)
{
    return (place){w->replay.keys->units[unit], block, w->plan->units[unit]->node->name, about_unit(w, unit)};
}

static place
evaluation_place(ql_walk *w, int64_t i, int64_t block)
{
    return (place){w->replay.keys->evals[i], block, w->plan->evals[i].node->name, about_evaluation(w, i)};
}

/* Store first, then journal: what the journal tells is there. */
static ql_status
note(ql_walk *w, const place *p, bool replayed)
{
    const ql_journal_line line = {
        .block = p->block, .stage = p->stage, .what = p->about, .key = p->key, .replayed = replayed};

    return p->about ? ql_journal_put(w->cx, w->replay.journal, &line) : QL_MEMORY;
}

static ql_status
save(ql_walk *w, const place *p, ql_entry *e)
{
    if (!p->about)
        return QL_MEMORY;
    QL_TRY(w->cx, ql_entry_bytes(w->cx, e, QL_ABOUT, p->about, strlen(p->about)));
    QL_TRY(w->cx, ql_store_save(w->cx, w->replay.store, p->key, p->block, e));
    return note(w, p, false);
}

/* Opens the entry, takes in what it has, and closes it. */
static ql_status
load(ql_walk *w, const place *p, ql_status (*take)(ql_walk *, const ql_st_file *, void *), void *into)
{
    ql_st_file f;
    ql_scope scope;
    ql_status st;

    ql_scope_open(w->cx, &scope);
    st = ql_store_load(w->cx, w->replay.store, p->key, p->block, &f);
    if (st == QL_OK)
        st = take(w, &f, into);
    ql_st_close(&f);
    if (st == QL_OK)
        st = note(w, p, true);
    ql_scope_close(w->cx, &scope);
    return st;
}

/* --- a unit's block --- */

static ql_status
put_result(ql_walk *w, ql_result *r, int l, record *m, ql_entry *e)
{
    *m = record_of(r);
    QL_TRY(w->cx, ql_entry_bytes(w->cx, e, part_name(w->cx, l, "record"), m, sizeof *m));
    for (int i = 0; i < TENSORS; i++)
        QL_TRY(w->cx,
               ql_entry_tensor(w->cx, e, part_name(w->cx, l, tensor_rows[i].name), *tensor_at(r, &tensor_rows[i])));
    return QL_OK;
}

ql_status
ql_stored_save_unit(ql_walk *w, int64_t unit)
{
    const int n = w->model->info.linear_count;
    const ql_unit *quantizer = w->plan->units[unit]->quantizer;
    const place p = unit_place(w, unit, w->layer);
    ql_work *work = &w->work[unit];
    record *records = ql_alloc(w->cx, (size_t)n, sizeof *records);
    ql_entry e;

    if (!records)
        return QL_MEMORY;
    QL_TRY(w->cx, ql_entry_begin(w->cx, (int64_t)n * (TENSORS + 1) + 3, &e));
    QL_TRY(w->cx, ql_entry_bytes(w->cx, &e, "tally", &work->block, sizeof work->block));
    if (quantizer) /* whose W^ the adapter stands on, unless there are codes beside it */
        QL_TRY(w->cx, ql_entry_bytes(w->cx, &e, "quantizer", &w->replay.keys->units[quantizer->id], sizeof(ql_key)));
    for (int l = 0; l < n; l++)
        QL_TRY(w->cx, put_result(w, &work->results[l], l, &records[l], &e));
    return save(w, &p, &e);
}

static ql_status
take_result(ql_walk *w, const ql_st_file *f, int l, ql_result *r)
{
    record m;

    QL_TRY(w->cx, ql_entry_copy(w->cx, f, part_name(w->cx, l, "record"), &m, sizeof m));
    *r = result_of(&m);
    for (int i = 0; i < TENSORS; i++) {
        ql_tensor *t;

        QL_TRY(w->cx, ql_entry_load(w->cx, f, part_name(w->cx, l, tensor_rows[i].name), &t));
        *tensor_at(r, &tensor_rows[i]) = t ? ql_tensor_ref(t) : NULL;
    }
    return QL_OK;
}

static ql_status
take_unit(ql_walk *w, const ql_st_file *f, void *into)
{
    ql_work *work = into;

    QL_TRY(w->cx, ql_entry_copy(w->cx, f, "tally", &work->block, sizeof work->block));
    for (int l = 0; l < w->model->info.linear_count; l++)
        QL_TRY(w->cx, take_result(w, f, l, &work->results[l]));
    return QL_OK;
}

ql_status
ql_stored_load_unit(ql_walk *w, int64_t unit)
{
    const place p = unit_place(w, unit, w->layer);

    return load(w, &p, take_unit, &w->work[unit]);
}

/* --- a unit's tally --- */

ql_status
ql_stored_save_tally(ql_walk *w, int64_t unit)
{
    const place p = unit_place(w, unit, QL_WHOLE);
    ql_entry e;

    QL_TRY(w->cx, ql_entry_begin(w->cx, 2, &e));
    QL_TRY(w->cx, ql_entry_bytes(w->cx, &e, "tally", &w->work[unit].all, sizeof(ql_tally)));
    return save(w, &p, &e);
}

static ql_status
take_tally(ql_walk *w, const ql_st_file *f, void *into)
{
    return ql_entry_copy(w->cx, f, "tally", into, sizeof(ql_tally));
}

ql_status
ql_stored_load_tally(ql_walk *w, int64_t unit)
{
    const place p = unit_place(w, unit, QL_WHOLE);

    return load(w, &p, take_tally, &w->work[unit].all);
}

/* --- an evaluator's facts, which lie in the results --- */

ql_status
ql_stored_note(ql_walk *w, int64_t evaluation, int64_t block, bool replayed)
{
    const place p = evaluation_place(w, evaluation, block);

    return note(w, &p, replayed);
}
