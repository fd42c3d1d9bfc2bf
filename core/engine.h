/* engine.h - a backend, a thread pool and the arenas that all tapes of a run share.
 *
 * Invariants: an engine is used by one thread at a time; what runs in parallel is inside the
 * kernels. Arenas: PARAM  weights                     core/params.c, allocated by gq_params_seal()
 *   STATE  gradient, first and second moment, same order and offsets as PARAM          likewise
 *   ACT    activations and their gradients, offsets by lifetime; as large as the largest finished
 * tape TEMP   workspace of one kernel, the largest any node asks for HOST   inputs, one block per
 * tape They are allocated while tapes are finished, never while one runs. They lie in the memory of
 * the backend's device when it has one; then inputs are written on the host and copied as one block
 * when the tape runs, and what a tape computed is read with gq_get_real().
 */
#ifndef GIFQA_CORE_ENGINE_H
#define GIFQA_CORE_ENGINE_H

#include <stdbool.h>

#include "kernels/kernels.h"

typedef struct gq_arena {
    gq_device *device;                  /* whose memory it is; NULL: the host's                   */
    void    *base;                      /* page-aligned; fresh ones are zero                      */
    size_t   bytes, held;               /* asked for so far; there at base                        */
    bool     planned;                   /* between gq_engine_plan() and gq_engine_reserve()       */
    uint32_t generation;                /* changes when base moves: bound tapes must bind again   */
} gq_arena;

typedef struct gq_engine {
    const gq_backend *backend;
    gq_pool          *pool;
    gq_arena          act, temp;
    gq_work           work;             /* what kernels get: pool and temp                        */
    gq_step_block     step;             /* what kernels read: seed, step, micro-batch             */
} gq_engine;

typedef struct gq_engine_opts {
    const gq_backend *backend;          /* required                                               */
    int               threads;          /* 0: as many as cores                                    */
    uint64_t          seed;
} gq_engine_opts;

gq_status gq_engine_new(const gq_engine_opts *o, gq_engine **out, gq_error *err);
void      gq_engine_free(gq_engine *e);           /* after all its tapes and params; NULL allowed */

/* ACT and TEMP take no memory from now on: they count what is asked for, so that a run knows its plan before it
 * takes what it may not get. Tapes may be recorded, not run. */
void      gq_engine_plan(gq_engine *e);
/* Takes what was planned. */
gq_status gq_engine_reserve(gq_engine *e, gq_error *err);

/* Makes an arena at least `bytes` large; when it grows it is fresh: zero-filled. */
gq_status gq_arena_reserve(gq_arena *a, size_t bytes, gq_error *err);
void      gq_arena_free(gq_arena *a);

/* Makes the workspace of kernels at least `bytes` large. */
gq_status gq_engine_workspace(gq_engine *e, size_t bytes, gq_error *err);
/* Memory that kernels of this engine work in, zero-filled and 64-byte aligned, NULL: no room; for caches that
 * outlive a tape. */
void     *gq_engine_alloc(gq_engine *e, size_t bytes);
void      gq_engine_release(gq_engine *e, void *p);          /* NULL allowed                      */
void      gq_engine_copy(gq_engine *e, void *dst, const void *src, size_t bytes);      /* both from gq_engine_alloc() */

static inline size_t gq_dtype_size(int32_t dtype)
{
    return dtype == GQ_F64 ? 8 : dtype == GQ_U8 ? 1 : dtype == GQ_BF16 ? 2 : 4;
}

#endif
