/* Loops that are compiled once per instruction set; one table of them is chosen when the device is opened. */
#ifndef QLOOM_CPU_ISA_H
#define QLOOM_CPU_ISA_H

#include <stdint.h>

typedef struct isa_loops {
    const char *name;
    void (*bf16_to_float)(const uint16_t *src, int64_t n, float *dst);
    void (*half_to_float)(const uint16_t *src, int64_t n, float *dst);
    void (*float_to_bf16)(const float *src, int64_t n, uint16_t *dst);
    float (*row_max)(const float *x, int64_t n); /* -inf for n == 0; NaN elements are passed over */
    /* x[i] = exp(x[i] - shift); returns their sum. */
    float (*exp_sum)(float *x, int64_t n, float shift);
    void (*swiglu)(const float *gate, const float *up, int64_t n, float *y);
    double (*square_sum)(const float *x, int64_t n);
} isa_loops;

/* The best table for this processor. */
const isa_loops *isa_choose(void);

#endif
