/* The same bits for any number of threads, any memory limit, and a cell alone or in company: metrics and codes. */
#include <sys/mman.h>
#include <sys/wait.h>

#include "walk.h"

#include <qloom/evaluator.h>

/* A test's own evaluator: a hash of each linear's codes and scales, as a number that a double holds exactly. */
static ql_status
fingerprint(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_facts *out)
{
    uint64_t hash = 14695981039346656037u;
    const uint8_t *codes, *scales;

    (void)self;
    QL_TRY(cx, ql_map(cx, in->qlinear->codes, QL_READ, &codes));
    QL_TRY(cx, ql_map(cx, in->qlinear->scales, QL_READ, &scales));
    for (int64_t i = 0; i < ql_count(in->qlinear->codes); i++)
        hash = (hash ^ codes[i]) * 1099511628211u;
    for (int64_t i = 0; i < ql_count(in->qlinear->scales) * 4; i++)
        hash = (hash ^ scales[i]) * 1099511628211u;
    QL_TRY(cx, ql_unmap(cx, in->qlinear->scales));
    QL_TRY(cx, ql_unmap(cx, in->qlinear->codes));
    return ql_fact(cx, out, "codes", NULL, (double)(hash >> 12));
}

static const ql_param no_params[] = {QL_PARAMS_END};
static const ql_evaluator evaluator = {.size = sizeof(ql_evaluator), .linear = fingerprint};
static const ql_plugin plugin = {
    .abi_major = QL_ABI_MAJOR,
    .abi_minor = QL_ABI_MINOR,
    .size = sizeof(ql_plugin),
    .kind = QL_EVALUATOR,
    .name = "fingerprint",
    .version = "1.0",
    .help = "hash of codes and scales",
    .params = no_params,
    .evaluator = &evaluator,
};

#define STAGES                                                                     \
    "qloom: 1\n"                                                                   \
    "name: bits\n"                                                                 \
    "chunk_tokens: 256\n"                                                          \
    "stages:\n"                                                                    \
    "  base: {use: auto, path: tiny-qwen3}\n"                                      \
    "  calib: {use: text, path: calib.txt, samples: 6, seqlen: 100}\n"             \
    "  wiki: {use: text, path: eval.txt, seqlen: 100, samples: 7}\n"               \
    "  quant: {use: gptq, model: $base, calib: $calib, bits: 3, group_size: 48}\n" \
    "  error: {use: layer_error, model: $quant}\n"                                 \
    "  print: {use: fingerprint, model: $quant}\n"                                 \
    "  ppl: {use: perplexity, model: $quant, data: $wiki}\n"
#define COMPANY                                                                                            \
    "matrix:\n"                                                                                            \
    "  quant: [{use: rtn}, {use: gptq}, {use: gptq, act_order: desc}, {use: gptq, propagate: original}]\n" \
    "  quant.bits: [3, 2]\n"

/* What a process of its own finds out, so that each has the same memory to begin with. */
typedef struct finding {
    ql_forecast f;
    bool fine;
} finding;

/* Plans with the limit (0: none) in a process of its own; with `all` it runs instead, and has to say the same. */
static void
apart(walk_test *t, size_t limit, int threads, const char *all, finding *out)
{
    int status = 0;
    pid_t child;

    out->fine = false;
    ql_job_close(t->job); /* no thread of its device would follow */
    t->job = NULL;
    child = fork();
    if (child == 0) {
        if (all) {
            WALK_OK(t, walk_run(t, STAGES COMPANY, threads, limit));
            walk_check_same(walk_dump_all(t), all);
        } else {
            WALK_OK(t, walk_job(t, STAGES COMPANY, threads, limit));
            WALK_OK(t, ql_job_plan(t->job, &out->f));
        }
        out->fine = test_failures == 0;
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0 && out->fine);
}

/* Whatever memory there is: evaluation in passes, streams that wait in a file. */
static void
limits(walk_test *t, const char *all)
{
    finding *shared = mmap(NULL, 2 * sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const ql_forecast *whole = &shared[0].f, *f = &shared[1].f;
    int64_t most = 0;
    double waiting = 0;

    CHECK(shared != MAP_FAILED);
    for (size_t eighths = 1; eighths < 8 && test_failures == 0; eighths += 2) {
        const int threads = 1 + (int)(eighths / 2) % 2;
        size_t limit;

        apart(t, 0, threads, NULL, &shared[0]);
        CHECK_INT(whole->passes, 1);
        limit = whole->least + (whole->host - whole->spare - whole->least) * eighths / 8;
        apart(t, limit, threads, NULL, &shared[1]);
        t->made++; /* a folder of runs each */
        apart(t, limit, threads, all, &shared[1]);
        printf("%zu of %zu bytes: %lld passes, %.0f bytes wait\n", limit, whole->host, (long long)f->passes,
               f->waiting);
        most = f->passes > most ? f->passes : most;
        waiting = f->waiting > waiting ? f->waiting : waiting;
    }
    CHECK(most > 1 && waiting > 0);
    CHECK_INT(munmap(shared, 2 * sizeof *shared), 0);
}

int
main(void)
{
    static const ql_plugin *const plugins[] = {&plugin, NULL};
    static walk_test t;
    const char *all;

    walk_open(&t);
    t.plugins = plugins;
    WALK_OK(&t, walk_run(&t, STAGES COMPANY, 1, 0));
    CHECK_INT(walk_cells(&t), 9);
    CHECK(strstr(walk_linears(&t, 2), "model.layers.0.") && isfinite(walk_metric(&t, 2, "ppl", "perplexity")));
    all = walk_dump_all(&t);
    for (int threads = 2; threads < 4; threads++) {
        WALK_OK(&t, walk_run(&t, STAGES COMPANY, threads, 0));
        walk_check_same(walk_dump_all(&t), all);
    }
    CHECK(strstr(t.log.text, "tensors left their files, each once"));
    limits(&t, all);

    WALK_OK(&t, walk_run(&t, STAGES, 2, 0)); /* cell gptq at 3 bits */
    CHECK(strstr(all, walk_format(&t, "cell 2\n%scell 3\n", walk_dump(&t, 0))));
    return walk_close(&t);
}
