/* The context: scopes, memory, error texts and traces, log lines, and allocations that fail. */
#include "test.h"

#include <core/base/ctx.h>

static void
scopes(void)
{
    ql_ctx cx;
    ql_scope outer, inner, forgotten;
    char *a, *b, *big;

    ql_ctx_init(&cx, NULL);
    CHECK(!ql_alloc(&cx, 1, 1));
    CHECK_STR(ql_error(&cx), "no scope is open for 1 x 1 bytes");
    ql_scope_open(&cx, &outer);
    a = ql_alloc(&cx, 3, 5);
    b = ql_alloc(&cx, 1, 1);
    big = ql_alloc(&cx, 1, 1 << 20);
    CHECK(a && b && big && a != b);
    for (int i = 0; i < 15; i++)
        CHECK_INT(a[i], 0);
    CHECK_INT((uintptr_t)b % _Alignof(max_align_t), 0);
    CHECK_INT(big[(1 << 20) - 1], 0);
    CHECK_INT((char *)ql_alloc(&cx, 1, 16) - b, 16); /* a large block leaves the small ones together */

    ql_scope_open(&cx, &inner);
    ql_scope_open(&cx, &forgotten);
    CHECK(ql_alloc(&cx, 100, 1000) != NULL);
    ql_scope_close(&cx, &inner); /* and what an error left open above it */
    CHECK(cx.scope == outer.opened);
    CHECK_STR(ql_format(&cx, "%s-%d", "text", 3), "text-3");
    CHECK_STR(ql_copy_text(&cx, "hello", 4), "hell");
    ql_ctx_fini(&cx);
    CHECK(cx.scope == NULL);
}

/* Fails with scopes open in frames that are gone when the caller closes its own. */
static __attribute__((noinline)) ql_status
fail_deep(ql_ctx *cx, int depth)
{
    ql_scope scope;

    ql_scope_open(cx, &scope);
    if (!ql_alloc(cx, 10, 1000))
        return QL_MEMORY;
    if (depth == 0)
        return QL_FAIL(cx, QL_NUMERIC, "deep");
    QL_TRY(cx, fail_deep(cx, depth - 1));
    ql_scope_close(cx, &scope);
    return QL_OK;
}

static __attribute__((noinline)) int
overwrite_stack(void)
{
    volatile unsigned char noise[4096];
    int sum = 0;

    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = 0xa5;
    for (size_t i = 0; i < sizeof noise; i++)
        sum += noise[i];
    return sum;
}

static void
early_returns(void)
{
    ql_scope scope, kept = {0};
    ql_ctx cx;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    CHECK_INT(fail_deep(&cx, 7), QL_NUMERIC);
    CHECK_INT(overwrite_stack(), 4096 * 0xa5);
    ql_scope_enter(&cx, &kept);
    CHECK_INT(fail_deep(&cx, 7), QL_NUMERIC);
    CHECK_INT(overwrite_stack(), 4096 * 0xa5);
    CHECK_INT(ql_scope_leave(&cx, &kept, QL_NUMERIC), QL_NUMERIC);
    CHECK(kept.memory == NULL);
    ql_scope_close(&cx, &scope);
    CHECK(cx.scope == NULL);
    ql_ctx_fini(&cx);
}

static void
overflow(void)
{
    ql_ctx cx;
    ql_scope scope;
    int64_t capacity = 0;
    int *items = NULL;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    CHECK(!ql_alloc(&cx, SIZE_MAX / 2, 3));
    CHECK_INT(cx.status, QL_MEMORY);
    CHECK(!ql_alloc(&cx, SIZE_MAX, 1));
    CHECK(!ql_heap(&cx, SIZE_MAX / 2, 3));
    CHECK_ERROR(&cx, ql_grow(&cx, &items, &capacity, INT64_MAX, sizeof *items), QL_MEMORY, "is too long");
    CHECK_ERROR(&cx, ql_grow(&cx, &items, &capacity, INT64_MAX / 4, 64), QL_MEMORY, "no memory for");
    CHECK(items == NULL && capacity == 0);
    CHECK_OK(&cx, ql_grow(&cx, &items, &capacity, 17, sizeof *items));
    CHECK(capacity >= 17);
    free(items);
    ql_ctx_fini(&cx);
}

static ql_status
bottom(ql_ctx *cx)
{
    return QL_FAIL(cx, QL_NUMERIC, "pivot %d is %g", 3, -0.5);
}

static ql_status
middle(ql_ctx *cx)
{
    QL_TRY(cx, bottom(cx));
    return QL_OK;
}

static ql_status
silent(ql_ctx *cx)
{
    QL_TRY(cx, QL_IO); /* a function that forgot its text */
    return QL_OK;
}

