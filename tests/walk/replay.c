/* The store: whatever is in it, in whatever state, a run ends with the bits of a run without; what is there is not worked out again. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/job/job.h"
#include "core/store/store.h"
#include "walk.h"

#define BASE                                                                       \
    "qloom: 1\n"                                                                   \
    "name: replay\n"                                                               \
    "chunk_tokens: 128\n"                                                          \
    "stages:\n"                                                                    \
    "  base: {use: auto, path: %s/model}\n"                                        \
    "  calib: {use: text, path: calib.txt, samples: 3, seqlen: 80}\n"              \
    "  wiki: {use: text, path: eval.txt, seqlen: 80, samples: 3}\n"                \
    "  quant: {use: gptq, model: $base, calib: $calib, bits: 3, group_size: 20}\n" \
    "  fix: {use: none, model: $quant, calib: $calib}\n"                           \
    "  error: {use: layer_error, model: $fix}\n"                                   \
    "  ppl: {use: perplexity, model: $fix, data: $wiki}\n"                         \
    "  kl: {use: kl, model: $fix, data: $wiki}\n"                                  \
    "matrix:\n"                                                                    \
    "  quant: [{use: rtn}, {use: gptq, overrides: [{match: '*.2.mlp.*', skip: true}]}, {use: brittle}]\n"
#define TWO "  fix: [{use: none}, {use: loftq, rank: 3}]\n"
#define THREE "  fix: [{use: none}, {use: loftq, rank: 3}, {use: lordq, rank: 4, propagate: compensated}]\n"
#define JOINT "exclude: [{quant.use: brittle}, {quant.use: rtn}]\npropagate: compensated\n"

/* --- a quantizer that gives up in the third block, as one whose numbers overflow does --- */

typedef struct brittle {
    int bits, group_size;
} brittle;

static const ql_param brittle_params[] = {QL_BITS(brittle, 4), QL_GROUP_SIZE(brittle, 128), QL_PARAMS_END};

static ql_status
quantize_brittle(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    const brittle *p = self;

    (void)stats;
    if (strstr(ql_linear_name(cx), ".2.self_attn.o_proj"))
        return QL_FAIL(cx, QL_NUMERIC, "too brittle");
    out->grid = (ql_grid){.bits = p->bits, .group = ql_group_columns(p->group_size, ql_dim(w, 1))};
    out->grid.scale_dtype = QL_F32;
    QL_TRY(cx, ql_group_minmax(cx, w, &out->grid, &out->scales, &out->zeros));
    return ql_group_encode(cx, w, out);
}

static const ql_plugin plugin = {
    .abi_major = QL_ABI_MAJOR,
    .abi_minor = QL_ABI_MINOR,
    .size = sizeof(ql_plugin),
    .kind = QL_QUANTIZER,
    .name = "brittle",
    .version = "1.0",
    .help = "fails in the third block",
    .params = brittle_params,
    .self_size = sizeof(brittle),
    .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize_brittle),
};

/* --- runs --- */

static uint64_t seed;

static int
random_below(int n)
{
    return (int)(test_u64(&seed) % (uint64_t)n);
}

/* A run with what the runs of folder `name` have left; the log holds what it said. */
static ql_status
run(walk_test *t, const char *name, const char *text)
{
    ql_status st;

    t->log.used = 0;
    t->runs = walk_format(t, "%s/%s", t->folder, name);
    st = walk_run(t, text, 1 + random_below(2), 0);
    t->runs = NULL;
    return st;
}

/* Runs, compares with the run without a store, and says whether the log has `words`. */
static bool
run_says(walk_test *t, const char *name, const char *text, const char *plain, const char *words)
{
    WALK_ENDS(t, run(t, name, text));
    walk_check_same(walk_dump_all(t), plain);
    return strstr(t->log.text, words) != NULL;
}

/* --- what happens to entries --- */

static void
truncate_file(const char *path, off_t size)
{
    CHECK_INT(truncate(path, size > 0 ? random_below((int)size) : 0), 0);
}

