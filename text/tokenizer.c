/* A tokenizer.json: opened, then added tokens, normalizer, pre-tokenizer, model and post-processor in their order. */
#define _GNU_SOURCE /* memmem */

#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/printer.h"
#include "bpe.h"
#include "decode.h"
#include "post.h"
#include "split.h"

static const char space_mark[] = "\xe2\x96\x81"; /* U+2581, which stands for a space where there is no pre-tokenizer */

struct ql_tokenizer {
    ql_added_tokens added;
    ql_text_steps normalizer;
    ql_splitter splitter;
    ql_bpe bpe;
    ql_post post;
    ql_text_steps decoder;
};

/* --- opening ----------------------------------------------------------------------------------------------------- */

/* Where no token has a mark behind something else, a document without a pre-tokenizer may be cut before every run of
 * marks: the same ids, but short words instead of one that is the whole text. */
static bool
cuts_at_marks(const ql_bpe *m, const char *mark)
{
    const size_t n = strlen(mark);

    for (int64_t i = 0; i < m->vocab.size; i++) {
        const ql_token *t = &m->vocab.tokens[i];
        const char *text = t->at == QL_NO_TOKEN ? "" : m->vocab.pool + t->at, *end = text + t->bytes;

        while ((size_t)(end - text) >= n && memcmp(text, mark, n) == 0)
            text += n;
        if (memmem(text, (size_t)(end - text), mark, n))
            return false;
    }
    return !m->byte_level && !m->ignore_merges && ql_vocab_find(&m->vocab, mark, n) >= 0;
}

/* add_prefix_space of tokenizer_config.json: the tokenizer classes of model families follow it, the general one takes
 * tokenizer.json as it is. transformers gives a Qwen2 model its family's class whatever the file says, and a Qwen3 model
 * where the file says nothing. 1: yes, -1: no, 0: nothing to follow. */
static ql_status
read_prefix_space(ql_ctx *cx, const ql_json *config, const ql_json *model, int *out)
{
    const char *class, *family;
    bool value;

    *out = 0;
    QL_TRY(cx, ql_json_bool(cx, config, "add_prefix_space", false, &value));
    QL_TRY(cx, ql_json_text(cx, config, "tokenizer_class", "", &class));
    QL_TRY(cx, ql_json_text(cx, model, "model_type", "", &family));
    if (strcmp(family, "qwen2") == 0 || (strcmp(family, "qwen3") == 0 && !*class))
        class = "Qwen2Tokenizer";
    if (ql_json_member(config, "add_prefix_space") && *class && !strstr(class, "PreTrained") &&
        strcmp(class, "TokenizersBackend") != 0)
        *out = value ? 1 : -1;
    return QL_OK;
}

static ql_status
read_all(ql_ctx *cx, const ql_json *root, const ql_json *config, const ql_json *family, ql_tokenizer *tk)
{
    const ql_json *model = ql_json_member(root, "model");
    int prefix_space = 0;
    bool fallback;

    if (!ql_json_is_object(root))
        return ql_json_expected(cx, root, "an object");
    if (!ql_json_is_object(model))
        return QL_FAIL(cx, QL_INVALID, "%s: no 'model', an object", ql_json_where(cx, root));
    QL_TRY(cx, read_prefix_space(cx, config, family, &prefix_space));
    tk->normalizer.prefix_space = tk->splitter.steps.prefix_space = prefix_space;
    QL_TRY(cx, ql_normalizer_read(cx, ql_json_member(root, "normalizer"), &tk->normalizer));
    QL_TRY(cx, ql_json_bool(cx, model, "byte_fallback", false, &fallback));
    QL_TRY(cx, ql_splitter_read(cx, ql_json_member(root, "pre_tokenizer"), !fallback, &tk->splitter));
    QL_TRY(cx, ql_post_read(cx, ql_json_member(root, "post_processor"), &tk->post));
    QL_TRY(cx, ql_decoder_read(cx, ql_json_member(root, "decoder"), &tk->decoder));
    QL_TRY(cx, ql_bpe_read(cx, model, tk->splitter.byte_level, &tk->bpe));
    QL_TRY(cx, ql_added_read(cx, ql_json_member(root, "added_tokens"), config, &tk->bpe.vocab, &tk->normalizer,
                             &tk->added));
    QL_TRY(cx, ql_post_configure(cx, config, &tk->added, &tk->post));
    return !tk->splitter.splits && cuts_at_marks(&tk->bpe, space_mark)
               ? ql_splitter_cut_before(cx, root, space_mark, &tk->splitter)
               : QL_OK;
}

