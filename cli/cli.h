/* The command line: one file a command, a table of commands, options from a table. */
#ifndef QLOOM_CLI_CLI_H
#define QLOOM_CLI_CLI_H

#include <qloom/job.h>

#include "base/ctx.h"
#include "plugin/registry.h"

typedef struct ql_cli {
    ql_ctx *cx;
    const char *plugin_path; /* --plugin-path, NULL */
    int threads;             /* --threads N, 0: all */
    int argc;                /* the command line as given: argv of the commands has lost options */
    char *const *argv;
    const char **sets;     /* -s of the commands on a pipeline file, NULL-terminated; NULL: none */
    bool resumes;          /* the job is a run: what is interrupted goes on later */
    ql_job_page page;      /* what is called, without a job */
    ql_job *job;           /* of the commands on a pipeline file; closed when the command is over, as the next */
    ql_registry *registry; /* ql_cli_registry */
} ql_cli;

typedef struct ql_command {
    const char *name, *arguments, *help; /* "tokenize", "FOLDER", one line */
    const char *usage;                   /* the whole text of --help below the usage line */
    /* argv[0] is the command's name; common options (--quiet, --plugin-path, --threads, --help) are gone. */
    ql_status (*run)(ql_cli *cli, int argc, char **argv);
} ql_command;

extern const ql_command ql_cmd_run, ql_cmd_check, ql_cmd_plan, ql_cmd_graph, ql_cmd_plugins, ql_cmd_check_plugin,
    ql_cmd_inspect, ql_cmd_tokenize, ql_cmd_tasks, ql_cmd_generate, ql_cmd_table, ql_cmd_plot, ql_cmd_report,
    ql_cmd_cache;

/* --- options.c: options out of argv --- */

/* One option of a command; `value` gets the text, or `flag` is set. */
typedef struct ql_option {
    const char *name, *letter; /* "--format", "-f" or NULL */
    const char **value;
    bool *flag, path;   /* path: a file or folder, whose `~` no shell has expanded behind "=" */
    const char ***list; /* repeated: appended, NULL-terminated, in the innermost scope */
    const char *key;    /* what is appended is KEY=VALUE: another word for --set; NULL: the value */
} ql_option;

typedef struct ql_option_table { /* ended by a row without a name */
    const ql_option *options;
    bool partial; /* leave options that the table does not name, and "--", where they are */
} ql_option_table;

/* Names of the options that every command has, NULL-terminated. */
extern const char *const ql_common_names[];

/* Takes the options out of argv ("--name value" and "--name=value"; "--" ends them); *argc and argv keep the operands, argv[0] included.
 * INVALID for an unknown option, with the nearest known one. */
ql_status ql_options_take(ql_ctx *cx, const ql_option_table *table, int *argc, char **argv);
/* The number that an option's text is; NULL leaves *out as it is. */
ql_status ql_parse_number(ql_ctx *cx, const char *option, const char *text, int least, int most, int *out);
/* The same for a command, whose table ends with QL_OPTIONS_END (NULL: no options), and that takes from `least` to `most` operands, which
 * `operands` names: "one pipeline file". */
ql_status ql_options(ql_cli *cli, const ql_option *options, int *argc, char **argv, int least, int most,
                     const char *operands);
#define QL_OPTIONS_END \
    {                  \
        .name = NULL   \
    }

/* --- shared.c: what several commands do --- */

/* The plugins, opened once. */
ql_status ql_cli_registry(ql_cli *cli, ql_registry **out);

/* Takes the options, a row QL_SETS among them, and one pipeline file, and opens the job with what `opt` and the common options say. */
ql_status ql_cli_job(ql_cli *cli, const ql_option *options, int *argc, char **argv, ql_job_options *opt);
/* `st` of a call on the job, with the job's error as the program's. */
ql_status ql_cli_status(ql_cli *cli, ql_status st);

/* The row of -s in a command's table of options, and its line of the help. */
#define QL_SETS(cli)                                          \
    {                                                         \
        .name = "--set", .letter = "-s", .list = &(cli)->sets \
    }
#define QL_SETS_USAGE "  -s, --set KEY=VALUE   override a key of the file: quant.bits=4, seed=7 (repeatable)\n"
#define QL_DEVICE_USAGE "      --device DEVICE   auto, cpu, cuda or cuda:N, in place of the file's\n"

#endif
