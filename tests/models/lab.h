/* What the tests of models share: a context with plugins and the CPU device, and models with random weights, once as a
 * folder that the library opens and once in double. */
#ifndef QLOOM_TESTS_LAB_H
#define QLOOM_TESTS_LAB_H

#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/device/device.h"
#include "core/model/block.h"
#include "models/plain_decoder.h"
#include "test.h"

typedef struct lab {
    ql_ctx cx;
    ql_scope scope;
    ql_registry *registry;
    ql_device *device;
    char folder[64]; /* for files, removed at the end */
    uint64_t random;
} lab;

static inline void
lab_open(lab *l)
{
    const char *build = getenv("QLOOM_BUILD");
    const ql_found *cpu;
    char path[4096];

    *l = (lab){.random = test_seed()};
    ql_ctx_init(&l->cx, NULL);
    ql_scope_open(&l->cx, &l->scope);
    snprintf(path, sizeof path, "%s/lib/qloom", build ? build : "build/release");
    REQUIRE_OK(&l->cx, ql_registry_open(&l->cx, path, &l->registry));
    cpu = ql_registry_find(l->registry, "cpu");
    if (!cpu || !cpu->plugin) {
        TEST_FAIL("no plugin 'cpu' in %s: %s", path, cpu ? cpu->problem : "no file");
        exit(1);
    }
    REQUIRE_OK(&l->cx,
               ql_device_open(&l->cx, cpu->plugin->backend, &(const ql_device_options){.threads = 2}, 0, &l->device));
    l->cx.device = l->device;
    strcpy(l->folder, "/tmp/qloom-models-XXXXXX");
    if (!mkdtemp(l->folder))
        abort();
}

static inline int
lab_close(lab *l)
{
    static const char *const files[] = {"config.json", "model.safetensors"};
    char path[128];

    ql_ctx_fini(&l->cx);
    CHECK_INT((int64_t)l->device->used, 0);
    ql_device_close(l->device);
    ql_registry_close(l->registry);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", l->folder, files[i]);
        unlink(path);
    }
    rmdir(l->folder);
    return TEST_DONE();
}

/* Elements of a tensor as doubles, in the innermost scope. */
static inline double *
lab_values(ql_ctx *cx, const ql_tensor *t)
{
    const int64_t n = ql_count(t);
    double *v = ql_alloc(cx, (size_t)n, sizeof *v);
    ql_tensor *f;
    const float *p;

    REQUIRE_OK(cx, ql_convert(cx, t, QL_F32, &f));
    REQUIRE_OK(cx, ql_map(cx, f, QL_READ, &p));
    for (int64_t i = 0; i < n; i++)
        v[i] = (double)p[i];
    REQUIRE_OK(cx, ql_unmap(cx, f));
    return v;
}

/* `n` floats of a file, wherever they begin, as doubles, in the innermost scope. */
static inline double *
lab_floats(ql_ctx *cx, const unsigned char *from, int64_t n)
{
    double *v = ql_alloc(cx, (size_t)n, sizeof *v);

    for (int64_t i = 0; i < n; i++) {
        float x;

        memcpy(&x, from + (size_t)i * sizeof x, sizeof x);
        v[i] = (double)x;
    }
    return v;
}

/* How many outputs of linears step `k` of a block is given. */
static inline int
lab_outputs(int k)
{
    return k == 1 ? 3 : k == 3 ? 2 : k > 0 ? 1 : 0;
}

/* Largest |got - expected|, checked against `bar` times max(1, largest |expected|). */
static inline void
lab_compare(ql_ctx *cx, const char *what, const ql_tensor *got, const double *expected, double bar)
{
    const double *g = lab_values(cx, got);
    double most = 0, worst = 0;

    for (int64_t i = 0; i < ql_count(got); i++) {
        most = fmax(most, fabs(expected[i]));
        worst = fabs(g[i] - expected[i]) <= worst ? worst : fabs(g[i] - expected[i]); /* NaN becomes the worst */
    }
    if (!(worst <= bar * fmax(1, most)))
        TEST_FAIL("%s: differs by %.3g, allowed %.3g", what, worst, bar * fmax(1, most));
}

/* `check` for the folders of two fixture models, of every one with QLOOM_TEST_MODELS=all: the exit status of the test, which is skipped
 * where there are none. */
static inline int
lab_fixtures(void (*check)(lab *l, const char *fixtures, const char *folder))
{
    static const char *const models[] = {"tiny-llama", "tiny-qwen3", "stories260K",
                                         "tiny-qwen2", "wide-qwen2", "wide-qwen3"};
    const char *fixtures = test_fixtures(), *which = getenv("QLOOM_TEST_MODELS");
    const size_t count = which && strcmp(which, "all") == 0 ? sizeof models / sizeof *models : 2;
    char folder[4096];
    lab l;

    if (!fixtures)
        return test_failures ? 1 : 77;
    lab_open(&l);
    for (size_t i = 0; i < count; i++) {
        snprintf(folder, sizeof folder, "%s/models/%s", fixtures, models[i]);
        check(&l, fixtures, folder);
    }
    return lab_close(&l);
}

/* --- generated models ------------------------------------------------------------------------------------------- */

typedef struct lab_spec {
    const char *type, *architecture; /* "qwen3", "Qwen3ForCausalLM" */
    int64_t layers, hidden, mlp, heads, kv_heads, head_dim, vocab;
    bool qkv_bias, o_bias, mlp_bias, qk_norm, tied;
    const char *extra;      /* members of config.json, each ending with a comma; may be NULL */
    plain_rope rope[2];     /* by layer type; theta 0: as rope[0] */
    const int64_t *windows; /* [layers]; NULL: none */
    ql_dtype dtype;         /* of the file; NONE: f32 */
} lab_spec;

