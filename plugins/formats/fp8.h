/* Checkpoints whose linears are F8_E4M3 with scales, read: `quant_method` fp8, as the Hub's FP8 releases, and compressed-tensors. */
#ifndef FORMATS_FP8_H
#define FORMATS_FP8_H

#include <qloom/model.h>

typedef struct fp8_format { /* what holds for the whole checkpoint */
    const ql_source *source;
    const char *scale;  /* what the name of a linear's scales ends in: "weight_scale_inv" */
    int64_t rows, cols; /* of a block with a scale of its own; 0: a scale for the tensor, or for each row */
} fp8_format;

/* Reads the quantization's configuration. `found` false: it is of another method. UNSUPPORTED where the method's numbers are others. */
ql_status fp8_open(ql_ctx *cx, const ql_source *src, const ql_json *config, fp8_format *out, bool *found);
/* Is this linear's weight in 8-bit floats? Some are left as they were. */
bool fp8_has(ql_ctx *cx, const fp8_format *f, const char *linear);
/* Checks shapes and dtypes of a linear [out, in]; with `load` reads it: a code is a number of E4M3, which its scale multiplies. INVALID and
 * UNSUPPORTED say what is wrong: other 8-bit floats, scales that are missing or are no positive numbers, weights that are NaN. */
ql_status fp8_read(ql_ctx *cx, const fp8_format *f, const ql_linear_at *at, ql_qlinear *out);

#endif
