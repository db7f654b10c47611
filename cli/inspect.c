/* `qloom inspect`: what a model folder holds, from its headers alone. */
#include <stdio.h>
#include <string.h>

#include <qloom/json.h>

#include "base/text.h"
#include "device/device.h"
#include "model/hub.h"
#include "model/open_model.h"
#include "cli.h"

static const char usage[] =
    "Shows architecture, blocks, linears, shapes, dtypes, parameters and bytes. No weight is read.\n\n"
    "  --json              for programs\n";

/* A tensor of the ends, or one of a block with its copies in all blocks. */
typedef struct row {
    const char *name;
    int subset; /* of a linear's weight; -1: another tensor */
    const ql_st_tensor *first;
    bool mixed; /* the blocks have it in several dtypes */
    uint64_t parameters, bytes;
} row;

typedef struct sheet {
    const ql_model_handle *model;
    int64_t block_count, end_count; /* rows of one block, rows of the ends */
    row *block, *ends;
    uint64_t parameters, bytes;
} sheet;

/* --- collecting ------------------------------------------------------------------------------------------------- */

static void
add(row *r, const ql_st_tensor *t)
{
    r->mixed = r->mixed || (r->first && strcmp(r->first->dtype_name, t->dtype_name) != 0);
    r->first = r->first ? r->first : t;
    r->parameters += t->count;
    r->bytes += t->bytes;
}

/* One row over all blocks; none for a weight that no block has under this name: a folder that holds codes. */
static ql_status
add_blocks(ql_ctx *cx, sheet *s, const char *name, int subset)
{
    const ql_model_info *info = &s->model->info;
    row *r = &s->block[s->block_count];

    *r = (row){.name = name, .subset = subset};
    for (int64_t i = 0; i < info->layers; i++) {
        const char *whole = ql_name_in_block(cx, info, i, name);
        const ql_st_tensor *t;

        if (!whole)
            return QL_MEMORY;
        t = ql_source_find(s->model->source, whole);
        if (t)
            add(r, t);
    }
    s->block_count += r->first != NULL;
    s->parameters += r->parameters;
    s->bytes += r->bytes;
    return QL_OK;
}

static ql_status
add_linear(ql_ctx *cx, sheet *s, const ql_linear_info *l)
{
    const char *weight = ql_format(cx, "%s.weight", l->name), *bias = ql_format(cx, "%s.bias", l->name);

    if (!weight || !bias)
        return QL_MEMORY;
    QL_TRY(cx, add_blocks(cx, s, weight, l->subset));
    return l->bias ? add_blocks(cx, s, bias, -1) : QL_OK;
}

static void
add_end(sheet *s, const char *name)
{
    row *r = &s->ends[s->end_count++];

    *r = (row){.name = name, .subset = -1};
    add(r, ql_source_find(s->model->source, name));
    s->parameters += r->parameters;
    s->bytes += r->bytes;
}

static ql_status
collect(ql_ctx *cx, const ql_model_handle *m, sheet *s)
{
    const ql_model_info *info = &m->info;

    *s = (sheet){.model = m};
    s->block = ql_alloc(cx, (size_t)(2 * info->linear_count + info->small_count), sizeof *s->block);
    s->ends = ql_alloc(cx, 3, sizeof *s->ends);
    if (!s->block || !s->ends)
        return QL_MEMORY;
    for (int i = 0; i < info->linear_count; i++)
        QL_TRY(cx, add_linear(cx, s, &info->linears[i]));
    for (int i = 0; i < info->small_count; i++)
        QL_TRY(cx, add_blocks(cx, s, info->smalls[i].name, -1));
    add_end(s, info->embed);
    add_end(s, info->norm);
    if (!info->tied)
        add_end(s, info->head);
    return QL_OK;
}

/* --- printing --------------------------------------------------------------------------------------------------- */

static const char *
dtype_of(const row *r)
{
    return r->mixed ? "mixed" : r->first->dtype_name;
}

static void
print_row(const row *r)
{
    char shape[48], subset[24] = "", name[256];
    const int64_t *dims = r->first->dims;

    if (r->first->ndim == 2)
        snprintf(shape, sizeof shape, "[%lld, %lld]", (long long)dims[0], (long long)dims[1]);
    else
        snprintf(shape, sizeof shape, "[%lld]", (long long)dims[0]);
    if (r->subset >= 0)
        snprintf(subset, sizeof subset, "  subset %d", r->subset);
    ql_visible(r->name, "\\n", name, sizeof name);
    printf("  %-36s %-18s %-6s %14llu %15llu%s\n", name, shape, dtype_of(r), (unsigned long long)r->parameters,
           (unsigned long long)r->bytes, subset);
}

