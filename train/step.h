/* step.h - one optimiser step: masks, forward, backward, gradient norm, AdamW.
 *
 * A step is gq_step_begin(), gq_step_micro() for each micro-batch in order, gq_step_end(), and later
 * gq_step_result(). On a device nothing but the last waits: the next step may be begun before the result of
 * this one is asked for, so that the device never is without work; no more than GQ_STEPS_FLYING may be without
 * a result, and of several micro-batches only one, since the inputs of two micro-batches are kept to find a bad
 * value in. Losses of micro-batches are scaled by the denominators of the whole step, so the labels of all of
 * them are counted before the first. When one of these fails the parameters are as before the step that it
 * names, and so they are for steps begun after it. Who has samples calls it: the trainer from shards, a
 * benchmark from generated ones.
 *
 * Ownership: a gq_step borrows configuration and net; its buffers are its own. No step allocates
 * when the passes it needs have been recorded, by gq_step_record(), before.
 */
#ifndef GIFQA_TRAIN_STEP_H
#define GIFQA_TRAIN_STEP_H

#include "train/feed.h"
#include "train/net.h"

enum { GQ_STEPS_FLYING = 2 };

typedef struct gq_step_seconds {        /* wall clock                                             */
    double feed, forward, backward, norm, update;    /* on a device forward is what the host has to do for it */
} gq_step_seconds;

typedef struct gq_step_outcome {
    uint64_t   number;                  /* from 0                                                 */
    bool       masked;
    double     lm, mvm;                 /* losses, of all micro-batches                           */
    double     norm, lr;                /* of the gradient, before clipping; learning rate        */
    double     flops;                   /* forward and backward                                   */
    uint64_t   counted, hits, tokens;   /* labelled rows, right ones, text tokens                 */
} gq_step_outcome;

typedef struct gq_micro {               /* what a result needs to know of a micro-batch           */
    gq_tape   *tape;
    void      *inputs;                  /* gq_tape_inputs()                                       */
    int        rows;                    /* labelled ones                                          */
    bool       masked;                  /* has an mvm loss                                        */
    int64_t    first;                   /* question                                               */
} gq_micro;

typedef struct gq_flight {              /* a step without a result                                */
    gq_step_outcome out;
    gq_micro  *micro;                   /* [accumulate]                                           */
    double    *norm;                    /* [1], then read: page-locked on a device                */
    float     *read;                    /* [accumulate][2 + 2*labels]: lm, mvm, stats             */
    uint64_t   point;                   /* of the device: everything has been read                */
} gq_flight;

typedef struct gq_step {
    const gq_config *cfg;               /* with train.steps resolved                              */
    gq_net    *net;                     /* set before the first pass is recorded                  */
    bool       live;                    /* samples hold pixels, not features                      */
    int        n;                       /* visual tokens a sample                                 */
    int        labels;                  /* labelled rows of every pass, padding included          */
    uint8_t   *keep;                    /* [batch*n]                                              */
    float     *elements;                /* [batch*n*D] for element granularity, else NULL         */
    uint64_t   table_key;               /* the net's frozen_key when a device's update was made ready */
    gq_flight  flight[GQ_STEPS_FLYING]; /* by number                                              */
    int        flying;
    uint64_t   oldest;                  /* number of the first one without a result               */
    gq_device *device;                  /* of the net's backend, set by gq_step_record()          */
    /* of the step under way, or the last one */
    gq_flight *now;
    gq_tape   *tape;                    /* of the last micro-batch                                */
    gq_feed_opts    feed;
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
/* samples: [train.batch], not read any more afterwards. GQ_ENUMERIC names the first value that is not finite. */
gq_status gq_step_micro(gq_step *s, int micro, const gq_sample *samples, gq_error *err);
gq_status gq_step_end(gq_step *s, gq_error *err);
/* Of the first step without a result; waits for it. out is filled as far as known when it fails. */
gq_status gq_step_result(gq_step *s, gq_step_outcome *out, gq_error *err);

#endif
