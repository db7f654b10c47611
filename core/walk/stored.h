/* The form that results have in the store: a unit's block, a unit's tally. Loads that come
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

/* Tells the journal that an evaluator's facts of a block are in the results. */
ql_status ql_stored_note(ql_walk *w, int64_t evaluation, int64_t block, bool replayed);

#endif
