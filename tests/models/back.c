/* The vjp of every step of a block in double: against differences of the step itself, and against the gradients of whole blocks that
 * golden-train holds. */
#include "core/model/inside.h"
#include "core/tensor/safetensors.h"
#include "models/lab.h"

#define EPSILON 1e-5 /* of a difference */
#define BAR 1e-10
#define GOLDEN_BAR 1e-6 /* of the largest: the borders are rounded to float */

static const int64_t windows[] = {0, 5};

/* Scores of q and k with norm, biases, groups of heads, a window, frequencies that follow the length. */
static const lab_spec specs[] = {
    {.type = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .qk_norm = true,
     .layers = 2,
     .hidden = 40,
     .mlp = 56,
     .heads = 6,
     .kv_heads = 2,
     .head_dim = 12,
     .vocab = 31,
     .qkv_bias = true,
     .o_bias = true,
     .windows = windows,
     .extra = "\"attention_bias\": true, \"layer_types\": [\"full_attention\", \"sliding_attention\"], "
              "\"sliding_window\": 5, \"max_position_embeddings\": 16, \"rope_scaling\": {\"rope_type\": \"dynamic\", "
              "\"factor\": 3},"},
    {.type = "llama",
     .architecture = "LlamaForCausalLM",
     .layers = 2,
     .hidden = 32,
     .mlp = 40,
     .heads = 4,
     .kv_heads = 4,
     .head_dim = 8,
     .vocab = 31},
};

static ql_tensor *
put(ql_ctx *cx, int64_t rows, int64_t cols, const double *x)
{
    ql_tensor *t;

    REQUIRE_OK(cx, ql_upload(cx, QL_F64, rows, cols, x, &t));
    return t;
}

static ql_tensor *
normal(lab *l, int64_t rows, int64_t cols)
{
    double *x = ql_alloc(&l->cx, (size_t)(rows * cols), sizeof *x);

    for (int64_t i = 0; i < rows * cols; i++)
        x[i] = test_normal(&l->random);
    return put(&l->cx, rows, cols, x);
}

static double
dot(ql_ctx *cx, const ql_tensor *a, const ql_tensor *b)
{
    double sum = 0;

    if (a && b)
        REQUIRE_OK(cx, ql_dot(cx, a, b, &sum));
    return sum;
}

/* t + f d, a new tensor. */
static ql_tensor *
moved(ql_ctx *cx, const ql_tensor *t, double f, const ql_tensor *d)
{
    ql_tensor *out;

    REQUIRE_OK(cx, ql_convert(cx, t, QL_F64, &out));
    REQUIRE_OK(cx, ql_axpby(cx, f, d, 1, out));
    return out;
}

/* A step and what it is given and gives. */
typedef struct at_step {
    lab *l;
    const ql_model_handle *m;
    ql_step step;
    int outputs;      /* of the subset before: y */
    ql_tensor *x, *h; /* what it gave; h: the stream after it, changed or not */
    ql_tensor *kept[QL_KEPT];
} at_step;

static at_step
step_of(lab *l, const ql_model_handle *m, const ql_block *b, int k, const ql_flow *f)
{
    return (at_step){.l = l,
                     .m = m,
                     .outputs = lab_outputs(k),
                     .step = {.info = &m->info,
                              .layer = b->layer,
                              .k = k,
                              .seqs = f->seqs,
                              .smalls = (const ql_tensor *const *)b->smalls,
                              .h = f->h,
                              .y = (const ql_tensor *const *)f->y}};
}

static void
forward(at_step *a)
{
    ql_ctx *cx = &a->l->cx;

    a->x = a->h = NULL;
    memset(a->kept, 0, sizeof a->kept);
    a->step.x = a->step.k < a->m->info.subsets ? &a->x : NULL;
    a->step.h_next = &a->h;
    a->step.kept = a->kept;
    REQUIRE_OK(cx, a->m->plugin->model->step(cx, a->m->self, &a->step));
}

/* <gx, x> + <gh, h> of a step whose h and y moved by `f` along their directions. */
static double
along(const at_step *a, double f, const ql_tensor *dir_h, ql_tensor *const *dir_y, const ql_tensor *gx,
      const ql_tensor *gh)
{
    ql_ctx *cx = &a->l->cx;
    const ql_tensor *y[4];
    at_step other = *a;

    other.step.h = moved(cx, a->step.h, f, dir_h);
    for (int i = 0; i < a->outputs; i++)
        y[i] = moved(cx, a->step.y[i], f, dir_y[i]);
    other.step.y = y;
    forward(&other);
    return dot(cx, gx, other.x) + dot(cx, gh, other.h ? other.h : other.step.h);
}

