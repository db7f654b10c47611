/* JSON files. What plugins use too is in <qloom/json.h>. */
#ifndef QLOOM_BASE_JSON_H
#define QLOOM_BASE_JSON_H

#include <qloom/json.h>

#include "ctx.h"

/* Parses a file as Python's json reads it: config.json, tokenizer.json and the like are what other programs wrote. */
ql_status ql_json_read(ql_ctx *cx, const char *file, const ql_json **out);

/* What a download left in place of a file, for messages: "a Git LFS pointer, …"; NULL: nothing that is known. */
const char *ql_known_wrong(const char *text, size_t bytes);

#endif
