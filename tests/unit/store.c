/* The store: entries come back bit for bit or not at all, the least recently used goes first, contents are what counts of a file. */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/store/content.h"
#include "core/store/inside.h"
#include "core/store/journal.h"
#include "host_backend.h"
#include "same_tensor.h"
#include "test.h"

static uint64_t seed;

static int64_t
below(int64_t n)
{
    return (int64_t)(test_u64(&seed) % (uint64_t)n);
}

static ql_key
random_key(void)
{
    return (ql_key){{test_u64(&seed), test_u64(&seed)}};
}

/* --- parcels ------------------------------------------------------------------------------------------------------ */

static ql_tensor *
random_tensor(ql_ctx *cx, ql_dtype dtype, int64_t rows, int64_t cols)
{
    ql_tensor *t;
    unsigned char *p;

    REQUIRE_OK(cx, ql_new(cx, dtype, rows, cols, &t));
    REQUIRE_OK(cx, ql_map(cx, t, QL_WRITE, &p));
    for (size_t i = 0; i < (size_t)ql_count(t) * ql_dtype_size(dtype); i++)
        p[i] = (unsigned char)test_u64(&seed);
    REQUIRE_OK(cx, ql_unmap(cx, t));
    return t;
}

static void
test_parcel(ql_ctx *cx, const char *folder)
{
    static const ql_dtype dtypes[] = {QL_F32, QL_F64, QL_F16, QL_BF16, QL_U8, QL_I32};
    const char *path = ql_format(cx, "%s/entry", folder);
    const double numbers[] = {-0.0, NAN, INFINITY, 0x1p-1074};
    double copy[4];
    ql_tensor *t[7], *got;
    ql_parcel p = {0};

    for (int i = 0; i < 6; i++) {
        t[i] = random_tensor(cx, dtypes[i], 1 + below(9), i == 5 ? -1 : 1 + below(9));
        REQUIRE_OK(cx, ql_parcel_put_tensor(cx, &p, ql_format(cx, "t%d", i), t[i]));
    }
    REQUIRE_OK(cx, ql_cols(cx, random_tensor(cx, QL_F32, 5, 7), 2, 3, &t[6])); /* rows that are apart */
    REQUIRE_OK(cx, ql_parcel_put_tensor(cx, &p, "t6", t[6]));
    REQUIRE_OK(cx, ql_parcel_put_tensor(cx, &p, "none", NULL));
    REQUIRE_OK(cx, ql_parcel_put(cx, &p, "numbers", numbers, sizeof numbers));
    REQUIRE_OK(cx, ql_parcel_put(cx, &p, "empty", NULL, 0));
    CHECK_INT(ql_parcel_put(cx, &p, NULL, NULL, 0), QL_MEMORY);
    CHECK_INT(p.count, 9);
    REQUIRE_OK(cx, ql_parcel_write(cx, &p, path));

    REQUIRE_OK(cx, ql_parcel_read(cx, path, &p));
    for (int i = 0; i < 7; i++) {
        REQUIRE_OK(cx, ql_parcel_tensor(cx, &p, ql_format(cx, "t%d", i), &got));
        check_equal(cx, got, t[i]);
    }
    CHECK_OK(cx, ql_parcel_tensor(cx, &p, "none", &got));
    CHECK(got == NULL);
    CHECK_OK(cx, ql_parcel_copy(cx, &p, "numbers", copy, sizeof copy));
    CHECK(memcmp(copy, numbers, sizeof copy) == 0);
    CHECK_OK(cx, ql_parcel_copy(cx, &p, "empty", copy, 0));
    CHECK_ERROR(cx, ql_parcel_copy(cx, &p, "numbers", copy, 8), QL_INVALID,
                ql_format(cx, "%s: 'numbers' has 32 bytes, expected 8", path));
    CHECK_ERROR(cx, ql_parcel_copy(cx, &p, "none", copy, 8), QL_INVALID, ql_format(cx, "%s: it has no 'none'", path));
}

