/* A model folder with random weights, for tests: config.json and safetensors of any of the decoder shapes. */
#ifndef QLOOM_TESTS_MAKE_MODEL_H
#define QLOOM_TESTS_MAKE_MODEL_H

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/tensor/safetensors_write.h"
#include "test.h"

/* Warnings, where hear() is the log function of a context. */
typedef struct heard {
    int count;
    char last[512];
} heard;

static inline void
hear(void *user, ql_log_level level, const char *line)
{
    heard *h = user;

    if (level != QL_LOG_WARN)
        return;
    h->count++;
    snprintf(h->last, sizeof h->last, "%s", line);
}

typedef struct model_spec {
    const char *architecture, *type; /* "Qwen3ForCausalLM", "qwen3" */
    int64_t vocab, hidden, intermediate, layers, heads, kv_heads, head_dim;
    bool tied, qkv_bias, o_bias, mlp_bias, qk_norm;
    ql_st_dtype dtype;  /* F32, BF16 or F16 */
    bool mixed;         /* these three in turn instead, tensor by tensor */
    int shards;         /* 0, 1: one file */
    const char *config; /* further members of config.json: "\"rope_theta\": 1e6"; NULL: none */
    uint64_t seed;
    bool sparse;  /* files of the right size with holes in place of weights: for who looks at shapes alone */
    double scale; /* of the linears' weights; 0: 1 */
    double head;  /* the same of the output's weights */
    double
        decay; /* of the linears' singular values: rows and columns fall as (1 + k)^-decay, in a mixed order; 0: white */
} model_spec;

typedef struct model_tensor {
    float mean, spread;
    double decay;
    int shard;
} model_tensor;

typedef struct model_list {
    ql_ctx *cx;
    const model_spec *spec;
    int64_t count, capacity;
    int shard;
    ql_st_entry *entries;
    model_tensor *how;
} model_list;

/* Names are "prefix" + "name" + "suffix"; cols < 0: a vector. */
static inline void
model_add(model_list *l, const char *prefix, const char *name, int64_t rows, int64_t cols)
{
    const bool norm = strstr(name, "norm") != NULL, bias = strstr(name, ".bias") != NULL;
    static const ql_st_dtype turns[] = {QL_ST_F32, QL_ST_BF16, QL_ST_F16};
    const char *whole = ql_format(l->cx, "%s%s", prefix, name);

    if (!whole || l->count == l->capacity) {
        fprintf(stderr, "make_model: no room for %s%s\n", prefix, name);
        exit(1);
    }
    l->entries[l->count] = (ql_st_entry){.name = whole,
                                         .dtype = l->spec->mixed ? turns[l->count % 3] : l->spec->dtype,
                                         .ndim = cols < 0 ? 1 : 2,
                                         .dims = {rows, cols < 0 ? 0 : cols}};
    l->how[l->count].mean = norm ? 1.0F : 0.0F;
    l->how[l->count].spread = norm || bias || cols < 0 ? 0.1F : 1.0F / sqrtf((float)cols);
    if (strstr(name, "proj.weight") && l->spec->scale != 0)
        l->how[l->count].spread *= (float)l->spec->scale;
    if (strcmp(name, "lm_head.weight") == 0 && l->spec->head != 0)
        l->how[l->count].spread *= (float)l->spec->head;
    if (strstr(name, "proj.weight"))
        l->how[l->count].decay = l->spec->decay;
    l->how[l->count++].shard = l->shard;
}

static inline void
model_add_linear(model_list *l, const char *prefix, const char *name, int64_t out, int64_t in, bool bias)
{
    char text[64];

    snprintf(text, sizeof text, "%s.weight", name);
    model_add(l, prefix, text, out, in);
    snprintf(text, sizeof text, "%s.bias", name);
    if (bias)
        model_add(l, prefix, text, out, -1);
}

static inline void
model_add_block(model_list *l, int64_t layer)
{
    const model_spec *s = l->spec;
    const int64_t h = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    char prefix[48];

    snprintf(prefix, sizeof prefix, "model.layers.%lld.", (long long)layer);
    l->shard = s->shards > 1 ? (int)(layer * s->shards / s->layers) : 0;
    model_add(l, prefix, "input_layernorm.weight", s->hidden, -1);
    model_add_linear(l, prefix, "self_attn.q_proj", h, s->hidden, s->qkv_bias);
    model_add_linear(l, prefix, "self_attn.k_proj", kv, s->hidden, s->qkv_bias);
    model_add_linear(l, prefix, "self_attn.v_proj", kv, s->hidden, s->qkv_bias);
    model_add_linear(l, prefix, "self_attn.o_proj", s->hidden, h, s->o_bias);
    if (s->qk_norm) {
        model_add(l, prefix, "self_attn.q_norm.weight", s->head_dim, -1);
        model_add(l, prefix, "self_attn.k_norm.weight", s->head_dim, -1);
    }
    model_add(l, prefix, "post_attention_layernorm.weight", s->hidden, -1);
    model_add_linear(l, prefix, "mlp.gate_proj", s->intermediate, s->hidden, s->mlp_bias);
    model_add_linear(l, prefix, "mlp.up_proj", s->intermediate, s->hidden, s->mlp_bias);
    model_add_linear(l, prefix, "mlp.down_proj", s->hidden, s->intermediate, s->mlp_bias);
}

