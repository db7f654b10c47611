/* A variant's linear as the store has it: codes and zeros at their width, scales in the dtype that they were rounded to, adapters as they
 * are exported. What comes back is the same to the bit. */
#include <math.h>
#include <string.h>

#include "tensor/tensor.h"
#include "walk.h"

/* --- what there is of a linear ----------------------------------------------------------------------------------- */

enum form {         /* how the parcel has a tensor */
            AS_IS,  /* bit for bit */
            CODES,  /* at the width of codes, where each is an integer below 2^bits */
            SCALES, /* in scale_dtype, where that holds each to the bit */
            GROUPS, /* as it is; left out where column i is of group i / group */
};

typedef struct field { /* of a linear's state */
    const char *name;  /* of a tensor, in the parcel */
    size_t offset, bytes;
    enum form form; /* of a tensor */
} field;

#define TENSOR(name, member, form)                       \
    {                                                    \
        name, offsetof(ql_linear_state, member), 0, form \
    }
#define VALUE(member)                                                                          \
    {                                                                                          \
        NULL, offsetof(ql_linear_state, member), sizeof(((ql_linear_state *)0)->member), AS_IS \
    }

static const field tensors[] = {
    TENSOR("codes", q.codes, CODES),
    TENSOR("scales", q.scales, SCALES),
    TENSOR("zeros", q.zeros, CODES),
    TENSOR("g_idx", q.g_idx, GROUPS),
    TENSOR("levels", q.levels, AS_IS),
    TENSOR("own_b", q.b, AS_IS),
    TENSOR("own_a", q.a, AS_IS),
    TENSOR("b", b, AS_IS),
    TENSOR("a", a, AS_IS),
};
static const field values[] = {
    VALUE(skipped),     VALUE(status),           VALUE(own),
    VALUE(k),           VALUE(q.grid.bits),      VALUE(q.grid.group),
    VALUE(q.grid.sym),  VALUE(q.grid.mse),       VALUE(q.grid.scale_dtype),
    VALUE(q.grid.fp64), VALUE(q.grid.exponents), VALUE(q.grid.free_zeros),
    VALUE(q.status),    VALUE(q.damp),           VALUE(q.loss),
    VALUE(q.dead),
};

#define TENSORS (sizeof tensors / sizeof *tensors)
#define VALUES (sizeof values / sizeof *values)
#define ORDERED (1u << TENSORS) /* beside the tensors that there are: g_idx is left out */

static ql_tensor **
tensor_at(ql_linear_state *s, const field *f)
{
    return (ql_tensor **)(void *)((char *)s + f->offset);
}

static const char *
part_name(ql_ctx *cx, int linear, const char *name)
{
    return ql_format(cx, "%d.%s", linear, name);
}

/* Which tensors the state has, as bits: one that an entry has lost is missed. */
static uint32_t
present(ql_linear_state *s)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < TENSORS; i++)
        bits |= (uint32_t)(*tensor_at(s, &tensors[i]) != NULL) << i;
    return bits;
}

/* All values one behind the other, to or from `bytes`; how many bytes they are. */
static size_t
copy_values(ql_linear_state *s, char *bytes, bool out)
{
    size_t used = 0;

    for (size_t i = 0; i < VALUES; used += values[i++].bytes) {
        char *member = (char *)s + values[i].offset;

        if (bytes && out)
            memcpy(bytes + used, member, values[i].bytes);
        else if (bytes && values[i].bytes == sizeof(bool))
            *member = bytes[used] != 0;
        else if (bytes)
            memcpy(member, bytes + used, values[i].bytes);
    }
    return used;
}

static bool
is_scale_dtype(ql_dtype d)
{
    return d == QL_F16 || d == QL_BF16 || d == QL_F32;
}

static int64_t
group_count(const ql_grid *g, int64_t in)
{
    return g->group >= 1 ? (in - 1) / g->group + 1 : 0;
}

/* Numbers that a stage can leave. */
static bool
values_fit(const ql_linear_state *s, const ql_linear_info *info)
{
    const unsigned unknown = ~((1u << QL_NUM_COUNT) - 1);
    const int64_t most = info->out > info->in ? info->out : info->in;

    return !((s->status | s->own | s->q.status) & unknown) && !(s->own & ~s->status) && s->k >= -1 && s->k <= most &&
           s->q.dead >= 0 && s->q.dead <= info->in && isfinite(s->q.damp) && s->q.damp >= 0;
}

