/* The command line: finds the command, takes the common options, and turns a status into an exit status. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <qloom/qloom.h>
#include <qloom/tokenizer.h>

#include "base/guess.h"
#include "base/log.h"
#include "base/text.h"
#include "cli.h"
#include "signals.h"

#define THREADS_MAX 4096

/* In the order in which a new user needs them. */
static const ql_command *const commands[] = {
    &ql_cmd_run,     &ql_cmd_check,    &ql_cmd_plan,   &ql_cmd_graph,    &ql_cmd_table,
    &ql_cmd_cache,   &ql_cmd_plot,     &ql_cmd_report, &ql_cmd_plugins,  &ql_cmd_check_plugin,
    &ql_cmd_inspect, &ql_cmd_tokenize, &ql_cmd_tasks,  &ql_cmd_generate, NULL,
};

#define COMMAND_COUNT ((int)(sizeof commands / sizeof *commands) - 1)

static const char common_help[] = "Options of every command:\n"
                                  "  --plugin-path DIRS  look for plugins there first (colon-separated)\n"
                                  "  --threads N         host threads to use; default: one a processor\n"
                                  "  -q, --quiet         show warnings and errors only\n"
                                  "  -h, --help          show this help\n";

const char *const ql_common_names[] = {"--quiet",   "--plugin-path", "--threads", "--help",
                                       "--version", "--verbose",     NULL};

typedef struct common_options {
    bool quiet, help, version, verbose;
    const char *plugin_path, *threads;
} common_options;

/* A closed standard stream would give its number to the next file opened, and results would be printed into it. */
static void
reserve_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) == -1)
            return; /* using the stream then fails, as it would have */
}

