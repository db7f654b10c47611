/* A pipeline file becomes a checked graph: the order of the steps. */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "build.h"

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

/* Everything below the root; what is wrong is collected, the status tells failures only. */
static ql_status
build(ql_build *b, ql_graph *g)
{
    QL_TRY(b->cx, ql_build_top(b, g));
    QL_TRY(b->cx, ql_build_stages(b));
    QL_TRY(b->cx, ql_build_matrix(b));
    for (int64_t s = 0; s < b->stage_count; s++)
        ql_check_entry(b, s);
    QL_TRY(b->cx, ql_build_exclude(b));
    QL_TRY(b->cx, ql_build_table(b, g));
    if (b->stage_count)
        QL_TRY(b->cx, ql_build_cells(b, g));
    return b->problems.count ? QL_OK : ql_build_expanded(b, g);
}

static ql_status
read_root(ql_build *b, const char *file, const char *text, size_t bytes, const char *const *sets)
{
    QL_TRY(b->cx, ql_yaml_parse(b->cx, &b->problems, file, text, bytes, &b->root));
    if (b->problems.count == 0 && (!b->root || b->root->kind != QL_YAML_MAP)) {
        ql_problem_add(b->cx, &b->problems, b->root ? b->root->place : (ql_place){.file = file, .line = 1, .column = 1},
                       "not a pipeline file: expected a mapping that begins with 'qloom: 1'");
        b->root = NULL;
    }
    if (!b->root || b->root->kind != QL_YAML_MAP) {
        b->root = NULL;
        return b->problems.failed;
    }
    QL_TRY(b->cx, ql_build_sets(b, sets));
    ql_yaml_environment(b->cx, &b->problems, b->root);
    return b->problems.failed;
}

ql_status
ql_graph_parse(ql_ctx *cx, ql_registry *registry, const char *file, const char *text, size_t bytes,
               const ql_graph_options *opt, ql_graph *out)
{
    ql_build b = {.cx = cx, .registry = registry, .problems = {.file = file}};
    ql_status st;

    *out = (ql_graph){.file = file};
    b.folder = out->folder = folder_of(cx, file);
    st = b.folder ? read_root(&b, file, text, bytes, opt ? opt->sets : NULL) : QL_MEMORY;
    if (st == QL_OK && b.root)
        st = build(&b, out);
    if (st == QL_OK)
        st = ql_problems_end(cx, &b.problems);
    ql_problems_fini(&b.problems);
    return st;
}

ql_status
ql_graph_open(ql_ctx *cx, ql_registry *registry, const char *file, const ql_graph_options *opt, ql_graph *out)
{
    const char *text;
    size_t bytes;

    QL_TRY(cx, ql_file_read(cx, file, &text, &bytes));
    return ql_graph_parse(cx, registry, file, text, bytes, opt, out);
}

ql_node *
ql_node_input(const ql_node *n, const char *port)
{
    for (int64_t i = 0; i < n->input_count; i++)
        if (strcmp(n->inputs[i].port, port) == 0)
            return n->inputs[i].from;
    return NULL;
}
