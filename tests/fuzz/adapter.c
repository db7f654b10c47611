/* Fuzzes adapter_config.json beside the factors of one linear: it is refused in words, or the factors are read or left out. */
#include "folder.h"

#include "core/base/ctx.h"
#include "plugins/formats/lora.h"

static const char *const factors[] = {"base_model.model.model.layers.0.q_proj.lora_A.weight",
                                      "base_model.model.model.layers.0.q_proj.lora_B.weight", NULL};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ql_linear_info linear = {.name = "q_proj", .out = 2, .in = 2};
    static const ql_model_info info = {.layers = 1,
                                       .hidden = 2,
                                       .vocab = 2,
                                       .linear_count = 1,
                                       .linears = &linear,
                                       .block_prefix = "model.layers.%lld.",
                                       .embed = "e",
                                       .norm = "n",
                                       .head = "h"};
    ql_stored_linear stored = {0};
    lora l = {0};
    ql_ctx cx;
    ql_scope scope;
    ql_status st;

    fuzz_tensors("adapter_model.safetensors", factors);
    fuzz_file("adapter_config.json", data, size);
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    st = lora_open(&cx, fuzz_folder(), &l);
    if (st == QL_OK)
        st = lora_check_all(&cx, &l, &info);
    if (st == QL_OK)
        st = lora_read(
            &cx, &l,
            &(ql_linear_at){.info = &info, .source = l.source, .name = "model.layers.0.q_proj", .out = 2, .in = 2},
            &stored);
    MUST(st == QL_OK || *ql_error(&cx));
    MUST(st != QL_BUG);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return 0;
}
