/* What the components of a tokenizer.json (normalizer, pre-tokenizer, model, decoder) have in common. */
#ifndef QLOOM_TEXT_COMPONENT_H
#define QLOOM_TEXT_COMPONENT_H

#include "base/json.h"

/* UNSUPPORTED: "FILE: 'normalizer': type "Lowercase" is not supported (supported: NFC, Prepend)". */
ql_status ql_unsupported_type(ql_ctx *cx, const ql_json *v, const char *supported);
/* The texts `pattern.String` and `content` of a Replace, copied to the heap. */
ql_status ql_read_replace(ql_ctx *cx, const ql_json *v, char **from, char **to);
/* The required member `key` of `v`, a text, copied to the heap. */
ql_status ql_read_text(ql_ctx *cx, const ql_json *v, const char *key, char **out);

#endif
