/* A name that no pipeline file could say. */
#include <qloom/quantizer.h>

static const ql_param params[] = {QL_PARAMS_END};

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)self, (void)stats, (void)out;
    return QL_FAIL(cx, QL_UNSUPPORTED, "not meant to run on %lld columns", (long long)ql_dim(w, 1));
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "No Name", .version = "1.0", .help = "a bad name", .params = params,
          .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize), );
