/* Curves of 30 updates and the adapters behind them, against an independent program in double that agrees with PEFT and the public
 * trainer to 3e-14 (golden-train/README.md): on plain and masked targets, on frozen 3-bit weights, with components held back. */
#include "walk.h"

#include "golden_plugins.h"

#define PIPELINE                                                                                                   \
    "qloom: 1\n"                                                                                                   \
    "name: golden\n"                                                                                               \
    "baseline: false\n"                                                                                            \
    "stages:\n"                                                                                                    \
    "  base: {use: auto, path: %s}\n"                                                                              \
    "  train: {use: golden_ids, path: %s/data.json, part: %s}\n"                                                   \
    "  dev: {use: golden_ids, path: %s/data.json, part: eval}\n"                                                   \
    "  quant: {%s, model: $base}\n"                                                                                \
    "  start: {use: golden_adapter, model: $quant, path: %s, k: 2, adapter_dtype: fp32}\n"                         \
    "  tune: {use: lora, model: $start, data: $train, eval: $dev, alpha: 8, batch: 6, updates: 30, order: file,\n" \
    "    learning_rate: 2e-3, weight_decay: 0.1, warmup: 3, clip: 1, adapter_dtype: fp32, eval_every: 30, %s,\n"   \
    "    precision: %s}\n"                                                                                         \
    "  out: {use: peft_adapter, model: $tune, path: %s}\n"

typedef struct golden {
    walk_test t;
    ql_ctx cx;
    ql_scope scope;
} golden;

/* Tolerances of the golden files. In double what is left is RoPE: the golden angles are rounded to single precision, and so are their
 * cosines. */
typedef struct bars {
    double curve, loss, adapter;
} bars;
static const bars single = {5e-6, 2e-6, 5e-5}, twice = {1e-7, 1e-7, 2e-6};

static double
number_at(const ql_json *list, int64_t i)
{
    double x = NAN;

    (void)ql_json_as_real(ql_json_item(list, i), &x);
    return x;
}

static void
check_series(golden *g, const ql_json *run, const char *ours, const char *theirs, double bar)
{
    const ql_json *list = ql_json_member(run, theirs);

    CHECK_INT(ql_json_length(list), 30);
    for (int i = 0; i < 30; i++) {
        const double x =
            walk_number(&g->t, walk_format(&g->t, "SELECT value FROM series WHERE name = '%s' AND step = %d", ours, i));
        const double y = number_at(list, i);

        if (!(fabs(x - y) <= bar * fabs(y)))
            TEST_FAIL("%s of update %d: %.17g, expected %.17g", ours, i, x, y);
    }
}

static void
check_eval(golden *g, const ql_json *run, int step, const char *theirs, double bar)
{
    const double x =
        walk_number(&g->t, walk_format(&g->t, "SELECT value FROM series WHERE name = 'eval_loss' AND step = %d", step));
    double y = NAN;

    REQUIRE_OK(&g->cx, ql_json_real(&g->cx, run, theirs, NAN, &y));
    if (!(fabs(x - y) <= bar * fabs(y)))
        TEST_FAIL("eval loss at %d: %.17g, expected %.17g", step, x, y);
}

static const float *
values(const ql_st_file *f, const char *name, uint64_t *count)
{
    const ql_st_tensor *t = ql_st_find(f, name);

    if (!t || t->dtype != QL_ST_F32) {
        TEST_FAIL("%s: no %s", f->path, name);
        exit(1);
    }
    *count = t->count;
    return (const float *)(const void *)ql_st_data(t);
}

