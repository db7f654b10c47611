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
