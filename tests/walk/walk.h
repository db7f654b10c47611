/* What the tests of the walk share: pipelines from text, run as jobs of this program with the log in memory, and queries over results. */
#ifndef QLOOM_TESTS_WALK_H
#define QLOOM_TESTS_WALK_H

#include <stdarg.h>
#include <unistd.h>

#include <qloom/job.h>
#include <qloom/plugin.h>

#include "make_model.h"
#include "test.h"

typedef struct walk_log {
    char text[1 << 16];
    size_t used;
} walk_log;

typedef struct walk_text { /* lives as long as the test */
    struct walk_text *next;
    char text[];
} walk_text;

typedef struct walk_test {
    char folder[64];                 /* made under /tmp: what examples/ has, runs, files of the test */
    const ql_plugin *const *plugins; /* of the test, NULL-terminated; NULL: none */
    const char *plugin_path;         /* NULL: the build's plugins alone */
    const char *device;              /* NULL: cpu */
    const char *runs;                /* kept from run to run; NULL: a new folder each */
    bool fresh;
    ql_job *job; /* the last */
    int made;    /* folders of runs */
    walk_log log;
    walk_text *texts;
} walk_test;

static void
walk_write(void *user, ql_log_level level, const char *line)
{
    walk_log *log = user;
    int n = snprintf(log->text + log->used, sizeof log->text - log->used, "%d %s\n", (int)level, line);

    if (n > 0 && (size_t)n < sizeof log->text - log->used)
        log->used += (size_t)n;
}

/* A text that lives as long as the test. */
static inline const char *
walk_format(walk_test *t, const char *format, ...)
{
    va_list args;
    walk_text *made;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    made = malloc(sizeof *made + (size_t)n + 1);
    if (!made)
        abort();
    va_start(args, format);
    vsnprintf(made->text, (size_t)n + 1, format, args);
    va_end(args);
    made->next = t->texts;
    t->texts = made;
    return made->text;
}

static inline void
walk_shell(walk_test *t, const char *command)
{
    (void)t;
    CHECK_INT(system(command), 0);
}

static inline void
walk_open(walk_test *t)
{
    const char *source = getenv("QLOOM_SOURCE");
    char here[4096];

    memset(t, 0, sizeof *t);
    strcpy(t->folder, "/tmp/qloom-walk-XXXXXX");
    if (!mkdtemp(t->folder))
        abort();
    if (!source)
        source = getcwd(here, sizeof here);
    walk_shell(t, walk_format(t, "ln -s '%s'/examples/* %s/", source, t->folder));
}

static inline int
walk_close(walk_test *t)
{
    ql_job_close(t->job);
    walk_shell(t, walk_format(t, "rm -rf %s", t->folder));
    for (walk_text *text = t->texts; text; text = t->texts) {
        t->texts = text->next;
        free(text);
    }
    return TEST_DONE();
}

/* A model of that spec with a tokenizer; its folder. */
static inline const char *
walk_make_model(walk_test *t, const char *name, const model_spec *spec)
{
    const char *folder = walk_format(t, "%s/%s", t->folder, name);
    ql_scope scope;
    ql_ctx cx;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    REQUIRE_OK(&cx, make_model(&cx, folder, spec));
    ql_ctx_fini(&cx);
    walk_shell(t, walk_format(t, "cp %s/tiny-qwen3/tokenizer*.json %s/", t->folder, folder));
    return folder;
}

/* A small random model whose linears are multiplied by `scale`, its head by `head`; its folder. */
static inline const char *
walk_loud_model(walk_test *t, const char *name, int64_t layers, double scale, double head)
{
    return walk_make_model(t, name,
                           &(model_spec){.architecture = "LlamaForCausalLM",
                                         .type = "llama",
                                         .vocab = 512,
                                         .hidden = 32,
                                         .intermediate = 48,
                                         .layers = layers,
                                         .heads = 2,
                                         .kv_heads = 2,
                                         .head_dim = 16,
                                         .dtype = QL_ST_F32,
                                         .seed = 7,
                                         .scale = scale,
                                         .head = head});
}

static inline const char *
walk_model(walk_test *t, const char *name, int64_t layers, double scale)
{
    return walk_loud_model(t, name, layers, scale, 1);
}

/* Opens the pipeline text as the test's job, with so many threads and so much memory (0: no limit); paths are relative to the test's
 * folder, where examples/ is. */
static inline ql_status
walk_job(walk_test *t, const char *text, int threads, size_t memory)
{
    const char *file = walk_format(t, "%s/test.yaml", t->folder);
    const char *const sets[] = {memory ? walk_format(t, "memory=%zu", memory) : NULL, NULL};
    const ql_job_options opt = {.sets = sets,
                                .plugin_path = t->plugin_path,
                                .plugins = t->plugins,
                                .device = t->device ? t->device : "cpu",
                                .runs = t->runs ? t->runs : walk_format(t, "%s/runs-%d", t->folder, t->made++),
                                .threads = threads,
                                .fresh = t->fresh,
                                .log = walk_write,
                                .user = &t->log};
    FILE *f = fopen(file, "w");

    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        abort();
    ql_job_close(t->job);
    return ql_job_open(file, &opt, &t->job);
}

/* Opens and runs it; nothing that it held on the device is left. */
static inline ql_status
walk_run(walk_test *t, const char *text, int threads, size_t memory)
{
    ql_status st = walk_job(t, text, threads, memory);

    if (st == QL_OK)
        st = ql_job_run(t->job);
    CHECK_INT(ql_job_about(t->job)->held, 0);
    return st;
}

