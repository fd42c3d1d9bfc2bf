/* trainer.h - the training loop: data, passes, optimiser, logs, evaluation, checkpoints, and an exact resume.
 *
 * A run is a pure function of its configuration and data: step s draws the samples at positions given by the loader,
 * the mask by train/mask.h, dropout by Philox, and updates in a fixed order. So a run killed at any moment and
 * started again by the same command continues as if nothing had happened, to the bit, metrics included (time
 * fields aside). Everything needed is recorded before the first step; from the second step on no step allocates.
 *
 * Nothing here prints: the caller is told through gq_train_events. gq_trainer_stop() may be called from a signal
 * handler: the step under way is finished, the state saved, and gq_train() returns GQ_ESTOPPED.
 */
#ifndef GIFQA_TRAIN_TRAINER_H
#define GIFQA_TRAIN_TRAINER_H

#include <signal.h>

#include "train/config.h"
#include "train/evaluate.h"

typedef struct gq_step_info {
    int64_t step, total;                /* steps done, of                                         */
    int64_t epoch;                      /* samples drawn / samples in the data, from 0            */
    bool    masked;
    double  loss, lm_loss, mvm_loss, ppl, grad_norm, lr;
    double  seconds;                    /* of this step                                           */
    double  samples_per_s, tokens_per_s, gflops, data_wait_s, eta_s;
    double  gemm_peak;                  /* GFLOP/s of this machine, 0: not measured               */
    uint64_t rss;                       /* bytes, peak                                            */
} gq_step_info;

typedef struct gq_train_events {
    void *ctx;
    void (*note)(void *ctx, const char *text);                              /* for people         */
    void (*step)(void *ctx, const gq_step_info *i);
    void (*evaluated)(void *ctx, int64_t step, const gq_evaluation *e, bool best);
} gq_train_events;

typedef enum gq_resume { GQ_RESUME_AUTO, GQ_RESUME_NEVER, GQ_RESUME_MUST, GQ_RESUME_PATH } gq_resume;

typedef struct gq_train_opts {
    const char     *run_dir;
    gq_resume       resume;
    const char     *resume_path;        /* a checkpoint directory, GQ_RESUME_PATH                 */
    gq_train_events events;
    volatile sig_atomic_t *stop;        /* becomes non-zero when the run should end; may be NULL  */
} gq_train_opts;

typedef struct gq_train_result {
    int64_t  steps, resumed_from;       /* done in all; -1 fresh                                  */
    double   loss, lm_loss, mvm_loss;   /* of the last step here; NAN: no step, or not masked     */
    double   best, seconds;            /* best validation accuracy, -1 none; time of this process */
    uint64_t rss;
} gq_train_result;

gq_status gq_train(const gq_config *c, const gq_train_opts *o, gq_train_result *out, gq_error *err);

typedef struct gq_dry_run {           /* what a run would need, by arithmetic, then one real step */
    double   param_bytes, state_bytes, act_bytes, temp_bytes, host_bytes, data_bytes;
    double   flops;                    /* a step, forward and backward, masked when masking is on */
    double   predicted_s, measured_s;   /* a step                                                 */
    double   gemm_peak;                 /* GFLOP/s                                                */
    int64_t  trained, total;            /* parameters                                             */
    double   loss;
} gq_dry_run;

gq_status gq_train_dry_run(const gq_config *c, gq_dry_run *out, gq_error *err);

#endif
