/* The cache of the Hub: CACHE/models--ORG--NAME/snapshots/COMMIT is a model's folder, and refs/main holds the commit that was fetched
 * last. */
#include "hub.h"

#include <string.h>

#include "base/env.h"
#include "base/file.h"
#include "base/path.h"

#define PREFIX "models--"
#define COMMIT_BYTES 255 /* of refs/main, at most */

/* The commit that refs/main of `root` names; NULL: there is no such file. */
static ql_status
read_main(ql_ctx *cx, const char *root, const char **out)
{
    const char *path = ql_format(cx, "%s/refs/main", root), *text;
    size_t bytes;
    bool there;

    *out = NULL;
    if (!path)
        return QL_MEMORY;
    QL_TRY(cx, ql_is_file(cx, path, &there));
    if (!there)
        return QL_OK;
    QL_TRY(cx, ql_file_read(cx, path, COMMIT_BYTES, &text, &bytes));
    bytes = strcspn(text, " \t\r\n");
    if (bytes == 0 || memchr(text, '/', bytes) || text[0] == '.')
        return QL_FAIL(cx, QL_INVALID, "%s: expected the name of a snapshot", path);
    *out = ql_copy_text(cx, text, bytes);
    return *out ? QL_OK : QL_MEMORY;
}

/* The snapshot of the cache's folder `root` that is meant. */
static ql_status
find_snapshot(ql_ctx *cx, const char *root, const char **out)
{
    const char *folder = ql_format(cx, "%s/snapshots", root), *commit, *names = "";
    const ql_folder_entry *e = NULL;
    int64_t count = 0;
    ql_status st = folder ? ql_folder_list(cx, folder, &e, &count) : QL_MEMORY;

    if (st != QL_OK && st != QL_NOT_FOUND)
        return st;
    QL_TRY(cx, read_main(cx, root, &commit));
    for (int64_t i = 0; i < count; i++)
        if (commit ? strcmp(e[i].name, commit) == 0 : count == 1) {
            *out = ql_format(cx, "%s/%s", folder, e[i].name);
            return *out ? QL_OK : QL_MEMORY;
        }
    if (count == 0)
        return QL_FAIL(cx, QL_NOT_FOUND, "%s: it has no snapshot: fetch the model again", root);
    for (int64_t i = 0; i < count && names; i++)
        names = ql_format(cx, "%s%s%s", names, i ? ", " : "", e[i].name);
    if (!names)
        return QL_MEMORY;
    return commit ? QL_FAIL(cx, QL_NOT_FOUND, "%s: refs/main names the snapshot %s, which is not there; there are: %s",
                            root, commit, names)
                  : QL_FAIL(cx, QL_INVALID,
                            "%s: %lld snapshots, and no refs/main that says which is meant; give the folder of one: %s",
                            root, (long long)count, names);
}

/* Is it a folder of a Hub's cache, not a model's own? */
static ql_status
is_root(ql_ctx *cx, const char *path, bool *out)
{
    const char *config = ql_format(cx, "%s/config.json", path), *snapshots = ql_format(cx, "%s/snapshots", path);
    const char *slash = strrchr(path, '/');
    bool model;

    if (!config || !snapshots)
        return QL_MEMORY;
    QL_TRY(cx, ql_is_file(cx, config, &model));
    QL_TRY(cx, ql_is_folder(cx, snapshots, out));
    *out = (*out || strncmp(slash ? slash + 1 : path, PREFIX, strlen(PREFIX)) == 0) && !model;
    return QL_OK;
}

/* Is it ORG/NAME, in the letters that the Hub takes? */
static bool
is_name(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    const size_t org = strspn(text, letters), name = text[org] == '/' ? strspn(text + org + 1, letters) : 0;

    return org > 0 && name > 0 && text[org + 1 + name] == '\0' && text[0] != '.' && text[org + 1] != '.';
}

/* The folders of caches, the first that counts first; `out` has room for three. */
static ql_status
find_caches(ql_ctx *cx, const char **out, int *count)
{
    static const struct {
        const char *variable, *below;
    } places[] = {{"HF_HUB_CACHE", ""}, {"HF_HOME", "/hub"}, {"HOME", "/.cache/huggingface/hub"}};

    *count = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *value = ql_env(places[i].variable);

        if (!value || !*value)
            continue;
        out[*count] = ql_format(cx, "%s%s", value, places[i].below);
        if (!out[(*count)++])
            return QL_MEMORY;
    }
    return QL_OK;
}

static ql_status
find_name(ql_ctx *cx, const char *path, const char *name, const char **out)
{
    const size_t org = strcspn(name, "/");
    const char *caches[3], *looked = "";
    int count;

    QL_TRY(cx, find_caches(cx, caches, &count));
    for (int i = 0; i < count && looked; i++) {
        const char *root = ql_format(cx, "%s/" PREFIX "%.*s--%s", caches[i], (int)org, name, name + org + 1);
        bool there;

        if (!root)
            return QL_MEMORY;
        QL_TRY(cx, ql_is_folder(cx, root, &there));
        if (there)
            return find_snapshot(cx, root, out);
        looked = ql_format(cx, "%s, %s", looked, root);
    }
    return looked ? QL_FAIL(cx, QL_NOT_FOUND, "%s: no such folder; looked at %s%s; `hf download %s` fetches the model",
                            name, path, looked, name)
                  : QL_MEMORY;
}

ql_status
ql_hub_find(ql_ctx *cx, const char *folder, const char *text, const char **out)
{
    const char *path = ql_path_from(cx, folder, text);
    bool there, root;

    *out = text;
    if (!path)
        return QL_MEMORY;
    QL_TRY(cx, ql_is_folder(cx, path, &there));
    if (!there)
        return is_name(text) ? find_name(cx, path, text, out) : QL_OK;
    QL_TRY(cx, is_root(cx, path, &root));
    return root ? find_snapshot(cx, path, out) : QL_OK;
}

const char *
ql_hub_name(ql_ctx *cx, const char *path)
{
    const char *at = strstr(path, "/" PREFIX), *name = at ? at + strlen("/" PREFIX) : NULL;
    const char *end = name ? strstr(name, "/snapshots/") : NULL, *middle = end ? strstr(name, "--") : NULL;

    if (!middle || middle > end)
        return NULL;
    return ql_format(cx, "%.*s/%.*s", (int)(middle - name), name, (int)(end - middle - 2), middle + 2);
}