/* The call on the test's job ends with OK or `other`; without that, going on makes no sense. */
#define WALK_NEED(t, call, other)                                                       \
    do {                                                                                \
        ql_status s_ = (call);                                                          \
        if (s_ != QL_OK && s_ != (other)) {                                             \
            TEST_FAIL("%s: %s: %s", #call, ql_status_text(s_), ql_job_error((t)->job)); \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)
#define WALK_OK(t, call) WALK_NEED(t, call, QL_OK)
#define WALK_ENDS(t, call) WALK_NEED(t, call, QL_NUMERIC) /* cells may have failed */

/* --- results of the last run --- */

typedef struct walk_rows {
    char *text;
    size_t bytes;
    FILE *stream;
} walk_rows;

static inline ql_status
walk_row(void *user, int columns, const char *const *names, const char *const *values)
{
    walk_rows *rows = user;

    (void)names;
    for (int i = 0; i < columns; i++)
        fprintf(rows->stream, "%s%s", i ? "|" : "", values[i] ? values[i] : "NULL");
    fputc('\n', rows->stream);
    return QL_OK;
}

/* The rows of a query, a line each: columns between bars, NULL as a word. */
static inline const char *
walk_query(walk_test *t, const char *sql)
{
    walk_rows rows = {0};
    const char *text;

    rows.stream = open_memstream(&rows.text, &rows.bytes);
    if (!rows.stream)
        abort();
    WALK_OK(t, ql_job_query(t->job, sql, walk_row, &rows));
    fclose(rows.stream);
    text = walk_format(t, "%s", rows.text);
    free(rows.text);
    return text;
}

/* The only number of a query; NaN when it has none. */
static inline double
walk_number(walk_test *t, const char *sql)
{
    const char *text = walk_query(t, sql);

    return *text && *text != 'N' ? strtod(text, NULL) : NAN;
}

#define WALK_CELL "FROM run r JOIN cell c ON c.run = r.id"
#define WALK_FACT WALK_CELL " JOIN cell_node n ON n.cell = c.id JOIN fact f USING (node)"
#define WALK_OF "WHERE r.name = :run AND c.number = %d"

static inline int
walk_cells(walk_test *t)
{
    return (int)walk_number(t, "SELECT count(*) " WALK_CELL " WHERE r.name = :run");
}

/* Why a cell failed; "NULL": it did not. */
static inline const char *
walk_error(walk_test *t, int cell)
{
    const char *text = walk_query(t, walk_format(t, "SELECT c.error " WALK_CELL " " WALK_OF, cell));

    return walk_format(t, "%.*s", (int)strcspn(text, "\n"), text);
}

/* A metric of a cell; NaN when the cell has none. */
static inline double
walk_metric(walk_test *t, int cell, const char *stage, const char *name)
{
    return walk_number(
        t, walk_format(t,
                       "SELECT f.value " WALK_FACT " " WALK_OF " AND n.stage = '%s'"
                       " AND n.prefix || f.name = '%s' AND f.block = -1 AND f.linear IS NULL AND f.part IS NULL",
                       cell, stage, name));
}

/* What a stage found of one linear. */
static inline double
walk_of_linear(walk_test *t, int cell, const char *linear, const char *name)
{
    return walk_number(t, walk_format(t,
                                      "SELECT f.value " WALK_FACT " " WALK_OF
                                      " AND f.linear = '%s' AND f.name = '%s' AND f.part IS NULL",
                                      cell, linear, name));
}

/* Linears of which a cell has facts, a line each, in the order of the model. */
static inline const char *
walk_linears(walk_test *t, int cell)
{
    return walk_query(t, walk_format(t,
                                     "SELECT f.linear " WALK_FACT " " WALK_OF
                                     " AND f.linear IS NOT NULL GROUP BY f.linear ORDER BY f.block, min(f.position)",
                                     cell));
}

/* All that a cell says, to the bit; what it cost apart. */
static inline const char *
walk_dump(walk_test *t, int cell)
{
    const char *facts =
        walk_query(t, walk_format(t,
                                  "SELECT n.stage, f.block, f.linear, f.name, f.part, f.value " WALK_FACT " " WALK_OF
                                  " ORDER BY n.position, f.block, f.position",
                                  cell));
    const char *notes = walk_query(t, walk_format(t,
                                                  "SELECT n.stage, o.name, o.value " WALK_CELL
                                                  " JOIN cell_node n ON n.cell = c.id JOIN note o USING (node) " WALK_OF
                                                  " ORDER BY n.position, o.block, o.position",
                                                  cell));
    const char *rest =
        walk_query(t, walk_format(t,
                                  "SELECT c.bits, c.error, (SELECT group_concat(text, '; ') FROM footnote"
                                  " WHERE cell = c.id) " WALK_CELL " " WALK_OF,
                                  cell));

    return walk_format(t, "%s%s%s", facts, notes, rest);
}

/* The same of all cells. */
static inline const char *
walk_dump_all(walk_test *t)
{
    const int cells = walk_cells(t);
    const char *text = "";

    for (int i = 0; i < cells; i++)
        text = walk_format(t, "%scell %d\n%s", text, i, walk_dump(t, i));
    return text;
}

/* Two dumps are equal; else the first line that differs is shown. */
static inline void
walk_check_same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        const size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");

        if (n != m || memcmp(a, b, n) != 0)
            break;
        a += n + (a[n] == '\n');
        b += m + (b[m] == '\n');
    }
    if (strcmp(a, b) != 0)
        TEST_FAIL("\n  got      %.*s\n  expected %.*s", (int)strcspn(a, "\n"), a, (int)strcspn(b, "\n"), b);
}

#endif