/* Whatever bit changes and wherever it is cut, a parcel is not read as another. */
static void
test_damage(ql_ctx *cx, const char *folder)
{
    const char *path = ql_format(cx, "%s/damage", folder), *text;
    ql_tensor *codes, *got;
    char *bytes, about[4];
    size_t size;
    int unseen = 0;
    ql_parcel p = {0};

    codes = random_tensor(cx, QL_U8, 3, 5);
    REQUIRE_OK(cx, ql_parcel_put_tensor(cx, &p, "codes", codes));
    REQUIRE_OK(cx, ql_parcel_put(cx, &p, "about", "gptq", 4));
    REQUIRE_OK(cx, ql_parcel_write(cx, &p, path));
    REQUIRE_OK(cx, ql_file_read(cx, path, QL_FILE_MOST, &text, &size));
    bytes = ql_alloc(cx, size, 1);
    for (size_t i = 0; i < size; i++) {
        ql_scope scope;

        ql_scope_open(cx, &scope);
        memcpy(bytes, text, size);
        bytes[i] = (char)(bytes[i] ^ 1 << below(8));
        REQUIRE_OK(cx, ql_file_write(cx, path, bytes, size));
        if (ql_parcel_read(cx, path, &p) == QL_OK) { /* a blank of the header, say */
            CHECK_OK(cx, ql_parcel_tensor(cx, &p, "codes", &got));
            check_equal(cx, got, codes);
            CHECK(ql_parcel_copy(cx, &p, "about", about, 4) == QL_OK && memcmp(about, "gptq", 4) == 0);
            unseen++;
        }
        REQUIRE_OK(cx, ql_file_write(cx, path, text, i));
        CHECK_INT(ql_parcel_read(cx, path, &p), QL_INVALID);
        ql_scope_close(cx, &scope);
    }
    CHECK(unseen < (int)size / 4);
    REQUIRE_OK(cx, ql_file_write(cx, path, text, size));
    REQUIRE_OK(cx, ql_parcel_read(cx, path, &p));
}

/* --- entries ------------------------------------------------------------------------------------------------------ */

static ql_entry
entry(ql_key key, int64_t block)
{
    return (ql_entry){.key = key, .block = block, .kind = "test", .about = "something"};
}

static void
save(ql_ctx *cx, const ql_store *s, ql_key key, int64_t block, const char *about, size_t bytes)
{
    ql_entry e = entry(key, block);
    ql_parcel p = {0};

    e.about = about;
    REQUIRE_OK(cx, ql_parcel_put(cx, &p, "bytes", ql_alloc(cx, bytes, 1), bytes));
    REQUIRE_OK(cx, ql_store_put(cx, s, &e, &p));
}

static bool
has(ql_ctx *cx, const ql_store *s, ql_key key, int64_t block)
{
    const ql_entry e = entry(key, block);
    bool found = true;

    CHECK_OK(cx, ql_store_get(cx, s, &e, NULL, &found));
    return found;
}

static bool
get(ql_ctx *cx, const ql_store *s, const ql_entry *e)
{
    bool found = true;
    ql_parcel p;

    CHECK_OK(cx, ql_store_get(cx, s, e, &p, &found));
    return found;
}

/* The node looks as if it had been used so long ago. */
static void
age(ql_ctx *cx, const ql_store *s, ql_key key, time_t seconds)
{
    const struct timespec then[2] = {{.tv_sec = time(NULL) - seconds}, {.tv_sec = time(NULL) - seconds}};

    CHECK(utimensat(AT_FDCWD, ql_store_node(cx, s, key), then, 0) == 0);
}

