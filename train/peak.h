/* peak.h - what this machine can do at best, measured: the yardstick beside a trainer's GFLOP/s.
 *
 * Each measurement repeats one piece of work for about `seconds` (at least twice) and takes the
 * fastest repetition, because others may use the machine. Memory is allocated and freed inside. A
 * result of 0: not enough memory, or the backend computes in double.
 */
#ifndef GIFQA_TRAIN_PEAK_H
#define GIFQA_TRAIN_PEAK_H

#include "core/engine.h"

/* Matrix products of the engine's backend on all threads of its pool, or on its device, through the op
 * `linear`: GFLOP/s. */
double gq_measure_gemm(gq_engine *e, double seconds);

/* a = b + s c over arrays that no cache holds, on all threads: GB/s read and written. */
double gq_measure_memory(gq_pool *pool, double seconds);

#endif
