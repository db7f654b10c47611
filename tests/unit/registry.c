/* The registry: order of folders, files met twice, duplicate names, broken plugins kept with their reason, plugins in memory. */
#include "../test.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <qloom/evaluator.h>

#include "core/base/file.h"
#include "core/plugin/elf.h"
#include "core/plugin/registry.h"

static const ql_param no_params[] = {QL_PARAMS_END};

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)self, (void)w, (void)stats, (void)out;
    return QL_FAIL(cx, QL_UNSUPPORTED, "not run here");
}

static ql_status
chunk(ql_ctx *cx, const void *self, const ql_eval_chunk *c, ql_eval_found *found)
{
    (void)self, (void)c, (void)found;
    return QL_FAIL(cx, QL_UNSUPPORTED, "not run here");
}

static const ql_quantizer plain = {.size = sizeof(ql_quantizer), .quantize = quantize},
                          with_stats = {.size = sizeof(ql_quantizer), .needs = QL_NEEDS_STATS, .quantize = quantize};

static ql_plugin
make(const char *name, const ql_quantizer *q)
{
    return (ql_plugin){.abi_major = QL_ABI_MAJOR,
                       .abi_minor = QL_ABI_MINOR,
                       .size = sizeof(ql_plugin),
                       .kind = QL_QUANTIZER,
                       .name = name,
                       .version = "1.0",
                       .help = "a test",
                       .params = no_params,
                       .quantizer = q};
}

/* A log that keeps its first warning and, for `user`, its last. */
static char first_warning[1024];

static void
keep_warning(void *user, ql_log_level level, const char *line)
{
    if (level == QL_LOG_WARN)
        snprintf(user, 1024, "%s", line);
    if (level == QL_LOG_WARN && !*first_warning)
        snprintf(first_warning, sizeof first_warning, "%s", line);
}

static void
test_memory(ql_ctx *cx, ql_registry *r)
{
    ql_plugin a = make("zeta", &plain), b = make("zeta", &plain), c = make("alpha_2", &with_stats),
              bad = make("Bad", &plain);
    const int64_t before = ql_registry_count(r);
    const ql_found *f;

    CHECK_OK(cx, ql_registry_add(cx, r, &a));
    CHECK_OK(cx, ql_registry_add(cx, r, &c));
    f = ql_registry_find(r, "zeta");
    CHECK(f && f->plugin && !f->problem && f->plugin != &a);
    CHECK_STR(f->plugin->name, "zeta");
    CHECK_OK(cx, ql_registry_add(cx, r, &b)); /* a duplicate is broken, and comes first when it is asked for */
    f = ql_registry_find(r, "zeta");
    CHECK(f && !f->plugin);
    CHECK_STR(
        f->problem,
        "/proc/self/exe: the name 'zeta' is taken by the quantizer of /proc/self/exe: rename one, or take its folder "
        "off the plugin path");
    CHECK_OK(cx, ql_registry_add(cx, r, &bad));
    CHECK_INT(ql_registry_count(r), before + 4);
    CHECK(!ql_registry_find(r, "nobody"));
    CHECK_STR(ql_error(cx), "");
}

static void
test_ports(void)
{
    const ql_plugin q = make("a", &plain), s = make("b", &with_stats);
    const ql_evaluator streams = {.size = sizeof(ql_evaluator), .chunk = chunk};
    ql_plugin e = make("c", NULL);
    const ql_port *method = ql_kind_of(QL_QUANTIZER)->ports, *evaluator = ql_kind_of(QL_EVALUATOR)->ports;

    e.kind = QL_EVALUATOR;
    e.evaluator = &streams;
    CHECK(ql_port_needed(&q, &method[0]) && !ql_port_needed(&q, &method[1]) && ql_port_needed(&s, &method[1]));
    CHECK(!ql_port_needed(&q, &method[2]));
    CHECK(ql_port_needed(&e, &evaluator[1]) && !ql_port_needed(&e, &evaluator[2]));
}

