/* Options of a command, from the inside: what ql_main and ql_options share. */
#ifndef QLOOM_CLI_OPTIONS_H
#define QLOOM_CLI_OPTIONS_H

#include "cli.h"

typedef struct ql_option_table {
    const ql_option *options;
    int count;
    bool partial; /* leave options that the table does not name, and "--", where they are */
} ql_option_table;

/* Names of the options that every command has, NULL-terminated. */
extern const char *const ql_common_names[];

ql_status ql_options_take(ql_ctx *cx, const ql_option_table *table, int *argc, char **argv);

#endif
