/* Files of an export: shards with their index, what is put aside and replaced, and a config with members set and left out. */
#include "core/base/file.h"
#include "core/base/json.h"
#include "export/export_inside.h"
#include "core/results/facts.h"
#include "test.h"

#include <unistd.h>

typedef struct bench {
    ql_ctx cx;
    ql_scope scope;
    ql_registry *registry;
    ql_model_handle model;
    char folder[64];
} bench;

static void
bench_open(bench *b)
{
    const char *build = getenv("QLOOM_BUILD"), *source = getenv("QLOOM_SOURCE");

    memset(b, 0, sizeof *b);
    ql_ctx_init(&b->cx, NULL);
    ql_scope_open(&b->cx, &b->scope);
    REQUIRE_OK(&b->cx, ql_registry_open(&b->cx, ql_format(&b->cx, "%s/lib/qloom", build ? build : "build/release"),
                                        &b->registry));
    REQUIRE_OK(&b->cx, ql_model_open(&b->cx, b->registry, NULL, NULL,
                                     ql_format(&b->cx, "%s/examples/tiny-qwen3", source ? source : "."), &b->model));
    strcpy(b->folder, "/tmp/qloom-export-XXXXXX");
    if (!mkdtemp(b->folder))
        abort();
}

/* Every linear's weight as the model's files have it. */
static void
add_weights(bench *b, ql_export *x)
{
    const ql_model_info *info = &b->model.info;

    for (int64_t i = 0; i < info->layers; i++)
        for (int l = 0; l < info->linear_count; l++) {
            const char *prefix = ql_format(&b->cx, info->block_prefix, (long long)i);
            const ql_st_tensor *t =
                ql_source_find(b->model.source, ql_format(&b->cx, "%s%s.weight", prefix, info->linears[l].name));
            const ql_export_tensor entry = {t->name, ql_st_dtype_device(t->dtype), 2, {t->dims[0], t->dims[1]}};

            REQUIRE_OK(&b->cx, ql_export_add(&b->cx, x, &entry, ql_st_data(t)));
        }
}

/* A model cut into shards is the model, for the reader that everything else is read with. */
static void
test_shards(bench *b, uint64_t shard, int files)
{
    const char *folder = ql_format(&b->cx, "%s/%d/deep", b->folder, files);
    ql_facts metrics = {0};
    ql_source *src;
    ql_export *x;

    REQUIRE_OK(&b->cx, ql_export_open(&b->cx, folder, &b->model, &x));
    x->shard = shard;
    add_weights(b, x);
    CHECK_OK(&b->cx, ql_export_rest(&b->cx, x));
    CHECK_OK(&b->cx, ql_export_save(&b->cx, x, "model", NULL, 0));
    CHECK_OK(&b->cx, ql_export_config(&b->cx, x, NULL, 0));
    CHECK_OK(&b->cx, ql_export_finish(&b->cx, x, "none", &metrics));
    CHECK_OK(&b->cx, ql_export_place(&b->cx, x));
    CHECK_INT(x->file_count, files + (files > 1) + 4); /* an index, config and tokenizer */
    CHECK_INT(ql_export_count(x), 0);
    ql_export_close(&b->cx, x);
    ql_facts_fini(&metrics);

    REQUIRE_OK(&b->cx, ql_source_open(&b->cx, folder, &src));
    CHECK_INT(ql_source_count(src), ql_source_count(b->model.source));
    for (int64_t i = 0; i < ql_source_count(src); i++) {
        const ql_st_tensor *mine = ql_source_item(src, i);

        CHECK(ql_source_equal(mine, ql_source_find(b->model.source, mine->name)));
    }
    ql_source_close(src);
}

static void
test_aside(bench *b)
{
    const float small[] = {1, 2}, wide[] = {1, 2, 0, 3, 4, 0};
    const ql_export_tensor t = {"t", QL_F32, 2, {1, 2}};
    const void *data;
    ql_export *x;

    REQUIRE_OK(&b->cx, ql_export_open(&b->cx, ql_format(&b->cx, "%s/aside", b->folder), &b->model, &x));
    CHECK_OK(&b->cx, ql_export_add(&b->cx, x, &t, small));
    CHECK_OK(&b->cx, ql_export_read(&b->cx, x, 0, &data));
    CHECK(memcmp(data, small, sizeof small) == 0);
    CHECK_OK(&b->cx, ql_export_replace(&b->cx, x, 0, (const int64_t[]){2, 3}, wide));
    CHECK_INT(ql_export_count(x), 1);
    CHECK_INT(ql_export_item(x, 0)->dims[1], 3);
    CHECK_OK(&b->cx, ql_export_read(&b->cx, x, 0, &data));
    CHECK(memcmp(data, wide, sizeof wide) == 0);
    ql_export_close(&b->cx, x);
}

