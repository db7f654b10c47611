/* `qloom check-plugin`: the contract of plugins, run on one shared object. */
#include <stdio.h>
#include <string.h>

#include "device/device.h"
#include "kit/contract.h"
#include "cli.h"

static const char usage[] =
    "Loads one plugin as a pipeline would and runs the contract that every plugin keeps: tables that document\n"
    "themselves, shared parameter names with their shared meaning, defaults in range, and for quantizers, "
    "compensators\n"
    "and per-layer evaluators results on tiny random layers that are complete, finite, the same twice, and clean "
    "after\n"
    "every error. Exit status 0: all kept, 2: some broken, or no plugin that this qloom can load.\n";

static void
print_line(void *user, ql_verdict verdict, const char *text)
{
    static const char *const words[] = {"ok", "FAILED", "skipped"};

    (void)user;
    printf("%-8s%s\n", words[verdict], text);
}

/* The device that is there on every machine, and whose memory the checks can look into. */
static ql_status
open_device(ql_cli *cli, const ql_registry *r, ql_device **out)
{
    const ql_device_options opt = {.threads = cli->threads ? cli->threads : 1};
    const ql_found *cpu = ql_registry_find(r, "cpu");

    if (!cpu || !cpu->plugin)
        return QL_FAIL(cli->cx, QL_NOT_FOUND,
                       "no backend for the device 'cpu' among the plugins: its checks run there");
    return ql_device_open(cli->cx, cpu->plugin->backend, &opt, 0, out);
}

static ql_status
check(ql_cli *cli, const ql_plugin *p)
{
    ql_contract contract = {.line = print_line};
    ql_ctx *cx = cli->cx;
    ql_registry *r;
    ql_device *device = NULL;
    ql_status st;

    QL_TRY(cx, ql_cli_registry(cli, &r));
    st = open_device(cli, r, &device);
    cx->device = device;
    if (st == QL_OK)
        st = ql_contract_run(cx, p, &contract);
    cx->device = NULL;
    ql_device_close(device);
    QL_TRY(cx, st);
    printf("%s %s (%s): %lld passed, %lld failed, %lld skipped\n", p->name, p->version, ql_kind_name(p->kind),
           (long long)contract.count[QL_PASSED], (long long)contract.count[QL_FAILED],
           (long long)contract.count[QL_SKIPPED]);
    if (contract.count[QL_FAILED])
        return QL_FAIL(cx, QL_INVALID, "plugin '%s' breaks its contract", p->name);
    return QL_OK;
}

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    ql_plugin plugin;

    QL_TRY(cli->cx, ql_options(cli, NULL, &argc, argv, 1, 1, "one plugin file"));
    QL_TRY(cli->cx, ql_plugin_load(cli->cx, argv[1], &plugin));
    return check(cli, &plugin);
}

const ql_command ql_cmd_check_plugin = {
    .name = "check-plugin",
    .arguments = "FILE",
    .help = "run the contract tests on a plugin's shared object",
    .usage = usage,
    .run = run,
};
