/* qformer.h - the BLIP-2 Q-Former (Li et al. 2023) and the bridge that leads CLIP features into it.
 *
 * Post-LN blocks as in BERT: self-attention of the queries, in every cross_every-th layer (0, 2, 4,
 * ...) cross-attention to the image features, then the query MLP (erf GELU). A LayerNorm is applied
 * to the raw queries; none at the end. Parameters: qformer.query [Q,W], qformer.ln.{g,b}, per layer
 * i qformer.h.<i>.self.qkv.w [3W,W] .b   .self.out.w [W,W] .b   .self.ln.{g,b}
 *   qformer.h.<i>.cross.q.w [W,W] .b   .cross.kv.w [2W,E] .b   .cross.out.w [W,W] .b
 * .cross.ln.{g,b} qformer.h.<i>.mlp.fc1.w [F,W] .b   .mlp.fc2.w [W,F] .b   .mlp.ln.{g,b} Bridge:
 * adapter = bridge.w [E,V] .b and bridge.ln.{g,b} [E]; reinit_kv = bridge.ln.{g,b} [V] with E == V;
 * none.
 */
#ifndef GIFQA_MODELS_QFORMER_H
#define GIFQA_MODELS_QFORMER_H

#include "models/blocks.h"

typedef enum gq_bridge { GQ_BRIDGE_NONE, GQ_BRIDGE_ADAPTER, GQ_BRIDGE_REINIT_KV } gq_bridge;

typedef struct gq_qformer_config {
    int       queries, width, layers, heads, mlp;
    int       cross_every;         /* cross-attention in layers 0, cross_every, 2 cross_every ... */
    int       encoder_width;            /* E: what keys and values read                           */
    int       vision_width;             /* V: what the bridge reads                               */
    gq_bridge bridge;
    double    ln_eps, dropout;
} gq_qformer_config;

gq_status gq_qformer_declare(gq_params *p, const gq_qformer_config *c, gq_error *err);

gq_t gq_bridge_apply(gq_tape *t, const gq_qformer_config *c, gq_t features);         /* [F,T,V] -> [F,T,E]  */
/* encoded [F,T,E] -> query states [F,Q,W]; dropout: of this pass */
gq_t gq_qformer_states(gq_tape *t, const gq_qformer_config *c, gq_t encoded, double dropout);

#endif
