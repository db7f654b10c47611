/* Numbers of a table of two classes, right ones against answers: what GLUE counts where one class is rare. */
#ifndef EVALUATORS_AGREEMENT_H
#define EVALUATORS_AGREEMENT_H

typedef struct agreement { /* documents by right class and answer; zero is empty */
    double count[2][2];
} agreement;

/* 2 hits / (2 hits + misses + false alarms) of class 1, and Matthews' correlation coefficient; 0 where nothing is to be divided by. */
double agreement_f1(const agreement *a);
double agreement_mcc(const agreement *a);
/* The jackknife's standard error of such a number; NaN for fewer than two documents. */
double agreement_error(const agreement *a, double (*of)(const agreement *));

#endif
