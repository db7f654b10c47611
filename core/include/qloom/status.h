/* Status codes, error text, and the log: what every function that can fail speaks through. */
#ifndef QLOOM_STATUS_H
#define QLOOM_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QL_API __attribute__((visibility("default")))    /* a function that libqloom.so exports */
#define QL_EXPORT __attribute__((visibility("default"))) /* the one symbol that a plugin exports */
#ifdef __clang__                                         /* gcc knows this of functions only */
#define QL_MUST_USE __attribute__((warn_unused_result))
#else
#define QL_MUST_USE
#endif

/* code, text. NUMERIC (not positive definite, not finite) is its own code because callers act on it. */
#define QL_STATUS_LIST(X)           \
    X(OK, "ok")                     \
    X(INVALID, "invalid input")     \
    X(NOT_FOUND, "not found")       \
    X(UNSUPPORTED, "not supported") \
    X(IO, "input/output error")     \
    X(MEMORY, "out of memory")      \
    X(DEVICE, "device error")       \
    X(NUMERIC, "numerical failure") \
    X(INTERRUPTED, "interrupted")   \
    X(BUG, "internal error")

typedef enum QL_MUST_USE ql_status {
#define QL_STATUS_ENUM(name, text) QL_##name,
    QL_STATUS_LIST(QL_STATUS_ENUM)
#undef QL_STATUS_ENUM
} ql_status;

/* One per thread: the error, the log, the scope that owns temporaries, the device. Opaque. */
typedef struct ql_ctx ql_ctx;

/* Sets the error text of `cx` and returns `st`. The text says what is wrong, got and expected, in the user's words; who and
 * where (stage, plugin, block, linear) the host puts in front. */
#define QL_FAIL(cx, st, ...) ql_fail_((cx), (st), __FILE__, __LINE__, __VA_ARGS__)

/* Returns from the caller when `e` fails. The only macro here with a hidden return. */
#define QL_TRY(cx, e)                                           \
    do {                                                        \
        ql_status s_ = (e);                                     \
        if (s_ != QL_OK)                                        \
            return ql_trace_((cx), s_, __FILE__, __LINE__, #e); \
    } while (0)

QL_API ql_status ql_fail_(ql_ctx *cx, ql_status st, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
QL_API ql_status ql_trace_(ql_ctx *cx, ql_status st, const char *file, int line, const char *expr);

/* Puts text in front of the error of `st`: "stage 'quant' (NAME), model.layers.3.mlp.down_proj". Returns st; does nothing when it is OK.
 * [one thread per context] */
QL_API ql_status ql_where(ql_ctx *cx, ql_status st, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Text of the last failure on `cx`; "" if none. Valid until the next failure. [one thread per context] */
QL_API const char *ql_error(const ql_ctx *cx);

/* Forgets the last failure: for a caller that acts on a NUMERIC instead of passing it on. [one thread per context] */
QL_API void ql_error_clear(ql_ctx *cx);

/* "numerical failure" for QL_NUMERIC. [any thread] */
QL_API const char *ql_status_text(ql_status st);

/* Exit status of a program that ended with `st`: 0 done, 1 failed, 2 wrong input, 130 interrupted. [any thread] */
QL_API int ql_status_exit(ql_status st);

typedef enum ql_log_level { QL_LOG_ERROR, QL_LOG_WARN, QL_LOG_INFO, QL_LOG_DEBUG } ql_log_level;

/* Log lines; the host puts the stage, block and linear in front. [one thread per context] */
QL_API void ql_debug(ql_ctx *cx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
QL_API void ql_info(ql_ctx *cx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
QL_API void ql_warn(ql_ctx *cx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A warning that the files of a model don't agree, and which of them is followed; `where` is a file, perhaps with a key behind it. In a
 * run it is said once, and becomes the note `followed` of what measures or exports the model, without the folder. [one thread per
 * context] */
QL_API ql_status ql_follow(ql_ctx *cx, const char *where, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Zeroed memory that lives as long as the innermost scope of `cx` (for a plugin: its call; for a model's `open`: the model).
 * `count` and `size` are multiplied with a check. NULL with the error set when there is none. [one thread per context] */
QL_API void *ql_alloc(ql_ctx *cx, size_t count, size_t size);
/* The array *items of that memory, with room for *capacity items of `size`, gets room for `need`, at least twice as much as it had; what it
 * held is copied. [one thread per context] */
QL_API ql_status ql_alloc_more(ql_ctx *cx, void *items, int64_t *capacity, int64_t need, size_t size);

/* printf into memory of the innermost scope; NULL with the error set when there is none. [one thread per context] */
QL_API const char *ql_format(ql_ctx *cx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* QL_INTERRUPTED once the user has asked to stop; long loops ask now and then. [one thread per context] */
QL_API ql_status ql_check_interrupt(ql_ctx *cx);

#ifdef __cplusplus
}
#endif

#endif
