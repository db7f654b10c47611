/* Opening cuBLAS and cuSOLVER. */
#include "libraries.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <cuda_runtime_api.h>

#define TOOLKIT (CUDART_VERSION / 1000)
#define FOLDER "/usr/local/cuda/lib64/" /* where toolkits are, when nobody has told the loader */

#define HOW (RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) /* they have threads and exit handlers: once opened, they stay */

/* The same functions have been in both since CUDA 12; cuSOLVER counts its versions one behind. */
static const int versions[] = {TOOLKIT, TOOLKIT == 13 ? 12 : 13};

static ql_status
library(ql_ctx *cx, const char *name, int behind, void **out)
{
    char file[64], path[128];

    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        snprintf(file, sizeof file, "lib%s.so.%d", name, versions[i] - behind);
        snprintf(path, sizeof path, FOLDER "%s", file);
        *out = dlopen(file, HOW);
        if (!*out)
            *out = dlopen(path, HOW);
        if (*out)
            return QL_OK;
    }
    return QL_FAIL(cx, QL_DEVICE,
                   "lib%s.so.%d of CUDA %d is neither where the loader looks nor in " FOLDER
                   ": install it, or name its folder in LD_LIBRARY_PATH",
                   name, TOOLKIT - behind, TOOLKIT);
}

/* POSIX wants this detour from an object pointer to a function pointer. */
static ql_status
symbol(ql_ctx *cx, void *from, const char *name, void *function)
{
    void *p = dlsym(from, name);

    if (!p)
        return QL_FAIL(cx, QL_DEVICE, "CUDA's libraries have no function %s: CUDA 12.0 or later is needed", name);
    memcpy(function, &p, sizeof p);
    return QL_OK;
}

ql_status
cuda_libraries_open(ql_ctx *cx, cuda_libraries *l)
{
    QL_TRY(cx, library(cx, "cublas", 0, &l->blas));
    QL_TRY(cx, library(cx, "cusolver", 1, &l->solver));
#define LOAD_BLAS(name) QL_TRY(cx, symbol(cx, l->blas, #name, &l->name));
#define LOAD_SOLVER(name) QL_TRY(cx, symbol(cx, l->solver, #name, &l->name));
    CUDA_BLAS_FUNCTIONS(LOAD_BLAS)
    CUDA_SOLVER_FUNCTIONS(LOAD_SOLVER)
#undef LOAD_BLAS
#undef LOAD_SOLVER
    return QL_OK;
}

void
cuda_libraries_close(cuda_libraries *l)
{
    if (l->solver)
        dlclose(l->solver);
    if (l->blas)
        dlclose(l->blas);
    *l = (cuda_libraries){0};
}
