/* No function table at all. */
#include <qloom/compensator.h>

static const ql_param params[] = {QL_PARAMS_END};

QL_PLUGIN(.kind = QL_COMPENSATOR, .name = "no_table", .version = "1.0", .help = "lacks its table", .params = params, );
