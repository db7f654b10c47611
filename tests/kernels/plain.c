/* What each operation of a device means. */
#include "plain.h"

#include <math.h>
#include <stdlib.h>

double
plain_round(ql_dtype dtype, double x)
{
    int digits = dtype == QL_F16 ? 11 : dtype == QL_BF16 ? 8 : 24, lowest = dtype == QL_F16 ? -14 : -126, e;
    double largest = dtype == QL_F16 ? 65504 : dtype == QL_BF16 ? 0x1.fep127 : 0x1.fffffep127, unit, r;

    if (dtype == QL_F64 || !isfinite(x) || x == 0)
        return x;
    frexp(x, &e); /* |x| = f 2^e, f in [1/2, 1) */
    if (e - 1 < lowest)
        e = lowest + 1;
    unit = ldexp(1, e - digits);
    r = rint(x / unit) * unit;
    return fabs(r) > largest ? copysign(INFINITY, x) : r;
}

void
plain_gemm(ql_trans op, const int64_t mnk[3], double alpha, const double *a, const double *b, double beta, double *c)
{
    int64_t m = mnk[0], n = mnk[1], k = mnk[2];

    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;

            for (int64_t l = 0; l < k; l++)
                sum += (op == QL_TN ? a[l * m + i] : a[i * k + l]) * (op == QL_NT ? b[j * k + l] : b[l * n + j]);
            c[i * n + j] = alpha * sum + (beta == 0 ? 0 : beta * c[i * n + j]);
        }
}

void
plain_gram(int64_t t, int64_t n, const double *x, double *g)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t l = 0; l < t; l++)
                g[i * n + j] += x[l * n + i] * x[l * n + j];
}

bool
plain_potrf(int64_t n, double *a)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = a[i * n + j];

            if (j > i) {
                a[i * n + j] = 0;
                continue;
            }
            for (int64_t k = 0; k < j; k++)
                sum -= a[i * n + k] * a[j * n + k];
            if (i == j && !(sum > 0))
                return false;
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    return true;
}

void
plain_trtri(int64_t n, double *a)
{
    for (int64_t j = 0; j < n; j++) { /* column j of the inverse, by substitution; the columns before it are done */
        a[j * n + j] = 1 / a[j * n + j];
        for (int64_t i = j + 1; i < n; i++) {
            double sum = 0;

            for (int64_t k = j; k < i; k++)
                sum += a[i * n + k] * a[k * n + j];
            a[i * n + j] = -sum / a[i * n + i];
        }
    }
}

void
plain_rmsnorm(ql_dtype dtype, int64_t t, int64_t n, const double *x, const double *w, double eps, double *y)
{
    for (int64_t i = 0; i < t; i++) {
        double sum = 0;

        for (int64_t j = 0; j < n; j++)
            sum += x[i * n + j] * x[i * n + j];
        for (int64_t j = 0; j < n; j++)
            y[i * n + j] = plain_round(dtype, x[i * n + j] / sqrt(sum / (double)n + eps)) * w[j];
    }
}

void
plain_rope(const ql_seqs *seqs, const ql_rope_spec *spec, int64_t cols, double *x)
{
    int64_t half = spec->head_dim / 2;

    for (int64_t s = 0; s < seqs->count; s++)
        for (int64_t t = seqs->offsets[s]; t < seqs->offsets[s + 1]; t++)
            for (int64_t head = 0; head < cols; head += spec->head_dim)
                for (int64_t k = 0; k < half; k++) {
                    float position = (float)(t - seqs->offsets[s] + (seqs->first ? seqs->first[s] : 0));
                    float angle = position * spec->inv_freq[s * spec->stride + k];
                    double *a = x + t * cols + head + k, *b = a + half, old = *a, scale = (double)spec->scale;

                    *a = scale * (old * cos((double)angle) - *b * sin((double)angle));
                    *b = scale * (*b * cos((double)angle) + old * sin((double)angle));
                }
}

