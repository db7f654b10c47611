/* The store: entries come back bit for bit or not at all, the least recently used goes first, contents are what counts of a file. */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/store/content.h"
#include "core/store/journal.h"
#include "host_backend.h"
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

/* --- entries --- */

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
check_equal(ql_ctx *cx, const ql_tensor *a, const ql_tensor *b)
{
    const void *x, *y;

    CHECK_INT(ql_dtype_of(a), ql_dtype_of(b));
    CHECK_INT(ql_ndim(a), ql_ndim(b));
    for (int i = 0; i < ql_ndim(a) && i < ql_ndim(b); i++)
        CHECK_INT(ql_dim(a, i), ql_dim(b, i));
    REQUIRE_OK(cx, ql_map(cx, a, QL_READ, &x));
    REQUIRE_OK(cx, ql_map(cx, b, QL_READ, &y));
    CHECK(ql_count(a) != ql_count(b) || memcmp(x, y, (size_t)ql_count(a) * ql_dtype_size(ql_dtype_of(a))) == 0);
    CHECK_OK(cx, ql_unmap(cx, a));
    CHECK_OK(cx, ql_unmap(cx, b));
}

static void
test_entry(ql_ctx *cx, const char *folder)
{
    static const ql_dtype dtypes[] = {QL_F32, QL_F64, QL_F16, QL_BF16, QL_U8, QL_I32};
    const char *path = ql_format(cx, "%s/entry", folder);
    const double numbers[] = {-0.0, NAN, INFINITY, 0x1p-1074};
    double copy[4];
    ql_tensor *t[7], *got;
    ql_entry e;
    ql_st_file f;

    REQUIRE_OK(cx, ql_entry_begin(cx, 9, &e));
    for (int i = 0; i < 6; i++) {
        t[i] = random_tensor(cx, dtypes[i], 1 + below(9), i == 5 ? -1 : 1 + below(9));
        REQUIRE_OK(cx, ql_entry_tensor(cx, &e, ql_format(cx, "t%d", i), t[i]));
    }
    REQUIRE_OK(cx, ql_cols(cx, random_tensor(cx, QL_F32, 5, 7), 2, 3, &t[6])); /* rows that are apart */
    REQUIRE_OK(cx, ql_entry_tensor(cx, &e, "t6", t[6]));
    REQUIRE_OK(cx, ql_entry_tensor(cx, &e, "none", NULL));
    REQUIRE_OK(cx, ql_entry_bytes(cx, &e, "numbers", numbers, sizeof numbers));
    REQUIRE_OK(cx, ql_entry_bytes(cx, &e, "empty", NULL, 0));
    CHECK_ERROR(cx, ql_entry_bytes(cx, &e, "more", NULL, 0), QL_BUG, "no room for the part 'more' of an entry");
    REQUIRE_OK(cx, ql_entry_write(cx, &e, path));

    REQUIRE_OK(cx, ql_entry_open(cx, path, &f));
    for (int i = 0; i < 7; i++) {
        REQUIRE_OK(cx, ql_entry_load(cx, &f, ql_format(cx, "t%d", i), &got));
        check_equal(cx, got, t[i]);
    }
    CHECK_OK(cx, ql_entry_load(cx, &f, "none", &got));
    CHECK(got == NULL);
    CHECK_OK(cx, ql_entry_copy(cx, &f, "numbers", copy, sizeof copy));
    CHECK(memcmp(copy, numbers, sizeof copy) == 0);
    CHECK_OK(cx, ql_entry_copy(cx, &f, "empty", copy, 0));
    CHECK_ERROR(cx, ql_entry_copy(cx, &f, "numbers", copy, 8), QL_INVALID,
                ql_format(cx, "%s: 'numbers' has 32 bytes, expected 8", path));
    CHECK_ERROR(cx, ql_entry_copy(cx, &f, "none", copy, 8), QL_INVALID, ql_format(cx, "%s: it has no 'none'", path));
    ql_st_close(&f);
}

