/* rundir.h - a run directory: one owner at a time, a frozen configuration, append-only logs.
 *
 *   RUN/run.lock           held by the process that trains; the kernel releases it when that dies
 *   RUN/config.yaml        the resolved configuration the run was started with
 *   RUN/metrics.jsonl      one object a step, evaluations and epochs between them
 *   RUN/log.txt            what a person should know, with times
 *   RUN/predictions.jsonl  answers of the last evaluation
 *   RUN/checkpoints/       train/checkpoint.h
 *   RUN/frozen.safetensors parameters that are never trained (train/snapshot.h)
 *   RUN/products.txt       with engine.tune: how matrix products are computed on this GPU
 * A killed run leaves whole lines only; lines of steps that will be done again are cut off on resume.
 */
#ifndef GIFQA_TRAIN_RUNDIR_H
#define GIFQA_TRAIN_RUNDIR_H

#include "core/io.h"
#include "train/config.h"

typedef struct gq_rundir {
    char      *path;                    /* the directory                                          */
    gq_lock   *lock;
    gq_append *metrics, *log;
    bool       made;                    /* by this process: it was not there before               */
} gq_rundir;

/* Makes the directory if needed, takes the lock (GQ_EBUSY with the holder) and opens the logs. */
gq_status gq_rundir_open(const char *path, gq_rundir *out, gq_error *err);
void      gq_rundir_close(gq_rundir *r);
/* Before close, of a start that failed: removes the directory when this process made it and only the lock and the
 * logs are in it. */
void      gq_rundir_discard(const gq_rundir *r);

/* Writes config.yaml when there is none. When there is one, *old is it and *had true. */
gq_status gq_rundir_config(gq_rundir *r, const gq_config *c, gq_config *old, bool *had, gq_error *err);
/* Replaces config.yaml (a continued run with announced differences). */
gq_status gq_rundir_freeze(gq_rundir *r, const gq_config *c, gq_error *err);
gq_status gq_rundir_read_config(const char *path, gq_config *out, gq_error *err);    /* for readers, no lock */
/* One line in log.txt with the time in front; failures are not errors of the run. */
void      gq_rundir_note(gq_rundir *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
