/* What the operations of ops.h share: argument checks whose texts name the operand, and the end of an operation. */
#ifndef QLOOM_TENSOR_CHECK_H
#define QLOOM_TENSOR_CHECK_H

#include "tensor.h"

#define QL_BIT(dtype) (1u << (dtype))
#define QL_REAL_DTYPE (QL_BIT(QL_F32) | QL_BIT(QL_F64))
#define QL_FLOAT_DTYPE (QL_REAL_DTYPE | QL_BIT(QL_F16) | QL_BIT(QL_BF16))
#define QL_ANY_DTYPE (QL_FLOAT_DTYPE | QL_BIT(QL_U8) | QL_BIT(QL_I32) | QL_BIT(QL_I64))

/* One argument and what it must be. A list ends with a NULL name. */
typedef struct ql_operand {
    const char *name;
    const ql_tensor *t;
    unsigned dtypes;    /* set of QL_BIT(dtype) */
    int ndim;           /* 0: any, and rows and cols are not looked at */
    int64_t rows, cols; /* -1: any; cols of a vector is not looked at */
} ql_operand;

/* INVALID, "gemm: B: got bf16 [3, 4], expected f32 [5, *]", for the first operand that is missing, on another device, or
 * wrong. */
ql_status ql_operands_check(ql_ctx *cx, const char *op, const ql_operand *operands);

/* INVALID when the output `out` shares elements with the input `in`. */
ql_status ql_apart_check(ql_ctx *cx, const char *op, const char *out_name, const ql_tensor *out, const char *in_name,
                         const ql_tensor *in);

/* INVALID unless `seqs` splits `tokens` tokens into sequences. */
ql_status ql_seqs_check(ql_ctx *cx, const char *op, const ql_seqs *seqs, int64_t tokens);

#endif
