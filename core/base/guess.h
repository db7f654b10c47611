/* "Did you mean": the nearest of the words that may have been meant. */
#ifndef QLOOM_BASE_GUESS_H
#define QLOOM_BASE_GUESS_H

#include "ctx.h"

typedef struct ql_guess {
    const char *wrong, *best; /* best: the nearest word so far that is near enough; NULL: none */
    int distance;             /* of `best`, or of the first word that is too far */
} ql_guess;

/* A guess about a word that nothing has been offered for yet. */
ql_guess ql_guess_open(const char *wrong);
/* Looks at one more word; of equally near ones the first stays. The word lives as long as the guess. */
void ql_guess_offer(ql_guess *g, const char *word);
void ql_guess_offer_all(ql_guess *g, const char *const *words, int64_t count);
/* " (did you mean 'WORD'?)", or `otherwise` when nothing is near; "" without memory. In the innermost scope. */
const char *ql_guess_text(ql_ctx *cx, const ql_guess *g, const char *otherwise);

#endif
