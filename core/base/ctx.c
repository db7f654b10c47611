/* The context: errors, scopes, memory and log lines. */
#include "ctx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qloom/qloom.h>

#include "text.h"

#define CHUNK_BYTES 16384

struct ql_chunk {
    ql_chunk *next;
    size_t used, size;
    _Alignas(max_align_t) unsigned char data[];
};

struct ql_deferred { /* lies in its scope's memory */
    ql_deferred *next;
    void (*close)(void *item);
    void *item;
};

void
ql_ctx_init(ql_ctx *cx, const ql_log *log)
{
    *cx = (ql_ctx){.log = log};
}

void
ql_ctx_fini(ql_ctx *cx)
{
    while (cx->scope)
        ql_scope_close(cx, cx->scope);
}

/* False once, when the test harness asked for the n-th allocation to fail. */
static bool
may_allocate(ql_ctx *cx)
{
    return cx->fail_alloc == 0 || --cx->fail_alloc != 0;
}

/* How many scopes there was no memory for, above the innermost one. While there are any, allocations fail: what they make would live
 * too long. */
static int64_t *
missing(ql_ctx *cx)
{
    return cx->scope ? &cx->scope->missing : &cx->missing;
}

void
ql_scope_open(ql_ctx *cx, ql_scope *scope)
{
    *scope = (ql_scope){.up = cx->scope};
    if (*missing(cx) == 0)
        scope->opened = calloc(1, sizeof *scope);
    if (!scope->opened) {
        scope->absent = true;
        ++*missing(cx);
        return;
    }
    *scope->opened = (ql_scope){.up = cx->scope, .heap = true};
    cx->scope = scope->opened;
}

static void
scope_free(ql_scope *s)
{
    for (const ql_deferred *d = s->deferred; d; d = d->next)
        d->close(d->item);
    for (int64_t i = s->count; i-- > 0;)
        ql_tensor_unref(s->tensors[i]);
    free(s->tensors);
    for (ql_chunk *c = s->memory, *next; c; c = next) {
        next = c->next;
        free(c);
    }
}

static void
scope_pop(ql_ctx *cx)
{
    ql_scope *s = cx->scope;

    cx->scope = s->up;
    scope_free(s);
    if (s->heap)
        free(s);
}

void
ql_scope_close(ql_ctx *cx, ql_scope *scope)
{
    const ql_scope *target = scope->opened ? scope->opened : scope;
    bool last = false;

    if (scope->absent) { /* it never came to be; what an error left open above it goes */
        while (cx->scope != scope->up)
            scope_pop(cx);
        if (*missing(cx) > 0)
            --*missing(cx);
        return;
    }
    while (cx->scope && !last) {
        last = cx->scope == target;
        scope_pop(cx);
    }
}

void
ql_scope_enter(ql_ctx *cx, ql_scope *scope)
{
    scope->up = cx->scope;
    cx->scope = scope;
}

ql_status
ql_scope_leave(ql_ctx *cx, ql_scope *scope, ql_status st)
{
    while (cx->scope != scope)
        scope_pop(cx);
    scope->missing = 0;
    cx->scope = scope->up;
    return st;
}

ql_status
ql_defer(ql_ctx *cx, void (*close)(void *item), void *item)
{
    ql_deferred *d = ql_alloc(cx, 1, sizeof *d);

    if (!d) {
        close(item);
        return QL_MEMORY;
    }
    *d = (ql_deferred){.next = cx->scope->deferred, .close = close, .item = item};
    cx->scope->deferred = d;
    return QL_OK;
}

void *
ql_heap(ql_ctx *cx, size_t count, size_t size)
{
    void *p = NULL;

    if (may_allocate(cx) && (size == 0 || count <= SIZE_MAX / size))
        p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        (void)QL_FAIL(cx, QL_MEMORY, "no memory for %zu x %zu bytes on the host", count, size);
    return p;
}

ql_status
ql_grow(ql_ctx *cx, void *items, int64_t *capacity, int64_t need, size_t size)
{
    void **p = items;
    int64_t cap = *capacity ? *capacity : 16;
    void *grown = NULL;

    if (need <= *capacity)
        return QL_OK;
    while (cap < need) {
        if (cap > INT64_MAX / 2)
            return QL_FAIL(cx, QL_MEMORY, "a list of %lld items is too long", (long long)need);
        cap *= 2;
    }
    if ((size_t)cap <= SIZE_MAX / size && may_allocate(cx))
        grown = realloc(*p, (size_t)cap * size);
    if (!grown)
        return QL_FAIL(cx, QL_MEMORY, "no memory for %lld x %zu bytes on the host", (long long)cap, size);
    *p = grown;
    *capacity = cap;
    return QL_OK;
}

