/* threads.h - the engine's own thread pool.
 *
 * Work is cut into a fixed grid of tiles that depends on the problem only, never on the number of
 * threads; each tile is computed wholly by one thread with one kernel, so results are the same bits
 * for any number of threads. Which thread takes which tile is decided at run time (an atomic
 * counter). Workers spin briefly for the next call, then sleep on a futex: between the ops of a
 * step they are hot, between steps they cost nothing.
 *
 * gq_parallel() is not re-entrant: tiles must not call it. One caller at a time per pool.
 */
#ifndef GIFQA_CORE_THREADS_H
#define GIFQA_CORE_THREADS_H

#include <stdint.h>

#include "core/status.h"

typedef struct gq_pool gq_pool;

/* thread: 0..gq_pool_size()-1, for per-thread scratch memory only - never for anything that reaches
 * a result */
typedef void (*gq_tile_fn)(void *ctx, int64_t tile, int thread);

gq_status gq_pool_new(int threads, gq_pool **out, gq_error *err);   /* threads: 1..256, the caller is one of them */
void      gq_pool_free(gq_pool *p);                                 /* NULL allowed               */
int       gq_pool_size(const gq_pool *p);                           /* NULL: 1                    */
void      gq_parallel(gq_pool *p, int64_t tiles, gq_tile_fn fn, void *ctx);   /* NULL pool: in the caller */

int       gq_cpu_count(void);                                       /* cores this process may use */

#endif
