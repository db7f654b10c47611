/* Calls a function that no qloom has. */
#include <qloom/quantizer.h>

ql_status ql_imagined(ql_ctx *cx, const ql_tensor *w);

static const ql_param params[] = {QL_PARAMS_END};

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)self, (void)stats, (void)out;
    return ql_imagined(cx, w);
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "unresolved", .version = "1.0", .help = "calls what is not there",
          .params = params, .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize), );
