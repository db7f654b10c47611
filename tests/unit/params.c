/* Parameter tables: defaults, every type's values and refusals, canonical print, nearest names, shared rows. */
#include "../test.h"

#include "core/base/guess.h"
#include "core/plugin/registry.h"

typedef struct sample {
    int bits;
    double damp;
    bool sym;
    int order;
    const char *text, *path;
    ql_strings list;
    uint64_t seed, memory;
    int maybe;
} sample;

static const char *const orders[] = {"off", "desc", "group", NULL};

static const ql_param params[] = {
    QL_BITS(sample, 4),
    QL_DAMP(sample, 0.01),
    QL_SYM(sample, true),
    QL_ENUM(sample, order, 1, orders, "order of the columns"),
    QL_TEXT(sample, text, "auto", "some text"),
    QL_PATH(sample, path, true, "a folder"),
    QL_LIST(sample, list, "some names"),
    QL_UINT64(sample, seed, 7, "a seed"),
    QL_BYTES(sample, memory, 0, "a limit"),
    QL_ENUM(sample, maybe, -1, orders, "an order, or none"),
    QL_PARAMS_END,
};

static const ql_plugin plugin = {.name = "sample", .params = params, .self_size = sizeof(sample)};

static ql_status
set(ql_ctx *cx, sample *s, const char *name, const char *text)
{
    return ql_param_set(cx, ql_param_find(&plugin, name), &(ql_value){.text = text}, "/home/me", s);
}

static const char *
print(ql_ctx *cx, const sample *s, const char *name)
{
    return ql_param_print(cx, ql_param_find(&plugin, name), s);
}

static void
test_values(ql_ctx *cx)
{
    sample s = {.bits = 0};
    const char *const items[] = {"a", "b c", "", "null"};

    ql_param_defaults(&plugin, &s);
    CHECK_INT(s.bits, 4);
    CHECK_NEAR(s.damp, 0.01, 0);
    CHECK_INT(s.sym, true);
    CHECK_INT(s.order, 1);
    CHECK_STR(s.text, "auto");
    CHECK(!s.path && s.list.count == 0);
    CHECK_STR(print(cx, &s, "path"), "null");
    CHECK_STR(print(cx, &s, "list"), "[]");

    CHECK_OK(cx, set(cx, &s, "bits", "+8"));
    CHECK_OK(cx, set(cx, &s, "damp", "2.5e-2"));
    CHECK_OK(cx, set(cx, &s, "sym", "false"));
    CHECK_OK(cx, set(cx, &s, "order", "group"));
    CHECK_OK(cx, set(cx, &s, "text", "say \"hi\"\n"));
    CHECK_OK(cx, set(cx, &s, "path", "models/x"));
    CHECK_OK(cx, ql_param_set(cx, ql_param_find(&plugin, "list"), &(ql_value){.count = 4, .items = items}, NULL, &s));
    CHECK_STR(print(cx, &s, "bits"), "8");
    CHECK_STR(print(cx, &s, "damp"), "0.025");
    CHECK_STR(print(cx, &s, "sym"), "false");
    CHECK_STR(print(cx, &s, "order"), "group");
    CHECK_STR(print(cx, &s, "text"), "\"say \\\"hi\\\"\\u000a\"");
    CHECK_STR(print(cx, &s, "path"), "/home/me/models/x");
    CHECK_STR(print(cx, &s, "list"), "[a, \"b c\", \"\", \"null\"]");
    CHECK_OK(cx, set(cx, &s, "path", "/abs"));
    CHECK_STR(s.path, "/abs");
    CHECK_OK(cx, set(cx, &s, "text", NULL));
    CHECK(!s.text);
}

static void
refused(ql_ctx *cx, const char *name, const ql_value *value, const char *text)
{
    sample s = {.bits = 3}, before = s;

    CHECK_INT(ql_param_set(cx, ql_param_find(&plugin, name), value, NULL, &s), QL_INVALID);
    CHECK_STR(ql_error(cx), text);
    CHECK(memcmp(&s, &before, sizeof s) == 0);
}

static void
test_refusals(ql_ctx *cx)
{
    const char *const items[] = {"a"};
    const char *const bits[] = {"9", "1", "", "3.0", "3x", "0x3", "99999999999999999999", "-"};
    const char *const damp[] = {"nan", "inf", "1", "0x1p-3", "1e", "", "-0.1", "1e999"};

    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        refused(cx, "bits", &(ql_value){.text = bits[i]},
                ql_format(cx, "bits: got '%s', expected a whole number from 2 to 8 (bits per weight)", bits[i]));
    for (size_t i = 0; i < sizeof damp / sizeof *damp; i++)
        refused(cx, "damp", &(ql_value){.text = damp[i]},
                ql_format(cx,
                          "damp: got '%s', expected a number from 1e-06 to 0.999 (damping, as a fraction of the mean "
                          "diagonal of H)",
                          damp[i]));
    refused(cx, "bits", &(ql_value){.text = "3", .quoted = true},
            "bits: got \"3\", expected a whole number from 2 to 8 (bits per weight)");
    refused(cx, "bits", &(ql_value){.count = 1, .items = items},
            "bits: got a list, expected a whole number from 2 to 8 (bits per weight)");
    refused(cx, "sym", &(ql_value){.text = "yes"},
            "sym: got 'yes', expected true or false (symmetric grid: the zero point is fixed at the middle code)");
    refused(cx, "order", &(ql_value){.text = "dsec"},
            "order: got 'dsec', expected off, desc or group; did you mean 'desc'? (order of the columns)");
    refused(cx, "path", &(ql_value){.text = NULL}, "path: got nothing, expected a path (a folder)");
    refused(cx, "text", &(ql_value){.count = 1, .items = items}, "text: got a list, expected a text (some text)");
    refused(cx, "list", &(ql_value){.text = "a"}, "list: got 'a', expected a list (some names)");
}

