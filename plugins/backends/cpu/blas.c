/* Loading OpenBLAS. A constructor of the library chooses the kernels, and old versions choose ancient ones for processors they do
 * not know (5 times slower), so the choice is checked, and corrected through OPENBLAS_CORETYPE before a second opening. */
#include "blas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LIBRARY "libopenblas.so.0"

enum { CORE_OLD, CORE_AVX2, CORE_AVX512 };

/* Cores by the instructions that their sgemm uses; all others are older. */
static const struct {
    const char *name;
    int level;
} cores[] = {
    {"Haswell", CORE_AVX2},    {"Zen", CORE_AVX2},          {"Excavator", CORE_AVX2},
    {"SkylakeX", CORE_AVX512}, {"Cooperlake", CORE_AVX512}, {"SapphireRapids", CORE_AVX512},
};

static int
core_level(const char *core)
{
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++)
        if (strcasecmp(core, cores[i].name) == 0)
            return cores[i].level;
    return CORE_OLD;
}

static int
processor_level(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return CORE_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return CORE_AVX2;
#endif
    return CORE_OLD;
}

/* POSIX wants this detour from an object pointer to a function pointer. */
static ql_status
symbol(ql_ctx *cx, void *library, const char *name, void *function)
{
    void *p = dlsym(library, name);

    if (!p)
        return QL_FAIL(cx, QL_DEVICE, LIBRARY " has no function %s: install libopenblas0-pthread", name);
    memcpy(function, &p, sizeof p);
    return QL_OK;
}

static ql_status
library_open(ql_ctx *cx, blas *b)
{
    const char *(*corename)(void) = NULL;

    b->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!b->library) {
        const char *why = dlerror();

        return QL_FAIL(cx, QL_DEVICE, LIBRARY ": cannot open: %s: install libopenblas0-pthread", why ? why : "unknown");
    }
    QL_TRY(cx, symbol(cx, b->library, "openblas_get_corename", &corename));
    snprintf(b->core, sizeof b->core, "%s", corename());
    return QL_OK;
}

static ql_status
library_functions(ql_ctx *cx, blas *b)
{
    void (*set_threads)(int) = NULL;

#define LOAD_S(name, sym, ret, args) QL_TRY(cx, symbol(cx, b->library, sym, &b->s.name));
#define LOAD_D(name, sym, ret, args) QL_TRY(cx, symbol(cx, b->library, sym, &b->d.name));
    BLAS_FUNCTIONS(LOAD_S, float, "s")
    BLAS_FUNCTIONS(LOAD_D, double, "d")
#undef LOAD_S
#undef LOAD_D
    QL_TRY(cx, symbol(cx, b->library, "openblas_set_num_threads", &set_threads));
    set_threads(1);
    return QL_OK;
}

ql_status
blas_open(ql_ctx *cx, blas *b)
{
    int level = processor_level();

    /* The pool is ours: without this the library starts a thread a core that would never work. */
    if (setenv("OPENBLAS_NUM_THREADS", "1", 1) != 0)
        return QL_FAIL(cx, QL_MEMORY, "no memory for an environment variable");
    QL_TRY(cx, library_open(cx, b));
    if (core_level(b->core) < level && !getenv("OPENBLAS_CORETYPE")) {
        blas_close(b);
        if (setenv("OPENBLAS_CORETYPE", level == CORE_AVX512 ? "SKYLAKEX" : "HASWELL", 1) != 0)
            return QL_FAIL(cx, QL_MEMORY, "no memory for an environment variable");
        QL_TRY(cx, library_open(cx, b));
    }
    if (core_level(b->core) < level)
        ql_warn(cx, "OpenBLAS uses its '%s' kernels, slower than this processor allows; see OPENBLAS_CORETYPE",
                b->core);
    return library_functions(cx, b);
}

void
blas_close(blas *b)
{
    if (b->library)
        dlclose(b->library);
    *b = (blas){0};
}
