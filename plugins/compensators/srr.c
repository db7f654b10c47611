/* SRR, structured residual reconstruction (arXiv:2602.02001; docs/methods.md 7): k of the r directions preserve the weight's dominant part
 * from the quantizer, the rest reconstructs the error. */
#include <math.h>

#include <qloom/compensator.h>
#include <qloom/lowrank.h>

typedef struct srr {
    int rank, adapter_dtype, select, k, mode, scaling, probe;
} srr;

enum { PROBE, MEASURED, SCAN, FIXED };
enum { JOINT, SPLIT };
enum { PROBE_WEIGHT, PROBE_SQUARE };
static const char *const selects[] = {"probe", "measured", "scan", "fixed", NULL};
static const char *const modes[] = {"joint", "split", NULL};
static const char *const scalings[] = {"exact", "approx", "lqer", "identity", NULL}; /* order of ql_scaling */
static const char *const probes[] = {"weight", "square", NULL};

static const ql_param params[] = {
    QL_RANK(srr, 64),
    QL_ADAPTER_DTYPE(srr),
    QL_ENUM(srr, select, PROBE, selects,
            "how k is chosen: probe (the paper's criterion), measured (the best of 0, that k and r), scan (the best of "
            "all), fixed"),
    QL_NUM(srr, k, 0, 0, 1 << 16, "directions to preserve, with select: fixed"),
    QL_ENUM(srr, mode, JOINT, modes,
            "joint: one fit of rank r to all that is missing; split: the paper's text, rank r - k beside the preserved "
            "part"),
    QL_ENUM(srr, scaling, QL_SCALING_EXACT, scalings, "norm of both steps"),
    QL_ENUM(srr, probe, PROBE_WEIGHT, probes,
            "shape of the random probe: the weight's, or in x in as in the published code"),
    QL_PARAMS_END,
};

typedef struct task {
    ql_ctx *cx;
    const srr *p;
    const ql_compensate_in *in;
    const ql_tensor *h;
    ql_lowrank_result w; /* top directions of W in the norm */
    double left;         /* of the best candidate: tr((W - W^ - BA) H (W - W^ - BA)^T) */
} task;

/* out = x - U_k V_k, the part of x outside the first k components: zero where those are all, not what rounding leaves. */
static ql_status
without(ql_ctx *cx, const ql_tensor *x, const ql_lowrank_result *c, int64_t k, ql_tensor **out)
{
    ql_tensor *u, *v;

    QL_TRY(cx, ql_convert(cx, x, QL_F32, out));
    if (k < 1)
        return QL_OK;
    if (k == ql_dim(x, 0) || k == ql_dim(x, 1))
        return ql_fill(cx, *out, 0);
    QL_TRY(cx, ql_cols(cx, c->u, 0, k, &u));
    QL_TRY(cx, ql_rows(cx, c->v, 0, k, &v));
    return ql_gemm(cx, QL_NN, -1, u, v, 1, *out);
}

static double
tail(const ql_lowrank_result *c, int64_t k)
{
    double left = c->total;

    for (int64_t i = 0; i < k && i < c->rank; i++)
        left -= c->sig2[i];
    return fmax(left, 0);
}

/* The paper's criterion: the k that minimises (energy of W outside k) x (share of a random error outside r - k). */
static ql_status
choose(const task *t, int64_t *k)
{
    const int64_t n = ql_dim(t->in->w, 1), m = t->p->probe == PROBE_SQUARE ? n : ql_dim(t->in->w, 0), r = t->w.rank;
    ql_lowrank_result noise;
    ql_tensor *e;
    double least = INFINITY;

    *k = 0;
    QL_TRY(t->cx, ql_new(t->cx, QL_F32, m, n, &e));
    QL_TRY(t->cx, ql_random(t->cx, QL_PROBE, e));
    QL_TRY(t->cx, ql_lowrank(t->cx, e, &(ql_lowrank_spec){.h = t->h, .rank = r, .total = true}, &noise));
    ql_drop(t->cx, &e);
    if (noise.total <= 0)
        return QL_OK; /* a layer that sees nothing */
    for (int64_t i = 0; i <= r; i++) {
        const double cost = tail(&t->w, i) * (tail(&noise, r - i) / noise.total);

        if (cost < least) {
            least = cost;
            *k = i;
        }
    }
    return QL_OK;
}