/* Over all tensors of the adapter: how far ours ends from theirs, against how far theirs went. */
static void
check_adapter(golden *g, const char *folder, const char *run, double bar)
{
    const char *const files[] = {walk_format(&g->t, "%s/out/adapter_model.safetensors", g->t.folder),
                                 walk_format(&g->t, "%s/final.%s.safetensors", folder, run),
                                 walk_format(&g->t, "%s/adapter_model.safetensors", folder)};
    double off = 0, way = 0;
    ql_st_file f[3];

    for (int i = 0; i < 3; i++)
        REQUIRE_OK(&g->cx, ql_st_open(&g->cx, files[i], &f[i]));
    for (int64_t k = 0; k < f[2].count; k++) {
        const char *name = f[2].tensors[k].name;
        const double scale = strstr(name, "lora_B") ? 2 : 1; /* exports have scale 1 */
        const float *v[3];
        uint64_t n[3];

        for (int i = 0; i < 3; i++)
            v[i] = values(&f[i], name, &n[i]);
        CHECK_INT((int64_t)n[0], (int64_t)n[1]);
        for (uint64_t i = 0; i < n[1]; i++) {
            off += pow((double)v[0][i] / scale - (double)v[1][i], 2);
            way += pow((double)v[1][i] - (double)v[2][i], 2);
        }
    }
    for (int i = 0; i < 3; i++)
        ql_st_close(&f[i]);
    printf("%s: adapter off by %.2e of its way\n", run, sqrt(off / way));
    CHECK(sqrt(off / way) <= bar);
}

static void
check_run(golden *g, const char *fixtures, const char *model, const char *name, bool fp64)
{
    const char *folder = walk_format(&g->t, "%s/golden-train/%s", fixtures, model);
    const bars *b = fp64 ? &twice : &single;
    const char *quant = strcmp(name, "rtn3") == 0 ? "use: rtn, bits: 3, group_size: 64, sym: false, scale_dtype: bf16"
                                                  : "use: identity";
    const char *held = strcmp(name, "gamma_update") == 0 ? "preserved_rate: 0.1"
                       : strcmp(name, "gamma_grad") == 0 ? "preserved_rate: 0.1, preserved_on: gradient"
                                                         : "preserved_rate: 1";
    const ql_json *root, *run;

    printf("%s %s %s\n", model, name, fp64 ? "fp64" : "fp32");
    WALK_OK(&g->t, walk_run(&g->t,
                            walk_format(&g->t, PIPELINE, walk_format(&g->t, "%s/models/%s", fixtures, model), folder,
                                        strcmp(name, "masked") == 0 ? "ragged" : "full", folder, quant, folder, held,
                                        fp64 ? "fp64" : "fp32", walk_format(&g->t, "%s/out", g->t.folder)),
                            2, 0));
    REQUIRE_OK(&g->cx, ql_json_read(&g->cx, walk_format(&g->t, "%s/curves.json", folder), &root));
    run = ql_json_member(ql_json_member(root, "runs"), name);
    check_series(g, run, "loss", "loss", b->curve);
    check_series(g, run, "grad_norm", "grad_norm", fp64 ? 1e-6 : 5e-5);
    check_series(g, run, "rate", "lr", 1e-14);
    check_eval(g, run, 0, "eval_loss_before", b->loss);
    check_eval(g, run, 30, "eval_loss_after", fp64 ? 1e-7 : b->curve); /* the adapter is stored in single precision */
    check_adapter(g, folder, name, b->adapter);
}

int
main(void)
{
    static const char *const models[] = {"tiny-llama", "tiny-qwen2", "tiny-qwen3"};
    static const char *const runs[] = {"full", "masked", "rtn3", "gamma_update", "gamma_grad"};
    static golden g;
    const char *fixtures = test_fixtures();

    if (!fixtures)
        return test_failures ? 1 : 77;
    walk_open(&g.t);
    g.t.plugins = golden_plugins;
    ql_ctx_init(&g.cx, NULL);
    ql_scope_open(&g.cx, &g.scope);
    for (int m = 0; m < 3; m++)
        for (int r = 0; r < 5; r++)
            check_run(&g, fixtures, models[m], runs[r], false);
    for (int m = 0; m < 3; m++)
        check_run(&g, fixtures, models[m], runs[m], true);
    ql_ctx_fini(&g.cx);
    return walk_close(&g.t);
}
