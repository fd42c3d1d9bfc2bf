/* gpt2.h - GPT-2 (Radford et al. 2019): pre-LN decoder with learned positions, tanh GELU, tied
 * head.
 *
 * Parameters: gpt2.wte [vocab,C], gpt2.wpe [positions,C], the blocks of blocks.h under "gpt2",
 * gpt2.ln_f.{g,b}, and gpt2.head.w [vocab,C] when the head is not tied. Initialisation: N(0, 0.02);
 * the two projections back into the stream N(0, 0.02 / sqrt(2 layers)).
 */
#ifndef GIFQA_MODELS_GPT2_H
#define GIFQA_MODELS_GPT2_H

#include "models/blocks.h"

typedef struct gq_gpt2_config {
    int    width, layers, heads, mlp;
    int    vocab, positions;            /* rows of wte and wpe                                    */
    double ln_eps, dropout;             /* dropout also on the sum of embeddings                  */
    gq_act act;
    bool   bias, tied;
} gq_gpt2_config;

gq_status gq_gpt2_declare(gq_params *p, const gq_gpt2_config *c, gq_error *err);

typedef struct gq_gpt2_opts {
    double      dropout;               /* of this pass: the config's in training, 0 in evaluation */
    gq_t        visible;                /* real [B,T] or none: hidden keys                        */
    gq_t        rows;                   /* i32 [R] or none: the rows of [B*T] that are wanted     */
    const gq_t *cache; gq_t pos, lengths;                    /* decoding: see blocks.h            */
} gq_gpt2_opts;

/* x [B,T,C]: token (or visual) embeddings without positions; pos i32 [B,T] -> states after ln_f
 * [B,T,C], or [R,C] of o->rows: the last block then computes no others. */
gq_t gq_gpt2_states(gq_tape *t, const gq_gpt2_config *c, gq_t x, gq_t pos, const gq_gpt2_opts *o);
gq_t gq_gpt2_tokens(gq_tape *t, gq_t ids);                /* ids i32 [B,T] -> rows of wte [B,T,C] */
gq_t gq_gpt2_head(gq_tape *t, const gq_gpt2_config *c);      /* the matrix of the head [vocab,C]  */

#endif