void *
ql_alloc(ql_ctx *cx, size_t count, size_t size)
{
    ql_scope *s = cx->scope;
    ql_chunk *c = s ? s->memory : NULL;
    size_t bytes, align = _Alignof(max_align_t);

    if (*missing(cx) > 0) {
        (void)QL_FAIL(cx, QL_MEMORY, "no memory on the host");
        return NULL;
    }
    if (!s || (size && count > (SIZE_MAX - CHUNK_BYTES) / size)) {
        (void)QL_FAIL(cx, s ? QL_MEMORY : QL_BUG,
                      s ? "a size of %zu x %zu bytes overflows" : "no scope is open for %zu x %zu bytes", count, size);
        return NULL;
    }
    bytes = (count * size + align - 1) / align * align;
    if (!c || c->size - c->used < bytes) {
        size_t room = bytes > CHUNK_BYTES / 4 ? bytes : CHUNK_BYTES;
        ql_chunk *fresh = may_allocate(cx) ? calloc(1, sizeof *fresh + room) : NULL;

        if (!fresh) {
            (void)QL_FAIL(cx, QL_MEMORY, "no memory for %zu bytes on the host", bytes);
            return NULL;
        }
        fresh->size = room;
        if (c && room == bytes) { /* a large block of its own must not hide the room left in the current one */
            fresh->next = c->next;
            c->next = fresh;
        } else {
            fresh->next = c;
            s->memory = fresh;
        }
        c = fresh;
    }
    c->used += bytes;
    return c->data + c->used - bytes;
}

ql_status
ql_alloc_more(ql_ctx *cx, void *items, int64_t *capacity, int64_t need, size_t size)
{
    const int64_t more = need > 2 * *capacity ? need : 2 * *capacity;
    void **p = items, *grown;

    if (need <= *capacity)
        return QL_OK;
    grown = ql_alloc(cx, (size_t)more, size);
    if (!grown)
        return QL_MEMORY;
    if (*capacity)
        memcpy(grown, *p, (size_t)*capacity * size);
    *p = grown;
    *capacity = more;
    return QL_OK;
}

const char *
ql_copy_text(ql_ctx *cx, const char *text, size_t bytes)
{
    char *p = ql_alloc(cx, bytes + 1, 1);

    return p ? memcpy(p, text, bytes) : NULL;
}

const char *
ql_vformat(ql_ctx *cx, const char *fmt, va_list ap)
{
    va_list again;
    int n;
    char *p;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    p = n < 0 ? NULL : ql_alloc(cx, (size_t)n + 1, 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, ap);
    return p;
}

const char *
ql_format(ql_ctx *cx, const char *fmt, ...)
{
    va_list ap;
    const char *p;

    va_start(ap, fmt);
    p = ql_vformat(cx, fmt, ap);
    va_end(ap);
    return p;
}

ql_status
ql_fail_(ql_ctx *cx, ql_status st, const char *file, int line, const char *fmt, ...)
{
    char text[sizeof cx->error];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ql_visible(text, "\\n", cx->error, sizeof cx->error);
    snprintf(cx->trace, sizeof cx->trace, "%s:%d", file, line);
    cx->status = st;
    return st;
}

ql_status
ql_fail_lines(ql_ctx *cx, ql_status st, const char *lines)
{
    snprintf(cx->error, sizeof cx->error, "%s", lines);
    cx->status = st;
    return st;
}

ql_status
ql_trace_(ql_ctx *cx, ql_status st, const char *file, int line, const char *expr)
{
    size_t n = strlen(cx->trace);

    snprintf(cx->trace + n, sizeof cx->trace - n, "\n  %s:%d: %s", file, line, expr);
    if (cx->status == QL_OK)
        return ql_fail_(cx, st, file, line, "%s, without a text, in %s", ql_status_text(st), expr);
    return st;
}

