/* Tensors from a device to a safetensors file. */
#include "safetensors_write.h"
#include "tensor.h"

static ql_status
write_tensors(ql_ctx *cx, ql_st_writer *w, int count, const char *const *names, const ql_tensor *const *tensors)
{
    for (int i = 0; i < count; i++) {
        const void *data;

        QL_TRY(cx, ql_map(cx, tensors[i], QL_READ, &data));
        QL_TRY(cx, ql_st_write(cx, w, names[i], data, ql_tensor_bytes(tensors[i])));
        QL_TRY(cx, ql_unmap(cx, tensors[i]));
    }
    return ql_st_commit(cx, w);
}

ql_status
ql_save(ql_ctx *cx, const char *file, int count, const char *const *names, const ql_tensor *const *tensors)
{
    ql_st_entry *entries = ql_alloc(cx, (size_t)count, sizeof *entries);
    ql_st_writer *w;
    ql_status st;

    if (!entries)
        return QL_MEMORY;
    for (int i = 0; i < count; i++) {
        entries[i] = (ql_st_entry){
            .name = names[i], .dtype = ql_st_dtype_of(ql_dtype_of(tensors[i])), .ndim = ql_ndim(tensors[i])};
        for (int d = 0; d < entries[i].ndim; d++)
            entries[i].dims[d] = ql_dim(tensors[i], d);
    }
    QL_TRY(cx, ql_st_create(cx, file, &(ql_st_plan){.count = count, .entries = entries}, &w));
    st = write_tensors(cx, w, count, names, tensors);
    ql_st_abort(w);
    return st;
}
