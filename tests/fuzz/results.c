/* Fuzzes results.db: bytes of a good one changed as the input says, or the input itself. What still reads becomes a table and a page.
 * Aims at: report/book.c core/results/db.c core/results/schema.c core/results/run.c */
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

static void
show(ql_book *b, FILE *out)
{
    ql_table_spec spec;

    MUST(ql_book_spec(b, &spec) == QL_OK);
    MUST(ql_table_write(b, &spec, QL_TABLE_MARKDOWN, out) == QL_OK || *ql_error(b->cx));
    MUST(ql_table_write(b, &spec, QL_TABLE_JSON, out) == QL_OK || *ql_error(b->cx));
    MUST(ql_report_write(b, &spec, out) == QL_OK || *ql_error(b->cx));
}

/* What a run says though its rows don't have their digest: whatever is copied can be shown, or says why not. */
static void
read_anyway(ql_ctx *cx, const char *path, FILE *out)
{
    ql_results *r;

    if (ql_results_open(cx, path, true, &r) != QL_OK)
        return;
    for (int64_t run = 0; run < 4; run++) {
        ql_book b;

        if (ql_book_open(cx, &b) == QL_OK && ql_book_copy(&b, r, run, true) == QL_OK)
            show(&b, out);
        ql_book_close(&b);
        ql_error_clear(cx);
    }
    ql_results_close(r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ql_ctx cx;
    ql_scope scope;
    ql_book b;
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
    MUST(out && ql_book_open(&cx, &b) == QL_OK);
    st = ql_book_add(&b, fuzz_folder(), RUN, true);
    MUST(st == QL_OK || *ql_error(&cx));
    if (st == QL_OK)
        show(&b, out);
    ql_book_close(&b);
    read_anyway(&cx, ql_format(&cx, "%s/results.db", fuzz_folder()), out);
    fclose(out);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return 0;
}
