/* Checkpoints of codes, packed or a byte each, read: for models that are one, and for the quantizer that takes its codes from one. */
#ifndef FORMATS_PACKED_H
#define FORMATS_PACKED_H

#include <qloom/model.h>

typedef struct packed_format packed_format;

typedef struct packed_layout { /* what differs from format to format */
    const char *codes;         /* of a quantized linear: the tensor that holds its codes, "qweight" */
    const char *dtype;         /* what its dtype begins with; NULL: a tensor of that name holds codes in any case */
    /* Checks shapes and dtypes of a linear [out, in]; with at->load reads it. Everything in a file may be wrong: INVALID says what. */
    ql_status (*read)(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, ql_qlinear *out);
} packed_layout;

struct packed_format {           /* what holds for the whole checkpoint */
    const packed_layout *layout; /* NULL: weights are as they are */
    const ql_source *source;
    const ql_json *config; /* the quantization's */
    /* of GPTQ checkpoints */
    int64_t group;     /* group_size, -1: whole rows */
    bool sym, ordered; /* ordered: desc_act, so columns may be in any group */
    bool exact_zeros;  /* version 2: zero points are stored as they are, not less one */
    /* of 8-bit floats */
    const char *scale;  /* what the name of a linear's scales ends in: "weight_scale_inv" */
    int64_t rows, cols; /* of a block with a scale of its own; 0: a scale for the tensor, or for each row */
};

/* Reads the quantization's configuration: that of config.json, else quantize_config.json. UNSUPPORTED where it is of another method. */
ql_status packed_open(ql_ctx *cx, const ql_source *src, packed_format *out);
/* Does the folder hold the codes of this linear? */
bool packed_has(ql_ctx *cx, const packed_format *f, const char *linear);
ql_status packed_read(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, ql_qlinear *out);

/* --- for the formats */

/* The configuration into `out`, layout included. Codes of 8-bit floats are bytes, and the numbers of E4M3 their levels. */
ql_status gptq_open(ql_ctx *cx, packed_format *out);
ql_status compressed_open(ql_ctx *cx, packed_format *out);
ql_status fp8_open(ql_ctx *cx, packed_format *out);

/* "LINEAR.PART"; NULL without memory. */
const char *packed_name(ql_ctx *cx, const char *linear, const char *part);
/* Is the tensor there, with this shape and dtype? F32 stands for 16 bit, which is read as F32. */
ql_status packed_check(ql_ctx *cx, const packed_format *f, const ql_want *want);
/* Host words of an I32 tensor that was checked, in the innermost scope. */
ql_status packed_words(ql_ctx *cx, const packed_format *f, const ql_want *want, const uint32_t **out);

#endif
