/* `qloom plugins`: what the plugins' tables say, as text, JSON and Markdown; `--new` writes one to start from. */
#include <stdio.h>
#include <string.h>

#include "base/guess.h"
#include "base/json.h"
#include "cli.h"
#include "kit/new_plugin.h"
#include "pipeline/graph.h"

static const char usage[] =
    "Without a name: every plugin found, by kind. With one: its help, parameters, inputs and outputs.\n\n"
    "  --json              for programs\n"
    "  --markdown          as the reference in docs/plugins.md\n"
    "  --new KIND NAME     write a folder NAME with a quantizer, compensator or evaluator to start from:\n"
    "                      source, CMake file with a test, and pipeline\n";

/* A plugin with its defaults filled in, so that they print as values do. */
typedef struct sheet {
    const ql_found *found;
    const ql_plugin *plugin;
    const void *self;
} sheet;

static ql_status
open_sheet(ql_ctx *cx, const ql_found *f, sheet *out)
{
    void *self = ql_alloc(cx, 1, f->plugin->self_size);

    if (!self)
        return QL_MEMORY;
    ql_param_defaults(f->plugin, self);
    *out = (sheet){.found = f, .plugin = f->plugin, .self = self};
    return QL_OK;
}

static const char *
default_text(ql_ctx *cx, const sheet *s, const ql_param *row)
{
    const char *text = row->required ? "required" : ql_param_print(cx, row, s->self);

    return text ? text : "";
}

/* --- text ------------------------------------------------------------------------------------------------------------ */

static void
print_list(const ql_registry *r)
{
    ql_kind kind = QL_KIND_NONE;

    for (int64_t i = 0; i < ql_registry_count(r); i++) {
        const ql_found *f = ql_registry_item(r, i);

        if (f->problem)
            continue;
        if (f->kind != kind)
            printf("%s%ss\n", i ? "\n" : "", ql_kind_name(f->kind));
        kind = f->kind;
        printf("  %-20s%s\n", f->name, f->help);
    }
}

static void
print_ports(const ql_plugin *p, bool output)
{
    bool first = true;
    const ql_port *port;

    for (int64_t i = 0; (port = ql_port_at(p, i)); i++) {
        if (port->output != output)
            continue;
        if (first)
            printf("\n%s\n", output ? "outputs" : "inputs");
        first = false;
        printf("  %-16s%-11s%s%s%s\n", port->name, ql_edge_name(port->type), port->help,
               output || ql_port_needed(p, port) ? ""
               : port->def                       ? "; default: "
                                                 : " (optional)",
               port->def ? port->def : "");
    }
}

static void
print_sheet(ql_ctx *cx, const sheet *s)
{
    const ql_plugin *p = s->plugin;
    char allowed[512];

    printf("%s %s, %s\n%s\n\n", p->name, p->version, ql_kind_name(p->kind), p->help);
    if (p->cite)
        printf("  cite            %s\n", p->cite);
    printf("  file            %s\n  abi             %u.%u\n", s->found->file, (unsigned)p->abi_major,
           (unsigned)p->abi_minor);
    for (const ql_param *row = p->params; row->type != QL_T_END; row++) {
        ql_param_allowed(row, allowed, sizeof allowed);
        printf("%s  %-16s%-11s%s\n%29s%s\n", row == p->params ? "\nparameters\n" : "", row->name,
               default_text(cx, s, row), row->help ? row->help : "", "", allowed);
    }
    print_ports(p, false);
    print_ports(p, true);
}

/* --- JSON ------------------------------------------------------------------------------------------------------------ */

static void
put_quoted(ql_ctx *cx, const char *key, const char *text)
{
    const char *quoted = text ? ql_json_quote(cx, text, strlen(text)) : "null";

    printf("\"%s\": %s", key, quoted ? quoted : "null");
}

static const char *
type_name(ql_type type)
{
    static const char *const names[] = {"", "bool", "int", "real", "string", "enum", "path", "list", "uint64", "bytes"};

    return names[type];
}