/* One query against the keys lo .. t of its sequence. */
static void
attend(const ql_attention_spec *spec, const double *q, const double *k, const double *v, const int64_t lo_t[2],
       double *y)
{
    int64_t dim = spec->head_dim, stride = spec->kv_heads * dim;
    double sum = 0, max = -INFINITY;

    for (int pass = 0; pass < 2; pass++)
        for (int64_t p = lo_t[0]; p <= lo_t[1]; p++) {
            double score = 0, e;

            for (int64_t j = 0; j < dim; j++)
                score += q[j] * k[p * stride + j];
            score /= sqrt((double)dim);
            if (pass == 0) {
                max = fmax(max, score);
                continue;
            }
            e = exp(score - max);
            sum += e;
            for (int64_t j = 0; j < dim; j++)
                y[j] += e * v[p * stride + j];
        }
    for (int64_t j = 0; j < dim; j++)
        y[j] /= sum;
}

void
plain_attention(const ql_seqs *seqs, const ql_attention_spec *spec, const double *const qkv[3], double *y)
{
    int64_t dim = spec->head_dim, kv = spec->kv_heads * dim;

    for (int64_t s = 0; s < seqs->count; s++)
        for (int64_t t = seqs->offsets[s]; t < seqs->offsets[s + 1]; t++)
            for (int64_t h = 0; h < spec->heads; h++) {
                int64_t col = h / (spec->heads / spec->kv_heads) * dim, at = (t * spec->heads + h) * dim;
                int64_t lo = spec->window > 0 ? t - spec->window + 1 : seqs->offsets[s];

                if (lo < seqs->offsets[s])
                    lo = seqs->offsets[s];
                for (int64_t j = 0; j < dim; j++)
                    y[at + j] = 0;
                attend(spec, qkv[0] + at, qkv[1] + col, qkv[2] + col, (const int64_t[]){lo, t}, y + at);
            }
    (void)kv;
}

void
plain_nll(const int64_t tdv[3], const double *x, const double *head, const int32_t *targets, double *out)
{
    for (int64_t t = 0; t < tdv[0]; t++) {
        double chosen = 0, max = -INFINITY, sum = 0;

        out[t] = 0;
        if (targets[t] < 0)
            continue;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t v = 0; v < tdv[2]; v++) {
                double logit = 0;

                for (int64_t j = 0; j < tdv[1]; j++)
                    logit += x[t * tdv[1] + j] * head[v * tdv[1] + j];
                if (pass == 0)
                    max = fmax(max, logit);
                else
                    sum += exp(logit - max);
                if (v == targets[t])
                    chosen = logit;
            }
        out[t] = log(sum) + max - chosen;
    }
}

/* Logits of one token as probabilities; the first of the largest, and the gap to the next. */
static int64_t
softmax(const int64_t dv[2], const double *x, const double *head, double *p, double *gap)
{
    int64_t best = 0;
    double sum = 0, top;

    for (int64_t v = 0; v < dv[1]; v++) {
        p[v] = 0;
        for (int64_t j = 0; j < dv[0]; j++)
            p[v] += x[j] * head[v * dv[0] + j];
        best = p[v] > p[best] ? v : best;
    }
    top = p[best];
    for (int64_t v = 0; v < dv[1]; v++) {
        *gap = v == best ? *gap : fmin(*gap, top - p[v]);
        sum += exp(p[v] - top);
    }
    for (int64_t v = 0; v < dv[1]; v++)
        p[v] = exp(p[v] - top) / sum;
    return best;
}

void
plain_kl(const int64_t tdv[3], const double *const refx[2], const double *head, double *const out[3])
{
    double *p = calloc((size_t)tdv[2] * 2, sizeof *p), *q = p + tdv[2];

    for (int64_t t = 0; t < tdv[0] && p; t++) {
        int64_t first;

        out[2][t] = INFINITY;
        first = softmax(tdv + 1, refx[0] + t * tdv[1], head, p, &out[2][t]);
        out[1][t] = first == softmax(tdv + 1, refx[1] + t * tdv[1], head, q, &out[2][t]);
        out[0][t] = 0;
        for (int64_t v = 0; v < tdv[2]; v++)
            out[0][t] += p[v] > 0 ? p[v] * log(p[v] / q[v]) : 0;
    }
    free(p);
}

