/* The emulated libraries in the place of those that the backend opens at run time. */
#include "plugins/backends/cuda/libraries.h"

ql_status
cuda_libraries_open(ql_ctx *cx, cuda_libraries *l)
{
    (void)cx;
#define TAKE(name) l->name = name;
    CUDA_BLAS_FUNCTIONS(TAKE)
    CUDA_SOLVER_FUNCTIONS(TAKE)
#undef TAKE
    return QL_OK;
}

void
cuda_libraries_close(cuda_libraries *l)
{
    *l = (cuda_libraries){0};
}
