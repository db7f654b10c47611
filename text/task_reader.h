/* Values of a task file's keys, for the files that read them: what is wrong is added to the problems. */
#ifndef QLOOM_TEXT_TASK_READER_H
#define QLOOM_TEXT_TASK_READER_H

#include "task.h"

typedef struct ql_task_reader {
    ql_ctx *cx;
    ql_problems *problems;
    ql_task *task;
    const ql_functions *known; /* those defined so far */
} ql_task_reader;

bool ql_task_is_scalar(ql_task_reader *r, const ql_yaml *v, const char *what);
void ql_task_read_text(ql_task_reader *r, const ql_yaml *v, const char **out);
void ql_task_read_count(ql_task_reader *r, const ql_yaml *v, int64_t *out); /* 0 to 2^20 */
/* A list of words, one at least. */
ql_status ql_task_read_words(ql_task_reader *r, const ql_yaml *v, const char *const **out, int64_t *count);
/* Tells of every key of the map that is none of `keys`, which end with NULL. */
void ql_task_check_keys(ql_task_reader *r, const ql_yaml *map, const char *const *keys);

/* The key `generate`. */
ql_status ql_task_read_generate(ql_task_reader *r, const ql_yaml *v);

#endif
