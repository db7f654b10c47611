/* The keys of a pipeline file that are no stages: version, device, seed, memory and their kind. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build.h"

#define CHUNK_TOKENS 8192
#define CHUNK_TOKENS_MAX (1 << 24)
#define PIPELINE_VERSION "1"

const char *const ql_top_keys[] = {
    "qloom",     "name",         "device",   "compute", "seed",   "memory",  "cache", "cache_limit",
    "propagate", "chunk_tokens", "baseline", "stages",  "matrix", "exclude", "table", NULL};

ql_place
ql_build_key_place(const ql_build *b, const char *key)
{
    const int64_t i = ql_yaml_find(b->root, key);

    return i < 0 ? b->root->place : b->root->keys[i]->place;
}

static void
expected(ql_build *b, const char *key, const ql_yaml *v, const char *what)
{
    const char *got = ql_yaml_describe(b->cx, v);

    ql_problem_add(b->cx, &b->problems, v->place, "%s: got %s, expected %s", key, got ? got : "", what);
}

/* A whole number without sign; false: it is none, or does not fit. */
static bool
parse_number(const char *text, size_t bytes, uint64_t *out)
{
    uint64_t n = 0;

    for (size_t i = 0; i < bytes; i++) {
        const unsigned digit = (unsigned)(unsigned char)text[i] - '0';

        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return bytes > 0;
}

static bool
is_plain(const ql_yaml *v)
{
    return v->kind == QL_YAML_SCALAR && !v->quoted;
}

bool
ql_build_seed(ql_build *b, const ql_yaml *v, uint64_t *out)
{
    if (is_plain(v) && parse_number(v->text, strlen(v->text), out))
        return true;
    expected(b, "seed", v, "a whole number from 0 to 18446744073709551615");
    return false;
}

bool
ql_build_propagate(ql_build *b, const ql_yaml *v, const char *prefix, ql_propagate *out)
{
    static const char *const words[] = {NULL, "original", "quantized", "compensated"};
    const char *got = ql_yaml_describe(b->cx, v);

    for (int i = QL_ORIGINAL; v->kind == QL_YAML_SCALAR && i <= QL_COMPENSATED; i++)
        if (strcmp(v->text, words[i]) == 0) {
            *out = (ql_propagate)i;
            return true;
        }
    ql_problem_add(
        b->cx, &b->problems, v->place,
        "%spropagate: got %s, expected original, quantized or compensated (through which model the statistics come)",
        prefix, got ? got : "");
    return false;
}

/* Bytes, or a whole number of KiB, MiB, GiB or TiB. */
static bool
parse_bytes(const char *text, uint64_t *out)
{
    static const struct {
        const char *unit;
        int shift;
    } units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    const size_t digits = strspn(text, "0123456789");
    uint64_t n;

    if (!parse_number(text, digits, &n))
        return false;
    text += digits;
    text += *text == ' ';
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(text, units[i].unit) == 0 && n <= UINT64_MAX >> units[i].shift) {
            *out = n << units[i].shift;
            return true;
        }
    return false;
}

static void
read_bytes(ql_build *b, const char *key, const ql_yaml *v, uint64_t *out)
{
    if (v->kind != QL_YAML_SCALAR || !parse_bytes(v->text, out))
        expected(b, key, v, "bytes, or a whole number with KiB, MiB, GiB or TiB");
}

/* auto, a backend, or a backend and the number of a device: cuda:1. */
static ql_status
read_device(ql_build *b, const ql_yaml *v, const char **out)
{
    const char *colon = v->kind == QL_YAML_SCALAR ? strchr(v->text, ':') : NULL, *name;
    const ql_found *found;
    uint64_t number;

    if (v->kind != QL_YAML_SCALAR || !*v->text || (colon && !parse_number(colon + 1, strlen(colon + 1), &number))) {
        expected(b, "device", v, "auto, the name of a backend, or BACKEND:NUMBER");
        return QL_OK;
    }
    *out = v->text;
    if (strcmp(v->text, "auto") == 0)
        return QL_OK;
    name = ql_copy_text(b->cx, v->text, colon ? (size_t)(colon - v->text) : strlen(v->text));
    if (!name)
        return QL_MEMORY;
    found = ql_registry_find(b->registry, name);
    if (!found)
        ql_problem_add(b->cx, &b->problems, v->place, "device: there is no backend '%s'", name);
    else if (!found->plugin)
        ql_problem_add(b->cx, &b->problems, v->place, "device: backend '%s' can't be used: %s", name, found->problem);
    else if (found->plugin->kind != QL_BACKEND)
        ql_problem_add(b->cx, &b->problems, v->place, "device: '%s' is a %s, not a backend", name,
                       ql_kind_name(found->plugin->kind));
    return QL_OK;
}

