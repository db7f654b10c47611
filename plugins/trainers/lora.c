/* LoRA (arXiv:2106.09685) over a frozen model, quantized or not: AdamW (arXiv:1711.05101) or plain gradient descent on A and B of every
 * adapter, from where a compensator left them or from a fresh start (docs/training.md). */
#include <math.h>

#include <qloom/lowrank.h>
#include <qloom/trainer.h>

#define SPECTRAL_A 5.0 /* arXiv:2602.02001: how fast the factor of a component rises as its singular value falls */

typedef struct lora {
    int rank, adapter_dtype, batch, epochs, updates, optimizer, schedule, order, precision, eval_every, seed;
    int preserved_rule, preserved_on;
    double alpha, learning_rate, weight_decay, beta1, beta2, epsilon, warmup, clip, dropout, checkpoint_every;
    double preserved_rate;
    ql_strings targets;
} lora;

enum { ADAMW, SGD };
enum { COSINE, LINEAR, CONSTANT };
enum { HF, FILE_ORDER };
enum { FP32, FP64 };
enum { RULE_CONSTANT, RULE_SPECTRAL };
enum { ON_RATE, ON_GRADIENT };
static const char *const optimizers[] = {"adamw", "sgd", NULL};
static const char *const schedules[] = {"cosine", "linear", "constant", NULL};
static const char *const orders[] = {"hf", "file", NULL};
static const char *const precisions[] = {"fp32", "fp64", NULL};
static const char *const rules[] = {"constant", "spectral", NULL};
static const char *const ons[] = {"rate", "gradient", NULL};

static const ql_param params[] = {
    QL_NUM(lora, rank, 0, 0, 1 << 16, "of a fresh adapter, where a linear has none; 0: such linears stay without"),
    QL_ADAPTER_DTYPE(lora),
    QL_NUM(lora, alpha, 0, 0, 1e6, "the adapter is multiplied by alpha / rank; 0: the rank, so by 1"),
    QL_LIST(lora, targets, "linears that are trained, by the ends of their names: [q_proj, v_proj]; default: all"),
    QL_NUM(lora, batch, 16, 1, 1 << 20, "sequences an update"),
    QL_NUM(lora, epochs, 1, 1, 1 << 20, "times that all sequences are seen"),
    QL_NUM(lora, updates, 0, 0, 1 << 30, "updates in all, in place of epochs; 0: epochs say"),
    QL_NUM(lora, learning_rate, 2e-4, 0, 100, "of the first update after the warm-up"),
    QL_ENUM(lora, schedule, COSINE, schedules,
            "of the rate after the warm-up: to 0 by half a cosine or a line, or as it is"),
    QL_NUM(lora, warmup, 0.03, 0, 1e9, "updates in which the rate rises from 0; below 1: a share of all"),
    QL_ENUM(lora, optimizer, ADAMW, optimizers, "what an update is"),
    QL_NUM(lora, weight_decay, 0, 0, 100, "of A and B alike, times the rate"),
    QL_NUM(lora, beta1, 0.9, 0, 0.999999, "of adamw: how slowly the mean of gradients changes"),
    QL_NUM(lora, beta2, 0.999, 0, 0.999999, "of adamw: how slowly the mean of their squares changes"),
    QL_NUM(lora, epsilon, 1e-8, 0, 1, "of adamw: added to the root of that"),
    QL_NUM(lora, clip, 1, 0, 1e9, "most that the norm of all gradients may be; 0: no limit"),
    QL_NUM(lora, dropout, 0, 0, 0.99, "share of the adapter's inputs that an update leaves out"),
    QL_ENUM(lora, order, HF, orders,
            "of sequences: drawn anew every epoch as the Hugging Face trainer does; as in the file"),
    QL_NUM(lora, seed, -1, -1, 2147483647, "of order, dropout and fresh adapters; -1: the pipeline's"),
    QL_NUM(lora, preserved_rate, 1, 0, 1, "factor of the rate of the components that srr preserved; 0: they stay"),
    QL_ENUM(lora, preserved_rule, RULE_CONSTANT, rules,
            "the same factor for all of them, or one that follows each one's singular value"),
    QL_ENUM(lora, preserved_on, ON_RATE, ons,
            "rate: what is said; gradient: as published, which adamw cancels but for its epsilon and the clip"),
    QL_ENUM(lora, precision, FP32, precisions, "of all arithmetic; fp64 for tests, on the CPU"),
    QL_EVAL_EVERY(lora),
    QL_CHECKPOINT_EVERY(lora),
    QL_PARAMS_END,
};

static ql_status
check(ql_ctx *cx, const void *self)
{
    const lora *p = self;

    if (p->updates > 0 && p->warmup >= p->updates)
        return QL_FAIL(cx, QL_INVALID, "warmup: expected less than the %d updates, got %g", p->updates, p->warmup);
    if (p->preserved_rule == RULE_SPECTRAL && p->preserved_rate != 1)
        ql_info(cx, "preserved_rate holds where the spectral rule finds no singular value");
    return QL_OK;
}

