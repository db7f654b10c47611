/* Plugins of tests that train: token ids and targets as a golden file has them, and the adapter of a PEFT folder as a compensator leaves
 * one. */
#ifndef QLOOM_TESTS_GOLDEN_PLUGINS_H
#define QLOOM_TESTS_GOLDEN_PLUGINS_H

#include <qloom/compensator.h>
#include <qloom/data.h>

#include "core/base/json.h"
#include "core/tensor/safetensors.h"

typedef struct golden_ids {
    const char *path;
    int part;
} golden_ids;

static const char *const golden_parts[] = {"full", "ragged", "eval", NULL};
static const ql_param golden_ids_rows[] = {
    QL_PATH(golden_ids, path, true, "data.json"),
    QL_ENUM(golden_ids, part, 0, golden_parts, "which sequences"),
    QL_PARAMS_END,
};

/* Labels of -100 are no targets. */
static ql_status
golden_read(ql_ctx *cx, const void *self, const ql_data_request *req, ql_tokens *out)
{
    const golden_ids *p = self;
    const ql_json *root, *ids, *labels;
    int64_t *offsets, count = 0;
    unsigned char *scored;
    int32_t *all;

    (void)req;
    QL_TRY(cx, ql_json_read(cx, p->path, &root));
    ids = ql_json_member(root, golden_parts[p->part]);
    labels = p->part == 1 ? ql_json_member(root, "ragged_labels") : NULL;
    offsets = ql_alloc(cx, (size_t)ql_json_length(ids) + 1, sizeof *offsets);
    for (int64_t s = 0; s < ql_json_length(ids); s++)
        offsets[s + 1] = offsets[s] + ql_json_length(ql_json_item(ids, s));
    all = ql_alloc(cx, (size_t)offsets[ql_json_length(ids)], sizeof *all);
    scored = ql_alloc(cx, (size_t)offsets[ql_json_length(ids)], 1);
    for (int64_t s = 0; s < ql_json_length(ids); s++)
        for (int64_t i = 0; i < ql_json_length(ql_json_item(ids, s)); i++) {
            int64_t id, label = 0;

            if (!ql_json_as_int(ql_json_item(ql_json_item(ids, s), i), &id) ||
                (labels && !ql_json_as_int(ql_json_item(ql_json_item(labels, s), i), &label)))
                return QL_FAIL(cx, QL_INVALID, "no ids");
            scored[count] = i > 0 && label != -100;
            all[count++] = (int32_t)id;
        }
    *out = (ql_tokens){.count = ql_json_length(ids), .offsets = offsets, .ids = all, .bos_id = -1};
    out->scored = labels ? scored : NULL;
    return QL_OK;
}

typedef struct golden_adapter {
    const char *path;
    int k, adapter_dtype;
    double scale;
} golden_adapter;

static const ql_param golden_adapter_rows[] = {
    QL_PATH(golden_adapter, path, true, "a PEFT folder"),
    QL_NUM(golden_adapter, k, 0, 0, 64, "components that count as preserved"),
    QL_NUM(golden_adapter, scale, 2, 0, 64, "lora_alpha / r"),
    QL_ADAPTER_DTYPE(golden_adapter),
    QL_PARAMS_END,
};

static ql_status
golden_tensor(ql_ctx *cx, const ql_st_file *f, const char *part, ql_tensor **out)
{
    const ql_st_tensor *t = ql_st_find(f, ql_format(cx, "base_model.model.%s.%s.weight", ql_linear_name(cx), part));
    float *copy;

    if (!t)
        return QL_FAIL(cx, QL_NOT_FOUND, "no %s of %s", part, ql_linear_name(cx));
    copy = ql_alloc(cx, 1, t->bytes);
    memcpy(copy, ql_st_data(t), t->bytes);
    return ql_upload(cx, QL_F32, t->dims[0], t->dims[1], copy, out);
}

static ql_status
golden_compensate(ql_ctx *cx, const void *self, const ql_compensate_in *in, ql_adapter *out)
{
    const golden_adapter *p = self;
    ql_st_file f;
    ql_status st;

    (void)in;
    QL_TRY(cx, ql_st_open(cx, ql_format(cx, "%s/adapter_model.safetensors", p->path), &f));
    st = golden_tensor(cx, &f, "lora_A", &out->a);
    if (st == QL_OK)
        st = golden_tensor(cx, &f, "lora_B", &out->b);
    if (st == QL_OK)
        st = ql_axpby(cx, p->scale, out->b, 0, out->b);
    out->k = p->k;
    ql_st_close(&f);
    return st;
}

#define GOLDEN_PLUGIN .abi_major = QL_ABI_MAJOR, .abi_minor = QL_ABI_MINOR, .size = sizeof(ql_plugin), .version = "1.0"
static const ql_plugin golden_ids_plugin = {GOLDEN_PLUGIN,
                                            .kind = QL_DATA,
                                            .name = "golden_ids",
                                            .help = "token ids of a golden file",
                                            .params = golden_ids_rows,
                                            .self_size = sizeof(golden_ids),
                                            .data = QL_TABLE(ql_data, .read = golden_read)};
static const ql_plugin golden_adapter_plugin = {GOLDEN_PLUGIN,
                                                .kind = QL_COMPENSATOR,
                                                .name = "golden_adapter",
                                                .help = "the adapter of a PEFT folder",
                                                .params = golden_adapter_rows,
                                                .self_size = sizeof(golden_adapter),
                                                .compensator =
                                                    QL_TABLE(ql_compensator, .compensate = golden_compensate)};
static const ql_plugin *const golden_plugins[] = {&golden_ids_plugin, &golden_adapter_plugin, NULL};

#endif
