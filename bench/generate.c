/* Processor time of generation by one thread, for generate.py, which compares it with transformers.
 *
 * generate FOLDER NEW < PROMPTS: PROMPTS has a line of token ids for each prompt; all run side by side, each for NEW tokens. Prints the
 * seconds of prompts and the first token, those of all tokens after it, and a line of the new ids for each prompt. */
#include "bench.h"

#include "core/model/resident.h"
#include "core/plugin/registry.h"

#define PROMPTS_MOST 64
#define LENGTH_MOST 4096

typedef struct texts {
    int64_t count, finished;
    ql_prompt prompts[PROMPTS_MOST];
    int32_t *ids[PROMPTS_MOST];
    double first; /* the clock when every prompt had one token */
} texts;

static ql_status
hear(ql_ctx *cx, void *user, int64_t i, const int32_t *ids, int64_t count, bool *end)
{
    texts *t = user;

    (void)cx;
    if (count == 1 && i == t->count - 1)
        t->first = bench_clock(false);
    if (count < t->prompts[i].most) {
        *end = false;
        return QL_OK;
    }
    memcpy(t->ids[i], ids, (size_t)count * sizeof *ids);
    t->finished++;
    return QL_OK;
}

static void
read_prompts(ql_ctx *cx, int64_t most, texts *t)
{
    static char line[16 * LENGTH_MOST];

    while (t->count < PROMPTS_MOST && fgets(line, sizeof line, stdin)) {
        int32_t *ids = ql_alloc(cx, LENGTH_MOST, sizeof *ids);
        ql_prompt *p = &t->prompts[t->count];

        t->ids[t->count] = ql_alloc(cx, (size_t)most, sizeof *ids);
        require(cx, ids && t->ids[t->count] ? QL_OK : QL_MEMORY);
        *p = (ql_prompt){.ids = ids, .most = most};
        for (char *at = line, *end; p->count < LENGTH_MOST; at = end) {
            const long id = strtol(at, &end, 10);

            if (end == at)
                break;
            ids[p->count++] = (int32_t)id;
        }
        t->count += p->count > 0;
    }
}

static void
rest(ql_ctx *cx, const ql_model_handle *m, ql_resident **out)
{
    require(cx, ql_resident_open(cx, m, m->info.layers, out));
    for (int64_t i = 0; i < m->info.layers; i++) {
        ql_block *b;

        require(cx, ql_block_open(cx, m, i, &b));
        require(cx, ql_resident_add(cx, *out, b, NULL));
        ql_block_close(b);
    }
}

int
main(int argc, char **argv)
{
    ql_ctx cx;
    ql_scope scope;
    ql_registry *registry;
    ql_model_handle model;
    ql_resident *resident;
    texts t = {0};
    ql_generation g = {.kv_memory = (size_t)1 << 32, .chunk_tokens = 4096, .share = true, .said = hear, .user = &t};
    const char *build = getenv("QLOOM_BUILD");
    ql_device *device;
    ql_generated took;
    double start;

    if (argc != 3)
        return 2;
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    device = test_device(&cx, 1);
    read_prompts(&cx, strtol(argv[2], NULL, 10), &t);
    require(&cx, ql_registry_open(&cx, ql_format(&cx, "%s/lib/qloom", build ? build : "."), &registry));
    require(&cx, ql_model_open(&cx, registry, NULL, NULL, argv[1], &model));
    rest(&cx, &model, &resident);
    g.prompts = t.prompts;
    g.count = g.pool = t.count;
    start = bench_clock(false);
    require(&cx, ql_generate(&cx, resident, &g, &took));
    printf("%.4f %.4f\n", t.first - start, bench_clock(false) - t.first);
    for (int64_t i = 0; i < t.count; i++)
        for (int64_t k = 0; k < t.prompts[i].most; k++)
            printf("%d%s", (int)t.ids[i][k], k + 1 < t.prompts[i].most ? " " : "\n");
    ql_resident_close(resident);
    ql_model_close(&model);
    ql_scope_close(&cx, &scope);
    ql_registry_close(registry);
    ql_device_close(device);
    ql_ctx_fini(&cx);
    return 0;
}
