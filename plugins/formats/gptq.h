/* GPTQ checkpoints, read: for models that are one, and for the quantizer that takes its codes from one. */
#ifndef FORMATS_GPTQ_H
#define FORMATS_GPTQ_H

#include <qloom/model.h>

typedef struct gptq_format { /* what holds for the whole checkpoint */
    const ql_source *source;
    int64_t group;     /* group_size, -1: whole rows */
    bool sym, ordered; /* ordered: desc_act, so columns may be in any group */
    bool exact_zeros;  /* version 2: zero points are stored as they are, not less one */
} gptq_format;

/* Reads the quantization's configuration: `config`, else quantize_config.json. `found` false: there is none. UNSUPPORTED where it is
 * of another method. */
ql_status gptq_open(ql_ctx *cx, const ql_source *src, const ql_json *config, gptq_format *out, bool *found);
/* Does the folder hold the codes of this linear? */
bool gptq_has(ql_ctx *cx, const gptq_format *f, const char *linear);
/* Checks shapes and dtypes of a linear [out, in]; with `load` reads it. Everything in a file may be wrong: INVALID says what. The
 * version is what the label says, but for symmetric linears whose zero points tell of another: labels lie, so these are followed,
 * with a warning in the first block. */
ql_status gptq_read(ql_ctx *cx, const gptq_format *f, const ql_linear_at *at, ql_qlinear *out);

#endif
