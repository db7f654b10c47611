/* Starting points for plugins: `qloom plugins --new quantizer foo`. In the templates, @NAME@ and the like are replaced. */
#include "new_plugin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <qloom/evaluator.h>

#include "base/file.h"

static const char quantizer_source[] =
    "/* @NAME@: what it does and where it was published. This start rounds to nearest, per group. */\n"
    "#include <qloom/quantizer.h>\n\n"
    "typedef struct @NAME@ {\n"
    "    int bits, group_size, scale_dtype;\n"
    "    bool sym;\n"
    "} @NAME@;\n\n"
    "static const ql_param params[] = {\n"
    "    QL_BITS(@NAME@, 4), QL_GROUP_SIZE(@NAME@, 128), QL_SYM(@NAME@, false), QL_SCALE_DTYPE(@NAME@), "
    "QL_PARAMS_END,\n"
    "};\n\n"
    "static ql_status\n"
    "quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)\n"
    "{\n"
    "    const @NAME@ *p = self;\n\n"
    "    (void)stats; /* set .needs = QL_NEEDS_STATS below to get them */\n"
    "    out->grid = (ql_grid){.bits = p->bits,\n"
    "                          .group = ql_group_columns(p->group_size, ql_dim(w, 1)),\n"
    "                          .sym = p->sym,\n"
    "                          .scale_dtype = ql_float_dtype(p->scale_dtype)};\n"
    "    QL_TRY(cx, ql_group_minmax(cx, w, &out->grid, &out->scales, &out->zeros));\n"
    "    return ql_group_encode(cx, w, out);\n"
    "}\n\n"
    "QL_PLUGIN(.kind = QL_QUANTIZER, .name = \"@NAME@\", .version = \"0.1\", .help = \"one line about @NAME@\",\n"
    "          .params = params, .self_size = sizeof(@NAME@),\n"
    "          .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize), );\n";

static const char compensator_source[] =
    "/* @NAME@: what it does and where it was published. This start keeps the largest principal directions of W - W^. "
    "*/\n"
    "#include <qloom/compensator.h>\n\n"
    "typedef struct @NAME@ {\n"
    "    int rank, adapter_dtype;\n"
    "} @NAME@;\n\n"
    "static const ql_param params[] = {QL_RANK(@NAME@, 32), QL_ADAPTER_DTYPE(@NAME@), QL_PARAMS_END};\n\n"
    "static ql_status\n"
    "compensate(ql_ctx *cx, const void *self, const ql_compensate_in *in, ql_adapter *out)\n"
    "{\n"
    "    const @NAME@ *p = self;\n"
    "    const int64_t m = ql_dim(in->w, 0), n = ql_dim(in->w, 1), most = m < n ? m : n;\n"
    "    const int64_t r = p->rank < most ? p->rank : most;\n"
    "    ql_tensor *e, *v, *comp, *values;\n\n"
    "    if (r == 0)\n"
    "        return QL_OK;\n"
    "    QL_TRY(cx, ql_convert(cx, in->w, QL_F32, &e));\n"
    "    QL_TRY(cx, ql_axpby(cx, -1, in->what, 1, e));\n"
    "    QL_TRY(cx, ql_zeros(cx, QL_F32, n, n, &v));\n"
    "    QL_TRY(cx, ql_zeros(cx, QL_F32, n, n, &comp));\n"
    "    QL_TRY(cx, ql_gram(cx, e, v, comp));\n"
    "    QL_TRY(cx, ql_new(cx, QL_F32, n, -1, &values));\n"
    "    QL_TRY(cx, ql_syevd(cx, v, values)); /* v: eigenvectors of E^T E as rows, ascending */\n"
    "    QL_TRY(cx, ql_rows(cx, v, n - r, r, &comp));\n"
    "    QL_TRY(cx, ql_convert(cx, comp, QL_F32, &out->a));\n"
    "    QL_TRY(cx, ql_new(cx, QL_F32, m, r, &out->b));\n"
    "    return ql_gemm(cx, QL_NT, 1, e, out->a, 0, out->b);\n"
    "}\n\n"
    "QL_PLUGIN(.kind = QL_COMPENSATOR, .name = \"@NAME@\", .version = \"0.1\", .help = \"one line about @NAME@\",\n"
    "          .params = params, .self_size = sizeof(@NAME@),\n"
    "          .compensator = QL_TABLE(ql_compensator, .compensate = compensate), );\n";

