/* The forward of a decoder once more, in double, slow and obvious: what the tests compare with. It shares no code with
 * the library; only what the architectures fix to f32 (inverse frequencies and angles) is f32 here too. */
#ifndef QLOOM_TESTS_PLAIN_DECODER_H
#define QLOOM_TESTS_PLAIN_DECODER_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef enum plain_rope_type { PLAIN_DEFAULT, PLAIN_LINEAR, PLAIN_DYNAMIC, PLAIN_LLAMA3, PLAIN_YARN } plain_rope_type;

typedef struct plain_rope {
    plain_rope_type type;
    double theta, factor, low, high, original, max_positions;
    double beta_fast, beta_slow, mscale, mscale_all, attention_factor; /* 0: not given */
    bool no_truncate;
} plain_rope;

typedef struct plain_linear {
    int64_t out, in;
    double *w, *bias; /* bias NULL: none */
} plain_linear;

enum { PLAIN_Q, PLAIN_K, PLAIN_V, PLAIN_O, PLAIN_GATE, PLAIN_UP, PLAIN_DOWN, PLAIN_LINEARS };

typedef struct plain_layer {
    plain_linear linear[PLAIN_LINEARS];
    double *norm1, *norm2, *q_norm, *k_norm; /* q_norm, k_norm NULL: none */
    int64_t window;                          /* 0: all keys before */
    const plain_rope *rope;
} plain_layer;

typedef struct plain_model {
    int64_t layers, hidden, vocab, heads, kv_heads, head_dim;
    double eps;
    plain_layer *layer;
    double *embed, *norm, *head;
} plain_model;

static inline double *
plain_new(int64_t n)
{
    double *p = calloc((size_t)(n > 0 ? n : 1), sizeof *p);

    if (!p)
        abort();
    return p;
}

/* Inverse frequencies [d / 2] for a sequence of `length` tokens; returns the attention factor. */
static inline double
plain_frequencies(const plain_rope *r, int64_t d, int64_t length, float *f)
{
    double theta = r->theta, m = 1, lo, hi;

    if (r->type == PLAIN_DYNAMIC) {
        const double l = fmax((double)length, r->max_positions);

        theta *= pow(r->factor * l / r->max_positions - (r->factor - 1), (double)d / (double)(d - 2));
    }
    for (int64_t k = 0; k < d / 2; k++)
        f[k] = (float)pow(theta, -2.0 * (double)k / (double)d);
    if (r->type == PLAIN_LINEAR)
        for (int64_t k = 0; k < d / 2; k++)
            f[k] = (float)(f[k] / r->factor);
    if (r->type == PLAIN_LLAMA3)
        for (int64_t k = 0; k < d / 2; k++) {
            const double w = 2 * acos(-1) / f[k], t = (r->original / w - r->low) / (r->high - r->low);

            if (w > r->original / r->low)
                f[k] = (float)(f[k] / r->factor);
            else if (w >= r->original / r->high)
                f[k] = (float)((1 - t) * f[k] / r->factor + t * f[k]);
        }
    if (r->type != PLAIN_YARN)
        return m;
    {
        const double l0 = r->original > 0 ? r->original : r->max_positions;
        const double fast = r->beta_fast > 0 ? r->beta_fast : 32, slow = r->beta_slow > 0 ? r->beta_slow : 1;

        lo = (double)d * log(l0 / (2 * acos(-1) * fast)) / (2 * log(r->theta));
        hi = (double)d * log(l0 / (2 * acos(-1) * slow)) / (2 * log(r->theta));
    }
    if (!r->no_truncate) {
        lo = floor(lo);
        hi = ceil(hi);
    }
    lo = lo < 0 ? 0 : lo > (double)(d - 1) ? (double)(d - 1) : lo;
    hi = hi < 0 ? 0 : hi > (double)(d - 1) ? (double)(d - 1) : hi;
    if (lo == hi)
        hi += 0.001;
    for (int64_t k = 0; k < d / 2; k++) {
        double ramp = ((double)k - lo) / (hi - lo);

        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        f[k] = (float)(f[k] / r->factor * ramp + f[k] * (1 - ramp));
    }
    if (r->attention_factor > 0)
        return r->attention_factor;
    if (r->factor <= 1)
        return 1;
    if (r->mscale > 0 && r->mscale_all > 0)
        return (0.1 * r->mscale * log(r->factor) + 1) / (0.1 * r->mscale_all * log(r->factor) + 1);
    return 0.1 * log(r->factor) + 1;
}

static inline double *
plain_apply(const plain_linear *l, const double *x, int64_t tokens)
{
    double *y = plain_new(tokens * l->out);

    for (int64_t t = 0; t < tokens; t++)
        for (int64_t o = 0; o < l->out; o++) {
            double sum = l->bias ? l->bias[o] : 0;

            for (int64_t i = 0; i < l->in; i++)
                sum += l->w[o * l->in + i] * x[t * l->in + i];
            y[t * l->out + o] = sum;
        }
    return y;
}