static void
errors(void)
{
    char deep[4000];
    ql_ctx cx;

    ql_ctx_init(&cx, NULL);
    CHECK_STR(ql_error(&cx), "");
    CHECK_INT(middle(&cx), QL_NUMERIC);
    CHECK_STR(ql_error(&cx), "pivot 3 is -0.5");
    CHECK(strstr(cx.trace, "ctx.c:") != NULL && strstr(cx.trace, "bottom(cx)") != NULL);
    CHECK_INT(ql_where(&cx, QL_NUMERIC, "stage '%s', %s", "quant", "q_proj"), QL_NUMERIC);
    CHECK_STR(ql_error(&cx), "stage 'quant', q_proj: pivot 3 is -0.5");
    ql_error_clear(&cx);
    CHECK_STR(ql_error(&cx), "");
    CHECK_INT(silent(&cx), QL_IO);
    CHECK_STR(ql_error(&cx), "input/output error, without a text, in QL_IO");

    for (int i = 0; i < 1000; i++) /* texts and traces that don't fit are cut, not overrun */
        (void)ql_trace_(&cx, QL_IO, "a/long/path/to/some/file.c", i, "an_expression_that_failed(cx, with, arguments)");
    memset(deep, 'x', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    for (int i = 0; i < 20; i++)
        (void)ql_where(&cx, QL_IO, "%s", deep);
    CHECK(strlen(ql_error(&cx)) < sizeof cx.error);

    CHECK_STR(ql_status_text(QL_NUMERIC), "numerical failure");
    CHECK_STR(ql_status_text((ql_status)1000), "unknown status");
    CHECK_INT(ql_status_exit(QL_OK), 0);
    CHECK_INT(ql_status_exit(QL_INVALID), 2);
    CHECK_INT(ql_status_exit(QL_NUMERIC), 1);
    CHECK_INT(ql_status_exit(QL_INTERRUPTED), 130);
}

static void
last_line(void *user, ql_log_level level, const char *line)
{
    (void)level;
    snprintf(user, 4096, "%s", line);
}

/* What an array held stays, whether it gets more room or there is none. */
static void
growing(void)
{
    ql_ctx cx;
    ql_scope scope;
    int32_t *items = NULL, *before;
    int64_t room = 0;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    for (int32_t i = 0; i < 100; i++) {
        REQUIRE_OK(&cx, ql_alloc_more(&cx, &items, &room, i + 1, sizeof *items));
        items[i] = i * i;
    }
    CHECK_INT(room, 128);
    REQUIRE_OK(&cx, ql_alloc_more(&cx, &items, &room, 1000, sizeof *items));
    CHECK_INT(room, 1000);
    before = items;
    REQUIRE_OK(&cx, ql_alloc_more(&cx, &items, &room, 1000, sizeof *items));
    CHECK_ERROR(&cx, ql_alloc_more(&cx, &items, &room, INT64_MAX / 2, sizeof *items), QL_MEMORY, "overflows");
    CHECK(items == before);
    CHECK_INT(room, 1000);
    for (int32_t i = 0; i < 100; i++)
        CHECK_INT(items[i], i * i);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
}

static void
log_lines(void)
{
    char line[4096] = "", text[5000];
    ql_log log = {.write = last_line, .user = line};
    volatile int stop = 0;
    ql_ctx cx;

    ql_ctx_init(&cx, &log);
    CHECK_STR(ql_linear_name(&cx), "");
    ql_info(&cx, "%d blocks", 4);
    CHECK_STR(line, "4 blocks");
    cx.site = (ql_site){.stage = "quant (gptq)", .block = -1};
    ql_warn(&cx, "slow");
    CHECK_STR(line, "quant (gptq): slow");
    cx.site.block = 3;
    ql_warn(&cx, "slow");
    CHECK_STR(line, "quant (gptq), block 3: slow");
    cx.site.linear = "model.layers.3.mlp.down_proj";
    ql_warn(&cx, "slow");
    *line = '\0';
    ql_warn(&cx, "slow"); /* a stage that works in rounds says it once */
    CHECK_STR(line, "");
    ql_warn(&cx, "slower");
    CHECK_STR(line, "quant (gptq), block 3, model.layers.3.mlp.down_proj: slower");
    ql_debug(&cx, "dead: %d", 2);
    CHECK_STR(line, "quant (gptq), block 3, model.layers.3.mlp.down_proj: dead: 2");
    CHECK_STR(ql_linear_name(&cx), "model.layers.3.mlp.down_proj");
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ql_info(&cx, "%s", text);
    CHECK(strlen(line) > 1000 && strlen(line) < sizeof text);

    CHECK_OK(&cx, ql_check_interrupt(&cx));
    cx.interrupt = &stop;
    CHECK_OK(&cx, ql_check_interrupt(&cx));
    stop = 1;
    CHECK_ERROR(&cx, ql_check_interrupt(&cx), QL_INTERRUPTED, "interrupted");
}

static ql_status
allocate(ql_ctx *cx)
{
    int64_t capacity = 0;
    int *items = NULL;
    void *p = ql_heap(cx, 2, 8);
    bool done = p && ql_alloc(cx, 100, 1000) && ql_format(cx, "%d", 1);

    free(p);
    if (!done)
        return QL_MEMORY;
    QL_TRY(cx, ql_grow(cx, &items, &capacity, 5, sizeof *items));
    free(items);
    return QL_OK;
}

static void
nth_allocation(void)
{
    int64_t failures = 0;

    for (int64_t n = 1;; n++) {
        ql_ctx cx;
        ql_scope scope;
        ql_status st;

        ql_ctx_init(&cx, NULL);
        ql_scope_open(&cx, &scope);
        cx.fail_alloc = n;
        st = allocate(&cx);
        if (st != QL_OK) {
            failures++;
            CHECK_INT(st, QL_MEMORY);
            CHECK(strstr(ql_error(&cx), "no memory for") != NULL);
        }
        ql_ctx_fini(&cx);
        if (st == QL_OK)
            break;
    }
    CHECK_INT(failures, 4);
}

int
main(void)
{
    scopes();
    early_returns();
    overflow();
    errors();
    growing();
    log_lines();
    nth_allocation();
    return TEST_DONE();
}
