/* bench.h - private to gifqa-bench: its commands and what they share.
 *
 * Invariants: a command parses its own options, prints a table for people (Markdown, so that
 * drivers paste it into a document) or with --json one object, and returns an exit code; it owns
 * what it opens. Times are seconds of the monotonic clock. Nothing here is timed in tests: numbers
 * belong to a quiet machine.
 */
#ifndef GIFQA_TOOLS_BENCH_H
#define GIFQA_TOOLS_BENCH_H

#include "core/io.h"
#include "core/threads.h"
#include "tools/cli.h"

int bench_step(int argc, char **argv);                       /* bench_step.c                      */
int bench_ask(int argc, char **argv);                        /* bench_ask.c                       */
int bench_features(int argc, char **argv);                   /* bench_features.c                  */
int bench_t5(int argc, char **argv);                         /* bench_t5.c                        */
int bench_gpu(int argc, char **argv);                        /* bench_gpu.c                       */
int bench_gemm(int argc, char **argv);                       /* bench_gemm.c                      */
int bench_gif(int argc, char **argv);                        /* bench_data.c                      */
int bench_image(int argc, char **argv);
int bench_tokenize(int argc, char **argv);
int bench_load(int argc, char **argv);                       /* bench_load.c                      */
int bench_shards(int argc, char **argv);                     /* bench_shards.c                    */

/* ---- bench_common.c -------------------------------------------------------------------------- */

/* Seconds since this process was started by the kernel, dynamic linking included. */
double bench_since_launch(void);
/* Middle value (mean of the two middle ones) of v[n], n >= 1; v is sorted by it. */
double bench_median(double *v, size_t n);
/* Ordinary numbers around zero, a pure function of (seed, index): no zeros, no subnormals. */
void   bench_fill(float *x, size_t n, uint32_t seed);
/* "AMD EPYC ..., 2 threads, ..." */
void   bench_machine(char *out, size_t size);

/* ---- bench_fma.c ----------------------------------------------------------------------------- */

/* Fused multiply-adds in registers on all threads of the pool, two operations each, as wide as the
 * backend `rung` computes ("cpu-avx2", ...): GFLOP/s, the fastest of several repetitions within
 * `seconds`; 0: unknown for this rung. */
double bench_fma_peak(gq_pool *pool, const char *rung, double seconds);

#endif
