/* Keys that are rows of a parameter table: those of a pipeline file, of its table, and of every stage that reads
 * statistics; and -s KEY=VALUE, which puts values of the command line in their place before anything looks at them. */
#include <string.h>

#include "build.h"

#define PIPELINE_VERSION "1"
#define PICK "pick"         /* of `table:`, a mapping and so no row of its keys */
#define ORIGINAL "original" /* the model as it came, which every cell may be compared with */

static const char *const versions[] = {PIPELINE_VERSION, NULL};
static const char *const computes[] = {"fp32", "bf16", "fp16", NULL};
static const char *const keeps[] = {"all", "needed", NULL};
static const char *const propagates[] = {"original", "quantized", "compensated", NULL};

static const ql_param file_rows[] = {
    {.name = "qloom",
     .help = "the version of pipeline files that this program reads",
     .type = QL_T_ENUM,
     .offset = offsetof(ql_file_keys, version),
     .values = versions,
     .required = true},
    QL_TEXT(ql_file_keys, name, NULL, "of the run's folder; default: the file's name"),
    QL_TEXT(ql_file_keys, device, "auto", "auto, the name of a backend, or BACKEND:NUMBER"),
    QL_ENUM(ql_file_keys, compute, -1, computes, "of activations and weights; without the key the device chooses"),
    QL_UINT64(ql_file_keys, seed, 0, "of everything that is drawn"),
    QL_BYTES(ql_file_keys, memory, 0,
             "most that a run may take of the device's memory, on the cpu of the host's; 0: what the device has"),
    QL_BYTES(ql_file_keys, host_memory, 0, "most that a run may take of the host's memory; 0: 80 % of what is free"),
    QL_PATH(ql_file_keys, spill, false,
            "folder of the file in which hidden states wait when memory is short; default: the cache"),
    QL_PATH(ql_file_keys, cache, false, "folder of finished work; default: the one beside the runs"),
    QL_BYTES(ql_file_keys, cache_limit, 0, "bytes to which the cache is trimmed after a run; 0: never"),
    QL_ENUM(ql_file_keys, cache_keep, 0, keeps,
            "what stays in the cache of finished cells: all, or what a run still needs"),
    QL_NUM(ql_file_keys, chunk_tokens, 8192, 1, 1 << 24, "tokens that go through a block together, at most"),
    QL_NUM(ql_file_keys, time_limit, 0, 0, 1e9, "seconds that one call of a plugin may take in a run; 0: no limit"),
    QL_FLAG(ql_file_keys, baseline, true, "evaluate the original model too"),
    QL_ENUM(ql_file_keys, propagate, -1, propagates, "through which model the statistics come"),
    QL_PARAMS_END,
};
static const ql_param stage_rows[] = {
    QL_ENUM(ql_stage_keys, propagate, -1, propagates, "through which model the statistics come"),
    QL_PARAMS_END,
};

typedef struct table_keys {
    ql_strings rows, columns, compare;
    const char *value;
    int bootstrap;
} table_keys;

static const ql_param table_rows[] = {
    QL_LIST(table_keys, rows, "keys such as quant.use, or a list of them"),
    QL_LIST(table_keys, columns, "keys such as quant.use, or a list of them"),
    QL_TEXT(
        table_keys, value, NULL,
        "STAGE.METRIC, such as ppl.perplexity, several parted by commas, mean(A.acc, B.acc); default: every metric a "
        "column"),
    QL_LIST(table_keys, compare,
            "AXIS=LABEL, such as quant.bits=4, or a list of them: differences are from the cell with these labels and "
            "otherwise the same ones, in a table of their own; original: from the original model"),
    QL_NUM(table_keys, bootstrap, 0, 0, 100000,
           "draws of a paired bootstrap, which gives differences an interval; 0: none"),
    QL_PARAMS_END,
};

const ql_plugin ql_file_table = {.name = "pipeline", .params = file_rows, .self_size = sizeof(ql_file_keys)};
const ql_plugin ql_stage_table = {.name = "stage", .params = stage_rows, .self_size = sizeof(ql_stage_keys)};
static const ql_plugin table_table = {.name = "table", .params = table_rows, .self_size = sizeof(table_keys)};

const char *const ql_file_sections[] = {"stages", "matrix", "exclude", "table", NULL};

bool
ql_is_file_key(const char *key)
{
    for (const char *const *section = ql_file_sections; *section; section++)
        if (strcmp(*section, key) == 0)
            return true;
    return ql_param_find(&ql_file_table, key) != NULL;
}

