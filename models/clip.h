/* clip.h - CLIP (Radford et al. 2021): a ViT over patches and a causal text transformer with a
 * joint embedding.
 *
 * Vision parameters: clip.v.patch.w [C,3*p*p] (columns ch, y, x), clip.v.cls [C], clip.v.pos
 * [n+1,C], clip.v.ln_pre.{g,b}, blocks under "clip.v", clip.v.ln_post.{g,b}, clip.v.proj.w
 * [proj,C]. Text parameters: clip.t.tok [vocab,Ct], clip.t.pos [context,Ct], blocks under "clip.t",
 * clip.t.ln_final.{g,b}, clip.t.proj.w [proj,Ct]; clip.logit_scale [1].
 */
#ifndef GIFQA_MODELS_CLIP_H
#define GIFQA_MODELS_CLIP_H

#include "models/blocks.h"

typedef enum gq_clip_feature {
    GQ_CLIP_HIDDEN_2,                   /* output of the last block but one (hidden_states[-2])   */
    GQ_CLIP_HIDDEN_1,             /* output of the last block, before post-LN (hidden_states[-1]) */
    GQ_CLIP_FINAL,                      /* all tokens after post-LN                               */
} gq_clip_feature;

typedef struct gq_clip_config {
    int    image, patch;                /* pixels                                                 */
    int    width, layers, heads, mlp;   /* vision                                                 */
    int    text_width, text_layers, text_heads, text_mlp;
    int    vocab, context;              /* text                                                   */
    int    proj;                        /* joint space; 0: no projections                         */
    gq_act act;
    double ln_eps;
    bool   text;                        /* there is a text tower                                  */
    float  mean[3], std[3];             /* pixel normalisation, per channel in 0..1               */
} gq_clip_config;

static inline int gq_clip_tokens(const gq_clip_config *c)    /* patches and the class token       */
{
    return (c->image / c->patch) * (c->image / c->patch) + 1;
}

gq_status gq_clip_declare(gq_params *p, const gq_clip_config *c, gq_error *err);

/* frames u8 [F,S,S,3]. features (may be NULL): [F,tokens,C] as chosen; embeds (may be NULL):
 * [F,proj], not normalised. Blocks that nothing needs are not recorded. With embeds the tape has an
 * input "clip.class_rows", i32 [F]: row f * tokens of each frame's class token. */
void gq_clip_vision(gq_tape *t, const gq_clip_config *c, gq_t frames, gq_clip_feature which, gq_t *features,
                    gq_t *embeds);

/* ids i32 [B,T], pos i32 [B,T], end i32 [B]: row b*T + (position of the first end-of-text token) ->
 * [B,proj]. */
gq_t gq_clip_text(gq_tape *t, const gq_clip_config *c, gq_t ids, gq_t pos, gq_t end);

#endif
