/* `qloom plugins`: what the plugins' tables say, as text, JSON and Markdown; `--new` writes one to start from. */
#include <stdio.h>
#include <string.h>

#include <qloom/json.h>

#include "base/guess.h"
#include "pipeline/graph.h"
#include "cli.h"
#include "kit/new_plugin.h"

static const char usage[] =
    "Without a name: every plugin found, by kind. With one: its help, parameters, inputs and outputs.\n\n"
    "  --json              for programs\n"
    "  --markdown          as the reference in docs/plugins.md\n"
    "  --new KIND NAME     write a folder NAME with a quantizer, compensator, evaluator or trainer to start from:\n"
    "                      source, CMake file with a test, and pipeline\n";

/* A plugin with its defaults filled in, so that they print as values do. */
typedef struct sheet {
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
    *out = (sheet){.plugin = f->plugin, .self = self};
    return QL_OK;
}

static const char *
default_text(ql_ctx *cx, const sheet *s, const ql_param *row)
{
    const char *text = row->required ? "required" : ql_param_print(cx, row, s->self);

    return text ? text : "";
}

static const char *
abi_text(ql_ctx *cx, const ql_plugin *p)
{
    const char *text = ql_format(cx, "%u.%u", (unsigned)p->abi_major, (unsigned)p->abi_minor);

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

static ql_status
print_sheet(ql_ctx *cx, const ql_found *f)
{
    const ql_plugin *p = f->plugin;
    char allowed[512];
    sheet s;

    QL_TRY(cx, open_sheet(cx, f, &s));
    printf("%s %s, %s\n%s\n\n", p->name, p->version, ql_kind_name(p->kind), p->help);
    if (p->cite)
        printf("  cite            %s\n", p->cite);
    printf("  file            %s\n  abi             %s\n", f->file, abi_text(cx, p));
    for (const ql_param *row = p->params; row->type != QL_T_END; row++) {
        ql_param_allowed(row, allowed, sizeof allowed);
        printf("%s  %-16s%-11s%s\n%29s%s\n", row == p->params ? "\nparameters\n" : "", row->name,
               default_text(cx, &s, row), row->help ? row->help : "", "", allowed);
    }
    print_ports(p, false);
    print_ports(p, true);
    return QL_OK;
}

/* --- JSON ------------------------------------------------------------------------------------------------------------ */

static const char *
type_name(ql_type type)
{
    static const char *const names[] = {"", "bool", "int", "real", "string", "enum", "path", "list", "uint64", "bytes"};

    return names[type];
}

static void
json_param(ql_json_writer *w, const sheet *s, const ql_param *row)
{
    const char *value = ql_param_print(w->cx, row, s->self);
    const bool text = row->type == QL_T_STRING || row->type == QL_T_PATH;

    ql_json_put_open(w, NULL, '{', QL_JSON_SPACED);
    ql_json_put_text(w, "name", row->name);
    ql_json_put_text(w, "type", type_name(row->type));
    ql_json_put_bool(w, "required", row->required);
    if (text || row->type == QL_T_ENUM)
        ql_json_put_text(w, "default", text ? row->def_text : value);
    else
        ql_json_put_raw(w, "default", value ? value : "null");
    if (row->type == QL_T_INT || row->type == QL_T_REAL) {
        ql_json_put_real(w, "min", row->min);
        ql_json_put_real(w, "max", row->max);
    }
    if (row->type == QL_T_ENUM) {
        ql_json_put_open(w, "values", '[', QL_JSON_SPACED);
        for (const char *const *word = row->values; *word; word++)
            ql_json_put_text(w, NULL, *word);
        ql_json_put_close(w);
    }
    ql_json_put_text(w, "help", row->help);
    ql_json_put_close(w);
}

static void
json_port(ql_json_writer *w, const ql_plugin *p, const ql_port *port)
{
    ql_json_put_open(w, NULL, '{', QL_JSON_SPACED);
    ql_json_put_text(w, "name", port->name);
    ql_json_put_text(w, "type", ql_edge_name(port->type));
    ql_json_put_bool(w, "output", port->output);
    ql_json_put_bool(w, "required", ql_port_needed(p, port));
    ql_json_put_text(w, "help", port->help);
    ql_json_put_close(w);
}

/* A broken one has a problem in the place of everything else. */
static ql_status
json_sheet(ql_json_writer *w, const ql_found *f)
{
    const ql_plugin *p = f->plugin;
    const ql_port *port;
    sheet s;

    ql_json_put_open(w, NULL, '{', QL_JSON_LINES);
    ql_json_put_text(w, "name", f->name);
    ql_json_put_text(w, "file", f->file);
    if (p) {
        QL_TRY(w->cx, open_sheet(w->cx, f, &s));
        ql_json_put_text(w, "kind", ql_kind_name(p->kind));
        ql_json_put_text(w, "version", p->version);
        ql_json_put_text(w, "abi", abi_text(w->cx, p));
        ql_json_put_text(w, "help", p->help);
        ql_json_put_text(w, "cite", p->cite);
        ql_json_put_open(w, "parameters", '[', QL_JSON_LINES);
        for (const ql_param *row = p->params; row->type != QL_T_END; row++)
            json_param(w, &s, row);
        ql_json_put_close(w);
        ql_json_put_open(w, "ports", '[', QL_JSON_LINES);
        for (int64_t i = 0; (port = ql_port_at(p, i)); i++)
            json_port(w, p, port);
        ql_json_put_close(w);
    } else {
        ql_json_put_text(w, "problem", f->problem);
    }
    ql_json_put_close(w);
    return QL_OK;
}

/* One plugin; NULL: an array of all. */
static ql_status
print_json(ql_ctx *cx, const ql_registry *r, const ql_found *one)
{
    ql_json_writer w = {.cx = cx, .out = stdout};

    if (!one)
        ql_json_put_open(&w, NULL, '[', QL_JSON_LINES);
    for (int64_t i = 0; i < (one ? 1 : ql_registry_count(r)); i++) {
        const ql_found *f = one ? one : ql_registry_load(r, ql_registry_item(r, i));

        if (!f)
            return QL_MEMORY;
        QL_TRY(cx, json_sheet(&w, f));
    }
    if (!one)
        ql_json_put_close(&w);
    printf("\n");
    return ql_json_put_end(&w);
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
print_markdown(ql_ctx *cx, const ql_registry *r, const ql_found *one)
{
    ql_kind kind = QL_KIND_NONE;
    sheet s;

    if (!one)
        printf("# Plugins\n\nWritten by `qloom plugins --markdown` from the plugins' own tables.\n");
    for (int64_t i = 0; i < (one ? 1 : ql_registry_count(r)); i++) {
        const ql_found *f = one ? one : ql_registry_load(r, ql_registry_item(r, i));

        if (!f)
            return QL_MEMORY;
        if (!f->plugin)
            continue;
        if (!one && f->plugin->kind != kind)
            printf("\n## Kind: %s\n", ql_kind_name(f->plugin->kind));
        kind = f->plugin->kind;
        QL_TRY(cx, open_sheet(cx, f, &s));
        markdown_sheet(cx, &s);
    }
    return one ? QL_OK : print_keys(cx);
}

/* --- the command ----------------------------------------------------------------------------------------------------- */

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
    const ql_found *one = NULL;
    ql_registry *r;

    QL_TRY(cli->cx, ql_options(cli, options, &argc, argv, 0, 1, "no or one plugin name"));
    if (json && markdown)
        return QL_FAIL(cli->cx, QL_INVALID, "--json and --markdown exclude each other");
    if (kind && argc != 2)
        return QL_FAIL(cli->cx, QL_INVALID, "--new: expected the name of the plugin");
    QL_TRY(cli->cx, ql_cli_registry(cli, &r));
    if (kind)
        return ql_plugin_scaffold(cli->cx, r, kind, argv[1], print_path);
    if (argc == 2)
        QL_TRY(cli->cx, find(cli->cx, r, argv[1], &one));
    if (json)
        return print_json(cli->cx, r, one);
    if (markdown)
        return print_markdown(cli->cx, r, one);
    if (one)
        return print_sheet(cli->cx, one);
    print_list(r);
    return QL_OK;
}

const ql_command ql_cmd_plugins = {
    .name = "plugins",
    .arguments = "[NAME] [--json | --markdown | --new KIND]",
    .help = "list the plugins, or document one",
    .usage = usage,
    .run = run,
};