ql_status
ql_where(ql_ctx *cx, ql_status st, const char *fmt, ...)
{
    char raw[sizeof cx->error], text[sizeof cx->error];
    va_list ap;
    size_t n;

    if (st == QL_OK)
        return st;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    ql_visible(raw, "\\n", text, sizeof text);
    n = strlen(text);
    snprintf(text + n, sizeof text - n, ": %.*s", (int)(sizeof text - n), cx->error);
    memcpy(cx->error, text, sizeof text);
    return st;
}

const char *
ql_error(const ql_ctx *cx)
{
    return cx->error;
}

void
ql_error_clear(ql_ctx *cx)
{
    cx->error[0] = cx->trace[0] = '\0';
    cx->status = QL_OK;
}

const char *
ql_status_text(ql_status st)
{
    static const char *const texts[] = {
#define TEXT(name, text) text,
        QL_STATUS_LIST(TEXT)
#undef TEXT
    };

    return (size_t)st < sizeof texts / sizeof *texts ? texts[st] : "unknown status";
}

int
ql_status_exit(ql_status st)
{
    switch (st) {
    case QL_OK:
        return 0;
    case QL_INVALID:
    case QL_NOT_FOUND:
    case QL_UNSUPPORTED:
        return 2;
    case QL_INTERRUPTED:
        return 130;
    default:
        return 1;
    }
}

const char *
ql_version(void)
{
    return QLOOM_VERSION;
}

const char *
ql_linear_name(const ql_ctx *cx)
{
    return cx->site.linear ? cx->site.linear : "";
}

void
ql_remark(ql_ctx *cx, unsigned statuses)
{
    cx->remarks |= statuses;
}

ql_status
ql_check_interrupt(ql_ctx *cx)
{
    return cx->interrupt && __atomic_load_n(cx->interrupt, __ATOMIC_RELAXED)
               ? QL_FAIL(cx, QL_INTERRUPTED, "interrupted")
               : QL_OK;
}

static void
write_log(ql_ctx *cx, ql_log_level level, const char *fmt, va_list ap)
{
    const ql_site *s = &cx->site;
    char text[2048], line[2048], block[32] = "";
    int n = 0;

    if (!cx->log)
        return;
    if (s->block >= 0)
        snprintf(block, sizeof block, ", block %lld", (long long)s->block);
    if (s->stage)
        n = snprintf(text, sizeof text, "%s%s%s%s: ", s->stage, block, s->linear ? ", " : "",
                     s->linear ? s->linear : "");
    if (n < 0 || (size_t)n >= sizeof text)
        n = 0;
    vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
    ql_visible(text, "\\n", line, sizeof line);
    if (level == QL_LOG_WARN && s->linear && strcmp(line, cx->warned) == 0)
        return; /* a stage that works on a linear in rounds says it once */
    if (level == QL_LOG_WARN)
        memcpy(cx->warned, line, sizeof line);
    cx->log->write(cx->log->user, level, line);
}

ql_status
ql_follow(ql_ctx *cx, const char *where, const char *fmt, ...)
{
    const char *slash = where ? strrchr(where, '/') : NULL, *text, *line;
    ql_followed *f = cx->followed;
    va_list ap;

    va_start(ap, fmt);
    text = ql_vformat(cx, fmt, ap);
    va_end(ap);
    line = where && text ? ql_format(cx, "%s: %s", slash ? slash + 1 : where, text) : NULL;
    if (!line)
        return QL_MEMORY;
    if (f && f->text && strstr(f->text, line))
        return QL_OK;
    ql_warn(cx, "%s: %s", where, text);
    if (!f)
        return QL_OK;
    ql_scope_enter(cx, &f->memory);
    line = f->text ? ql_format(cx, "%s; %s", f->text, line) : ql_copy_text(cx, line, strlen(line));
    f->text = line ? line : f->text;
    return ql_scope_leave(cx, &f->memory, line ? QL_OK : QL_MEMORY);
}

#define LOG_FUNCTION(name, level)               \
    void name(ql_ctx *cx, const char *fmt, ...) \
    {                                           \
        va_list ap;                             \
                                                \
        va_start(ap, fmt);                      \
        write_log(cx, level, fmt, ap);          \
        va_end(ap);                             \
    }

LOG_FUNCTION(ql_debug, QL_LOG_DEBUG)
LOG_FUNCTION(ql_info, QL_LOG_INFO)
LOG_FUNCTION(ql_warn, QL_LOG_WARN)