static void
test_store(ql_ctx *cx, const char *folder)
{
    const char *cache = ql_format(cx, "%s/deep/cache", folder), *about;
    const ql_key a = random_key(), b = random_key();
    const ql_entry first = entry(a, 3);
    ql_store s;

    CHECK_ERROR(cx, ql_store_check(cx, cache), QL_NOT_FOUND,
                ql_format(cx, "%s: no cache of qloom: it has no CACHEDIR.TAG", cache));
    CHECK_ERROR(cx, ql_store_open(cx, folder, &s), QL_INVALID,
                ql_format(cx, "%s: the folder has other files; a cache needs one of its own", folder));
    REQUIRE_OK(cx, ql_make_folders(cx, cache));
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/CACHEDIR.TAG.7.tmp", cache), "torn", 4));
    REQUIRE_OK(cx, ql_store_open(cx, cache, &s));
    REQUIRE_OK(cx, ql_store_open(cx, cache, &s));
    CHECK_OK(cx, ql_store_check(cx, cache));
    CHECK(!has(cx, &s, a, 3));
    save(cx, &s, a, 3, "first", 10);
    save(cx, &s, a, QL_WHOLE, "first", 10);
    CHECK(has(cx, &s, a, 3) && has(cx, &s, a, QL_WHOLE) && !has(cx, &s, a, 4) && !has(cx, &s, b, 3));
    CHECK(get(cx, &s, &first));
    CHECK_OK(cx, ql_store_about(cx, &s, a, &about));
    CHECK_STR(about, "first");
    CHECK_OK(cx, ql_store_about(cx, &s, b, &about));
    CHECK_STR(about, "?");
}

static void
test_damaged_in_store(ql_ctx *cx, const char *folder)
{
    const ql_key key = random_key();
    const ql_entry e = entry(key, 0);
    ql_store s;

    REQUIRE_OK(cx, ql_store_open(cx, ql_format(cx, "%s/deep/cache", folder), &s));
    save(cx, &s, key, 0, "damaged", 100);
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/00000.safetensors", ql_store_node(cx, &s, key)), "torn", 4));
    CHECK(!get(cx, &s, &e) && !has(cx, &s, key, 0));
}

static void
copy_file(ql_ctx *cx, const char *from, const char *to)
{
    const char *text;
    size_t bytes;

    REQUIRE_OK(cx, ql_file_read(cx, from, QL_FILE_MOST, &text, &bytes));
    REQUIRE_OK(cx, ql_file_write(cx, to, text, bytes));
}

/* A whole entry in another's place is not taken for it: of another key, block or kind. It is removed. */
static void
test_misplaced(ql_ctx *cx, const char *folder)
{
    const ql_key a = random_key(), b = random_key();
    const ql_entry other_key = entry(b, 0), other_block = entry(a, 1);
    ql_entry other_kind = entry(a, 0);
    const char *from;
    ql_store s;

    REQUIRE_OK(cx, ql_store_open(cx, ql_format(cx, "%s/misplaced", folder), &s));
    save(cx, &s, a, 0, "a", 100);
    save(cx, &s, b, 0, "b", 100);
    from = ql_format(cx, "%s/00000.safetensors", ql_store_node(cx, &s, a));
    CHECK(get(cx, &s, &other_key));
    copy_file(cx, from, ql_format(cx, "%s/00000.safetensors", ql_store_node(cx, &s, b)));
    copy_file(cx, from, ql_format(cx, "%s/00001.safetensors", ql_store_node(cx, &s, a)));
    CHECK(has(cx, &s, b, 0) && !get(cx, &s, &other_key) && !has(cx, &s, b, 0));
    CHECK(has(cx, &s, a, 1) && !get(cx, &s, &other_block) && !has(cx, &s, a, 1));
    other_kind.kind = "another";
    CHECK(!get(cx, &s, &other_kind) && !has(cx, &s, a, 0));
}

/* A folder in the place of an entry, whatever it holds, is none, and makes way for one; so does a file in the place of a node's folder. */
static void
test_in_the_way(ql_ctx *cx, const char *folder)
{
    const ql_key key = random_key();
    const char *node, *place;
    ql_store s;

    REQUIRE_OK(cx, ql_store_open(cx, ql_format(cx, "%s/way", folder), &s));
    node = ql_store_node(cx, &s, key);
    place = ql_format(cx, "%s/00000.safetensors", node);
    REQUIRE_OK(cx, ql_make_folders(cx, ql_format(cx, "%s/deeper", place)));
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/deeper/file", place), "x", 1));
    CHECK(!has(cx, &s, key, 0));
    save(cx, &s, key, 0, "made", 100);
    CHECK(get(cx, &s, &(ql_entry){.key = key, .kind = "test", .about = "something"}));
    REQUIRE_OK(cx, ql_remove_tree(cx, node));
    REQUIRE_OK(cx, ql_file_write(cx, node, "x", 1));
    CHECK(!has(cx, &s, key, 0));
    save(cx, &s, key, 0, "made", 100);
    CHECK(has(cx, &s, key, 0));
}

