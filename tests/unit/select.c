/* Choosing a device, with the emulated cuda plugin of tests beside the cpu: auto, by name, and what is wrong said in the user's words. */
#include <dlfcn.h>
#include <unistd.h>

#include "core/plugin/select.h"
#include "test.h"

static char last[1024]; /* line of the log */

static void
keep(void *user, ql_log_level level, const char *line)
{
    (void)user, (void)level;
    snprintf(last, sizeof last, "%s", line);
}

static const ql_log sink = {.write = keep};

static const ql_plugin *
plugin_of(ql_ctx *cx, const char *file)
{
    const char *build = getenv("QLOOM_BUILD") ? getenv("QLOOM_BUILD") : "build/release";
    void *library = dlopen(ql_format(cx, "%s/%s", build, file), RTLD_NOW | RTLD_LOCAL);

    return library ? dlsym(library, "ql_plugin_entry") : NULL;
}

/* What the log says of the device that was chosen; the device is closed again. */
static const char *
choose(ql_ctx *cx, ql_registry *r, const ql_device_wish *wish, const char *environment, ql_dtype compute)
{
    char name[64] = "", *equal;

    snprintf(name, sizeof name, "%s", environment);
    equal = strchr(name, '=');
    *equal = '\0';
    setenv(name, equal + 1, 1);
    last[0] = '\0';
    CHECK_OK(cx, ql_device_select(cx, r, wish));
    if (cx->device)
        CHECK_INT(cx->device->info.compute_dtype, compute);
    ql_device_close(cx->device);
    cx->device = NULL;
    unsetenv(name);
    return last;
}

static void
refuse(ql_ctx *cx, ql_registry *r, const ql_device_wish *wish, const char *text)
{
    CHECK(ql_device_select(cx, r, wish) != QL_OK);
    CHECK_STR(ql_error(cx), text);
    CHECK(!cx->device);
}

int
main(void)
{
    char folder[] = "/tmp/qloom-select-XXXXXX";
    const ql_device_wish any = {.word = "auto", .threads = 1}, cuda = {.word = "cuda:0", .threads = 1};
    const ql_plugin *emulated;
    ql_registry *r;
    ql_scope scope;
    ql_ctx cx;

    CHECK(mkdtemp(folder) != NULL);
    ql_ctx_init(&cx, &sink);
    ql_scope_open(&cx, &scope);
    REQUIRE_OK(&cx, ql_registry_open(&cx, folder, &r)); /* of an empty folder */
    CHECK_INT(rmdir(folder), 0);
    emulated = plugin_of(&cx, "emulated/cuda.so");
    if (!emulated)
        SKIP("this build has no emulated device");
    REQUIRE_OK(&cx, ql_registry_add(&cx, r, plugin_of(&cx, "lib/qloom/cpu.so")));
    CHECK(strstr(choose(&cx, r, &any, "X=1", QL_F32), "(auto: no accelerator's plugin is there)"));
    refuse(&cx, r, &cuda, "device: no plugin offers 'cuda:0' (`qloom plugins` lists the backends)");
    REQUIRE_OK(&cx, ql_registry_add(&cx, r, emulated));

    CHECK(strstr(choose(&cx, r, &any, "X=1", QL_BF16), "device: cuda:0, emulated on the host, compute capability 9.0"));
    CHECK(strstr(last, "in bf16, 1 thread (auto: it answers)"));
    CHECK(strstr(choose(&cx, r, &any, "QLOOM_TEST_CUDA_DEVICES=0", QL_F32),
                 "(auto: cuda:0: the driver answers, but has no device)"));
    CHECK(strstr(choose(&cx, r, &any, "QLOOM_TEST_CUDA_DRIVER=0", QL_F32),
                 "(auto: cuda:0: no NVIDIA driver answers on this machine)"));
    CHECK(
        strstr(choose(&cx, r, &any, "QLOOM_TEST_CUDA_DRIVER=12040", QL_F32),
               "(auto: cuda:0: the driver knows CUDA 12.4, this qloom was built with CUDA 13.0: update the driver, or "
               "build with CUDA 12)"));
    (void)choose(&cx, r, &(ql_device_wish){.word = "cuda", .threads = 1, .compute = QL_F32}, "X=1", QL_F32);

    setenv("QLOOM_TEST_CUDA_DEVICES", "0", 1);
    refuse(&cx, r, &cuda, "cuda:0: the driver answers, but has no device");
    CHECK_STR(choose(&cx, r, &(ql_device_wish){.word = "cuda", .imagine = true}, "X=1", QL_BF16),
              "cuda:0: the driver answers, but has no device: planned for a device that is not here");
    (void)choose(&cx, r, &(ql_device_wish){.word = "cuda", .compute = QL_F32, .imagine = true}, "X=1", QL_F32);
    refuse(&cx, r, &(ql_device_wish){.word = "auto", .threads = 1, .compute = QL_BF16},
           "compute: the cpu computes in fp32, not in bf16");
    unsetenv("QLOOM_TEST_CUDA_DEVICES");
    refuse(&cx, r, &(ql_device_wish){.word = "cuda:3", .threads = 1}, "cuda:3: this machine has 1 device, cuda:0");
    setenv("QLOOM_TEST_CUDA_CAPABILITY", "75", 1);
    refuse(&cx, r, &cuda, "cuda:0 (emulated on the host) has compute capability 7.5, 8.0 or later is needed");

    ql_ctx_fini(&cx);
    ql_registry_close(r);
    return TEST_DONE();
}
