/* Fuzzes pipeline files: parse and build; what is right is drawn, labelled, written out and read again. A first line
 * "-s KEY=VALUE" is an argument of the command line. */
/* Aims at: core/yaml/yaml.c core/yaml/tree.c core/yaml/environment.c core/yaml/problems.c core/pipeline/keys.c */
/* Aims at: core/pipeline/sets.c core/pipeline/stages.c core/pipeline/matrix.c core/pipeline/exclude.c core/pipeline/settings.c */
/* Aims at: core/pipeline/instance.c core/pipeline/cells.c core/pipeline/expanded.c core/pipeline/graph.c */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "tests/graph_plugins.h"

static const char *const references[] = {"seed",      "quant",      "quant.use", "quant.bits",
                                         "base.path", "nobody.use", ".",         ""};

/* The expanded pipeline means the same. */
static void
read_again(ql_ctx *cx, ql_registry *registry, const ql_graph *g)
{
    ql_graph again;

    MUST(ql_graph_parse(cx, registry, "again.yaml", g->expanded, strlen(g->expanded), NULL, &again) == QL_OK);
    MUST(again.node_count == g->node_count && again.cell_count == g->cell_count);
    for (int64_t i = 0; i < g->node_count; i++)
        MUST(memcmp(g->nodes[i]->key, again.nodes[i]->key, sizeof again.nodes[i]->key) == 0);
}

static void
look(ql_ctx *cx, ql_registry *registry, const ql_graph *g)
{
    const char *text = NULL;

    MUST(ql_graph_text(cx, g, &text) == QL_OK && text);
    MUST(ql_graph_dot(cx, g, &text) == QL_OK && text);
    for (size_t i = 0; i < sizeof references / sizeof *references; i++)
        (void)ql_cell_label(cx, g, &g->cells[g->cell_count - 1], references[i]);
    for (int64_t i = 0; i < g->node_count; i++) {
        for (int64_t k = 0; k < g->nodes[i]->input_count; k++)
            MUST(g->nodes[i]->inputs[k].from->id < i);
        MUST(ql_node_outcome(g->nodes[i], "model.layers.0.mlp.up_proj", 64).rank >= -1);
    }
    read_again(cx, registry, g);
}

/* Opening looks for plugins in folders, so it is done once; and what ${…} in a file may name. */
static ql_registry *
shared_registry(void)
{
    static ql_registry *registry;
    ql_ctx cx;

    ql_ctx_init(&cx, NULL);
    if (!registry) {
        setenv("QLOOM_TEST_API_KEY", "a secret by its name", 1);
        setenv("QLOOM_TEST_URL", "https://user:secret@host/by/its/form", 1);
        setenv("QLOOM_TEST_TOKEN_PATH", "a/place", 1);
        setenv("QLOOM_TEST_PLAIN", "plain", 1);
        registry = toy_registry(&cx);
    }
    MUST(registry);
    ql_ctx_fini(&cx);
    return registry;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ql_registry *registry = shared_registry();
    const char *text = (const char *)data,
               *line = size > 3 && memcmp(data, "-s ", 3) == 0 ? memchr(data, '\n', size) : NULL;
    const char *sets[] = {NULL, NULL};
    ql_ctx cx;
    ql_scope scope;
    ql_graph g;
    ql_status st;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    if (line) {
        sets[0] = ql_copy_text(&cx, text + 3, (size_t)(line - text) - 3);
        size -= (size_t)(line + 1 - text);
        text = line + 1;
    }
    st = ql_graph_parse(&cx, registry, "f.yaml", text, size, sets, &g);
    MUST(st == QL_OK || (st == QL_INVALID && *ql_error(&cx)));
    if (st == QL_OK)
        look(&cx, registry, &g);
    ql_ctx_fini(&cx);
    return 0;
}
