/* What a stage is lent it can't change: a plugin that writes to its inputs by an operation or a map fails its own cell, and no other cell
 * is moved. */
#include "walk.h"

#include <qloom/compensator.h>

/* Of the matrix: which input is written to, and how. */
typedef struct thief {
    int takes;
    bool maps;
} thief;

static const char *const inputs[] = {"nothing", "w", "w_hat", "h", "abs_mean", NULL};
static const ql_param params[] = {QL_ENUM(thief, takes, 0, inputs, "what it writes to"),
                                  QL_FLAG(thief, maps, false, "by a map"), QL_PARAMS_END};

static ql_status
write_to(ql_ctx *cx, ql_tensor *t, bool maps)
{
    float *p;

    if (!maps)
        return ql_axpby(cx, 1, t, 1, t);
    QL_TRY(cx, ql_map(cx, t, QL_WRITE, &p));
    p[0] = 7;
    return ql_unmap(cx, t);
}

static ql_status
steal(ql_ctx *cx, const void *self, const ql_compensate_in *in, ql_adapter *out)
{
    const thief *p = self;
    const ql_tensor *const all[] = {NULL, in->w, in->what, in->stats->h, in->stats->abs_mean};

    (void)out;
    return p->takes ? write_to(cx, (ql_tensor *)(uintptr_t)all[p->takes], p->maps) : QL_OK;
}

static const ql_plugin plugin = {
    .abi_major = QL_ABI_MAJOR,
    .abi_minor = QL_ABI_MINOR,
    .size = sizeof(ql_plugin),
    .kind = QL_COMPENSATOR,
    .name = "thief",
    .version = "1.0",
    .help = "writes to what it was lent",
    .params = params,
    .self_size = sizeof(thief),
    .compensator = QL_TABLE(ql_compensator, .needs = QL_NEEDS_STATS, .compensate = steal),
};

#define PIPELINE                                                                   \
    "qloom: 1\n"                                                                   \
    "name: lent\n"                                                                 \
    "stages:\n"                                                                    \
    "  base: {use: auto, path: tiny-qwen3}\n"                                      \
    "  calib: {use: text, path: calib.txt, samples: 2, seqlen: 64}\n"              \
    "  wiki: {use: text, path: eval.txt, seqlen: 32, samples: 2}\n"                \
    "  quant: {use: gptq, model: $base, calib: $calib, bits: 3, group_size: 64}\n" \
    "  fix: {use: qera, model: $quant, calib: $calib, rank: 4}\n"                  \
    "  error: {use: layer_error, model: $fix, calib: $calib}\n"                    \
    "  ppl: {use: perplexity, model: $fix, data: $wiki}\n"                         \
    "matrix:\n"                                                                    \
    "  fix: [{use: qera}, {use: thief%s}, {use: lordq, rank: 4}]\n"

int
main(void)
{
    static const ql_plugin *const plugins[] = {&plugin, NULL};
    static walk_test t;
    const char *plain[3];

    walk_open(&t);
    t.plugins = plugins;
    WALK_OK(&t, walk_run(&t, walk_format(&t, PIPELINE, ""), 1, 0));
    for (int c = 0; c < 3; c++)
        plain[c] = walk_dump(&t, c);
    CHECK_STR(walk_error(&t, 1), "NULL");
    for (int i = 1; inputs[i]; i++)
        for (int maps = 0; maps < 2; maps++) {
            const char *how = walk_format(&t, ", takes: %s, maps: %s", inputs[i], maps ? "true" : "false"), *error;

            CHECK_INT(walk_run(&t, walk_format(&t, PIPELINE, how), 1, 0), QL_NUMERIC);
            error = walk_error(&t, 1);
            if (!strstr(error, "lent for reading only"))
                TEST_FAIL("writing to %s: %s", inputs[i], error);
            walk_check_same(walk_dump(&t, 0), plain[0]);
            walk_check_same(walk_dump(&t, 2), plain[2]);
        }
    return walk_close(&t);
}
