/* Training gives the same bytes for any number of threads, any memory, alone and in company, and however often it was killed. */
#include <signal.h>
#include <sys/wait.h>

#include "walk.h"

#define UPDATES 12

#define PIPELINE                                                                                              \
    "qloom: 1\n"                                                                                              \
    "name: same\n"                                                                                            \
    "baseline: false\n"                                                                                       \
    "chunk_tokens: 128\n"                                                                                     \
    "stages:\n"                                                                                               \
    "  base: {use: auto, path: model}\n"                                                                      \
    "  calib: {use: text, path: calib.txt, samples: 8, seqlen: 64}\n"                                         \
    "  train: {use: text, path: calib.txt, samples: 26, seqlen: 48}\n"                                        \
    "  dev: {use: text, path: eval.txt, samples: 6, seqlen: 48}\n"                                            \
    "  quant: {use: gptq, model: $base, calib: $calib, bits: 3, group_size: 16}\n"                            \
    "  fix: {use: lordq, model: $quant, calib: $calib, rank: 4}\n"                                            \
    "  tune: {use: lora, model: $fix, data: $train, eval: $dev, rank: 4, batch: 5, updates: 12, warmup: 2,\n" \
    "    learning_rate: 1e-2, weight_decay: 0.1, dropout: 0.2, clip: 0.5, alpha: 8, checkpoint_every: 60,\n"  \
    "    eval_every: 5, targets: [q_proj, v_proj, o_proj, up_proj, down_proj]}\n"                             \
    "  again: {use: lora, model: $tune, data: $dev, batch: 3, updates: 3, warmup: 0, learning_rate: 1e-2}\n"  \
    "  before: {use: perplexity, model: $fix, data: $dev}\n"                                                  \
    "  after: {use: perplexity, model: $tune, data: $dev}\n"                                                  \
    "  error: {use: layer_error, model: $tune, calib: $calib}\n"                                              \
    "  twice: {use: perplexity, model: $again, data: $dev}\n"                                                 \
    "  out: {use: peft_adapter, model: $again, path: %s/out%s}\n"                                             \
    "%s"

static const char *
series(walk_test *t, int cell)
{
    return walk_query(t, walk_format(t,
                                     "SELECT n.stage, s.name, s.step, s.value " WALK_CELL
                                     " JOIN cell_node n ON n.cell = c.id JOIN series s USING (node) " WALK_OF
                                     " ORDER BY n.position, s.name, s.step",
                                     cell));
}

/* Facts, series and the exported adapter of a cell. */
static const char *
dump(walk_test *t, int cell, const char *folder)
{
    const char *file = walk_format(t, "%s/%s/adapter_model.safetensors", t->folder, folder);
    FILE *f = fopen(file, "rb");
    uint64_t hash = 14695981039346656037u;
    const char *facts;
    int c;

    if (!f) {
        TEST_FAIL("no %s", file);
        exit(1);
    }
    while ((c = fgetc(f)) != EOF)
        hash = (hash ^ (uint64_t)c) * 1099511628211u;
    fclose(f);
    facts = walk_query(t, walk_format(t,
                                      "SELECT n.stage, f.block, f.linear, f.name, f.part, f.value " WALK_FACT
                                      " " WALK_OF " ORDER BY n.position, f.block, f.position",
                                      cell));
    return walk_format(t, "%s%s%016llx\n", facts, series(t, cell), (unsigned long long)hash);
}

static const char *
pipeline(walk_test *t, const char *more, const char *suffix)
{
    return walk_format(t, PIPELINE, t->folder, suffix, more);
}

static void
check_numbers(walk_test *t)
{
    const char *end = "SELECT value FROM series WHERE name = 'eval_loss' AND step = 12";

    CHECK(walk_metric(t, 0, "after", "perplexity") < walk_metric(t, 0, "before", "perplexity"));
    CHECK(fabs(walk_metric(t, 0, "tune", "eval_loss") - walk_number(t, end)) == 0);
    CHECK(fabs(log(walk_metric(t, 0, "after", "perplexity")) - walk_number(t, end)) < 1e-5);
    CHECK(walk_metric(t, 0, "tune", "updates") == UPDATES);
    CHECK(walk_metric(t, 0, "tune", "tokens") == 48 * (10 * 5 + 2 * 1)); /* 26 sequences an epoch: 5 × 5 and 1 */
    CHECK(walk_metric(t, 0, "tune", "moved") > 0);
    CHECK(walk_number(t, "SELECT count(*) FROM series WHERE name = 'loss'") == UPDATES + 3);
}

