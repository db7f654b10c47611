/* One block's weights. */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

#include <qloom/exporter.h>

#include "tensor/tensor.h"
#include "source.h"

const char *
ql_name_in_block(ql_ctx *cx, const ql_model_info *info, int64_t block, const char *name)
{
    const char *prefix = ql_format(cx, info->block_prefix, (long long)block);

    return prefix ? ql_format(cx, "%s%s", prefix, name) : NULL;
}

static const char *
block_name(ql_ctx *cx, const ql_model_handle *m, int64_t layer, const char *below, const char *suffix)
{
    const char *name = ql_name_in_block(cx, &m->info, layer, below);

    return name ? ql_format(cx, "%s%s", name, suffix) : NULL;
}

void
ql_block_prefetch(ql_ctx *cx, const ql_model_handle *m, int64_t layer)
{
    ql_scope scope;

    if (layer < 0 || layer >= m->info.layers)
        return;
    ql_scope_open(cx, &scope);
    for (int i = 0; i < m->info.linear_count; i++) {
        const char *name = block_name(cx, m, layer, m->info.linears[i].name, ".weight");

        if (name)
            ql_source_prefetch(m->source, name);
    }
    ql_scope_close(cx, &scope);
}

ql_status
ql_model_dtype(ql_ctx *cx, const ql_model_handle *m, int64_t layer, int linear, ql_dtype *out)
{
    const char *name = block_name(cx, m, layer, m->info.linears[linear].name, ".weight");
    const ql_st_tensor *t = name ? ql_source_find(m->source, name) : NULL;

    *out = t ? ql_st_dtype_device(t->dtype) : QL_DTYPE_NONE;
    if (*out == QL_DTYPE_NONE)
        *out = QL_F32; /* codes are decoded to it */
    return name ? QL_OK : QL_MEMORY;
}

/* --- loading ---------------------------------------------------------------------------------------------------- */

/* The tensors of a block in one row: weights of its linears, their biases, its smalls. */
static int
slot_count(const ql_model_info *info)
{
    return 2 * info->linear_count + info->small_count;
}

/* What slot `s` of the row is in the file; without a name where a linear has no bias. */
static ql_status
slot_want(ql_ctx *cx, const ql_block *b, int s, ql_want *out)
{
    const ql_model_info *info = &b->m->info;
    const int linears = info->linear_count;

    *out = (ql_want){.ndim = 1};
    if (s < linears) {
        *out = (ql_want){.ndim = 2, .dims = {info->linears[s].out, info->linears[s].in}};
        out->name = block_name(cx, b->m, b->layer, info->linears[s].name, ".weight");
    } else if (s < 2 * linears) {
        out->dims[0] = info->linears[s - linears].out;
        if (!info->linears[s - linears].bias)
            return QL_OK;
        out->name = block_name(cx, b->m, b->layer, info->linears[s - linears].name, ".bias");
    } else {
        out->dims[0] = info->smalls[s - 2 * linears].size;
        out->name = block_name(cx, b->m, b->layer, info->smalls[s - 2 * linears].name, "");
    }
    return out->name ? QL_OK : QL_MEMORY;
}

/* The tensor of slot `s` in `dtype`, kept beyond the scope: from the file, or from what is begun; NULL where there is none. */
static ql_status
load(ql_ctx *cx, ql_block *b, int s, ql_dtype dtype, ql_tensor **out)
{
    ql_tensor *t = NULL, *raw;
    ql_scope scope;
    ql_want want;
    ql_status st;

    ql_scope_open(cx, &scope);
    st = slot_want(cx, b, s, &want);
    want.dtype = dtype;
    if (st == QL_OK && want.name && b->begun && b->begun[s]) {
        st = ql_tensor_borrow(cx, b->begun[s], &raw);
        ql_tensor_unref(b->begun[s]); /* so that it goes as soon as it is converted */
        b->begun[s] = NULL;
        st = st == QL_OK ? ql_source_finish(cx, b->m->source, &want, raw, &t) : st;
    } else if (st == QL_OK && want.name) {
        st = ql_source_load(cx, b->m->source, &want, &t);
    }
    *out = st == QL_OK ? ql_tensor_ref(t) : NULL;
    ql_scope_close(cx, &scope);
    return st;
}

