/* step.h - one optimiser step: masks, forward, backward, gradient norm, AdamW.
 *
 * A step is gq_step_begin(), gq_step_micro() for each micro-batch in order, gq_step_end(). Losses
 * of micro-batches are scaled by the denominators of the whole step, so the labels of all of them
 * are counted before the first. When gq_step_micro() or gq_step_end() fails the parameters are as
 * before the step. Who has samples calls it: the trainer from shards, a benchmark from generated
 * ones.
 *
 * Ownership: a gq_step borrows configuration and net; its buffers are its own. No step allocates
 * when the passes it needs have been recorded, by gq_step_record(), before.
 */
#ifndef GIFQA_TRAIN_STEP_H
#define GIFQA_TRAIN_STEP_H

#include "train/feed.h"
#include "train/net.h"

typedef struct gq_step_seconds {        /* wall clock                                             */
    double feed, forward, backward, norm, update;    /* on a device forward is all of a micro-batch */
} gq_step_seconds;

typedef struct gq_step {
    const gq_config *cfg;               /* with train.steps resolved                              */
    gq_net    *net;                     /* set before the first pass is recorded                  */
    bool       live;                    /* samples hold pixels, not features                      */
    int        n;                       /* visual tokens a sample                                 */
    int        labels;                  /* labelled rows of every pass, padding included          */
    uint8_t   *keep;                    /* [batch*n]                                              */
    float     *elements;                /* [batch*n*D] for element granularity, else NULL         */
    float     *stats;                   /* [labels*2]                                             */
    uint64_t   table_key;               /* the net's frozen_key when a device's update was made ready */
    /* of the step under way, or the last one */
    uint64_t   number;                  /* from 0                                                 */
    bool       masked;
    gq_tape   *tape;                    /* of the last micro-batch                                */
    gq_feed_opts    feed;
    double     lm, mvm;                 /* losses, of all micro-batches                           */
    double     norm, lr;                /* of the gradient, before clipping; learning rate        */
    double     flops;                   /* forward and backward                                   */
    uint64_t   counted, hits, tokens;   /* labelled rows, right ones, text tokens                 */
    gq_step_seconds seconds;
} gq_step;

/* Buffers for batches of c; labels: rows with a label of a full batch, padded as gq_feed_shape()
 * does. */
gq_status gq_step_open(gq_step *s, const gq_config *c, bool live, int labels, gq_error *err);
void      gq_step_close(gq_step *s);                         /* a zeroed one is allowed           */

/* Records the passes for texts padded to `text`, of plain and (masked_too) masked steps, as far
 * as the configuration can need them. */
gq_status gq_step_record(gq_step *s, int text, bool masked_too, gq_error *err);

typedef struct gq_step_bytes { double param, state, act, temp, host; } gq_step_bytes;
/* What the recorded passes of a net need, by arena: the memory plan. */
gq_step_bytes gq_step_plan(const gq_net *n);

/* counted: labels of all micro-batches; end_id: the end token. */
void      gq_step_begin(gq_step *s, uint64_t number, uint64_t counted, int end_id);
/* samples: [train.batch]. GQ_ENUMERIC names the first value that is not finite. */
gq_status gq_step_micro(gq_step *s, int micro, const gq_sample *samples, gq_error *err);
gq_status gq_step_end(gq_step *s, gq_error *err);

#endif
