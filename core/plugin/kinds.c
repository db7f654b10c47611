/* The kinds of plugins: their names, the ports that each brings, and the parameters that mean the same in all plugins
 * of a kind. */
#include "registry.h"

#include <string.h>

#include <qloom/exporter.h>

#define PORTS_END            \
    {                        \
        .type = QL_EDGE_NONE \
    }

static const ql_port no_ports[] = {PORTS_END};

static const ql_port model_ports[] = {
    {.name = "model", .type = QL_EDGE_MODEL, .output = true, .help = "the original model"},
    PORTS_END,
};

static const ql_port data_ports[] = {
    {.name = "tokens", .type = QL_EDGE_TOKENS, .output = true, .help = "token sequences"},
    PORTS_END,
};

static const ql_port quantizer_ports[] = {
    {.name = "model", .type = QL_EDGE_MODEL, .help = "the model to quantize"},
    {.name = "calib", .type = QL_EDGE_TOKENS, .optional = true, .help = "tokens whose statistics the method needs"},
    {.name = "model", .type = QL_EDGE_MODEL, .output = true, .help = "the quantized model"},
    PORTS_END,
};

static const ql_port compensator_ports[] = {
    {.name = "model", .type = QL_EDGE_MODEL, .help = "the quantized model"},
    {.name = "calib",
     .type = QL_EDGE_TOKENS,
     .optional = true,
     .help = "tokens whose statistics the method needs; default: those of the stages upstream"},
    {.name = "model", .type = QL_EDGE_MODEL, .output = true, .help = "the quantized model with adapters"},
    PORTS_END,
};

static const ql_port evaluator_ports[] = {
    {.name = "model", .type = QL_EDGE_MODEL, .help = "the model to evaluate"},
    {.name = "data", .type = QL_EDGE_TOKENS, .optional = true, .help = "tokens to evaluate on"},
    {.name = "calib",
     .type = QL_EDGE_TOKENS,
     .optional = true,
     .help = "tokens whose statistics a per-layer metric needs; default: those of the stages upstream"},
    {.name = "metrics", .type = QL_EDGE_METRICS, .output = true, .help = "numbers for the table"},
    PORTS_END,
};

static const ql_port exporter_ports[] = {
    {.name = "model", .type = QL_EDGE_MODEL, .help = "the model to export"},
    {.name = "file", .type = QL_EDGE_FILE, .output = true, .help = "a folder that other programs load"},
    PORTS_END,
};

typedef struct shared_fields { /* never filled: the macros of the kinds' headers need fields to take names and types
                                  from */
    int bits, group_size, scale_dtype, rank, adapter_dtype;
    bool sym;
    double damp, mse;
    const char *path;
} shared_fields;

static const ql_param model_rows[] = {QL_MODEL_PATH(shared_fields), QL_PARAMS_END};
static const ql_param exporter_rows[] = {QL_EXPORT_PATH(shared_fields), QL_PARAMS_END};
static const ql_param quantizer_rows[] = {
    QL_BITS(shared_fields, 4),
    QL_GROUP_SIZE(shared_fields, 128),
    QL_SYM(shared_fields, false),
    QL_SCALE_DTYPE(shared_fields),
    QL_MSE(shared_fields),
    QL_DAMP(shared_fields, 0.01),
    QL_PARAMS_END,
};
static const ql_param compensator_rows[] = {
    QL_RANK(shared_fields, 32),
    QL_ADAPTER_DTYPE(shared_fields),
    QL_DAMP(shared_fields, 0.01),
    QL_PARAMS_END,
};

static bool
kind_known(ql_kind kind)
{
    return kind > QL_KIND_NONE && kind <= QL_TRAINER;
}

const char *
ql_kind_name(ql_kind kind)
{
    static const char *const names[] = {
#define KIND_NAME(name, text, folder) [QL_##name] = text,
        QL_KIND_LIST(KIND_NAME)
#undef KIND_NAME
    };

    return kind_known(kind) ? names[kind] : NULL;
}

const ql_port *
ql_kind_ports(ql_kind kind)
{
    static const ql_port *const ports[] = {
        [QL_BACKEND] = no_ports,
        [QL_MODEL] = model_ports,
        [QL_DATA] = data_ports,
        [QL_QUANTIZER] = quantizer_ports,
        [QL_COMPENSATOR] = compensator_ports,
        [QL_EVALUATOR] = evaluator_ports,
        [QL_EXPORTER] = exporter_ports,
        [QL_TRAINER] = no_ports,
    };

    return kind_known(kind) ? ports[kind] : no_ports;
}

const ql_param *
ql_shared_row(ql_kind kind, const char *name)
{
    static const ql_param *const rows[QL_TRAINER + 1] = {
        [QL_MODEL] = model_rows,
        [QL_QUANTIZER] = quantizer_rows,
        [QL_COMPENSATOR] = compensator_rows,
        [QL_EXPORTER] = exporter_rows,
    };

    for (const ql_param *p = kind_known(kind) ? rows[kind] : NULL; p && p->type != QL_T_END; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

bool
ql_param_shared(ql_kind kind, const char *name)
{
    return ql_shared_row(kind, name) != NULL;
}

bool
ql_port_needed(const ql_plugin *p, const ql_port *port)
{
    if (port->output || !port->optional)
        return !port->output;
    if (p->kind == QL_EVALUATOR && strcmp(port->name, "data") == 0)
        return p->evaluator->chunk != NULL;
    if (p->kind == QL_QUANTIZER && strcmp(port->name, "calib") == 0) /* nothing upstream could lend it its tokens */
        return (p->quantizer->needs & QL_NEEDS_STATS) != 0;
    return false;
}

const char *
ql_edge_name(ql_edge edge)
{
    static const char *const names[] = {"none", "model", "tokens", "metrics", "file", "quantizer"};

    return (size_t)edge < sizeof names / sizeof *names ? names[edge] : "unknown";
}
