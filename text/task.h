/* A task file from the inside. */
#ifndef QLOOM_TEXT_TASK_H
#define QLOOM_TEXT_TASK_H

#include <qloom/tasks.h>

#include "yaml/yaml.h"
#include "template.h"

typedef enum ql_shot_rule { QL_SHOTS_TRAIN, QL_SHOTS_SELF, QL_SHOTS_FIRST } ql_shot_rule;

typedef struct ql_let { /* a name, or with `parameter` a function, and its template */
    const char *name, *parameter;
    const ql_template *body;
} ql_let;

#define QL_TASK_MAX_GEN 256 /* new tokens, where a task does not say */

/* One step of a filter, from text to text. */
typedef struct ql_filter_step {
    enum { QL_STEP_REGEX, QL_STEP_FIRST, QL_STEP_NUMBER } kind;
    const char *pattern, *fallback; /* regex, number: what becomes of a text without one */
    const char *after;              /* number: the first one behind this text; NULL, or without it: the last one */
    bool last;                      /* regex: the last match, not the first */
} ql_filter_step;

typedef struct ql_filter {
    const char *name;
    int64_t step_count;
    const ql_filter_step *steps;
} ql_filter;

struct ql_task {
    ql_task_info info;
    ql_task_generation generation;
    const ql_filter *filters; /* [generation.filter_count] */
    int64_t ignore_count;
    const char *const *ignore; /* patterns whose matches don't count in comparisons */
    bool lower;                /* nor does case */
    ql_yaml *root;
    bool articles; /* records are the articles of a text */
    int64_t let_count;
    const ql_let *lets;
    ql_functions functions;
    const ql_template *where, *description, *prompt, *choices, *contexts, *continuation, *text, *count, *answer, *gold,
        *by;
    ql_shot_rule rule;
    const char *separator, *same; /* same: field in which shots are equal to the document; NULL */
    int64_t fixed_count;
    const ql_json **fixed; /* shots that are always the same; NULL */
};

/* The file of the task `name`: a path, or that of a shipped one. */
ql_status ql_task_find(ql_ctx *cx, const char *name, const char **out);

/* Where byte `at` of a scalar's text stands in the file: line and column, past escapes and indentation. */
ql_place ql_task_place(const ql_task *task, const ql_yaml *scalar, size_t at);
/* Puts "FILE:LINE:COLUMN" of a template's error in front of it. */
ql_status ql_task_blame(ql_ctx *cx, const ql_task *task, const ql_wrong *wrong, ql_status st);

/* Records of a data file, each an object. */
typedef struct ql_task_records {
    const char *file;
    int64_t count, capacity;
    const ql_json **items;
} ql_task_records;
ql_status ql_task_records_read(ql_ctx *cx, const char *path, bool articles, ql_task_records *out);

#endif
