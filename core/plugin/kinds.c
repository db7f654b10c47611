/* The kinds of plugins, a row each: the ports that every plugin of a kind has, the parameters that mean the same in all of
 * them, what a plugin's table must hold, and how a pipeline treats its stages. */
#include "kinds.h"

#include <string.h>

#include <qloom/backend.h>
#include <qloom/exporter.h>
#include <qloom/trainer.h>

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

static const ql_port trainer_ports[] = {
    {.name = "model", .type = QL_EDGE_MODEL, .help = "the model whose adapters are trained; its weights stay"},
    {.name = "data", .type = QL_EDGE_TOKENS, .help = "sequences to train on"},
    {.name = "eval", .type = QL_EDGE_TOKENS, .optional = true, .help = "held-out sequences, whose loss is watched"},
    {.name = "model", .type = QL_EDGE_MODEL, .output = true, .help = "the same weights with the adapters as trained"},
    PORTS_END,
};

/* Never filled: the macros of the kinds' headers need fields to take names and types from. */
typedef struct shared_fields {
    int bits, group_size, scale_dtype, rank, adapter_dtype, eval_every;
    bool sym;
    double damp, mse, checkpoint_every;
    const char *path;
} shared_fields;

static const ql_param no_rows[] = {QL_PARAMS_END};
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

static const ql_param trainer_rows[] = {
    QL_ADAPTER_DTYPE(shared_fields),
    QL_EVAL_EVERY(shared_fields),
    QL_CHECKPOINT_EVERY(shared_fields),
    QL_PARAMS_END,
};

/* --- what a table must hold -------------------------------------------------------------------------------------- */

/* clang-format off */
#define MEMBER(table, member) {#member, offsetof(table, member)}
/* Every member of a backend's table is required; of the operations it has what it has. */
#define M(member) MEMBER(ql_backend, member),
static const ql_member backend_members[] = {
    M(device) M(open) M(close) M(info) M(ops) M(alloc) M(free) M(upload) M(download) M(sync) M(host_alloc) M(host_free)
    M(park) M(unpark) M(prefetch) M(arrive) {NULL, 0}};
#undef M
/* clang-format on */
_Static_assert(sizeof(ql_backend) == sizeof backend_members / sizeof *backend_members * sizeof(void *),
               "a member of ql_backend is not listed");

static const ql_member model_members[] = {MEMBER(ql_model, architectures),
                                          MEMBER(ql_model, types),
                                          MEMBER(ql_model, open),
                                          MEMBER(ql_model, step),
                                          {NULL, 0}};
static const ql_member data_members[] = {MEMBER(ql_data, read), {NULL, 0}};
static const ql_member quantizer_members[] = {MEMBER(ql_quantizer, quantize), {NULL, 0}};
static const ql_member no_members[] = {{NULL, 0}}; /* a compensator without a function is the identity */
static const ql_member exporter_members[] = {
    MEMBER(ql_exporter, begin), MEMBER(ql_exporter, linear), MEMBER(ql_exporter, end), {NULL, 0}};

static const ql_member trainer_members[] = {
    MEMBER(ql_trainer, begin), MEMBER(ql_trainer, rate), MEMBER(ql_trainer, update), {NULL, 0}};

/* It evaluates linears, or a stream or texts, which take two functions. */
static const char *
evaluator_lacks(const ql_evaluator *e)
{
    if (e->linear && !e->chunk && !e->end)
        return NULL;
    if (e->said && !e->chunk)
        return e->end ? NULL : "end";
    return !e->chunk ? (e->end ? "chunk" : "linear' or 'chunk") : !e->end ? "end" : NULL;
}

const char *
ql_kind_lacks(const ql_plugin *p)
{
    for (const ql_member *m = ql_kind_of(p->kind)->members; m->name; m++) {
        const void *member;

        memcpy(&member, (const char *)p->backend + m->offset, sizeof member);
        if (!member)
            return m->name;
    }
    return p->kind == QL_EVALUATOR ? evaluator_lacks(p->evaluator) : NULL;
}

/* --- the rows ---------------------------------------------------------------------------------------------------- */