static ql_status
parse_json(ql_ctx *cx, const char *name, const char *text, size_t bytes, const ql_json **out)
{
    return ql_json_parse(cx, &(ql_json_input){.file = name, .text = text, .bytes = bytes, .python = true}, out);
}

static void
put_members(ql_json_writer *w, const ql_json *of, const ql_json *except)
{
    const char *key;

    for (int64_t i = 0; i < ql_json_members(of); i++) {
        const ql_json *v = ql_json_at(of, i, &key);

        if (!ql_json_member(except, key))
            ql_json_put_value(w, key, v);
    }
}

/* special_tokens_map.json counts where tokenizer_config.json has no `added_tokens_decoder`, as in current transformers: then its members
 * take the place of those of the configuration. */
static ql_status
read_map(ql_ctx *cx, const ql_tokenizer_files *files, const ql_json **config)
{
    ql_json_writer w = {.cx = cx};
    const ql_json *map;
    const char *text;
    ql_printer p;
    ql_status st;

    if (!files->map_text || ql_json_member(*config, "added_tokens_decoder"))
        return QL_OK;
    QL_TRY(cx, parse_json(cx, files->map_name, files->map_text, files->map_bytes, &map));
    QL_TRY(cx, ql_printer_open(cx, &p));
    w.out = p.out;
    ql_json_put_open(&w, NULL, '{', QL_JSON_LINES);
    put_members(&w, map, NULL);
    put_members(&w, *config, map);
    ql_json_put_close(&w);
    st = ql_json_put_end(&w);
    QL_TRY(cx, ql_printer_close(cx, &p, &text));
    QL_TRY(cx, st);
    return parse_json(cx, files->map_name, text, strlen(text), config);
}

static ql_status
parse(ql_ctx *cx, const ql_tokenizer_files *files, ql_tokenizer *tk)
{
    const ql_json *root, *config = NULL, *family = NULL;

    QL_TRY(cx, parse_json(cx, files->name, files->text, files->bytes, &root));
    if (files->config_text)
        QL_TRY(cx, parse_json(cx, files->config_name, files->config_text, files->config_bytes, &config));
    QL_TRY(cx, read_map(cx, files, &config));
    if (files->model_text)
        QL_TRY(cx, parse_json(cx, files->model_name, files->model_text, files->model_bytes, &family));
    return read_all(cx, root, config, family, tk);
}

ql_status
ql_tokenizer_parse(ql_ctx *cx, const ql_tokenizer_files *files, ql_tokenizer **out)
{
    ql_tokenizer *tk = ql_heap(cx, 1, sizeof *tk);
    ql_scope scope;
    ql_status st;

    if (!tk)
        return QL_MEMORY;
    ql_scope_open(cx, &scope); /* the JSON trees, several times as large as the files, go at once */
    st = parse(cx, files, tk);
    ql_scope_close(cx, &scope);
    if (st == QL_OK)
        *out = tk;
    else
        ql_tokenizer_close(tk);
    return st;
}

/* A file that need not be there. */
static ql_status
read_beside(ql_ctx *cx, const char *path, const char **text, size_t *bytes)
{
    bool there;

    QL_TRY(cx, ql_is_file(cx, path, &there));
    return there ? ql_file_read(cx, path, QL_FILE_MOST, text, bytes) : QL_OK;
}

/* A folder with tokenizer.model alone is of a program that reads it. */
static ql_status
need_file(ql_ctx *cx, const char *folder, const char *name)
{
    const char *model = ql_format(cx, "%s/tokenizer.model", folder);
    bool there, other;

    if (!model)
        return QL_MEMORY;
    QL_TRY(cx, ql_is_file(cx, name, &there));
    QL_TRY(cx, ql_is_file(cx, model, &other));
    return there || !other
               ? QL_OK
               : QL_FAIL(cx, QL_NOT_FOUND,
                         "%s: no such file, and tokenizer.model is not read; this makes one of the other: python3 -c "
                         "\"import sys, transformers as t; "
                         "t.AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])\" FOLDER",
                         name);
}

