/* Starting points for plugins. */
#ifndef QLOOM_KIT_NEW_PLUGIN_H
#define QLOOM_KIT_NEW_PLUGIN_H

#include "plugin/registry.h"

typedef struct ql_template { /* a file of kit/templates: "quantizer.c", with @NAME@ and the like to be replaced */
    const char *name, *text;
} ql_template;

extern const ql_template ql_templates[]; /* ended by a row without a name */

/* Writes a folder `name` with source, CMake file (with its test) and pipeline of a plugin of that kind that builds and runs as
 * it is. The plugins that the pipeline needs besides are taken from `r`. `made` gets the path of each file. INVALID when the
 * folder is there already or the name is no name. */
ql_status ql_plugin_scaffold(ql_ctx *cx, const ql_registry *r, const char *kind, const char *name,
                             void (*made)(const char *path));

#endif
