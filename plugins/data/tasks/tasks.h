/* The data plugin `tasks` from the inside: documents to inputs of ids, inputs to a stream of segments. */
#ifndef TASKS_TASKS_H
#define TASKS_TASKS_H

#include <qloom/data.h>
#include <qloom/tasks.h>

typedef struct tasks { /* the parameters */
    const char *task, *file, *path, *pool;
    int shots, limit, bos, max_length, max_gen;
    uint64_t seed;
    bool share, allow_long;
} tasks;

/* What the model reads for one request: ids, and how many of the last of them predict a word that is scored. */
typedef struct tasks_input {
    const int32_t *ids;
    int64_t count, scored, request;
    const int32_t *words; /* [scored] */
} tasks_input;

/* input.c */
typedef struct tasks_inputs {
    int64_t count, capacity;
    tasks_input *items;
    ql_document *documents;
    ql_request *requests;
    int64_t document_count, request_count;
} tasks_inputs;

/* Everything that the documents ask. */
ql_status tasks_inputs_make(ql_ctx *cx, const tasks *p, const ql_data_request *req, const ql_task *task,
                            int64_t max_length, tasks_inputs *out);

uint32_t tasks_crc(const int32_t *ids, int64_t count); /* of ids, as ql_request.crc */

/* prompts.c: those of a task that generates, as sequences of at most max_length - max_gen tokens, one a document. */
ql_status tasks_prompts_make(ql_ctx *cx, const tasks *p, const ql_data_request *req, const ql_task *task,
                             int64_t max_length, ql_tokens *out, ql_questions *questions);

/* tree.c */
/* The inputs as segments of trees with at most `most` tokens each, where one input has no more; 0: nothing is shared. Fills sequences, ids,
 * scored tokens and targets. */
ql_status tasks_tree_make(ql_ctx *cx, const tasks_inputs *in, int64_t most, ql_tokens *out, ql_questions *questions);

#endif
