/* Blocks of threads on the host. Each thread of a block is a fiber; it runs until it meets others, at a barrier of the block or an
 * operation of its warp. The order changes every time, so that what depends on it without a barrier shows. Shared memory is filled
 * with NaN before each block. */
#include "fiber.h"

#include <emulated_mma.h>

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <map>
#include <set>
#include <sys/mman.h>
#include <vector>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

#define SHARED_MOST (227 * 1024)   /* of a block of compute capability 9.0 */
#define SHARED_DEFAULT (48 * 1024) /* unless the kernel's attribute says more */
#define STACK (256 * 1024)
#define THREADS 1024

alignas(128) unsigned char block_shared[SHARED_MOST];

namespace {

enum class state { fresh, ready, block, warp, done };

struct copy { /* that has begun */
    void *to;
    const void *from;
    size_t bytes, zeros; /* zeros at its end */
    unsigned batch;
};

struct thread {
    fiber *f; /* from its start on */
    state s;
    uint3 index;
    unsigned mask; /* and what it brought to the operation of its warp */
    void *operand;
    emulated_collective fn;
    std::vector<copy> copies;
    unsigned batch; /* that copies join */
};

struct warp {
    unsigned present, gone, waiting; /* sets of lanes */
};

/* The numbers below `count` in an order of its own: a start, and a stride without a common divisor. */
struct order {
    unsigned count, left, at, stride;
};

struct block {
    thread threads[THREADS];
    fiber fibers[THREADS];
    unsigned fibers_used;
    order lanes; /* of the warp that runs, whose first thread is `first` */
    unsigned first;
    warp warps[THREADS / 32];
    unsigned count, running; /* threads, those that are not done */
    const char *file;        /* of the barrier where threads wait */
    int line;
    const std::function<void()> *run;
    fiber scheduler;
    unsigned current;
    char *stacks;
    uint64_t rng;
};

block now;
std::map<const void *, int> shared_allowed; /* of kernels */

/* The kernels that were launched; at the end of the process their places in the plugin's file are appended to the file that
 * QLOOM_TEST_CUDA_LAUNCHED names. */
struct launched {
    std::set<const void *> kernels;