/* Whatever bit changes and wherever it is cut, an entry is not read as another. */
static void
test_damage(ql_ctx *cx, const char *folder)
{
    const char *path = ql_format(cx, "%s/damage", folder), *text;
    ql_tensor *codes, *got;
    char *bytes, about[4];
    size_t size;
    int unseen = 0;
    ql_entry e;
    ql_st_file f;

    REQUIRE_OK(cx, ql_entry_begin(cx, 2, &e));
    codes = random_tensor(cx, QL_U8, 3, 5);
    REQUIRE_OK(cx, ql_entry_tensor(cx, &e, "codes", codes));
    REQUIRE_OK(cx, ql_entry_bytes(cx, &e, "about", "gptq", 4));
    REQUIRE_OK(cx, ql_entry_write(cx, &e, path));
    REQUIRE_OK(cx, ql_file_read(cx, path, &text, &size));
    bytes = ql_alloc(cx, size, 1);
    for (size_t i = 0; i < size; i++) {
        memcpy(bytes, text, size);
        bytes[i] = (char)(bytes[i] ^ 1 << below(8));
        REQUIRE_OK(cx, ql_file_write(cx, path, bytes, size));
        if (ql_entry_open(cx, path, &f) == QL_OK) { /* a blank of the header, say */
            CHECK_OK(cx, ql_entry_load(cx, &f, "codes", &got));
            check_equal(cx, got, codes);
            CHECK(ql_entry_copy(cx, &f, "about", about, 4) == QL_OK && memcmp(about, "gptq", 4) == 0);
            unseen++;
        }
        ql_st_close(&f);
        REQUIRE_OK(cx, ql_file_write(cx, path, text, i));
        CHECK_INT(ql_entry_open(cx, path, &f), QL_INVALID);
    }
    CHECK(unseen < (int)size / 4);
    REQUIRE_OK(cx, ql_file_write(cx, path, text, size));
    REQUIRE_OK(cx, ql_entry_open(cx, path, &f));
    ql_st_close(&f);
}

/* --- the folder --- */

static void
save(ql_ctx *cx, const ql_store *s, ql_key key, int64_t block, const char *about, size_t bytes)
{
    ql_entry e;

    REQUIRE_OK(cx, ql_entry_begin(cx, 2, &e));
    REQUIRE_OK(cx, ql_entry_bytes(cx, &e, QL_ABOUT, about, strlen(about)));
    REQUIRE_OK(cx, ql_entry_bytes(cx, &e, "bytes", ql_alloc(cx, bytes, 1), bytes));
    REQUIRE_OK(cx, ql_store_save(cx, s, key, block, &e));
}

/* The node looks as if it had been used so long ago. */
static void
age(ql_ctx *cx, const ql_store *s, ql_key key, time_t seconds)
{
    const struct timespec then[2] = {{.tv_sec = time(NULL) - seconds}, {.tv_sec = time(NULL) - seconds}};
    char path[QL_STORE_PATH];

    (void)cx;
    CHECK(ql_store_node(s, key, path) && utimensat(AT_FDCWD, path, then, 0) == 0);
}

static void
test_store(ql_ctx *cx, const char *folder)
{
    const char *cache = ql_format(cx, "%s/deep/cache", folder), *about;
    const ql_key a = random_key(), b = random_key();
    ql_store s, fresh;
    ql_st_file f;

    CHECK_ERROR(cx, ql_store_check(cx, cache), QL_NOT_FOUND,
                ql_format(cx, "%s: no cache of qloom: it has no CACHEDIR.TAG", cache));
    CHECK_ERROR(cx, ql_store_open(cx, folder, &s), QL_INVALID,
                ql_format(cx, "%s: the folder has other files; a cache needs one of its own", folder));
    REQUIRE_OK(cx, ql_make_folders(cx, cache));
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/CACHEDIR.TAG.7.tmp", cache), "torn", 4));
    REQUIRE_OK(cx, ql_store_open(cx, cache, &s));
    REQUIRE_OK(cx, ql_store_open(cx, cache, &s));
    CHECK_OK(cx, ql_store_check(cx, cache));
    CHECK(!ql_store_has(&s, a, 3));
    save(cx, &s, a, 3, "first", 10);
    save(cx, &s, a, QL_WHOLE, "first", 10);
    CHECK(ql_store_has(&s, a, 3) && ql_store_has(&s, a, QL_WHOLE) && !ql_store_has(&s, a, 4) &&
          !ql_store_has(&s, b, 3));
    fresh = s;
    fresh.fresh = true;
    CHECK(!ql_store_has(&fresh, a, 3));
    CHECK_OK(cx, ql_store_load(cx, &s, a, 3, &f));
    ql_st_close(&f);
    CHECK_OK(cx, ql_store_about(cx, &s, a, &about));
    CHECK_STR(about, "first");
    CHECK_OK(cx, ql_store_about(cx, &s, b, &about));
    CHECK_STR(about, "?");
    CHECK_ERROR(cx, ql_store_load(cx, &s, b, 3, &f), QL_INVALID, "No such file or directory");
}

