/* Built for another plugin ABI. */
#include <qloom/quantizer.h>

static const ql_param params[] = {QL_PARAMS_END};

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)self, (void)stats, (void)out;
    return QL_FAIL(cx, QL_UNSUPPORTED, "not meant to run on %lld columns", (long long)ql_dim(w, 1));
}

extern QL_EXPORT const ql_plugin ql_plugin_entry;
const ql_plugin ql_plugin_entry = {.abi_major = 3,
                                   .abi_minor = 7,
                                   .size = sizeof(ql_plugin),
                                   .kind = QL_QUANTIZER,
                                   .name = "abi",
                                   .version = "1.0",
                                   .help = "built for another ABI",
                                   .params = params,
                                   .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize)};