    ~launched()
    {
        const char *name = getenv("QLOOM_TEST_CUDA_LAUNCHED");
        FILE *f = name ? fopen(name, "a") : nullptr;
        Dl_info in;

        for (const void *kernel : kernels)
            if (f && dladdr(kernel, &in))
                fprintf(
                    f, "%016zx\n",
                    static_cast<size_t>(static_cast<const char *>(kernel) - static_cast<const char *>(in.dli_fbase)));
        if (f)
            fclose(f);
    }
} all_launched;

uint64_t
random_bits()
{
    now.rng = now.rng * 6364136223846793005u + 1442695040888963407u;
    return now.rng >> 33;
}

unsigned
divisor(unsigned a, unsigned b)
{
    return b ? divisor(b, a % b) : a;
}

order
any_order(unsigned count)
{
    order o = {count, count, static_cast<unsigned>(random_bits() % count), 0};

    do
        o.stride = 1 + static_cast<unsigned>(random_bits() % count);
    while (divisor(o.stride, count) != 1);
    return o;
}

unsigned
next_of(order *o)
{
    o->left--;
    o->at = (o->at + o->stride) % o->count;
    return o->at;
}

/* The next thread of the warp's order that can run becomes the current one; false when there is none. */
bool
next_lane()
{
    while (now.lanes.left > 0) {
        const unsigned t = now.first + next_of(&now.lanes);

        if (now.threads[t].s == state::fresh || now.threads[t].s == state::ready) {
            now.current = t;
            threadIdx = now.threads[t].index;
            return true;
        }
    }
    return false;
}

/* Of a fiber: runs the current thread, and goes on with those that have not begun, for a change of stacks costs more than most
 * threads. */
void
enter()
{
    fiber *self = &now.fibers[now.fibers_used - 1];

    fiber_arrived(self, &now.scheduler);
    for (bool more = true; more;) {
        thread *t = &now.threads[now.current];

        t->s = state::ready;
        t->f = self;
        (*now.run)();
        t = &now.threads[now.current];
        t->s = state::done;
        now.warps[now.current / 32].gone |= 1u << now.current % 32;
        now.running--;
        more = next_lane();
        if (more && now.threads[now.current].s != state::fresh) {
            now.lanes.left++; /* it has a fiber of its own: the scheduler's turn */
            now.lanes.at = (now.lanes.at + now.lanes.count - now.lanes.stride) % now.lanes.count;
            more = false;
        }
    }
    fiber_change(self, &now.scheduler, true);
}

void
wait_as(state s)
{
    now.threads[now.current].s = s;
    fiber_change(now.threads[now.current].f, &now.scheduler, false);
}

/* Runs the lanes of a warp that can run, once; false when none can. */
bool
run_lanes(unsigned first, unsigned count)
{
    bool ran = false;

    now.first = first;
    now.lanes = any_order(count);
    while (next_lane()) {
        fiber *f = now.threads[now.current].f;

        if (now.threads[now.current].s == state::fresh) {
            f = &now.fibers[now.fibers_used];
            fiber_make(f, now.stacks + static_cast<size_t>(now.fibers_used++) * STACK, STACK, enter);
        }
        fiber_change(&now.scheduler, f, false);
        ran = true;
    }
    return ran;
}

/* From barrier to barrier each warp goes as far as it can before the next one begins: what they have to wait for is then missing. */
void
run_threads()
{
    const unsigned warps = (now.count + 31) / 32;

    while (now.running > 0) {
        order in = any_order(warps);

        while (in.left > 0) {
            const unsigned first = next_of(&in) * 32, count = now.count - first < 32 ? now.count - first : 32;

            while (run_lanes(first, count))
                ;
        }
        for (unsigned t = 0; t < now.count; t++) {
            if (now.threads[t].s == state::warp)
                emulated_broken("lanes of a warp wait for others that don't come");
            if (now.threads[t].s == state::block)
                now.threads[t].s = state::ready;
        }
        now.file = nullptr;
    }
}

void
start_threads()
{
    now.running = now.count;
    now.fibers_used = 0;
    now.file = nullptr;
    for (unsigned t = 0; t < now.count; t++) {
        now.threads[t].s = state::fresh;
        now.threads[t].copies.clear();
        now.threads[t].batch = 0;
    }
    for (unsigned w = 0; w * 32 < now.count; w++)
        now.warps[w] = {now.count - w * 32 >= 32 ? ~0u : (1u << (now.count - w * 32)) - 1, 0, 0};
}

bool
possible(const cudaLaunchConfig_t &c, const void *kernel)
{
    const auto allowed = shared_allowed.find(kernel);
    const size_t shared = allowed == shared_allowed.end() ? SHARED_DEFAULT : static_cast<size_t>(allowed->second);
    const uint64_t threads = static_cast<uint64_t>(c.blockDim.x) * c.blockDim.y * c.blockDim.z;

    return threads >= 1 && threads <= THREADS && c.blockDim.z <= 64 && c.gridDim.x >= 1 && c.gridDim.x < 1u << 31 &&
           c.gridDim.y >= 1 && c.gridDim.y < 65536 && c.gridDim.z >= 1 && c.gridDim.z < 65536 &&
           c.dynamicSmemBytes <= shared;
}

void
run_blocks(const cudaLaunchConfig_t &config, const std::function<void()> &thread)
{
    gridDim = config.gridDim;
    blockDim = config.blockDim;
    now.run = &thread;
    now.count = blockDim.x * blockDim.y * blockDim.z;
    for (unsigned t = 0; t < now.count; t++)
        now.threads[t].index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
#ifdef FIBER_ASAN
    __asan_unpoison_memory_region(block_shared, SHARED_MOST);
    __asan_poison_memory_region(block_shared + config.dynamicSmemBytes, SHARED_MOST - config.dynamicSmemBytes);
#endif
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) {
                memset(block_shared, 0xff, config.dynamicSmemBytes);
                start_threads();
                run_threads();
            }
}

} // namespace

[[noreturn]] void
emulated_broken(const char *what)
{
    fprintf(stderr, "emulated cuda: block (%u, %u, %u), thread (%u, %u, %u): %s\n", blockIdx.x, blockIdx.y, blockIdx.z,
            threadIdx.x, threadIdx.y, threadIdx.z, what);
    abort();
}

