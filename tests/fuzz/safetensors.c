/* Fuzzes safetensors files: what is accepted has all its tensors inside the file, one behind the other.
 * Aims at: core/tensor/safetensors.c */
#include "fuzz.h"

#include <string.h>

#include "core/tensor/safetensors.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ql_ctx cx;
    ql_scope scope;
    ql_st_file f = {0};
    ql_status st;
    size_t end = 0;
    unsigned sum = 0;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    st = ql_st_parse(&cx, "f", data, size, &f);
    MUST(st == QL_OK || (st == QL_INVALID && strncmp(ql_error(&cx), "f:", 2) == 0));
    for (int64_t i = 0; st == QL_OK && i < f.count; i++) {
        const ql_st_tensor *t = &f.tensors[i];

        MUST(ql_st_find(&f, t->name) == t && t->begin <= size && t->bytes <= size - t->begin &&
             (i == 0 || t->begin == end));
        end = t->begin + t->bytes;
        for (size_t k = 0; k < t->bytes; k++)
            sum += ql_st_data(t)[k];
        MUST(strcmp(ql_st_dtype_name(t->dtype), t->dtype_name) == 0 || t->dtype == QL_ST_UNKNOWN);
        MUST(ql_st_dtype_bits(ql_st_dtype_of(ql_st_dtype_device(t->dtype))) <= ql_st_dtype_bits(t->dtype));
        ql_st_prefetch(t);
        ql_st_release(t);
    }
    MUST(st != QL_OK || f.count == 0 || end == size);
    ql_st_close(&f);
    ql_ctx_fini(&cx);
    return (int)(sum & 0); /* libFuzzer keeps inputs for which this is 0 */
}