static ql_status
begin(ql_ctx *cx, const void *self, const ql_train_info *info, ql_course *out)
{
    const lora *p = self;
    const int64_t an_epoch = (info->sequences + p->batch - 1) / p->batch;

    out->updates = p->updates > 0 ? p->updates : p->epochs * an_epoch;
    if (p->warmup >= (double)out->updates)
        return QL_FAIL(cx, QL_INVALID, "warmup: expected less than the %lld updates, got %g", (long long)out->updates,
                       p->warmup);
    out->batch = p->batch;
    out->in_order = p->order == FILE_ORDER;
    out->seed = p->seed < 0 ? out->seed : (uint64_t)p->seed;
    out->fp64 = p->precision == FP64;
    out->rank = p->rank;
    out->alpha = p->alpha;
    out->dropout = p->dropout;
    out->clip = p->clip;
    out->scale_gradients = p->preserved_on == ON_GRADIENT;
    out->eval_every = p->eval_every > 0 ? p->eval_every : out->updates > 10 ? out->updates / 10 : 1;
    out->checkpoint_every = 60 * p->checkpoint_every;
    out->targets = p->targets;
    if (out->scale_gradients && p->optimizer == ADAMW)
        ql_info(cx, "preserved_on: gradient: adamw divides an update by the size of its gradients, so that a constant "
                    "factor of them cancels");
    return QL_OK;
}

static double
rate(const void *self, int64_t update, int64_t updates)
{
    const lora *p = self;
    const double u = (double)update, all = (double)updates;
    const double w = p->warmup < 1 ? ceil(p->warmup * all) : p->warmup, past = (u - w) / (all - w);

    if (u < w)
        return p->learning_rate * u / w;
    if (p->schedule == COSINE)
        return p->learning_rate * 0.5 * (1 + cos(acos(-1) * past));
    return p->schedule == LINEAR ? p->learning_rate * (1 - past) : p->learning_rate;
}

/* The first k components are those that were preserved. By the spectral rule, 1 - (a + 1) s_i / (a s_i + s_max) with the singular values of
 * B A: 0 for the largest. */
static ql_status
factors(ql_ctx *cx, const void *self, const ql_tensor *b, const ql_tensor *a, int k, double *out)
{
    const lora *p = self;
    const int64_t r = ql_dim(a, 0);
    ql_lowrank_result s = {0};
    ql_tensor *ba;
    double most = 0;

    if (k < 1)
        return QL_OK;
    if (p->preserved_rule == RULE_SPECTRAL) {
        QL_TRY(cx, ql_new(cx, QL_F32, ql_dim(b, 0), ql_dim(a, 1), &ba));
        QL_TRY(cx, ql_gemm(cx, QL_NN, 1, b, a, 0, ba));
        QL_TRY(cx, ql_lowrank(cx, ba, &(ql_lowrank_spec){.rank = r, .exact = true}, &s));
        most = s.rank > 0 ? sqrt(fmax(s.sig2[0], 0)) : 0;
    }
    for (int64_t i = 0; i < k && i < r; i++) {
        const double si = i < s.rank ? sqrt(fmax(s.sig2[i], 0)) : 0;

        out[i] = p->preserved_rate;
        if (most > 1e-30)
            out[i] = fmin(fmax(1 - (SPECTRAL_A + 1) * si / (SPECTRAL_A * si + most), 0), 1);
    }
    return QL_OK;
}

/* p <- p (1 - r decay) - r g, where r is the rate times a component's factor. */
static ql_status
descend(ql_ctx *cx, const lora *p, const ql_train_param *at)
{
    ql_tensor *step;

    QL_TRY(cx, ql_new(cx, ql_dtype_of(at->g), ql_dim(at->g, 0), ql_dim(at->g, 1), &step));
    QL_TRY(cx, ql_copy(cx, at->g, step));
    QL_TRY(cx, ql_axpby(cx, at->rate * p->weight_decay, at->p, at->rate, step));
    if (at->rows)
        QL_TRY(cx, ql_scale_rows(cx, at->rows, step));
    if (at->cols)
        QL_TRY(cx, ql_scale_cols(cx, at->cols, step));
    return ql_axpby(cx, -1, step, 1, at->p);
}

static ql_status
update(ql_ctx *cx, const void *self, const ql_train_param *at)
{
    const lora *p = self;
    const ql_adamw_spec spec = {.scale = 1,
                                .rate = at->rate,
                                .decay = p->weight_decay,
                                .beta1 = p->beta1,
                                .beta2 = p->beta2,
                                .eps = p->epsilon,
                                .t = at->update + 1,
                                .rows = at->rows,
                                .cols = at->cols};

    if (p->optimizer == SGD)
        return descend(cx, p, at);
    return ql_adamw(cx, &spec, at->g, at->state[0], at->state[1], at->p);
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    (void)in;
    out->rank = ((const lora *)self)->rank;
}

QL_PLUGIN(.kind = QL_TRAINER, .name = "lora", .version = "1.0", .help = "trains the adapters of a frozen model",
          .cite = "arXiv:2106.09685", .params = params, .self_size = sizeof(lora), .check = check,
          .trainer = QL_TABLE(ql_trainer, .state_tensors = 2, .begin = begin, .rate = rate, .factors = factors,
                              .update = update, .describe = describe), );
