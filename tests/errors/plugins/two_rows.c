/* One key, two rows. */
#include <qloom/quantizer.h>

typedef struct pair {
    int bits;
} pair;

static const ql_param params[] = {QL_BITS(pair, 4), QL_BITS(pair, 3), QL_PARAMS_END};

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)self, (void)stats, (void)out;
    return QL_FAIL(cx, QL_UNSUPPORTED, "not meant to run on %lld columns", (long long)ql_dim(w, 1));
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "two_rows", .version = "1.0", .help = "declares a parameter twice",
          .params = params, .self_size = sizeof(pair), .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize), );
