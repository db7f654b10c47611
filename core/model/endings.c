/* What a model's files say of texts that it goes on with: the tokens that end them, and penalties. */
#include "resident.h"

#include <math.h>

/* eos_token_id of `o`: a number, a list of them, or none. */
static ql_status
add_ends(ql_ctx *cx, const char *file, const ql_json *o, int64_t *ids, int64_t most, int64_t *count)
{
    const ql_json *v = o ? ql_json_member(o, "eos_token_id") : NULL;
    const bool list = v && ql_json_is_array(v);
    const int64_t n = !v || ql_json_is_null(o, "eos_token_id") ? 0 : list ? ql_json_length(v) : 1;

    for (int64_t i = 0; i < n; i++) {
        int64_t id;

        if (*count == most || !ql_json_as_int(list ? ql_json_item(v, i) : v, &id))
            return QL_FAIL(cx, QL_INVALID, "%s: 'eos_token_id': expected a token id or a list of up to %lld", file,
                           (long long)most);
        ids[(*count)++] = id;
    }
    return QL_OK;
}

#define ENDS_MOST 64

ql_status
ql_model_ends_of_text(ql_ctx *cx, const ql_model_handle *m, const int64_t **out, int64_t *count)
{
    int64_t *ids = ql_alloc(cx, 2 * ENDS_MOST, sizeof *ids);
    const ql_json *generation;

    *count = 0;
    *out = ids;
    if (!ids)
        return QL_MEMORY;
    QL_TRY(cx, ql_source_json(cx, m->source, "generation_config.json", &generation));
    QL_TRY(cx, add_ends(cx, "config.json", ql_source_config(m->source), ids, ENDS_MOST, count));
    return add_ends(cx, "generation_config.json", generation, ids, 2 * ENDS_MOST, count);
}

ql_status
ql_model_penalties(ql_ctx *cx, const ql_model_handle *m, const char **text)
{
    static const struct {
        const char *key;
        double neutral; /* NaN: only its absence is */
    } rows[] = {
        {"repetition_penalty", 1},      {"encoder_repetition_penalty", 1},
        {"no_repeat_ngram_size", 0},    {"min_length", 0},
        {"min_new_tokens", 0},          {"num_beams", 1},
        {"guidance_scale", 1},          {"bad_words_ids", NAN},
        {"suppress_tokens", NAN},       {"sequence_bias", NAN},
        {"begin_suppress_tokens", NAN}, {"forced_bos_token_id", NAN},
        {"forced_eos_token_id", NAN},   {"exponential_decay_length_penalty", NAN},
    };
    const ql_json *o;

    *text = NULL;
    QL_TRY(cx, ql_source_json(cx, m->source, "generation_config.json", &o));
    for (size_t i = 0; o && i < sizeof rows / sizeof *rows; i++) {
        double value = rows[i].neutral;

        if (!ql_json_member(o, rows[i].key) || ql_json_is_null(o, rows[i].key))
            continue;
        if (!isnan(rows[i].neutral))
            QL_TRY(cx, ql_json_real(cx, o, rows[i].key, rows[i].neutral, &value));
        if (value == rows[i].neutral)
            continue;
        *text = *text ? ql_format(cx, "%s, %s", *text, rows[i].key) : rows[i].key;
        if (!*text)
            return QL_MEMORY;
    }
    return QL_OK;
}
