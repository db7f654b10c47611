/* Losses of tokens by real models of every architecture: the cuda backend in fp32 against the cpu, and in bf16 against fp32. */
#include "models.h"
#include "models/lab.h"

#define LENGTH 64 /* tokens of a sequence */

typedef struct sums { /* of the differences between two lists of losses */
    double count, signed_sum, absolute, square;
} sums;

/* Of `count` sequences, on the device of cx; 0 for the last token of each. */
static double *
losses(ql_ctx *cx, const ql_model_handle *m, const int32_t *ids, int64_t count)
{
    int64_t *offsets = ql_alloc(cx, (size_t)count + 1, sizeof *offsets);
    int32_t *next = ql_alloc(cx, (size_t)(count * LENGTH), sizeof *next);
    ql_flow f = {.seqs = &(const ql_seqs){.count = count, .offsets = offsets}};
    ql_tensor *x, *targets, *nll;
    ql_ends ends;

    for (int64_t i = 0; i <= count; i++)
        offsets[i] = i * LENGTH;
    for (int64_t t = 0; t < count * LENGTH; t++)
        next[t] = (t + 1) % LENGTH ? ids[t + 1] : -1;
    REQUIRE_OK(cx, ql_model_embed(cx, m, ids, count * LENGTH, &f.h));
    for (int64_t i = 0; i < m->info.layers; i++) {
        ql_block *b;

        REQUIRE_OK(cx, ql_block_open(cx, m, i, &b));
        REQUIRE_OK(cx, ql_block_forward(cx, b, NULL, &f));
        ql_block_close(b);
    }
    REQUIRE_OK(cx, ql_model_ends(cx, m, &ends));
    REQUIRE_OK(cx, ql_model_norm(cx, m, &ends, f.h, &x));
    REQUIRE_OK(cx, ql_upload(cx, QL_I32, count * LENGTH, -1, next, &targets));
    REQUIRE_OK(cx, ql_nll(cx, x, ends.head, targets, &nll));
    return lab_values(cx, nll);
}

static void
compare(const double *got, const double *expected, int64_t count, sums *s)
{
    for (int64_t t = 0; t < count * LENGTH; t++) {
        const double d = got[t] - expected[t];

        s->count += (t + 1) % LENGTH != 0;
        s->signed_sum += d;
        s->absolute += fabs(d);
        s->square += d * d;
    }
}

/* One model in `compute` on the backend under test, in fp32 on the cpu; the differences join `all`. */
static void
run_model(lab *l, const char *name, ql_dtype compute, int64_t count, sums *all)
{
    ql_ctx *cx = &l->cx;
    ql_model_handle m = {0};
    const int32_t *ids;
    const char *folder;
    double *expected;
    ql_scope scope;

    ql_scope_open(cx, &scope);
    folder = model_folder(cx, name);
    if (folder) {
        ids = model_text(cx, folder, "eval.txt", count * LENGTH);
        REQUIRE_OK(cx, ql_model_open(cx, l->registry, NULL, NULL, folder, &m));
        expected = losses(cx, &m, ids, count);
        cx->device = second_device(cx, compute);
        compare(losses(cx, &m, ids, count), expected, count, all);
        ql_model_close(&m);
    }
    ql_scope_close(cx, &scope);
    if (cx->device != l->device)
        ql_device_close(cx->device);
    cx->device = l->device;
}

static void
in_fp32(lab *l)
{
    static const char *const models[] = {"tiny-qwen3", "stories260K", "tiny-llama", "tiny-qwen2", "wide-qwen3"};

    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        sums s = {0};

        run_model(l, models[i], QL_F32, 1, &s);
        if (s.count > 0)
            printf("%s, fp32: %.2g apart\n", models[i], s.absolute / s.count);
        CHECK(!(s.absolute > 1e-5 * s.count));
    }
}

/* Rounding to bf16 moves a loss by a hundredth, so a mean of a few hundred of them says little about a bias of 5e-4: three standard
 * errors of the mean are allowed beyond it. QLOOM_TEST_SEQUENCES asks for more of them. Noise of variance v also costs v / 2 itself. */
static void
in_bf16(lab *l)
{
    static const char *const models[] = {"tiny-qwen3", "tiny-llama", "tiny-qwen2",
                                         "wide-qwen3"}; /* those with bf16 weights; the last has heads of 128 */
    const char *more = getenv("QLOOM_TEST_SEQUENCES");
    sums s = {0};
    double mean, error;

    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        run_model(l, models[i], QL_BF16, more ? atoi(more) : 8, &s);
    mean = s.signed_sum / s.count;
    error = sqrt((s.square / s.count - mean * mean) / s.count);
    printf("%.0f tokens, bf16: %.2g apart, %.2g +- %.2g in the mean\n", s.count, s.absolute / s.count, mean, error);
    CHECK(s.absolute <= 3e-2 * s.count);
    CHECK_NEAR(mean, 0, 5e-4 + 3 * error);
}

int
main(void)
{
    lab l;

    lab_open(&l);
    in_fp32(&l);
    in_bf16(&l);
    return lab_close(&l);
}