typedef struct lab_file { /* tensors on their way into a file */
    ql_dtype dtype;
    int count;
    const char *names[256];
    const ql_tensor *tensors[256];
} lab_file;

/* Random numbers as a tensor of the file, and as doubles after rounding to its dtype; rank 1 when cols < 0. */
static inline double *
lab_random(lab *l, lab_file *file, const char *name, int64_t rows, int64_t cols, double mean, double deviation)
{
    const int64_t n = cols < 0 ? rows : rows * cols;
    float *f = ql_alloc(&l->cx, (size_t)n, sizeof *f);
    ql_tensor *t;

    for (int64_t i = 0; i < n; i++)
        f[i] = (float)(mean + deviation * test_normal(&l->random));
    REQUIRE_OK(&l->cx, ql_upload(&l->cx, QL_F32, rows, cols, f, &t));
    REQUIRE_OK(&l->cx, ql_convert(&l->cx, t, file->dtype, &t));
    file->names[file->count] = name;
    file->tensors[file->count++] = t;
    return lab_values(&l->cx, t);
}

static inline void
lab_layer(lab *l, const lab_spec *s, int64_t i, lab_file *file, plain_layer *out)
{
    static const char *const names[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                                        "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};
    const int64_t h = s->heads * s->head_dim, k = s->kv_heads * s->head_dim, d = s->hidden;
    const int64_t outs[] = {h, k, k, d, s->mlp, s->mlp, d}, ins[] = {d, d, d, h, d, d, s->mlp};
    const bool biased[] = {s->qkv_bias, s->qkv_bias, s->qkv_bias, s->o_bias, s->mlp_bias, s->mlp_bias, s->mlp_bias};
#define NAME(below) ql_format(&l->cx, "model.layers.%lld.%s", (long long)i, below)

    for (int j = 0; j < PLAIN_LINEARS; j++) {
        plain_linear *p = &out->linear[j];

        *p = (plain_linear){.out = outs[j], .in = ins[j]};
        p->w = lab_random(l, file, ql_format(&l->cx, "%s.weight", NAME(names[j])), p->out, p->in, 0,
                          1 / sqrt((double)p->in));
        if (biased[j])
            p->bias = lab_random(l, file, ql_format(&l->cx, "%s.bias", NAME(names[j])), p->out, -1, 0, 0.3);
    }
    out->norm1 = lab_random(l, file, NAME("input_layernorm.weight"), d, -1, 1, 0.2);
    out->norm2 = lab_random(l, file, NAME("post_attention_layernorm.weight"), d, -1, 1, 0.2);
    if (s->qk_norm) {
        out->q_norm = lab_random(l, file, NAME("self_attn.q_norm.weight"), s->head_dim, -1, 1, 0.2);
        out->k_norm = lab_random(l, file, NAME("self_attn.k_norm.weight"), s->head_dim, -1, 1, 0.2);
    }
#undef NAME
    out->window = s->windows ? s->windows[i] : 0;
    out->rope = out->window > 0 && s->rope[1].theta > 0 ? &s->rope[1] : &s->rope[0];
}

/* Writes config.json and weights of `s` into the lab's folder and gives the same model in double. */
static inline void
lab_make(lab *l, const lab_spec *s, plain_model *out)
{
    lab_file file = {.dtype = s->dtype ? s->dtype : QL_F32};
    const char *config;
    char path[128];

    *out = (plain_model){.layers = s->layers,
                         .hidden = s->hidden,
                         .vocab = s->vocab,
                         .heads = s->heads,
                         .kv_heads = s->kv_heads,
                         .head_dim = s->head_dim,
                         .eps = 1e-6};
    out->layer = ql_alloc(&l->cx, (size_t)s->layers, sizeof *out->layer);
    for (int64_t i = 0; i < s->layers; i++)
        lab_layer(l, s, i, &file, &out->layer[i]);
    out->embed = lab_random(l, &file, "model.embed_tokens.weight", s->vocab, s->hidden, 0, 1);
    out->norm = lab_random(l, &file, "model.norm.weight", s->hidden, -1, 1, 0.2);
    out->head = s->tied ? out->embed : lab_random(l, &file, "lm_head.weight", s->vocab, s->hidden, 0, 0.3);
    config = ql_format(
        &l->cx,
        "{\"architectures\": [\"%s\"], \"model_type\": \"%s\", %s \"num_hidden_layers\": %lld, "
        "\"hidden_size\": %lld, \"intermediate_size\": %lld, \"num_attention_heads\": %lld, "
        "\"num_key_value_heads\": %lld, \"head_dim\": %lld, \"vocab_size\": %lld, \"tie_word_embeddings\": %s}",
        s->architecture, s->type, s->extra ? s->extra : "", (long long)s->layers, (long long)s->hidden,
        (long long)s->mlp, (long long)s->heads, (long long)s->kv_heads, (long long)s->head_dim, (long long)s->vocab,
        s->tied ? "true" : "false");
    snprintf(path, sizeof path, "%s/config.json", l->folder);
    REQUIRE_OK(&l->cx, ql_file_write(&l->cx, path, config, strlen(config)));
    snprintf(path, sizeof path, "%s/model.safetensors", l->folder);
    REQUIRE_OK(&l->cx, ql_save(&l->cx, path, file.count, file.names, file.tensors));
}

#endif
