/* An exporter that writes to what it is lent, at its begin, a linear or its end: `to` says to what, `by` in which way. */
#include <qloom/exporter.h>

#include "touch.h"

typedef struct spoils {
    const char *path;
    int at, to, by;
} spoils;

enum { BEGIN, LINEAR, END };
enum { NOTHING, PARAMETERS, MODEL, LINEARS, W, WHAT, QLINEAR };

static const char *const times[] = {"begin", "linear", "end", NULL};
static const char *const inputs[] = {"nothing", "parameters", "model", "linears", "w", "what", "qlinear", NULL};
static const ql_param params[] = {QL_EXPORT_PATH(spoils), QL_ENUM(spoils, at, BEGIN, times, "when it writes"),
                                  QL_ENUM(spoils, to, NOTHING, inputs, "what it writes to"),
                                  QL_ENUM(spoils, by, OPERATION, ways, "how it writes to a tensor"), QL_PARAMS_END};

static ql_status
spoil(ql_ctx *cx, const spoils *p, const ql_model_info *model, const ql_linear_result *in)
{
    switch (p->to) {
    case PARAMETERS:
        ((spoils *)(uintptr_t)p)->at = END + 1;
        return QL_OK;
    case MODEL:
        ((ql_model_info *)(uintptr_t)model)->layers -= 1;
        return QL_OK;
    case LINEARS:
        ((ql_linear_info *)(uintptr_t)model->linears)[1].subset = 3;
        return QL_OK;
    case QLINEAR:
        ((ql_qlinear *)(uintptr_t)in->qlinear)->scales = NULL;
        return QL_OK;
    case W:
    case WHAT:
        return write_tensor(cx, p->to == W ? in->w : in->what, p->by, false);
    default:
        return QL_OK;
    }
}

static ql_status
begin(ql_ctx *cx, const void *self, const ql_export_info *info, void *state)
{
    const spoils *p = self;

    *(ql_export_info *)state = *info;
    return p->at == BEGIN ? spoil(cx, p, info->model, NULL) : QL_OK;
}

static ql_status
linear(ql_ctx *cx, const void *self, const ql_linear_result *in, void *state)
{
    const spoils *p = self;
    const ql_export_info *info = state;

    return p->at == LINEAR && in->layer == 1 ? spoil(cx, p, info->model, in) : QL_OK;
}

static ql_status
end(ql_ctx *cx, const void *self, void *state, ql_facts *out)
{
    const spoils *p = self;
    const ql_export_info *info = state;

    (void)out;
    return p->at == END ? spoil(cx, p, info->model, NULL) : QL_OK;
}

QL_PLUGIN(.kind = QL_EXPORTER, .name = "spoils", .version = "0.1", .help = "writes to what it is lent",
          .params = params, .self_size = sizeof(spoils),
          .exporter = QL_TABLE(ql_exporter, .state_size = sizeof(ql_export_info), .begin = begin, .linear = linear,
                               .end = end), );
