/* adapter_config.json of PEFT: what can be read, which modules wear the adapter, and with which rank and scale. Patterns are Python's
 * regular expressions, matched by PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8

#include <math.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lora.h"

#define FILE_NAME "adapter_config.json"
#define STEPS 1000000 /* of a match: names are short */

/* --- what can be read ----------------------------------------------------------------------------------------------------- */

static ql_status
expect_word(ql_ctx *cx, const ql_json *config, const char *key, const char *word)
{
    const char *got;

    QL_TRY(cx, ql_json_text(cx, config, key, word, &got));
    return strcmp(got, word) == 0
               ? QL_OK
               : QL_FAIL(cx, QL_UNSUPPORTED, FILE_NAME ": '%s': expected \"%s\", got \"%s\"", key, word, got);
}

static bool
is_empty(const ql_json *v)
{
    return !v || (ql_json_is_array(v) && ql_json_length(v) == 0) || (ql_json_is_object(v) && ql_json_members(v) == 0);
}

static ql_status
expect_layers_alone(ql_ctx *cx, const ql_json *config)
{
    const bool pattern = ql_json_string(ql_json_member(config, "target_modules")) != NULL;

    if (pattern && (ql_json_member(config, "layers_to_transform") || ql_json_member(config, "layers_pattern")))
        return QL_FAIL(cx, QL_INVALID,
                       FILE_NAME ": 'layers_to_transform' and 'layers_pattern' go with a list of 'target_modules', "
                                 "and here it is a pattern");
    if (!is_empty(ql_json_member(config, "layers_pattern")) && !ql_json_member(config, "layers_to_transform"))
        return QL_FAIL(cx, QL_INVALID, FILE_NAME ": 'layers_pattern' without 'layers_to_transform'");
    return QL_OK;
}

/* Some ways to begin change the base's weights when the adapter is made, and PEFT changes them again as it loads it. */
static ql_status
expect_plain_begin(ql_ctx *cx, const ql_json *config)
{
    static const char *const changing[] = {"pissa", "olora", "corda", "loftq", "lora_ga", NULL};
    const char *begin = ql_json_string(ql_json_member(config, "init_lora_weights"));

    for (const char *const *word = changing; begin && *word; word++)
        if (strncasecmp(begin, *word, strlen(*word)) == 0)
            return QL_FAIL(cx, QL_UNSUPPORTED,
                           FILE_NAME
                           ": 'init_lora_weights' is '%s': such an adapter goes with a base whose weights PEFT "
                           "changes as it loads it; save it with "
                           "path_initial_model_for_weight_conversion, or with its own base",
                           begin);
    return QL_OK;
}

ql_status
lora_config_check(ql_ctx *cx, const ql_json *config)
{
    /* each changes what the adapter computes, or which modules have one */
    static const char *const switches[] = {"use_dora", "fan_in_fan_out", "lora_bias", "use_qalora", NULL};
    static const char *const features[] = {"modules_to_save",
                                           "layer_replication",
                                           "alora_invocation_tokens",
                                           "target_parameters",
                                           "trainable_token_indices",
                                           "use_bdlora",
                                           "arrow_config",
                                           "kasa_config",
                                           "monteclora_config",
                                           NULL};

    QL_TRY(cx, expect_word(cx, config, "peft_type", "LORA"));
    QL_TRY(cx, expect_word(cx, config, "bias", "none"));
    QL_TRY(cx, expect_plain_begin(cx, config));
    for (const char *const *key = switches; *key; key++) {
        bool on;

        QL_TRY(cx, ql_json_bool(cx, config, *key, false, &on));
        if (on)
            return QL_FAIL(cx, QL_UNSUPPORTED, FILE_NAME ": '%s' is true: only plain LoRA can be read", *key);
    }
    for (const char *const *key = features; *key; key++)
        if (!is_empty(ql_json_member(config, *key)))
            return QL_FAIL(cx, QL_UNSUPPORTED, FILE_NAME ": '%s' is set: only plain LoRA of linears can be read", *key);
    return expect_layers_alone(cx, config);
}

/* --- patterns ------------------------------------------------------------------------------------------------------------- */

