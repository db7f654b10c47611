/* The figures of a report, and what they share. */
#include "figures.h"

#include <string.h>

const ql_figure_kind ql_figures[] = {
    {"pareto", "Quality against size", ql_figure_pareto, false},
    {"time", "Time of each stage", ql_figure_time, false},
    {"memory", "Device memory of each stage", ql_figure_memory, false},
    {"spectrum", "Singular values", ql_figure_spectrum, false},
    {"heat", "Error of each linear", ql_figure_heat, false},
    {"graph", "The graph", ql_figure_graph, true},
    {NULL, NULL, NULL, false},
};

ql_status
ql_figure_value(ql_ctx *cx, const ql_result_set *const *sets, int64_t count, const char *wanted, const char **value)
{
    *value = wanted ? wanted : count ? sets[0]->table.value : NULL;
    for (int64_t s = 0; s < count && !*value; s++)
        for (int64_t i = 0; i < sets[s]->kind_count && !*value; i++)
            if (sets[s]->kinds[i].better != QL_BETTER_UNSAID && sets[s]->kinds[i].parts) {
                *value = ql_format(cx, "%s.%s", sets[s]->kinds[i].stage, sets[s]->kinds[i].name);
                if (!*value)
                    return QL_MEMORY;
            }
    return QL_OK;
}

const char *
ql_figure_cell(ql_ctx *cx, const ql_figure_input *in, const ql_result_set *set, const ql_result_cell *c)
{
    const char *text = in->count > 1 ? set->run : "";

    if (c->baseline)
        return in->count > 1 ? ql_format(cx, "%s, %s", set->run, QL_ORIGINAL_LABEL) : QL_ORIGINAL_LABEL;
    for (int64_t i = 0; i < set->axis_count && text; i++)
        if (c->labels[i])
            text = ql_format(cx, "%s%s%s", text, *text ? ", " : "", c->labels[i]);
    return text && !*text ? "the only cell" : text;
}

int
ql_figure_colour(const char *kind)
{
    static const char *const kinds[] = {"model",    "quantizer", "compensator", "evaluator",
                                        "exporter", "data",      "trainer"};
    int i = 0;

    while (i < (int)(sizeof kinds / sizeof *kinds) && strcmp(kinds[i], kind) != 0)
        i++;
    return i % QL_COLOURS;
}
