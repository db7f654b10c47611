/* The emulation itself: threads meet at barriers and in warps, orders change, limits are those of a device, numbers round once. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <vector>

extern __shared__ __align__(16) unsigned char block_shared[];

static int failures;

static void
check(bool ok, const char *what)
{
    if (!ok) {
        failures++;
        fprintf(stderr, "not true: %s\n", what);
    }
}
#define CHECK(x) check(x, #x)

template <typename... P, typename... A>
static cudaError_t
launch(dim3 grid, dim3 block, size_t shared, void (*kernel)(P...), A... args)
{
    cudaLaunchConfig_t config = {grid, block, shared, nullptr, nullptr, 0};
    const cudaError_t e = cudaLaunchKernelEx(&config, kernel, P(args)...);

    return e == cudaSuccess ? cudaStreamSynchronize(nullptr) : e;
}

/* Every thread reads what another one wrote; `wait` says whether it waits for it. */
static __global__ void
reverse(int *x, bool wait)
{
    int *room = reinterpret_cast<int *>(block_shared);
    const unsigned t = threadIdx.x + blockDim.x * threadIdx.y, n = blockDim.x * blockDim.y;

    for (int round = 0; round < 3; round++) {
        room[t] = x[blockIdx.x * n + t];
        if (wait)
            __syncthreads();
        x[blockIdx.x * n + t] = room[n - 1 - t];
        if (wait)
            __syncthreads();
    }
}

static bool
reversed(dim3 block, bool wait)
{
    const unsigned n = block.x * block.y;
    std::vector<int> x(3 * n);

    for (unsigned i = 0; i < 3 * n; i++)
        x[i] = static_cast<int>(i);
    launch(3, block, n * sizeof(int), reverse, x.data(), wait);
    for (unsigned i = 0; i < 3 * n; i++)
        if (x[i] != static_cast<int>(i / n * n + n - 1 - i % n))
            return false;
    return true;
}

/* Sums over lanes, of whole warps and of a part of one. */
static __global__ void
lanes(int *out, unsigned *votes)
{
    int x = static_cast<int>(threadIdx.x);
    const unsigned vote = __ballot_sync(0xffffffffu, x % 3 == 0);

    for (int with = 16; with > 0; with /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, with);
    if (threadIdx.x % 32 < 5)
        x += __shfl_sync(0x1fu, static_cast<int>(threadIdx.x), 3);
    atomicAdd(&out[threadIdx.x / 32], x);
    votes[threadIdx.x / 32] = vote;
}

static void
test_lanes()
{
    int sums[2] = {0, 0};
    unsigned votes[2];

    CHECK(launch(1, 64, 0, lanes, sums, votes) == cudaSuccess);
    CHECK(sums[0] == 32 * (31 * 32 / 2) + 5 * 3);
    CHECK(sums[1] == 32 * (31 * 32 / 2 + 32 * 32) + 5 * 35);
    CHECK(votes[0] == 0x49249249u && votes[1] == 0x92492492u);
}

static __global__ void
nothing(int)
{
}

static void
test_limits()
{
    CHECK(launch(1, 1025, 0, nothing, 0) == cudaErrorInvalidConfiguration);
    CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration && cudaGetLastError() == cudaSuccess);
    CHECK(launch(0, 1, 0, nothing, 0) == cudaErrorInvalidConfiguration);
    CHECK(launch(dim3(1, 65536), 1, 0, nothing, 0) == cudaErrorInvalidConfiguration);
    CHECK(launch(1, 1, 48 * 1024 + 1, nothing, 0) == cudaErrorInvalidConfiguration);
    CHECK(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 * 1024) == cudaSuccess);
    CHECK(launch(1, 1, 64 * 1024, nothing, 0) == cudaSuccess);
    cudaGetLastError();
}

/* Nothing happens before it must: what was queued, up to the event, and on another stream only what an event asks for. */
static void
test_streams()
{
    static const char text[] = "one two";
    cudaStream_t a, b;
    cudaEvent_t event;
    void *host, *device;
    char *p;

    cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    CHECK(cudaHostAlloc(&host, 8, cudaHostAllocDefault) == cudaSuccess);
    CHECK(cudaMallocFromPoolAsync(&device, 8, nullptr, a) == cudaSuccess);
    p = static_cast<char *>(host);
    strcpy(p, "zero");
    cudaMemcpyAsync(device, text, 3, cudaMemcpyHostToDevice, a);
    cudaEventRecord(event, a);
    cudaMemcpyAsync(host, device, 3, cudaMemcpyDeviceToHost, a);
    cudaStreamSynchronize(b);
    CHECK(strcmp(p, "zero") == 0);
    cudaMemcpyAsync(p + 4, device, 3, cudaMemcpyDeviceToHost, b);
    cudaStreamWaitEvent(b, event, 0);
    cudaMemcpyAsync(p + 4, device, 3, cudaMemcpyDeviceToHost, b);
    cudaStreamSynchronize(b);
    CHECK(memcmp(p, "zeroone", 7) == 0);
    cudaMemcpyAsync(device, p + 4, 3, cudaMemcpyHostToDevice, b); /* pinned: read when its turn comes */
    memcpy(p + 4, "two", 3);
    cudaStreamSynchronize(b);
    cudaStreamSynchronize(a);
    CHECK(memcmp(p, "two", 3) == 0);
    cudaFreeAsync(device, a);
    cudaStreamSynchronize(a);
    cudaFreeHost(host);
    cudaEventDestroy(event);
}

static void
test_numbers()
{
    for (unsigned u = 0; u < 65536; u++) {
        const __half h = {static_cast<uint16_t>(u)};
        const __nv_bfloat16 b = {static_cast<uint16_t>(u)};

        if (__half2float(h) == __half2float(h))
            CHECK(__float2half_rn(__half2float(h)).bits == u);
        if (__bfloat162float(b) == __bfloat162float(b))
            CHECK(__float2bfloat16_rn(__bfloat162float(b)).bits == u);
    }
    CHECK(__half2float({0x7bff}) == 65504 && __half2float({1}) == 0x1p-24f);
    CHECK(__double2half(65519.99).bits == 0x7bff && __double2half(65520).bits == 0x7c00);
    CHECK(__double2bfloat16(1 + 0x1p-8).bits == 0x3f80 && __double2bfloat16(1 + 0x1p-8 + 0x1p-40).bits == 0x3f81);
    CHECK(__double2bfloat16(-1e300).bits == 0xff80 && __double2half(NAN).bits == 0x7fff);
}

int
main()
{
    const dim3 shapes[] = {dim3(1), dim3(7), dim3(32), dim3(33), dim3(256), dim3(32, 8), dim3(1024)};

    for (const dim3 &s : shapes) {
        CHECK(reversed(s, true));
        CHECK(s.x * s.y == 1 || !reversed(s, false)); /* a missing barrier shows */
    }
    test_lanes();
    test_limits();
    test_streams();
    test_numbers();
    return failures != 0;
}