static void
check_step(at_step *a)
{
    lab *l = a->l;
    ql_ctx *cx = &l->cx;
    const int64_t tokens = ql_dim(a->step.h, 0), hidden = ql_dim(a->step.h, 1);
    ql_tensor *dir_y[4], *dy[4] = {0}, *dir_h = normal(l, tokens, hidden), *gh = normal(l, tokens, hidden), *gx = NULL,
                         *dh;
    double got, expected, largest;

    for (int i = 0; i < a->outputs; i++)
        dir_y[i] = normal(l, tokens, ql_dim(a->step.y[i], 1));
    forward(a);
    if (a->x)
        gx = normal(l, tokens, ql_dim(a->x, 1));
    REQUIRE_OK(cx, ql_convert(cx, gh, QL_F64, &dh));
    REQUIRE_OK(cx,
               a->m->plugin->model->step_back(cx, a->m->self, &a->step, &(ql_grad){gx, dh, a->outputs ? dy : NULL}));
    got = dot(cx, dh, dir_h);
    for (int i = 0; i < a->outputs; i++)
        got += dot(cx, dy[i], dir_y[i]);
    expected = (along(a, EPSILON, dir_h, dir_y, gx, gh) - along(a, -EPSILON, dir_h, dir_y, gx, gh)) / (2 * EPSILON);
    largest = fmax(1, fabs(dot(cx, gh, gh)) + dot(cx, gx, gx));
    if (!(fabs(got - expected) <= BAR * largest))
        TEST_FAIL("%s, block %lld, step %d: vjp along a direction is %.12g, the difference %.12g",
                  a->m->info.architecture, (long long)a->step.layer, a->step.k, got, expected);
}

/* The model with weights and activations in double. */
static void
in_double(lab *l)
{
    l->cx.device->info.compute_dtype = QL_F64;
}

static void
check_model(lab *l, const lab_spec *spec)
{
    const int64_t offsets[] = {0, 1, 24, 24, 31}, first[] = {0, 0, 0, 3};
    const ql_seqs seqs = {.count = 4, .offsets = offsets, .first = first};
    ql_ctx *cx = &l->cx;
    ql_model_handle m = {0};
    plain_model plain;
    ql_scope scope;

    ql_scope_open(cx, &scope);
    lab_make(l, spec, &plain);
    in_double(l);
    REQUIRE_OK(cx, ql_model_open(cx, l->registry, NULL, NULL, l->folder, &m));
    for (int64_t layer = 0; layer < 2; layer++) {
        ql_flow flow = {.seqs = &seqs, .h = normal(l, 31, spec->hidden)};
        ql_block *b;

        REQUIRE_OK(cx, ql_block_open(cx, &m, layer, &b));
        for (int k = 0; k <= 4; k++) {
            at_step a = step_of(l, &m, b, k, &flow);

            check_step(&a);
            REQUIRE_OK(cx, ql_block_step(cx, b, k, &flow));
            if (k < 4)
                REQUIRE_OK(cx, ql_block_linears(cx, b, k, NULL, &flow));
        }
        ql_block_close(b);
    }
    ql_model_close(&m);
    ql_scope_close(cx, &scope);
}

/* --- whole blocks of golden-train --- */

static ql_tensor *
golden(ql_ctx *cx, const ql_st_file *f, const char *name)
{
    const ql_st_tensor *t = ql_st_find(f, name);

    if (!t || t->dtype != QL_ST_F32) {
        TEST_FAIL("%s has no tensor %s of F32", f->path, name);
        exit(1);
    }
    return put(cx, t->dims[0], t->ndim > 1 ? t->dims[1] : -1, lab_floats(cx, ql_st_data(t), (int64_t)t->count));
}

/* dx += dy (W + B A) of one linear. */
static void
linear_back(ql_ctx *cx, const block_linear *l, const ql_tensor *dy, ql_tensor *dx)
{
    ql_tensor *u;

    REQUIRE_OK(cx, ql_gemm(cx, QL_NN, 1, dy, l->w, 1, dx));
    REQUIRE_OK(cx, ql_new(cx, QL_F64, ql_dim(dy, 0), ql_dim(l->adapter.a, 0), &u));
    REQUIRE_OK(cx, ql_gemm(cx, QL_NN, 1, dy, l->adapter.b, 0, u));
    REQUIRE_OK(cx, ql_gemm(cx, QL_NN, 1, u, l->adapter.a, 1, dx));
}

/* Forward and back through one block: dh, for the stream behind it, becomes that for h. */
static void
block_back(lab *l, const ql_model_handle *m, ql_block *b, const ql_seqs *seqs, ql_tensor *h, ql_tensor *dh)
{
    const int subsets = m->info.subsets;
    ql_flow flow = {.seqs = seqs, .h = h};
    ql_tensor *dy[4] = {0}; /* for the outputs of the subset at hand */
    ql_ctx *cx = &l->cx;
    at_step at[5];

    for (int k = 0; k <= subsets; k++) {
        at[k] = step_of(l, m, b, k, &flow);
        forward(&at[k]);
        flow.x = at[k].x;
        flow.h = at[k].h ? at[k].h : flow.h;
        if (k < subsets)
            REQUIRE_OK(cx, ql_block_linears(cx, b, k, NULL, &flow));
    }
    for (int k = subsets; k >= 0; k--) {
        ql_tensor *dx = NULL;

        if (k < subsets)
            REQUIRE_OK(cx, ql_zeros(cx, QL_F64, ql_dim(h, 0), ql_dim(at[k].x, 1), &dx));
        for (int i = 0, n = 0; i < m->info.linear_count; i++)
            if (m->info.linears[i].subset == k)
                linear_back(cx, &b->linears[i], dy[n++], dx);
        REQUIRE_OK(cx, m->plugin->model->step_back(cx, m->self, &at[k].step, &(ql_grad){dx, dh, k ? dy : NULL}));
    }
}

