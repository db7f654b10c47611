/* A data plugin through its shared object. The tokenizer is made up: every byte is a token (id = byte), 256 is BOS, 257 EOS. */
#ifndef TESTS_PLUGINS_LAB_H
#define TESTS_PLUGINS_LAB_H

#include <unistd.h>

#include <qloom/data.h>

#include "core/plugin/registry.h"
#include "text/component.h"
#include "text/tokenizer.h"
#include "text/unicode.h"
#include "test.h"

#define BOS 256
#define EOS 257

static char folder[] = "/tmp/qloom-data-XXXXXX";

typedef struct lab {
    ql_ctx *cx;
    ql_plugin plugin;
    ql_tokenizer *tokenizer;
    ql_data_request request;
} lab;

static char warning[2048];

static inline void
keep_warning(void *user, ql_log_level level, const char *line)
{
    (void)user;
    if (level == QL_LOG_WARN)
        snprintf(warning, sizeof warning, "%s", line);
}

static inline const char *
write_file(ql_ctx *cx, const char *name, const char *data, size_t bytes)
{
    const char *path = ql_format(cx, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(data, 1, bytes, f) != bytes || fclose(f) != 0)
        exit(1);
    return path;
}

static inline const char *
write_text(ql_ctx *cx, const char *name, const char *text)
{
    return write_file(cx, name, text, strlen(text));
}

static inline ql_tokenizer *
bytes_tokenizer(ql_ctx *cx, bool adds_bos)
{
    ql_text json = {0};
    ql_tokenizer *tk = NULL;
    char c[5] = {0};
    const char *item;
    ql_tokenizer_files files = {.name = "tokenizer.json", .config_name = "tokenizer_config.json"};

    item = "{\"model\": {\"merges\": [], \"vocab\": {";
    REQUIRE_OK(cx, ql_text_put(cx, &json, item, strlen(item)));
    for (unsigned i = 0; i < 256; i++) {
        c[ql_utf8_put(ql_byte_char(i), c)] = '\0';
        item = ql_format(cx, "%s: %u%s", ql_json_quote(cx, c, strlen(c)), i, i == 255 ? "}}," : ", ");
        REQUIRE_OK(cx, ql_text_put(cx, &json, item, strlen(item)));
    }
    item = "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false},"
           "\"added_tokens\": [{\"id\": 256, \"content\": \"<s>\"}, {\"id\": 257, \"content\": \"</s>\"}]}";
    REQUIRE_OK(cx, ql_text_put(cx, &json, item, strlen(item)));
    files.text = json.data;
    files.bytes = (size_t)json.count;
    files.config_text = ql_format(cx, "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"add_bos_token\": %s}",
                                  adds_bos ? "true" : "false");
    files.config_bytes = strlen(files.config_text);
    REQUIRE_OK(cx, ql_tokenizer_parse(cx, &files, &tk));
    free(json.data);
    return tk;
}

/* `parameters`: "name", "value" pairs, ended by NULL. */
static inline ql_status
read_with(const lab *l, const char *const *parameters, ql_tokens *out)
{
    void *self = ql_alloc(l->cx, 1, l->plugin.self_size);

    ql_param_defaults(&l->plugin, self);
    for (; *parameters; parameters += 2)
        QL_TRY(l->cx, ql_param_set(l->cx, ql_param_find(&l->plugin, parameters[0]),
                                   &(ql_value){.text = parameters[1], .quoted = strcmp(parameters[0], "join") == 0},
                                   NULL, self));
    if (l->plugin.check)
        QL_TRY(l->cx, l->plugin.check(l->cx, self));
    *out = (ql_tokens){0};
    warning[0] = '\0';
    return l->plugin.data->read(l->cx, self, &l->request, out);
}

#define READ(l, out, ...) read_with(l, (const char *const[]){__VA_ARGS__, NULL}, out)

/* Sequence `i` as a text, BOS and EOS as ^ and $. */
static inline const char *
sequence(const lab *l, const ql_tokens *t, int64_t i)
{
    int64_t n = i < t->count ? t->offsets[i + 1] - t->offsets[i] : 0;
    char *s = ql_alloc(l->cx, (size_t)n + 1, 1);

    for (int64_t k = 0; k < n; k++) {
        int32_t id = t->ids[t->offsets[i] + k];

        s[k] = id == BOS ? '^' : id == EOS ? '$' : (char)id;
    }
    return s;
}

static inline void
check_sequences(const lab *l, const ql_tokens *t, const char *const *expected)
{
    int64_t count = 0;

    for (; expected[count]; count++)
        CHECK_STR(sequence(l, t, count), expected[count]);
    CHECK_INT(t->count, count);
}

#define SEQUENCES(l, t, ...) check_sequences(l, t, (const char *const[]){__VA_ARGS__, NULL})

static inline void
lab_open(lab *l, ql_ctx *cx, const char *plugin)
{
    *l = (lab){.cx = cx, .request = {.bos = QL_BOS_DATA}};
    if (!mkdtemp(folder))
        exit(1);
    REQUIRE_OK(cx, ql_plugin_load(cx, ql_format(cx, "%s/lib/qloom/%s.so", getenv("QLOOM_BUILD"), plugin), &l->plugin));
    l->tokenizer = bytes_tokenizer(cx, false);
    l->request.tokenizer = l->tokenizer;
}

static inline void
lab_close(lab *l)
{
    ql_tokenizer_close(l->tokenizer);
    CHECK_INT(system(ql_format(l->cx, "rm -r '%s'", folder)), 0);
}

#endif
