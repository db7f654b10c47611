/* The contract catches what it is there for: each plugin here breaks one promise, and the check that says so is compared exactly. */
#include "../test.h"

#include <qloom/quantizer.h>

#include "core/device/device.h"
#include "core/tensor/tensor.h"
#include "kit/contract.h"

typedef struct sample {
    int bits, group_size;
    bool sym;
} sample;

static const ql_param params[] = {QL_BITS(sample, 4), QL_GROUP_SIZE(sample, 128), QL_SYM(sample, false), QL_PARAMS_END};

typedef struct seen { /* what the contract reported */
    char failed[1024];
    int lines;
} seen;

static void
see(void *user, ql_verdict verdict, const char *text)
{
    seen *s = user;

    s->lines++;
    if (verdict == QL_FAILED)
        snprintf(s->failed, sizeof s->failed, "%s", text);
}

static ql_status
round_plainly(ql_ctx *cx, const sample *p, const ql_tensor *w, ql_qlinear *out)
{
    out->grid = (ql_grid){
        .bits = p->bits, .group = ql_group_columns(p->group_size, ql_dim(w, 1)), .sym = p->sym, .scale_dtype = QL_F16};
    QL_TRY(cx, ql_group_minmax(cx, w, &out->grid, &out->scales, &out->zeros));
    return ql_group_encode(cx, w, out);
}

static ql_status
good(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    return stats ? QL_FAIL(cx, QL_BUG, "statistics that nobody asked for") : round_plainly(cx, self, w, out);
}

static int calls; /* a plugin must not have such a thing: two runs differ */

static ql_status
moody(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)stats;
    QL_TRY(cx, round_plainly(cx, self, w, out));
    return calls++ % 2 ? ql_fill(cx, out->zeros, 1) : QL_OK;
}

static ql_status
overflowing(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)stats;
    QL_TRY(cx, round_plainly(cx, self, w, out));
    return ql_fill(cx, out->codes, 255);
}

static ql_status
unrounded(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)stats;
    QL_TRY(cx, round_plainly(cx, self, w, out));
    return ql_fill(cx, out->scales, 0.1);
}

static ql_status
infinite(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)stats;
    QL_TRY(cx, round_plainly(cx, self, w, out));
    return ql_fill(cx, out->scales, (double)INFINITY);
}

static ql_status
incomplete(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)stats;
    QL_TRY(cx, round_plainly(cx, self, w, out));
    out->zeros = NULL;
    return QL_OK;
}

static ql_status
failing(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)self, (void)stats, (void)out;
    return ql_dim(w, 1) == 33 ? QL_FAIL(cx, QL_UNSUPPORTED, "no odd sizes, please") : round_plainly(cx, self, w, out);
}

static ql_status
careless(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)stats;
    (void)ql_alloc(cx, 1 << 16, 1); /* whether that worked it does not look at */
    return round_plainly(cx, self, w, out);
}

static ql_tensor *hoard; /* what `hoarding` keeps */

static ql_status
hoarding(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    ql_status st;
    ql_tensor *t;

    (void)stats;
    QL_TRY(cx, ql_new(cx, QL_F32, 5, 5, &t));
    st = round_plainly(cx, self, w, out);
    if (st != QL_OK && !hoard)
        hoard = ql_tensor_ref(t);
    return st;
}

static ql_plugin
make(const ql_quantizer *q)
{
    return (ql_plugin){.abi_major = QL_ABI_MAJOR,
                       .abi_minor = QL_ABI_MINOR,
                       .size = sizeof(ql_plugin),
                       .kind = QL_QUANTIZER,
                       .name = "sample",
                       .version = "1.0",
                       .help = "a test",
                       .params = params,
                       .self_size = sizeof(sample),
                       .quantizer = q};
}

/* `text`: what the one failed check begins with; NULL: none fails. */
static void
check_plugin(ql_ctx *cx, const ql_plugin *p, const char *text)
{
    seen s = {.lines = 0};
    ql_contract c = {.line = see, .user = &s};
    const size_t used = cx->device->used;

    REQUIRE_OK(cx, ql_contract_run(cx, p, &c));
    CHECK_INT(c.count[QL_FAILED], text ? 1 : 0);
    CHECK_INT(c.count[QL_PASSED] + c.count[QL_FAILED] + c.count[QL_SKIPPED], s.lines);
    if (text && strncmp(s.failed, text, strlen(text)) != 0)
        TEST_FAIL("got      \"%s\"\n  expected \"%s…\"", s.failed, text);
    if (!text)
        CHECK_STR(s.failed, "");
    ql_tensor_unref(hoard);
    hoard = NULL;
    CHECK_INT(cx->device->used, used);
}