/* --- to the store ------------------------------------------------------------------------------------------------ */

/* Is column i of group i / group, for all of them? */
static ql_status
is_ordered(ql_walk *w, const ql_qlinear *q, bool *ordered)
{
    const int32_t *group;

    *ordered = q->g_idx != NULL;
    if (!q->g_idx)
        return QL_OK;
    QL_TRY(w->cx, ql_map(w->cx, q->g_idx, QL_READ, &group));
    for (int64_t i = 0; i < ql_count(q->g_idx); i++)
        *ordered = *ordered && group[i] == i / q->grid.group;
    return ql_unmap(w->cx, q->g_idx);
}

static ql_status
put_tensor(ql_walk *w, const ql_grid *g, const field *f, const ql_tensor *t, const char *name, ql_parcel *parcel)
{
    if (t && f->form == CODES && g->bits >= 1 && g->bits <= 8)
        return ql_parcel_put_codes(w->cx, parcel, name, t, g->bits);
    if (t && f->form == SCALES && is_scale_dtype(g->scale_dtype))
        return ql_parcel_put_as(w->cx, parcel, name, t, g->scale_dtype);
    return ql_parcel_put_tensor(w->cx, parcel, name, t);
}

ql_status
ql_kept_put(ql_walk *w, ql_linear_state *s, int l, ql_parcel *parcel)
{
    const size_t bytes = copy_values(s, NULL, true);
    char *record = ql_alloc(w->cx, bytes, 1);
    uint32_t *bits = ql_alloc(w->cx, 1, sizeof *bits);
    bool ordered;

    if (!record || !bits)
        return QL_MEMORY;
    if (!values_fit(s, &w->model->info.linears[l]))
        return QL_FAIL(w->cx, QL_BUG,
                       "%s: the plugin's flags, rank, damping or dead columns can't be those of a linear",
                       w->model->info.linears[l].name);
    (void)copy_values(s, record, true);
    QL_TRY(w->cx, is_ordered(w, &s->q, &ordered));
    *bits = present(s) | (ordered ? ORDERED : 0);
    QL_TRY(w->cx, ql_parcel_put(w->cx, parcel, part_name(w->cx, l, "values"), record, bytes));
    QL_TRY(w->cx, ql_parcel_put(w->cx, parcel, part_name(w->cx, l, "present"), bits, sizeof *bits));
    for (size_t i = 0; i < TENSORS; i++)
        if (tensors[i].form != GROUPS || !ordered)
            QL_TRY(w->cx, put_tensor(w, &s->q.grid, &tensors[i], *tensor_at(s, &tensors[i]),
                                     part_name(w->cx, l, tensors[i].name), parcel));
    return QL_OK;
}

/* --- from the store ---------------------------------------------------------------------------------------------- */

/* A tensor of that shape, -1: of any; NULL passes where it need not be there. */
static bool
fits(const ql_tensor *t, ql_dtype dtype, int64_t rows, int64_t cols)
{
    return !t || (ql_dtype_of(t) == dtype && (rows < 0 || ql_dim(t, 0) == rows) &&
                  (cols < 0 ? ql_ndim(t) == 1 : ql_ndim(t) == 2 && ql_dim(t, 1) == cols));
}

static bool
adapter_fits(const ql_tensor *b, const ql_tensor *a, const ql_linear_info *info)
{
    if (!b || !a)
        return !b && !a;
    return ql_ndim(b) == 2 && ql_ndim(a) == 2 && ql_dim(b, 0) == info->out && ql_dim(a, 1) == info->in &&
           ql_dim(b, 1) == ql_dim(a, 0) && ql_dtype_of(b) == ql_dtype_of(a);
}

/* Every group that g_idx names is one that has scales. */
static ql_status
check_groups(ql_walk *w, const ql_tensor *g_idx, int64_t groups, bool *fine)
{
    const int32_t *at;

    QL_TRY(w->cx, ql_map(w->cx, g_idx, QL_READ, &at));
    for (int64_t i = 0; i < ql_count(g_idx); i++)
        *fine = *fine && at[i] >= 0 && at[i] < groups;
    return ql_unmap(w->cx, g_idx);
}

