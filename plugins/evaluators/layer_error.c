/* What is left of the error of each linear: in its output, in the norm that H gives (methods-qer 0), and in its weight.
 */
#include <math.h>

#include <qloom/evaluator.h>

static const ql_param params[] = {QL_PARAMS_END};

/* sqrt(part / whole): a relative norm from two squared ones; nothing of nothing is 0. */
static double
relative(double part, double whole)
{
    return whole > 0 ? sqrt(fmax(part, 0) / whole) : 0;
}

static ql_status
linear(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_metrics *out)
{
    double eh, wh, ee, ww;
    ql_tensor *e;

    (void)self;
    QL_TRY(cx, ql_convert(cx, in->w, QL_F32, &e));
    QL_TRY(cx, ql_axpby(cx, -1, in->what, 1, e));
    if (in->b) {
        ql_tensor *a, *b;

        QL_TRY(cx, ql_convert(cx, in->b, QL_F32, &b));
        QL_TRY(cx, ql_convert(cx, in->a, QL_F32, &a));
        QL_TRY(cx, ql_gemm(cx, QL_NN, -1, b, a, 1, e));
    }
    QL_TRY(cx, ql_quad(cx, e, in->stats->h, &eh));
    QL_TRY(cx, ql_quad(cx, in->w, in->stats->h, &wh));
    QL_TRY(cx, ql_dot(cx, e, e, &ee));
    QL_TRY(cx, ql_dot(cx, in->w, in->w, &ww));
    QL_TRY(cx, ql_metric(cx, out, "output_error", relative(eh, wh)));
    QL_TRY(cx, ql_metric(cx, out, "weight_error", relative(ee, ww)));
    QL_TRY(cx, ql_metric(cx, out, "damp", in->qlinear ? in->qlinear->damp : 0));
    return ql_metric(cx, out, "status", in->status);
}

QL_PLUGIN(
        .kind = QL_EVALUATOR, .name = "layer_error", .version = "1.0",
        .help =
            "per linear: relative output error in the norm of H, relative weight error, damping used, numerical status",
        .params = params, .evaluator = &(const ql_evaluator){.needs = QL_NEEDS_STATS, .linear = linear}, );