static void
count_lines(void *user, ql_log_level level, const char *line)
{
    (void)level;
    *(int *)user += strstr(line, "another version of qloom wrote it; it is thrown away and made again") != NULL;
}

/* What an earlier version wrote is told in one line and dropped, whatever its parts mean there. */
static void
test_earlier(ql_ctx *cx, const char *folder)
{
    const ql_key key = random_key();
    const ql_entry e = entry(key, 7);
    int64_t identity[6] = {1, 7, 0, 0, 0, 0}; /* schema, block, key, kind */
    int lines = 0;
    const ql_log log = {.write = count_lines, .user = &lines}, *before = cx->log;
    const char *node;
    ql_parcel p = {0};
    ql_store s;

    REQUIRE_OK(cx, ql_store_open(cx, ql_format(cx, "%s/earlier", folder), &s));
    save(cx, &s, key, 0, "new", 1);
    node = ql_store_node(cx, &s, key);
    memcpy(identity + 2, &key, sizeof key);
    memcpy(identity + 4, e.kind, strlen(e.kind));
    REQUIRE_OK(cx, ql_parcel_put(cx, &p, "entry", identity, sizeof identity));
    REQUIRE_OK(cx, ql_parcel_write(cx, &p, ql_format(cx, "%s/00007.safetensors", node)));
    cx->log = &log;
    CHECK(has(cx, &s, key, 7) && !get(cx, &s, &e) && !has(cx, &s, key, 7) && has(cx, &s, key, 0));
    cx->log = before;
    CHECK_INT(lines, 1);
}

/* Links are no entries and no nodes: what they lead to is neither read nor removed. */
static void
test_links(ql_ctx *cx, const char *folder)
{
    const ql_key a = random_key(), b = random_key();
    const char *other = ql_format(cx, "%s/other", folder), *link = ql_format(cx, "%s/link", folder), *node, *file;
    ql_store s, linked;

    REQUIRE_OK(cx, ql_make_folders(cx, other));
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/model.safetensors", other), "weights", 7));
    REQUIRE_OK(cx, ql_store_open(cx, ql_format(cx, "%s/links", folder), &s));
    save(cx, &s, a, 0, "a", 100);
    node = ql_store_node(cx, &s, a);
    CHECK_INT(symlink(other, ql_store_node(cx, &s, b)), 0);
    CHECK_INT(symlink(ql_format(cx, "%s/model.safetensors", other), ql_format(cx, "%s/00001.safetensors", node)), 0);
    CHECK(!has(cx, &s, a, 1) && !has(cx, &s, b, 0) && has(cx, &s, a, 0));
    CHECK_OK(cx, ql_store_touch(cx, &s, b));
    save(cx, &s, a, 1, "a", 100); /* in the place of the link */
    CHECK(has(cx, &s, a, 1));
    CHECK_INT(symlink(s.folder, link), 0);
    linked = s;
    linked.folder = link;
    CHECK_ERROR(cx, ql_store_clear(cx, &linked), QL_INVALID, "is a link: nothing is removed through it");
    CHECK_OK(cx, ql_store_clear(cx, &s));
    CHECK(!has(cx, &s, a, 0));
    REQUIRE_OK(cx, ql_file_read(cx, ql_format(cx, "%s/model.safetensors", other), QL_FILE_MOST, &file, &(size_t){0}));
    CHECK_STR(file, "weights");
    save(cx, &s, b, 0, "b", 100); /* a node in the place of a link */
    CHECK(has(cx, &s, b, 0));
    CHECK_INT(access(ql_format(cx, "%s/00000.safetensors", other), F_OK), -1);
}

