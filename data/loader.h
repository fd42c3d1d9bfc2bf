/* loader.h - batches of a dataset for the trainer, read ahead by a few threads.
 *
 * Which question stands at position p of a run is a pure function of (dataset, seed, stages, p):
 * the state of a loader is one integer, and a resumed run sees what the uninterrupted one would
 * have seen. The order does not depend on the number of threads. Two rules, chosen by each stage:
 *   all weights 0   epochs: a keyed permutation of all questions, another one each epoch
 *   weights w_k     blocks of sum(w) samples in which type k has exactly w_k places, shuffled;
 *                   the questions of a type come in epochs of their own: after each block, none was
 *                   drawn twice more than another
 *
 * Invariants: gq_loader_next() gives batches in order; between next and release the batch is the
 * caller's. After open and after each seek nothing is allocated: it holds 4 bytes a question, and
 * the batches read ahead. One consumer thread.
 */
#ifndef GIFQA_DATA_LOADER_H
#define GIFQA_DATA_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/shard.h"

typedef struct gq_loader_stage {
    uint64_t first;                     /* position (samples of all ranks) where it begins        */
    uint32_t weight[GQ_SHARD_TYPES];    /* places of each type in a block, 0..1000                */
} gq_loader_stage;

typedef struct gq_loader_opts {
    int32_t  batch;                     /* samples, >= 1                                          */
    int32_t  threads;                   /* readers; 0: 2                                          */
    int32_t  ring;                      /* batches read ahead; 0: 4                               */
    uint64_t seed;
    bool     shuffle;                   /* false: the order of the dataset (no weights then)      */
    bool     frames, tokens;            /* what to read; neither: questions only                  */
    uint64_t stop;                      /* samples of all ranks after which it ends; 0: never     */
    uint32_t max_bad;               /* damaged GIFs replaced by a neighbour before it is an error */
    int32_t  rank, world;       /* this rank takes positions rank, rank + world, ...; 0, 0: alone */
    int32_t  stages;                    /* 0: one stage of epochs                                 */
    const gq_loader_stage *stage;       /* [stages], ascending; the first begins at 0; copied     */
} gq_loader_opts;

typedef struct gq_batch {
    uint64_t       position;            /* of the first sample, counted in samples of this rank   */
    int32_t        count;             /* samples; fewer than `batch` only at the end, 0: after it */
    const int64_t *index;               /* [count] question number in the dataset                 */
    const gq_qa   *qa;                  /* [count] texts, ids, type, GIF                          */
    const uint8_t *frames;              /* [count,T,S,S,3] or NULL                                */
    const float   *tokens;              /* [count,T,N,D] or NULL                                  */
} gq_batch;

typedef struct gq_loader gq_loader;

/* The dataset must outlive the loader. Reading starts at once, at position 0. */
gq_status gq_loader_open(const gq_dataset *d, const gq_loader_opts *o, gq_loader **out,
                         gq_error *err);
void      gq_loader_close(gq_loader *l);                     /* NULL allowed                      */
/* The next batch; waits for it. After an error the loader only repeats it until a seek. */
gq_status gq_loader_next(gq_loader *l, gq_batch *out, gq_error *err);
void      gq_loader_release(gq_loader *l);             /* the batch last given may be overwritten */
/* Continues at this position (samples of this rank); forgets what was read ahead. */
gq_status gq_loader_seek(gq_loader *l, uint64_t position, gq_error *err);

double    gq_loader_wait_seconds(const gq_loader *l);        /* the consumer waited so far        */
uint32_t  gq_loader_bad(const gq_loader *l);                 /* damaged GIFs replaced so far      */
/* Question at a position counted over all ranks: the pure function itself. */
int64_t   gq_loader_index(const gq_loader *l, uint64_t position);

#endif
