/* A tokenizer whose files lie in memory; what else there is to a tokenizer stands in <qloom/tokenizer.h>. */
#ifndef QLOOM_TEXT_TOKENIZER_H
#define QLOOM_TEXT_TOKENIZER_H

#include <qloom/tokenizer.h>

typedef struct ql_tokenizer_files {
    const char *name, *text; /* of tokenizer.json; the name is for messages */
    size_t bytes;
    const char *config_name, *config_text; /* of tokenizer_config.json; NULL: there is none */
    size_t config_bytes;
    const char *map_name, *map_text; /* of special_tokens_map.json, likewise */
    size_t map_bytes;
    const char *model_name, *model_text; /* of the model's config.json, likewise */
    size_t model_bytes;
} ql_tokenizer_files;

ql_status ql_tokenizer_parse(ql_ctx *cx, const ql_tokenizer_files *files, ql_tokenizer **out);

#endif
