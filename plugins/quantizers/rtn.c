/* Round to nearest, per group (docs/methods.md 2.1): the grid of every uniform method here, without calibration. */
#include <qloom/quantizer.h>

typedef struct rtn {
    int bits, group_size, scale_dtype;
    bool sym;
    double mse;
} rtn;

static const ql_param params[] = {
    QL_BITS(rtn, 4), QL_GROUP_SIZE(rtn, 128), QL_SYM(rtn, true), QL_MSE(rtn), QL_SCALE_DTYPE(rtn), QL_PARAMS_END,
};

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    const rtn *p = self;

    (void)stats;
    out->grid = (ql_grid){.bits = p->bits,
                          .group = ql_group_columns(p->group_size, ql_dim(w, 1)),
                          .sym = p->sym,
                          .mse = p->mse,
                          .scale_dtype = ql_float_dtype(p->scale_dtype)};
    QL_TRY(cx, ql_group_minmax(cx, w, &out->grid, &out->scales, &out->zeros));
    return ql_group_encode(cx, w, out);
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    const rtn *p = self;

    out->grid = (ql_grid){.bits = p->bits,
                          .group = ql_group_columns(p->group_size, in),
                          .sym = p->sym,
                          .scale_dtype = ql_float_dtype(p->scale_dtype)};
    out->rank = 0;
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "rtn", .version = "1.0", .help = "round to nearest, per group",
          .params = params, .self_size = sizeof(rtn),
          .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize, .describe = describe), );
