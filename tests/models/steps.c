/* Steps are pure and sequences independent: the same bits again, the same values in any company; and what stands in
 * for a weight. */
#include "models/lab.h"

static const int64_t windows[] = {0, 4};
static const ql_dtype dtypes[] = {QL_F32, QL_BF16, QL_F16, QL_F64};
static const lab_spec model = {
    .type = "qwen3",
    .architecture = "Qwen3ForCausalLM",
    .qk_norm = true,
    .layers = 2,
    .hidden = 40,
    .mlp = 56,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 12,
    .vocab = 61,
    .qkv_bias = true,
    .o_bias = true,
    .windows = windows,
    .extra = "\"attention_bias\": true, \"layer_types\": [\"full_attention\", \"sliding_attention\"], "
             "\"sliding_window\": 4, "
             "\"max_position_embeddings\": 16, \"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 3},",
};

static void
check_same(ql_ctx *cx, const char *what, const ql_tensor *a, const ql_tensor *b)
{
    const double *x = lab_values(cx, a), *y = lab_values(cx, b);

    CHECK_INT(ql_count(a), ql_count(b));
    if (memcmp(x, y, (size_t)ql_count(a) * sizeof *x) != 0)
        TEST_FAIL("%s: bits differ", what);
}

/* Every step twice, and its arguments unchanged by it. */
static void
check_pure(ql_ctx *cx, const ql_block *b, ql_flow flow)
{
    for (int k = 0; k <= 4; k++) {
        const int64_t outputs = lab_outputs(k);
        ql_flow first = flow, again = flow;
        ql_tensor *before[4], *h;

        REQUIRE_OK(cx, ql_convert(cx, flow.h, QL_F32, &h));
        for (int64_t i = 0; i < outputs; i++)
            REQUIRE_OK(cx, ql_convert(cx, flow.y[i], QL_F32, &before[i]));
        REQUIRE_OK(cx, ql_block_step(cx, b, k, &first));
        REQUIRE_OK(cx, ql_block_step(cx, b, k, &again));
        check_same(cx, "h", first.h, again.h);
        check_same(cx, "h as it was", flow.h, h);
        for (int64_t i = 0; i < outputs; i++)
            check_same(cx, "y as it was", flow.y[i], before[i]);
        if (k == 4)
            break;
        check_same(cx, "x", first.x, again.x);
        flow = first;
        REQUIRE_OK(cx, ql_block_linears(cx, b, k, NULL, &flow));
    }
}

/* A packed chunk gives each sequence what it gets alone, but for the order in which products of another shape are
 * summed. */
static void
check_packing(ql_ctx *cx, const ql_model_handle *m, const int32_t *ids, const ql_seqs *seqs)
{
    ql_tensor *all, *one, *part;

    REQUIRE_OK(cx, ql_model_logits(cx, m, seqs, ids, &all));
    for (int64_t s = 0; s < seqs->count; s++) {
        const int64_t tokens = seqs->offsets[s + 1] - seqs->offsets[s], offsets[] = {0, tokens};

        REQUIRE_OK(
            cx, ql_model_logits(cx, m, &(const ql_seqs){.count = 1, .offsets = offsets}, ids + seqs->offsets[s], &one));
        REQUIRE_OK(cx, ql_rows(cx, all, seqs->offsets[s], tokens, &part));
        lab_compare(cx, "packed and alone", part, lab_values(cx, one), 2e-6);
    }
    REQUIRE_OK(cx, ql_model_logits(cx, m, seqs, ids, &part));
    check_same(cx, "the same chunk again", all, part);
}

