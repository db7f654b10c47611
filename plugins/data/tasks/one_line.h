/* Errors of task files in messages of data plugins. */
#ifndef TASKS_ONE_LINE_H
#define TASKS_ONE_LINE_H

#include <string.h>

#include <qloom/tasks.h>

/* An error of several lines, all that is wrong with a task file, on one: it becomes part of a message. */
static inline ql_status
task_on_one_line(ql_ctx *cx, ql_status st)
{
    const char *text = ql_error(cx), *line = "";

    if (st == QL_OK || !strchr(text, '\n'))
        return st;
    for (const char *end; line && (end = strchr(text, '\n')); text = end + 1)
        line = ql_format(cx, "%s%.*s; ", line, (int)(end - text), text);
    line = line ? ql_format(cx, "%s%s", line, text) : NULL;
    return line ? QL_FAIL(cx, st, "%s", line) : QL_MEMORY;
}

#endif