static void
test_config(bench *b)
{
    const ql_export_pair members[] = {
        {"torch_dtype", "\"float16\""}, {"rope_scaling", NULL}, {"extra", "{\n  \"a\": 1\n}"}};
    const char *folder = ql_format(&b->cx, "%s/config", b->folder), *text, *word;
    const ql_json *config;
    ql_facts facts = {0};
    ql_export *x;
    size_t bytes;
    double eps;

    REQUIRE_OK(&b->cx, ql_export_open(&b->cx, folder, &b->model, &x));
    CHECK_OK(&b->cx, ql_export_config(&b->cx, x, members, 3));
    CHECK(access(folder, F_OK) != 0); /* it appears at the end */
    CHECK_OK(&b->cx, ql_export_finish(&b->cx, x, "none", &facts));
    CHECK_OK(&b->cx, ql_export_place(&b->cx, x));
    ql_export_close(&b->cx, x);
    ql_facts_fini(&facts);
    REQUIRE_OK(&b->cx, ql_file_read(&b->cx, ql_format(&b->cx, "%s/config.json", folder), QL_FILE_MOST, &text, &bytes));
    REQUIRE_OK(
        &b->cx,
        ql_json_parse(&b->cx, &(ql_json_input){.file = "config", .text = text, .bytes = bytes, .depth = 8}, &config));
    CHECK_INT(ql_json_members(config), ql_json_members(ql_source_config(b->model.source)));
    CHECK_OK(&b->cx, ql_json_text(&b->cx, config, "torch_dtype", NULL, &word));
    CHECK_STR(word, "float16");
    CHECK_OK(&b->cx, ql_json_real(&b->cx, config, "rms_norm_eps", 0, &eps));
    CHECK_NEAR(eps, 1e-6, 0);
    CHECK(!strstr(text, "rope_scaling"));
    CHECK(strstr(text, "  \"extra\": {\n    \"a\": 1\n  }\n}\n") != NULL);
}

static void
put(bench *b, const char *folder, const char *file)
{
    CHECK_OK(&b->cx, ql_make_folders(&b->cx, folder));
    CHECK_OK(&b->cx, ql_file_write(&b->cx, ql_format(&b->cx, "%s/%s", folder, file), "x", 1));
}

/* Which folders an export may go to, and that it goes there at the end or not at all. */
static void
test_targets(bench *b)
{
    const char *folder = ql_format(&b->cx, "%s/target", b->folder), *other = ql_format(&b->cx, "%s/strange", b->folder);
    const ql_folder_entry *entries;
    ql_facts facts = {0};
    ql_export *x, *second;
    int64_t count;
    bool within;

    put(b, other, ".hidden");
    CHECK_ERROR(&b->cx, ql_export_open(&b->cx, other, &b->model, &x), QL_INVALID,
                "no earlier export's (.hidden, for one)");
    CHECK_ERROR(&b->cx, ql_export_open(&b->cx, ql_format(&b->cx, "%s/.hidden", other), &b->model, &x), QL_INVALID,
                "an export needs a folder, this is a file");
    for (int i = 0; i < 3; i++) { /* into none, an empty one, an earlier export */
        ql_facts_fini(&facts);
        REQUIRE_OK(&b->cx, ql_export_open(&b->cx, ql_format(&b->cx, "%s//x/../target/", b->folder), &b->model, &x));
        CHECK_ERROR(&b->cx, ql_export_open(&b->cx, folder, &b->model, &second), QL_INVALID,
                    "another export to this folder is under way");
        CHECK_OK(&b->cx, ql_export_text(&b->cx, x, ql_format(&b->cx, "file-%d", i), "text"));
        CHECK_INT(access(ql_format(&b->cx, "%s/file-%d", folder, i), F_OK), -1);
        CHECK_INT(access(ql_format(&b->cx, "%s/file-%d", folder, i - 1), F_OK), i == 0 ? -1 : 0);
        CHECK_OK(&b->cx, ql_export_finish(&b->cx, x, "none", &facts));
        CHECK_OK(&b->cx, ql_export_place(&b->cx, x));
        ql_export_close(&b->cx, x);
        REQUIRE_OK(&b->cx, ql_folder_list(&b->cx, folder, &entries, &count));
        CHECK_INT(count, 2);
        CHECK_STR(entries[0].name, ql_format(&b->cx, "file-%d", i));
    }
    ql_facts_fini(&facts);
    REQUIRE_OK(&b->cx, ql_export_open(&b->cx, folder, &b->model, &x));
    put(b, folder, "thesis.tex"); /* meanwhile */
    CHECK_OK(&b->cx, ql_export_finish(&b->cx, x, "none", &facts));
    CHECK_ERROR(&b->cx, ql_export_place(&b->cx, x), QL_INVALID, "(thesis.tex, for one)");
    ql_export_close(&b->cx, x);
    CHECK_INT(access(ql_format(&b->cx, "%s/thesis.tex", folder), F_OK), 0);
    ql_facts_fini(&facts);
    CHECK_OK(&b->cx,
             ql_path_within(&b->cx, ql_format(&b->cx, "%s/target/../target/file-2", b->folder), folder, &within));
    CHECK(within);
    CHECK_OK(&b->cx, ql_path_within(&b->cx, folder, ql_format(&b->cx, "%s/target/file-2", b->folder), &within));
    CHECK(!within);
    CHECK_OK(&b->cx, ql_path_within(&b->cx, folder, "/", &within));
    CHECK(within);
    REQUIRE_OK(&b->cx, ql_folder_list(&b->cx, b->folder, &entries, &count));
    for (int64_t i = 0; i < count; i++)
        CHECK(!strstr(entries[i].name, ".qloom-export"));
}

int
main(void)
{
    bench b;

    bench_open(&b);
    test_shards(&b, UINT64_MAX, 1);
    test_shards(&b, 700000, 4);
    test_aside(&b);
    test_config(&b);
    test_targets(&b);
    ql_model_close(&b.model);
    CHECK_INT(system(ql_format(&b.cx, "rm -r %s", b.folder)), 0);
    ql_ctx_fini(&b.cx);
    ql_registry_close(b.registry);
    return TEST_DONE();
}