static int64_t
node_count(ql_ctx *cx, const ql_store *s)
{
    ql_store_item *items;
    int64_t count;

    CHECK_OK(cx, ql_store_list(cx, s, &items, &count));
    for (int64_t i = 1; i < count; i++)
        CHECK(items[i - 1].used <= items[i].used);
    free(items);
    return count;
}

static void
test_trim(ql_ctx *cx, const char *folder)
{
    const ql_key old = random_key(), older = random_key(), used = random_key();
    ql_store s;

    REQUIRE_OK(cx, ql_store_open(cx, ql_format(cx, "%s/trim", folder), &s));
    save(cx, &s, old, 0, "old", 5000);
    save(cx, &s, older, 0, "older", 5000);
    save(cx, &s, used, 0, "used", 50000);
    age(cx, &s, old, 100);
    age(cx, &s, older, 200);
    CHECK_INT(node_count(cx, &s), 3);
    CHECK_OK(cx, ql_store_trim(cx, &s)); /* no limit */
    s.limit = 57000;
    CHECK_OK(cx, ql_store_trim(cx, &s));
    CHECK(has(cx, &s, old, 0) && !has(cx, &s, older, 0));
    s.limit = 1; /* what is in use stays even so */
    CHECK_OK(cx, ql_store_trim(cx, &s));
    CHECK(!has(cx, &s, old, 0) && has(cx, &s, used, 0));
    CHECK_INT(node_count(cx, &s), 1);
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/nodes/mine", s.folder), "x", 1));
    CHECK_OK(cx, ql_store_clear(cx, &s));
    CHECK_INT(node_count(cx, &s), 0);
    CHECK_INT(access(ql_format(cx, "%s/nodes/mine", s.folder), F_OK), 0);
}

