/* A report: results as one HTML page that needs nothing else, and its figures one by one. */
#ifndef QLOOM_REPORT_REPORT_H
#define QLOOM_REPORT_REPORT_H

#include <stdio.h>

#include "book.h"

/* The page of all runs; tables are laid out by `spec`. [one thread per context] */
ql_status ql_report_write(ql_book *b, const ql_table_spec *spec, FILE *out);

/* One figure as an SVG file that follows the reader's choice of light or dark. INVALID lists the names; NOT_FOUND when
 * the results have nothing that it could show. `series`: that of the figure `series`, "tune.loss"; NULL: all losses. */
ql_status ql_plot_write(ql_book *b, const ql_table_spec *spec, const char *figure, const char *series, FILE *out);

#endif
