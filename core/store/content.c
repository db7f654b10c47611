/* Content hashes of input files, model folders and our own code. */
#include "content.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/hash.h"

#define LARGE (1 << 20)   /* bytes of a file whose hash is worth remembering */
#define NOTABLE (1 << 30) /* bytes that take seconds to read */
#define MEMORY_BYTES 4096 /* of a file that remembers a hash */
#define SETTLED 2         /* seconds after which no write can hide behind an unchanged time */

/* --- large files --- */

/* What stat says of the file, as text: the same words, the same bytes. */
static const char *
stamp_of(ql_ctx *cx, const struct stat *st)
{
    return ql_format(cx, "device %ju inode %ju bytes %jd modified %jd.%09ld changed %jd.%09ld ", (uintmax_t)st->st_dev,
                     (uintmax_t)st->st_ino, (intmax_t)st->st_size, (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
                     (intmax_t)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

/* The file that remembers the hash of `path`. */
static const char *
memory_of(ql_ctx *cx, const ql_store *s, const char *path)
{
    char *real = realpath(path, NULL);
    const char *name = NULL;
    uint64_t hash[2];

    if (real) {
        ql_hash_bytes(real, strlen(real), hash);
        name = ql_hash_text(cx, hash);
    }
    free(real);
    return name ? ql_format(cx, "%s/files/%s", s->folder, name) : NULL;
}

static bool
recall(ql_ctx *cx, const char *memory, const char *stamp, ql_key *out)
{
    const size_t n = strlen(stamp);
    const char *text, *check;
    uint64_t sum[2];
    size_t bytes;

    if (ql_file_read(cx, memory, MEMORY_BYTES, &text, &bytes) != QL_OK) { /* it is only quicker with it */
        ql_error_clear(cx);
        return false;
    }
    if (bytes != n + 64 || memcmp(text, stamp, n) != 0 ||
        sscanf(text + n, "%16" SCNx64 "%16" SCNx64, &out->half[0], &out->half[1]) != 2)
        return false;
    ql_hash_bytes(text, n + 32, sum);
    check = ql_hash_text(cx, sum);
    return check && memcmp(text + n + 32, check, 32) == 0;
}

static ql_status
remember(ql_ctx *cx, const char *memory, const char *stamp, const struct stat *st, const ql_key *key)
{
    const char *text = ql_format(cx, "%s%016" PRIx64 "%016" PRIx64, stamp, key->half[0], key->half[1]), *check;
    uint64_t sum[2];

    if (time(NULL) - st->st_ctim.tv_sec < SETTLED || time(NULL) - st->st_mtim.tv_sec < SETTLED)
        return QL_OK;
    if (!text)
        return QL_MEMORY;
    ql_hash_bytes(text, strlen(text), sum);
    check = ql_hash_text(cx, sum);
    text = check ? ql_format(cx, "%s%s", text, check) : NULL;
    return text ? ql_file_write(cx, memory, text, strlen(text)) : QL_MEMORY;
}

static ql_status
note(ql_ctx *cx, const char *path, const char *stamp, const ql_seen **seen)
{
    ql_seen *file = ql_alloc(cx, 1, sizeof *file);

    if (!file || !(path = ql_copy_text(cx, path, strlen(path))))
        return QL_MEMORY;
    *file = (ql_seen){*seen, path, stamp};
    *seen = file;
    return QL_OK;
}

static ql_status
hash_bytes_of(ql_ctx *cx, const ql_store *s, const char *path, const ql_seen **seen, ql_key *out)
{
    const char *memory, *stamp;
    ql_path_info at;

    QL_TRY(cx, ql_path_look(cx, path, &at));
    if (at.type != QL_PATH_FILE)
        return ql_hash_file(cx, path, SIZE_MAX, out->half);
    stamp = stamp_of(cx, &at.stat);
    if (!stamp)
        return QL_MEMORY;
    if (seen)
        QL_TRY(cx, note(cx, path, stamp, seen));
    if (!s || at.stat.st_size < LARGE)
        return ql_hash_file(cx, path, SIZE_MAX, out->half);
    memory = memory_of(cx, s, path);
    if (!memory)
        return QL_MEMORY;
    if (recall(cx, memory, stamp, out))
        return QL_OK;
    if (at.stat.st_size >= NOTABLE)
        ql_info(cx, "%s: reading all of it, once, for its content hash", path);
    QL_TRY(cx, ql_hash_file(cx, path, SIZE_MAX, out->half));
    return remember(cx, memory, stamp, &at.stat, out);
}

static ql_status
hash_file(ql_ctx *cx, const ql_store *s, const char *path, const ql_seen **seen, ql_key *out)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    ql_key both[2];

    ql_hash_bytes(name, strlen(name), both[0].half);
    QL_TRY(cx, hash_bytes_of(cx, s, path, seen, &both[1]));
    ql_hash_bytes(both, sizeof both, out->half);
    return QL_OK;
}

/* --- folders --- */

ql_status
ql_model_files(ql_ctx *cx, const char *folder, const char ***names, int64_t *count)
{
    const ql_folder_entry *entries;
    int64_t capacity = 0, held;
    ql_status st = ql_folder_list(cx, folder, &entries, &held);

    *names = NULL;
    *count = 0;
    for (int64_t i = 0; st == QL_OK && i < held; i++) {
        if (!ql_ends_with(entries[i].name, ".json") && !ql_ends_with(entries[i].name, ".safetensors"))
            continue;
        st = ql_grow(cx, names, &capacity, *count + 1, sizeof **names);
        if (st == QL_OK && !((*names)[(*count)++] = ql_format(cx, "%s/%s", folder, entries[i].name)))
            st = QL_MEMORY;
    }
    return st;
}

static ql_status
hash_folder(ql_ctx *cx, const ql_store *s, const char *folder, const ql_seen **seen, ql_key *out)
{
    const char **names;
    int64_t count;
    ql_status st = ql_model_files(cx, folder, &names, &count);
    ql_key *keys = st == QL_OK ? ql_alloc(cx, (size_t)count, sizeof *keys) : NULL;

    if (st == QL_OK && !keys)
        st = QL_MEMORY;
    for (int64_t i = 0; i < count && st == QL_OK; i++)
        st = hash_file(cx, s, names[i], seen, &keys[i]);
    if (st == QL_OK)
        ql_hash_bytes(keys, (size_t)count * sizeof *keys, out->half);
    free(names);
    return st;
}

ql_status
ql_content_hash(ql_ctx *cx, const ql_store *s, const char *path, const ql_seen **seen, ql_key *out)
{
    bool folder;

    QL_TRY(cx, ql_is_folder(cx, path, &folder));
    return folder ? hash_folder(cx, s, path, seen, out) : hash_file(cx, s, path, seen, out);
}

ql_status
ql_content_check(ql_ctx *cx, const ql_seen *seen)
{
    ql_scope scope;

    ql_scope_open(cx, &scope);
    for (; seen; seen = seen->next) {
        ql_path_info at;
        const char *stamp;

        QL_TRY(cx, ql_path_look(cx, seen->path, &at));
        stamp = at.type == QL_PATH_FILE ? stamp_of(cx, &at.stat) : "gone";
        if (!stamp)
            return QL_MEMORY;
        if (strcmp(stamp, seen->stamp) != 0)
            return QL_FAIL(cx, QL_IO,
                           "%s: changed while the run was reading it; what came after is not kept: run again",
                           seen->path);
    }
    ql_scope_close(cx, &scope);
    return QL_OK;
}

ql_status
ql_content_core(ql_ctx *cx, const ql_store *s, ql_key *out)
{
    static const char here = 0; /* an address of this code that is no function */
    const char *file;

    QL_TRY(cx, ql_object_file(cx, &here, &file));
    return hash_bytes_of(cx, s, file, NULL, out);
}
