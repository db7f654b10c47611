/* Every fixture model against its golden file: residual stream, inputs of the subsets, logits. */
#include "models/lab.h"

#define BAR 1e-5

static const char *const inputs[] = {"self_attn.qkv_in", "self_attn.o_in", "mlp.gate_up_in", "mlp.down_in"};

static const void *
golden(const ql_st_file *f, const char *name)
{
    const ql_st_tensor *t = ql_st_find(f, name);

    if (!t) {
        TEST_FAIL("%s has no tensor %s", f->path, name);
        exit(1);
    }
    return ql_st_data(t);
}

static void
compare(ql_ctx *cx, const ql_st_file *f, const char *name, int64_t skip, const ql_tensor *got)
{
    const unsigned char *from = (const unsigned char *)golden(f, name) + (size_t)skip * sizeof(float);

    lab_compare(cx, ql_format(cx, "%s: %s", f->path, name), got, lab_floats(cx, from, ql_count(got)), BAR);
}

/* One sequence, block by block and step by step, as the walk goes. */
static void
check_hidden(ql_ctx *cx, const ql_model_handle *m, const ql_st_file *f, const int32_t *ids, const ql_seqs *seqs)
{
    ql_flow flow = {.seqs = seqs};
    ql_tensor *h;

    REQUIRE_OK(cx, ql_model_embed(cx, m, ids, seqs->offsets[1], &h));
    flow.h = h;
    for (int64_t i = 0; i < m->info.layers; i++) {
        ql_block *b;

        compare(cx, f, ql_format(cx, "hidden.%lld", (long long)i), 0, flow.h);
        ql_block_prefetch(cx, m, i + 1);
        REQUIRE_OK(cx, ql_block_open(cx, m, i, &b));
        flow.y = NULL;
        for (int k = 0; k < m->info.subsets; k++) {
            REQUIRE_OK(cx, ql_block_step(cx, b, k, &flow));
            if (i == 0 || i == m->info.layers - 1)
                compare(cx, f, ql_format(cx, "input.%lld.%s", (long long)i, inputs[k]), 0, flow.x);
            REQUIRE_OK(cx, ql_block_linears(cx, b, k, NULL, &flow));
        }
        REQUIRE_OK(cx, ql_block_step(cx, b, m->info.subsets, &flow));
        CHECK(!flow.x);
        ql_block_close(b);
    }
    compare(cx, f, ql_format(cx, "hidden.%lld", (long long)m->info.layers), 0, flow.h);
}

static void
check_model(lab *l, const char *fixtures, const char *folder)
{
    ql_ctx *cx = &l->cx;
    ql_model_handle m = {0};
    ql_st_file f = {0};
    ql_ends ends;
    ql_tensor *logits, *h, *x;
    int32_t ids[128];
    const int64_t offsets[] = {0, 64, 128};
    ql_flow flow = {.seqs = &(const ql_seqs){.count = 1, .offsets = offsets}};
    ql_scope scope;

    (void)fixtures;
    ql_scope_open(cx, &scope);
    REQUIRE_OK(cx, ql_model_open(cx, l->registry, NULL, NULL, folder, &m));
    REQUIRE_OK(cx, ql_st_open(cx, ql_format(cx, "%s/golden.safetensors", folder), &f));
    for (int64_t i = 0; i < 128; i++) {
        int64_t id;

        memcpy(&id, (const unsigned char *)golden(&f, "input_ids") + (size_t)i * sizeof id, sizeof id);
        ids[i] = (int32_t)id;
    }
    check_hidden(cx, &m, &f, ids, flow.seqs);
    REQUIRE_OK(cx, ql_model_embed(cx, &m, ids, 64, &h));
    flow.h = h;
    for (int64_t i = 0; i < m.info.layers; i++) {
        ql_block *b;

        REQUIRE_OK(cx, ql_block_open(cx, &m, i, &b));
        REQUIRE_OK(cx, ql_block_forward(cx, b, NULL, &flow));
        ql_block_close(b);
    }
    REQUIRE_OK(cx, ql_model_ends(cx, &m, &ends));
    REQUIRE_OK(cx, ql_model_norm(cx, &m, &ends, flow.h, &x));
    compare(cx, &f, ql_format(cx, "hidden.%lld", (long long)(m.info.layers + 1)), 0, x);
    REQUIRE_OK(cx, ql_model_logits(cx, &m, &(const ql_seqs){.count = 2, .offsets = offsets}, ids, &logits));
    compare(cx, &f, "logits", 0, logits);
    REQUIRE_OK(cx, ql_model_logits(cx, &m, &(const ql_seqs){.count = 1, .offsets = offsets}, ids + 64, &logits));
    compare(cx, &f, "logits", 64 * m.info.vocab, logits);
    ql_st_close(&f);
    ql_model_close(&m);
    ql_scope_close(cx, &scope);
}

int
main(void)
{
    return lab_fixtures(check_model);
}