void
plain_rmsnorm_back(int64_t t, int64_t n, const double *x, const double *w, double eps, const double *dy, double *dx)
{
    for (int64_t i = 0; i < t; i++, x += n, dy += n, dx += n) {
        double squares = 0, along = 0, scale;

        for (int64_t j = 0; j < n; j++)
            squares += x[j] * x[j];
        scale = 1 / sqrt(squares / (double)n + eps);
        for (int64_t j = 0; j < n; j++)
            along += x[j] * scale * w[j] * dy[j] / (double)n;
        for (int64_t j = 0; j < n; j++)
            dx[j] += scale * (w[j] * dy[j] - x[j] * scale * along);
    }
}

static double
dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* One query, whose rows of q, y, dy and dq begin at `at`, against the keys lo .. t. */
static double
attend_back(const ql_attention_spec *spec, const double *const in[5], const int64_t lo_t[2], int64_t at, int64_t col,
            double *const d[3])
{
    const double *q = in[0] + at, *y = in[3] + at, *dy = in[4] + at;
    int64_t dim = spec->head_dim, stride = spec->kv_heads * dim;
    double sum = 0, max = -INFINITY, root = sqrt((double)dim);

    for (int64_t p = lo_t[0]; p <= lo_t[1]; p++)
        max = fmax(max, dot(q, in[1] + p * stride + col, dim) / root);
    for (int64_t p = lo_t[0]; p <= lo_t[1]; p++)
        sum += exp(dot(q, in[1] + p * stride + col, dim) / root - max);
    for (int64_t p = lo_t[0]; p <= lo_t[1]; p++) {
        const int64_t key = p * stride + col;
        const double weight = exp(dot(q, in[1] + key, dim) / root - max) / sum,
                     slope = weight * (dot(dy, in[2] + key, dim) - dot(dy, y, dim)) / root;

        for (int64_t j = 0; j < dim; j++) {
            d[0][at + j] += slope * in[1][key + j];
            d[1][key + j] += slope * q[j];
            d[2][key + j] += weight * dy[j];
        }
    }
    return max + log(sum);
}

void
plain_attention_back(const ql_seqs *seqs, const ql_attention_spec *spec, const double *const qkv[3], const double *dy,
                     double *lse, double *const d[3])
{
    const int64_t tokens = seqs->offsets[seqs->count], dim = spec->head_dim, width = spec->heads * dim,
                  kv_width = spec->kv_heads * dim;
    double *y = calloc((size_t)(tokens * width + 1), sizeof *y);
    const double *const in[] = {qkv[0], qkv[1], qkv[2], y, dy};

    if (!y)
        abort();
    plain_attention(seqs, spec, qkv, y);
    for (int i = 0; i < 3; i++)
        for (int64_t j = 0; j < tokens * (i ? kv_width : width); j++)
            d[i][j] = 0;
    for (int64_t s = 0; s < seqs->count; s++)
        for (int64_t t = seqs->offsets[s]; t < seqs->offsets[s + 1]; t++)
            for (int64_t h = 0; h < spec->heads; h++) {
                const int64_t first = seqs->offsets[s], lo = spec->window > 0 ? t - spec->window + 1 : first;

                lse[t * spec->heads + h] =
                    attend_back(spec, in, (const int64_t[]){lo > first ? lo : first, t}, t * width + h * dim,
                                h / (spec->heads / spec->kv_heads) * dim, d);
            }
    free(y);
}

void
plain_loss_back(const int64_t tdv[3], const double *x, const double *head, const int32_t *targets, double scale,
                double *dx)
{
    const int64_t d = tdv[1], words = tdv[2];
    double *p = calloc((size_t)words, sizeof *p), gap;

    for (int64_t t = 0; t < tdv[0] && p; t++) {
        for (int64_t j = 0; j < d; j++)
            dx[t * d + j] = 0;
        if (targets[t] < 0)
            continue;
        (void)softmax((const int64_t[]){d, words}, x + t * d, head, p, &gap);
        p[targets[t]] -= 1;
        for (int64_t v = 0; v < words; v++)
            for (int64_t j = 0; j < d; j++)
                dx[t * d + j] += scale * p[v] * head[v * d + j];
    }
    free(p);
}