static ql_dtype
compute_dtype(const ql_yaml *v)
{
    for (int i = 0; v->kind == QL_YAML_SCALAR && ql_scale_dtypes[i]; i++)
        if (strcmp(v->text, ql_scale_dtypes[i]) == 0)
            return ql_float_dtype(i);
    return QL_DTYPE_NONE;
}

static ql_status
read_value(ql_build *b, const char *key, const ql_yaml *v, ql_graph *g)
{
    uint64_t n;

    if (strcmp(key, "qloom") == 0) {
        if (v->kind != QL_YAML_SCALAR || strcmp(v->text, PIPELINE_VERSION) != 0)
            expected(b, key, v, PIPELINE_VERSION ", the version of pipeline files that this program reads");
    } else if (strcmp(key, "name") == 0) {
        if (v->kind == QL_YAML_SCALAR && *v->text)
            g->name = v->text;
        else
            expected(b, key, v, "a text");
    } else if (strcmp(key, "device") == 0) {
        return read_device(b, v, &g->device);
    } else if (strcmp(key, "compute") == 0) {
        g->compute = compute_dtype(v);
        if (g->compute == QL_DTYPE_NONE)
            expected(b, key, v, "fp32, bf16 or fp16 (of activations and weights; without the key the device chooses)");
    } else if (strcmp(key, "seed") == 0) {
        (void)ql_build_seed(b, v, &g->seed);
    } else if (strcmp(key, "memory") == 0) {
        read_bytes(b, key, v, &g->memory);
    } else if (strcmp(key, "cache_limit") == 0) {
        read_bytes(b, key, v, &g->cache_limit);
    } else if (strcmp(key, "cache") == 0) {
        if (v->kind != QL_YAML_SCALAR || !*v->text)
            expected(b, key, v, "a folder");
        else if (!(g->cache = v->text[0] == '/' ? v->text : ql_format(b->cx, "%s/%s", b->folder, v->text)))
            return QL_MEMORY;
    } else if (strcmp(key, "propagate") == 0) {
        (void)ql_build_propagate(b, v, "", &b->propagate);
    } else if (strcmp(key, "chunk_tokens") == 0) {
        if (is_plain(v) && parse_number(v->text, strlen(v->text), &n) && n >= 1 && n <= CHUNK_TOKENS_MAX)
            g->chunk_tokens = (int64_t)n;
        else
            expected(b, key, v, "a whole number from 1 to 16777216 (tokens that go through a block together, at most)");
    } else if (strcmp(key, "baseline") == 0) {
        if (is_plain(v) && (strcmp(v->text, "true") == 0 || strcmp(v->text, "false") == 0))
            g->baseline = v->text[0] == 't';
        else
            expected(b, key, v, "true or false (evaluate the original model too)");
    }
    return QL_OK;
}

/* "tiny" of "pipelines/tiny.yaml". */
static const char *
name_of_file(ql_ctx *cx, const char *file)
{
    const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file, *dot = strrchr(base, '.');

    return ql_copy_text(cx, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

static void
unknown_key(ql_build *b, const ql_yaml *key)
{
    int64_t count = 0;
    const char *near;

    while (ql_top_keys[count])
        count++;
    near = ql_nearest(key->text, ql_top_keys, count);
    ql_problem_add(b->cx, &b->problems, key->place, "unknown key '%s'%s%s%s", key->text, near ? " (did you mean '" : "",
                   near ? near : "", near ? "'?)" : "");
}

static bool
is_known(const char *key)
{
    for (const char *const *k = ql_top_keys; *k; k++)
        if (strcmp(*k, key) == 0)
            return true;
    return false;
}

ql_status
ql_build_top(ql_build *b, ql_graph *g)
{
    const ql_place top = b->root->place;

    g->name = name_of_file(b->cx, g->file);
    g->device = "auto";
    g->chunk_tokens = CHUNK_TOKENS;
    g->baseline = true;
    if (!g->name)
        return QL_MEMORY;
    for (int64_t i = 0; i < b->root->count; i++) {
        if (is_known(b->root->keys[i]->text))
            QL_TRY(b->cx, read_value(b, b->root->keys[i]->text, b->root->items[i], g));
        else
            unknown_key(b, b->root->keys[i]);
    }
    if (!ql_yaml_get(b->root, "qloom"))
        ql_problem_add(b->cx, &b->problems, top, "missing key 'qloom': the version of the file, " PIPELINE_VERSION);
    if (!ql_yaml_get(b->root, "stages"))
        ql_problem_add(b->cx, &b->problems, top, "missing key 'stages'");
    return b->problems.failed;
}