static void
flip_byte(const char *path, off_t size)
{
    const off_t at = random_below((int)size);
    int fd = open(path, O_RDWR);
    unsigned char byte;

    CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= (unsigned char)(1 << random_below(8));
    CHECK(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
}

static void
remove_file(const char *path, off_t size)
{
    (void)size;
    CHECK_INT(unlink(path), 0);
}

/* A whole entry in the place of another. */
static void
misplace_file(const char *path, off_t size)
{
    static char last[8192];
    char command[20000];

    (void)size;
    snprintf(command, sizeof command, "cp '%s' '%s'", last, path);
    if (*last && strcmp(last, path) != 0)
        CHECK_INT(system(command), 0);
    snprintf(last, sizeof last, "%s", path);
}

/* Makes the entry anew, with the right checksum, of parts that are lost, shorter, or bytes without a shape. */
static void
forge_file(const char *path, off_t size)
{
    const int way = random_below(3);
    ql_parcel whole, forged = {0};
    ql_scope scope;
    ql_ctx cx;

    (void)size;
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    if (ql_parcel_read(&cx, path, &whole) != QL_OK) { /* harmed before, and not read since */
        ql_ctx_fini(&cx);
        return;
    }
    for (int64_t i = 0, chosen = random_below((int)whole.file->count); i < whole.file->count; i++) {
        const ql_st_tensor *p = &whole.file->tensors[i];
        const bool hit = i == chosen || (way == 2 && p->ndim > 1);

        if (strcmp(p->name, "xxh128") == 0 || (hit && way == 0 && strcmp(p->name, "tally") != 0))
            continue;
        REQUIRE_OK(&cx,
                   ql_parcel_put(&cx, &forged, p->name, ql_st_data(p), p->bytes - (hit && way == 1 && p->bytes > 0)));
    }
    REQUIRE_OK(&cx, ql_parcel_write(&cx, &forged, path));
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
}

/* Does `harm` to about one entry in `one_in`. */
static void
harm_entries(walk_test *t, const char *name, int one_in, void (*harm)(const char *path, off_t size))
{
    char nodes[4096];
    DIR *d;

    snprintf(nodes, sizeof nodes, "%s/%s/" QL_CACHE_DEFAULT "/nodes", t->folder, name);
    d = opendir(nodes);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        char folder[8192];
        DIR *files;

        snprintf(folder, sizeof folder, "%s/%s", nodes, e->d_name);
        files = e->d_name[0] == '.' ? NULL : opendir(folder);
        for (struct dirent *f = files ? readdir(files) : NULL; f; f = readdir(files)) {
            char path[12288];
            struct stat info;

            snprintf(path, sizeof path, "%s/%s", folder, f->d_name);
            if (f->d_name[0] == '.' || random_below(one_in) != 0 || stat(path, &info) != 0)
                continue;
            harm(path, info.st_size);
        }
        if (files)
            closedir(files);
    }
    if (d)
        closedir(d);
}

/* --- tests --- */

static const char *
pipeline(walk_test *t, const char *cells)
{
    return walk_format(t, BASE "%s", t->folder, cells);
}

/* All that a run without a store says. */
static const char *
plain_run(walk_test *t, const char *text)
{
    WALK_ENDS(t, walk_run(t, text, 2, 0));
    return walk_dump_all(t);
}

static void
test_states(walk_test *t, const char *name, const char *cells)
{
    const char *text = pipeline(t, cells), *plain = plain_run(t, text);

    CHECK(!run_says(t, name, text, plain, " 0 calibration streams"));
    for (int i = 0; i < 6; i++) {
        harm_entries(t, name, 1 + i, remove_file);
        (void)run_says(t, name, text, plain, "");
    }
    for (int i = 0; i < 4; i++) { /* some of it in entries that no run reads */
        harm_entries(t, name, 12, i % 2 ? truncate_file : flip_byte);
        (void)run_says(t, name, text, plain, "");
    }
    for (int i = 0; i < 4; i++) {
        harm_entries(t, name, 2 + i, i % 2 ? misplace_file : forge_file);
        (void)run_says(t, name, text, plain, "");
    }
    harm_entries(t, name, 1, misplace_file);
    CHECK(run_says(t, name, text, plain, "it is thrown away and made again"));
    harm_entries(t, name, 1, truncate_file);
    CHECK(run_says(t, name, text, plain, "it is thrown away and made again"));
}

/* A cell that can't be had fails again, for the same reason; the others need nothing. */
static void
test_finished(walk_test *t)
{
    const char *text = pipeline(t, TWO "exclude: [{quant.use: brittle}]\n"), *plain = plain_run(t, text);

    (void)run_says(t, "finished", text, plain, "");
    CHECK(run_says(t, "finished", text, plain, " 0 calibration streams, 0 evaluation streams"));
    CHECK(strstr(t->log.text, "0 tensors left their files"));
    t->fresh = true;
    CHECK(!run_says(t, "finished", text, plain, " 0 calibration streams"));
    t->fresh = false;
}

/* Without memory a run stops and says so; whatever it had put into the store, the next one ends right. */
static void
test_no_memory(walk_test *t)
{
    const char *text = pipeline(t, TWO), *plain = plain_run(t, text);
    int failed = 0;

    CHECK(strstr(walk_error(t, 4), "too brittle"));
    t->runs = walk_format(t, "%s/memory", t->folder);
    for (int64_t n = 1; n < 4000; n += 1 + random_below(300)) {
        ql_status st;

        WALK_OK(t, walk_job(t, text, 1 + random_below(2), 0));
        t->job->cx.fail_alloc = n;
        st = ql_job_run(t->job);
        t->job->cx.fail_alloc = 0;
        if (st != QL_OK && st != QL_NUMERIC)
            CHECK_INT(st, QL_MEMORY);
        failed += st == QL_MEMORY;
    }
    CHECK(failed > 5);
    (void)run_says(t, "memory", text, plain, "");
}

int
main(void)
{
    static const ql_plugin *const plugins[] = {&plugin, NULL};
    static walk_test t;

    seed = test_seed();
    walk_open(&t);
    t.plugins = plugins;
    (void)walk_model(&t, "model", 4, 1);
    test_states(&t, "states", THREE);
    test_states(&t, "joint", THREE JOINT);
    test_finished(&t);
    test_no_memory(&t);
    return walk_close(&t);
}
