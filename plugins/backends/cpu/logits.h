/* Logits by tiles: what is computed over the vocabulary without a matrix of all tokens and all words. A task of nll.c or kl.c holds
 * one tile of tokens against one span of the vocabulary, tile by tile; spans are joined afterwards, in order. */
#ifndef QLOOM_CPU_LOGITS_H
#define QLOOM_CPU_LOGITS_H

#include "cpu.h"

#define LOGIT_TOKENS 256
#define LOGIT_WORDS 512 /* of the vocabulary, in one tile: the distance of its rows */
#define LOGIT_SPAN 4096 /* of the vocabulary, in one task */
#define LOGIT_TILE (LOGIT_TOKENS * LOGIT_WORDS)

typedef struct logit_tile {
    int64_t token, tokens, word, words; /* its place and size */
} logit_tile;

typedef struct logit_sum { /* of the logits of one token over a part of the vocabulary */
    float max;
    double sum;   /* of exp(logit - max) */
    int64_t best; /* the first word whose logit is max */
} logit_sum;

/* Floats that logits_make needs to convert operands of `dtype`. */
size_t logits_work(ql_dtype dtype);

/* logits[i, j] = x[token + i, :] . head[word + j, :] */
void logits_make(const cpu *d, const mat *x, const mat *head, const logit_tile *at, float *logits, float *work);

/* One row of a tile, whose first word is `word`, joins the sum: its logits become exp(logit - max), max the new maximum. Returns what
 * sums against the old maximum have to be multiplied by. */
double logits_add(const cpu *d, float *row, int64_t word, int64_t words, logit_sum *to);

#endif
