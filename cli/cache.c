/* qloom cache: what the store of finished work holds, and emptying it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "device/device.h"
#include "run/folder.h"
#include "store/store.h"
#include "cli.h"

typedef struct total {
    int64_t nodes;
    uint64_t bytes;
} total;

static ql_status
show_item(ql_ctx *cx, const ql_store *s, const ql_store_item *item)
{
    const time_t used = (time_t)(item->used / 1000000000);
    char size[32], date[32] = "";
    const char *about;
    struct tm parts;

    QL_TRY(cx, ql_store_about(cx, s, item->key, &about));
    if (gmtime_r(&used, &parts))
        (void)strftime(date, sizeof date, "%Y-%m-%d %H:%M", &parts);
    printf("%s  %12s  %s\n", date, ql_bytes_text((size_t)item->bytes, size, sizeof size), about);
    return QL_OK;
}

static ql_status
list(ql_ctx *cx, const ql_store *s, bool show, total *sum)
{
    ql_store_item *items;
    ql_status st = ql_store_list(cx, s, &items, &sum->nodes);

    for (int64_t i = 0; i < sum->nodes; i++) {
        sum->bytes += items[i].bytes;
        if (show && st == QL_OK)
            st = show_item(cx, s, &items[i]);
    }
    free(items);
    return st;
}

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    ql_ctx *cx = cli->cx;
    ql_store s = {.folder = QL_RUNS_DEFAULT "/" QL_CACHE_DEFAULT};
    const ql_option options[] = {{.name = "--cache", .value = &s.folder, .path = true}, QL_OPTIONS_END};
    bool clear;
    char size[32];
    total sum = {0};

    QL_TRY(cx, ql_options(cli, options, &argc, argv, 0, 1, "list or clear"));
    clear = argc == 2 && strcmp(argv[1], "clear") == 0;
    if (argc == 2 && !clear && strcmp(argv[1], "list") != 0)
        return QL_FAIL(cx, QL_INVALID, "cache: got '%s', expected list or clear", argv[1]);
    QL_TRY(cx, ql_store_check(cx, s.folder));
    QL_TRY(cx, list(cx, &s, !clear, &sum));
    if (clear)
        QL_TRY(cx, ql_store_clear(cx, &s));
    printf("%s%lld stages, %s, in %s\n", clear ? "removed " : "", (long long)sum.nodes,
           ql_bytes_text((size_t)sum.bytes, size, sizeof size), s.folder);
    return QL_OK;
}

const ql_command ql_cmd_cache = {
    .name = "cache",
    .arguments = "[list|clear]",
    .help = "list or clear the finished work that runs share",
    .usage =
        "Runs keep the finished blocks of every stage, by content, and take from there what is unchanged.\n"
        "list shows a line a stage, the least recently used first: when it was last used (UTC), its size, what it\n"
        "is. clear removes all of them; a run that is at work then does them again.\n"
        "\n"
        "Options:\n"
        "      --cache DIR  the folder; default: runs/cache\n",
    .run = run,
};
