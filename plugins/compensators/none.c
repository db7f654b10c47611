/* No compensation: the model stays as its quantizer left it. */
#include <qloom/compensator.h>

static const ql_param params[] = {QL_PARAMS_END};

QL_PLUGIN(.kind = QL_COMPENSATOR, .name = "none", .version = "1.0", .help = "no compensation", .params = params,
          .compensator = QL_TABLE(ql_compensator, .needs = 0), );
