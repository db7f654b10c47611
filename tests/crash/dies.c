/* A quantizer that ends the program in the way that its parameter says, in its tenth call, which is of the second block. */
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <qloom/quantizer.h>

typedef struct dies {
    int bits, group_size, scale_dtype, how;
} dies;

enum { NOT, SEGV, BUS, FPE, ILL, ABORT, EXIT, STACK, LOOP, THREAD, EXIT_AT_ONCE, QUICK_EXIT, ROUNDS };

static const char *const ways[] = {"not",   "segv", "bus",    "fpe",          "ill",        "abort",  "exit",
                                   "stack", "loop", "thread", "exit_at_once", "quick_exit", "rounds", NULL};
static const ql_param params[] = {QL_BITS(dies, 4), QL_GROUP_SIZE(dies, 128), QL_SCALE_DTYPE(dies),
                                  QL_ENUM(dies, how, NOT, ways, "how it ends the program"), QL_PARAMS_END};

static int
deeper(volatile int *above)
{
    volatile int here[1024];

    here[0] = above[0] + 1;
    return here[0] ? deeper(here) + here[0] : 0;
}

/* Of a thread of the plugin's own, which has no stack for handlers. */
static void *
overflow(void *arg)
{
    static volatile int nowhere[1];

    (void)arg;
    nowhere[0] = deeper(nowhere);
    return NULL;
}

static void
die(int how)
{
    pthread_t thread;
    static volatile int nowhere[1];
    static volatile uintptr_t unmapped = 8;

    switch (how) {
    case SEGV:
        *(volatile int *)unmapped = 1;
        break;
    case BUS:
    case FPE:
    case ILL:
        raise(how == BUS ? SIGBUS : how == FPE ? SIGFPE : SIGILL);
        break;
    case ABORT:
        abort();
    case EXIT:
        exit(0);
    case EXIT_AT_ONCE:
        _exit(0);
    case QUICK_EXIT:
        quick_exit(0);
    case ROUNDS: /* does not die: whoever comes next would round up */
        fesetround(FE_UPWARD);
        break;
    case STACK:
        nowhere[0] = deeper(nowhere);
        break;
    case THREAD:
        if (pthread_create(&thread, NULL, overflow, NULL) == 0)
            pthread_join(thread, NULL);
        break;
    case LOOP:
        while (nowhere[0] == 0)
            continue;
        break;
    default:
        break;
    }
}

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    static int calls;
    const dies *p = self;

    (void)stats;
    if (getenv("DIES_CHECK"))
        die(SEGV);
    if (p->how != NOT && ++calls == 10)
        die(p->how);
    out->grid = (ql_grid){.bits = p->bits,
                          .group = ql_group_columns(p->group_size, ql_dim(w, 1)),
                          .scale_dtype = ql_float_dtype(p->scale_dtype)};
    QL_TRY(cx, ql_group_minmax(cx, w, &out->grid, &out->scales, &out->zeros));
    return ql_group_encode(cx, w, out);
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "dies", .version = "0.1", .help = "ends the program", .params = params,
          .self_size = sizeof(dies), .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize), );
