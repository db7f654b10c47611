/* A model that is tuned as it is, no linear of it quantized, says what its exported adapter makes the same files say. */
#include "walk.h"

#define SAYS(stage, model) "  " stage ": {use: generate, model: " model ", data: $sums, save: true}\n"
#define STAGES(model, stages)                                                                                   \
    "qloom: 1\nname: says\nbaseline: false\nstages:\n"                                                          \
    "  base: {use: auto, path: tiny-qwen3" model "}\n"                                                          \
    "  sums: {use: tasks, task: gsm8k, path: tasks/sums.jsonl, limit: 4, shots: 0, max_gen: 12}\n"              \
    "  train: {use: text, path: calib.txt, samples: 16, seqlen: 48}\n"                                          \
    "  tune: {use: lora, model: $base, data: $train, rank: 4, batch: 4, updates: 8, warmup: 0, learning_rate: " \
    "3e-2}\n" stages

/* The ids that `stage` of the run before left, one text a line. */
static const char *
ids_of(walk_test *t, const char *stage)
{
    static char text[4096];
    FILE *f;
    size_t n;

    walk_shell(t, walk_format(t, "sed -n 's/.*\"ids\":\\(\\[[^]]*\\]\\).*/\\1/p' %s/answers-%s-*.jsonl >%s/ids",
                              ql_job_about(t->job)->folder, stage, t->folder));
    f = fopen(walk_format(t, "%s/ids", t->folder), "r");
    n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = '\0';
    if (f)
        fclose(f);
    CHECK(strchr(text, '['));
    return walk_format(t, "%s", text);
}

int
main(void)
{
    static walk_test t;
    const char *before, *after;

    walk_open(&t);
    WALK_OK(&t,
            walk_run(&t,
                     walk_format(
                         &t,
                         STAGES("", SAYS("before", "$base") SAYS(
                                        "after", "$tune") "  out: {use: peft_adapter, model: $tune, path: %s/out}\n"),
                         t.folder),
                     2, 0));
    before = ids_of(&t, "before");
    after = ids_of(&t, "after");
    CHECK(strcmp(before, after) != 0);
    WALK_OK(&t, walk_run(&t, walk_format(&t, STAGES(", adapter: %s/out", SAYS("loaded", "$base")), t.folder), 2, 0));
    CHECK_STR(ids_of(&t, "loaded"), after);
    return walk_close(&t);
}
