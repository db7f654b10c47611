/* Matrices whose dtype is looked at where an element is: of operations whose operands have several, and which wait for memory anyway. */
#ifndef QLOOM_CUDA_LOOSE_CUH
#define QLOOM_CUDA_LOOSE_CUH

#include "launch.cuh"

struct loose {
    void *p;
    int64_t ld;
    ql_dtype dtype;

    template <typename W>
    __device__ W
    get(int64_t i, int64_t j) const
    {
        const int64_t at = i * ld + j;

        switch (dtype) {
        case QL_F64:
            return static_cast<W>(static_cast<const double *>(p)[at]);
        case QL_F32:
            return static_cast<const float *>(p)[at];
        case QL_BF16:
            return widen(static_cast<const __nv_bfloat16 *>(p)[at]);
        default:
            return widen(static_cast<const __half *>(p)[at]);
        }
    }

    template <typename W>
    __device__ void
    put(int64_t i, int64_t j, W x) const
    {
        const int64_t at = i * ld + j;

        switch (dtype) {
        case QL_F64:
            static_cast<double *>(p)[at] = x;
            break;
        case QL_F32:
            static_cast<float *>(p)[at] = static_cast<float>(x);
            break;
        case QL_BF16:
            static_cast<__nv_bfloat16 *>(p)[at] = narrow<__nv_bfloat16>(x);
            break;
        default:
            static_cast<__half *>(p)[at] = narrow<__half>(x);
        }
    }
};

static inline loose
loosely(const ql_tensor *t)
{
    const mat m = cuda_mat(t);

    return {m.p, m.ld, m.dtype};
}

#endif
