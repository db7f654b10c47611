/* The command line: one file a command, a table of commands, options from a table. */
#ifndef QLOOM_CLI_CLI_H
#define QLOOM_CLI_CLI_H

#include "base/ctx.h"
#include "plugin/registry.h"

typedef struct ql_cli {
    ql_ctx *cx;
    bool quiet;
    const char *plugin_path; /* --plugin-path, NULL */
    int threads;             /* --threads N, 0: all */
    int argc;                /* the command line as given: argv of the commands has lost options */
    char *const *argv;
} ql_cli;

typedef struct ql_command {
    const char *name, *arguments, *help; /* "tokenize", "FOLDER", one line */
    const char *usage;                   /* the whole text of --help below the usage line */
    /* argv[0] is the command's name; common options (--quiet, --plugin-path, --threads, --help) are gone. */
    ql_status (*run)(ql_cli *cli, int argc, char **argv);
} ql_command;

extern const ql_command ql_cmd_run, ql_cmd_check, ql_cmd_plan, ql_cmd_graph, ql_cmd_plugins, ql_cmd_check_plugin,
    ql_cmd_inspect, ql_cmd_tokenize, ql_cmd_table, ql_cmd_plot, ql_cmd_report, ql_cmd_cache;

/* One option of a command; `value` gets the text, or `flag` is set. */
typedef struct ql_option {
    const char *name, *letter; /* "--format", "-f" or NULL */
    const char **value;
    bool *flag;
    const char ***list; /* repeated: appended, NULL-terminated, in the innermost scope */
} ql_option;

/* Takes the options out of argv ("--name value" and "--name=value"; "--" ends them); *argc and argv keep the operands,
 * argv[0] included. INVALID for an unknown option, with the nearest known one. */
ql_status ql_options(ql_cli *cli, const ql_option *options, int count, int *argc, char **argv);

#endif