static const ql_command *
find_command(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static void
print_help(FILE *out)
{
    fprintf(out,
            "usage: qloom COMMAND [ARGUMENTS]\n\nCompresses large language models and fills comparison tables.\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-14s%s\n", commands[i]->name, commands[i]->help);
    fprintf(out,
            "\n%s  --version           show the version; with --verbose also of Unicode's libraries\n\n'qloom COMMAND "
            "--help' says more about a command.\n",
            common_help);
}

static void
print_command_help(const ql_command *c)
{
    printf("usage: qloom %s%s%s\n\n%s\n%s\n%s", c->name, *c->arguments ? " " : "", c->arguments, c->usage,
           c->usage[0] && c->usage[strlen(c->usage) - 1] != '\n' ? "\n" : "", common_help);
}

ql_status
ql_parse_number(ql_ctx *cx, const char *option, const char *text, int least, int most, int *out)
{
    char *end;
    long n;

    if (!text)
        return QL_OK;
    errno = 0;
    n = strtol(text, &end, 10);
    if (errno || end == text || *end || n < least || n > most)
        return QL_FAIL(cx, QL_INVALID, "%s: got '%s', expected a whole number from %d to %d", option, text, least,
                       most);
    *out = (int)n;
    return QL_OK;
}

static ql_status
unknown_command(ql_ctx *cx, const char *name)
{
    ql_guess near = ql_guess_open(name);

    for (int i = 0; i < COMMAND_COUNT; i++)
        ql_guess_offer(&near, commands[i]->name);
    return QL_FAIL(cx, QL_INVALID, "unknown command '%s'%s", name,
                   ql_guess_text(cx, &near, "; 'qloom --help' lists them"));
}

/* Results count only once they have left: a full disk or a closed pipe is a failure of the command. */
static ql_status
flush_results(ql_ctx *cx)
{
    bool failed = ferror(stdout) != 0;

    errno = 0;
    if (fflush(stdout) != 0 || failed)
        return QL_FAIL(cx, QL_IO, "cannot write the results to standard output%s%s", errno ? ": " : "",
                       errno ? strerror(errno) : "");
    return QL_OK;
}

static ql_status
print_version(ql_ctx *cx, bool verbose)
{
    const char *unicode = ql_tokenizer_unicode(cx);

    if (!unicode)
        return QL_MEMORY;
    printf("qloom %s\n", ql_version());
    if (verbose)
        printf("%s\n", unicode);
    return QL_OK;
}

static ql_status
dispatch(ql_cli *cli, const common_options *common, int argc, char **argv)
{
    const ql_command *command = argc > 1 && argv[1][0] != '-' ? find_command(argv[1]) : NULL;

    if (argc > 1 && argv[1][0] == '-') /* an option in front that nobody knows */
        return ql_options(cli, NULL, &argc, argv, 0, 0, "a command");
    if (argc > 1 && !command)
        return unknown_command(cli->cx, argv[1]);
    if (common->verbose && !common->version)
        return QL_FAIL(cli->cx, QL_INVALID, "--verbose goes with --version");
    QL_TRY(cli->cx, ql_parse_number(cli->cx, "--threads", common->threads, 1, THREADS_MAX, &cli->threads));
    if (common->version) {
        return print_version(cli->cx, common->verbose);
    } else if (command && common->help) {
        print_command_help(command);
    } else if (common->help) {
        print_help(stdout);
    } else if (!command) {
        print_help(stderr);
        return QL_FAIL(cli->cx, QL_INVALID, "no command given");
    } else {
        QL_TRY(cli->cx, command->run(cli, argc - 1, argv + 1));
    }
    return QL_OK;
}

static void
report(const ql_ctx *cx, ql_status st)
{
    cx->log->write(cx->log->user, QL_LOG_ERROR, cx->error[0] ? cx->error : ql_status_text(st));
    if (st == QL_BUG)
        cx->log->write(cx->log->user, QL_LOG_ERROR, cx->trace);
}

/* Taking options out reorders argv, and the record of a run wants all of it. */
static ql_status
keep_command_line(ql_cli *cli, int argc, char **argv)
{
    char **kept = ql_alloc(cli->cx, (size_t)argc + 1, sizeof *kept);

    if (!kept)
        return QL_MEMORY;
    memcpy(kept, argv, (size_t)argc * sizeof *kept);
    cli->argc = argc;
    cli->argv = kept;
    return QL_OK;
}

/* No signal reaches a job that is being closed. */
static void
close_job(ql_cli *cli)
{
    ql_job *job = cli->job;

    cli->job = NULL;
    ql_job_close(job);
}

#define STACK_LEAST (256 << 10) /* bytes; commands were seen to need a third of it */

/* A stack that ends is a crash, so a small one is refused; where the limit may be raised, it is. */
static ql_status
enough_stack(ql_ctx *cx)
{
    struct rlimit stack;

    if (getrlimit(RLIMIT_STACK, &stack) != 0 || stack.rlim_cur >= STACK_LEAST)
        return QL_OK;
    stack.rlim_cur = stack.rlim_max;
    if (stack.rlim_max >= STACK_LEAST && setrlimit(RLIMIT_STACK, &stack) == 0)
        return QL_OK;
    return QL_FAIL(cx, QL_MEMORY, "the stack may have %llu KiB (ulimit -s), expected %d KiB or more",
                   (unsigned long long)stack.rlim_max >> 10, STACK_LEAST >> 10);
}

static ql_status
run_program(ql_cli *cli, int argc, char **argv)
{
    common_options common = {0};
    const ql_option options[] = {
        {.name = "--quiet", .letter = "-q", .flag = &common.quiet},
        {.name = "--help", .letter = "-h", .flag = &common.help},
        {.name = "--version", .flag = &common.version},
        {.name = "--verbose", .flag = &common.verbose},
        {.name = "--plugin-path", .value = &common.plugin_path},
        {.name = "--threads", .value = &common.threads},
        QL_OPTIONS_END,
    };
    const ql_option_table table = {.options = options, .partial = true};
    ql_ctx *cx = cli->cx;
    ql_terminal terminal;
    ql_scope scope;
    ql_status st, flushed;

    ql_scope_open(cx, &scope);
    st = keep_command_line(cli, argc, argv);
    if (st == QL_OK)
        st = ql_options_take(cx, &table, &argc, argv);
    ql_terminal_init(&terminal, stderr, common.quiet);
    cx->log = &terminal.log;
    cli->plugin_path = common.plugin_path;
    if (st == QL_OK)
        st = enough_stack(cx);
    if (st == QL_OK)
        st = dispatch(cli, &common, argc, argv);
    if (st != QL_OK)
        report(cx, st);
    flushed = flush_results(cx);
    if (flushed != QL_OK && st == QL_OK) {
        st = flushed;
        report(cx, st);
    }
    close_job(cli);
    ql_registry_close(cli->registry);
    ql_terminal_fini(&terminal);
    cx->log = NULL;
    ql_scope_close(cx, &scope);
    return st;
}

int
main(int argc, char **argv)
{
    const ql_locale locale = ql_locale_enter(); /* whatever a plugin's library sets */
    ql_ctx cx;
    ql_cli cli = {.cx = &cx};
    ql_status st;

    ql_ctx_init(&cx, NULL);
    cx.interrupt = ql_signals_interrupt();
    cx.page = &cli.page;
    reserve_streams();
    ql_signals_catch(&cli);
    st = run_program(&cli, argc, argv);
    ql_signals_done();
    ql_ctx_fini(&cx);
    ql_locale_leave(locale);
    return ql_status_exit(st);
}
