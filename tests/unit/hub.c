/* Models of the Hub's caches: which snapshot is meant, which cache counts first, and what is said where there is none. */
#include <stdlib.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/path.h"
#include "core/model/hub.h"
#include "test.h"

static void
write_text(ql_ctx *cx, const char *path, const char *text)
{
    REQUIRE_OK(cx, ql_file_write(cx, path, text, strlen(text)));
}

/* CACHE/models--Org--m.1 with the snapshots named, and refs/main where `head` is not NULL; its folder. */
static const char *
put_model(ql_ctx *cx, const char *cache, const char *head, const char *const *snapshots)
{
    const char *root = ql_format(cx, "%s/models--Org--m.1", cache);

    REQUIRE_OK(cx, ql_make_folders(cx, ql_format(cx, "%s/refs", root)));
    REQUIRE_OK(cx, ql_make_folders(cx, ql_format(cx, "%s/snapshots", root)));
    for (; *snapshots; snapshots++)
        REQUIRE_OK(cx, ql_make_folders(cx, ql_format(cx, "%s/snapshots/%s", root, *snapshots)));
    if (head)
        write_text(cx, ql_format(cx, "%s/refs/main", root), head);
    return root;
}

static void
check_found(ql_ctx *cx, const char *folder, const char *text, const char *expected)
{
    const char *found = "";

    CHECK_OK(cx, ql_hub_find(cx, folder, text, &found));
    CHECK_STR(found, expected);
}

static void
check_refused(ql_ctx *cx, const char *text, ql_status st, const char *words)
{
    const char *found;

    CHECK_ERROR(cx, ql_hub_find(cx, "/nowhere", text, &found), st, words);
}

/* Paths, and names that no Hub takes, stay what they are. */
static void
test_paths(ql_ctx *cx, const char *folder)
{
    static const char *const texts[] = {"/nowhere/at/all", "a/b/c", "here", "../b", "a/..", "Org/", "/m",
                                        "O rg/m",          "Org/.m"};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check_found(cx, folder, texts[i], texts[i]);
    REQUIRE_OK(cx, ql_make_folders(cx, ql_format(cx, "%s/Org/m.1", folder))); /* a folder of that name wins */
    check_found(cx, folder, "Org/m.1", "Org/m.1");
    REQUIRE_OK(cx, ql_remove_tree(cx, ql_format(cx, "%s/Org", folder)));
}

static void
test_caches(ql_ctx *cx, const char *folder)
{
    static const char *const one[] = {"c1", NULL}, *const two[] = {"c1", "c2", NULL}, *const none[] = {NULL};
    const char *hub = ql_format(cx, "%s/hub-cache", folder), *home = ql_format(cx, "%s/home", folder);
    const char *hf = ql_format(cx, "%s/hf", folder), *root;

    setenv("HOME", home, 1);
    unsetenv("HF_HOME");
    unsetenv("HF_HUB_CACHE");
    check_refused(
        cx, "Org/m.1", QL_NOT_FOUND,
        ql_format(
            cx,
            "Org/m.1: no such folder; looked at /nowhere/Org/m.1, %s/.cache/huggingface/hub/models--Org--m.1; `hf "
            "download Org/m.1` fetches the model",
            home));
    root = put_model(cx, ql_format(cx, "%s/.cache/huggingface/hub", home), "c1\n", two);
    check_found(cx, folder, "Org/m.1", ql_format(cx, "%s/snapshots/c1", root));
    setenv("HF_HOME", hf, 1);
    check_found(cx, folder, "Org/m.1", ql_format(cx, "%s/snapshots/c1", root)); /* not there: the next */
    root = put_model(cx, ql_format(cx, "%s/hub", hf), "c2", two);
    check_found(cx, folder, "Org/m.1", ql_format(cx, "%s/snapshots/c2", root));
    setenv("HF_HUB_CACHE", hub, 1);
    root = put_model(cx, hub, NULL, one);
    check_found(cx, folder, "Org/m.1", ql_format(cx, "%s/snapshots/c1", root)); /* the only one needs no refs/main */
    check_found(cx, hub, "models--Org--m.1", ql_format(cx, "%s/snapshots/c1", root));
    CHECK_STR(ql_hub_name(cx, ql_format(cx, "%s/snapshots/c1", root)), "Org/m.1");
    CHECK(ql_hub_name(cx, root) == NULL && ql_hub_name(cx, "/a/b") == NULL);

    (void)put_model(cx, hub, NULL, two);
    check_refused(cx, "Org/m.1", QL_INVALID,
                  "2 snapshots, and no refs/main that says which is meant; give the folder of one: c1, c2");
    (void)put_model(cx, hub, "c3", none);
    check_refused(cx, "Org/m.1", QL_NOT_FOUND,
                  "refs/main names the snapshot c3, which is not there; there are: c1, c2");
    (void)put_model(cx, hub, "../c1", none);
    check_refused(cx, "Org/m.1", QL_INVALID, "/refs/main: expected the name of a snapshot");
    REQUIRE_OK(cx, ql_remove_tree(cx, ql_format(cx, "%s/snapshots", root)));
    check_refused(cx, root, QL_INVALID, "/refs/main: expected the name of a snapshot");
    (void)put_model(cx, hub, "c1", none);
    check_refused(cx, root, QL_NOT_FOUND, "models--Org--m.1: it has no snapshot: fetch the model again");
    write_text(cx, ql_format(cx, "%s/config.json", root), "{}"); /* a model's own folder, whatever its name */
    check_found(cx, "/", root, root);
}

int
main(void)
{
    char folder[] = "/tmp/qloom-hub-XXXXXX";
    ql_scope scope;
    ql_ctx cx;

    if (!mkdtemp(folder))
        return 1;
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_paths(&cx, folder);
    test_caches(&cx, folder);
    CHECK_OK(&cx, ql_remove_tree(&cx, folder));
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