/* Matches all of `text`, or with `part` its beginning. *number: what the group `idx` holds; -1: no such group, or no match. */
static ql_status
match(ql_ctx *cx, const char *key, const char *pattern, const char *text, bool part, bool *fits, int64_t *number)
{
    const uint32_t ends = PCRE2_UTF | PCRE2_ANCHORED | (part ? 0 : PCRE2_ENDANCHORED);
    int error, found = PCRE2_ERROR_NOMEMORY;
    PCRE2_SIZE at;
    const bool differs = strstr(pattern, "{,") != NULL; /* to Python {0, */
    pcre2_code *code =
        differs ? NULL : pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, ends, &error, &at, NULL);
    pcre2_match_data *data = code ? pcre2_match_data_create_from_pattern(code, NULL) : NULL;
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    PCRE2_UCHAR *digits = NULL;
    PCRE2_SIZE length;

    if (data && limits) {
        pcre2_set_match_limit(limits, STEPS);
        found = pcre2_match(code, (PCRE2_SPTR)text, strlen(text), 0, 0, data, limits);
    }
    *fits = found >= 0;
    *number = -1;
    if (*fits && pcre2_substring_get_byname(data, (PCRE2_SPTR) "idx", &digits, &length) == 0)
        *number = length < 10 ? strtoll((const char *)digits, NULL, 10) : -1;
    pcre2_substring_free(digits);
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
    pcre2_code_free(code);
    if (differs)
        return QL_FAIL(cx, QL_UNSUPPORTED, FILE_NAME ": '%s': write {0,N} for {,N}: %.200s", key, pattern);
    if (!code)
        return QL_FAIL(cx, QL_INVALID, FILE_NAME ": '%s': no regular expression: %.200s", key, pattern);
    if (found < 0 && found != PCRE2_ERROR_NOMATCH)
        return QL_FAIL(cx, found == PCRE2_ERROR_NOMEMORY ? QL_MEMORY : QL_UNSUPPORTED,
                       FILE_NAME ": '%s': matching %s takes too many steps: %.200s", key, text, pattern);
    return QL_OK;
}

static ql_status
matches_all(ql_ctx *cx, const char *key, const char *pattern, const char *text, bool *out)
{
    int64_t number;

    return match(cx, key, pattern, text, false, out, &number);
}

/* The value that a map from names or patterns gives a module: the first key that fits the name, or its end after a dot, counts. */
static ql_status
by_pattern(ql_ctx *cx, const ql_json *config, const char *map_key, const char *module, double *out)
{
    const ql_json *map = ql_json_member(config, map_key);

    for (int64_t i = 0; i < ql_json_members(map); i++) {
        const char *key, *pattern;
        bool fits;

        (void)ql_json_at(map, i, &key);
        pattern = ql_format(cx, "(?:.*\\.)?(?:%s)", key);
        if (!pattern)
            return QL_MEMORY;
        QL_TRY(cx, matches_all(cx, map_key, pattern, module, &fits));
        if (fits)
            return ql_json_real(cx, map, key, *out, out);
    }
    return QL_OK;
}

ql_status
lora_scale(ql_ctx *cx, const ql_json *config, const char *module, int64_t *rank, double *scale)
{
    double r, alpha;
    bool root;

    QL_TRY(cx, ql_json_real(cx, config, "r", 8, &r));
    QL_TRY(cx, ql_json_real(cx, config, "lora_alpha", 8, &alpha));
    QL_TRY(cx, ql_json_bool(cx, config, "use_rslora", false, &root));
    QL_TRY(cx, by_pattern(cx, config, "rank_pattern", module, &r));
    QL_TRY(cx, by_pattern(cx, config, "alpha_pattern", module, &alpha));
    if (!(r >= 1 && r <= 1 << 20) || !isfinite(alpha))
        return QL_FAIL(cx, QL_INVALID, FILE_NAME ": rank %g and lora_alpha %g of %s mean nothing", r, alpha, module);
    *rank = (int64_t)r;
    *scale = alpha / (root ? sqrt(r) : r);
    return QL_OK;
}

/* --- which modules ---------------------------------------------------------------------------------------------------------- */

static bool
ends_with_part(const char *module, const char *part)
{
    const size_t n = strlen(module), k = strlen(part);

    return n > k && module[n - k - 1] == '.' && strcmp(module + n - k, part) == 0;
}

