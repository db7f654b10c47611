/* One row never costs a linear: weights with tiny, huge, constant, one-sided and empty rows, through every quantizer and every compensator:
 * all finite, and the ordinary rows are still there. */
#include "method.h"

#define ROWS 16
#define COLUMNS 32

static const char *const quantizers[] = {"rtn", "gptq", "projq", "mxint", "nf", "gptq_lora"};
static const char *const compensators[] = {"none", "svd", "lqer", "qera", "eora", "lordq", "loftq", "srr"};
static const char *const dtypes[] = {"fp16", "bf16", "fp32"};

/* Rows 8 .. 15 are odd ones. */
static problem
odd_problem(lab *l)
{
    problem p = problem_make(l, ROWS, COLUMNS, 3 * COLUMNS);

    for (int64_t i = 8 * COLUMNS; i < ROWS * COLUMNS; i++) {
        double *w = &p.w[i];

        switch (i / COLUMNS) {
        case 8:
            *w *= 1e-5;
            break;
        case 9:
            *w *= 1e-12;
            break;
        case 10:
            *w *= 1e-30;
            break;
        case 11:
            *w *= 1e6;
            break;
        case 12:
            *w = 0.25;
            break;
        case 13:
            *w = -fabs(*w);
            break;
        case 14:
            *w = i % COLUMNS == 5 ? *w : 0;
            break;
        default:
            *w = 0;
        }
    }
    p.tw = lab_put(l, ROWS, COLUMNS, p.w);
    return p;
}

static void
check_linear(lab *l, const char *quantizer, const char *compensator, int bits, const char *dtype)
{
    const problem p = odd_problem(l);
    const char *settings = ql_format(&l->cx, "bits=%d group_size=8 scale_dtype=%s", bits, dtype);
    ql_node base = lab_node(l, quantizer, settings), gptq = lab_node(l, "gptq", settings);
    const ql_input driven = {.port = "base", .type = QL_EDGE_QUANTIZER, .from = &gptq};
    const bool ranked = strcmp(compensator, "none") != 0;
    double ordinary = 0;
    compensated c;

    base.inputs = &driven;
    base.input_count = base.plugin->ports ? 1 : 0;
    if (!ranked) {
        ql_qlinear q;
        const double *what = lab_quantize(l, &p, quantizer, settings, &q);

        for (int64_t i = 0; i < ROWS * COLUMNS; i++)
            CHECK(isfinite(what[i]));
        return;
    }
    c = lab_compensate(l, &p, compensator, "rank=4", &base);
    for (int64_t i = 0; i < ROWS * COLUMNS; i++) {
        CHECK(isfinite(c.what[i]));
        CHECK(isfinite(c.ba[i]));
    }
    for (int64_t i = 0; i < 8 * COLUMNS; i++)
        ordinary += c.what[i] * c.what[i];
    if (ordinary == 0)
        TEST_FAIL("%s with %s, %d bits, %s: the ordinary rows are gone", quantizer, compensator, bits, dtype);
}

int
main(void)
{
    static lab l;

    lab_open(&l);
    for (size_t q = 0; q < sizeof quantizers / sizeof *quantizers; q++)
        for (size_t c = 0; c < sizeof compensators / sizeof *compensators; c++)
            for (int bits = 2; bits <= 4; bits++)
                for (int d = 0; d < 3; d++) {
                    lab_begin(&l);
                    check_linear(&l, quantizers[q], compensators[c], bits, dtypes[d]);
                    lab_end(&l);
                }
    return lab_close(&l);
}