static void
json_param(ql_ctx *cx, const sheet *s, const ql_param *row)
{
    const char *value = ql_param_print(cx, row, s->self);
    const bool bare =
        row->type == QL_T_BOOL || row->type == QL_T_INT || row->type == QL_T_REAL || row->type == QL_T_LIST;

    printf("{");
    put_quoted(cx, "name", row->name);
    printf(", \"type\": \"%s\", \"required\": %s, ", type_name(row->type), row->required ? "true" : "false");
    if (bare)
        printf("\"default\": %s", value);
    else
        put_quoted(cx, "default", row->type == QL_T_ENUM ? value : row->def_text);
    if (row->type == QL_T_INT || row->type == QL_T_REAL)
        printf(", \"min\": %.17g, \"max\": %.17g", row->min, row->max);
    for (const char *const *w = row->type == QL_T_ENUM ? row->values : NULL; w && *w; w++)
        printf("%s\"%s\"%s", w == row->values ? ", \"values\": [" : ", ", *w, w[1] ? "" : "]");
    printf(", ");
    put_quoted(cx, "help", row->help);
    printf("}");
}

static void
json_sheet(ql_ctx *cx, const sheet *s)
{
    const ql_plugin *p = s->plugin;
    const ql_port *port;

    printf("{");
    put_quoted(cx, "name", p->name);
    printf(", \"kind\": \"%s\", ", ql_kind_name(p->kind));
    put_quoted(cx, "version", p->version);
    printf(", \"abi\": \"%u.%u\", ", (unsigned)p->abi_major, (unsigned)p->abi_minor);
    put_quoted(cx, "help", p->help);
    printf(", ");
    put_quoted(cx, "cite", p->cite);
    printf(", ");
    put_quoted(cx, "file", s->found->file);
    printf(",\n  \"parameters\": [");
    for (const ql_param *row = p->params; row->type != QL_T_END; row++) {
        printf("%s\n    ", row == p->params ? "" : ",");
        json_param(cx, s, row);
    }
    printf("],\n  \"ports\": [");
    for (int64_t i = 0; (port = ql_port_at(p, i)); i++) {
        printf("%s\n    {\"name\": \"%s\", \"type\": \"%s\", \"output\": %s, \"required\": %s, ", i ? "," : "",
               port->name, ql_edge_name(port->type), port->output ? "true" : "false",
               ql_port_needed(p, port) ? "true" : "false");
        put_quoted(cx, "help", port->help);
        printf("}");
    }
    printf("]}");
}

static void
json_broken(ql_ctx *cx, const ql_found *f)
{
    printf("{");
    put_quoted(cx, "name", f->name);
    printf(", ");
    put_quoted(cx, "file", f->file);
    printf(", ");
    put_quoted(cx, "problem", f->problem);
    printf("}");
}

/* --- Markdown -------------------------------------------------------------------------------------------------------- */

/* A bar would end the cell. */
static void
put_cell(const char *text)
{
    for (; *text; text++)
        printf(*text == '|' ? "\\|" : "%c", *text);
}

static void
markdown_rows(ql_ctx *cx, const sheet *s)
{
    char allowed[512];

    for (const ql_param *row = s->plugin->params; row->type != QL_T_END; row++) {
        if (row == s->plugin->params)
            printf("\n| parameter | default | accepts | meaning |\n| --- | --- | --- | --- |\n");
        ql_param_allowed(row, allowed, sizeof allowed);
        printf("| `%s` | %s | ", row->name, default_text(cx, s, row));
        put_cell(allowed);
        printf(" | ");
        put_cell(row->help ? row->help : "");
        printf(" |\n");
    }
}

static void
markdown_sheet(ql_ctx *cx, const sheet *s)
{
    const ql_plugin *p = s->plugin;
    const ql_port *port;

    printf("\n### %s\n\n%s.%s%s%s\n", p->name, p->help, p->cite ? " Reference: " : "", p->cite ? p->cite : "",
           p->cite ? "." : "");
    markdown_rows(cx, s);
    for (int64_t i = 0, shown = 0; (port = ql_port_at(p, i)); i++) {
        if (port->output)
            continue;
        if (shown++ == 0)
            printf("\nInputs: ");
        printf("%s`%s` (%s%s%s)", shown > 1 ? ", " : "", port->name, ql_edge_name(port->type),
               ql_port_needed(p, port) ? ""
               : port->def             ? ", default: "
                                       : ", optional",
               port->def ? port->def : "");
        if (!ql_port_at(p, i + 1) || ql_port_at(p, i + 1)->output)
            printf(".\n");
    }
}