/* Stacks [x | y] or [x ; y] of two sets of components into one. */
static ql_status
stack(ql_ctx *cx, const ql_lowrank_result *a, int64_t k, const ql_lowrank_result *b, ql_lowrank_result *out)
{
    ql_tensor *from, *to;

    out->rank = k + b->rank;
    QL_TRY(cx, ql_new(cx, QL_F32, ql_dim(a->u, 0), out->rank, &out->u));
    QL_TRY(cx, ql_new(cx, QL_F32, out->rank, ql_dim(a->v, 1), &out->v));
    QL_TRY(cx, ql_cols(cx, a->u, 0, k, &from));
    QL_TRY(cx, ql_cols(cx, out->u, 0, k, &to));
    QL_TRY(cx, ql_copy(cx, from, to));
    QL_TRY(cx, ql_rows(cx, a->v, 0, k, &from));
    QL_TRY(cx, ql_rows(cx, out->v, 0, k, &to));
    QL_TRY(cx, ql_copy(cx, from, to));
    if (b->rank < 1)
        return QL_OK;
    QL_TRY(cx, ql_cols(cx, out->u, k, b->rank, &to));
    QL_TRY(cx, ql_copy(cx, b->u, to));
    QL_TRY(cx, ql_rows(cx, out->v, k, b->rank, &to));
    return ql_copy(cx, b->v, to);
}

/* Preserve k directions, quantize the rest, reconstruct; keeps the result if it is the best so far. */
static ql_status
attempt(task *t, int64_t k, ql_adapter *out)
{
    ql_ctx *cx = t->cx;
    const bool split = t->p->mode == SPLIT && k > 0;
    const ql_tensor *target = t->in->w;
    ql_lowrank_result c;
    ql_tensor *rest, *e;
    ql_qlinear q;
    double left;

    if (k > 0) {
        QL_TRY(cx, without(cx, t->in->w, &t->w, k, &rest));
        target = rest;
    }
    QL_TRY(cx, ql_quantize(cx, t->in->quantizer, target, NULL, &q));
    QL_TRY(cx, ql_residual(cx, split ? target : t->in->w, &q, &e));
    QL_TRY(cx, ql_lowrank(cx, e,
                          &(ql_lowrank_spec){.h = t->h, .rank = split ? t->w.rank - k : t->w.rank, .total = true}, &c));
    left = tail(&c, c.rank);
    if (left >= t->left)
        return QL_OK;
    t->left = left;
    out->k = (int)k;
    out->qlinear = q;
    if (split) {
        const ql_lowrank_result rest_fit = c;

        QL_TRY(cx, stack(cx, &t->w, k, &rest_fit, &c));
    }
    return c.rank > 0 ? ql_balance(cx, c.u, c.v, &out->b, &out->a) : QL_OK;
}

static ql_status
compensate(ql_ctx *cx, const void *self, const ql_compensate_in *in, ql_adapter *out)
{
    const srr *p = self;
    task t = {.cx = cx, .p = p, .in = in, .left = INFINITY};
    int64_t k = p->k;

    QL_TRY(cx, ql_scaling_norm(cx, in->stats, (ql_scaling)p->scaling, &t.h));
    QL_TRY(cx, ql_lowrank(cx, in->w, &(ql_lowrank_spec){.h = t.h, .rank = p->rank, .total = true}, &t.w));
    if (p->select == PROBE || p->select == MEASURED)
        QL_TRY(cx, choose(&t, &k));
    k = k < t.w.rank ? k : t.w.rank;
    for (int64_t i = 0; p->select == SCAN && i <= t.w.rank; i++)
        QL_TRY(cx, attempt(&t, i, out));
    if (p->select == SCAN)
        return QL_OK;
    QL_TRY(cx, attempt(&t, k, out));
    if (p->select == MEASURED && k != 0)
        QL_TRY(cx, attempt(&t, 0, out));
    if (p->select == MEASURED && k != t.w.rank)
        QL_TRY(cx, attempt(&t, t.w.rank, out));
    return QL_OK;
}

static unsigned
needs_of(const void *self)
{
    return ((const srr *)self)->scaling == QL_SCALING_IDENTITY ? 0 : QL_NEEDS_STATS;
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    const srr *p = self;

    (void)in;
    out->rank = p->rank;
}

QL_PLUGIN(.kind = QL_COMPENSATOR, .name = "srr", .version = "1.0",
          .help = "rank split between preserving dominant directions and reconstructing the error",
          .cite = "arXiv:2602.02001", .params = params, .self_size = sizeof(srr),
          .compensator = QL_TABLE(ql_compensator, .needs_of = needs_of, .couples = true, .compensate = compensate,
                                  .describe = describe), );
