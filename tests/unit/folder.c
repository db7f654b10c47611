/* Run folders: names, the lock, what they hold, and a manifest that is the same for the same run. */
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/run/folder.h"
#include "test.h"

static void
lines(void *user, ql_log_level level, const char *line)
{
    (void)level;
    *(int *)user += line != NULL;
}

static void
test_open(ql_ctx *cx, const char *base)
{
    ql_graph g = {.name = "a b/../\xc3\xa4.c", .expanded = "qloom: 1\n"};
    const char *runs = ql_format(cx, "%s/deep/er", base), *text, *name;
    int count = 0;
    ql_log log = {.write = lines, .user = &count};
    ql_folder f, again;
    size_t bytes;

    cx->log = &log;
    REQUIRE_OK(cx, ql_folder_open(cx, runs, &g, &f));
    name = f.name;
    CHECK(strncmp(f.name, "a_b_.._\xc3\xa4.c-", 12) == 0);
    CHECK_INT(strlen(f.name), 12 + 8);
    CHECK_OK(cx, ql_file_read(cx, ql_format(cx, "%s/pipeline.yaml", f.path), QL_FILE_MOST, &text, &bytes));
    CHECK_STR(text, "qloom: 1\n");
    ql_info(cx, "hello");
    CHECK_INT(count, 1);
    CHECK_OK(cx, ql_file_read(cx, ql_format(cx, "%s/log.txt", f.path), QL_FILE_MOST, &text, &bytes));
    CHECK(strstr(text, " hello\n") != NULL);

    /* a second one beside it is refused with the number of the process, whose log stays */
    CHECK_ERROR(cx, ql_folder_open(cx, runs, &g, &again), QL_INVALID,
                ql_format(cx,
                          "another qloom is at work here, process %ld; wait for it, or choose another folder of runs",
                          (long)getpid()));
    ql_folder_close(cx, &again);
    CHECK(cx->log == &f.log.log);
    ql_folder_close(cx, &f);
    CHECK(cx->log == &log);
    REQUIRE_OK(cx, ql_folder_open(cx, runs, &g, &f));
    CHECK_STR(f.name, name);
    ql_folder_close(cx, &f);
    cx->log = NULL;
}

static void
test_errors(ql_ctx *cx, const char *base)
{
    ql_graph g = {.name = "x", .expanded = "qloom: 1\n"};
    const char *file = ql_format(cx, "%s/file", base);
    ql_folder f;

    REQUIRE_OK(cx, ql_file_write(cx, file, "x", 1));
    CHECK_ERROR(cx, ql_folder_open(cx, file, &g, &f), QL_IO, "cannot make the folder");
    CHECK_ERROR(cx, ql_folder_open(cx, "", &g, &f), QL_INVALID, "the name of the folder of runs is empty");
    CHECK(cx->log == NULL);
}

typedef struct model {
    const char *path;
} model;

/* A graph of one stage that names a folder, as a model's does. */
static void
test_manifest(ql_ctx *cx, const char *base)
{
    static const ql_param params[] = {QL_PATH(model, path, true, "a folder"), QL_PARAMS_END};
    static const ql_plugin plugin = {.kind = QL_MODEL, .name = "m", .version = "1.0", .params = params};
    static char first[] = "qloom", second[] = "run \xff";
    char *argv[] = {first, second};
    model self = {.path = ql_format(cx, "%s/model", base)};
    ql_node node = {.name = "base", .plugin = &plugin, .self = &self}, *nodes[] = {&node, &node};
    ql_graph g = {.name = "x", .file = "x.yaml", .expanded = "y", .seed = UINT64_MAX, .nodes = nodes, .node_count = 2};
    ql_registry *registry = NULL;
    ql_manifest m = {.device = "cpu", .threads = 2, .argc = 2, .argv = argv};
    const char *path, *text, *again;
    size_t bytes;
    ql_folder f;
    const ql_json *root = NULL;

    CHECK_INT(mkdir(self.path, 0777), 0);
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/config.json", self.path), "{}", 2));
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/w.safetensors", self.path), "\2\0\0\0\0\0\0\0{}abc", 13));
    REQUIRE_OK(cx, ql_registry_open(cx, NULL, &registry));
    m.registry = registry;
    REQUIRE_OK(cx, ql_folder_open(cx, base, &g, &f));
    REQUIRE_OK(cx, ql_folder_manifest(cx, &f, &g, &m));
    path = ql_format(cx, "%s/manifest.json", f.path);
    REQUIRE_OK(cx, ql_file_read(cx, path, QL_FILE_MOST, &text, &bytes));
    REQUIRE_OK(
        cx, ql_json_parse(cx, &(ql_json_input){.file = "manifest.json", .text = text, .bytes = strlen(text)}, &root));
    CHECK_STR(ql_json_string(ql_json_member(root, "seed")), "18446744073709551615");
    CHECK_STR(ql_json_string(ql_json_item(ql_json_member(root, "command"), 1)), "run \xef\xbf\xbd");
    CHECK_INT(ql_json_length(ql_json_member(root, "plugins")), 1);
    CHECK_INT(ql_json_length(ql_json_member(root, "inputs")), 2);

    /* the tensors' bytes are not read, the header is */
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/w.safetensors", self.path), "\2\0\0\0\0\0\0\0{}xyz", 13));
    REQUIRE_OK(cx, ql_folder_manifest(cx, &f, &g, &m));
    REQUIRE_OK(cx, ql_file_read(cx, path, QL_FILE_MOST, &again, &bytes));
    CHECK_STR(again, text);
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/w.safetensors", self.path), "\2\0\0\0\0\0\0\0[]xyz", 13));
    REQUIRE_OK(cx, ql_folder_manifest(cx, &f, &g, &m));
    REQUIRE_OK(cx, ql_file_read(cx, path, QL_FILE_MOST, &again, &bytes));
    CHECK(strcmp(again, text) != 0);
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/w.safetensors", self.path), "short", 5));
    text = again; /* a file without a header is hashed as it is, and refused where it is opened */
    REQUIRE_OK(cx, ql_folder_manifest(cx, &f, &g, &m));
    REQUIRE_OK(cx, ql_file_read(cx, path, QL_FILE_MOST, &again, &bytes));
    CHECK(strcmp(again, text) != 0);
    ql_folder_close(cx, &f);
    ql_registry_close(registry);
}

int
main(void)
{
    char base[] = "/tmp/qloom-folder-XXXXXX", command[64];
    ql_ctx cx;
    ql_scope scope;

    if (!mkdtemp(base))
        return 1;
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_open(&cx, base);
    test_errors(&cx, base);
    test_manifest(&cx, base);
    ql_ctx_fini(&cx);
    snprintf(command, sizeof command, "rm -r %s", base);
    CHECK_INT(system(command), 0);
    return TEST_DONE();
}