/* What is printed reads back equal, and is as short as can be. */
static void
test_real_prints(ql_ctx *cx, uint64_t *seed)
{
    const ql_param row = QL_NUM(sample, damp, 0, -1e300, 1e300, "x");

    for (int i = 0; i < 1000; i++) {
        sample s = {.damp = ldexp(test_normal(seed), (int)(test_u64(seed) % 600) - 300)}, back = s;
        const char *text = ql_param_print(cx, &row, &s);

        back.damp = 0;
        CHECK_OK(cx, ql_param_set(cx, &row, &(ql_value){.text = text}, NULL, &back));
        CHECK(back.damp == s.damp);
    }
    CHECK_STR(ql_param_print(cx, &row, &(sample){.damp = 0.1}), "0.1");
    CHECK_STR(ql_param_print(cx, &row, &(sample){.damp = 32}), "32");
}

static const char *
near(ql_ctx *cx, const char *wrong)
{
    const char *const names[] = {"bits", "group_size", "sym", "act_order"};
    ql_guess g = ql_guess_open(wrong);

    ql_guess_offer_all(&g, names, 4);
    return ql_guess_text(cx, &g, "none");
}

/* Whole numbers to 2^64 - 1, bytes with their units, words of which none may be given. */
static void
test_large(ql_ctx *cx)
{
    sample s = {.bits = 0};

    ql_param_defaults(&plugin, &s);
    CHECK_INT(s.seed, 7);
    CHECK_INT(s.maybe, -1);
    CHECK_STR(print(cx, &s, "maybe"), "null");
    CHECK_OK(cx, set(cx, &s, "seed", "18446744073709551615"));
    CHECK(s.seed == UINT64_MAX);
    CHECK_STR(print(cx, &s, "seed"), "18446744073709551615");
    CHECK_ERROR(cx, set(cx, &s, "seed", "18446744073709551616"), QL_INVALID,
                "seed: got '18446744073709551616', expected a whole number from 0 to 18446744073709551615 (a seed)");
    CHECK_ERROR(cx, set(cx, &s, "seed", "-1"), QL_INVALID, "seed: got '-1', expected");
    CHECK_OK(cx, set(cx, &s, "memory", "3 GiB"));
    CHECK_INT(s.memory, INT64_C(3) << 30);
    CHECK_OK(cx, set(cx, &s, "memory", "16777215TiB"));
    CHECK_STR(print(cx, &s, "memory"), "18446742974197923840");
    CHECK_ERROR(cx, set(cx, &s, "memory", "16777216TiB"), QL_INVALID,
                "memory: got '16777216TiB', expected bytes, or a whole number with KiB, MiB, GiB or TiB (a limit)");
    CHECK_ERROR(cx, set(cx, &s, "memory", "1 GB"), QL_INVALID, "memory: got '1 GB'");
    CHECK_ERROR(cx, set(cx, &s, "memory", NULL), QL_INVALID, "memory: got nothing");
    CHECK_OK(cx, set(cx, &s, "maybe", "group"));
    CHECK_INT(s.maybe, 2);
    CHECK_OK(cx, set(cx, &s, "maybe", NULL));
    CHECK_INT(s.maybe, -1);
    CHECK_ERROR(cx, set(cx, &s, "order", NULL), QL_INVALID, "order: got nothing");
}

static void
test_nearest(ql_ctx *cx)
{
    const ql_guess nothing = ql_guess_open("bits");

    CHECK_STR(near(cx, "groupsize"), " (did you mean 'group_size'?)");
    CHECK_STR(near(cx, "GROUP_SIZE"), " (did you mean 'group_size'?)");
    CHECK_STR(near(cx, "bist"), " (did you mean 'bits'?)");
    CHECK_STR(near(cx, "actorder"), " (did you mean 'act_order'?)");
    CHECK_STR(near(cx, "temperature"), "none");
    CHECK_STR(near(cx, "xyz"), "none");
    CHECK_STR(near(cx, ""), "none");
    CHECK_STR(ql_guess_text(cx, &nothing, "none"), "none");
}

static void
test_shared(void)
{
    CHECK(ql_shared_row(QL_QUANTIZER, "bits") && ql_shared_row(QL_QUANTIZER, "group_size"));
    CHECK(ql_shared_row(QL_COMPENSATOR, "rank") && ql_shared_row(QL_MODEL, "path"));
    CHECK(!ql_shared_row(QL_COMPENSATOR, "bits") && !ql_shared_row(QL_QUANTIZER, "order"));
    CHECK(!ql_shared_row(QL_KIND_NONE, "bits") && !ql_shared_row((ql_kind)99, "bits"));
    CHECK_STR(ql_kind_name(QL_EVALUATOR), "evaluator");
    CHECK(!ql_kind_name((ql_kind)99));
    CHECK_STR(ql_kind_of(QL_QUANTIZER)->ports[1].name, "calib");
    CHECK_INT(ql_kind_of(QL_BACKEND)->ports[0].type, QL_EDGE_NONE);
}

int
main(void)
{
    ql_ctx cx;
    ql_scope scope;
    uint64_t seed = test_seed();

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_values(&cx);
    test_refusals(&cx);
    test_real_prints(&cx, &seed);
    test_large(&cx);
    test_nearest(&cx);
    test_shared();
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