cudaError_t
emulated_launch(const cudaLaunchConfig_t &config, const void *kernel, std::function<void()> thread)
{
    if (!possible(config, kernel))
        return emulated_error(cudaErrorInvalidConfiguration);
    all_launched.kernels.insert(kernel);
    if (!now.stacks)
        now.stacks = static_cast<char *>(mmap(nullptr, static_cast<size_t>(THREADS) * STACK, PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (now.stacks == MAP_FAILED)
        return emulated_error(cudaErrorMemoryAllocation);
    emulated_queue(config.stream, [config, thread = std::move(thread)] {
        if (!emulated_kernel_fails())
            run_blocks(config, thread);
    });
    return emulated_fault();
}

cudaError_t
emulated_func_attribute(const void *kernel, cudaFuncAttribute attribute, int value)
{
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > SHARED_MOST)
        return emulated_error(cudaErrorInvalidValue);
    shared_allowed[kernel] = value;
    return cudaSuccess;
}

int
emulated_without(const char *file, int line)
{
    static const char *const name = getenv("QLOOM_TEST_WITHOUT");
    const char *slash = strrchr(file, '/');
    char text[256];

    if (!name)
        return false;
    snprintf(text, sizeof text, "%s:%d", slash ? slash + 1 : file, line);
    return strcmp(text, name) == 0;
}

void
emulated_barrier(const char *file, int line)
{
    if (emulated_without(file, line))
        return;
    if (now.file && (now.line != line || strcmp(now.file, file) != 0))
        emulated_broken("threads of a block wait at different barriers");
    now.file = file;
    now.line = line;
    wait_as(state::block);
}

void
emulated_warp(unsigned mask, void *mine, emulated_collective fn)
{
    const unsigned first = now.current / 32 * 32;
    warp *w = &now.warps[now.current / 32];
    thread *self = &now.threads[now.current];
    const unsigned need = mask & w->present;
    void *lanes[32] = {};

    if (!(need >> now.current % 32 & 1))
        emulated_broken("a lane is not in the mask of its own operation");
    if (need & w->gone)
        emulated_broken("a lane in the mask of an operation has ended");
    self->mask = mask;
    self->operand = mine;
    self->fn = fn;
    w->waiting |= 1u << now.current % 32;
    if ((w->waiting & need) != need) {
        wait_as(state::warp);
        return;
    }
    for (unsigned i = 0; i < 32; i++)
        if (need >> i & 1) {
            const thread *t = &now.threads[first + i];

            if (t->mask != mask || t->fn != fn)
                emulated_broken("lanes of a warp meet in different operations");
            lanes[i] = t->operand;
        }
    fn(need, lanes);
    for (unsigned i = 0; i < 32; i++)
        if (need >> i & 1)
            now.threads[first + i].s = state::ready;
    w->waiting &= ~need;
}

void
emulated_warp_barrier(const char *file, int line)
{
    if (!emulated_without(file, line))
        emulated_warp(~0u, nullptr, [](unsigned, void *const[32]) {});
}

int
emulated_lane(void)
{
    return static_cast<int>(now.current % 32);
}

unsigned
__ballot_sync(unsigned mask, int predicate)
{
    struct vote {
        int predicate;
        unsigned result;
    } mine = {predicate, 0};

    emulated_warp(mask, &mine, [](unsigned present, void *const lanes[32]) {
        unsigned set = 0;

        for (int i = 0; i < 32; i++)
            if (present >> i & 1 && static_cast<vote *>(lanes[i])->predicate)
                set |= 1u << i;
        for (int i = 0; i < 32; i++)
            if (present >> i & 1)
                static_cast<vote *>(lanes[i])->result = set;
    });
    return mine.result;
}

void
__pipeline_memcpy_async(void *to, const void *from, size_t bytes, size_t zeros)
{
    thread *t = &now.threads[now.current];

    if (bytes != 16 || reinterpret_cast<uintptr_t>(to) % 16 || reinterpret_cast<uintptr_t>(from) % 16)
        emulated_broken("an asynchronous copy is not of 16 aligned bytes");
    t->copies.push_back({to, from, bytes, zeros, t->batch});
}

void
__pipeline_commit(void)
{
    now.threads[now.current].batch++;
}

void
__pipeline_wait_prior(unsigned batches)
{
    thread *t = &now.threads[now.current];
    size_t left = 0;

    for (const copy &c : t->copies)
        if (c.batch + batches < t->batch) {
            memcpy(c.to, c.from, c.bytes - c.zeros);
            memset(static_cast<char *>(c.to) + c.bytes - c.zeros, 0, c.zeros);
        } else {
            t->copies[left++] = c;
        }
    t->copies.resize(left);
}
