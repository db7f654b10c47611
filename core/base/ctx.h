/* The context: error text and trace, log, scopes, and the device that new tensors live on. One per thread. */
#ifndef QLOOM_BASE_CTX_H
#define QLOOM_BASE_CTX_H

#include <stdarg.h>

#include <qloom/quantizer.h>

typedef struct ql_device ql_device; /* core/device/device.h */
typedef struct ql_walk ql_walk;     /* core/graph/walk.h */

/* Where log lines go: the terminal and the run's log file are sinks. `progress` shows a line that takes the place
 * of the one before, `last` ends it; NULL: a sink that shows none. [any thread] */
typedef struct ql_log {
    void (*write)(void *user, ql_log_level level, const char *line);
    void *user;
    void (*progress)(void *user, const char *line, bool last);
} ql_log;

/* A scope owns memory, tensors and what ql_defer hands to it; closing it lets go of them. What ql_scope_open opens lies
 * on the heap and `opened` points there, so that a caller who returned early because of an error leaves nothing open
 * that died with its frame. A zeroed scope can also be used by itself, as one that lives longer than a call: between
 * ql_scope_enter and ql_scope_leave it is the innermost. */
typedef struct ql_chunk ql_chunk;
typedef struct ql_deferred ql_deferred;
typedef struct ql_scope {
    struct ql_scope *up, *opened;
    bool heap, absent;
    int64_t missing; /* scopes above it for which there was no memory */
    ql_chunk *memory;
    ql_deferred *deferred;
    ql_tensor **tensors;
    int64_t count, capacity;
} ql_scope;

/* Where the work is: what log lines carry in front, and what ql_random is keyed by. */
typedef struct ql_site {
    const char *
        stage; /* "quant (NAME)"; NULL: no stage is at work. Buffers made meanwhile point to it as their owner, so it lives as
                         * long as they do. */
    const char *linear; /* "model.layers.3.mlp.down_proj"; NULL: none */
    int64_t block;      /* -1: none */
    int subset, index;  /* of the linear */
    uint64_t seed;      /* of the stage */
    /* whose function is called there, for who handles its crash; NULL, zeros: not said */
    const char *plugin, *name, *cells; /* name: of the stage, "quant"; cells: "quant.bits=3" */
    uint64_t node[2];                  /* content key of the stage in its variant */
} ql_site;

typedef struct ql_followed { /* zeroed: nothing */
    ql_scope memory;
    const char *text; /* what ql_follow said, each line once: "LINE; LINE"; NULL: nothing */
} ql_followed;

struct ql_ctx {
    ql_scope *scope;
    int64_t missing;   /* as in ql_scope, while none is open */
    ql_device *device; /* NULL until one is open */
    const ql_log *log;
    const volatile int *interrupt; /* nonzero once the user asked to stop; may be NULL */
    ql_walk *walk;                 /* what ql_quantize and the memo need; NULL outside a walk */
    ql_site site;                  /* zeroed: nowhere; changed by ql_enter and ql_leave */
    struct ql_job_page *page;      /* where ql_enter writes down what is called; may be NULL */
    ql_followed *followed;         /* collects what ql_follow says; may be NULL */
    const char *holds;    /* owner of buffers made while no stage is at work: "hidden states"; static, may be NULL */
    unsigned remarks;     /* QL_NUM_* that operations added since the host last cleared them */
    const ql_stage *base; /* ql_base; may be NULL */
    int64_t fail_alloc;   /* tests: the n-th allocation from now fails; 0: never */
    char error[16384];    /* a pipeline file has all of its errors reported at once */
    char trace[2048];
    char warned[2048]; /* the last warning's line */
    ql_status status;
};

/* Around every call of a plugin's function; ql_enter returns where the work was before, for ql_leave. */
ql_site ql_enter(ql_ctx *cx, ql_site site);
/* The same for a plugin that works for a stage, or for none: a model, a `check`. */
ql_site ql_enter_plugin(ql_ctx *cx, const char *plugin);
void ql_leave(ql_ctx *cx, ql_site before);

void ql_ctx_init(ql_ctx *cx, const ql_log *log);
void ql_ctx_fini(ql_ctx *cx); /* closes every scope left */

/* How a scope lets go of a tensor; the tensor room's. NULL is fine. */
void ql_tensor_unref(ql_tensor *t);

void ql_scope_open(ql_ctx *cx, ql_scope *scope);
void ql_scope_close(ql_ctx *cx, ql_scope *scope); /* also closes scopes above it that an error left open */

void ql_scope_enter(ql_ctx *cx, ql_scope *scope);
ql_status ql_scope_leave(ql_ctx *cx, ql_scope *scope, ql_status st); /* closes scopes above it too; returns st */

/* Calls close(item) when the innermost scope closes, last come first; at once when there is no memory to remember it. */
ql_status ql_defer(ql_ctx *cx, void (*close)(void *item), void *item);

/* Heap memory with the context's fault injection and overflow check: zeroed; NULL with MEMORY set. Freed with free().
 */
void *ql_heap(ql_ctx *cx, size_t count, size_t size);
/* *items grows to hold `need` items of `size`; doubling. */
ql_status ql_grow(ql_ctx *cx, void *items, int64_t *capacity, int64_t need, size_t size);

const char *ql_vformat(ql_ctx *cx, const char *fmt, va_list ap);
const char *ql_copy_text(ql_ctx *cx, const char *text, size_t bytes); /* NUL-terminated, in the innermost scope */

/* An error whose text has several lines, which hold no control characters (ql_visible); QL_FAIL makes one line of its text. */
ql_status ql_fail_lines(ql_ctx *cx, ql_status st, const char *lines);

#endif