/* Is `module` named by the list: *whole by its full name, *end by what follows a dot? */
static ql_status
listed(ql_ctx *cx, const ql_json *list, const char *key, const char *module, bool *whole, bool *end)
{
    *whole = *end = false;
    if (!ql_json_is_array(list))
        return QL_FAIL(cx, QL_INVALID, FILE_NAME ": '%s': expected a list of names or a pattern", key);
    for (int64_t i = 0; i < ql_json_length(list); i++) {
        const char *name = ql_json_string(ql_json_item(list, i));

        if (!name)
            return QL_FAIL(cx, QL_INVALID, FILE_NAME ": '%s': item %lld is no name", key, (long long)i);
        *whole = *whole || strcmp(name, module) == 0;
        *end = *end || ends_with_part(module, name);
    }
    return QL_OK;
}

static ql_status
excluded(ql_ctx *cx, const ql_json *config, const char *module, bool *out)
{
    static const char key[] = "exclude_modules";
    const ql_json *v = ql_json_member(config, key);
    bool whole, end;

    *out = false;
    if (is_empty(v))
        return QL_OK;
    if (ql_json_string(v))
        return *ql_json_string(v) ? matches_all(cx, key, ql_json_string(v), module, out) : QL_OK;
    QL_TRY(cx, listed(cx, v, key, module, &whole, &end));
    *out = whole || end;
    return QL_OK;
}

/* The number of the module's layer: the first number that follows a name, or one of the names in `layers_pattern`. -1: it has none. */
static ql_status
layer_of(ql_ctx *cx, const ql_json *config, const char *module, int64_t *out)
{
    static const char key[] = "layers_pattern";
    const ql_json *v = ql_json_member(config, key);
    const int64_t count = ql_json_string(v) ? *ql_json_string(v) != 0 : ql_json_length(v);
    bool fits = false;

    *out = -1;
    if (count == 0)
        return match(cx, key, ".*?\\.[^.]*\\.(?P<idx>\\d+)\\.", module, true, &fits, out);
    for (int64_t i = 0; i < count && !fits; i++) {
        const char *name = ql_json_string(v) ? ql_json_string(v) : ql_json_string(ql_json_item(v, i));
        const char *pattern = name ? ql_format(cx, "(?:^|.*?\\.)%s\\.(?P<idx>\\d+)\\.", name) : NULL;

        if (!name)
            return QL_FAIL(cx, QL_INVALID, FILE_NAME ": '%s': item %lld is no pattern", key, (long long)i);
        if (!pattern)
            return QL_MEMORY;
        QL_TRY(cx, match(cx, key, pattern, module, true, &fits, out));
    }
    return QL_OK;
}

/* Is the module's layer among `layers_to_transform`? True when that says nothing. */
static ql_status
layer_is_meant(ql_ctx *cx, const ql_json *config, const char *module, bool *out)
{
    static const char key[] = "layers_to_transform";
    const ql_json *v = ql_json_member(config, key);
    int64_t layer, one;

    *out = true;
    if (is_empty(v))
        return QL_OK;
    QL_TRY(cx, layer_of(cx, config, module, &layer));
    if (!ql_json_is_array(v)) {
        QL_TRY(cx, ql_json_int(cx, config, key, -1, &one));
        *out = layer >= 0 && layer == one;
        return QL_OK;
    }
    *out = false;
    for (int64_t i = 0; i < ql_json_length(v); i++) {
        int64_t number;

        if (!ql_json_as_int(ql_json_item(v, i), &number))
            return QL_FAIL(cx, QL_INVALID, FILE_NAME ": '%s': item %lld is no integer", key, (long long)i);
        *out = *out || (layer >= 0 && layer == number);
    }
    return QL_OK;
}

ql_status
lora_targets(ql_ctx *cx, const ql_json *config, const char *module, bool *out)
{
    static const char key[] = "target_modules";
    const ql_json *v = ql_json_member(config, key);
    bool not_this, whole, end;

    QL_TRY(cx, excluded(cx, config, module, &not_this));
    *out = false;
    if (not_this)
        return QL_OK;
    if (!v) { /* PEFT's choice for these architectures */
        *out = ends_with_part(module, "q_proj") || ends_with_part(module, "v_proj");
        return QL_OK;
    }
    if (ql_json_string(v) && strcasecmp(ql_json_string(v), "all-linear") == 0) {
        *out = true;
        return QL_OK;
    }
    if (ql_json_string(v))
        return matches_all(cx, key, ql_json_string(v), module, out);
    QL_TRY(cx, listed(cx, v, key, module, &whole, &end));
    *out = whole;
    return end && !whole ? layer_is_meant(cx, config, module, out) : QL_OK;
}
