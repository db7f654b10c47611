/* Model folders: which files are read, what is refused, and that every dtype arrives on the device as the file has
 * it. */
#include "core/base/path.h"
#include "core/model/source.h"

#include <dirent.h>
#include <sys/mman.h>
#include <fcntl.h>
#include <unistd.h>

#include "host_backend.h"
#include "make_model.h"

static const char config[] = "{\"architectures\": [\"TestForCausalLM\"], \"model_type\": \"test\"}";

static void
put(ql_ctx *cx, const char *folder, const char *name, const char *text)
{
    CHECK_OK(cx, ql_file_write(cx, ql_format(cx, "%s/%s", folder, name), text, strlen(text)));
}

/* Removes the files of a folder. */
static void
empty(const char *folder)
{
    DIR *d = opendir(folder);
    char path[512];

    for (struct dirent *e; (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    closedir(d);
}

/* A file with one U8 tensor per letter of `names`, whose bytes are `fill`. */
static void
put_tensors(ql_ctx *cx, const char *folder, const char *file, const char *names, char fill)
{
    ql_st_entry entries[8];
    char text[8][2] = {{0}};
    ql_st_plan plan = {.count = (int64_t)strlen(names), .entries = entries};
    ql_st_writer *w;

    for (int64_t i = 0; i < plan.count; i++) {
        text[i][0] = names[i];
        entries[i] = (ql_st_entry){.name = text[i], .dtype = QL_ST_U8, .ndim = 1, .dims = {1}};
    }
    REQUIRE_OK(cx, ql_st_create(cx, ql_format(cx, "%s/%s", folder, file), &plan, &w));
    for (int64_t i = 0; i < plan.count; i++)
        CHECK_OK(cx, ql_st_write(cx, w, text[i], &fill, 1));
    CHECK_OK(cx, ql_st_commit(cx, w));
}

static int
byte_of(const ql_source *src, const char *name)
{
    const ql_st_tensor *t = ql_source_find(src, name);

    return t ? *ql_st_data(t) : -1;
}

static void
check_folders(ql_ctx *cx, const char *folder)
{
    ql_source *src = NULL;

    CHECK_ERROR(cx, ql_source_open(cx, "/nowhere/at/all/", &src), QL_NOT_FOUND, "/nowhere/at/all: no such folder");
    CHECK_ERROR(cx, ql_source_open(cx, "/dev/null", &src), QL_INVALID, "/dev/null: it is a device, not a folder");
    CHECK_ERROR(cx, ql_source_open(cx, folder, &src), QL_NOT_FOUND, "no config.json in this folder: is it a model?");
    put(cx, folder, "config.json", "{\n \"a\": 1,\n}");
    CHECK_ERROR(cx, ql_source_open(cx, folder, &src), QL_INVALID,
                ": config.json:3:1: expected a key in quotes, got '}'");
    put(cx, folder, "config.json", "[]");
    CHECK_ERROR(cx, ql_source_open(cx, folder, &src), QL_INVALID, ": config.json: expected an object, got an array");
    put(cx, folder, "config.json", config);
    CHECK_ERROR(cx, ql_source_open(cx, folder, &src), QL_NOT_FOUND, ": no model.safetensors in this folder");
    put(cx, folder, "pytorch_model.bin", "");
    CHECK_ERROR(cx, ql_source_open(cx, folder, &src), QL_UNSUPPORTED, ": weights are read from safetensors only");
    put(cx, folder, "model-00001-of-00002.safetensors", "");
    CHECK_ERROR(cx, ql_source_open(cx, folder, &src), QL_NOT_FOUND,
                ": neither model.safetensors nor model.safetensors.index");
    put(cx, folder, "model.safetensors", "");
    CHECK_ERROR(cx, ql_source_open(cx, folder, &src), QL_INVALID, "/model.safetensors: header too small");
    empty(folder);
}

static void
check_shards(ql_ctx *cx, const char *folder, const heard *log)
{
    static const char *const wrong[] = {"\"\"",    "\".\"",      "\"..\"",          "\"../a\"",
                                        "\"a/b\"", "\"a\\\\b\"", "\"/etc/passwd\"", "1"};
    const char *index = "model.safetensors.index.json";
    ql_source *src = NULL;

    put(cx, folder, "config.json", config);
    put(cx, folder, index, "{}");
    CHECK_ERROR(cx, ql_source_open(cx, folder, &src), QL_INVALID,
                "index.json: expected an object with weight_map, got an object");
    put(cx, folder, index, "{\"weight_map\": []}");
    CHECK_ERROR(cx, ql_source_open(cx, folder, &src), QL_INVALID,
                "index.json: 'weight_map': expected an object, got an array");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put(cx, folder, index, ql_format(cx, "{\"weight_map\": {\"a\": %s}}", wrong[i]));
        CHECK_ERROR(cx, ql_source_open(cx, folder, &src), QL_INVALID,
                    ql_format(cx, "index.json: 'weight_map.a': expected a plain file name, got %s", wrong[i]));
    }
    put_tensors(cx, folder, "2.safetensors", "abx", '2');
    put(cx, folder, index,
        "{\"weight_map\": {\"b\": \"2.safetensors\", \"c\": \"1.safetensors\", \"a\": \"2.safetensors\"}}");
    CHECK_ERROR(cx, ql_source_open(cx, folder, &src), QL_NOT_FOUND, "/1.safetensors: No such file or directory");
    put_tensors(cx, folder, "1.safetensors", "d", '1');
    CHECK_INT(log->count, 0);
    REQUIRE_OK(cx, ql_source_open(cx, folder, &src));
    CHECK_INT(log->count, 1);
    CHECK(strstr(log->last, "the map names 1 tensors that its files lack, and lacks 2 that they hold") != NULL);
    CHECK_INT(byte_of(src, "d"), '1');
    CHECK_INT(byte_of(src, "c"), -1);
    ql_source_close(src);
    put_tensors(cx, folder, "1.safetensors", "cx", '1');
    CHECK_ERROR(cx, ql_source_open(cx, folder, &src), QL_INVALID,
                "two files hold a tensor 'x', and the map names neither");
    put_tensors(cx, folder, "1.safetensors", "cb", '1');
    REQUIRE_OK(cx, ql_source_open(cx, folder, &src));
    CHECK(strstr(log->last, "the map names 0 tensors that its files lack, and lacks 1 that they hold") != NULL);
    CHECK_INT(ql_source_count(src), 4);
    CHECK_STR(ql_source_item(src, 2)->name, "c");
    CHECK_INT(byte_of(src, "a"), '2');
    CHECK_INT(byte_of(src, "b"), '2');
    CHECK_INT(byte_of(src, "c"), '1');
    CHECK_INT(byte_of(src, "x"), '2');
    CHECK(ql_source_has(src, "c") && !ql_source_has(src, "y") && ql_json_is_object(ql_source_config(src)));
    CHECK_STR(ql_source_folder(src), folder);
    ql_source_close(src);
    put_tensors(cx, folder, "model.safetensors", "a", '0'); /* the single file wins */
    REQUIRE_OK(cx, ql_source_open(cx, ql_format(cx, "%s//", folder), &src));
    CHECK_INT(ql_source_count(src), 1);
    CHECK_INT(byte_of(src, "a"), '0');
    CHECK_STR(ql_source_folder(src), folder);
    ql_source_close(src);
    empty(folder);
}

/* --- loading ---------------------------------------------------------------------------------------------------- */

typedef struct sample {
    const char *name;
    ql_st_dtype dtype;
    size_t bytes;
    uint64_t bits[3]; /* three elements */
    double values[3];
} sample;

static const sample samples[] = {
    {"BOOL", QL_ST_BOOL, 1, {0, 1, 1}, {0, 1, 1}},
    {"U8", QL_ST_U8, 1, {0, 7, 255}, {0, 7, 255}},
    {"I8", QL_ST_I8, 1, {0x80, 0x7f, 0xff}, {-128, 127, -1}},
    {"I16", QL_ST_I16, 2, {0x8000, 0x7fff, 0xffff}, {-32768, 32767, -1}},
    {"U16", QL_ST_U16, 2, {0, 0x8000, 0xffff}, {0, 32768, 65535}},
    {"I32", QL_ST_I32, 4, {0x80000000, 5, 0xffffffff}, {-2147483648.0, 5, -1}},
    {"U32", QL_ST_U32, 4, {0, 5, 0xffffffff}, {0, 5, 4294967295.0}},
    {"I64", QL_ST_I64, 8, {0, UINT64_MAX, 1 << 20}, {0, -1, 1 << 20}},
    {"U64", QL_ST_U64, 8, {0, 3, 1 << 20}, {0, 3, 1 << 20}},
    {"F16", QL_ST_F16, 2, {0x3c00, 0xc500, 0x0001}, {1, -5, 0x1p-24}},
    {"BF16", QL_ST_BF16, 2, {0x3f80, 0xc0a0, 0x7f80}, {1, -5, (double)INFINITY}},
    {"F32", QL_ST_F32, 4, {0x3f800000, 0xc0a00000, 1}, {1, -5, 0x1p-149}},
    {"F64", QL_ST_F64, 8, {0x3ff0000000000000, 0xc014000000000000, 0}, {1, -5, 0}},
};

#define SAMPLES ((int64_t)(sizeof samples / sizeof *samples))

/* An odd tensor first, so that nothing behind it is aligned: the file is put together by hand. */
static void
put_samples(ql_ctx *cx, const char *folder)
{
    const char *header = ql_format(cx, "{\"odd\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                                       "\"F8\":{\"dtype\":\"F8_E4M3\",\"shape\":[3],\"data_offsets\":[1,4]},"
                                       "\"big\":{\"dtype\":\"U64\",\"shape\":[1],\"data_offsets\":[4,12]},"
                                       "\"cube\":{\"dtype\":\"U8\",\"shape\":[2,1,3],\"data_offsets\":[12,18]}");
    unsigned char data[256] = {9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 1, 2, 3, 4, 5, 6}, length[8] = {0};
    size_t used = 18;
    ql_file_writer w;

    for (int64_t i = 0; i < SAMPLES; i++) {
        const sample *s = &samples[i];

        header = ql_format(cx, "%s,\"%s\":{\"dtype\":\"%s\",\"shape\":[1,3],\"data_offsets\":[%zu,%zu]}", header,
                           s->name, s->name, used, used + 3 * s->bytes);
        for (int k = 0; k < 3; k++, used += s->bytes)
            memcpy(data + used, &s->bits[k], s->bytes);
    }
    header = ql_format(cx, "%s}", header);
    length[0] = (unsigned char)(strlen(header) & 255);
    length[1] = (unsigned char)(strlen(header) >> 8);
    REQUIRE_OK(cx, ql_file_create(cx, ql_format(cx, "%s/model.safetensors", folder), &w));
    CHECK_OK(cx, ql_file_put(cx, &w, length, 8));
    CHECK_OK(cx, ql_file_put(cx, &w, header, strlen(header)));
    CHECK_OK(cx, ql_file_put(cx, &w, data, used));
    CHECK_OK(cx, ql_file_commit(cx, &w));
    put(cx, folder, "config.json", config);
}

static void
check_samples(ql_ctx *cx, const ql_source *src)
{
    for (int64_t i = 0; i < SAMPLES; i++) {
        const sample *s = &samples[i];
        const ql_dtype device = ql_st_dtype_device(s->dtype);
        ql_want want = {.name = s->name, .ndim = 2, .dims = {1, 3}};
        ql_tensor *t = NULL;
        double v;

        REQUIRE_OK(cx, ql_source_load(cx, src, &want, &t));
        CHECK_INT(ql_dtype_of(t), device == QL_DTYPE_NONE ? QL_I64 : device);
        for (int k = 0; k < 3; k++) {
            CHECK_OK(cx, ql_item(cx, t, k, &v));
            CHECK(v == s->values[k]);
        }
        want.dtype = QL_F64;
        REQUIRE_OK(cx, ql_source_load(cx, src, &want, &t));
        CHECK_INT(ql_dtype_of(t), QL_F64);
        CHECK(ql_ndim(t) == 2 && ql_dim(t, 0) == 1 && ql_dim(t, 1) == 3);
        for (int k = 0; k < 3; k++) {
            CHECK_OK(cx, ql_item(cx, t, k, &v));
            CHECK(v == s->values[k]);
        }
        CHECK_INT(ql_source_reads(src, s->name), 2);
    }
}

static void
check_loading(ql_ctx *cx, const char *folder)
{
    ql_want want = {.name = "F32", .ndim = 2, .dims = {3, 1}};
    ql_source *src = NULL;
    ql_tensor *t = NULL;
    double v;

    put_samples(cx, folder);
    REQUIRE_OK(cx, ql_source_open(cx, folder, &src));
    check_samples(cx, src);
    CHECK_ERROR(cx, ql_source_load(cx, src, &want, &t), QL_INVALID, "F32: shape [3, 1] expected, file has [1, 3]");
    want = (ql_want){.name = "F32", .ndim = 1, .dims = {3}};
    CHECK_ERROR(cx, ql_source_check(cx, src, &want), QL_INVALID, "F32: shape [3] expected, file has [1, 3]");
    want = (ql_want){.name = "none", .ndim = 1, .dims = {3}};
    CHECK_ERROR(cx, ql_source_check(cx, src, &want), QL_NOT_FOUND, "none: no such tensor in the files");
    want = (ql_want){.name = "F8", .ndim = 1, .dims = {3}};
    CHECK_ERROR(cx, ql_source_check(cx, src, &want), QL_UNSUPPORTED, "F8: tensors of dtype F8_E4M3 can't be read");
    want = (ql_want){.name = "big", .ndim = 1, .dims = {1}};
    CHECK_ERROR(cx, ql_source_load(cx, src, &want, &t), QL_UNSUPPORTED,
                "big: element 0 is 9223372036854775808, above what fits a signed 64-bit integer");
    want = (ql_want){.name = "cube", .ndim = 3, .dims = {2, 1, 3}};
    CHECK_OK(cx, ql_source_load(cx, src, &want, &t));
    CHECK(ql_ndim(t) == 3 && ql_dim(t, 2) == 3);
    CHECK_OK(cx, ql_item(cx, t, 5, &v));
    CHECK_NEAR(v, 6, 0);
    want = (ql_want){.name = "odd", .ndim = 1, .dims = {1}};
    ql_source_prefetch(src, "odd");
    ql_source_prefetch(src, "none");
    CHECK_OK(cx, ql_source_load(cx, src, &want, &t));
    CHECK_INT(ql_source_reads(src, "odd"), 1);
    CHECK_INT(ql_source_reads(src, "none"), 0);
    CHECK(ql_source_equal(ql_source_find(src, "F32"), ql_source_find(src, "F32")));
    CHECK(!ql_source_equal(ql_source_find(src, "F32"), ql_source_find(src, "I32")));
    CHECK(!ql_source_equal(ql_source_find(src, "cube"), ql_source_find(src, "U8")));
    ql_source_close(src);
    empty(folder);
}

/* --- a generated model ------------------------------------------------------------------------------------------ */

/* Rows equal the rows of the whole table, whatever the shards and dtypes. */
static void
check_rows(ql_ctx *cx, const char *folder, uint64_t *rng)
{
    const int64_t vocab = 1 + (int64_t)(test_u64(rng) % 300), width = 1 + (int64_t)(test_u64(rng) % 70);
    const model_spec spec = {.architecture = "TestForCausalLM",
                             .type = "test",
                             .vocab = vocab,
                             .hidden = width,
                             .intermediate = 5,
                             .layers = 3,
                             .heads = 1,
                             .kv_heads = 1,
                             .head_dim = 2,
                             .tied = test_u64(rng) % 2,
                             .dtype = (ql_st_dtype[]){QL_ST_F32, QL_ST_F16, QL_ST_BF16}[test_u64(rng) % 3],
                             .shards = (int)(test_u64(rng) % 4),
                             .seed = test_u64(rng)};
    ql_want want = {.name = "model.embed_tokens.weight", .dtype = QL_F32, .ndim = 2, .dims = {vocab, width}};
    int32_t ids[50];
    const int64_t count = (int64_t)(test_u64(rng) % 50) + 1;
    ql_source *src = NULL;
    ql_tensor *all, *rows = NULL;

    REQUIRE_OK(cx, make_model(cx, folder, &spec));
    REQUIRE_OK(cx, ql_source_open(cx, folder, &src));
    CHECK_INT(ql_source_count(src), 3 * 9 + (spec.tied ? 2 : 3));
    for (int64_t i = 0; i < count; i++)
        ids[i] = (int32_t)(test_u64(rng) % (uint64_t)vocab);
    REQUIRE_OK(cx, ql_source_rows(cx, src, &want, ids, count, &rows));
    CHECK_INT(ql_source_reads(src, want.name), 0);
    REQUIRE_OK(cx, ql_source_load(cx, src, &want, &all));
    CHECK_INT(ql_source_reads(src, want.name), 1);
    CHECK(ql_dim(rows, 0) == count && ql_dim(rows, 1) == width && ql_dtype_of(rows) == QL_F32);
    for (int64_t i = 0; i < count * width; i++)
        CHECK(host_item(rows, i) == host_item(all, ids[i / width] * width + i % width));
    ids[count - 1] = (int32_t)vocab;
    CHECK_ERROR(cx, ql_source_rows(cx, src, &want, ids, count, &rows), QL_INVALID,
                ql_format(cx, "token id %d at position %d is outside the vocabulary of %d", (int)vocab, (int)count - 1,
                          (int)vocab));
    ids[0] = -1;
    CHECK_ERROR(cx, ql_source_rows(cx, src, &want, ids, count, &rows), QL_INVALID,
                "token id -1 at position 0 is outside");
    want.dims[1]++;
    CHECK_ERROR(cx, ql_source_rows(cx, src, &want, ids, count, &rows), QL_INVALID,
                "model.embed_tokens.weight: shape [");
    ql_source_close(src);
    empty(folder);
}

/* Resident pages of mapped files, in KiB; -1: this system does not say. */
static long
resident_files(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long kib = -1;

    while (f && kib < 0 && fgets(line, sizeof line, f))
        if (sscanf(line, "RssFile: %ld", &kib) != 1)
            kib = -1;
    if (f)
        fclose(f);
    return kib;
}

/* Loading and gathering give the mapped pages back: 24 MB pass through, next to nothing stays. */
static void
check_pages(ql_ctx *cx, const char *folder)
{
    const model_spec spec = {.architecture = "A",
                             .type = "a",
                             .vocab = 3000,
                             .hidden = 256,
                             .intermediate = 512,
                             .layers = 16,
                             .heads = 4,
                             .kv_heads = 4,
                             .head_dim = 64,
                             .dtype = QL_ST_BF16,
                             .shards = 3,
                             .seed = 5};
    const int32_t ids[] = {0, 1500, 2999};
    ql_source *src = NULL;
    long before;

    REQUIRE_OK(cx, make_model(cx, folder, &spec));
    REQUIRE_OK(cx, ql_source_open(cx, folder, &src));
    before = resident_files();
    for (int64_t i = 0; i < ql_source_count(src); i++) {
        const ql_st_tensor *file = ql_source_item(src, i);
        ql_want want = {.name = file->name, .ndim = (int)file->ndim};
        ql_scope scope;
        ql_tensor *t;

        for (int k = 0; k < want.ndim; k++)
            want.dims[k] = file->dims[k];
        ql_scope_open(cx, &scope);
        ql_source_prefetch(src, want.name);
        CHECK_OK(cx, ql_source_load(cx, src, &want, &t));
        if (want.dims[0] == spec.vocab)
            CHECK_OK(cx, ql_source_rows(cx, src, &want, ids, 3, &t));
        ql_scope_close(cx, &scope);
        CHECK_INT(ql_source_reads(src, want.name), 1);
    }
    if (before >= 0 && resident_files() - before > 512)
        TEST_FAIL("%ld KiB of the files are still resident", resident_files() - before);
    ql_source_close(src);
    empty(folder);
}

/* Pages of the file that the system's cache has. */
static int64_t
cached_pages(const ql_st_file *f)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), count = (f->size + page - 1) / page;
    unsigned char *there = calloc(count, 1);
    int64_t sum = 0;

    if (there && mincore((void *)(uintptr_t)f->data, f->size, there) == 0)
        for (size_t i = 0; i < count; i++)
            sum += there[i] & 1;
    free(there);
    return sum;
}

