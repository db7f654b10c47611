/* A pipeline file becomes a checked graph: the order of the steps. */
#include "graph.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "build.h"

bool
ql_wrong(ql_build *b, ql_place place, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    ql_problem_vadd(b->cx, &b->problems, place, fmt, ap);
    va_end(ap);
    return false;
}

void *
ql_build_alloc(ql_build *b, int64_t count, size_t size)
{
    void *memory = ql_alloc(b->cx, (size_t)count, size);

    if (!memory)
        b->problems.failed = QL_MEMORY;
    return memory;
}

ql_yaml *
ql_build_scalar(ql_build *b, ql_place place, const char *text)
{
    ql_yaml *v = ql_yaml_scalar(b->cx, place, text);

    if (!v)
        b->problems.failed = QL_MEMORY;
    return v;
}

void
ql_build_put(ql_build *b, ql_yaml *to, ql_yaml *key, ql_yaml *item)
{
    if (ql_yaml_put(b->cx, to, key, item) != QL_OK)
        b->problems.failed = QL_MEMORY;
}

const char *
ql_build_text(ql_build *b, const char *text)
{
    if (!text)
        b->problems.failed = QL_MEMORY;
    return text ? text : "";
}

bool
ql_build_take(ql_build *b, ql_place place, const char *prefix, ql_status st)
{
    if (st == QL_INVALID || st == QL_NOT_FOUND || st == QL_UNSUPPORTED || st == QL_IO) {
        ql_wrong(b, place, "%s%s", prefix, ql_error(b->cx));
        if (b->problems.failed == QL_OK)
            ql_error_clear(b->cx);
    } else if (st != QL_OK) {
        b->problems.failed = st;
    }
    return st == QL_OK;
}

/* The folder of FILE without links and dots, so that keys do not depend on where one stands; as written when there is
 * none. */
static const char *
folder_of(ql_ctx *cx, const char *file)
{
    const char *slash = strrchr(file, '/');
    const char *folder = !slash ? "." : slash == file ? "/" : ql_copy_text(cx, file, (size_t)(slash - file));
    char *real = folder ? realpath(folder, NULL) : NULL;

    if (real)
        folder = ql_copy_text(cx, real, strlen(real));
    free(real);
    return folder;
}

/* The tree of the file, with the command line and the environment in it. */
static bool
read_root(ql_build *b, const char *file, const char *text, size_t bytes, const char *const *sets)
{
    const ql_place start = {.file = file, .line = 1, .column = 1};
    const ql_status st = ql_yaml_parse(b->cx, &b->problems, file, text, bytes, &b->root);

    if (st != QL_OK)
        b->problems.failed = st;
    if (st != QL_OK || b->problems.count)
        return b->root && b->root->kind == QL_YAML_MAP && ql_build_sets(b, sets);
    if (!b->root || b->root->kind != QL_YAML_MAP)
        return ql_wrong(b, b->root ? b->root->place : start,
                        "not a pipeline file: expected a mapping that begins with 'qloom: 1'");
    return ql_build_sets(b, sets);
}

/* Everything below the root. What is wrong is collected: each step looks at what it can. */
static ql_status
build(ql_build *b, ql_graph *g)
{
    ql_file_keys keys;

    ql_yaml_environment(b->cx, &b->problems, b->root);
    (void)ql_build_file(b, g->file, &keys);
    *g = (ql_graph){.file = g->file,
                    .folder = b->folder,
                    .name = keys.name,
                    .device = keys.device,
                    .compute = ql_file_compute(&keys),
                    .seed = keys.seed,
                    .memory = keys.memory,
                    .host_memory = keys.host_memory,
                    .spill = keys.spill,
                    .cache = keys.cache,
                    .cache_limit = keys.cache_limit,
                    .cache_needed = keys.cache_keep == 1,
                    .chunk_tokens = keys.chunk_tokens,
                    .time_limit = keys.time_limit,
                    .baseline = keys.baseline};
    (void)ql_build_stages(b);
    (void)ql_build_matrix(b);
    for (int64_t i = 0; i < b->stage_count; i++) {
        ql_build_stage *s = &b->stages[i];

        s->combinations = ql_build_alloc(b, s->count, sizeof *s->combinations);
        ql_check_entry(b, s);
    }
    (void)ql_build_exclude(b);
    (void)ql_build_table(b, g);
    if (b->stage_count && b->problems.failed == QL_OK)
        QL_TRY(b->cx, ql_build_cells(b, g));
    if (b->problems.count == 0 && b->problems.failed == QL_OK)
        (void)ql_build_compare(b, g);
    return b->problems.count || b->problems.failed != QL_OK ? b->problems.failed : ql_build_expanded(b, &keys, g);
}

