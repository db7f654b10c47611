/* Merging of equal stages: same plugin, parameters and inputs, one node. */
#ifndef QLOOM_PIPELINE_MERGE_H
#define QLOOM_PIPELINE_MERGE_H

#include "build.h"

typedef struct ql_merger {
    ql_build *b;
    uint64_t seed; /* of the cell at hand */
    int64_t node_count, node_capacity, slot_count;
    ql_node **nodes; /* in the order in which they were made: inputs before users; their ids are -1 */
    int64_t *slots;  /* hash table: node + 1, or 0; its size is a power of two */
} ql_merger;

/* The node of an instance with the inputs `from`, in the order of its links: one that is there already, or a new one
 * if its edges are right; NULL when they aren't. */
ql_node *ql_merge(ql_merger *m, const ql_instance *in, ql_node *const *from);
void ql_merger_fini(ql_merger *m); /* the nodes live on in their scope */

#endif