/* Does the file system give pages of a file up at all, when a program says that it needs them no more? */
static bool
gives_up(ql_ctx *cx, const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    ql_st_file f;
    bool less;

    CHECK(fd >= 0 && fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0 && close(fd) == 0);
    REQUIRE_OK(cx, ql_st_open(cx, path, &f));
    less = cached_pages(&f) * sysconf(_SC_PAGESIZE) < 1 << 20;
    ql_st_close(&f);
    return less;
}

/* What is given back of a file that is read once leaves the cache, where the file system has one; of others it stays. */
static void
check_once(ql_ctx *cx, const char *folder)
{
    const char *path = ql_format(cx, "%s/model.safetensors", folder);
    const ql_st_entry entry = {.name = "t", .dtype = QL_ST_U8, .ndim = 1, .dims = {8 << 20}};
    char *bytes = ql_alloc(cx, 8 << 20, 1);
    const int64_t page = sysconf(_SC_PAGESIZE), half = (4 << 20) / page;
    ql_st_writer *w;
    ql_st_file f;
    bool leaves;

    REQUIRE_OK(cx, ql_st_create(cx, path, &(ql_st_plan){.count = 1, .entries = &entry}, &w));
    REQUIRE_OK(cx, ql_st_write(cx, w, "t", bytes, 8 << 20));
    REQUIRE_OK(cx, ql_st_commit(cx, w));
    leaves = gives_up(cx, path);
    REQUIRE_OK(cx, ql_st_open(cx, path, &f));
    for (int once = 0; once < 2; once++) {
        f.once = once;
        CHECK(memcmp(ql_st_data(&f.tensors[0]), bytes, 8 << 20) == 0);
        CHECK(cached_pages(&f) > half);
        ql_st_release(&f.tensors[0]);
        if (leaves)
            CHECK(once ? cached_pages(&f) < half / 4 : cached_pages(&f) > half);
    }
    ql_st_close(&f);
}