void
plain_abs_stats(const ql_seqs *seqs, int64_t n, const double *x, double *sum, double *max)
{
    for (int64_t s = 0; s < seqs->count; s++)
        for (int64_t j = 0; j < n; j++) {
            double total = 0;

            for (int64_t t = seqs->offsets[s]; t < seqs->offsets[s + 1]; t++)
                total += fabs(x[t * n + j]);
            sum[j] += total;
            if (seqs->offsets[s + 1] > seqs->offsets[s])
                max[j] = fmax(max[j], total / (double)(seqs->offsets[s + 1] - seqs->offsets[s]));
        }
}

static double
real(const plain_grid *g, double x)
{
    return g->single ? (double)(float)x : x;
}

static void
range(const plain_grid *g, double lo, double hi, double *scale, double *zero)
{
    double top = (1 << g->grid.bits) - 1;

    *scale = plain_round(g->grid.scale_dtype, real(g, real(g, hi - lo) / top));
    *zero = g->grid.sym ? 1 << (g->grid.bits - 1) : fmin(rint(real(g, -lo / *scale)), top);
}

double
plain_code(const plain_grid *g, double x, double scale, double zero)
{
    return fmin(fmax(rint(real(g, x / scale)) + zero, 0), (1 << g->grid.bits) - 1);
}

static double
range_error(const plain_grid *g, const double *x, int64_t n, double scale, double zero)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += pow(fabs(real(g, scale * (plain_code(g, x[i], scale, zero) - zero)) - x[i]), g->grid.mse);
    return sum;
}

void
plain_fit(const plain_grid *g, const double *x, int64_t n, double *scale, double *zero)
{
    double lo = 0, hi = 0, best = INFINITY;

    for (int64_t i = 0; i < n; i++) {
        lo = fmin(lo, x[i]);
        hi = fmax(hi, x[i]);
    }
    if (g->grid.sym) {
        hi = fmax(-lo, hi);
        lo = -hi;
    }
    if (lo == 0 && hi == 0) {
        lo = -1;
        hi = 1;
    }
    for (int i = 0; i < (g->grid.mse > 0 ? 80 : 1); i++) {
        double f = real(g, 1 - i / 100.0), s, z, error;

        range(g, real(g, f * lo), real(g, f * hi), &s, &z);
        error = g->grid.mse > 0 ? range_error(g, x, n, s, z) : 0;
        if (error < best) {
            best = error;
            *scale = s;
            *zero = z;
        }
    }
}

static double
sweep_row(const plain_sweep *s, int64_t row)
{
    int64_t n = s->n, group = s->g.grid.group, groups = (n + group - 1) / group;
    double *w = s->w + row * n, *scales = s->scales + row * groups, *zeros = s->zeros + row * groups, loss = 0;

    for (int64_t j = 0; j < n; j++) {
        int64_t k = s->group_of ? s->group_of[j] : j / group;
        double code, e;

        if (s->fit && j % group == 0)
            plain_fit(&s->g, w + j, n - j < group ? n - j : group, &scales[k], &zeros[k]);
        code = plain_code(&s->g, w[j], scales[k], zeros[k]);
        e = (w[j] - scales[k] * (code - zeros[k])) / s->u[j * n + j];
        for (int64_t l = j + 1; l < n; l++)
            w[l] -= e * s->u[j * n + l];
        s->codes[row * n + j] = code;
        if (s->errors)
            s->errors[row * n + j] = e;
        loss += e * e;
    }
    return loss;
}

double
plain_feedback_sweep(const plain_sweep *s)
{
    double loss = 0;

    for (int64_t i = 0; i < s->m; i++)
        loss += sweep_row(s, i);
    return loss / 2;
}
