/* The identity: every weight stays as it is. What stands on it in a table is the bound that quantization is compared with. */
#include <qloom/quantizer.h>

static const ql_param params[] = {QL_PARAMS_END};

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)cx;
    (void)self;
    (void)w;
    (void)stats;
    (void)out;
    return QL_OK;
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    (void)self;
    (void)in;
    out->rank = 0;
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "identity", .version = "1.0", .help = "leaves every weight as it is",
          .params = params,
          .quantizer = QL_TABLE(ql_quantizer, .yields = QL_KEEPS_WEIGHT, .quantize = quantize, .describe = describe), );
