/* session.h - a trained model opened for inference, from the directory of a run or of an export.
 *
 *   RUN     config.yaml, checkpoints/, frozen.safetensors, tokenizer/       (train/rundir.h)
 *   EXPORT  gifqa.json, config.yaml, clip/, qformer/, gpt2/, ...            (train/export.h)
 * A run may be training at the same time: nothing is locked or changed. Everything that is read is verified first (the
 * manifest of the checkpoint, the checksums of the export). What is missing or broken is GQ_EWEIGHTS and named.
 *
 * Ownership: a session owns net and tokenizer; who borrows them closes first. One thread at a time.
 */
#ifndef GIFQA_TRAIN_SESSION_H
#define GIFQA_TRAIN_SESSION_H

#include "data/tokenizer.h"
#include "train/net.h"
#include "train/snapshot.h"

typedef enum gq_session_which {
    GQ_SESSION_BEST,                    /* by validation; without one, the newest                 */
    GQ_SESSION_LAST,                    /* the newest healthy checkpoint                          */
} gq_session_which;

typedef struct gq_session_opts {
    int                threads;         /* 0: as the configuration says                           */
    gq_session_which   which;           /* of a run's checkpoints; an export has one state        */
    const char *const *set;             /* overrides of the configuration, "a.b=c"                */
    size_t             n_set;
    bool               stored;   /* of a run: weights stay in their files, enough for gq_export() */
} gq_session_opts;

typedef struct gq_session {
    gq_config     cfg;                  /* with overrides                                         */
    gq_net       *net;                  /* GQ_NET_DECLARE when `stored` is not NULL               */
    gq_stored    *stored;               /* NULL: the weights are in net                           */
    gq_tokenizer *tokenizer;
    char         *path;                 /* as it was opened                                       */
    bool          exported;             /* an export, not a run                                   */
    uint64_t      step;                 /* optimiser steps behind these weights                   */
    double        score;                /* best validation accuracy of the run, -1 unknown        */
    char          note[512];            /* what a person should know, "" nothing                  */
} gq_session;

/* o: NULL for the defaults. */
gq_status gq_session_open(const char *path, const gq_session_opts *o, gq_session **out, gq_error *err);
void      gq_session_close(gq_session *s);                   /* NULL allowed                      */

#endif
