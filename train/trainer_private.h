/* trainer_private.h - the parts of train/trainer*.c: state, opening and resuming, logging. */
#ifndef GIFQA_TRAIN_TRAINER_PRIVATE_H
#define GIFQA_TRAIN_TRAINER_PRIVATE_H

#include "data/loader.h"
#include "train/rundir.h"
#include "train/snapshot.h"
#include "train/step.h"
#include "train/trainer.h"

enum { GQ_TEXT_SHAPES = 64 };

typedef struct gq_trainer {
    gq_config            cfg;           /* with train.steps resolved                              */
    const gq_train_opts *o;
    gq_rundir            dir;
    gq_net              *net;
    bool                 pixels;        /* training or evaluation starts from pixels, not features */
    gq_dataset          *data, *val;    /* val may be NULL                                        */
    gq_tokenizer        *tok;
    gq_loader           *loader;
    gq_run_state         state;
    int64_t              resumed_from;  /* step, -1 fresh                                         */
    int                  text[GQ_TEXT_SHAPES], texts;        /* padded text lengths that occur    */
    int                  stage;  /* index into train.stages, stages.n after the last; -1 at first */
    gq_step              step;          /* under way, or the last one                             */
    gq_sample           *sample;        /* [batch]                                                */
    double               peak;          /* GFLOP/s                                                */
    double               started, first_step_s, steps_s;     /* clock; sums                       */
    int64_t              steps_here;    /* done by this process                                   */
    gq_step_info         info;          /* of the last step with a result                         */
    double               settled, waited;      /* clock at the last result; loader's waiting then */
} gq_trainer;

/* trainer_open.c */
gq_status gq__trainer_open(gq_trainer *t, const gq_config *c, const gq_train_opts *o, gq_error *err);
gq_status gq__trainer_data(gq_trainer *t, gq_error *err);    /* data, net, buffers: without a run directory */
gq_status gq__trainer_stage(gq_trainer *t, int64_t step, gq_error *err);     /* freezes what the stage freezes */
gq_status gq__trainer_record(gq_trainer *t, bool masked_too, gq_error *err); /* all passes this stage will need */
void      gq__trainer_close(gq_trainer *t);
/* trainer_check.c */
gq_status gq__trainer_check(gq_trainer *t, gq_error *err);   /* names and sizes, against data, vocabulary and model  */
void      gq__trainer_memory(const gq_trainer *t, gq_dry_run *out);          /* its byte fields, of what is recorded */
/* Records what this stage will need and, when that fits engine.memory_limit and the device, takes the memory. */
gq_status gq__trainer_plan(gq_trainer *t, gq_error *err);
/* trainer.c: a step is asked for, its result is taken and logged when no more than `most` are left without one */
gq_status gq__trainer_step(gq_trainer *t, gq_error *err);
gq_status gq__trainer_settle(gq_trainer *t, int most, gq_error *err);
/* products.c: with engine.tune on a GPU, else nothing to do */
gq_status gq__trainer_products_take(gq_trainer *t, gq_error *err);
gq_status gq__trainer_products_keep(gq_trainer *t, gq_error *err);
/* trainer_log.c */
void      gq__trainer_note(gq_trainer *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
gq_status gq__trainer_log_step(gq_trainer *t, gq_error *err);
gq_status gq__trainer_log_epoch(gq_trainer *t, int64_t epoch, gq_error *err);
gq_status gq__trainer_log_evaluation(gq_trainer *t, const gq_evaluation *e, gq_error *err);

#endif
