/* t5.h - T5 (Raffel et al. 2020): encoder and decoder with RMSNorm before each part, biases by relative
 * position that all blocks of a stack share, unscaled attention and no other biases. Version 1.0 has a
 * ReLU between two matrices and the token table as its head; 1.1 and FLAN gate with GELU and have a
 * head of their own.
 *
 * Parameters, C = width, I = heads * head_width, F = mlp:
 *   t5.shared [vocab,C]          tokens of both sides
 *   t5.enc.rel [buckets,heads]   t5.enc.h.<i>.ln_1.g [C]   .attn.qkv.w [3I,C]  .attn.out.w [C,I]
 *                                .ln_2.g [C]  .mlp.fc1.w [F,C], gated: .mlp.gated.w [2F,C]
 *                                .mlp.fc2.w [C,F]   t5.enc.ln_f.g [C]
 *   t5.dec.rel [buckets,heads]   t5.dec.h.<i>.ln_1.g, .attn.qkv.w, .attn.out.w as above,
 *                                .ln_2.g [C]  .cross.q.w [I,C]  .cross.kv.w [2I,C]  .cross.out.w [C,I]
 *                                .ln_3.g [C]  .mlp.* as above   t5.dec.ln_f.g [C]
 *   t5.head.w [vocab,C]          when not tied
 * mlp.gated is the checkpoints' wi_0 above wi_1: one product for both. Initialisation: that of the paper's code.
 */
#ifndef GIFQA_MODELS_T5_H
#define GIFQA_MODELS_T5_H

#include "models/blocks.h"

typedef struct gq_t5_config {
    int    width, head_width, heads, mlp;
    int    layers, decoder_layers;
    int    vocab;                       /* rows of the token table                                */
    int    buckets, far;                /* of relative positions; far: the last bucket begins near it */
    double eps, dropout;
    gq_act act;
    bool   gated, tied;
} gq_t5_config;

enum { GQ_T5_MAX_LAYERS = 64, GQ_T5_START = 0 };   /* START: the token that every target begins with */

gq_status gq_t5_declare(gq_params *p, const gq_t5_config *c, gq_error *err);

/* ids i32 [B,S], lengths i32 [B]: how many of a row are text -> states [B,S,C] after the final norm. */
gq_t gq_t5_encode(gq_tape *t, const gq_t5_config *c, gq_t ids, gq_t lengths, double dropout);

typedef struct gq_t5_opts {
    double dropout;                     /* of this pass: the config's in training, else 0         */
    gq_t   rows;                        /* i32 [R] or none: the rows of [B*T] that are wanted     */
} gq_t5_opts;

/* Teacher forcing: ids i32 [B,T], the target shifted right behind START; memory [B,S,C] from
 * gq_t5_encode() and its lengths -> states after the final norm [B,T,C] or [R,C], times C^-0.5 when the
 * head is tied: what the head is multiplied with. */
gq_t gq_t5_decode(gq_tape *t, const gq_t5_config *c, gq_t ids, gq_t memory, gq_t lengths, const gq_t5_opts *o);
gq_t gq_t5_head(gq_tape *t, const gq_t5_config *c);          /* the matrix of the head [vocab,C]  */

/* Token by token. Keys and values of layer l: of the text so far in self[l], real [rows,cap,2I]; of the
 * source in cross[l], real [B,S,2I]. */
typedef struct gq_t5_cache {
    const gq_t *self, *cross;           /* [decoder_layers]                                       */
    gq_t        pos;                    /* i32 [rows]: where the new token goes                   */
    gq_t        lengths;                /* i32 [rows]: tokens with it                             */
    gq_t        source;                 /* i32 [B]: lengths of the sources                        */
    int         beams;                  /* rows of a source: rows = B * beams                     */
} gq_t5_cache;

/* Writes keys and values of the encoder's states into the cross caches. zeros: i32 [B], all 0. */
void gq_t5_remember(gq_tape *t, const gq_t5_config *c, gq_t memory, gq_t zeros, const gq_t *cross);
/* ids i32 [rows,1] -> [rows,C] for the head. The beams of a source are the queries of one attention over
 * its keys: cross caches are read once a source, not once a beam. */
gq_t gq_t5_step(gq_tape *t, const gq_t5_config *c, gq_t ids, const gq_t5_cache *k);

/* ---- training ---------------------------------------------------------------------------------- */

typedef struct gq_t5_shape {
    int  batch, source, target;         /* rows, padded lengths                                   */
    int  labels;                        /* rows the loss reads, padding included                  */
    bool train;                         /* with dropout and backward                              */
} gq_t5_shape;

typedef struct gq_t5_tape {             /* a recorded pass and its inputs                         */
    gq_t5_shape shape;
    gq_tape    *tape;
    gq_t        source, lengths;        /* i32 [B,S], [B]                                         */
    gq_t        target;                 /* i32 [B,T]: START, then the labels but the last         */
    gq_t        rows, labels;           /* i32 [R]: flat place in [B*T], token or -100            */
    gq_t        inv_lm;                 /* stat [1]: 1 / labelled rows                            */
    gq_t        lm_loss, stats;         /* stat [1], [R,2] (kernels.h, lm_loss)                   */
} gq_t5_tape;

gq_status gq_t5_record(gq_engine *e, gq_params *p, const gq_t5_config *c, const gq_t5_shape *shape,
                       const gq_plan_opts *plan, gq_t5_tape *out, gq_error *err);

#endif
