/* The device for tests: a backend plugin of this build, the cpu's or the one whose file QLOOM_TEST_BACKEND names. */
#ifndef QLOOM_TEST_DEVICE_H
#define QLOOM_TEST_DEVICE_H

#include <dlfcn.h>

#include "core/device/device.h"
#include "test.h"

static inline const ql_backend *
test_backend(void)
{
    const char *build = getenv("QLOOM_BUILD"), *file = getenv("QLOOM_TEST_BACKEND");
    char path[4096];
    const ql_plugin *plugin;
    void *library;

    snprintf(path, sizeof path, "%s/lib/qloom/cpu.so", build ? build : ".");
    library = dlopen(file ? file : path, RTLD_NOW | RTLD_LOCAL);
    plugin = library ? dlsym(library, "ql_plugin_entry") : NULL;
    if (!plugin) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return plugin->backend;
}

/* Opens it as the device of `cx`, with `threads` threads and no memory limit. */
static inline ql_device *
test_device(ql_ctx *cx, int threads)
{
    ql_device *d = NULL;

    REQUIRE_OK(cx, ql_device_open(cx, test_backend(), &(ql_device_options){.threads = threads}, 0, &d));
    cx->device = d;
    return d;
}

#endif
