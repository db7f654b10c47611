/* Fuzzes files of texts: the first byte says what the file is called and how it is read, the rest is the file. Every record is UTF-8, or
 * the file is refused in words. Aims at: text/csv.c text/json_records.c text/lines.c text/records.c */
#include "folder.h"

#include <qloom/records.h>
#include <qloom/tokenizer.h>

#include "core/base/ctx.h"

static void
read_all(ql_ctx *cx, const ql_records_options *options)
{
    ql_records *r = NULL;
    const char *text = "";
    size_t bytes, bad;
    ql_status st = ql_records_open(cx, options, &r);

    while (st == QL_OK && text) {
        st = ql_records_next(cx, r, &text, &bytes);
        MUST(st != QL_OK || !text || ql_utf8_check(text, bytes, &bad) == bytes);
    }
    MUST(st != QL_BUG && (st == QL_OK || *ql_error(cx)));
    ql_records_close(r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"a.txt",    "a.jsonl",     "a.json",   "a.csv",
                                        "a.txt.gz", "a.jsonl.zst", "a.tokens", "a.csv.gz"};
    const unsigned flags = size ? data[0] : 0;
    const char *name = names[flags & 7];
    const bool plain = (flags & 7) == 0 || (flags & 7) == 4 || (flags & 7) == 6;
    ql_records_options options = {.replace = flags & 8, .skip = (flags & 16) && !plain, .lines = (flags & 16) && plain};
    ql_ctx cx;
    ql_scope scope;

    fuzz_file(name, data + (size > 0), size - (size > 0));
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    options.path = ql_format(&cx, "%s/%s", fuzz_folder(), name);
    options.field = (flags & 32) && !plain ? "a.b" : NULL;
    options.join = flags & 64 ? "\n\n" : NULL;
    options.whole = flags & 128;
    read_all(&cx, &options);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return 0;
}
