/* Tasks in the walk: a table of two tasks has the same numbers for any number of threads; where positions mean what the sequence's length
 * says, nothing is shared. */
#include "walk.h"

#define STAGES(model, share)                                                                                           \
    "stages:\n"                                                                                                        \
    "  base: {use: auto, path: " model "}\n"                                                                           \
    "  story: {use: tasks, file: tasks/next_sentence.yaml, path: tasks/goals.jsonl, limit: 12, shots: 1, " share "}\n" \
    "  word: {use: tasks, task: lambada, path: tasks/last_word.jsonl, limit: 12, " share "}\n"                         \
    "  quant: {use: rtn, model: $base, bits: 3, group_size: 64}\n"                                                     \
    "  choice: {use: choices, model: $quant, data: $story, save: true}\n"                                              \
    "  cloze: {use: choices, model: $quant, data: $word}\n"

#define TABLE "qloom: 1\nname: tasks\n" STAGES("tiny-qwen3", "share: true") "matrix:\n  quant.bits: [2, 4]\n"
#define ALONE(share) "qloom: 1\nname: dynamic\nbaseline: false\n" STAGES("dynamic", share)

/* A number of the first cell. */
static double
metric(walk_test *t, const char *stage, const char *name)
{
    return walk_metric(t, 0, stage, name);
}

/* A copy of the model with as few positions as `positions`, whose frequencies are stretched beyond them, sequence by sequence. */
static void
make_dynamic(walk_test *t, int positions)
{
    walk_shell(
        t, walk_format(
               t,
               "cd %s && rm -rf dynamic && mkdir dynamic && cp tiny-qwen3/* dynamic/ && rm -f dynamic/config.json && "
               "sed 's/\"max_position_embeddings\": *[0-9]*/\"max_position_embeddings\": %d, "
               "\"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 4.0}/; /\"rope_scaling\": null/d; "
               "/\"rope_parameters\": null/d' tiny-qwen3/config.json >dynamic/config.json",
               t->folder, positions));
}

static void
test_dynamic(walk_test *t)
{
    const char *apart;

    make_dynamic(t, 24);
    WALK_OK(t, walk_run(t, ALONE("share: false, max_length: 160, allow_long: true"), 1, 0));
    CHECK(metric(t, "choice", "tokens") == metric(t, "choice", "tokens_unshared"));
    apart = walk_dump_all(t);
    WALK_OK(t, walk_run(t, ALONE("share: true, max_length: 160, allow_long: true"), 1, 0));
    CHECK(metric(t, "choice", "tokens") == metric(t, "choice", "tokens_unshared"));
    walk_check_same(walk_dump_all(t), apart);
}

int
main(void)
{
    static walk_test t;
    const char *one;

    walk_open(&t);
    WALK_OK(&t, walk_run(&t, TABLE, 2, 0));
    CHECK_INT(walk_cells(&t), 3);
    CHECK(metric(&t, "choice", "tokens") < metric(&t, "choice", "tokens_unshared"));
    one = walk_dump_all(&t);
    WALK_OK(&t, walk_run(&t, TABLE, 1, 0));
    walk_check_same(walk_dump_all(&t), one);
    test_dynamic(&t);
    return walk_close(&t);
}