/* `t` in another dtype, kept beyond the scope. */
static ql_status
converted(ql_ctx *cx, const ql_tensor *t, ql_dtype dtype, ql_tensor **out)
{
    ql_scope scope;
    ql_tensor *made;
    ql_status st;

    ql_scope_open(cx, &scope);
    st = ql_convert(cx, t, dtype, &made);
    *out = st == QL_OK ? ql_tensor_ref(made) : NULL;
    ql_scope_close(cx, &scope);
    return st;
}

/* Does every value of dtype `file` have its own in dtype `compute`? */
static bool
holds(ql_dtype compute, ql_dtype file)
{
    return compute == file || (compute == QL_F32 && (file == QL_F16 || file == QL_BF16));
}

/* The tensor NAME.weight. */
static ql_status
load_plain(ql_ctx *cx, ql_block *b, int i, block_linear *l)
{
    QL_TRY(cx, ql_model_dtype(cx, b->m, b->layer, i, &l->file));
    if (holds(b->compute, l->file))
        return load(cx, b, i, b->compute, &l->w);
    QL_TRY(cx, load(cx, b, i, QL_DTYPE_NONE, &l->exact));
    return converted(cx, l->exact, b->compute, &l->w);
}

/* Codes, decoded once: from here it is a weight like any other. */
static ql_status
load_packed(ql_ctx *cx, const ql_block *b, const ql_qlinear *q, block_linear *l)
{
    ql_tensor *w;

    l->file = QL_F32;
    QL_TRY(cx, ql_group_decode(cx, q, &w));
    if (b->compute == QL_F32)
        return converted(cx, w, QL_F32, &l->w);
    QL_TRY(cx, converted(cx, w, QL_F32, &l->exact));
    return converted(cx, w, b->compute, &l->w);
}

/* An adapter corrects one base: on another it makes things worse, silently. */
static ql_status
check_base(ql_ctx *cx, const block_linear *l, const char *expected)
{
    const char *hash;

    if (!expected)
        return QL_OK;
    QL_TRY(cx, ql_weight_hash(cx, l->exact ? l->exact : l->w, &hash));
    if (strcmp(hash, expected) != 0)
        return QL_FAIL(cx, QL_INVALID,
                       "%s: the adapter was made for another base model: its weight has fingerprint %s there, %s here",
                       l->name, expected, hash);
    return QL_OK;
}

static ql_status
load_adapter(ql_ctx *cx, const ql_block *b, const ql_stored_linear *s, block_linear *l)
{
    ql_tensor *small_b = NULL, *small_a = NULL;

    if (!s->a)
        return QL_OK;
    QL_TRY(cx, check_base(cx, l, s->hash));
    l->file = QL_F32;
    QL_TRY(cx, converted(cx, s->b, QL_F32, &l->b));
    QL_TRY(cx, converted(cx, s->a, QL_F32, &l->a));
    QL_TRY(cx, converted(cx, s->b, b->compute, &small_b));
    l->adapter.b = small_b;
    QL_TRY(cx, converted(cx, s->a, b->compute, &small_a));
    l->adapter.a = small_a;
    return QL_OK;
}

static ql_status
load_linear(ql_ctx *cx, ql_block *b, int i, block_linear *l)
{
    const char *name = block_name(cx, b->m, b->layer, b->m->info.linears[i].name, "");
    ql_stored_linear stored;

    l->name = name ? ql_heap(cx, strlen(name) + 1, 1) : NULL;
    if (!l->name)
        return QL_MEMORY;
    memcpy(l->name, name, strlen(name));
    QL_TRY(cx, ql_model_linear(cx, b->m, b->layer, i, true, &stored));
    QL_TRY(cx, stored.packed ? load_packed(cx, b, &stored.q, l) : load_plain(cx, b, i, l));
    QL_TRY(cx, load_adapter(cx, b, &stored, l));
    return load(cx, b, b->m->info.linear_count + i, b->compute, &l->bias);
}

