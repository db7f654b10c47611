/* A parameter that lies outside the struct that the host allocates. */
#include <qloom/quantizer.h>

typedef struct wide {
    int bits, group_size;
} wide;

static const ql_param params[] = {QL_BITS(wide, 4), QL_GROUP_SIZE(wide, 128), QL_PARAMS_END};

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)self, (void)stats, (void)out;
    return QL_FAIL(cx, QL_UNSUPPORTED, "not meant to run on %lld columns", (long long)ql_dim(w, 1));
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "outside", .version = "1.0", .help = "forgets half of its struct",
          .params = params, .self_size = sizeof(int), .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize), );
