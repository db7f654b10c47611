/* The cpu device for tests: the plugin of this build, opened on a number of threads. */
#ifndef QLOOM_TEST_DEVICE_H
#define QLOOM_TEST_DEVICE_H

#include <dlfcn.h>

#include "core/device/device.h"
#include "test.h"

/* Opens backend plugin `name` of this build as the device of `cx`; with `threads` threads and no memory limit. */
static inline ql_device *
test_device_named(ql_ctx *cx, const char *name, int threads)
{
    const char *build = getenv("QLOOM_BUILD");
    char path[4096];
    const ql_plugin *plugin;
    ql_device *d = NULL;
    void *library;

    snprintf(path, sizeof path, "%s/lib/qloom/%s.so", build ? build : ".", name);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    plugin = library ? dlsym(library, "ql_plugin_entry") : NULL;
    if (!plugin) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    REQUIRE_OK(cx, ql_device_open(cx, plugin->backend, &(ql_device_options){.threads = threads}, 0, &d));
    cx->device = d;
    return d;
}

static inline ql_device *
test_device(ql_ctx *cx, int threads)
{
    return test_device_named(cx, "cpu", threads);
}

#endif