static ql_status
load_block(ql_ctx *cx, ql_block *b)
{
    const ql_model_info *info = &b->m->info;

    b->linears = ql_heap(cx, (size_t)info->linear_count, sizeof *b->linears);
    b->smalls = ql_heap(cx, (size_t)info->small_count, sizeof(ql_tensor *));
    if (!b->linears || !b->smalls)
        return QL_MEMORY;
    for (int i = 0; i < info->linear_count; i++) {
        ql_scope scope;

        ql_scope_open(cx, &scope); /* one linear's codes at a time */
        QL_TRY(cx, load_linear(cx, b, i, &b->linears[i]));
        ql_scope_close(cx, &scope);
    }
    for (int i = 0; i < info->small_count; i++) {
        QL_TRY(cx, load(cx, b, 2 * info->linear_count + i, b->compute, &b->smalls[i]));
        ql_tensor_seal(b->smalls[i]);
    }
    return QL_OK;
}

static ql_status
make(ql_ctx *cx, const ql_model_handle *m, int64_t layer, ql_block **out)
{
    *out = ql_heap(cx, 1, sizeof **out);
    if (!*out)
        return QL_MEMORY;
    **out = (ql_block){.m = m, .layer = layer, .compute = cx->device->info.compute_dtype};
    return QL_OK;
}

/* Bytes that block `b` has in its files. */
static size_t
file_bytes(ql_ctx *cx, const ql_block *b)
{
    size_t sum = 0;

    for (int s = 0; s < slot_count(&b->m->info); s++) {
        const ql_st_tensor *t = NULL;
        ql_want want;

        if (slot_want(cx, b, s, &want) == QL_OK && want.name)
            t = ql_source_find(b->m->source, want.name);
        sum += t ? t->bytes : 0;
    }
    return sum;
}

static ql_status
begin(ql_ctx *cx, ql_block *b)
{
    const ql_device *d = cx->device;
    const size_t room = ql_device_room(d), bytes = file_bytes(cx, b);

    if (room && (d->used > room || room - d->used < 2 * bytes)) /* the block at work comes first */
        return QL_FAIL(cx, QL_MEMORY, "no room for the next block's weights yet");
    b->begun = ql_heap(cx, (size_t)slot_count(&b->m->info), sizeof *b->begun);
    if (!b->begun)
        return QL_MEMORY;
    for (int s = 0; s < slot_count(&b->m->info); s++) {
        ql_want want, found;
        ql_tensor *raw;

        QL_TRY(cx, slot_want(cx, b, s, &want));
        if (!want.name || !ql_source_shape(b->m->source, want.name, &found) || found.dtype == QL_DTYPE_NONE)
            continue; /* codes are read when they are decoded */
        QL_TRY(cx, ql_source_begin(cx, b->m->source, &want, &raw));
        b->begun[s] = ql_tensor_ref(raw);
    }
    return QL_OK;
}

ql_status
ql_block_begin(ql_ctx *cx, const ql_model_handle *m, int64_t layer, ql_block **out)
{
    ql_scope scope;
    ql_status st;

    QL_TRY(cx, make(cx, m, layer, out));
    ql_scope_open(cx, &scope);
    st = begin(cx, *out);
    if (st != QL_OK && (*out)->begun)
        ql_uploads_settle(cx);
    ql_scope_close(cx, &scope);
    if (st != QL_OK) {
        ql_block_close(*out);
        *out = NULL;
    }
    return st;
}

ql_status
ql_block_finish(ql_ctx *cx, ql_block *b)
{
    ql_scope scope;
    ql_status st;

    if (b->begun)
        QL_TRY(cx, ql_uploads_arrive(cx));
    ql_scope_open(cx, &scope);
    st = load_block(cx, b);
    ql_scope_close(cx, &scope);
    return st;
}

ql_status
ql_block_open(ql_ctx *cx, const ql_model_handle *m, int64_t layer, ql_block **out)
{
    ql_status st;

    QL_TRY(cx, make(cx, m, layer, out));
    st = ql_block_finish(cx, *out);
    if (st != QL_OK) {
        ql_block_close(*out);
        *out = NULL;
    }
    return st;
}