/* What is read has the shapes that its users take for granted. */
static ql_status
check_linear(ql_walk *w, const ql_linear_state *s, int l)
{
    const ql_linear_info *info = &w->model->info.linears[l];
    const ql_qlinear *q = &s->q;
    const ql_grid *g = &q->grid;
    const ql_dtype number = g->fp64 ? QL_F64 : QL_F32;
    bool fine = values_fit(s, info) && adapter_fits(s->b, s->a, info) && adapter_fits(q->b, q->a, info);

    if (q->codes) {
        const int64_t groups = q->scales && ql_ndim(q->scales) == 2 ? ql_dim(q->scales, 1) : 0;

        fine = fine && g->bits >= 1 && g->bits <= 8 && g->group >= 1 && is_scale_dtype(g->scale_dtype) &&
               (q->zeros || q->levels) && fits(q->codes, QL_U8, info->out, info->in) &&
               groups == group_count(g, info->in) && fits(q->scales, number, info->out, groups) &&
               fits(q->zeros, number, info->out, groups) && fits(q->g_idx, QL_I32, info->in, -1) &&
               fits(q->levels, QL_F32, (int64_t)1 << g->bits, -1);
        if (fine && q->g_idx)
            QL_TRY(w->cx, check_groups(w, q->g_idx, groups, &fine));
    }
    return fine ? QL_OK : QL_FAIL(w->cx, QL_INVALID, "an entry of the cache: linear %d is not one of the model's", l);
}

static ql_status
make_ordered(ql_walk *w, int64_t in, int64_t group, ql_tensor **out)
{
    int32_t *groups;

    QL_TRY(w->cx, ql_new(w->cx, QL_I32, in, -1, out));
    QL_TRY(w->cx, ql_map(w->cx, *out, QL_WRITE, &groups));
    for (int64_t i = 0; i < in; i++)
        groups[i] = (int32_t)(i / group);
    return ql_unmap(w->cx, *out);
}

/* `ordered`: where the columns' groups are left out, they are in order. */
static ql_status
take_tensor(ql_walk *w, const ql_parcel *parcel, const ql_linear_state *s, int l, const field *f, bool ordered,
            ql_tensor **out)
{
    const ql_linear_info *info = &w->model->info.linears[l];
    const ql_grid *g = &s->q.grid;
    const ql_dtype number = g->fp64 ? QL_F64 : QL_F32;
    const char *name = part_name(w->cx, l, f->name);

    if (f->form == CODES && f->offset == offsetof(ql_linear_state, q.codes))
        return ql_parcel_codes(w->cx, parcel, name, g->bits, info->out, info->in, QL_U8, out);
    if (f->form == CODES)
        return ql_parcel_codes(w->cx, parcel, name, g->bits, info->out, group_count(g, info->in), number, out);
    if (f->form == SCALES)
        return ql_parcel_tensor_as(w->cx, parcel, name, number, out);
    if (f->form == GROUPS && ordered && g->group >= 1)
        return make_ordered(w, info->in, g->group, out);
    return ql_parcel_tensor(w->cx, parcel, name, out);
}

ql_status
ql_kept_take(ql_walk *w, const ql_parcel *parcel, int l, ql_linear_state *s)
{
    const size_t bytes = copy_values(s, NULL, false);
    char *record = ql_alloc(w->cx, bytes, 1);
    uint32_t bits;

    if (!record)
        return QL_MEMORY;
    QL_TRY(w->cx, ql_parcel_copy(w->cx, parcel, part_name(w->cx, l, "values"), record, bytes));
    QL_TRY(w->cx, ql_parcel_copy(w->cx, parcel, part_name(w->cx, l, "present"), &bits, sizeof bits));
    *s = (ql_linear_state){0};
    (void)copy_values(s, record, false);
    for (size_t i = 0; i < TENSORS; i++) {
        ql_tensor *t;

        QL_TRY(w->cx, take_tensor(w, parcel, s, l, &tensors[i], bits & ORDERED, &t));
        *tensor_at(s, &tensors[i]) = t ? ql_tensor_ref(t) : NULL;
        if (t)
            ql_tensor_seal(t);
    }
    if ((bits & ~ORDERED) != present(s))
        return QL_FAIL(w->cx, QL_INVALID, "an entry of the cache: linear %d lacks a tensor", l);
    return check_linear(w, s, l);
}
