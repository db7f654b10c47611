/* Files of JSON lines: what the public harness gives, and what evaluators save in a run's folder. */
#ifndef QLOOM_TEST_ANSWERS_H
#define QLOOM_TEST_ANSWERS_H

#include <qloom/job.h>

#include "base/file.h"
#include "base/json.h"
#include "../test.h"

typedef struct lines {
    int64_t count;
    const ql_json *items[4096];
} lines;

static inline void
read_lines(ql_ctx *cx, const char *path, lines *out)
{
    const char *text, *end;
    size_t bytes;

    REQUIRE_OK(cx, ql_file_read(cx, path, (size_t)1 << 26, &text, &bytes));
    for (; *text; text = end + 1) {
        end = strchr(text, '\n');
        if (!end || out->count == 4096)
            exit(1);
        REQUIRE_OK(cx, ql_json_parse(cx, &(ql_json_input){.file = path, .text = text, .bytes = (size_t)(end - text)},
                                     &out->items[out->count]));
        out->count++;
    }
}

/* The answers of one task in the job's run folder. */
static inline void
read_answers(ql_ctx *cx, ql_job *job, const char *task, lines *out)
{
    const ql_folder_entry *entries;
    const char *run_folder = ql_job_about(job)->folder, *begin = ql_format(cx, "answers-%s-", task);
    int64_t count;

    REQUIRE_OK(cx, ql_folder_list(cx, run_folder, &entries, &count));
    for (int64_t i = 0; i < count; i++)
        if (strncmp(entries[i].name, begin, strlen(begin)) == 0)
            read_lines(cx, ql_format(cx, "%s/%s", run_folder, entries[i].name), out);
}

static inline const ql_json *
find(const lines *all, const char *task, int64_t doc)
{
    for (int64_t i = 0; i < all->count; i++) {
        int64_t number;

        if (strcmp(ql_json_string(ql_json_member(all->items[i], "task")), task) == 0 &&
            ql_json_as_int(ql_json_member(all->items[i], "doc"), &number) && number == doc)
            return all->items[i];
    }
    return NULL;
}

static inline bool
same(const ql_json *a, const ql_json *b)
{
    int64_t i[2];
    bool is[2];

    if (ql_json_is_array(a)) {
        bool equal = ql_json_length(a) == ql_json_length(b);

        for (int64_t k = 0; equal && k < ql_json_length(a); k++)
            equal = same(ql_json_item(a, k), ql_json_item(b, k));
        return equal;
    }
    if (ql_json_string(a))
        return ql_json_string(b) && strcmp(ql_json_string(a), ql_json_string(b)) == 0;
    if (ql_json_as_bool(a, &is[0]))
        return ql_json_as_bool(b, &is[1]) && is[0] == is[1];
    return ql_json_as_int(a, &i[0]) && ql_json_as_int(b, &i[1]) && i[0] == i[1];
}

#endif