/* What a killed writer left goes, unless it may still be at work. */
static void
test_torn(ql_ctx *cx, const char *folder)
{
    const struct timespec then[2] = {{.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
    const ql_key key = random_key();
    const char *old, *young;
    const char *path;
    ql_store s;

    REQUIRE_OK(cx, ql_store_open(cx, ql_format(cx, "%s/torn", folder), &s));
    save(cx, &s, key, 0, "torn", 1);
    path = ql_store_node(cx, &s, key);
    old = ql_format(cx, "%s/00001.safetensors.77.tmp", path);
    young = ql_format(cx, "%s/00002.safetensors.77.tmp", path);
    REQUIRE_OK(cx, ql_file_write(cx, old, "x", 1));
    REQUIRE_OK(cx, ql_file_write(cx, young, "x", 1));
    CHECK_INT(utimensat(AT_FDCWD, old, then, 0), 0);
    CHECK_OK(cx, ql_store_touch(cx, &s, key));
    CHECK(access(old, F_OK) != 0 && access(young, F_OK) == 0 && has(cx, &s, key, 0));
}

/* --- contents ----------------------------------------------------------------------------------------------------- */

static bool
same(ql_key a, ql_key b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static ql_key
hash(ql_ctx *cx, const ql_store *s, const char *path)
{
    ql_key key = {{0, 0}};

    CHECK_OK(cx, ql_content_hash(cx, s, path, NULL, &key));
    return key;
}

static void
test_content(ql_ctx *cx, const char *folder)
{
    const struct timespec then[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    const size_t large = (1 << 20) + 17;
    const char *a = ql_format(cx, "%s/a", folder), *b = ql_format(cx, "%s/b", folder);
    const char *one = ql_format(cx, "%s/x.json", a), *two = ql_format(cx, "%s/x.json", b);
    char *bytes = ql_alloc(cx, large, 1);
    const ql_seen *seen = NULL;
    ql_key key, unknown;
    ql_store s;

    REQUIRE_OK(cx, ql_store_open(cx, ql_format(cx, "%s/content", folder), &s));
    REQUIRE_OK(cx, ql_make_folders(cx, a));
    REQUIRE_OK(cx, ql_make_folders(cx, b));
    REQUIRE_OK(cx, ql_file_write(cx, one, bytes, large));
    REQUIRE_OK(cx, ql_file_write(cx, two, bytes, large));
    key = hash(cx, &s, one);
    CHECK(same(key, hash(cx, &s, two)) && same(key, hash(cx, NULL, one))); /* where it lies means nothing */
    CHECK(same(hash(cx, &s, a), hash(cx, &s, b)));
    bytes[large - 1] = 1; /* same size, same time of the contents */
    CHECK_INT(utimensat(AT_FDCWD, two, then, 0), 0);
    REQUIRE_OK(cx, ql_file_write(cx, two, bytes, large));
    CHECK_INT(utimensat(AT_FDCWD, two, then, 0), 0);
    CHECK(!same(key, hash(cx, &s, two)) && !same(hash(cx, &s, a), hash(cx, &s, b)));
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/notes.txt", a), "x", 1)); /* nothing that a model is made of */
    unknown = hash(cx, &s, a);
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/notes.txt", a), "y", 1));
    CHECK(same(unknown, hash(cx, &s, a)));
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/y.json", a), "{}", 2));
    CHECK(!same(unknown, hash(cx, &s, a)));
    CHECK_OK(cx, ql_content_hash(cx, &s, a, &seen, &key));
    CHECK_OK(cx, ql_content_check(cx, seen));
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/y.json", a), "[]", 2)); /* as many bytes */
    CHECK_ERROR(cx, ql_content_check(cx, seen), QL_IO, "/a/y.json: changed while the run was reading it");
    CHECK_ERROR(cx, ql_content_hash(cx, &s, "/nowhere/at all", NULL, &key), QL_NOT_FOUND, "/nowhere/at all");
}

/* --- the journal -------------------------------------------------------------------------------------------------- */

static void
test_journal(ql_ctx *cx, const char *folder)
{
    const ql_journal_line line = {.block = 3, .stage = "quant", .what = "a \"b\"", .key = {{1, 2}}};
    const char *path = ql_format(cx, "%s/journal.jsonl", folder), *text;
    size_t bytes;
    ql_journal j;

    REQUIRE_OK(cx, ql_file_write(cx, path, "{\"torn", 6));
    REQUIRE_OK(cx, ql_journal_open(cx, folder, &j));
    CHECK_OK(cx, ql_journal_begin(cx, &j, "base", 5));
    CHECK_OK(cx, ql_journal_put(cx, &j, &line));
    CHECK_OK(cx, ql_journal_put(cx, NULL, &line));
    ql_journal_close(&j);
    REQUIRE_OK(cx, ql_file_read(cx, path, QL_FILE_MOST, &text, &bytes));
    CHECK_STR(text,
              "{\"torn\n{\"walk\":\"base\",\"blocks\":5}\n{\"block\":3,\"stage\":\"quant\",\"what\":\"a \\\"b\\\"\","
              "\"key\":\"00000000000000010000000000000002\",\"did\":\"run\"}\n");
    CHECK_ERROR(cx, ql_journal_open(cx, "/nowhere", &j), QL_IO, "/nowhere/journal.jsonl: No such file or directory");
}

int
main(void)
{
    char folder[] = "/tmp/qloom-store-XXXXXX", command[64];
    ql_device *d;
    ql_scope scope;
    ql_ctx cx;

    seed = test_seed();
    if (!mkdtemp(folder))
        return 1;
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    REQUIRE_OK(&cx, ql_device_open(&cx, &host_backend, &(ql_device_options){.threads = 1}, 0, &d));
    cx.device = d;
    test_parcel(&cx, folder);
    test_damage(&cx, folder);
    test_store(&cx, folder);
    test_damaged_in_store(&cx, folder);
    test_misplaced(&cx, folder);
    test_in_the_way(&cx, folder);
    test_earlier(&cx, folder);
    test_links(&cx, folder);
    test_trim(&cx, folder);
    test_torn(&cx, folder);
    test_content(&cx, folder);
    test_journal(&cx, folder);
    ql_scope_close(&cx, &scope);
    ql_device_close(d);
    ql_ctx_fini(&cx);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK_INT(system(command), 0);
    return TEST_DONE();
}
