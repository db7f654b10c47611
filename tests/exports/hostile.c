/* Checkpoints that lie: every change of a good one's file is either refused with a text or read without harm. */
#define _GNU_SOURCE /* memmem */
#include "core/model/block.h"
#include "core/tensor/safetensors.h"
#include "tests/device.h"
#include "tests/exports/exports.h"

static unsigned char *file;
static size_t file_bytes;

typedef struct reader { /* of models, without a walk */
    ql_ctx cx;
    ql_scope scope;
    ql_registry *registry;
    ql_log sink;
    walk_log log;
} reader;

/* Opens the checkpoint and loads every block, as a walk would. */
static ql_status
load(reader *t, const char *folder)
{
    ql_model_handle m = {0};
    ql_scope scope;
    ql_block *b;
    ql_status st;

    ql_scope_open(&t->cx, &scope);
    st = ql_model_open(&t->cx, t->registry, NULL, NULL, folder, &m);
    for (int64_t i = 0; st == QL_OK && i < m.info.layers; i++) {
        st = ql_block_open(&t->cx, &m, i, &b);
        if (st == QL_OK)
            ql_block_close(b);
    }
    ql_model_close(&m);
    ql_scope_close(&t->cx, &scope);
    return st;
}

static void
put(reader *t, const char *folder, const void *data, size_t bytes)
{
    REQUIRE_OK(&t->cx, ql_file_write(&t->cx, ql_format(&t->cx, "%s/model.safetensors", folder), data, bytes));
}

/* The file with `from` in its header replaced by `to`, of the same length. */
static void
renamed(reader *t, const char *folder, const char *from, const char *to, const char *expected)
{
    unsigned char *copy = ql_alloc(&t->cx, file_bytes, 1), *at;

    memcpy(copy, file, file_bytes);
    at = memmem(copy, file_bytes, from, strlen(from));
    if (!at || strlen(from) != strlen(to)) {
        TEST_FAIL("the header has no %s", from);
        return;
    }
    memcpy(at, to, strlen(to));
    put(t, folder, copy, file_bytes);
    CHECK_ERROR(&t->cx, load(t, folder), QL_INVALID, expected);
}

/* The file with `count` elements of an integer tensor, from element `i` on, set. */
static void
flooded(reader *t, const char *folder, const char *tensor, int64_t i, int64_t count, int32_t value,
        const char *expected)
{
    unsigned char *copy = ql_alloc(&t->cx, file_bytes, 1);
    ql_st_file f;
    const ql_st_tensor *found;

    memcpy(copy, file, file_bytes);
    REQUIRE_OK(&t->cx, ql_st_parse(&t->cx, "test", copy, file_bytes, &f));
    found = ql_st_find(&f, tensor);
    for (int64_t end = i + count; i < end; i++)
        memcpy(copy + found->begin + 4 * i, &value, sizeof value);
    put(t, folder, copy, file_bytes);
    CHECK_ERROR(&t->cx, load(t, folder), QL_INVALID, expected);
}

static void
test_lies(reader *t, const char *folder)
{
    flooded(t, folder, "model.layers.1.mlp.down_proj.g_idx", 5, 1, 3,
            "model.layers.1.mlp.down_proj: g_idx: column 5 is in group 3, expected 0 to 2");
    flooded(t, folder, "model.layers.1.mlp.down_proj.g_idx", 5, 1, -1,
            "model.layers.1.mlp.down_proj: g_idx: column 5 is in group -1, expected 0 to 2");
    flooded(t, folder, "model.layers.1.mlp.down_proj.g_idx", 0, 96, 0,
            "model.layers.1.mlp.down_proj: g_idx: it is all zero, although there are 3 groups and desc_act is false");
    flooded(t, folder, "model.layers.1.mlp.down_proj.g_idx", 0, 96, 2,
            "model.layers.1.mlp.down_proj: g_idx: no column is in group 0 of 3");
    renamed(t, folder, "0.mlp.up_proj.scales\":{\"dtype\":\"F16\",\"shape\":[2,96]",
            "0.mlp.up_proj.scales\":{\"dtype\":\"F16\",\"shape\":[96,2]",
            "model.layers.0.mlp.up_proj: scales: expected [groups, 96]");
    renamed(t, folder, "0.mlp.up_proj.qweight\":{\"dtype\":\"I32\",\"shape\":[6,96]",
            "0.mlp.up_proj.qweight\":{\"dtype\":\"I32\",\"shape\":[96,6]",
            "model.layers.0.mlp.up_proj: qweight: expected [64 * bits / 32, 96]");
    renamed(t, folder, "0.mlp.up_proj.qzeros\":{\"dtype\":\"I32\"", "0.mlp.up_proj.qzeros\":{\"dtype\":\"F32\"",
            "model.layers.0.mlp.up_proj.qzeros: expected dtype i32, the file has f32");
}

/* Truncated anywhere, and with random bytes anywhere: no crash; the sanitizers see the rest. */
static void
test_noise(reader *t, const char *folder, uint64_t *rng)
{
    uint64_t header = 0;
    int refused = 0;

    memcpy(&header, file, 8);
    for (int round = 0; round < 60; round++) {
        unsigned char *copy = malloc(file_bytes);
        const size_t kept = round % 3 == 0 ? test_u64(rng) % file_bytes : file_bytes;
        const size_t room = round % 3 == 1 ? (size_t)header + 8 : file_bytes;

        if (!copy)
            abort();
        memcpy(copy, file, file_bytes);
        for (int i = 0; i < 8; i++)
            copy[test_u64(rng) % room] = (unsigned char)test_u64(rng);
        put(t, folder, copy, kept);
        refused += load(t, folder) != QL_OK;
        free(copy);
    }
    printf("%d of 60 files refused\n", refused);
    CHECK(refused >= 20); /* every truncated one */
}

