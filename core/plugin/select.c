/* Which device a run uses: the one that was named, or the best one that answers. */
#include "select.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"

#define HOST_DEVICE "cpu"
#define THREADS_MAX 4096

static ql_status
thread_count(ql_ctx *cx, const ql_device_wish *wish, int *out)
{
    const char *text = ql_env("QLOOM_THREADS");
    char *end = NULL;
    long n = wish->threads > 0 ? wish->threads : text ? strtol(text, &end, 10) : sysconf(_SC_NPROCESSORS_ONLN);

    if (end && (end == text || *end || n < 1 || n > THREADS_MAX))
        return QL_FAIL(cx, QL_INVALID, "QLOOM_THREADS: got '%s', expected a whole number from 1 to %d", text,
                       THREADS_MAX);
    *out = n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (int)n;
    return QL_OK;
}

static ql_status
open_backend(ql_ctx *cx, const ql_plugin *p, int index, const ql_device_wish *wish)
{
    const char *sync = ql_env("QLOOM_SYNC");
    ql_device_options opt = {.index = index, .sync = sync && strcmp(sync, "0") != 0, .compute = wish->compute};

    QL_TRY(cx, thread_count(cx, wish, &opt.threads));
    return ql_device_open(cx, p->backend, &opt, 0, &cx->device);
}

/* Where the device did not answer, for the reason that the context's error says. */
static ql_status
imagine(ql_ctx *cx, const ql_plugin *p, const ql_device_wish *wish)
{
    const ql_device_options opt = {.threads = 1, .compute = wish->compute};

    ql_warn(cx, "%s: planned for a device that is not here", ql_error(cx));
    ql_error_clear(cx);
    return ql_device_imagine(cx, p->backend, &opt, 0, &cx->device);
}

/* The sound backend for `device`, loaded; NULL: there is none. */
static const ql_found *
backend_of(const ql_registry *r, const char *device)
{
    for (int64_t i = 0; i < ql_registry_count(r); i++) {
        const ql_found *f = ql_registry_item(r, i);

        if (f->kind == QL_BACKEND && strcmp(f->name, device) == 0)
            return ql_registry_load(r, f);
    }
    return NULL;
}

static ql_status
open_named(ql_ctx *cx, ql_registry *r, const ql_device_wish *wish)
{
    const char *colon = strchr(wish->word, ':');
    const char *device = ql_copy_text(cx, wish->word, strcspn(wish->word, ":"));
    const ql_found *found;
    char *end = NULL;
    long index = colon ? strtol(colon + 1, &end, 10) : 0;
    ql_status st;

    if (colon && (end == colon + 1 || *end || index < 0 || index > 1023))
        return QL_FAIL(cx, QL_INVALID, "device: got '%s', expected auto, cpu, cuda or cuda:N", wish->word);
    if (!device)
        return QL_MEMORY;
    found = backend_of(r, device);
    if (found && found->problem)
        return QL_FAIL(cx, QL_INVALID, "device: %s", found->problem);
    if (!found)
        return QL_FAIL(cx, QL_INVALID, "device: no plugin offers '%s' (`qloom plugins` lists the backends)",
                       wish->word);
    st = open_backend(cx, found->plugin, (int)index, wish);
    return st == QL_DEVICE && wish->imagine ? imagine(cx, found->plugin, wish) : st;
}

/* `why`: `auto` chose it; NULL: the user did. */
static void
tell(ql_ctx *cx, const char *why)
{
    const ql_device *d = cx->device;

    if (!d->dev)
        return;
    ql_info(cx, "device: %s, %d thread%s%s%s%s", d->info.name, d->threads, d->threads == 1 ? "" : "s",
            why ? " (auto: " : "", why ? why : "", why ? ")" : "");
}

ql_status
ql_device_select(ql_ctx *cx, ql_registry *r, const ql_device_wish *wish)
{
    const char *why = "no accelerator's plugin is there";
    ql_device_wish host = *wish;

    if (strcmp(wish->word, "auto") != 0) {
        QL_TRY(cx, open_named(cx, r, wish));
        tell(cx, NULL);
        return QL_OK;
    }
    for (int64_t i = 0; i < ql_registry_count(r); i++) {
        const ql_found *f = ql_registry_item(r, i);

        if (f->kind != QL_BACKEND || strcmp(f->name, HOST_DEVICE) == 0)
            continue;
        f = ql_registry_load(r, f);
        if (!f || f->problem)
            (void)QL_FAIL(cx, QL_INVALID, "%s", f ? f->problem : "no memory");
        else if (open_backend(cx, f->plugin, 0, wish) == QL_OK) {
            tell(cx, "it answers");
            return QL_OK;
        }
        why = ql_format(cx, "%s", ql_error(cx));
        ql_error_clear(cx);
    }
    host.word = HOST_DEVICE;
    QL_TRY(cx, open_named(cx, r, &host));
    tell(cx, why ? why : "no memory");
    return QL_OK;
}