/* Sorted by kind and name, broken ones last; the same folder twice adds nothing. */
static void
test_order(ql_ctx *cx, const char *folder)
{
    ql_registry *once, *twice;
    const ql_found *cpu;
    int kind = 0;

    REQUIRE_OK(cx, ql_registry_open(cx, folder, &once));
    REQUIRE_OK(cx, ql_registry_open(cx, ql_format(cx, ":%s/.::%s/../qloom/:", folder, folder), &twice));
    CHECK(ql_registry_count(once) > 0);
    CHECK_INT(ql_registry_count(twice), ql_registry_count(once));
    for (int64_t i = 0; i < ql_registry_count(once); i++) {
        const ql_found *f = ql_registry_item(once, i);

        CHECK((int)f->kind >= kind && ql_kind_name(f->kind) && f->help && *f->help);
        CHECK(!f->problem);
        CHECK((f->plugin == NULL) == (f->kind == QL_BACKEND)); /* which is loaded when it is asked for */
        if (i && (int)f->kind == kind)
            CHECK(strcmp(ql_registry_item(once, i - 1)->name, f->name) < 0);
        kind = (int)f->kind;
    }
    CHECK(!ql_registry_peek(once, "cpu")->plugin);
    cpu = ql_registry_find(once, "cpu");
    CHECK(cpu == ql_registry_peek(once, "cpu") && cpu->plugin && !cpu->problem);
    CHECK_STR(cpu->plugin->name, "cpu");
    CHECK_STR(cpu->help, cpu->plugin->help);
    ql_registry_close(once);
    ql_registry_close(twice);
}

static bool
copy_part(const char *from, const char *to, long bytes, long zeros)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    bool ok = in && out;

    for (long i = 0; ok && i < bytes + zeros; i++)
        ok = putc(i < bytes ? getc(in) : 0, out) != EOF;
    if (in)
        ok = fclose(in) == 0 && ok;
    return out && fclose(out) == 0 && ok;
}

/* What is no file, or not all of one, is told by name before the loader gets it: none of it may hang or kill. */
static void
test_odd_files(ql_ctx *cx, const char *good)
{
    static const char *const texts[][2] = {
        {"fifo", "it is a FIFO, not a file"},
        {"folder", "it is a folder, not a file"},
        {"nowhere", "it is a link that leads nowhere, not a file"},
        {"short", "it is too short for a shared object"},
        {"cut", "it ends too early, as a file that is not wholly copied does"},
        {"hollow", "it ends too early, as a file that is not wholly copied does"},
        {"text", "it is no shared object"},
    };
    char folder[] = "/tmp/qloom-registry-XXXXXX";
    const char *rtn = ql_format(cx, "%s/rtn.so", good), *command;
    struct stat st;
    ql_registry *r;
    ql_plugin p;

    CHECK(mkdtemp(folder) && stat(rtn, &st) == 0);
    CHECK_INT(mkfifo(ql_format(cx, "%s/fifo.so", folder), 0600), 0);
    CHECK_INT(mkdir(ql_format(cx, "%s/folder.so", folder), 0700), 0);
    CHECK_INT(symlink("/no/such/file", ql_format(cx, "%s/nowhere.so", folder)), 0);
    CHECK(copy_part(rtn, ql_format(cx, "%s/short.so", folder), 10, 0));
    CHECK(copy_part(rtn, ql_format(cx, "%s/cut.so", folder), (long)st.st_size / 2, 0));
    CHECK(copy_part(rtn, ql_format(cx, "%s/hollow.so", folder), 5000, (long)st.st_size - 5000));
    CHECK(copy_part("/etc/passwd", ql_format(cx, "%s/text.so", folder), 100, 0));
    REQUIRE_OK(cx, ql_registry_open(cx, folder, &r));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const ql_found *f = ql_registry_find(r, texts[i][0]);

        CHECK(f && f->problem && strstr(f->problem, texts[i][1]));
        if (f)
            CHECK_INT(ql_plugin_load(cx, f->file, &p), strcmp(texts[i][0], "nowhere") == 0 ? QL_NOT_FOUND : QL_INVALID);
    }
    ql_registry_close(r);
    CHECK_INT(chmod(folder, 0777), 0);
    *first_warning = '\0';
    REQUIRE_OK(cx, ql_registry_open(cx, folder, &r));
    ql_registry_close(r);
    CHECK(strstr(first_warning, "plugins are loaded from here, and other users can write to /tmp/qloom-registry-"));
    command = ql_format(cx, "rm -r '%s'", folder);
    CHECK_INT(system(command), 0);
}