static void
print_text(const sheet *s)
{
    const ql_model_info *info = &s->model->info;
    char text[32];

    printf("%s\n\n", ql_source_folder(s->model->source));
    printf("  architecture  %s (plugin %s)\n", info->architecture, s->model->plugin->name);
    printf("  blocks        %lld\n", (long long)info->layers);
    printf("  linears       %d a block, in %d subsets\n", info->linear_count, info->subsets);
    printf("  hidden        %lld\n", (long long)info->hidden);
    printf("  vocabulary    %lld\n", (long long)info->vocab);
    printf("  positions     %lld\n", (long long)info->max_positions);
    printf("  head          %s\n", info->tied ? "tied to the embedding" : "a matrix of its own");
    printf("  parameters    %llu\n", (unsigned long long)s->parameters);
    printf("  bytes         %llu (%s)\n", (unsigned long long)s->bytes, ql_bytes_text(s->bytes, text, sizeof text));
    printf("\n  %-36s %-18s %-6s %14s %15s\n", "all blocks together", "shape", "dtype", "parameters", "bytes");
    for (int64_t i = 0; i < s->block_count; i++)
        print_row(&s->block[i]);
    printf("\n  outside the blocks\n");
    for (int64_t i = 0; i < s->end_count; i++)
        print_row(&s->ends[i]);
}

static void
json_rows(ql_json_writer *w, const char *key, const row *rows, int64_t count)
{
    ql_json_put_open(w, key, '[', QL_JSON_LINES);
    for (const row *r = rows; r < rows + count; r++) {
        ql_json_put_open(w, NULL, '{', QL_JSON_SPACED);
        ql_json_put_text(w, "name", r->name);
        if (r->subset >= 0)
            ql_json_put_int(w, "subset", r->subset);
        ql_json_put_open(w, "shape", '[', QL_JSON_SPACED);
        for (int64_t k = 0; k < r->first->ndim; k++)
            ql_json_put_int(w, NULL, r->first->dims[k]);
        ql_json_put_close(w);
        ql_json_put_text(w, "dtype", dtype_of(r));
        ql_json_put_int(w, "parameters", (int64_t)r->parameters);
        ql_json_put_int(w, "bytes", (int64_t)r->bytes);
        ql_json_put_close(w);
    }
    ql_json_put_close(w);
}

static ql_status
print_json(ql_ctx *cx, const sheet *s)
{
    const ql_model_info *info = &s->model->info;
    ql_json_writer w = {.cx = cx, .out = stdout};

    ql_json_put_open(&w, NULL, '{', QL_JSON_LINES);
    ql_json_put_text(&w, "path", ql_source_folder(s->model->source));
    ql_json_put_text(&w, "architecture", info->architecture);
    ql_json_put_text(&w, "plugin", s->model->plugin->name);
    ql_json_put_int(&w, "blocks", info->layers);
    ql_json_put_int(&w, "linears", info->linear_count);
    ql_json_put_int(&w, "subsets", info->subsets);
    ql_json_put_int(&w, "hidden", info->hidden);
    ql_json_put_int(&w, "vocabulary", info->vocab);
    ql_json_put_int(&w, "positions", info->max_positions);
    ql_json_put_bool(&w, "tied", info->tied);
    ql_json_put_int(&w, "parameters", (int64_t)s->parameters);
    ql_json_put_int(&w, "bytes", (int64_t)s->bytes);
    json_rows(&w, "block", s->block, s->block_count);
    json_rows(&w, "ends", s->ends, s->end_count);
    ql_json_put_close(&w);
    printf("\n");
    return ql_json_put_end(&w);
}

/* --- the command ------------------------------------------------------------------------------------------------ */

static ql_status
inspect(ql_ctx *cx, const ql_model_handle *m, bool json)
{
    sheet s;

    QL_TRY(cx, collect(cx, m, &s));
    if (json)
        return print_json(cx, &s);
    print_text(&s);
    return QL_OK;
}

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    bool json = false;
    const ql_option options[] = {{.name = "--json", .flag = &json}, QL_OPTIONS_END};
    ql_model_handle m = {0};
    const char *folder;
    ql_registry *r;
    ql_status st;

    QL_TRY(cli->cx, ql_options(cli, options, &argc, argv, 1, 1, "one model folder"));
    QL_TRY(cli->cx, ql_hub_find(cli->cx, "", argv[1], &folder));
    QL_TRY(cli->cx, ql_cli_registry(cli, &r));
    st = ql_model_open(cli->cx, r, NULL, NULL, folder, &m);
    if (st == QL_OK)
        st = inspect(cli->cx, &m, json);
    ql_model_close(&m);
    return st;
}

const ql_command ql_cmd_inspect = {
    .name = "inspect",
    .arguments = "MODEL [--json]",
    .help = "show what a model folder holds",
    .usage = usage,
    .run = run,
};
