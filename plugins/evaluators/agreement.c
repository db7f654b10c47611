#include "agreement.h"

#include <math.h>

static double
over(double a, double b)
{
    return b > 0 ? a / b : 0;
}

double
agreement_f1(const agreement *a)
{
    return over(2 * a->count[1][1], 2 * a->count[1][1] + a->count[1][0] + a->count[0][1]);
}

double
agreement_mcc(const agreement *a)
{
    const double nn = a->count[0][0], np = a->count[0][1], pn = a->count[1][0], pp = a->count[1][1];

    return over(nn * pp - np * pn, sqrt((nn + np) * (pn + pp) * (nn + pn) * (np + pp)));
}

/* The number with a document of cell `i` left out. */
static double
without(const agreement *a, double (*of)(const agreement *), int i)
{
    agreement less = *a;

    less.count[i / 2][i % 2]--;
    return of(&less);
}

double
agreement_error(const agreement *a, double (*of)(const agreement *))
{
    const double *cell = &a->count[0][0];
    double n = 0, sum = 0, squares = 0;

    for (int i = 0; i < 4; i++) {
        n += cell[i];
        sum += cell[i] > 0 ? cell[i] * without(a, of, i) : 0;
    }
    for (int i = 0; i < 4; i++)
        squares += cell[i] > 0 ? cell[i] * pow(without(a, of, i) - sum / n, 2) : 0;
    return n > 1 ? sqrt((n - 1) / n * squares) : NAN;
}