ql_dtype
ql_file_compute(const ql_file_keys *keys)
{
    static const ql_dtype dtypes[] = {QL_F32, QL_BF16, QL_F16}; /* in the order of `computes` */

    return keys->compute < 0 ? QL_DTYPE_NONE : dtypes[keys->compute];
}

ql_place
ql_build_key_place(const ql_build *b, const char *key)
{
    const int64_t i = ql_yaml_find(b->root, key);

    return i < 0 ? b->root->place : b->root->keys[i]->place;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

static bool
is_null(const ql_yaml *v)
{
    return v->kind == QL_YAML_SCALAR && !v->quoted &&
           (!*v->text || strcmp(v->text, "~") == 0 || strcmp(v->text, "null") == 0);
}

/* What the tree has at `v`, as rows take it: a row of lists takes one word for a list of it. */
static bool
value_of(ql_build *b, const char *prefix, const ql_param *row, const ql_yaml *v, ql_value *out)
{
    const bool list = v->kind == QL_YAML_LIST, one = row->type == QL_T_LIST && !list && !is_null(v);
    const char **items;

    *out = (ql_value){.text = list || one || is_null(v) ? NULL : v->text, .quoted = v->quoted};
    if (!list && !one)
        return true;
    out->count = one ? 1 : v->count;
    out->items = items = ql_build_alloc(b, out->count, sizeof *items);
    for (int64_t i = 0; items && i < out->count; i++) {
        const ql_yaml *item = one ? v : v->items[i];

        if (item->kind != QL_YAML_SCALAR)
            return ql_wrong(b, item->place, "%s%s: a list of texts or numbers can't hold %s", prefix, row->name,
                            ql_yaml_describe(b->cx, item));
        items[i] = item->text;
    }
    return items != NULL;
}

bool
ql_build_value(ql_build *b, const char *prefix, const ql_param *row, const ql_yaml *v, void *self)
{
    ql_value value;

    if (v->kind == QL_YAML_MAP)
        return ql_wrong(b, v->place, "%s%s: got a mapping, expected a value (%s)", prefix, row->name,
                        row->help ? row->help : "");
    return value_of(b, prefix, row, v, &value) &&
           ql_build_take(b, v->place, prefix, ql_param_set(b->cx, row, &value, b->folder, self));
}

const char *
ql_build_row_text(ql_build *b, const ql_param *row, const void *self)
{
    const bool text = row->type == QL_T_STRING || row->type == QL_T_PATH;
    const char *print = text ? *(const char *const *)((const char *)self + row->offset)
                             : ql_build_text(b, ql_param_print(b->cx, row, self));

    return row->type == QL_T_LIST || (!text && strcmp(print, "null") == 0) ? NULL : print;
}

/* A list where a row takes one text, as that text: its items, parted by commas. */
static const ql_yaml *
joined(ql_build *b, const ql_param *row, const ql_yaml *v)
{
    const char *text = "";

    if (row->type != QL_T_STRING || v->kind != QL_YAML_LIST)
        return v;
    for (int64_t i = 0; i < v->count; i++) {
        if (v->items[i]->kind != QL_YAML_SCALAR)
            return v;
        text = ql_build_text(b, ql_format(b->cx, "%s%s%s", text, i ? ", " : "", v->items[i]->text));
    }
    return ql_build_scalar(b, v->place, text);
}

/* Every key of `map` that is a row of `table` into `self`; other keys, but the sections of a file, are told. */
static bool
read_keys(ql_build *b, const char *prefix, const ql_plugin *table, const ql_yaml *map, bool with_sections, void *self)
{
    bool ok = true;

    for (int64_t i = 0; i < map->count; i++) {
        const ql_yaml *key = map->keys[i];
        const ql_param *row = ql_param_find(table, key->text);
        ql_guess near = ql_guess_open(key->text);

        if (with_sections ? !row && ql_is_file_key(key->text) : strcmp(key->text, PICK) == 0)
            continue;
        if (row) {
            ok = ql_build_value(b, prefix, row, with_sections ? map->items[i] : joined(b, row, map->items[i]), self) &&
                 ok;
            continue;
        }
        ql_param_offer(&near, table->params);
        if (with_sections)
            ql_guess_offer_all(&near, ql_file_sections, 4);
        ok =
            ql_wrong(b, key->place, "%sunknown key '%s'%s", prefix, key->text,
                     ql_guess_text(b->cx, &near,
                                   with_sections ? "" : "; expected rows, columns, value, pick, compare or bootstrap"));
    }
    return ok;
}

/* --- the file ---------------------------------------------------------------------------------------------------- */

/* auto, a backend, or a backend and the number of a device: cuda:1. */
static bool
check_device(ql_build *b, const char *device)
{
    const int64_t i = ql_yaml_find(b->root, "device");
    const ql_place at = i < 0 ? b->root->place : b->root->items[i]->place;
    const char *colon = strchr(device, ':'), *name;
    const ql_found *found;

    if (strcmp(device, "auto") == 0)
        return true;
    if (!*device || (colon && (!colon[1] || colon[1 + strspn(colon + 1, "0123456789")])))
        return ql_wrong(b, at, "device: got '%s', expected auto, the name of a backend, or BACKEND:NUMBER", device);
    name = ql_build_text(b, ql_copy_text(b->cx, device, strcspn(device, ":")));
    found = ql_registry_peek(b->registry, name);
    if (!found)
        return ql_wrong(b, at, "device: there is no backend '%s'", name);
    if (found->problem)
        return ql_wrong(b, at, "device: backend '%s' can't be used: %s", name, found->problem);
    if (found->kind != QL_BACKEND)
        return ql_wrong(b, at, "device: '%s' is a %s, not a backend", name, ql_kind_name(found->kind));
    return true;
}

bool
ql_build_file(ql_build *b, const char *file, ql_file_keys *keys)
{
    const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file, *dot = strrchr(base, '.');

    ql_param_defaults(&ql_file_table, keys);
    (void)read_keys(b, "", &ql_file_table, b->root, true, keys);
    if (!ql_yaml_get(b->root, "qloom"))
        ql_wrong(b, b->root->place, "missing key 'qloom': the version of the file, " PIPELINE_VERSION);
    if (!ql_yaml_get(b->root, "stages"))
        ql_wrong(b, b->root->place, "missing key 'stages'");
    if (keys->name && !*keys->name)
        ql_wrong(b, ql_build_key_place(b, "name"), "name: got nothing, expected a text");
    if (!keys->name) /* "tiny" of "pipelines/tiny.yaml" */
        keys->name =
            ql_build_text(b, ql_copy_text(b->cx, base, dot && dot > base ? (size_t)(dot - base) : strlen(base)));
    keys->device = keys->device ? keys->device : "auto";
    b->seed = keys->seed;
    b->propagate = (ql_propagate)(keys->propagate + 1);
    return check_device(b, keys->device);
}

/* --- table: ------------------------------------------------------------------------------------------------------ */

/* Where entry `i` of a key that is one word or a list stands. */
static ql_place
entry_place(const ql_yaml *v, int64_t i)
{
    return v->kind == QL_YAML_LIST ? v->items[i]->place : v->place;
}

/* Each of `names`, which `v` gives as a list or as one word, must mean something. */
static bool
check_references(ql_build *b, const char *prefix, const ql_yaml *v, const ql_strings *names)
{
    ql_reference ref;
    bool ok = true;

    for (int64_t i = 0; i < names->count; i++)
        ok = ql_build_reference(b, entry_place(v, i), prefix, names->items[i], &ref) && ok;
    return ok;
}

static bool
check_metric(ql_build *b, ql_place place, const char *prefix, const char *text)
{
    const char *dot = strchr(text, '.');
    const ql_build_stage *s;
    ql_reference ref;

    if (!dot || dot == text || !dot[1])
        return ql_wrong(b, place, "%sexpected STAGE.METRIC, such as ppl.perplexity", prefix);
    if (!ql_build_target(b, place, prefix, text, &ref))
        return false;
    s = &b->stages[ref.stage];
    return !s->plugin || ql_kind_of(s->plugin->kind)->sink ||
           ql_wrong(b, place, "%sstage '%s' (%s) is a %s; only evaluators, trainers and exporters give metrics", prefix,
                    s->name, s->plugin->name, ql_kind_name(s->plugin->kind));
}

/* `pick: {AXIS: STAGE.METRIC}`, whose axes the matrix varies. */
static bool
read_picks(ql_build *b, const ql_yaml *v, ql_graph *g)
{
    const char **picks = v && v->kind == QL_YAML_MAP ? ql_build_alloc(b, v->count, sizeof *picks) : NULL;
    bool ok = true;

    if (!v || ql_yaml_empty(v))
        return true;
    if (v->kind != QL_YAML_MAP)
        return ql_wrong(b, v->place, "table: pick: expected a mapping such as {tune.learning_rate: tune.eval_loss}");
    for (int64_t i = 0; picks && i < v->count; i++) {
        const ql_yaml *metric = v->items[i];
        const char *axis = v->keys[i]->text;
        ql_reference ref;

        if (metric->kind != QL_YAML_SCALAR)
            return ql_wrong(b, metric->place, "table: pick: expected STAGE.METRIC, such as tune.eval_loss");
        ok = ql_build_reference(b, v->keys[i]->place, "table: pick: ", axis, &ref) &&
             check_metric(b, metric->place, "table: pick: ", metric->text) && ok;
        if (ok && ref.axis < 0)
            ok = ql_wrong(b, v->keys[i]->place, "table: pick: the matrix does not vary '%s'", axis);
        picks[i] = ql_build_text(b, ql_format(b->cx, "%s %s", axis, metric->text));
    }
    g->table.picks = picks;
    g->table.pick_count = v->count;
    return ok;
}

/* The reference of "quant.bits=4"; NULL: it is not of that form. */
static const char *
compared(ql_build *b, const char *text)
{
    const char *equal = strchr(text, '=');

    return equal && equal != text ? ql_build_text(b, ql_format(b->cx, "%.*s", (int)(equal - text), text)) : NULL;
}

static bool
check_compare(ql_build *b, const ql_yaml *v, const ql_strings *texts)
{
    bool ok = true;

    for (int64_t i = 0; i < texts->count; i++) {
        const char *reference = compared(b, texts->items[i]);
        ql_reference ref;

        if (reference)
            ok = ql_build_reference(b, entry_place(v, i), "table: compare: ", reference, &ref) && ok;
        else if (strcmp(texts->items[i], ORIGINAL) != 0 || texts->count > 1)
            ok = ql_wrong(b, entry_place(v, i),
                          "table: compare: expected AXIS=LABEL, such as quant.bits=4, or 'original' alone");
    }
    return ok;
}

bool
ql_build_compare(ql_build *b, const ql_graph *g)
{
    const ql_yaml *table = ql_yaml_get(b->root, "table"), *v = table ? ql_yaml_get(table, "compare") : NULL;
    bool ok = true;

    for (int64_t i = 0; i < g->table.compare_count; i++) {
        const char *text = g->table.compare[i], *reference = compared(b, text);
        ql_guess near = ql_guess_open(reference ? text + strlen(reference) + 1 : "");
        bool found = !reference;

        for (int64_t c = 0; c < g->cell_count && !found; c++) {
            const char *label = ql_cell_label(b->cx, g, &g->cells[c], reference);

            found = label && strcmp(label, text + strlen(reference) + 1) == 0;
            if (label)
                ql_guess_offer(&near, label);
        }
        ok = (found || ql_wrong(b, entry_place(v, i), "table: compare: no cell has that label as its %s%s", reference,
                                ql_guess_text(b->cx, &near, ""))) &&
             ok;
    }
    return ok;
}

bool
ql_build_table(ql_build *b, ql_graph *g)
{
    const ql_yaml *table = ql_yaml_get(b->root, "table");
    table_keys keys;

    if (!table || ql_yaml_empty(table))
        return true;
    if (table->kind != QL_YAML_MAP)
        return ql_wrong(
            b, table->place,
            "table: expected a mapping such as {rows: [quant.bits], columns: fix.use, value: ppl.perplexity}");
    ql_param_defaults(&table_table, &keys);
    (void)read_keys(b, "table: ", &table_table, table, false, &keys);
    (void)check_references(b, "table: rows: ", ql_yaml_get(table, "rows"), &keys.rows);
    (void)check_references(b, "table: columns: ", ql_yaml_get(table, "columns"), &keys.columns);
    (void)check_compare(b, ql_yaml_get(table, "compare"), &keys.compare);
    if (keys.value)
        (void)check_metric(b, ql_yaml_get(table, "value")->place, "table: value: ", keys.value);
    (void)read_picks(b, ql_yaml_get(table, PICK), g);
    g->table.rows = keys.rows.items;
    g->table.row_count = keys.rows.count;
    g->table.columns = keys.columns.items;
    g->table.column_count = keys.columns.count;
    g->table.value = keys.value;
    g->table.compare = keys.compare.items;
    g->table.compare_count = keys.compare.count;
    g->table.bootstrap = keys.bootstrap;
    return true;
}
