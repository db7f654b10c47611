/* Inverse frequencies of every RoPE type: published vectors, an independent formula on random parameters, and what is
 * refused with which words. */
#include "plugins/models/rope.c"

#include "core/base/json.h"
#include "models/plain_decoder.h"
#include "test.h"

static const ql_json *
parse(ql_ctx *cx, const char *text)
{
    const ql_json *v = NULL;

    REQUIRE_OK(cx, ql_json_parse(cx, &(ql_json_input){.file = "config.json", .text = text, .bytes = strlen(text)}, &v));
    return v;
}

static rope
opened(ql_ctx *cx, const char *config, const char *layer_type, int64_t head_dim, int64_t max_positions)
{
    rope r = {0};

    REQUIRE_OK(cx, rope_open(cx, parse(cx, config), layer_type, head_dim, max_positions, &r));
    return r;
}

static void
check_vectors(ql_ctx *cx)
{
    static const double between[] = {0.828168, 0.643743, 0.493507, 0.371122, 0.271425, 0.190211};
    const rope a =
        opened(cx,
               "{\"rope_theta\": 500000, \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, "
               "\"low_freq_factor\": 1, \"high_freq_factor\": 4, \"original_max_position_embeddings\": 8192}}",
               "full_attention", 128, 131072);
    const rope b = opened(cx,
                          "{\"rope_theta\": 1000000.0, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, "
                          "\"original_max_position_embeddings\": 32768}}",
                          "full_attention", 128, 32768);

    for (int64_t k = 0; k < 64; k++) {
        const double plain = pow(500000, -2.0 * (double)k / 128);
        const double expected = k <= 28 ? 1 : k < 35 ? between[k - 29] : 0.125;

        CHECK_NEAR((double)a.inv_freq[k] / plain, expected, 2e-6);
    }
    CHECK_NEAR((double)a.scale, 1, 0);
    CHECK_NEAR((double)b.scale, 1.138629, 1e-6);
    for (int64_t k = 0; k < 64; k++) {
        const double ratio = (double)b.inv_freq[k] / pow(1e6, -2.0 * (double)k / 128);

        if (k <= 23)
            CHECK_NEAR(ratio, 1, 2e-6);
        if (k >= 40)
            CHECK_NEAR(ratio, 0.25, 2e-6);
        if (k == 30)
            CHECK_NEAR(ratio, 0.691176, 2e-6);
    }
}

/* Types with random parameters against the formulas in double. */
static void
check_random(ql_ctx *cx, uint64_t *random)
{
    static const char *const names[] = {"default", "linear", "dynamic", "llama3", "yarn"};

    for (int round = 0; round < 200; round++) {
        const int64_t d = 4 + 2 * (int64_t)(test_u64(random) % 63), positions = 64 + (int64_t)(test_u64(random) % 4096);
        const plain_rope p = {.type = (plain_rope_type)(round % 5),
                              .theta = exp(4 + 10 * test_uniform(random)),
                              .factor = 0.5 + 8 * test_uniform(random),
                              .low = 0.5 + test_uniform(random),
                              .high = 2 + 4 * test_uniform(random),
                              .original = (double)(32 + test_u64(random) % 8192),
                              .max_positions = (double)positions,
                              .beta_fast = 16 + 32 * test_uniform(random),
                              .beta_slow = 0.5 + test_uniform(random),
                              .mscale = test_uniform(random) < 0.5 ? 0 : 0.7,
                              .mscale_all = 1.3,
                              .attention_factor = test_uniform(random) < 0.3 ? 1.25 : 0,
                              .no_truncate = test_uniform(random) < 0.5};
        const bool nested = test_uniform(random) < 0.5, modern = test_uniform(random) < 0.5;
        const char *given = p.attention_factor > 0 ? ql_format(cx, "%.17g", p.attention_factor) : "null";
        const char *dict =
            ql_format(cx,
                      "{\"%s\": \"%s\", \"rope_theta\": %.17g, \"factor\": %.17g, \"low_freq_factor\": %.17g, "
                      "\"high_freq_factor\": %.17g, \"original_max_position_embeddings\": %.0f, \"beta_fast\": %.17g, "
                      "\"beta_slow\": %.17g, \"mscale\": %.17g, \"mscale_all_dim\": %.17g, \"attention_factor\": %s, "
                      "\"truncate\": %s}",
                      modern ? "rope_type" : "type", names[p.type], p.theta, p.factor, p.low, p.high, p.original,
                      p.beta_fast, p.beta_slow, p.mscale, p.mscale_all, given, p.no_truncate ? "false" : "true");
        const char *config =
            nested
                ? ql_format(cx, "{\"rope_theta\": 3, \"%s\": {\"sliding_attention\": %s, \"full_attention\": {}}}",
                            modern ? "rope_parameters" : "rope_scaling", dict)
                : ql_format(cx, "{\"rope_theta\": 3, \"%s\": %s}", modern ? "rope_parameters" : "rope_scaling", dict);
        const rope r = opened(cx, config, "sliding_attention", d, positions);
        const int64_t offsets[] = {0, 5, 5 + 3 * positions}, first[] = {positions - 1, 0};
        const ql_seqs seqs = {.count = 2, .offsets = offsets, .first = first};
        ql_rope_spec spec;
        float f[64];

        REQUIRE_OK(cx, rope_for(cx, &r, &seqs, &spec));
        for (int s = 0; s < 2; s++) {
            CHECK_NEAR((double)spec.scale, plain_frequencies(&p, d, s ? 3 * positions : positions + 4, f), 1e-6);
            for (int64_t k = 0; k < d / 2; k++)
                CHECK_NEAR((double)spec.inv_freq[s * spec.stride + k] / (double)f[k], 1, 2e-5);
        }
    }
}

