/* A model folder and the plugin that understands it. */
#ifndef QLOOM_MODEL_OPEN_MODEL_H
#define QLOOM_MODEL_OPEN_MODEL_H

#include <qloom/model.h>

#include "plugin/registry.h"
#include "source.h"

typedef struct ql_model_handle {
    ql_source *source;
    const ql_plugin *plugin;
    bool foreign; /* as in a ql_node */
    const void *self;
    ql_model_info info;
} ql_model_handle;

/* The model plugin that lists what a config.json says in `architectures`, else in `model_type`. UNSUPPORTED lists
 * what is known. */
ql_status ql_model_choose(ql_ctx *cx, const ql_registry *registry, const ql_json *config, const ql_plugin **out);

/* Opens folder `path` with `plugin` and its parameters `self`; plugin NULL is `use: auto`: the model plugin that
 * lists what config.json says in `architectures`, else in `model_type`, with default parameters; UNSUPPORTED lists
 * what is known. Every tensor that the model needs is checked for presence, shape and dtype; a warning counts those
 * that it does not. Everything lives in the innermost scope; ql_model_close before it closes. */
ql_status ql_model_open(ql_ctx *cx, ql_registry *registry, const ql_plugin *plugin, const void *self, const char *path,
                        ql_model_handle *out);
/* How the folder holds linear l of block `layer`: what the plugin says, empty where it says nothing. With `load`, tensors lie in the
 * innermost scope. */
ql_status ql_model_linear(ql_ctx *cx, const ql_model_handle *m, int64_t layer, int l, bool load, ql_stored_linear *out);
void ql_model_close(ql_model_handle *m); /* a zeroed handle is fine */

#endif
