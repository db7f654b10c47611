/* Replay: what the store has of a walk, what therefore needn't be worked out, and what is put there. Without a store everything is
 * worked out. */
#ifndef QLOOM_WALK_REPLAY_H
#define QLOOM_WALK_REPLAY_H

#include "store/journal.h"
#include "keys.h"

typedef struct ql_evaluation ql_evaluation; /* walk.h */

typedef struct ql_replay {
    const ql_store *store;         /* NULL: none */
    ql_journal *journal;           /* NULL: none */
    const ql_keys *keys;           /* when there is a store */
    bool *unit_kept, *unit_wanted; /* [unit_count * blocks]: is in the store; somebody reads it in this walk */
    bool *rows_kept;               /* [eval_count * blocks] */
    int64_t *until;                /* [stream_count]: blocks that a calibration stream has to pass in this walk */
    bool damaged;                  /* an entry turned out unreadable and is gone: the walk has to begin again */
} ql_replay;

/* Looks up what there is, takes in what belongs to the whole walk, and decides who is wanted where. After this the answers below hold. */
ql_status ql_replay_open(ql_walk *w);

/* Does calibration stream s pass the block at hand? */
bool ql_replay_passes(const ql_walk *w, int64_t stream);
/* Does anybody who works in this block read its statistics? */
bool ql_replay_reads(const ql_walk *w, int64_t stream);
/* Is the unit's part of the block to be worked out? */
bool ql_replay_runs(const ql_walk *w, const ql_unit *u);
/* Are the evaluator's rows of the block to be worked out? */
bool ql_replay_rates(const ql_walk *w, const ql_evaluation *e);
/* Has a block nothing for anybody? Then its weights stay on the disk. */
bool ql_replay_idle(const ql_walk *w, int64_t block);

/* At the beginning of a block: results of units from the store. */
ql_status ql_replay_begin(ql_walk *w);
/* At its end: what was worked out goes to the store and the results, then into the journal. */
ql_status ql_replay_end(ql_walk *w);
/* After the last block: what each unit cost and how its numerics went. */
ql_status ql_replay_finish(ql_walk *w);
/* The facts of a stream evaluator or of an exporter, as soon as it has them. */
ql_status ql_replay_scored(ql_walk *w, const ql_evaluation *e);

#endif