/* Whatever a file holds, looking into it ends with an answer. */
static void
test_damage(ql_ctx *cx, const char *good)
{
    const char *from = ql_format(cx, "%s/rtn.so", good);
    char file[] = "/tmp/qloom-damage-XXXXXX";
    uint64_t rng = test_seed();
    const int fd = mkstemp(file);
    const char *data;
    size_t bytes;
    int refused = 0;

    REQUIRE_OK(cx, ql_file_read(cx, from, 1 << 30, &data, &bytes));
    CHECK(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes);
    for (int i = 0; i < 2000; i++) {
        const bool headers = i % 2;
        const uint64_t draw = test_u64(&rng), at = headers ? draw % 512 : bytes - 1 - draw % (bytes / 2);
        const uint64_t value = test_u64(&rng) >> (draw >> 32) % 64;
        ql_glance glance;
        ql_scope scope;
        ql_status st;

        CHECK(pwrite(fd, &value, 8, (off_t)(at < bytes - 8 ? at : bytes - 8)) == 8);
        ql_scope_open(cx, &scope);
        st = ql_elf_look(cx, file, &glance);
        ql_scope_close(cx, &scope);
        CHECK(st == QL_OK || st == QL_INVALID);
        refused += st != QL_OK;
        CHECK(pwrite(fd, data, bytes, 0) == (ssize_t)bytes);
    }
    CHECK(refused > 100);
    CHECK_INT(close(fd), 0);
    CHECK_INT(unlink(file), 0);
}

/* One bit of the file turned round. */
static void
check_bit(ql_ctx *cx, const char *file, const char *data, uint64_t at, int bit)
{
    const int fd = open(file, O_WRONLY);
    const char turned = (char)(data[at + (uint64_t)bit / 8] ^ 1 << bit % 8);
    ql_glance glance;

    CHECK(pwrite(fd, &turned, 1, (off_t)(at + (uint64_t)bit / 8)) == 1);
    CHECK_ERROR(cx, ql_elf_look(cx, file, &glance), QL_INVALID, "its tables contradict each other: it is damaged");
    CHECK(pwrite(fd, data + at + bit / 8, 1, (off_t)(at + (uint64_t)bit / 8)) == 1);
    CHECK_INT(close(fd), 0);
}

/* What the loader follows without a look is looked at: places of relocations, their symbols, names, and the dynamic section. */
static void
test_tables(ql_ctx *cx, const char *good)
{
    static const int64_t tags[] = {DT_SYMTAB, DT_STRTAB, DT_STRSZ, DT_RELA, DT_RELASZ, DT_RELAENT, DT_SYMENT};
    char file[] = "/tmp/qloom-tables-XXXXXX";
    const int fd = mkstemp(file);
    const Elf64_Shdr *sections;
    ql_glance glance;
    const char *data;
    size_t bytes;
    int tried = 0;

    REQUIRE_OK(cx, ql_file_read(cx, ql_format(cx, "%s/rtn.so", good), 1 << 30, &data, &bytes));
    CHECK(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes && close(fd) == 0);
    REQUIRE_OK(cx, ql_elf_look(cx, file, &glance));
    CHECK_STR(glance.name, "rtn");
    sections = (const void *)(data + ((const Elf64_Ehdr *)(const void *)data)->e_shoff);
    for (int i = 0; i < ((const Elf64_Ehdr *)(const void *)data)->e_shnum; i++) {
        const Elf64_Shdr *s = &sections[i];

        for (uint64_t at = s->sh_offset; s->sh_entsize && at < s->sh_offset + s->sh_size; at += s->sh_entsize) {
            const Elf64_Dyn *dynamic = (const void *)(data + at);

            if (s->sh_type == SHT_RELA && s->sh_flags & SHF_ALLOC) {
                check_bit(cx, file, data, at, 40);                                /* r_offset */
                check_bit(cx, file, data, at + offsetof(Elf64_Rela, r_info), 60); /* the symbol */
                tried++;
            }
            if (s->sh_type == SHT_DYNSYM)
                check_bit(cx, file, data, at + offsetof(Elf64_Sym, st_name), 30);
            for (size_t k = 0; s->sh_type == SHT_DYNAMIC && k < sizeof tags / sizeof *tags; k++)
                for (int bit = 0; bit < 64 && dynamic->d_tag == tags[k]; bit++)
                    check_bit(cx, file, data, at + offsetof(Elf64_Dyn, d_un), bit);
        }
    }
    CHECK(tried > 5);
    CHECK_INT(unlink(file), 0);
}

