/* net.h - a model ready to run: engine, parameters with their groups and first values, and its recorded passes.
 *
 * Life: gq_net_open() builds everything a configuration asks for and fills the weights (seeded random or from files);
 * gq_net_pass() gives the recorded pass of a shape, recording it on first use. Whoever trains records the shapes it
 * will need before its first step. One thread uses a net at a time.
 */
#ifndef GIFQA_TRAIN_NET_H
#define GIFQA_TRAIN_NET_H

#include "models/hf.h"
#include "models/stllm.h"
#include "models/t5.h"
#include "train/config.h"

typedef struct gq_net_report {          /* what was loaded, for the log                           */
    gq_load_report family[GQ_HF_FAMILIES];
    bool           given[GQ_HF_FAMILIES];                   /* weights were given for this family */
    int            random;              /* parameters with seeded random values                   */
    int64_t        trained, total;      /* elements                                               */
} gq_net_report;

/* A recorded pass of either kind of model. What a step reads of it is on top. */
typedef struct gq_pass {
    gq_tape       *tape;
    gq_stllm_shape shape;               /* what it was recorded for; of a T5 with frames = 0, text the
                                           length of sources and labels / batch that of targets   */
    gq_t           lm_loss, mvm_loss, stats;        /* mvm_loss may be none                   */
    gq_cfg_kind    kind;
    union { gq_stllm_tape stllm; gq_t5_tape t5; } in;       /* its inputs, by kind                */
    uint64_t       frozen_key;          /* which parameters were frozen when it was recorded      */
} gq_pass;

typedef struct gq_net {
    gq_config       cfg;
    gq_stllm_config model;              /* of kind stllm                                          */
    gq_t5_config    t5;                 /* of kind t5                                             */
    gq_engine      *engine;
    char            device[600];        /* for people: where it runs, and why not on a GPU that is there */
    gq_params      *params;
    gq_pass       **pass;               /* recorded so far                                        */
    int             passes, pass_cap;
    uint64_t        frozen_key;         /* changes with gq_net_freeze()                           */
} gq_net;

typedef enum gq_net_use {
    GQ_NET_INFER,
    GQ_NET_TRAIN,
    GQ_NET_DECLARE,                     /* names and shapes; no memory, nothing can be computed   */
} gq_net_use;

/* weights: fill from model.init / model.weights.*; false leaves them for a checkpoint to fill. */
gq_status gq_net_open(const gq_config *c, gq_net_use use, bool weights, gq_net **out, gq_net_report *report,
                      gq_error *err);
void      gq_net_close(gq_net *n);                           /* NULL allowed                      */

/* The pass of this shape; owned by the net. */
gq_status gq_net_pass(gq_net *n, const gq_stllm_shape *shape, gq_pass **out, gq_error *err);

/* Freezes what a stage freezes (glob list), thaws the rest of the trainable parameters. */
void      gq_net_freeze(gq_net *n, const gq_patterns *freeze);

/* Gives back the memory of frozen towers that no pass of a training will read: CLIP's text side, and its
 * vision side when no pass, evaluation included, starts from pixels. Whoever wants their values saves
 * them before. */
void      gq_net_release(gq_net *n, bool pixels);

/* The models' own configurations (sizes, activations, options) of a run's configuration. */
void      gq_net_model(const gq_config *c, gq_stllm_config *m);
void      gq_net_t5(const gq_config *c, gq_t5_config *m);
/* The part that reads and writes text: rows of its token table, where its vocabulary and its weights are
 * ("" not given), and the keys that say so. */
typedef struct gq_language {
    int64_t     vocab;
    const char *vocab_key, *tokenizer, *tokenizer_key, *weights;
} gq_language;
gq_language gq_net_language(const gq_config *c);
/* Frame tokens that a sample has in front of its text; 0 for T5. */
int       gq_net_visual(const gq_config *c);
const gq_backend *gq_net_backend(const gq_config *c, gq_error *err);        /* NULL: err says why */
/* The same. refused: why device auto did not take a GPU though its driver is there; untouched otherwise. */
const gq_backend *gq_net_backend_of(const gq_config *c, gq_error *refused, gq_error *err);

#endif
