/* blocks.h - the pre-LN transformer block that both CLIP towers and GPT-2 are made of.
 *
 * Parameters of block i under a scope ("gpt2", "clip.v", "clip.t"), C = width, F = mlp:
 *   <scope>.h.<i>.ln_1.{g,b} [C]     <scope>.h.<i>.attn.qkv.w [3C,C] .b [3C]
 * <scope>.h.<i>.attn.out.w [C,C] .b [C] <scope>.h.<i>.ln_2.{g,b} [C]     <scope>.h.<i>.mlp.fc1.w
 * [F,C] .b [F]        <scope>.h.<i>.mlp.fc2.w [C,F] .b [C] A block is x += out(attn(ln_1(x))); x +=
 * fc2(act(fc1(ln_2(x)))). The sum and the next norm are one op, so a block is handed the residual
 * stream and the branch that still has to be added to it.
 */
#ifndef GIFQA_MODELS_BLOCKS_H
#define GIFQA_MODELS_BLOCKS_H

#include "core/ops.h"

typedef struct gq_blocks {
    const char *scope;
    int         layers, width, heads, mlp;
    gq_act      act;
    double      ln_eps, dropout;   /* dropout: attention probabilities and both residual branches */
    bool        bias;                   /* biases in linears and norms                            */
    gq_mask     mask;
    gq_t        visible;                /* real [B,T] or none: hidden keys (kernels.h, sdpa)      */
    gq_t        rows;                   /* i32 [R] or none: see gq_block()                        */
    /* decoding: caches [B,cap,2C] per layer, or NULL */
    const gq_t *cache;
    gq_t        pos;                    /* i32 [B]: where the new rows go                         */
    gq_t        lengths;           /* i32 [B]: keys to see; none: prefill, attend within the rows */
} gq_blocks;

typedef struct gq_block_init { double qkv, out, fc1, fc2; } gq_block_init; /* standard deviations */

gq_status gq_blocks_declare(gq_params *p, const gq_blocks *b, const gq_block_init *init, gq_error *err);

/* Records block l. *sum: residual stream [B,T,C]; branch: what is to be added to it first, none for
 * the first block. Returns the block's own branch (the output of fc2); the stream after the block
 * is *sum + that. With rows, what follows attention is computed for those rows of [B*T] only: *sum
 * and the branch are [R,C], for a last block of which not every position is read. */
gq_t gq_block(gq_tape *t, const gq_blocks *b, int l, gq_t *sum, gq_t branch);
/* The same, returning the stream after the block as a tensor of its own (no dropout):
 * hidden_states[l + 1]. */
gq_t gq_block_stream(gq_tape *t, const gq_blocks *b, int l, gq_t sum, gq_t branch);

/* Small helpers all models share. */
gq_status gq_declare(gq_params *p, gq_error *err, gq_init init, int rank, const int64_t *shape, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
gq_status gq_declare_linear(gq_params *p, gq_error *err, double std, int64_t out, int64_t in, bool bias,
                            const char *name);
gq_status gq_declare_norm(gq_params *p, gq_error *err, int64_t width, bool bias, const char *name);
/* linear with parameters <name>.w and, when declared, <name>.b */
gq_t gq_dense(gq_tape *t, gq_t x, gq_act act, gq_t residual, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#define GQ_NORMAL(std) ((gq_init){.dist = GQ_INIT_NORMAL, .value = (std)})
#define GQ_CONST(v)    ((gq_init){.dist = GQ_INIT_CONST, .value = (v)})
#define GQ_SHAPE(...)  ((int64_t[]){__VA_ARGS__})

#endif
