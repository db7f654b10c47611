/* Shards whose tensors have three dtypes in turn: every weight of a block is the number that the file has, as this file reads it. */
#include "core/tensor/safetensors.h"
#include "models/lab.h"
#include "tests/make_model.h"

#define SHARDS 3

/* The i-th number of a tensor. */
static double
number(const ql_st_tensor *t, int64_t i)
{
    const unsigned char *p = ql_st_data(t) + (size_t)i * (t->dtype == QL_ST_F32 ? 4 : 2);
    const int half = p[0] | p[1] << 8, exponent = half >> 10 & 31;
    uint32_t bits;
    float single;
    double size;

    if (t->dtype == QL_ST_F16) {
        size = exponent ? ldexp(1024 + (half & 1023), exponent - 25) : ldexp(half & 1023, -24);
        return half & 0x8000 ? -size : size;
    }
    bits = (uint32_t)half << 16;
    if (t->dtype == QL_ST_F32)
        memcpy(&bits, p, sizeof bits);
    memcpy(&single, &bits, sizeof single);
    return single;
}

static const ql_st_tensor *
find(ql_st_file *shards, const char *name)
{
    for (int i = 0; i < SHARDS; i++)
        if (ql_st_find(&shards[i], name))
            return ql_st_find(&shards[i], name);
    return NULL;
}

static void
check_linear(lab *l, ql_block *b, int i, ql_st_file *shards, int64_t *seen)
{
    const ql_st_tensor *file = find(shards, ql_format(&l->cx, "%s.weight", ql_block_name(b, i)));
    bool same = file != NULL;
    const ql_tensor *t;
    const float *w;

    REQUIRE_OK(&l->cx, ql_block_weight(&l->cx, b, i, false, &t));
    REQUIRE_OK(&l->cx, ql_map(&l->cx, t, QL_READ, &w));
    for (int64_t k = 0; same && k < ql_count(t); k++)
        same = (double)w[k] == number(file, k);
    CHECK(same);
    REQUIRE_OK(&l->cx, ql_unmap(&l->cx, t));
    seen[file ? file->dtype : QL_ST_UNKNOWN]++;
}

int
main(void)
{
    const model_spec spec = {.architecture = "LlamaForCausalLM",
                             .type = "llama",
                             .vocab = 64,
                             .hidden = 48,
                             .intermediate = 80,
                             .layers = 3,
                             .heads = 3,
                             .kv_heads = 1,
                             .head_dim = 16,
                             .mixed = true,
                             .shards = SHARDS,
                             .seed = 1};
    int64_t seen[QL_ST_C64 + 1] = {0};
    ql_st_file shards[SHARDS];
    ql_model_handle m;
    lab l;

    lab_open(&l);
    REQUIRE_OK(&l.cx, make_model(&l.cx, l.folder, &spec));
    for (int i = 0; i < SHARDS; i++)
        REQUIRE_OK(&l.cx,
                   ql_st_open(&l.cx, ql_format(&l.cx, "%s/model-%05d-of-%05d.safetensors", l.folder, i + 1, SHARDS),
                              &shards[i]));
    REQUIRE_OK(&l.cx, ql_model_open(&l.cx, l.registry, NULL, NULL, l.folder, &m));
    for (int64_t layer = 0; layer < spec.layers; layer++) {
        ql_block *b;

        REQUIRE_OK(&l.cx, ql_block_open(&l.cx, &m, layer, &b));
        for (int i = 0; i < m.info.linear_count; i++)
            check_linear(&l, b, i, shards, seen);
        ql_block_close(b);
    }
    CHECK(seen[QL_ST_F32] > 0 && seen[QL_ST_F16] > 0 && seen[QL_ST_BF16] > 0);
    ql_model_close(&m);
    for (int i = 0; i < SHARDS; i++)
        ql_st_close(&shards[i]);
    CHECK_OK(&l.cx, ql_remove_tree(&l.cx, l.folder));
    return lab_close(&l);
}
