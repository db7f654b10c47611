/* The form that results have in the store: a unit's block, an evaluator's rows, its numbers at the end, a unit's tally. Loads that come
 * back INVALID have thrown the entry away. */
#ifndef QLOOM_WALK_STORED_H
#define QLOOM_WALK_STORED_H

#include "walk.h"

/* The current block of a unit: codes, scales, adapters, and what went with them; its tally of the block. */
ql_status ql_stored_save_unit(ql_walk *w, int64_t unit);
ql_status ql_stored_load_unit(ql_walk *w, int64_t unit);

/* The unit's tally of the whole walk. */
ql_status ql_stored_save_tally(ql_walk *w, int64_t unit);
ql_status ql_stored_load_tally(ql_walk *w, int64_t unit);

/* Rows of a per-layer evaluator for the current block. */
ql_status ql_stored_save_rows(ql_walk *w, int64_t evaluation);
ql_status ql_stored_load_rows(ql_walk *w, int64_t evaluation);

/* Numbers and notes of a stream evaluator. */
ql_status ql_stored_save_metrics(ql_walk *w, int64_t evaluation);
ql_status ql_stored_load_metrics(ql_walk *w, int64_t evaluation);

#endif
