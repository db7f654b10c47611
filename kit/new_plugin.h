/* Starting points for plugins. */
#ifndef QLOOM_KIT_NEW_PLUGIN_H
#define QLOOM_KIT_NEW_PLUGIN_H

#include "plugin/registry.h"

/* Writes a folder `name` with source, CMake file (with its test) and pipeline of a plugin of that kind that builds and runs as it is. The
 * plugins that the pipeline needs besides are taken from `r`. INVALID when the folder is there already or the name is no name. */
ql_status ql_plugin_scaffold(ql_ctx *cx, const ql_registry *r, const char *kind, const char *name);

#endif
