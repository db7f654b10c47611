/* Fuzzes model.safetensors.index.json beside two shards: what opens has the tensors of both, each found by its name. */
#include "folder.h"

#include "core/model/source.h"

static const char *const first[] = {"a", "model.b", NULL}, *const second[] = {"model.c", "d", NULL};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ql_ctx cx;
    ql_scope scope;
    ql_source *src = NULL;
    ql_status st;

    fuzz_file("config.json", "{}", 2);
    fuzz_tensors("model-00001-of-00002.safetensors", first);
    fuzz_tensors("model-00002-of-00002.safetensors", second);
    fuzz_file("model.safetensors.index.json", data, size);
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    st = ql_source_open(&cx, fuzz_folder(), &src);
    MUST(st == QL_OK || *ql_error(&cx));
    MUST(st != QL_BUG);
    for (int64_t i = 0; st == QL_OK && i < ql_source_count(src); i++) {
        const ql_st_tensor *t = ql_source_item(src, i);

        MUST(ql_source_index(src, t->name) == i && ql_source_find(src, t->name) == t && t->bytes == 16);
    }
    if (st == QL_OK)
        ql_source_close(src);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return 0;
}