ql_status
ql_graph_parse(ql_ctx *cx, ql_registry *registry, const char *file, const char *text, size_t bytes,
               const char *const *sets, ql_graph *out)
{
    ql_build b = {.cx = cx, .registry = registry, .cells_most = 1};
    ql_status st = QL_MEMORY;

    *out = (ql_graph){.file = file};
    b.folder = folder_of(cx, file);
    if (b.folder)
        st = read_root(&b, file, text, bytes, sets) ? build(&b, out) : b.problems.failed;
    if (st == QL_OK)
        st = ql_problems_end(cx, &b.problems);
    ql_problems_fini(&b.problems);
    return st;
}

ql_status
ql_graph_open(ql_ctx *cx, ql_registry *registry, const char *file, const char *const *sets, ql_graph *out)
{
    const char *text;
    size_t bytes;

    QL_TRY(cx, ql_file_read(cx, file, QL_FILE_MOST, &text, &bytes));
    return ql_graph_parse(cx, registry, file, text, bytes, sets, out);
}

const ql_override *
ql_override_of(const ql_node *n, const char *linear)
{
    for (int64_t i = 0; i < n->override_count; i++)
        if (fnmatch(n->overrides[i].match, linear, 0) == 0)
            return &n->overrides[i];
    return NULL;
}

bool
ql_node_describe(const ql_node *n, const char *linear, int64_t in, ql_described *out)
{
    const ql_override *o = ql_override_of(n, linear);
    const void *self = o ? o->self : n->self;

    *out = self ? ql_describe(n->plugin, self, in) : (ql_described){.rank = -1};
    return self != NULL;
}

ql_outcome
ql_node_outcome(const ql_node *n, const char *linear, int64_t in)
{
    const ql_node *const quantizer = ql_node_before(n, QL_QUANTIZER), *const after = ql_node_before(n, QL_COMPENSATOR),
                         *trainer = ql_node_before(n, QL_TRAINER);
    ql_outcome stored = {.skipped = true};
    ql_described d;

    if (quantizer && ql_node_describe(quantizer, linear, in, &d)) {
        stored.skipped = false;
        stored.grid = d.grid;
        stored.rank = quantizer->plugin->quantizer->yields & QL_YIELDS_ADAPTER ? d.rank : 0;
    }
    if (after && ql_node_describe(after, linear, in, &d))
        stored.rank = d.rank;
    for (; trainer && stored.rank == 0; trainer = ql_node_before(ql_node_input(trainer, "model"), QL_TRAINER))
        if (ql_node_describe(trainer, linear, in, &d))
            stored.rank = d.rank; /* of a fresh adapter */
    return stored;
}

ql_node *
ql_node_input(const ql_node *n, const char *port)
{
    for (int64_t i = 0; i < n->input_count; i++)
        if (strcmp(n->inputs[i].port, port) == 0)
            return n->inputs[i].from;
    return NULL;
}

const ql_node *
ql_node_before(const ql_node *n, ql_kind kind)
{
    while (n && n->plugin->kind != kind)
        n = ql_node_input(n, "model");
    return n;
}
