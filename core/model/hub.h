/* Models by the names that the Hugging Face Hub knows them by, in the caches that its tools have filled. Nothing is downloaded. */
#ifndef QLOOM_MODEL_HUB_H
#define QLOOM_MODEL_HUB_H

#include "base/ctx.h"

/* What `text` means as a model's path in a file of `folder`:
 *   - a folder, relative to `folder`: the snapshot of refs/main where it is a cache's folder models--ORG--NAME, else `text` itself;
 *   - else ORG/NAME: its snapshot in the caches HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub, the first that has the model;
 *   - else `text` itself, where nothing lies.
 * A snapshot's path is made in the innermost scope.
 * NOT_FOUND names the places that were looked at; INVALID where a cache has several snapshots and does not say which is meant. */
ql_status ql_hub_find(ql_ctx *cx, const char *folder, const char *text, const char **out);

/* "ORG/NAME" for a path in a Hub cache, in the innermost scope; NULL for any other. */
const char *ql_hub_name(ql_ctx *cx, const char *path);

#endif
