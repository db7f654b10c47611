/* A trainer that asks for what can't be, or writes to what it is lent: `how` says which. */
#include <math.h>
#include <stdlib.h>

#include <qloom/backend.h>
#include <qloom/trainer.h>

typedef struct learns {
    int how, adapter_dtype, eval_every;
    double checkpoint_every;
} learns;

enum { WELL, UPDATES, BATCH, RANK, ALPHA, CLIP, LOOKS, NO_LOOKS, RATE, PARAMETERS, GRADIENT, POINTER, SEGV, EXIT };

static const char *const ways[] = {"well", "updates",    "batch",    "rank",    "alpha", "clip", "looks", "no_looks",
                                   "rate", "parameters", "gradient", "pointer", "segv",  "exit", NULL};
static const ql_param params[] = {QL_ENUM(learns, how, WELL, ways, "how it learns"), QL_ADAPTER_DTYPE(learns),
                                  QL_EVAL_EVERY(learns), QL_CHECKPOINT_EVERY(learns), QL_PARAMS_END};

static ql_status
begin(ql_ctx *cx, const void *self, const ql_train_info *info, ql_course *out)
{
    const int how = ((const learns *)self)->how;

    (void)cx;
    (void)info;
    *out = (ql_course){.updates = how == UPDATES ? -1 : 3,
                       .batch = how == BATCH ? INT64_MAX : 2,
                       .rank = how == RANK ? -3 : 2,
                       .alpha = how == ALPHA ? NAN : 0,
                       .clip = how == CLIP ? -1 : 1,
                       .eval_every = how == LOOKS      ? -2
                                     : how == NO_LOOKS ? 0
                                                       : 1,
                       .in_order = true,
                       .checkpoint_every = 1e9};
    return QL_OK;
}

static double
rate(const void *self, int64_t update, int64_t updates)
{
    (void)updates;
    return ((const learns *)self)->how == RATE && update == 1 ? NAN : 0.01;
}

static ql_status
update(ql_ctx *cx, const void *self, const ql_train_param *at)
{
    static volatile uintptr_t unmapped = 8;

    switch (at->update == 1 ? ((const learns *)self)->how : WELL) {
    case PARAMETERS:
        ((learns *)(uintptr_t)self)->how = WELL;
        break;
    case GRADIENT:
        QL_TRY(cx, ql_fill(cx, (ql_tensor *)(uintptr_t)at->g, 0));
        break;
    case POINTER:
        ((float *)ql_ptr(at->g))[0] = 5;
        break;
    case SEGV:
        *(volatile int *)unmapped = 1;
        break;
    case EXIT:
        exit(0);
    default:
        break;
    }
    return ql_axpby(cx, -at->rate, at->g, 1, at->p);
}

QL_PLUGIN(.kind = QL_TRAINER, .name = "learns", .version = "0.1", .help = "asks for what can't be", .params = params,
          .self_size = sizeof(learns),
          .trainer = QL_TABLE(ql_trainer, .begin = begin, .rate = rate, .update = update), );
