/* The search for plugins. Private to the registry. */
#ifndef QLOOM_PLUGIN_SEARCH_H
#define QLOOM_PLUGIN_SEARCH_H

#include "registry.h"

/* Takes every plugin file of `paths`, of QLOOM_PLUGIN_PATH and of the folder beside the library, as ql_registry_open. */
ql_status ql_registry_search(ql_ctx *cx, ql_registry *r, const char *paths);
/* One file of them: kept, sound or broken, unless it is there already. */
ql_status ql_registry_take(ql_ctx *cx, ql_registry *r, const char *file);

#endif