/* A folder of refused plugins is no error; each keeps its reason under its file's name. */
static void
test_broken(ql_ctx *cx, const char *folder, const char *warning)
{
    ql_registry *r;
    const ql_found *f;

    REQUIRE_OK(cx, ql_registry_open(cx, folder, &r));
    CHECK(ql_registry_count(r) > 5);
    for (int64_t i = 0; i < ql_registry_count(r); i++)
        CHECK(!ql_registry_item(r, i)->plugin && ql_registry_item(r, i)->problem);
    f = ql_registry_find(r, "no_entry");
    CHECK(f && strstr(f->problem, "no_entry.so: exports no ql_plugin_entry"));
    CHECK(strstr(warning, ".so"));
    ql_registry_close(r);
}

static void
test_missing(ql_ctx *cx)
{
    ql_registry *r = NULL;
    ql_plugin p;

    CHECK_ERROR(cx, ql_registry_open(cx, "/no/such/folder", &r), QL_NOT_FOUND,
                "--plugin-path: no plugin folder '/no/such/folder'");
    CHECK(!r);
    setenv("QLOOM_PLUGIN_PATH", "/not/there:", 1);
    CHECK_ERROR(cx, ql_registry_open(cx, NULL, &r), QL_NOT_FOUND, "QLOOM_PLUGIN_PATH: no plugin folder '/not/there'");
    unsetenv("QLOOM_PLUGIN_PATH");
    CHECK_ERROR(cx, ql_plugin_load(cx, "nofile.so", &p), QL_NOT_FOUND, "nofile.so: no such file");
    CHECK_OK(cx, ql_registry_open(cx, NULL, &r));
    ql_registry_close(r);
    ql_registry_close(NULL);
}

/* Each allocation of an opening may fail. */
static void
test_faults(ql_ctx *cx, const char *folder)
{
    bool struck = true;

    for (int64_t n = 1; struck && n < 5000; n++) {
        ql_registry *r = NULL;
        ql_status st;

        cx->fail_alloc = n;
        st = ql_registry_open(cx, folder, &r);
        struck = cx->fail_alloc == 0;
        cx->fail_alloc = 0;
        CHECK_INT(st, struck ? QL_MEMORY : QL_OK);
        ql_registry_close(r);
    }
    CHECK(!struck);
}

int
main(void)
{
    const char *build = getenv("QLOOM_BUILD");
    char warning[1024] = "";
    const ql_log log = {.write = keep_warning, .user = warning};
    const char *good, *refused;
    ql_ctx cx;
    ql_scope scope;
    ql_registry *r;

    if (!build)
        SKIP("QLOOM_BUILD is not set");
    ql_ctx_init(&cx, &log);
    ql_scope_open(&cx, &scope);
    good = ql_format(&cx, "%s/lib/qloom", build);
    refused = ql_format(&cx, "%s/tests/errors/plugins", build);
    unsetenv("QLOOM_PLUGIN_PATH");
    REQUIRE_OK(&cx, ql_registry_open(&cx, NULL, &r));
    test_memory(&cx, r);
    ql_registry_close(r);
    test_ports();
    test_order(&cx, good);
    test_broken(&cx, refused, warning);
    test_odd_files(&cx, good);
    test_damage(&cx, good);
    test_tables(&cx, good);
    test_missing(&cx);
    test_faults(&cx, refused);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
