/* snapshot.h - the whole state of a training run in a checkpoint directory, and back, bit for bit.
 *
 *   weights.safetensors   every parameter that is trained, float32, by its own name
 *   optim.safetensors     "m.<name>", "v.<name>": first and second moment of each
 *   state.json            step and the little that is not a function of it
 * Parameters that are never trained lie once in RUN/frozen.safetensors, whose SHA-256 the state names. A checkpoint is
 * written by core/safetensors.h in registry order: the same state gives the same bytes on any machine.
 */
#ifndef GIFQA_TRAIN_SNAPSHOT_H
#define GIFQA_TRAIN_SNAPSHOT_H

#include "train/net.h"

typedef struct gq_run_state {
    uint64_t step;                      /* optimiser steps done                                   */
    uint64_t samples;                   /* samples drawn so far: the loader's position            */
    uint64_t metrics_bytes;             /* of metrics.jsonl that belong to this history           */
    double   best;                      /* best validation score so far, -1 none                  */
    uint64_t best_step;                 /* where; UINT64_MAX none                                 */
    uint64_t evaluated_step;            /* of the last evaluation; 0 none                         */
    uint64_t epoch_labels, epoch_rows;  /* sums of the running epoch: labelled tokens, hits       */
    double   epoch_nll, epoch_mvm, epoch_loss;               /* sums                              */
    uint64_t epoch_masked, epoch_steps;
    char     tokenizer_sha256[65];      /* of the data it was trained on                          */
    char     frozen_sha256[65];         /* of frozen.safetensors, "" when nothing is frozen       */
} gq_run_state;

/* Bytes a checkpoint of this net needs, about. */
uint64_t  gq_snapshot_bytes(const gq_net *n);
/* Writes checkpoint `state->step` of the run: verified and renamed, or nothing (train/checkpoint.h). */
gq_status gq_snapshot_save(gq_net *n, const char *run_dir, const gq_run_state *state, gq_error *err);
/* optimiser: also the moments (training). The frozen file is read in any case when there are frozen parameters: that of
 * run_dir, or that of the run the checkpoint lies in. */
gq_status gq_snapshot_load(gq_net *n, const char *run_dir, const char *ckpt_dir, bool optimiser, gq_run_state *state,
                           gq_error *err);
/* Writes RUN/frozen.safetensors, once in the history of a run; names it in *state. */
gq_status gq_snapshot_frozen(gq_net *n, const char *run_dir, gq_run_state *state, gq_error *err);

/* ---- a checkpoint left in its files: memory maps, one parameter read at a time -------------------------------- */

typedef struct gq_stored gq_stored;

/* p need not be sealed: that every parameter is there with its shape is checked. */
gq_status gq_stored_open(const gq_params *p, const char *run_dir, const char *ckpt_dir, gq_stored **out,
                         gq_run_state *state, gq_error *err);
void      gq_stored_close(gq_stored *f);                     /* NULL allowed                      */
/* The read of a gq_hf_source; q is one of the parameters it was opened with. */
gq_status gq_stored_read(void *stored, const gq_param *q, int64_t first, float *dst, int64_t n, gq_error *err);

#endif
