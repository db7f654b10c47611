/* What the formats of packed codes share: a quantized linear on the host, checked for what they can hold. */
#ifndef EXPORTERS_UNIFORM_H
#define EXPORTERS_UNIFORM_H

#include <qloom/exporter.h>

typedef struct uniform {
    int bits;
    int64_t out, in, group, groups; /* columns a group, groups a row */
    bool sym;                       /* every zero is 2^(bits - 1) */
    bool ordered;                   /* g_idx is not i / group */
    const ql_tensor *codes;         /* [out, in] u8, on the device */
    const uint16_t *scales;         /* [out, groups], of the dtype that was asked for */
    const int32_t *zeros;           /* [out, groups], 0 to 2^bits - 1 */
    const int32_t *g_idx;           /* [in] */
    int64_t subnormal;              /* scales */
} uniform;

/* In the innermost scope. UNSUPPORTED where codes stand for a table's levels; INVALID where scales are not finite numbers of dtype
 * `scales` (16 bit) or zeros are no codes. */
ql_status uniform_read(ql_ctx *cx, const ql_qlinear *q, ql_dtype scales, uniform *out);

/* Codes [rows, columns] u8 packed along their columns and, `turned`, with a column of words for each row; host memory. */
ql_status uniform_pack(ql_ctx *cx, const ql_tensor *codes, int bits, bool turned, const uint32_t **out);
/* [groups, out] u8 on the device: the zero points, less `less`. */
ql_status uniform_zeros(ql_ctx *cx, const uniform *u, int less, ql_tensor **out);

/* The weight of a linear that was not quantized, as `NAME.weight` in the dtype of its file. */
ql_status uniform_skipped(ql_ctx *cx, ql_export *x, const ql_linear_result *in);

/* Host memory of the innermost scope with the tensor's elements. */
ql_status uniform_host(ql_ctx *cx, const ql_tensor *t, void *out);

/* `text` with the characters that regular expressions read quoted, in a JSON string without its quotes. */
const char *uniform_pattern(ql_ctx *cx, const char *text);

/* The command that runs a Python program: `before`, the folder as a string, `after`. In the innermost scope; NULL without memory. */
const char *uniform_python(ql_ctx *cx, const char *before, const char *folder, const char *after);
/* The command that generates with transformers' pipeline. */
const char *uniform_pipeline(ql_ctx *cx, const char *folder);

#endif
