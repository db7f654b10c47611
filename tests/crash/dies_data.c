/* A data plugin that dies when it is asked for tokens. */
#include <qloom/data.h>

static const ql_param params[] = {QL_PARAMS_END};

static ql_status
read(ql_ctx *cx, const void *self, const ql_data_request *req, ql_tokens *out)
{
    static volatile uintptr_t unmapped = 8;

    (void)cx;
    (void)self;
    (void)req;
    (void)out;
    *(volatile int *)unmapped = 1;
    return QL_OK;
}

QL_PLUGIN(.kind = QL_DATA, .name = "dies_data", .version = "0.1", .help = "ends the program", .params = params,
          .self_size = 1, .data = QL_TABLE(ql_data, .read = read), );
