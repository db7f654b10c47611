/* Nearest words by edit distance. */
#include "guess.h"

#include <ctype.h>
#include <string.h>

#define LENGTH_MAX 64 /* longer words are not compared */

static int
least(int a, int b, int c)
{
    const int ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`, upper and lower case alike. */
static int
distance(const char *a, size_t na, const char *b, size_t nb)
{
    int rows[3][LENGTH_MAX + 1];

    for (size_t j = 0; j <= nb; j++)
        rows[0][j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        int *now = rows[i % 3];
        const int *before = rows[(i + 2) % 3], *twice = rows[(i + 1) % 3];

        now[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            const int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);

            now[j] = least(before[j] + 1, now[j - 1] + 1, before[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && y == tolower((unsigned char)a[i - 2]) &&
                twice[j - 2] + 1 < now[j])
                now[j] = twice[j - 2] + 1;
        }
    }
    return rows[na % 3][nb];
}

ql_guess
ql_guess_open(const char *wrong)
{
    const size_t n = strlen(wrong);

    /* a word of three letters with two wrong ones is another word */
    return (ql_guess){.wrong = wrong, .distance = n < 4 ? 2 : n < 7 ? 3 : 4};
}

void
ql_guess_offer(ql_guess *g, const char *word)
{
    const size_t n = strlen(g->wrong), m = strlen(word);
    int d;

    if (n == 0 || n > LENGTH_MAX || m > LENGTH_MAX)
        return;
    d = distance(g->wrong, n, word, m);
    if (d < g->distance) {
        g->distance = d;
        g->best = word;
    }
}

void
ql_guess_offer_all(ql_guess *g, const char *const *words, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        ql_guess_offer(g, words[i]);
}

const char *
ql_guess_text(ql_ctx *cx, const ql_guess *g, const char *otherwise)
{
    const char *text = g->best ? ql_format(cx, " (did you mean '%s'?)", g->best) : otherwise;

    return text ? text : "";
}
