/* stllm.h - the model of Approach 1: CLIP features -> Q-Former -> projection -> GPT-2, with masked
 * video modelling.
 *
 * One training pass (B samples, k frames, Q queries a frame, N = k*Q visual tokens, frame-major,
 * frames in time order, T text positions, right-padded): V = proj(qformer(bridge(features)))
 * [B,N,D]; X = [V or masked V][wte of question, answer, end]; h = gpt2(X + wpe); loss = LM cross
 * entropy on the labelled rows + weight * MVM (Liu et al., ST-LLM, ECCV 2024, with the options of
 * the project's specification 1.7). The teacher runs on the N visual tokens only: GPT-2 is causal,
 * so they do not see the text; it is detached.
 *
 * Right padding needs no length mask: a padded position is only ever seen by later padded
 * positions.
 */
#ifndef GIFQA_MODELS_STLLM_H
#define GIFQA_MODELS_STLLM_H

#include "models/clip.h"
#include "models/gpt2.h"
#include "models/qformer.h"

typedef enum gq_mvm_mode { GQ_MVM_ZERO, GQ_MVM_DROP } gq_mvm_mode;

typedef struct gq_mvm_config {
    gq_mvm_mode mode;
    gq_mvm_kind loss;
    bool        hidden;                 /* zero-mode: masked tokens are not attended to           */
    bool        element;                /* zero-mode: one flag per element instead of per token   */
    bool        predictor;              /* Linear D->D and LayerNorm on the student               */
    bool        teacher_dropout;
    double      weight;
} gq_mvm_config;

typedef struct gq_stllm_config {
    gq_clip_config    clip;
    gq_clip_feature   feature;
    gq_qformer_config qformer;
    gq_gpt2_config    gpt2;
    gq_mvm_config     mvm;
    double            proj_scale;       /* times the standard deviation of proj.w                 */
    bool              mvm_declared;     /* there is a predictor to declare                        */
} gq_stllm_config;

gq_status gq_stllm_declare(gq_params *p, const gq_stllm_config *c, gq_error *err);

typedef struct gq_stllm_shape {
    int  batch, frames;                 /* B, k                                                   */
    int  text;                          /* T: question, answer and end tokens, padded             */
    int  labels;                        /* R: labelled rows, padded                               */
    int  kept;                     /* drop-mode: places for kept tokens (n), padded; else ignored */
    bool live;                      /* pixels go through CLIP; else cached features are the input */
    bool masked;                        /* a masked step with teacher and MVM loss                */
    bool train;                         /* dropout, gradients                                     */
} gq_stllm_shape;

typedef struct gq_stllm_tape {          /* handles of one recorded pass; inputs are to be filled, 0 = not there */
    gq_tape *tape;
    gq_stllm_shape shape;
    gq_t frames;                        /* u8 [B*k,S,S,3]                 in, when live           */
    gq_t features;                      /* real [B*k,E,V]                 in, when cached         */
    gq_t ids;                           /* i32 [B,T]                      in                      */
    gq_t pos;                       /* i32 [B,S], S = N+T or n+T      in: position of every token */
    gq_t rows, labels;               /* i32 [R] rows of the student's states; labels: -100 pads   */
    gq_t needed;            /* i32 [M+R]: position b*S + s of each row of the states, or none: all */
    gq_t inv_lm;                        /* real [1]: 1 / counted labels of the whole step         */
    gq_t u;                             /* real [B,N] or [B,N,D]: 1 kept  in, masked zero-mode    */
    gq_t visible;                /* real [B,S]: 0 hides a key      in, hidden or drop-mode (pads) */
    gq_t kept;                    /* i32 [B*n]: rows of V (b*N + j), -1 pads        in, drop-mode */
    gq_t student_rows;              /* i32 [M]: rows of the student's states compared: B*N or B*n */
    gq_t weight;                        /* real: which compared rows count, as many               */
    gq_t teacher_pos;                   /* i32 [B,N]                      in                      */
    gq_t inv_mvm;                       /* real [1]                       in                      */
    gq_t encoded, queries, visual;  /* after bridge, Q-Former, projection [B,N,D]: kept for tests */
    gq_t states, teacher;       /* after ln_f: student [B,S,D] or [M+R,D] of needed, teacher      */
    gq_t lm_loss, mvm_loss, loss;       /* scalars                                                */
    gq_t stats;                         /* [R,2]: nll and hit of each labelled row                */
} gq_stllm_tape;

/* Records one pass and finishes the tape. On success the caller frees out->tape. The last block of
 * the student computes the rows that a loss reads and no others (`needed`); keep: all rows, and the
 * named intermediate tensors stay readable. */
gq_status gq_stllm_record(gq_engine *e, gq_params *p, const gq_stllm_config *c, const gq_stllm_shape *shape,
                          const gq_plan_opts *plan, bool keep, gq_stllm_tape *out, gq_error *err);

/* The vision side alone: frames or features to V [B,N,D] (generation records it before the text).
 */
gq_t gq_stllm_visual(gq_tape *t, const gq_stllm_config *c, gq_stllm_tape *h);

#endif
