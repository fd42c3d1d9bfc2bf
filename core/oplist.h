/* oplist.h - the one list of ops. The enum, names, dispatch tables, tests, profiler and docs come
 * from here.
 *
 * Columns: id, name, smallest and largest number of inputs, outputs, saved tensors, flags,
 * documentation. Flags: GEMM   compute-bound, runs on the matrix product CHEAP  memory-bound, cheap
 * to run again in backward SAVES  its saved tensors are there in inference tapes too (the forward
 * pass works in them) NOGRAD has no backward (decoding); using it on a path that needs a gradient
 * is an error The exact operands of each op are documented in kernels/kernels.h, in the same order.
 */
#ifndef GIFQA_CORE_OPLIST_H
#define GIFQA_CORE_OPLIST_H

/*   id            name            in    out save flags           one line of documentation       */
#define GQ_OPS(X)                                                                                  \
 X(LINEAR,        "linear",        2, 4, 1,  1,  GQ_OP_GEMM,     "y = act(x W^T + b) + r")         \
 X(PATCH_EMBED,   "patch_embed",   2, 4, 1,  0,  GQ_OP_GEMM,     "normalised patches W^T, class row, positions") \
 X(EMBED,         "embed",         2, 3, 1,  0,  GQ_OP_CHEAP,    "y = table[ids] (+ base)")        \
 X(LAYERNORM,     "layernorm",     2, 3, 1,  2,  GQ_OP_CHEAP,    "rows; biased variance, or mean square; eps inside the root") \
 X(ADD_NORM,      "add_norm",      3, 4, 2,  2,  GQ_OP_CHEAP,    "s = a + b; y = layernorm(s)")    \
 X(SDPA,          "sdpa",          1, 5, 1,  1,  GQ_OP_GEMM,     "softmax(scale q k^T + bias + mask) v per head") \
 X(GLU,           "glu",           1, 1, 1,  0,  GQ_OP_CHEAP,    "y = act(left half) * right half, of each row") \
 X(SCALE,         "scale",         1, 1, 1,  0,  GQ_OP_CHEAP,    "y = s x")                        \
 X(DROPOUT,       "dropout",       1, 1, 1,  0,  GQ_OP_CHEAP,    "inverted dropout by Philox, no stored mask") \
 X(MASK_ROWS,     "mask_rows",     2, 2, 1,  0,  GQ_OP_CHEAP,    "y = x * u, u per row or per element")    \
 X(GATHER_ROWS,   "gather_rows",   2, 2, 1,  0,  GQ_OP_CHEAP,    "y[r] = x[idx[r]], zero where idx < 0")   \
 X(CONCAT_ROWS,   "concat_rows",   2, 2, 1,  0,  GQ_OP_CHEAP,    "[B,N,D] and [B,P,D] to [B,N+P,D]")       \
 X(EXPAND_ROWS,   "expand_rows",   1, 1, 1,  0,  GQ_OP_CHEAP,    "[n,D] repeated to [B,n,D]")      \
 X(LM_LOSS,       "lm_loss",       5, 5, 2,  2,  GQ_OP_GEMM | GQ_OP_SAVES, "cross entropy of hidden[rows] wte^T, logits in chunks") \
 X(MVM_LOSS,      "mvm_loss",      4, 4, 1,  0,  GQ_OP_CHEAP,    "masked video modelling: sse, mse or cos on kept rows") \
 X(COMBINE,       "combine",       1, 4, 1,  0,  GQ_OP_CHEAP,    "weighted sum of scalar losses")  \
 X(KV_APPEND,     "kv_append",     3, 3, 0,  0,  GQ_OP_NOGRAD,   "k and v columns into the cache at a position")

enum { GQ_OP_GEMM = 1, GQ_OP_CHEAP = 2, GQ_OP_NOGRAD = 4, GQ_OP_SAVES = 8 };

typedef enum gq_op {
#define GQ_OP_ENUM(id, name, lo, hi, out, save, flags, doc) GQ_OP_##id,
    GQ_OPS(GQ_OP_ENUM)
#undef GQ_OP_ENUM
    GQ_OP_COUNT
} gq_op;

#endif