static void
test_damaged_in_store(ql_ctx *cx, const char *folder)
{
    const ql_key key = random_key();
    char path[QL_STORE_PATH];
    ql_store s;
    ql_st_file f;

    REQUIRE_OK(cx, ql_store_open(cx, ql_format(cx, "%s/deep/cache", folder), &s));
    save(cx, &s, key, 0, "damaged", 100);
    CHECK(ql_store_node(&s, key, path));
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/00000.safetensors", path), "torn", 4));
    CHECK_INT(ql_store_load(cx, &s, key, 0, &f), QL_INVALID);
    CHECK(!ql_store_has(&s, key, 0));
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
    CHECK(ql_store_has(&s, old, 0) && !ql_store_has(&s, older, 0));
    s.limit = 1; /* what is in use stays even so */
    CHECK_OK(cx, ql_store_trim(cx, &s));
    CHECK(!ql_store_has(&s, old, 0) && ql_store_has(&s, used, 0));
    CHECK_INT(node_count(cx, &s), 1);
    REQUIRE_OK(cx, ql_file_write(cx, ql_format(cx, "%s/nodes/mine", s.folder), "x", 1));
    CHECK_OK(cx, ql_store_clear(cx, &s));
    CHECK_INT(node_count(cx, &s), 0);
    CHECK(ql_is_file(ql_format(cx, "%s/nodes/mine", s.folder)));
}

/* What a killed writer left goes, unless it may still be at work. */
static void
test_torn(ql_ctx *cx, const char *folder)
{
    const struct timespec then[2] = {{.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
    const ql_key key = random_key();
    const char *old, *young;
    char path[QL_STORE_PATH];
    ql_store s;

    REQUIRE_OK(cx, ql_store_open(cx, ql_format(cx, "%s/torn", folder), &s));
    save(cx, &s, key, 0, "torn", 1);
    CHECK(ql_store_node(&s, key, path));
    old = ql_format(cx, "%s/00001.safetensors.77.tmp", path);
    young = ql_format(cx, "%s/00002.safetensors.77.tmp", path);
    REQUIRE_OK(cx, ql_file_write(cx, old, "x", 1));
    REQUIRE_OK(cx, ql_file_write(cx, young, "x", 1));
    CHECK_INT(utimensat(AT_FDCWD, old, then, 0), 0);
    ql_store_touch(&s, key);
    CHECK(!ql_is_file(old) && ql_is_file(young) && ql_store_has(&s, key, 0));
}

/* --- contents --- */

static bool
same(ql_key a, ql_key b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static ql_key
hash(ql_ctx *cx, const ql_store *s, const char *path)
{
    ql_key key = {{0, 0}};

    CHECK_OK(cx, ql_content_hash(cx, s, path, &key));
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
    CHECK_ERROR(cx, ql_content_hash(cx, &s, "/nowhere/at all", &key), QL_NOT_FOUND, "/nowhere/at all");
}

/* --- the journal --- */

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
    REQUIRE_OK(cx, ql_file_read(cx, path, &text, &bytes));
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
    test_entry(&cx, folder);
    test_damage(&cx, folder);
    test_store(&cx, folder);
    test_damaged_in_store(&cx, folder);
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