static void
check_defaults(ql_ctx *cx)
{
    const int64_t offsets[] = {0, 100};
    const ql_seqs seqs = {.count = 1, .offsets = offsets};
    ql_rope_spec spec;
    rope r = opened(cx, "{\"rope_scaling\": null, \"rope_parameters\": null}", "full_attention", 8, 10);

    CHECK_NEAR((double)r.inv_freq[1], 0.1, 1e-8); /* theta 10000 */
    r = opened(cx, "{\"rope_theta\": 81, \"rope_parameters\": {\"rope_type\": \"default\"}}", "full_attention", 8, 10);
    CHECK_NEAR((double)r.inv_freq[2], 1.0 / 9, 1e-8);
    r = opened(cx, "{\"rope_theta\": 81, \"rope_parameters\": {\"rope_theta\": 16}}", "full_attention", 8, 10);
    CHECK_NEAR((double)r.inv_freq[2], 0.25, 1e-8);
    r = opened(cx, "{\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}}", "full_attention", 8, 100);
    REQUIRE_OK(cx, rope_for(cx, &r, &seqs, &spec));
    CHECK(spec.inv_freq == r.inv_freq && spec.stride == 0); /* not longer than max_position_embeddings */
}

/* Where the dictionary does not say them, the original positions stand beside it, else they are max_position_embeddings. */
static void
check_original(ql_ctx *cx)
{
#define LLAMA3 "\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4"
    const rope inside =
        opened(cx, "{\"rope_scaling\": {" LLAMA3 ", \"original_max_position_embeddings\": 64}}", "", 16, 512);
    const rope beside =
        opened(cx, "{\"original_max_position_embeddings\": 64, \"rope_scaling\": {" LLAMA3 "}}", "", 16, 512);
    const rope most = opened(cx, "{\"rope_parameters\": {" LLAMA3 "}}", "", 16, 64);
    const rope other = opened(cx, "{\"rope_scaling\": {" LLAMA3 "}}", "", 16, 512),
               none = opened(cx, "{\"rope_scaling\": []}", "", 16, 64);

    CHECK(memcmp(inside.inv_freq, beside.inv_freq, 8 * sizeof(float)) == 0);
    CHECK(memcmp(inside.inv_freq, most.inv_freq, 8 * sizeof(float)) == 0);
    CHECK(memcmp(inside.inv_freq, other.inv_freq, 8 * sizeof(float)) != 0);
    CHECK_NEAR((double)none.inv_freq[0], 1, 0);
#undef LLAMA3
}

static void
check_refused(ql_ctx *cx)
{
    static const struct {
        const char *config, *text;
        ql_status st;
    } cases[] = {
        {"{\"rope_scaling\": {\"rope_type\": \"longrope\", \"factor\": 2}}",
         "config.json: 'rope_scaling.rope_type': expected default, linear, dynamic, llama3 or yarn, got \"longrope\"",
         QL_UNSUPPORTED},
        {"{\"rope_scaling\": {\"type\": \"su\"}}",
         "config.json: 'rope_scaling.type': expected default, linear, dynamic, llama3 or yarn, got \"su\"",
         QL_UNSUPPORTED},
        {"{\"rope_scaling\": {\"factor\": 2}}",
         "config.json: 'rope_scaling.rope_type': expected default, linear, dynamic, llama3 or yarn beside a factor, "
         "got nothing",
         QL_INVALID},
        {"{\"rope_scaling\": {\"rope_type\": \"linear\"}}",
         "config.json: 'rope_scaling.factor': expected a number above 0, got nothing", QL_INVALID},
        {"{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 0}}",
         "config.json: 'rope_scaling.factor': expected a number above 0, got 0", QL_INVALID},
        {"{\"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": 2, \"low_freq_factor\": 4, "
         "\"high_freq_factor\": 4}}",
         "config.json: 'rope_parameters.high_freq_factor': expected a number above 4, got 4", QL_INVALID},
        {"{\"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": 2, \"low_freq_factor\": 1, "
         "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 0}}",
         "config.json: 'rope_parameters.original_max_position_embeddings': expected 1 or more, got 0", QL_INVALID},
        {"{\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 2, \"original_max_position_embeddings\": -8}}",
         "config.json: 'rope_parameters.original_max_position_embeddings': expected 1 or more, got -8", QL_INVALID},
        {"{\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 2, \"beta_slow\": -1}}",
         "config.json: 'rope_parameters.beta_slow': expected a number above 0, got -1", QL_INVALID},
        {"{\"rope_parameters\": {\"sliding_attention\": {\"rope_type\": \"default\"}}}",
         "config.json: 'rope_parameters.full_attention': expected an object, because layers have this type, got none",
         QL_INVALID},
        {"{\"rope_scaling\": 2}", "config.json: 'rope_scaling': expected an object or null, got another type",
         QL_INVALID},
        {"{\"rope_theta\": 0}", "config.json: 'rope_theta': expected a number above 1, got 0", QL_INVALID},
        {"{\"rope_theta\": \"big\"}", "config.json: 'rope_theta': expected a number, got \"big\"", QL_INVALID},
        {"{\"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 2}}",
         "config.json: 'head_dim': expected 4 or more with dynamic RoPE, got 2", QL_INVALID},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rope r;

        CHECK_INT(rope_open(cx, parse(cx, cases[i].config), "full_attention", 2, 64, &r), cases[i].st);
        CHECK_STR(ql_error(cx), cases[i].text);
    }
}

int
main(void)
{
    uint64_t random = test_seed();
    ql_scope scope;
    ql_ctx cx;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    check_vectors(&cx);
    check_defaults(&cx);
    check_random(&cx, &random);
    check_original(&cx);
    check_refused(&cx);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