static void
compare_golden(ql_ctx *cx, const ql_st_file *f, const char *name, int64_t i, const ql_tensor *got)
{
    const char *full = ql_format(cx, "border.%s.%lld", name, (long long)i);
    const ql_st_tensor *t = ql_st_find(f, full);
    const double *expected, *x;
    double most = 0, worst = 0;

    if (!t)
        return; /* not every border is held */
    CHECK_INT(ql_count(got), (int64_t)t->count);
    expected = lab_floats(cx, ql_st_data(t), (int64_t)t->count);
    REQUIRE_OK(cx, ql_map(cx, got, QL_READ, &x));
    for (int64_t j = 0; j < ql_count(got); j++) {
        most = fmax(most, fabs(expected[j]));
        worst = fabs(x[j] - expected[j]) <= worst ? worst : fabs(x[j] - expected[j]); /* NaN becomes the worst */
    }
    REQUIRE_OK(cx, ql_unmap(cx, got));
    if (!(worst <= GOLDEN_BAR * most))
        TEST_FAIL("%s: %s differs by %.3g of %.3g", f->path, full, worst, most);
}

/* From the input of block 0 to that behind the last, and from the gradient there back to block 0. */
static void
through_blocks(lab *l, const ql_model_handle *m, const ql_st_file *f)
{
    const ql_st_tensor *offsets = ql_st_find(f, "offsets");
    ql_seqs seqs = {.count = (int64_t)offsets->count - 1};
    int64_t *ends = ql_alloc(&l->cx, (size_t)offsets->count, sizeof *ends);
    ql_tensor *h[16], *dh;
    ql_ctx *cx = &l->cx;
    ql_block *b;

    for (uint64_t i = 0; i < offsets->count; i++) {
        int32_t end;

        memcpy(&end, ql_st_data(offsets) + i * sizeof end, sizeof end);
        ends[i] = end;
    }
    seqs.offsets = ends;
    h[0] = golden(cx, f, "border.h.0");
    for (int64_t i = 0; i < m->info.layers; i++) {
        ql_flow flow = {.seqs = &seqs, .h = h[i]};

        compare_golden(cx, f, "h", i, h[i]);
        REQUIRE_OK(cx, ql_block_open(cx, m, i, &b));
        REQUIRE_OK(cx, ql_block_forward(cx, b, NULL, &flow));
        h[i + 1] = flow.h;
        ql_block_close(b);
    }
    dh = golden(cx, f, ql_format(cx, "border.dh.%lld", (long long)m->info.layers));
    for (int64_t i = m->info.layers - 1; i >= 0; i--) {
        REQUIRE_OK(cx, ql_block_open(cx, m, i, &b));
        block_back(l, m, b, &seqs, h[i], dh);
        compare_golden(cx, f, "dh", i, dh);
        ql_block_close(b);
    }
}

static void
check_golden(lab *l, const char *fixtures, const char *folder)
{
    const char *name = strrchr(folder, '/') + 1, *keys[] = {"path", "adapter"};
    ql_ctx *cx = &l->cx;
    const char *values[] = {folder, ql_format(cx, "%s/golden-train/%s", fixtures, name)};
    ql_model_handle m = {0};
    ql_st_file f = {0};
    const ql_plugin *plugin;
    ql_scope scope;
    void *self;

    if (access(values[1], F_OK) != 0)
        return;
    ql_scope_open(cx, &scope);
    in_double(l);
    REQUIRE_OK(cx, ql_model_open(cx, l->registry, NULL, NULL, folder, &m));
    plugin = m.plugin;
    ql_model_close(&m);
    self = ql_alloc(cx, 1, plugin->self_size);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        REQUIRE_OK(cx, ql_param_set(cx, ql_param_find(plugin, keys[i]), &(ql_value){.text = values[i]}, NULL, self));
    REQUIRE_OK(cx, ql_model_open(cx, l->registry, plugin, self, folder, &m));
    REQUIRE_OK(cx, ql_st_open(cx, ql_format(cx, "%s/grads.safetensors", values[1]), &f));
    through_blocks(l, &m, &f);
    ql_st_close(&f);
    ql_model_close(&m);
    ql_scope_close(cx, &scope);
}

static int
differences(void)
{
    lab l;

    lab_open(&l);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        check_model(&l, &specs[i]);
    return lab_close(&l);
}

int
main(void)
{
    const int failed = differences();

    return failed ? failed : lab_fixtures(check_golden);
}
