/* A function table without the function that its kind requires. */
#include <qloom/quantizer.h>

static const ql_param params[] = {QL_PARAMS_END};

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "no_quantize", .version = "1.0", .help = "lacks its function", .params = params,
          .quantizer = QL_TABLE(ql_quantizer, .needs = QL_NEEDS_STATS), );