/* A model of more bytes than the machine has of memory is read so; its file is a hole. */
static void
check_larger(ql_ctx *cx, const char *folder)
{
    const char *path = ql_format(cx, "%s/model.safetensors", folder);
    const long long size = (long long)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) + (1LL << 20);
    const char *header =
        ql_format(cx, "{\"t\":{\"dtype\":\"U8\",\"shape\":[%lld],\"data_offsets\":[0,%lld]}}", size, size);
    const uint64_t length = strlen(header);
    char *text = ql_alloc(cx, 8 + strlen(header), 1);
    ql_source *src = NULL;

    memcpy(text, &length, 8);
    memcpy(text + 8, header, length);
    put(cx, folder, "config.json", "{}");
    REQUIRE_OK(cx, ql_file_write(cx, path, text, 8 + length));
    if (truncate(path, (off_t)(8 + length) + size) != 0)
        return; /* no file system for it */
    REQUIRE_OK(cx, ql_source_open(cx, folder, &src));
    CHECK(ql_source_item(src, 0)->file->once);
    ql_source_close(src);
}

static void
check_memory(const char *folder)
{
    const model_spec spec = {.architecture = "A",
                             .type = "a",
                             .vocab = 3,
                             .hidden = 2,
                             .intermediate = 2,
                             .layers = 1,
                             .heads = 1,
                             .kv_heads = 1,
                             .head_dim = 2,
                             .dtype = QL_ST_F32,
                             .shards = 2};
    const ql_want want = {.name = "model.norm.weight", .dtype = QL_F64, .ndim = 1, .dims = {2}};
    ql_status st = QL_MEMORY;

    for (int64_t n = 0; (n == 0 || st != QL_OK) && n < 1000; n++) {
        ql_ctx cx;
        ql_scope scope;
        ql_source *src = NULL;
        ql_tensor *t;

        host_begin(&cx, &scope, 0);
        if (n == 0)
            REQUIRE_OK(&cx, make_model(&cx, folder, &spec));
        cx.fail_alloc = n;
        st = ql_source_open(&cx, folder, &src);
        if (st == QL_OK)
            st = ql_source_load(&cx, src, &want, &t);
        CHECK(st == QL_OK || st == QL_MEMORY);
        ql_source_close(src);
        cx.fail_alloc = 0;
        host_end(&cx);
    }
    CHECK_INT(st, QL_OK);
    empty(folder);
}