static const ql_kind_info kinds[] = {
    [QL_KIND_NONE] = {.ports = no_ports, .shared = no_rows},
    [QL_BACKEND] = {.name = "backend",
                    .size = sizeof(ql_backend),
                    .ports = no_ports,
                    .shared = no_rows,
                    .members = backend_members},
    [QL_MODEL] = {.name = "model",
                  .size = sizeof(ql_model),
                  .ports = model_ports,
                  .shared = model_rows,
                  .members = model_members,
                  .shape = "folder"},
    [QL_DATA] = {.name = "data",
                 .size = sizeof(ql_data),
                 .ports = data_ports,
                 .shared = no_rows,
                 .members = data_members,
                 .shape = "folder",
                 .seeded = true},
    [QL_QUANTIZER] = {.name = "quantizer",
                      .size = sizeof(ql_quantizer),
                      .ports = quantizer_ports,
                      .shared = quantizer_rows,
                      .members = quantizer_members,
                      .shape = "box",
                      .model_from = QL_MODEL,
                      .seeded = true,
                      .per_linear = true},
    [QL_COMPENSATOR] = {.name = "compensator",
                        .size = sizeof(ql_compensator),
                        .ports = compensator_ports,
                        .shared = compensator_rows,
                        .members = no_members,
                        .shape = "hexagon",
                        .model_from = QL_QUANTIZER,
                        .seeded = true,
                        .per_linear = true},
    [QL_EVALUATOR] = {.name = "evaluator",
                      .size = sizeof(ql_evaluator),
                      .ports = evaluator_ports,
                      .shared = no_rows,
                      .members = no_members,
                      .shape = "ellipse",
                      .sink = true},
    [QL_EXPORTER] = {.name = "exporter",
                     .size = sizeof(ql_exporter),
                     .ports = exporter_ports,
                     .shared = exporter_rows,
                     .members = exporter_members,
                     .shape = "ellipse",
                     .sink = true},
    [QL_TRAINER] = {.name = "trainer",
                    .size = sizeof(ql_trainer),
                    .ports = trainer_ports,
                    .shared = trainer_rows,
                    .members = trainer_members,
                    .shape = "octagon",
                    .seeded = true,
                    .sink = true},
};

const ql_kind_info *
ql_kind_of(ql_kind kind)
{
    const bool known = kind > QL_KIND_NONE && (size_t)kind < sizeof kinds / sizeof *kinds;

    return &kinds[known ? kind : QL_KIND_NONE];
}

const char *
ql_kind_name(ql_kind kind)
{
    return ql_kind_of(kind)->name;
}

const ql_param *
ql_shared_row(ql_kind kind, const char *name)
{
    for (const ql_param *p = ql_kind_of(kind)->shared; p->type != QL_T_END; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

const ql_port *
ql_port_at(const ql_plugin *p, int64_t i)
{
    for (const ql_port *port = ql_kind_of(p->kind)->ports; port->type != QL_EDGE_NONE; port++)
        if (i-- == 0)
            return port;
    for (const ql_port *port = p->ports; port && port->type != QL_EDGE_NONE; port++)
        if (i-- == 0)
            return port;
    return NULL;
}

bool
ql_port_needed(const ql_plugin *p, const ql_port *port)
{
    if (port->output || !port->optional)
        return !port->output;
    if (p->kind == QL_EVALUATOR && strcmp(port->name, "data") == 0)
        return p->evaluator->chunk || p->evaluator->said;
    if (p->kind == QL_QUANTIZER && strcmp(port->name, "calib") == 0) /* nothing upstream could lend it its tokens */
        return (p->quantizer->needs & QL_NEEDS_STATS) != 0;
    return false;
}

bool
ql_reads_statistics(const ql_plugin *p)
{
    return ql_kind_of(p->kind)->per_linear || (p->kind == QL_EVALUATOR && (p->evaluator->needs & QL_NEEDS_STATS) != 0);
}

ql_described
ql_describe(const ql_plugin *p, const void *self, int64_t in)
{
    ql_described d = {.rank = -1};

    if (p->kind == QL_QUANTIZER && p->quantizer->describe)
        p->quantizer->describe(self, in, &d);
    else if (p->kind == QL_COMPENSATOR && p->compensator->describe)
        p->compensator->describe(self, in, &d);
    else if (p->kind == QL_COMPENSATOR && !p->compensator->compensate)
        d.rank = 0;
    else if (p->kind == QL_TRAINER && p->trainer->describe)
        p->trainer->describe(self, in, &d);
    return d;
}

const char *
ql_edge_name(ql_edge edge)
{
    static const char *const names[] = {"none", "model", "tokens", "metrics", "file", "quantizer"};

    return (size_t)edge < sizeof names / sizeof *names ? names[edge] : "unknown";
}
