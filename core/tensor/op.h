/* Operations as records: what their rules (backend.h) ask of a record is checked here, what they say is made is made, and the device's
 * function is called. The typed functions of ops.h fill records. */
#ifndef QLOOM_TENSOR_OP_H
#define QLOOM_TENSOR_OP_H

#include "tensor.h"

#define QL_BIT(dtype) (1u << (dtype))

/* The dtypes of "sum" and "grid" in rules. */
static inline ql_dtype
ql_op_real(bool in_double)
{
    return in_double ? QL_F64 : QL_F32;
}

/* "gemm", and the text of its operands. */
const char *ql_op_name(ql_op_code code);
const char *ql_op_operands(ql_op_code code);

/* One operand of a rule; name, dtype and shape lie in the rule's text and end where it says ':', '[' and ']'. */
typedef struct ql_operand {
    const char *name, *dtype, *shape;
    bool written, made, optional, itself; /* the marks ! or +, +, ?, ~ */
} ql_operand;

/* Takes the next operand from the rule at *rule; false at its end. `@t` comes as an operand without a dtype, of shape t. */
bool ql_operand_next(const char **rule, ql_operand *out);

/* The set of QL_BIT(dtype) that the operand may have in `op`. */
unsigned ql_operand_dtypes(const ql_op *op, const ql_operand *o);

/* INVALID, "gemm: B: got bf16 [3, 4], expected f32 [5, *]", for the first operand in `op` that is missing, on another device, of another
 * dtype or shape, lent for reading only where it is written, or not apart from the others. `name` stands in front of the text. */
ql_status ql_operands_check(ql_ctx *cx, const char *name, const char *rule, const ql_op *op);

/* The check of the operation's own rule; then makes the operands that the host makes. */
ql_status ql_op_begin(ql_ctx *cx, ql_op *op);
ql_tensor *ql_op_made(const ql_op *op, int i); /* operand `i`, which ql_op_begin made */

/* INVALID unless `seqs` split `tokens` tokens into sequences; `name` begins the message. */
ql_status ql_seqs_check(ql_ctx *cx, const char *name, const ql_seqs *seqs, int64_t tokens);
/* y = x w^T + beta y for rows that are the tokens of `seqs`; where those are trees, a row's bits do not depend on the other rows. NULL: any
 * rows. */
ql_status ql_op_linear(ql_ctx *cx, const ql_seqs *seqs, const ql_tensor *x, const ql_tensor *w, double beta,
                       ql_tensor *y);

/* A weight that rests, as the operation RESTING takes it: turned, [in, out], numbers or codes. */
typedef struct ql_resting {
    ql_tensor *w;
    ql_tensor *scales, *zeros, *levels, *g_idx; /* of codes: [groups, out], [2^bits], [in]; NULL as in a ql_qlinear */
    ql_grid grid;
} ql_resting;

/* y = x W, or y += x W with `add`. A row of y does not depend on the other rows of x. */
ql_status ql_op_resting(ql_ctx *cx, const ql_tensor *x, const ql_resting *w, bool add, ql_tensor *y);

/* Runs what ql_op_begin let pass, if there is anything to do. UNSUPPORTED when the backend can't. */
ql_status ql_op_call(ql_ctx *cx, const ql_op *op);

/* ql_op_begin and ql_op_call; ql_op_make: of an operation of whose operands one is made, for the caller. */
ql_status ql_op_run(ql_ctx *cx, ql_op *op);
ql_status ql_op_make(ql_ctx *cx, ql_op *op, ql_tensor **out);

#endif