static void
write_names(ql_ctx *cx, const char *folder, const char *const *names)
{
    ql_st_entry entries[4] = {{0}};
    int64_t n = 0;
    ql_st_writer *w;

    for (; names[n]; n++)
        entries[n] = (ql_st_entry){.name = names[n], .dtype = QL_ST_U8, .ndim = 1, .dims = {1}};
    put(cx, folder, "config.json", "{}");
    REQUIRE_OK(cx, ql_st_create(cx, ql_format(cx, "%s/model.safetensors", folder),
                                &(ql_st_plan){.count = n, .entries = entries}, &w));
    for (int64_t i = 0; i < n; i++)
        CHECK_OK(cx, ql_st_write(cx, w, names[i], "x", 1));
    CHECK_OK(cx, ql_st_commit(cx, w));
}

/* Names without the prefix of the whole model are found under it; others are told with what they begin with. */
static void
check_anchor(ql_ctx *cx, const char *folder)
{
    static const char *const bare[] = {"embed.weight", "layers.0.w", "lm_head.weight", NULL};
    static const char *const wrapped[] = {"module.model.embed.weight", "module.model.layers.0.w", NULL};
    static const char *const strange[] = {"a", "b", "c", "d", NULL};
    ql_source *src = NULL;

    write_names(cx, folder, bare);
    REQUIRE_OK(cx, ql_source_open(cx, folder, &src));
    CHECK(!ql_source_has(src, "model.layers.0.w"));
    CHECK_OK(cx, ql_source_anchor(cx, src, "model.embed.weight", "model."));
    CHECK(ql_source_has(src, "model.layers.0.w") && ql_source_has(src, "lm_head.weight") &&
          !ql_source_has(src, "model.layers.1.w"));
    ql_source_close(src);
    write_names(cx, folder, wrapped);
    REQUIRE_OK(cx, ql_source_open(cx, folder, &src));
    CHECK_ERROR(cx, ql_source_anchor(cx, src, "model.embed.weight", "model."), QL_NOT_FOUND,
                "no tensor model.embed.weight: the names begin with 'module.model.' where 'model.' is expected");
    ql_source_close(src);
    write_names(cx, folder, strange);
    REQUIRE_OK(cx, ql_source_open(cx, folder, &src));
    CHECK_ERROR(cx, ql_source_anchor(cx, src, "model.embed.weight", "model."), QL_NOT_FOUND,
                "no tensor model.embed.weight among the 4 that the files hold: a, b, c, \xe2\x80\xa6");
    ql_source_close(src);
    put(cx, folder, "model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    CHECK_ERROR(cx, ql_source_open(cx, folder, &src), QL_INVALID, "model.safetensors: a Git LFS pointer");
}

int
main(void)
{
    uint64_t rng = test_seed();
    char folder[] = "/tmp/qloom-source-XXXXXX";
    heard log = {0};
    const ql_log sink = {.write = hear, .user = &log};
    ql_ctx cx;
    ql_scope scope;

    if (!mkdtemp(folder))
        SKIP("no temporary folder");
    host_begin(&cx, &scope, 0);
    cx.log = &sink;
    check_folders(&cx, folder);
    check_shards(&cx, folder, &log);
    check_loading(&cx, folder);
    for (int i = 0; i < 8; i++)
        check_rows(&cx, folder, &rng);
    check_pages(&cx, folder);
    check_once(&cx, folder);
    check_larger(&cx, folder);
    check_anchor(&cx, ql_format(&cx, "%s", folder));
    CHECK_OK(&cx, ql_remove_tree(&cx, ql_format(&cx, "%s/config.json", folder)));
    CHECK_OK(&cx, ql_remove_tree(&cx, ql_format(&cx, "%s/model.safetensors", folder)));
    host_end(&cx);
    check_memory(folder);
    CHECK_INT(rmdir(folder), 0);
    return TEST_DONE();
}