static inline void
plain_rmsnorm(const double *x, const double *w, double eps, int64_t rows, int64_t n, double *y)
{
    for (int64_t t = 0; t < rows; t++) {
        double mean = 0;

        for (int64_t i = 0; i < n; i++)
            mean += x[t * n + i] * x[t * n + i] / (double)n;
        for (int64_t i = 0; i < n; i++)
            y[t * n + i] = x[t * n + i] / sqrt(mean + eps) * w[i];
    }
}

static inline void
plain_turn(const plain_rope *r, int64_t d, int64_t heads, int64_t tokens, double *x)
{
    float *f = calloc((size_t)d, sizeof *f);
    const double m = plain_frequencies(r, d, tokens, f);

    for (int64_t t = 0; t < tokens; t++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t k = 0; k < d / 2; k++) {
                double *a = x + (t * heads + h) * d + k, *b = a + d / 2;
                const float angle = (float)t * f[k];
                const double c = cos((double)angle) * m, s = sin((double)angle) * m, a0 = *a, b0 = *b;

                *a = a0 * c - b0 * s;
                *b = b0 * c + a0 * s;
            }
    free(f);
}

static inline double *
plain_attention(const plain_model *p, const plain_layer *l, const double *q, const double *k, const double *v,
                int64_t tokens)
{
    const int64_t d = p->head_dim, shared = p->heads / p->kv_heads;
    double *y = plain_new(tokens * p->heads * d), *score = plain_new(tokens);

    for (int64_t t = 0; t < tokens; t++)
        for (int64_t h = 0; h < p->heads; h++) {
            const int64_t first = l->window > 0 && t - l->window + 1 > 0 ? t - l->window + 1 : 0;
            double most = -INFINITY, sum = 0;

            for (int64_t s = first; s <= t; s++) {
                score[s] = 0;
                for (int64_t i = 0; i < d; i++)
                    score[s] += q[(t * p->heads + h) * d + i] * k[(s * p->kv_heads + h / shared) * d + i];
                score[s] /= sqrt((double)d);
                most = fmax(most, score[s]);
            }
            for (int64_t s = first; s <= t; s++)
                sum += score[s] = exp(score[s] - most);
            for (int64_t s = first; s <= t; s++)
                for (int64_t i = 0; i < d; i++)
                    y[(t * p->heads + h) * d + i] += score[s] / sum * v[(s * p->kv_heads + h / shared) * d + i];
        }
    free(score);
    return y;
}

static inline void
plain_block(const plain_model *p, const plain_layer *l, int64_t tokens, double *h)
{
    const int64_t d = p->hidden, f = l->linear[PLAIN_GATE].out;
    double *x = plain_new(tokens * d), *q, *k, *v, *y, *o, *gate, *up, *down;

    plain_rmsnorm(h, l->norm1, p->eps, tokens, d, x);
    q = plain_apply(&l->linear[PLAIN_Q], x, tokens);
    k = plain_apply(&l->linear[PLAIN_K], x, tokens);
    v = plain_apply(&l->linear[PLAIN_V], x, tokens);
    if (l->q_norm)
        plain_rmsnorm(q, l->q_norm, p->eps, tokens * p->heads, p->head_dim, q);
    if (l->k_norm)
        plain_rmsnorm(k, l->k_norm, p->eps, tokens * p->kv_heads, p->head_dim, k);
    plain_turn(l->rope, p->head_dim, p->heads, tokens, q);
    plain_turn(l->rope, p->head_dim, p->kv_heads, tokens, k);
    y = plain_attention(p, l, q, k, v, tokens);
    o = plain_apply(&l->linear[PLAIN_O], y, tokens);
    for (int64_t i = 0; i < tokens * d; i++)
        h[i] += o[i];
    plain_rmsnorm(h, l->norm2, p->eps, tokens, d, x);
    gate = plain_apply(&l->linear[PLAIN_GATE], x, tokens);
    up = plain_apply(&l->linear[PLAIN_UP], x, tokens);
    for (int64_t i = 0; i < tokens * f; i++)
        up[i] *= gate[i] / (1 + exp(-gate[i]));
    down = plain_apply(&l->linear[PLAIN_DOWN], up, tokens);
    for (int64_t i = 0; i < tokens * d; i++)
        h[i] += down[i];
    free(x), free(q), free(k), free(v), free(y), free(o), free(gate), free(up), free(down);
}

/* Logits [tokens, vocab] of one sequence; freed by the caller. */
static inline double *
plain_logits(const plain_model *p, const int32_t *ids, int64_t tokens)
{
    const plain_linear head = {.out = p->vocab, .in = p->hidden, .w = p->head};
    double *h = plain_new(tokens * p->hidden), *logits;

    for (int64_t t = 0; t < tokens; t++)
        memcpy(h + t * p->hidden, p->embed + ids[t] * p->hidden, (size_t)p->hidden * sizeof *h);
    for (int64_t i = 0; i < p->layers; i++)
        plain_block(p, &p->layer[i], tokens, h);
    plain_rmsnorm(h, p->norm, p->eps, tokens, p->hidden, h);
    logits = plain_apply(&head, h, tokens);
    free(h);
    return logits;
}

#endif