static ql_status
open_files(ql_ctx *cx, const char *folder, ql_tokenizer **out)
{
    ql_tokenizer_files files = {.name = ql_format(cx, "%s/tokenizer.json", folder),
                                .config_name = ql_format(cx, "%s/tokenizer_config.json", folder),
                                .map_name = ql_format(cx, "%s/special_tokens_map.json", folder),
                                .model_name = ql_format(cx, "%s/config.json", folder)};

    if (!files.name || !files.config_name || !files.map_name || !files.model_name)
        return QL_MEMORY;
    QL_TRY(cx, need_file(cx, folder, files.name));
    QL_TRY(cx, ql_file_read(cx, files.name, QL_FILE_MOST, &files.text, &files.bytes));
    QL_TRY(cx, read_beside(cx, files.config_name, &files.config_text, &files.config_bytes));
    QL_TRY(cx, read_beside(cx, files.map_name, &files.map_text, &files.map_bytes));
    QL_TRY(cx, read_beside(cx, files.model_name, &files.model_text, &files.model_bytes));
    return ql_tokenizer_parse(cx, &files, out);
}

ql_status
ql_tokenizer_open(ql_ctx *cx, const char *folder, ql_tokenizer **out)
{
    ql_scope scope;
    ql_status st;

    ql_scope_open(cx, &scope);
    st = open_files(cx, folder, out);
    ql_scope_close(cx, &scope);
    return st;
}

void
ql_tokenizer_close(ql_tokenizer *tk)
{
    if (!tk)
        return;
    ql_added_fini(&tk->added);
    ql_steps_fini(&tk->normalizer);
    ql_steps_fini(&tk->splitter.steps);
    ql_bpe_fini(&tk->bpe);
    ql_steps_fini(&tk->decoder);
    free(tk);
}

int64_t
ql_tokenizer_bos(const ql_tokenizer *tk)
{
    return tk->post.bos;
}

int64_t
ql_tokenizer_eos(const ql_tokenizer *tk)
{
    return tk->post.eos;
}

bool
ql_tokenizer_adds_bos(const ql_tokenizer *tk)
{
    return tk->post.before.count > 0;
}

bool
ql_tokenizer_cleans_up(const ql_tokenizer *tk)
{
    return tk->post.clean_up;
}

/* --- encoding ---------------------------------------------------------------------------------------------------- */

typedef struct encoder { /* one call's scratch */
    const ql_tokenizer *tk;
    ql_normal_work normal;
    ql_split_work split;
    ql_bpe_work bpe;
} encoder;

static ql_status
encode_word(ql_ctx *cx, void *user, const char *text, size_t bytes)
{
    encoder *e = user;

    return ql_bpe_encode(cx, &e->tk->bpe, &e->bpe, text, bytes);
}

/* A piece without those added tokens that are matched in the raw text. */
static ql_status
encode_piece(ql_ctx *cx, encoder *e, const char *text, size_t bytes, bool start)
{
    ql_cut cut = {0};
    size_t at;

    QL_TRY(cx, ql_normalize(cx, &e->tk->normalizer, &e->normal, &text, &bytes));
    start = start && !e->normal.stripped;
    do {
        at = cut.end;
        ql_added_next(&e->tk->added.normal, text, bytes, &cut);
        if (at < cut.begin)
            QL_TRY(cx, ql_split(cx, &e->tk->splitter, &e->split, start && at == 0, text + at, cut.begin - at,
                                encode_word, e));
        if (cut.token && cut.begin < cut.end)
            QL_TRY(cx, ql_bpe_push(cx, &e->bpe, cut.token->id));
    } while (cut.token);
    return QL_OK;
}

static ql_status
encode_text(ql_ctx *cx, encoder *e, const char *text, size_t bytes)
{
    ql_cut cut = {0};
    size_t at;

    QL_TRY(cx, ql_bpe_work_init(cx, &e->bpe, bytes));
    do {
        at = cut.end;
        ql_added_next(&e->tk->added.raw, text, bytes, &cut);
        if (at < cut.begin)
            QL_TRY(cx, encode_piece(cx, e, text + at, cut.begin - at, at == 0));
        if (cut.token && cut.begin < cut.end)
            QL_TRY(cx, ql_bpe_push(cx, &e->bpe, cut.token->id));
    } while (cut.token);
    return QL_OK;
}

