/* `qloom tasks`: which tasks there are, and what a model reads of one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qloom/tasks.h>

#include "base/json.h"
#include "cli.h"

static const char usage[] = "Without TASK: the shipped tasks. TASK is the name of one, or the path of a task file: "
                            "what it asks, and with --path\n"
                            "its first document as the model reads it.\n\n"
                            "      --path FILE        the records: JSON lines, a JSON array, CSV\n"
                            "      --pool FILE        the records that shots are taken from\n"
                            "      --shots N          solved examples in front; default: as many as the task says\n"
                            "      --tokens FOLDER    also the ids, by the tokenizer of a model's folder\n";

typedef struct showing {
    ql_cli *cli;
    const char *path, *pool, *shots, *tokens;
} showing;

static ql_status
list_all(ql_ctx *cx)
{
    const char *const *names;
    size_t width = 0;
    int64_t count;

    QL_TRY(cx, ql_task_list(cx, &names, &count));
    for (int64_t i = 0; i < count; i++)
        width = strlen(names[i]) > width ? strlen(names[i]) : width;
    for (int64_t i = 0; i < count; i++) {
        const ql_task *task;
        const ql_task_info *info;

        QL_TRY(cx, ql_task_open(cx, names[i], &task));
        info = ql_task_about(task);
        printf("%-*s %s\n", (int)width, names[i], info->about ? info->about : "");
    }
    return QL_OK;
}

static void
print_about(const ql_task_info *info)
{
    static const char *const kinds[] = {"one context, several continuations", "several contexts, one continuation",
                                        "one continuation", "texts scored whole", "generated text"};

    printf("task:     %s, version %lld\n", info->name, (long long)info->version);
    printf("file:     %s\n", info->file);
    if (info->about)
        printf("about:    %s\n", info->about);
    if (info->cite)
        printf("cite:     %s\n", info->cite);
    printf("asks:     %s%s\n", kinds[info->kind], info->whole ? "; the whole string is scored" : "");
    printf("shots:    %lld unless told otherwise\n", (long long)info->shots);
    printf("metrics: ");
    for (int64_t i = 0; i < info->metric_count; i++)
        printf(" %s%s", info->metrics[i], strcmp(info->metrics[i], info->headline) == 0 ? " (headline)" : "");
    putchar('\n');
}

static ql_status
print_text(ql_ctx *cx, const char *title, const char *text, size_t bytes)
{
    const char *quoted = ql_json_quote(cx, text, bytes);

    if (!quoted)
        return QL_MEMORY;
    printf("%s %s\n", title, quoted);
    return QL_OK;
}

static void
print_ids(const char *title, const ql_ids *ids)
{
    printf("%s", title);
    for (int64_t i = 0; i < ids->count; i++)
        printf(" %d", (int)ids->ids[i]);
    putchar('\n');
}

static ql_status
print_request(ql_ctx *cx, const ql_tokenizer *tk, const ql_task_request *r)
{
    ql_ids context, continuation;

    QL_TRY(cx, print_text(cx, "context: ", r->context, r->context_bytes));
    QL_TRY(cx, print_text(cx, "scored:  ", r->continuation, r->continuation_bytes));
    if (!tk)
        return QL_OK;
    QL_TRY(cx, ql_task_encode(cx, tk, QL_BOS_AUTO, r, &context, &continuation));
    print_ids("ids:     ", &context);
    print_ids("scored:  ", &continuation);
    return QL_OK;
}

static ql_status
print_document(ql_ctx *cx, const ql_tokenizer *tk, const ql_task_document *d)
{
    printf("\n%s", d->name);
    for (int64_t i = 0; i < d->gold_count; i++)
        printf("%s%lld", i ? ", " : "; right is choice ", (long long)d->gold[i]);
    putchar('\n');
    for (int64_t i = 0; i < d->request_count; i++)
        QL_TRY(cx, print_request(cx, tk, &d->requests[i]));
    return d->text ? print_text(cx, "scored:  ", d->text, d->text_bytes) : QL_OK;
}

static ql_status
show_first(ql_ctx *cx, const showing *s, const ql_task *task)
{
    ql_task_options options = {.path = s->path, .pool = s->pool, .shots = -1, .seed = 1234, .limit = 1};
    const ql_task_document *documents;
    ql_tokenizer *tk = NULL;
    int64_t count;
    ql_status st;
    int shots = -1;

    QL_TRY(cx, ql_parse_number(cx, "--shots", s->shots, 0, 1 << 10, &shots));
    options.shots = shots;
    QL_TRY(cx, ql_task_read(cx, task, &options, &documents, &count));
    if (s->tokens)
        QL_TRY(cx, ql_tokenizer_open(cx, s->tokens, &tk));
    st = print_document(cx, tk, documents);
    ql_tokenizer_close(tk);
    return st;
}

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    showing s = {.cli = cli};
    const ql_option options[] = {{.name = "--path", .value = &s.path},
                                 {.name = "--pool", .value = &s.pool},
                                 {.name = "--shots", .value = &s.shots},
                                 {.name = "--tokens", .value = &s.tokens},
                                 QL_OPTIONS_END};
    const ql_task *task;

    QL_TRY(cli->cx, ql_options(cli, options, &argc, argv, 0, 1, "the name of a task or a task file"));
    if (argc < 2)
        return list_all(cli->cx);
    QL_TRY(cli->cx, ql_task_open(cli->cx, argv[1], &task));
    print_about(ql_task_about(task));
    return s.path ? show_first(cli->cx, &s, task) : QL_OK;
}

const ql_command ql_cmd_tasks = {
    .name = "tasks",
    .arguments = "[TASK]",
    .help = "tasks for evaluation, and what a model reads of one",
    .usage = usage,
    .run = run,
};
