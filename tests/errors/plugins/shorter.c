/* An older, shorter descriptor, that ends behind the name: what it has not is zero. */
#include <qloom/quantizer.h>

static const ql_param params[] = {QL_PARAMS_END};

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)self, (void)stats, (void)out;
    return QL_FAIL(cx, QL_UNSUPPORTED, "not meant to run on %lld columns", (long long)ql_dim(w, 1));
}

extern QL_EXPORT const ql_plugin ql_plugin_entry;
const ql_plugin ql_plugin_entry = {.abi_major = QL_ABI_MAJOR,
                                   .abi_minor = QL_ABI_MINOR,
                                   .size = offsetof(ql_plugin, version),
                                   .kind = QL_QUANTIZER,
                                   .name = "shorter",
                                   .version = "1.0",
                                   .help = "has a short descriptor",
                                   .params = params,
                                   .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize)};