ql_status
ql_ids_put(ql_ctx *cx, ql_ids *out, const int32_t *ids, int64_t count)
{
    QL_TRY(cx, ql_alloc_more(cx, &out->ids, &out->capacity, out->count + count, sizeof *ids));
    if (count)
        memcpy(out->ids + out->count, ids, (size_t)count * sizeof *ids);
    out->count += count;
    return QL_OK;
}

ql_status
ql_tokenizer_encode(ql_ctx *cx, const ql_tokenizer *tk, const char *text, size_t bytes, ql_bos bos, ql_ids *out)
{
    const int32_t forced = (int32_t)tk->post.bos;
    encoder e = {.tk = tk};
    ql_status st;
    size_t bad, good = ql_utf8_check(text, bytes, &bad);

    if (bad)
        return QL_FAIL(cx, QL_INVALID, "the text is not UTF-8 at byte %zu (0x%02X)", good, (unsigned char)text[good]);
    if (bos == QL_BOS_YES && !tk->post.before.count && tk->post.bos < 0)
        return QL_FAIL(cx, QL_INVALID, "bos: yes, but the tokenizer has no BOS token");
    if (bos == QL_BOS_DATA)
        return QL_FAIL(cx, QL_BUG, "bos: data was not resolved before encoding");
    if (bos != QL_BOS_NO && tk->post.before.count)
        QL_TRY(cx, ql_ids_put(cx, out, tk->post.before.ids, tk->post.before.count));
    else if (bos == QL_BOS_YES)
        QL_TRY(cx, ql_ids_put(cx, out, &forced, 1));
    st = encode_text(cx, &e, text, bytes);
    if (st == QL_OK)
        st = ql_ids_put(cx, out, e.bpe.ids, e.bpe.count);
    ql_normal_work_fini(&e.normal);
    ql_split_work_fini(&e.split);
    ql_bpe_work_fini(&e.bpe);
    if (st == QL_OK && bos != QL_BOS_NO)
        st = ql_ids_put(cx, out, tk->post.after.ids, tk->post.after.count);
    return st;
}

/* --- decoding ---------------------------------------------------------------------------------------------------- */

/* The texts of the tokens, each with its end. */
static ql_status
collect(ql_ctx *cx, const ql_tokenizer *tk, const ql_ids *ids, int flags, ql_text *out)
{
    const ql_vocab *v = &tk->bpe.vocab;

    for (int64_t i = 0; i < ids->count; i++) {
        const int64_t id = ids->ids[i];
        const ql_added *a = ql_added_find(&tk->added, id);

        if (a && a->special && (flags & QL_DECODE_SKIP_SPECIAL))
            continue;
        if (a)
            QL_TRY(cx, ql_text_put(cx, out, a->shown, a->bytes));
        else if (id >= 0 && id < v->size && v->tokens[id].at != QL_NO_TOKEN)
            QL_TRY(cx, ql_text_put(cx, out, v->pool + v->tokens[id].at, v->tokens[id].bytes));
        else
            return QL_FAIL(cx, QL_INVALID, "the tokenizer has no token with id %lld", (long long)id);
        QL_TRY(cx, ql_text_put(cx, out, QL_PIECE_END, 1));
    }
    return QL_OK;
}

ql_status
ql_tokenizer_decode(ql_ctx *cx, const ql_tokenizer *tk, const ql_ids *ids, int flags, const char **text, size_t *bytes)
{
    ql_text decoded = {0};
    ql_status st = collect(cx, tk, ids, flags, &decoded);

    if (st == QL_OK)
        st = ql_decoder_run(cx, &tk->decoder, &decoded);
    if (st == QL_OK && (flags & QL_DECODE_CLEAN_UP))
        st = ql_decoder_clean_up(cx, &decoded);
    if (st == QL_OK) {
        *bytes = (size_t)decoded.count;
        *text = ql_copy_text(cx, decoded.data ? decoded.data : "", *bytes);
        st = *text ? QL_OK : QL_MEMORY;
    }
    free(decoded.data);
    return st;
}