static void
forget(block_linear *l)
{
    ql_tensor_unref(l->f32);
    ql_tensor_unref(l->raw);
    l->f32 = l->raw = NULL;
}

void
ql_block_close(ql_block *b)
{
    if (!b)
        return;
    for (int i = 0; b->linears && i < b->m->info.linear_count; i++) {
        block_linear *l = &b->linears[i];

        forget(l);
        ql_tensor_unref(l->w);
        ql_tensor_unref(l->bias);
        ql_tensor_unref(l->exact);
        ql_tensor_unref(l->b);
        ql_tensor_unref(l->a);
        ql_tensor_unref((ql_tensor *)l->adapter.b);
        ql_tensor_unref((ql_tensor *)l->adapter.a);
        free(l->name);
    }
    for (int i = 0; b->smalls && i < b->m->info.small_count; i++)
        ql_tensor_unref(b->smalls[i]);
    for (int s = 0; b->begun && s < slot_count(&b->m->info); s++)
        ql_tensor_unref(b->begun[s]);
    free(b->begun);
    free(b->linears);
    free(b->smalls);
    free(b);
}

int64_t
ql_block_layer(const ql_block *b)
{
    return b->layer;
}

const char *
ql_block_name(const ql_block *b, int linear)
{
    return b->linears[linear].name;
}

/* W + B A: what a quantizer or exporter takes for the weight of a model that came with an adapter. */
static ql_status
merge(ql_ctx *cx, block_linear *l, const ql_tensor **out)
{
    if (!l->f32) {
        QL_TRY(cx, converted(cx, l->exact ? l->exact : l->w, QL_F32, &l->f32));
        QL_TRY(cx, ql_gemm(cx, QL_NN, 1, l->b, l->a, 1, l->f32));
    }
    *out = l->f32;
    return QL_OK;
}

ql_status
ql_block_weight(ql_ctx *cx, ql_block *b, int linear, bool raw, const ql_tensor **out)
{
    block_linear *l = &b->linears[linear];
    const ql_tensor *from = l->exact ? l->exact : l->w;
    const ql_dtype dtype = raw ? l->file : QL_F32;
    ql_tensor **made = raw ? &l->raw : &l->f32;

    if (l->a)
        return merge(cx, l, out);
    *out = ql_dtype_of(l->w) == dtype ? l->w : ql_dtype_of(from) == dtype ? from : *made;
    if (*out)
        return QL_OK;
    QL_TRY(cx, converted(cx, from, dtype, made));
    *out = *made;
    return QL_OK;
}

ql_status
ql_block_bare(ql_ctx *cx, const ql_block *b, int linear, const ql_tensor **out)
{
    const block_linear *l = &b->linears[linear];
    const ql_tensor *from = l->exact ? l->exact : l->w;
    ql_tensor *made;

    QL_TRY(cx, ql_dtype_of(from) == QL_F32 ? ql_tensor_lend(cx, from, &made) : ql_convert(cx, from, QL_F32, &made));
    *out = made;
    return QL_OK;
}

void
ql_block_adapter(const ql_block *b, int linear, const ql_tensor **adapter_b, const ql_tensor **adapter_a)
{
    *adapter_b = b->linears[linear].b;
    *adapter_a = b->linears[linear].a;
}

const ql_tensor *
ql_block_plain(const ql_block *b, int linear)
{
    return b->linears[linear].w;
}

void
ql_block_release(ql_block *b, int linear)
{
    block_linear *l = &b->linears[linear];

    forget(l);
    ql_tensor_unref(l->w);
    ql_tensor_unref(l->exact);
    l->w = l->exact = NULL;
}

ql_dtype
ql_block_dtype(const ql_block *b, int linear)
{
    return b->linears[linear].file;
}

void
ql_block_forget(ql_block *b, int subset)
{
    for (int i = 0; i < b->m->info.linear_count; i++)
        if (b->m->info.linears[i].subset == subset)
            forget(&b->linears[i]);
}
