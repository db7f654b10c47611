/* NormalFloat (Dettmers et al., arXiv:2305.14314): levels at the quantiles of a normal distribution, scaled by the largest magnitude of
 * a block (docs/methods.md 2.3). Blocks lie along a row: the same as blocks of the flattened weight where they divide it. */
#include <qloom/quantizer.h>

typedef struct nf {
    int bits, group_size, scale_dtype;
} nf;

static const float nf2[] = {-1, 0, 0.33791519f, 1};
static const float nf3[] = {-1, -0.47862916f, -0.21714182f, 0, 0.16093017f, 0.33791519f, 0.56261697f, 1};
static const float nf4[] = {
    -1,          -0.69619289f, -0.52507304f, -0.39491749f, -0.28444136f, -0.18477344f, -0.09104999f, 0,
    0.07958033f, 0.16093017f,  0.24611229f,  0.33791519f,  0.4407098f,   0.56261697f,  0.72295673f,  1};
static const float *const tables[] = {nf2, nf3, nf4};

static const ql_param params[] = {
    QL_BITS(nf, 4),
    QL_GROUP_SIZE(nf, 64),
    QL_SCALE_DTYPE(nf),
    QL_PARAMS_END,
};

static ql_status
check(ql_ctx *cx, const void *self)
{
    const nf *p = self;

    return p->bits <= 4 ? QL_OK
                        : QL_FAIL(cx, QL_INVALID, "bits: got %d, NormalFloat has tables for 2, 3 and 4", p->bits);
}

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    const nf *p = self;
    ql_tensor *wider, *zeros;
    /* the symmetric grid of 2 bits spans [-max, max] in 3 steps: for 1.5 W its scale is the largest magnitude of W */
    ql_grid fit = {.bits = 2,
                   .group = ql_group_columns(p->group_size, ql_dim(w, 1)),
                   .sym = true,
                   .scale_dtype = ql_float_dtype(p->scale_dtype)};

    (void)stats;
    QL_TRY(cx, ql_convert(cx, w, QL_F32, &wider));
    QL_TRY(cx, ql_axpby(cx, 0.5, w, 1, wider));
    QL_TRY(cx, ql_group_minmax(cx, wider, &fit, &out->scales, &zeros));
    ql_drop(cx, &wider);
    out->grid = fit;
    out->grid.bits = p->bits;
    QL_TRY(cx, ql_upload(cx, QL_F32, 1 << p->bits, -1, tables[p->bits - 2], &out->levels));
    return ql_group_encode(cx, w, out);
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    const nf *p = self;

    out->grid = (ql_grid){.bits = p->bits,
                          .group = ql_group_columns(p->group_size, in),
                          .sym = true,
                          .scale_dtype = ql_float_dtype(p->scale_dtype)};
    out->rank = 0;
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "nf", .version = "1.0",
          .help = "NormalFloat: quantiles of a normal distribution, scaled per block", .cite = "arXiv:2305.14314",
          .params = params, .self_size = sizeof(nf), .check = check,
          .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize, .describe = describe), );
