/* The layout of a table: temporary tables of a book that say what its rows, columns and metrics are, and which cell belongs where. */
#ifndef QLOOM_REPORT_LAYOUT_H
#define QLOOM_REPORT_LAYOUT_H

#include "book.h"

/* Makes anew
 *   key (part, position, reference): what makes a 'row', and what a 'column'; one without keys has a single one, whose reference is NULL
 *   metric (position, metric): from 0; a table has a column for every column of the layout and metric
 *   called (cell, part, position, baseline, reference, label), a view: what a cell is called under every
 *     key; "-" where it means nothing in it
 *   tuple (part, cell, baseline, number): the row and the column of a cell, from 0: original models first, then in the order of the keys'
 *     labels, which is that of their first appearance
 *   target (cell, row, col): where a cell's numbers go; those of an original model under every column whose labels are its own or
 *     say nothing of it
 * INVALID for a reference or metric that no run has. */
ql_status ql_layout_make(ql_book *b, const ql_table_spec *spec);

#endif
