/* A table of functions without its size: written by hand, or for another qloom. */
#include <qloom/quantizer.h>

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)self;
    (void)w;
    (void)stats;
    (void)out;
    return QL_FAIL(cx, QL_BUG, "this plugin is never run");
}

static const ql_param params[] = {QL_PARAMS_END};

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "table_size", .version = "1.0", .help = "a table without its size",
          .params = params, .quantizer = &(const ql_quantizer){.quantize = quantize}, );