static const char evaluator_source[] =
    "/* @NAME@: what it measures and where it was published. This start measures the relative error of each weight. "
    "*/\n"
    "#include <math.h>\n\n"
    "#include <qloom/evaluator.h>\n\n"
    "typedef struct @NAME@ {\n"
    "    bool squared;\n"
    "} @NAME@;\n\n"
    "static const ql_param params[] = {QL_FLAG(@NAME@, squared, false, \"the square of the error\"), "
    "QL_PARAMS_END};\n\n"
    "static ql_status\n"
    "linear(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_facts *out)\n"
    "{\n"
    "    const @NAME@ *p = self;\n"
    "    ql_tensor *e;\n"
    "    double error, norm;\n\n"
    "    QL_TRY(cx, ql_convert(cx, in->w, QL_F32, &e));\n"
    "    QL_TRY(cx, ql_axpby(cx, -1, in->what, 1, e));\n"
    "    if (in->b)\n"
    "        QL_TRY(cx, ql_gemm(cx, QL_NN, -1, in->b, in->a, 1, e));\n"
    "    QL_TRY(cx, ql_dot(cx, e, e, &error));\n"
    "    QL_TRY(cx, ql_dot(cx, in->w, in->w, &norm));\n"
    "    error = norm > 0 ? error / norm : 0;\n"
    "    return ql_fact(cx, out, \"error\", NULL, p->squared ? error : sqrt(error));\n"
    "}\n\n"
    "QL_PLUGIN(.kind = QL_EVALUATOR, .name = \"@NAME@\", .version = \"0.1\", .help = \"one line about @NAME@\",\n"
    "          .params = params, .self_size = sizeof(@NAME@),\n"
    "          .evaluator = QL_TABLE(ql_evaluator, .linear = linear), );\n";

static const char cmake_file[] =
    "cmake_minimum_required(VERSION 3.20)\n"
    "project(@NAME@ C)\n\n"
    "find_package(qloom REQUIRED)\n"
    "qloom_add_plugin(@NAME@ @NAME@.c)\n\n"
    "enable_testing()\n"
    "add_test(NAME @NAME@.contract COMMAND qloom::program check-plugin $<TARGET_FILE:@NAME@>)\n";

static const char quantizer_pipeline[] = "# cmake -B build && cmake --build build && ctest --test-dir build\n"
                                         "# MODEL=folder TEXT=file.txt qloom --plugin-path build run @NAME@.yaml\n"
                                         "qloom: 1\n"
                                         "name: @NAME@\n\n"
                                         "stages:\n"
                                         "  base:  {use: auto, path: \"${MODEL}\"}\n"
                                         "  text:  {use: @DATA@, path: \"${TEXT}\", seqlen: 256}\n"
                                         "  quant: {use: @NAME@, model: $base, calib: $text}\n"
                                         "  score: {use: @STREAM@, model: $quant, data: $text}\n\n"
                                         "matrix:\n"
                                         "  quant.bits: [2, 3, 4]\n";

static const char compensator_pipeline[] = "# cmake -B build && cmake --build build && ctest --test-dir build\n"
                                           "# MODEL=folder TEXT=file.txt qloom --plugin-path build run @NAME@.yaml\n"
                                           "qloom: 1\n"
                                           "name: @NAME@\n\n"
                                           "stages:\n"
                                           "  base:  {use: auto, path: \"${MODEL}\"}\n"
                                           "  text:  {use: @DATA@, path: \"${TEXT}\", seqlen: 256}\n"
                                           "  quant: {use: @QUANTIZER@, model: $base, calib: $text, bits: 3}\n"
                                           "  fix:   {use: @NAME@, model: $quant, calib: $text}\n"
                                           "  score: {use: @STREAM@, model: $fix, data: $text}\n\n"
                                           "matrix:\n"
                                           "  fix.rank: [0, 8, 32]\n";