/* --- the command ----------------------------------------------------------------------------------------------------- */

static ql_status
print_one(ql_ctx *cx, const ql_found *f, bool json, bool markdown)
{
    sheet s;

    QL_TRY(cx, open_sheet(cx, f, &s));
    if (json)
        json_sheet(cx, &s);
    else if (markdown)
        markdown_sheet(cx, &s);
    else
        print_sheet(cx, &s);
    return QL_OK;
}

/* The keys of a pipeline file beside stages, matrix, exclude and table. */
static ql_status
print_keys(ql_ctx *cx)
{
    void *self = ql_alloc(cx, 1, ql_file_table.self_size);

    if (!self)
        return QL_MEMORY;
    ql_param_defaults(&ql_file_table, self);
    printf("\n## Keys of a pipeline file\n");
    markdown_rows(cx, &(sheet){.plugin = &ql_file_table, .self = self});
    return QL_OK;
}

static ql_status
print_all(ql_ctx *cx, const ql_registry *r, bool json)
{
    ql_kind kind = QL_KIND_NONE;

    printf(json ? "[" : "# Plugins\n\nWritten by `qloom plugins --markdown` from the plugins' own tables.\n");
    for (int64_t i = 0; i < ql_registry_count(r); i++) {
        const ql_found *f = ql_registry_item(r, i);

        f = ql_registry_load(r, f);
        if (json)
            printf("%s\n", i ? "," : "");
        if (!f || !f->plugin) {
            if (json && f)
                json_broken(cx, f);
            continue;
        }
        if (!json && f->plugin->kind != kind)
            printf("\n## Kind: %s\n", ql_kind_name(f->plugin->kind));
        kind = f->plugin->kind;
        QL_TRY(cx, print_one(cx, f, json, !json));
    }
    if (json)
        printf("]\n");
    return json ? QL_OK : print_keys(cx);
}

static ql_status
find(ql_ctx *cx, const ql_registry *r, const char *name, const ql_found **out)
{
    ql_guess near = ql_guess_open(name);

    *out = ql_registry_find(r, name);
    if (*out)
        return (*out)->problem ? QL_FAIL(cx, QL_INVALID, "%s", (*out)->problem) : QL_OK;
    for (int64_t i = 0; i < ql_registry_count(r); i++)
        ql_guess_offer(&near, ql_registry_item(r, i)->name);
    return QL_FAIL(cx, QL_NOT_FOUND, "no plugin '%s'%s", name,
                   ql_guess_text(cx, &near, "; 'qloom plugins' lists them"));
}

static ql_status
show(ql_cli *cli, const ql_registry *r, const char *name, bool json, bool markdown)
{
    const ql_found *f;

    if (!name && (json || markdown))
        return print_all(cli->cx, r, json);
    if (!name) {
        print_list(r);
        return QL_OK;
    }
    QL_TRY(cli->cx, find(cli->cx, r, name, &f));
    QL_TRY(cli->cx, print_one(cli->cx, f, json, markdown));
    if (json)
        printf("\n");
    return QL_OK;
}

static void
print_path(const char *path)
{
    printf("%s\n", path);
}

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    bool json = false, markdown = false;
    const char *kind = NULL;
    const ql_option options[] = {{.name = "--json", .flag = &json},
                                 {.name = "--markdown", .flag = &markdown},
                                 {.name = "--new", .value = &kind},
                                 QL_OPTIONS_END};
    ql_registry *r;

    QL_TRY(cli->cx, ql_options(cli, options, &argc, argv, 0, 1, "no or one plugin name"));
    if (json && markdown)
        return QL_FAIL(cli->cx, QL_INVALID, "--json and --markdown exclude each other");
    if (kind && argc != 2)
        return QL_FAIL(cli->cx, QL_INVALID, "--new: expected the name of the plugin");
    QL_TRY(cli->cx, ql_cli_registry(cli, &r));
    return kind ? ql_plugin_scaffold(cli->cx, r, kind, argv[1], print_path)
                : show(cli, r, argc == 2 ? argv[1] : NULL, json, markdown);
}

const ql_command ql_cmd_plugins = {
    .name = "plugins",
    .arguments = "[NAME] [--json | --markdown]",
    .help = "list the plugins, or document one",
    .usage = usage,
    .run = run,
};
