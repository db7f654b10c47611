/* Options of a command: taken out of argv by a table. */
#include <string.h>

#include "base/guess.h"
#include "base/path.h"
#include "cli.h"

/* `argument` is the option's name, alone or with "=value" behind it, which *value then points to. */
static bool
matches(const ql_option *o, const char *argument, const char **value)
{
    size_t n = strlen(o->name);

    *value = NULL;
    if (o->letter && strcmp(argument, o->letter) == 0)
        return true;
    if (strncmp(argument, o->name, n) != 0 || (argument[n] != '\0' && argument[n] != '='))
        return false;
    *value = argument[n] == '=' ? argument + n + 1 : NULL;
    return true;
}

static const ql_option *
find(const ql_option *o, const char *argument, const char **value)
{
    while (o && o->name && !matches(o, argument, value))
        o++;
    return o && o->name ? o : NULL;
}

static ql_status
append(ql_ctx *cx, const ql_option *o, const char *value, int argc)
{
    const char ***list = o->list;
    int64_t n = 0;

    if (o->key)
        value = ql_format(cx, "%s=%s", o->key, value);

    if (!*list) /* no list is longer than the command line */
        *list = ql_alloc(cx, (size_t)argc + 1, sizeof **list);
    if (!*list || !value)
        return QL_MEMORY;
    while ((*list)[n])
        n++;
    (*list)[n] = value;
    return QL_OK;
}

static ql_status
unknown(ql_ctx *cx, const ql_option *options, const char *argument)
{
    const char *wrong = ql_copy_text(cx, argument, strcspn(argument, "="));
    ql_guess near = ql_guess_open(wrong ? wrong : "");

    for (const ql_option *o = options; o && o->name; o++)
        ql_guess_offer(&near, o->name);
    for (int i = 0; ql_common_names[i]; i++)
        ql_guess_offer(&near, ql_common_names[i]);
    return QL_FAIL(cx, QL_INVALID, "unknown option '%s'%s", near.wrong, ql_guess_text(cx, &near, ""));
}

/* What an option of `argc` words takes: `value` behind its "=", else the word `next` (NULL: there is none), of which *taken tells. */
static ql_status
take(ql_ctx *cx, const ql_option *o, const char *value, const char *next, int argc, bool *taken)
{
    *taken = !o->flag && !value;
    if (o->flag) {
        *o->flag = true;
        return value ? QL_FAIL(cx, QL_INVALID, "option '%s' takes no value, got '%s'", o->name, value) : QL_OK;
    }
    value = value ? value : next;
    if (!value)
        return QL_FAIL(cx, QL_INVALID, "option '%s' needs a value", o->name);
    if (o->path)
        value = ql_path_from(cx, NULL, value);
    if (!value)
        return QL_MEMORY;
    if (o->list)
        return append(cx, o, value, argc);
    *o->value = value;
    return QL_OK;
}

ql_status
ql_options_take(ql_ctx *cx, const ql_option_table *table, int *argc, char **argv)
{
    const int n = *argc;
    int kept = n > 0 ? 1 : 0, i = kept;

    for (; i < n && strcmp(argv[i], "--") != 0; i++) {
        const char *value = NULL;
        const bool dashed = argv[i][0] == '-' && argv[i][1];
        const ql_option *o = dashed ? find(table->options, argv[i], &value) : NULL;
        bool taken;

        if (!o && dashed && !table->partial)
            return unknown(cx, table->options, argv[i]);
        if (!o) {
            argv[kept++] = argv[i];
            continue;
        }
        QL_TRY(cx, take(cx, o, value, i + 1 < n ? argv[i + 1] : NULL, n, &taken));
        i += taken;
    }
    if (i < n && !table->partial) /* a partial table leaves "--" to the next one */
        i++;
    while (i < n)
        argv[kept++] = argv[i++];
    argv[kept] = NULL;
    *argc = kept;
    return QL_OK;
}

ql_status
ql_options(ql_cli *cli, const ql_option *options, int *argc, char **argv, int least, int most, const char *operands)
{
    QL_TRY(cli->cx, ql_options_take(cli->cx, &(ql_option_table){.options = options}, argc, argv));
    if (*argc - 1 < least || *argc - 1 > most)
        return QL_FAIL(cli->cx, QL_INVALID, "%s: expected %s, got %d operands", argv[0], operands, *argc - 1);
    for (int i = 1; i < *argc; i++) /* of a program that starts this one without a shell */
        if (argv[i][0] == '~' && !(argv[i] = (char *)ql_path_from(cli->cx, NULL, argv[i])))
            return QL_MEMORY;
    return QL_OK;
}