static inline uint16_t
model_bf16(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* Weights are small: what is below half's normal range becomes 0, nothing overflows. */
static inline uint16_t
model_f16(float f)
{
    uint32_t u, sign;

    memcpy(&u, &f, sizeof u);
    sign = u >> 16 & 0x8000;
    u &= 0x7fffffff;
    if (u < 0x38800000)
        return (uint16_t)sign;
    return (uint16_t)(sign | ((u - 0x38000000 + 0xfff + (u >> 13 & 1)) >> 13));
}

/* Roughly normal from one draw: four 16-bit uniforms added. A generated model of hundreds of megabytes must not
 * take long. */
static inline float
model_normal(uint64_t *rng)
{
    const uint64_t u = test_u64(rng);
    const int64_t sum = (int64_t)((u & 0xffff) + (u >> 16 & 0xffff) + (u >> 32 & 0xffff) + (u >> 48));

    return (float)(sum - 2 * 65535) * (1.0F / 37837.0F);
}

/* What row or column i of n is multiplied by: (1 + k)^-decay for k a mixed order of 0 .. n - 1, 1 in the mean of squares. */
static inline float *
model_profile(ql_ctx *cx, int64_t n, double decay)
{
    float *profile = ql_heap(cx, (size_t)n, sizeof *profile);
    double squares = 0;

    for (int64_t i = 0; profile && i < n; i++) {
        const double p = pow(1.0 + (double)(i * 7919 % n), -decay);

        profile[i] = (float)p;
        squares += p * p;
    }
    for (int64_t i = 0; profile && i < n; i++)
        profile[i] *= (float)sqrt((double)n / squares);
    return profile;
}

#define MODEL_CHUNK 65536

static inline ql_status
model_fill(ql_ctx *cx, ql_st_writer *w, const ql_st_entry *e, const model_tensor *how, uint64_t *rng)
{
    const int64_t cols = e->ndim == 2 ? e->dims[1] : 1;
    int64_t left = e->dims[0] * cols, at = 0;
    const bool wide = e->dtype == QL_ST_F32;
    float *values = ql_heap(cx, MODEL_CHUNK, sizeof *values);
    uint16_t *halves = ql_heap(cx, MODEL_CHUNK, sizeof *halves);
    float *rows = model_profile(cx, e->dims[0], how->decay), *columns = model_profile(cx, cols, how->decay);
    ql_status st = values && halves && rows && columns ? QL_OK : QL_MEMORY;

    while (st == QL_OK && left > 0) {
        size_t n = left < MODEL_CHUNK ? (size_t)left : MODEL_CHUNK;

        for (size_t i = 0; i < n; i++, at++) {
            values[i] = how->mean + how->spread * model_normal(rng);
            if (how->decay > 0)
                values[i] *= rows[at / cols] * columns[at % cols];
            halves[i] = e->dtype == QL_ST_F16 ? model_f16(values[i]) : model_bf16(values[i]);
        }
        st = ql_st_write(cx, w, e->name, wide ? (const void *)values : halves,
                         n * (wide ? sizeof *values : sizeof *halves));
        left -= (int64_t)n;
    }
    free(values);
    free(halves);
    free(rows);
    free(columns);
    return st;
}

static inline const char *
model_shard_name(ql_ctx *cx, const model_spec *s, int shard)
{
    return s->shards > 1 ? ql_format(cx, "model-%05d-of-%05d.safetensors", shard + 1, s->shards) : "model.safetensors";
}

/* The header that a safetensors file of these tensors begins with, and a hole. */
static inline ql_status
model_write_sparse(ql_ctx *cx, const char *path, const ql_st_plan *plan)
{
    uint64_t at = 0, length;
    ql_file_writer w;
    long end;

    QL_TRY(cx, ql_file_create(cx, path, &w));
    fprintf(w.stream, "%8s{", ""); /* the length, to be */
    for (int64_t i = 0; i < plan->count; i++) {
        const ql_st_entry *e = &plan->entries[i];
        const uint64_t elements = (uint64_t)e->dims[0] * (e->ndim == 2 ? (uint64_t)e->dims[1] : 1);
        const uint64_t bytes = elements * (e->dtype == QL_ST_F32 ? 4 : 2);

        fprintf(w.stream, "%s\"%s\": {\"dtype\": \"%s\", \"shape\": [%lld", i ? ", " : "", e->name,
                ql_st_dtype_name(e->dtype), (long long)e->dims[0]);
        if (e->ndim == 2)
            fprintf(w.stream, ", %lld", (long long)e->dims[1]);
        fprintf(w.stream, "], \"data_offsets\": [%llu, %llu]}", (unsigned long long)at,
                (unsigned long long)(at + bytes));
        at += bytes;
    }
    fprintf(w.stream, "}");
    end = ftell(w.stream);
    length = (uint64_t)end - sizeof length;
    rewind(w.stream);
    fwrite(&length, sizeof length, 1, w.stream);
    fflush(w.stream);
    if (ftruncate(fileno(w.stream), end + (off_t)at) != 0)
        return QL_FAIL(cx, QL_IO, "%s can't be made as large as its tensors", path);
    return ql_file_commit(cx, &w);
}

static inline ql_status
model_write_shard(model_list *l, const char *folder, int shard)
{
    ql_ctx *cx = l->cx;
    const char *path = ql_format(cx, "%s/%s", folder, model_shard_name(cx, l->spec, shard));
    ql_st_entry *entries = ql_alloc(cx, (size_t)l->count, sizeof *entries);
    ql_st_plan plan = {.entries = entries};
    ql_st_writer *w;
    uint64_t rng = l->spec->seed * 1000003 + (uint64_t)shard;

    if (!entries)
        return QL_MEMORY;
    for (int64_t i = 0; i < l->count; i++)
        if (l->how[i].shard == shard)
            entries[plan.count++] = l->entries[i];
    if (l->spec->sparse)
        return model_write_sparse(cx, path, &plan);
    QL_TRY(cx, ql_st_create(cx, path, &plan, &w));
    for (int64_t i = 0; i < l->count; i++)
        if (l->how[i].shard == shard)
            QL_TRY(cx, model_fill(cx, w, &l->entries[i], &l->how[i], &rng));
    return ql_st_commit(cx, w);
}

static inline ql_status
model_write_index(model_list *l, const char *folder)
{
    ql_ctx *cx = l->cx;
    const char *path = ql_format(cx, "%s/model.safetensors.index.json", folder);
    ql_file_writer w;

    QL_TRY(cx, ql_file_create(cx, path, &w));
    fprintf(w.stream, "{\"metadata\": {\"total_size\": 0}, \"weight_map\": {");
    for (int64_t i = 0; i < l->count; i++)
        fprintf(w.stream, "%s\n  \"%s\": \"%s\"", i ? "," : "", l->entries[i].name,
                model_shard_name(cx, l->spec, l->how[i].shard));
    fprintf(w.stream, "}}\n");
    return ql_file_commit(cx, &w);
}

static inline ql_status
model_write_config(ql_ctx *cx, const char *folder, const model_spec *s)
{
    ql_file_writer w;

    QL_TRY(cx, ql_file_create(cx, ql_format(cx, "%s/config.json", folder), &w));
    fprintf(w.stream, "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\",\n", s->architecture, s->type);
    fprintf(w.stream, "  \"vocab_size\": %lld,\n  \"hidden_size\": %lld,\n  \"intermediate_size\": %lld,\n",
            (long long)s->vocab, (long long)s->hidden, (long long)s->intermediate);
    fprintf(w.stream, "  \"num_hidden_layers\": %lld,\n  \"num_attention_heads\": %lld,\n", (long long)s->layers,
            (long long)s->heads);
    fprintf(w.stream, "  \"num_key_value_heads\": %lld,\n  \"head_dim\": %lld,\n", (long long)s->kv_heads,
            (long long)s->head_dim);
    fprintf(w.stream, "  \"attention_bias\": %s,\n  \"mlp_bias\": %s,\n", s->o_bias ? "true" : "false",
            s->mlp_bias ? "true" : "false");
    if (s->config)
        fprintf(w.stream, "  %s,\n", s->config);
    fprintf(w.stream, "  \"tie_word_embeddings\": %s\n}\n", s->tied ? "true" : "false");
    return ql_file_commit(cx, &w);
}

/* Writes FOLDER, which is made when it is not there. The same spec gives the same bytes. */
static inline ql_status
make_model(ql_ctx *cx, const char *folder, const model_spec *spec)
{
    model_list l = {.cx = cx, .spec = spec, .capacity = 3 + 16 * spec->layers};
    const int shards = spec->shards > 1 ? spec->shards : 1;

    l.entries = ql_alloc(cx, (size_t)l.capacity, sizeof *l.entries);
    l.how = ql_alloc(cx, (size_t)l.capacity, sizeof *l.how);
    if (!l.entries || !l.how)
        return QL_MEMORY;
    (void)mkdir(folder, 0777); /* may be there */
    model_add(&l, "", "model.embed_tokens.weight", spec->vocab, spec->hidden);
    for (int64_t i = 0; i < spec->layers; i++)
        model_add_block(&l, i);
    l.shard = shards - 1;
    model_add(&l, "", "model.norm.weight", spec->hidden, -1);
    if (!spec->tied)
        model_add(&l, "", "lm_head.weight", spec->vocab, spec->hidden);
    for (int i = 0; i < shards; i++)
        QL_TRY(cx, model_write_shard(&l, folder, i));
    if (shards > 1)
        QL_TRY(cx, model_write_index(&l, folder));
    return model_write_config(cx, folder, spec);
}

#endif