/* Weights as a quantizer gets them: f32, or as in the file; and a weight with an adapter in a linear's place. */
static void
check_weights(lab *l, const ql_model_handle *m, ql_block *b, const plain_model *plain, ql_dtype dtype)
{
    const plain_linear *o = &plain->layer[1].linear[PLAIN_O];
    ql_ctx *cx = &l->cx;
    const ql_tensor *w, *again;
    lab_file file = {.dtype = QL_F32};
    const double *what = lab_random(l, &file, "w", o->out, o->in, 0, 0.2),
                 *bb = lab_random(l, &file, "b", o->out, 3, 0, 0.3);
    const double *a = lab_random(l, &file, "a", 3, o->in, 0, 0.3), *x = lab_random(l, &file, "x", 7, o->in, 0, 1);
    const ql_weight as = {.w = file.tensors[0], .b = file.tensors[1], .a = file.tensors[2]};
    plain_linear changed = *o;
    double *expected;
    ql_tensor *y;

    CHECK_INT(ql_block_layer(b), 1);
    CHECK_STR(ql_block_name(b, PLAIN_O), "model.layers.1.self_attn.o_proj");
    for (int raw = 0; raw < 2; raw++) {
        REQUIRE_OK(cx, ql_block_weight(cx, b, PLAIN_O, raw, &w));
        REQUIRE_OK(cx, ql_block_weight(cx, b, PLAIN_O, raw, &again));
        CHECK(w == again);
        CHECK_STR(ql_dtype_name(ql_dtype_of(w)), ql_dtype_name(raw ? dtype : QL_F32));
        lab_compare(cx, "weight", w, o->w, 0);
    }
    ql_block_forget(b, 1);
    changed.w = plain_new(o->out * o->in);
    for (int64_t i = 0; i < o->out; i++)
        for (int64_t j = 0; j < o->in; j++) {
            changed.w[i * o->in + j] = what[i * o->in + j];
            for (int64_t r = 0; r < 3; r++)
                changed.w[i * o->in + j] += bb[i * 3 + r] * a[r * o->in + j];
        }
    REQUIRE_OK(cx, ql_block_linear(cx, b, PLAIN_O, &as, NULL, file.tensors[3], &y));
    expected = plain_apply(&changed, x, 7);
    lab_compare(cx, "a linear in another's place", y, expected, 1e-5);
    free(changed.w);
    free(expected);
    CHECK_INT(ql_source_reads(m->source, "model.layers.1.self_attn.o_proj.weight"), 1);
}

static void
check_failures(lab *l, const ql_model_handle *m)
{
    const int32_t ids[] = {3, 61}, negative[] = {-1};
    ql_ctx *cx = &l->cx;
    ql_block *b;
    ql_tensor *h;
    ql_status st;

    CHECK_INT(ql_model_embed(cx, m, ids, 2, &h), QL_INVALID);
    CHECK_INT(ql_model_embed(cx, m, negative, 1, &h), QL_INVALID);
    for (int64_t n = 1;; n++) { /* every allocation of a block's loading fails once, and nothing is left behind */
        cx->fail_alloc = n;
        st = ql_block_open(cx, m, 0, &b);
        if (cx->fail_alloc > 0 || st == QL_OK)
            break;
        CHECK_INT(st, QL_MEMORY);
        CHECK(!b);
    }
    cx->fail_alloc = 0;
    CHECK_INT(st, QL_OK);
    ql_block_close(b);
    ql_block_close(NULL);
}

static void
check_model(lab *l, ql_dtype dtype)
{
    const int64_t offsets[] = {0, 3, 4, 40, 57};
    const ql_seqs seqs = {.count = 4, .offsets = offsets};
    lab_spec spec = model;
    ql_model_handle m = {0};
    ql_flow flow = {.seqs = &seqs};
    plain_model plain;
    int32_t ids[57];
    ql_tensor *h;
    ql_block *b;
    ql_scope scope;

    ql_scope_open(&l->cx, &scope);
    spec.dtype = dtype;
    lab_make(l, &spec, &plain);
    for (int i = 0; i < 57; i++)
        ids[i] = (int32_t)(test_u64(&l->random) % 61);
    REQUIRE_OK(&l->cx, ql_model_open(&l->cx, l->registry, NULL, NULL, l->folder, &m));
    REQUIRE_OK(&l->cx, ql_model_embed(&l->cx, &m, ids, 57, &h));
    flow.h = h;
    REQUIRE_OK(&l->cx, ql_block_open(&l->cx, &m, 1, &b));
    check_pure(&l->cx, b, flow);
    check_weights(l, &m, b, &plain, dtype);
    ql_block_close(b);
    check_packing(&l->cx, &m, ids, &seqs);
    check_failures(l, &m);
    ql_model_close(&m);
    ql_scope_close(&l->cx, &scope);
}

int
main(void)
{
    lab l;

    lab_open(&l);
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        check_model(&l, dtypes[i]);
    return lab_close(&l);
}