static void
check_quantizer(ql_ctx *cx,
                ql_status (*quantize)(ql_ctx *, const void *, const ql_tensor *, const ql_stats *, ql_qlinear *),
                const char *text)
{
    const ql_quantizer q = {.size = sizeof(ql_quantizer), .quantize = quantize};
    const ql_plugin p = make(&q);

    check_plugin(cx, &p, text);
}

static ql_status
refuse(ql_ctx *cx, const void *self)
{
    const sample *p = self;

    return QL_FAIL(cx, QL_INVALID, "%d bits are never right", p->bits);
}

static void
check_tables(ql_ctx *cx)
{
    const ql_quantizer q = {.size = sizeof(ql_quantizer), .quantize = good};
    const ql_param far[] = {QL_BITS(sample, 9), QL_PARAMS_END};
    const ql_param other[] = {QL_NUM(sample, bits, 4, 1, 16, "bits per weight"), QL_PARAMS_END};
    const ql_param silent[] = {QL_FLAG(sample, sym, true, ""), QL_PARAMS_END};
    const ql_port twice[] = {{.name = "calib", .help = "again", .type = QL_EDGE_TOKENS}, {.type = QL_EDGE_NONE}};
    ql_plugin p = make(&q);

    p.params = far;
    check_plugin(cx, &p, "tables: parameter 'bits': the default 9 is not in its range, 2 to 8");
    p.params = silent;
    p.kind = QL_QUANTIZER;
    seen s = {.lines = 0};
    ql_contract c = {.line = see, .user = &s};
    REQUIRE_OK(cx, ql_contract_run(cx, &p, &c));
    CHECK_INT(c.count[QL_FAILED], 2); /* no help, and another meaning than `sym` has elsewhere */
    p.params = other;
    check_plugin(
        cx, &p,
        "shared names: 'bits' is a whole number from 1 to 16 (bits per weight), in every other quantizer it is "
        "a whole number from 2 to 8 (bits per weight): use the row of the kind's header, or another name");
    p.params = params;
    p.ports = twice;
    check_plugin(cx, &p, "tables: the port 'calib' is one of its kind's already");
    p.ports = NULL;
    p.check = refuse;
    check_plugin(cx, &p, "defaults: refused by check(): 4 bits are never right");
}

static void
check_all(ql_ctx *cx)
{
    check_quantizer(cx, good, NULL);
    check_quantizer(cx, moody, "runs: 1 x 1: zeros of two runs differ");
    check_quantizer(cx, overflowing, "runs: 1 x 1: code 0 is 255, expected less than 16");
    check_quantizer(cx, unrounded, "runs: 1 x 1: scales are not rounded to f16");
    check_quantizer(cx, infinite, "runs: 1 x 1: scales is not finite at element 0");
    check_quantizer(cx, incomplete, "runs: 1 x 1: zeros is missing");
    check_quantizer(cx, failing, "runs: 2 x 33: no odd sizes, please");
    check_quantizer(cx, careless,
                    "errors: allocation 1 failed, the method returned \"ok\", expected \"out of memory\"");
    check_quantizer(cx, hoarding, "errors: allocation ");
    check_tables(cx);
}

int
main(void)
{
    const char *build = getenv("QLOOM_BUILD");
    const ql_device_options opt = {.threads = 1};
    const ql_found *cpu = NULL;
    ql_registry *r;
    ql_ctx cx;
    ql_scope scope;

    if (!build)
        SKIP("QLOOM_BUILD is not set");
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    REQUIRE_OK(&cx, ql_registry_open(&cx, ql_format(&cx, "%s/lib/qloom", build), &r));
    cpu = ql_registry_find(r, "cpu");
    if (!cpu || !cpu->plugin)
        SKIP("no cpu backend among the plugins");
    REQUIRE_OK(&cx, ql_device_open(&cx, cpu->plugin->backend, &opt, 0, &cx.device));
    check_all(&cx);
    ql_device_close(cx.device);
    ql_registry_close(r);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