/* The zero points tell the version where the label lies. */
static void
test_label(reader *t, const char *folder)
{
    put(t, folder, file, file_bytes);
    CHECK_INT(system(ql_format(&t->cx, "sed -i s/gptq_v2/gptq/ %s/config.json", folder)), 0);
    t->log.used = 0;
    CHECK_OK(&t->cx, load(t, folder));
    if (!strstr(t->log.text,
                "config.json: zero points are of version 2, which is taken, not of version 1 as the label says"))
        TEST_FAIL("no warning in the log: %s", t->log.text);
}

/* A configuration of compressed-tensors that means something else than its tensors, or than what can be read. */
static void
test_compressed(reader *t, const char *folder)
{
    static const struct {
        const char *from, *to, *expected;
    } rows[] = {
        {"pack-quantized", "marlin-24",
         "expected 8-bit floats, got int of 3 bits: of compressed-tensors FP8 and pack-quantized are read"},
        {"\"compressed\"", "\"frozen\"", "'quantization_status': expected \"compressed\", got \"frozen\""},
        {"\"int\"", "\"float\"", "'type': expected \"int\", got \"float\""},
        {"\"Linear\"", "\"re:.*q_proj\"", "no group names this linear, in full or as one of all (\"Linear\")"},
        {"\"num_bits\": 3", "\"num_bits\": 4", "model.layers.0.self_attn.q_proj.weight_packed"},
        {"\"num_bits\": 3", "\"num_bits\": 9", "'num_bits': expected 2 to 8, got 9"},
        {"\"group_size\": 32", "\"group_size\": 48", "'group_size': 48 does not divide the"},
        {"\"group_size\": 32", "\"group_size\": 16", "model.layers.0.self_attn.q_proj.weight_scale"},
        {"\"symmetric\": false", "\"symmetric\": 3", "weights.symmetric': expected true or false, got 3"},
        {"\"strategy\": \"group\"", "\"strategy\": \"block\"", "'strategy': expected \"group\" or \"channel\""},
        {"\"actorder\": null", "\"actorder\": \"group\"", "'dynamic' and 'actorder' can't be read"},
        {"\"input_activations\": null", "\"input_activations\": {\"num_bits\": 8}", "'input_activations' is set"},
        {"\"compressed-tensors\"", "\"awq\"",
         "'quantization_config.quant_method': expected \"gptq\", \"fp8\" or "
         "\"compressed-tensors\", got \"awq\""},
    };
    const char *path = ql_format(&t->cx, "%s/config.json", folder), *text;
    size_t bytes;

    REQUIRE_OK(&t->cx, ql_file_read(&t->cx, path, QL_FILE_MOST, &text, &bytes));
    CHECK_OK(&t->cx, load(t, folder));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *at = strstr(text, rows[i].from);
        const char *wrong =
            at ? ql_format(&t->cx, "%.*s%s%s", (int)(at - text), text, rows[i].to, at + strlen(rows[i].from)) : NULL;

        if (!wrong) {
            TEST_FAIL("the configuration has no %s", rows[i].from);
            continue;
        }
        REQUIRE_OK(&t->cx, ql_file_write(&t->cx, path, wrong, strlen(wrong)));
        if (load(t, folder) == QL_OK)
            TEST_FAIL("%s is read", rows[i].to);
        else if (!strstr(ql_error(&t->cx), rows[i].expected))
            TEST_FAIL("%s: got %s, expected %s", rows[i].to, ql_error(&t->cx), rows[i].expected);
    }
}

static void
reader_open(reader *r)
{
    ql_ctx *cx = &r->cx;

    r->sink = (ql_log){.write = walk_write, .user = &r->log};
    ql_ctx_init(cx, &r->sink);
    ql_scope_open(cx, &r->scope);
    REQUIRE_OK(cx, ql_registry_open(cx, ql_format(cx, "%s/lib/qloom", getenv("QLOOM_BUILD")), &r->registry));
    (void)test_device(cx, 1);
}

static void
reader_close(reader *r)
{
    CHECK_INT((int64_t)r->cx.device->used, 0);
    ql_device_close(r->cx.device);
    ql_ctx_fini(&r->cx);
    ql_registry_close(r->registry);
}

int
main(void)
{
    uint64_t rng = test_seed();
    const char *folder, *data;
    static walk_test t;
    static reader r;

    walk_open(&t);
    folder = walk_format(&t, "%s/ckpt", t.folder);
    export_run(&t, walk_format(&t,
                               "qloom: 1\nname: h\nstages:\n  base: {use: auto, path: %s}\n"
                               "  quant: {use: rtn, model: $base, bits: 3, group_size: 32, sym: true}\n"
                               "  other: {use: rtn, model: $base, bits: 3, group_size: 32, sym: false}\n"
                               "  ckpt: {use: gptq_checkpoint, model: $quant, version: v2, path: %s}\n"
                               "  packed: {use: compressed_tensors, model: $other, path: %s/packed}\n",
                               export_model(&t, "llama", rng), folder, t.folder));
    reader_open(&r);
    REQUIRE_OK(&r.cx,
               ql_file_read(&r.cx, ql_format(&r.cx, "%s/model.safetensors", folder), QL_FILE_MOST, &data, &file_bytes));
    file = (unsigned char *)data;
    test_lies(&r, folder);
    test_noise(&r, folder, &rng);
    test_label(&r, folder);
    test_compressed(&r, walk_format(&t, "%s/packed", t.folder));
    reader_close(&r);
    return walk_close(&t);
}
