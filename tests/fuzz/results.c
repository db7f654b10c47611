/* Fuzzes results.db: bytes of a good one changed as the input says, or the input itself. What still reads becomes a table and a page.
 * Aims at: report/load.c core/results/db.c core/results/schema.c core/results/run.c */
#include "folder.h"

#include "report/report.h"
#include "report/table.h"
#include "unit/runs.h"

#define RUN "tiny-00112233"

static unsigned char *good;
static size_t good_size;

/* A results.db with one run, kept in memory. */
static void
make_good(void)
{
    ql_ctx cx;
    ql_scope scope;
    ql_registry *registry;
    place p;
    FILE *f;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    registry = toy_registry(&cx);
    MUST(registry);
    open_place(&cx, registry, &p);
    save(&p, RUN, 1);
    f = fopen(p.db, "rb");
    MUST(f && fseek(f, 0, SEEK_END) == 0);
    good_size = (size_t)ftell(f);
    rewind(f);
    good = malloc(good_size);
    MUST(good && fread(good, 1, good_size, f) == good_size);
    fclose(f);
    close_place(&p);
    ql_registry_close(registry);
    ql_ctx_fini(&cx);
}

/* Each change: four bytes for where, one for how many bytes, and those. */
static void
write_changed(const uint8_t *data, size_t size)
{
    unsigned char *changed = malloc(good_size);

    MUST(changed);
    memcpy(changed, good, good_size);
    while (size > 5) {
        const size_t at = (data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16 | (size_t)data[3] << 24) % good_size;
        size_t n = data[4] % 32u + 1;

        n = n > size - 5 ? size - 5 : n;
        n = n > good_size - at ? good_size - at : n;
        memcpy(changed + at, data + 5, n);
        data += 5 + n;
        size -= 5 + n;
    }
    fuzz_file("results.db", changed, good_size);
    free(changed);
}

/* What a run says though its rows don't have their digest: every index in it may be used. */
static void
read_anyway(ql_ctx *cx, const char *path)
{
    ql_results *r;

    if (ql_results_open(cx, path, true, &r) != QL_OK)
        return;
    for (int64_t run = 0; run < 4; run++) {
        ql_result_set set;
        double sum = 0;
        const bool whole =
            ql_results_read(cx, r, run, &set) == QL_OK; /* else there are parts, and none has been checked */

        for (int64_t i = 0; whole && i < set.cell_count; i++) {
            const ql_result_cell *c = &set.cells[i];

            MUST(c->original < set.cell_count && c->label_count == set.reference_count);
            for (int64_t k = 0; k < c->list_count; k++)
                for (int64_t n = 0; n < c->lists[k].count; n++)
                    sum += c->lists[k].values[n];
        }
        for (int64_t i = 0; whole && i < set.node_count; i++)
            for (int64_t k = 0; k < set.nodes[i].edge_count; k++)
                MUST(set.nodes[i].edges[k].from >= 0 && set.nodes[i].edges[k].from < i);
        MUST(sum == sum || sum != sum);
        ql_results_fini(cx, &set);
    }
    ql_results_close(r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ql_ctx cx;
    ql_scope scope;
    ql_result_set set = {0};
    const ql_result_set *sets[] = {&set};
    FILE *out = fopen("/dev/null", "w");
    ql_status st;

    if (!good)
        make_good();
    if (size > 6 && memcmp(data, "SQLite", 6) == 0)
        fuzz_file("results.db", data, size);
    else
        write_changed(data, size);
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    st = ql_results_load(&cx, fuzz_folder(), RUN, &set);
    MUST(out && (st == QL_OK || *ql_error(&cx)));
    if (st == QL_OK) {
        MUST(ql_table_write(&cx, sets, 1, &set.table, QL_TABLE_MARKDOWN, out) == QL_OK || *ql_error(&cx));
        MUST(ql_table_write(&cx, sets, 1, &set.table, QL_TABLE_JSON, out) == QL_OK || *ql_error(&cx));
        MUST(ql_report_write(&cx, sets, 1, &set.table, out) == QL_OK || *ql_error(&cx));
        ql_results_fini(&cx, &set);
    }
    fclose(out);
    read_anyway(&cx, ql_format(&cx, "%s/results.db", fuzz_folder()));
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return 0;
}
