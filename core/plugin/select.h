/* Which device a run uses. */
#ifndef QLOOM_PLUGIN_SELECT_H
#define QLOOM_PLUGIN_SELECT_H

#include "registry.h"
#include "device/device.h"

typedef struct ql_device_wish {
    const char *word; /* "auto", "cpu", "cuda", "cuda:1" */
    int threads;      /* 0: all processors */
    ql_dtype compute; /* `compute:`; NONE: the device's own choice */
    bool imagine;     /* a device that was named and does not answer: nothing will run on it */
} ql_device_wish;

/* Opens the device that `word` names, as cx->device. `auto`: the first accelerator whose plugin loads and answers, else
 * the cpu; says which and why in the log, before anything runs. The host's processor is never taken in place of a device that was named. */
ql_status ql_device_select(ql_ctx *cx, ql_registry *registry, const ql_device_wish *wish);

#endif
