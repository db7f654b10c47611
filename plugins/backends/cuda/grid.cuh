/* Group grids (docs/methods.md 2.1) in float and in double, on the device. Contraction into FMA must be off: codes come from exactly these
 * operations, which are those of every other backend. */
#ifndef QLOOM_CUDA_GRID_CUH
#define QLOOM_CUDA_GRID_CUH

#include "launch.cuh"

/* There is no scale; it is too small for its dtype: the group decodes to zeros; too large: the group is clipped. */
enum { FIT_OK, FIT_NONFINITE, FIT_SMALL, FIT_LARGE };

/* Scales that a dtype can hold: fp16's go down to its subnormal numbers; the others' end where codes times scale stay finite. */
#define GRID_SMALLEST_F16 0x1p-24
#define GRID_LARGEST_F16 65504.0
#define GRID_SMALLEST 0x1p-126
#define GRID_LARGEST 0x1p119

#define SHRINKS 80 /* ranges that a search tries */

/* How the groups of a weight were fitted: the first with a weight that is not finite, and QL_NUM_* of all. */
struct fits {
    unsigned long long nonfinite; /* NO_GROUP: none */
    unsigned remarks;
};
#define NO_GROUP (~0ull)

__device__ inline void
note_fit(fits *all, int64_t group, int fit)
{
    if (fit == FIT_NONFINITE)
        atomicMin(&all->nonfinite, static_cast<unsigned long long>(group));
    else if (fit != FIT_OK)
        atomicOr(&all->remarks, static_cast<unsigned>(fit == FIT_SMALL ? QL_NUM_TINY : QL_NUM_CLIPPED));
}

/* INVALID when a column has been given a group outside 0 .. groups - 1; NULL: none has. */
ql_status cuda_check_groups(ql_ctx *cx, void *dev, const ql_tensor *group_of, int64_t groups);

__device__ inline float
nearest_even(float x)
{
    return rintf(x);
}

__device__ inline double
nearest_even(double x)
{
    return rint(x);
}

__device__ inline float
power(float x, float p)
{
    return powf(x, p);
}

__device__ inline double
power(double x, double p)
{
    return pow(x, p);
}

template <typename R>
__device__ inline R
top_code(const ql_grid &g)
{
    return static_cast<R>((1 << g.bits) - 1);
}

/* x / scale as a code. Values beyond 1024 are clamped first (codes end at 255), which also turns a NaN into a number. */
template <typename R>
__device__ inline R
code_of(R x, R scale, R zero, R top)
{
    R v = x / scale;

    v = v > -1024 ? v : -1024;
    v = v < 1024 ? v : 1024;
    v = nearest_even(v) + zero;
    v = v > 0 ? v : 0;
    return v < top ? v : top;
}

template <typename R>
__device__ inline R
rounded_scale(ql_dtype dtype, R x)
{
    switch (dtype) {
    case QL_F16:
        return widen(narrow<__half>(x));
    case QL_BF16:
        return widen(narrow<__nv_bfloat16>(x));
    default:
        return static_cast<R>(static_cast<float>(x));
    }
}

/* Scale and zero for a range. One whose scale rounds to 0 is as good as empty; the largest scale clips what is beyond it. */
template <typename R>
__device__ inline int
fit_range(const ql_grid &g, R lo, R hi, R *scale, R *zero)
{
    const R smallest = static_cast<R>(g.scale_dtype == QL_F16 ? GRID_SMALLEST_F16 : GRID_SMALLEST);
    const R largest = static_cast<R>(g.scale_dtype == QL_F16 ? GRID_LARGEST_F16 : GRID_LARGEST), top = top_code<R>(g);
    R s = rounded_scale(g.scale_dtype, (hi - lo) / top);
    int fit = FIT_OK;

    if (s < smallest) {
        fit = FIT_SMALL;
        lo = -1;
        s = rounded_scale(g.scale_dtype, 2 / top);
    }
    if (!(s <= largest)) {
        fit = FIT_LARGE;
        s = largest;
    }
    *scale = s;
    *zero = g.sym ? static_cast<R>(1 << (g.bits - 1)) : nearest_even(-lo / s);
    *zero = *zero < top ? *zero : top; /* a bf16 scale rounded down makes 256 of 255 */
    return fit;
}

/* sum |decoded - x|^p, in the order of x: every backend finds the same best range. */
template <typename R>
__device__ inline R
range_error(const ql_grid &g, const R *x, int64_t n, R scale, R zero)
{
    const R top = top_code<R>(g), p = static_cast<R>(g.mse);
    R sum = 0;

    for (int64_t i = 0; i < n; i++) {
        const R d = scale * (code_of(x[i], scale, zero, top) - zero) - x[i];

        sum += p == 2 ? d * d : power(d < 0 ? -d : d, p);
    }
    return sum;
}

/* Range shrunk by i / 100; one that can't be is infinitely bad. */
template <typename R>
__device__ inline R
shrunk_error(const ql_grid &g, const R *x, int64_t n, const R range[2], int i)
{
    const R shrink = static_cast<R>(1.0 - i / 100.0);
    R s, z;

    if (fit_range(g, shrink * range[0], shrink * range[1], &s, &z) != FIT_OK)
        return INFINITY;
    return range_error(g, x, n, s, z);
}

/* A lane tries every 32nd shrunk range; the best one wins, of equals the widest. */
template <typename R>
__device__ inline void
warp_search(const ql_grid &g, const R *x, int64_t n, const R range[2], R *scale, R *zero)
{
    const int lane = static_cast<int>(threadIdx.x % WARP);
    const R first = shrunk_error(g, x, n, range, lane);
    R best = __shfl_sync(ALL_LANES, first, 0);
    int chosen = 0;

    if (first < best) {
        best = first;
        chosen = lane;
    }
    for (int i = lane + WARP; i < SHRINKS; i += WARP) {
        const R error = shrunk_error(g, x, n, range, i);

        if (error < best) {
            best = error;
            chosen = i;
        }
    }
    for (int with = WARP / 2; with > 0; with /= 2) {
        const R error = __shfl_xor_sync(ALL_LANES, best, with);
        const int i = __shfl_xor_sync(ALL_LANES, chosen, with);

        if (error < best || (error == best && i < chosen)) {
            best = error;
            chosen = i;
        }
    }
    const R shrink = static_cast<R>(1.0 - chosen / 100.0);

    fit_range(g, shrink * range[0], shrink * range[1], scale, zero);
}

/* Scale and zero of n values, the same for all lanes of a warp: by their range and a search inside it. */
template <typename R>
__device__ inline int
warp_fit(const ql_grid &g, const R *x, int64_t n, R *scale, R *zero)
{
    R lo = 0, hi = 0, range[2];
    bool bad = false;
    int fit;

    for (int64_t i = threadIdx.x % WARP; i < n; i += WARP) {
        bad = bad || !(x[i] - x[i] == 0);
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    *scale = 1;
    *zero = 0;
    if (__any_sync(ALL_LANES, bad))
        return FIT_NONFINITE;
    range[0] = -warp_max(-lo);
    range[1] = warp_max(hi);
    if (g.sym) {
        range[1] = -range[0] > range[1] ? -range[0] : range[1];
        range[0] = -range[1];
    }
    if (range[0] == 0 && range[1] == 0) {
        range[0] = -1;
        range[1] = 1;
    }
    fit = fit_range(g, range[0], range[1], scale, zero);
    if (fit == FIT_OK && g.mse > 0)
        warp_search(g, x, n, range, scale, zero);
    return fit;
}

#endif
