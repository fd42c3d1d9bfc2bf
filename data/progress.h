/* progress.h - how long jobs of this room tell their caller how far they are.
 *
 * The callback comes at most about five times a second, and once at the end. It may stop the work.
 */
#ifndef GIFQA_DATA_PROGRESS_H
#define GIFQA_DATA_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct gq_progress {
    uint64_t done, total;               /* items                                                  */
    uint64_t rejected;                  /* of those done, bad ones                                */
    double   rate;                     /* items per second since the start of this process's work */
    double   eta_s;                     /* seconds left; negative: not known yet                  */
} gq_progress;

/* false stops the work with GQ_ESTOPPED; what is finished stays. A NULL function is never
 * called. */
typedef bool (*gq_progress_fn)(void *ctx, const gq_progress *p);

typedef struct gq_ticker {       /* value; zero plus the fields of the first line, then gq_tick() */
    gq_progress_fn fn;
    void          *ctx;
    uint64_t       total, skipped; /* items; skipped: done by an earlier process, not in the rate */
    double         start_s, last_s;     /* monotonic clock                                        */
} gq_ticker;

/* false: the caller wants to stop. */
bool gq_tick(gq_ticker *t, uint64_t done, uint64_t rejected);

#endif