static const char evaluator_pipeline[] = "# cmake -B build && cmake --build build && ctest --test-dir build\n"
                                         "# MODEL=folder TEXT=file.txt qloom --plugin-path build run @NAME@.yaml\n"
                                         "qloom: 1\n"
                                         "name: @NAME@\n\n"
                                         "stages:\n"
                                         "  base:  {use: auto, path: \"${MODEL}\"}\n"
                                         "  text:  {use: @DATA@, path: \"${TEXT}\", seqlen: 256}\n"
                                         "  quant: {use: @QUANTIZER@, model: $base, calib: $text}\n"
                                         "  score: {use: @NAME@, model: $quant}\n\n"
                                         "matrix:\n"
                                         "  quant.bits: [2, 3, 4]\n";

typedef struct template
{
    const char *kind, *source, *pipeline;
}
template;

static const template templates[] = {
    {"quantizer", quantizer_source, quantizer_pipeline},
    {"compensator", compensator_source, compensator_pipeline},
    {"evaluator", evaluator_source, evaluator_pipeline},
};

typedef struct replacement {
    const char *mark, *text;
} replacement;

/* The first plugin of a kind that runs without statistics and parameters (data has the path that templates give it), and on
 * a stream where it evaluates; the kind's name where there is none. */
static const char *
partner(const ql_registry *r, ql_kind kind)
{
    for (int64_t i = 0; i < ql_registry_count(r); i++) {
        const ql_plugin *p = ql_registry_item(r, i)->plugin;

        if (!p || p->kind != kind || (kind == QL_QUANTIZER && p->quantizer->needs & QL_NEEDS_STATS) ||
            (kind == QL_EVALUATOR && !p->evaluator->chunk) || (kind != QL_DATA && ql_param_any_required(p)))
            continue;
        return p->name;
    }
    return ql_kind_name(kind);
}

/* `text` with every mark of `with`, which ends with a NULL mark, replaced. */
static const char *
fill(ql_ctx *cx, const char *text, const replacement *with)
{
    for (; with->mark && text; with++) {
        const char *at;

        while (text && (at = strstr(text, with->mark)))
            text = ql_format(cx, "%.*s%s%s", (int)(at - text), text, with->text, at + strlen(with->mark));
    }
    return text;
}

static ql_status
write_file(ql_ctx *cx, const char *path, const char *text, const replacement *with)
{
    const char *filled = fill(cx, text, with);

    return path && filled ? ql_file_write(cx, path, filled, strlen(filled)) : QL_MEMORY;
}

static ql_status
check_name(ql_ctx *cx, const ql_registry *r, const char *name)
{
    const ql_found *taken = ql_registry_find(r, name);

    if (!*name || strchr("0123456789_", *name) || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")])
        return QL_FAIL(cx, QL_INVALID, "'%s' can't be a plugin's name: expected lower case letters, digits and _",
                       name);
    if (taken)
        return QL_FAIL(cx, QL_INVALID, "the name '%s' is taken by %s", name, taken->file);
    return QL_OK;
}

ql_status
ql_plugin_scaffold(ql_ctx *cx, const ql_registry *r, const char *kind, const char *name)
{
    const replacement with[] = {
        {"@NAME@", name},
        {"@DATA@", partner(r, QL_DATA)},
        {"@STREAM@", partner(r, QL_EVALUATOR)},
        {"@QUANTIZER@", partner(r, QL_QUANTIZER)},
        {NULL, NULL},
    };
    const template *t = NULL;

    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++)
        if (strcmp(templates[i].kind, kind) == 0)
            t = &templates[i];
    if (!t)
        return QL_FAIL(cx, QL_INVALID, "--new: got '%s', expected quantizer, compensator or evaluator", kind);
    QL_TRY(cx, check_name(cx, r, name));
    if (mkdir(name, 0777) != 0)
        return QL_FAIL(cx, errno == EEXIST ? QL_INVALID : QL_IO, "can't make the folder '%s': %s", name,
                       strerror(errno));
    QL_TRY(cx, write_file(cx, ql_format(cx, "%s/%s.c", name, name), t->source, with));
    QL_TRY(cx, write_file(cx, ql_format(cx, "%s/CMakeLists.txt", name), cmake_file, with));
    QL_TRY(cx, write_file(cx, ql_format(cx, "%s/%s.yaml", name, name), t->pipeline, with));
    printf("%s/%s.c\n%s/CMakeLists.txt\n%s/%s.yaml\n", name, name, name, name, name);
    return QL_OK;
}
