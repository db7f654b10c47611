/* Fuzzes task files and their records: what stands before a line of equals signs is the task file, what comes behind it the records. A file
 * that anyone wrote makes documents or is refused in words; templates neither hang nor grow without end.
 * Aims at: text/template.c text/scan.c text/evaluate.c text/methods.c text/case.c text/value.c text/task_file.c text/task_read.c */
#include "folder.h"

#include <qloom/tasks.h>

#include "core/base/ctx.h"

#define LINE "\n====\n"

static void
check(const ql_task_document *d)
{
    for (int64_t i = 0; i < d->gold_count; i++)
        MUST(d->gold[i] >= 0 && d->gold[i] < d->request_count);
    for (int64_t i = 0; i < d->request_count; i++)
        MUST(d->requests[i].continuation && d->requests[i].context && d->requests[i].points <= d->requests[i].bytes);
    MUST(d->name && (d->request_count > 0 || d->text));
}

static void
read_all(ql_ctx *cx, int64_t shots)
{
    const ql_task_options options = {.path = ql_format(cx, "%s/d.jsonl", fuzz_folder()), .shots = shots, .limit = 100};
    const ql_task_document *documents;
    const ql_task *task;
    int64_t count = 0;
    ql_status st = ql_task_open(cx, ql_format(cx, "%s/t.yaml", fuzz_folder()), &task);

    if (st == QL_OK)
        st = ql_task_read(cx, task, &options, &documents, &count);
    MUST(st != QL_BUG && (st == QL_OK || *ql_error(cx)));
    for (int64_t i = 0; st == QL_OK && i < count; i++)
        check(&documents[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *behind = NULL;
    ql_ctx cx;
    ql_scope scope;

    for (size_t i = 0; i + sizeof LINE - 1 <= size && !behind; i++)
        if (memcmp(text + i, LINE, sizeof LINE - 1) == 0)
            behind = text + i;
    fuzz_file("t.yaml", data, behind ? (size_t)(behind + 1 - text) : size);
    fuzz_file("d.jsonl", behind ? behind + sizeof LINE - 1 : "",
              behind ? size - (size_t)(behind - text) - (sizeof LINE - 1) : 0);
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    read_all(&cx, (int64_t)(size % 3));
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return 0;
}