/* What is left over of a limit does not do for any block's activations. */
static void
check_memory(walk_test *t, const char *plain)
{
    ql_forecast f;
    const size_t before = t->log.used;

    WALK_OK(t, walk_job(t, pipeline(t, "", ""), 2, 0));
    WALK_OK(t, ql_job_plan(t->job, &f));
    WALK_OK(t, walk_run(t, pipeline(t, "", ""), 2, f.least + f.least / 20));
    CHECK(strstr(t->log.text + before, "activations inside 0 of 3 blocks are kept"));
    walk_check_same(plain, dump(t, 0, "out"));
}

static void
check_company(walk_test *t, const char *plain)
{
    WALK_OK(t, walk_run(t,
                        pipeline(t,
                                 "matrix:\n  fix: [{use: none}, {use: svd, rank: 4}, {use: lordq, rank: 4}]\n"
                                 "  quant: [{use: rtn}, {use: gptq}]\n",
                                 "-six"),
                        2, 0));
    CHECK_INT(walk_cells(t), 6);
    for (int c = 0; c < 6; c++)
        if (strstr(
                walk_query(t, walk_format(t,
                                          "SELECT group_concat(l.label) " WALK_CELL
                                          " JOIN label l ON l.cell = c.id AND l.reference IN ('fix', 'quant') " WALK_OF,
                                          c)),
                "lordq,gptq"))
            walk_check_same(plain, dump(t, c, "out-six/lordq-gptq"));
}

static int
lines_of(const char *pattern)
{
    FILE *p = popen(pattern, "r");
    int n = 0;

    if (!p || fscanf(p, "%d", &n) != 1)
        n = 0;
    if (p)
        pclose(p);
    return n;
}

/* Runs until so many lines of updates are written, and is killed there. */
static void
run_killed(walk_test *t, int lines)
{
    const char *count = walk_format(t, "cat %s/*/series.jsonl 2>/dev/null | wc -l", t->runs);
    const pid_t child = fork();
    int status;

    if (child == 0) { /* a new program: threads of this one don't live on in a child */
        execl("/proc/self/exe", "train_same", t->folder, t->runs, (char *)NULL);
        _exit(1);
    }
    while (waitpid(child, &status, WNOHANG) == 0 && lines_of(count) < lines)
        usleep(2000);
    kill(child, SIGKILL);
    (void)waitpid(child, &status, 0);
}

/* Each process is killed behind the checkpoint of the first epoch, which has six updates; at last one comes to the end. */
static void
check_kills(walk_test *t, const char *plain)
{
    const char *kills = getenv("QLOOM_KILLS");

    t->runs = walk_format(t, "%s/killed", t->folder);
    for (int i = 0; i < (kills ? atoi(kills) : 2); i++)
        run_killed(t, 7 + 4 * i);
    WALK_OK(t, walk_run(t, pipeline(t, "", ""), 2, 0));
    CHECK(strstr(t->log.text, "goes on after update"));
    walk_check_same(plain, dump(t, 0, "out"));
    t->runs = NULL;
}

int
main(int argc, char **argv)
{
    static walk_test t;
    const char *plain;

    if (argc == 3) { /* as run_killed calls it */
        snprintf(t.folder, sizeof t.folder, "%s", argv[1]);
        t.runs = argv[2];
        return walk_run(&t, pipeline(&t, "", ""), 2, 0) != QL_OK;
    }

    walk_open(&t);
    walk_model(&t, "model", 3, 1);
    WALK_OK(&t, walk_run(&t, pipeline(&t, "", ""), 1, 0));
    plain = dump(&t, 0, "out");
    check_numbers(&t);
    for (int threads = 2; threads <= 3; threads++) {
        WALK_OK(&t, walk_run(&t, pipeline(&t, "", ""), threads, 0));
        walk_check_same(plain, dump(&t, 0, "out"));
    }
    check_memory(&t, plain);
    check_company(&t, plain);
    check_kills(&t, plain);
    return walk_close(&t);
}
