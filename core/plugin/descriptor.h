/* A plugin's descriptor as a shared object gives it: checked and copied before anything in it is trusted. */
#ifndef QLOOM_PLUGIN_DESCRIPTOR_H
#define QLOOM_PLUGIN_DESCRIPTOR_H

#include <qloom/plugin.h>

#include "base/ctx.h"

/* Copies `entry`, found in `file`, over a zeroed *copy: only what an older plugin has of the descriptor. INVALID, one
 * line that names the file, both values and the cure, when it can't be used; copy->name then is set as far as it can be
 * trusted. */
ql_status ql_descriptor_read(ql_ctx *cx, const char *file, const ql_plugin *entry, ql_plugin *copy);

#endif
