/* gemm.h - the packed matrix product of the CPU backend. Private to kernels/cpu.
 *
 *   z = A B (+ c if add) (+ bias per column)
 *   act == GQ_NONE:  c = z (+ r)      else:  c = z, y = act(z) (+ r)
 *
 * A is [m,k] (NN, NT) or stored as [k,m] (TN); B is [k,n] (NN, TN) or stored as [n,k] (NT); ld* are
 * floats from row to row. y may be c. `add` goes with neither act nor r. The tiles depend on the
 * problem only; k is never split between threads, so the bits do not depend on the pool. Workspace:
 * gemm_temp() bytes for at least as many threads as the pool has, 64-byte aligned.
 *
 * With GEMM_PAIRS and GEMM_AMX the operands are rounded to bf16 (nearest even) when they are
 * packed; sums stay in float. The two differ in the instructions that multiply: vectors, or the
 * tiles of AMX. The thin case packs nothing and rounds nothing: it waits for memory, not for
 * arithmetic. Only in files compiled with GQ_BF16_DOT, GQ_AMX.
 */
#ifndef GIFQA_CPU_GEMM_H
#define GIFQA_CPU_GEMM_H

#include <stdbool.h>

#include "kernels/cpu/vec.h"
#include "kernels/kernels.h"

typedef enum gemm_kind { GEMM_NN, GEMM_NT, GEMM_TN } gemm_kind;

typedef enum gemm_operands { GEMM_FLOATS, GEMM_PAIRS, GEMM_AMX } gemm_operands;

typedef struct gemm_call {
    gemm_kind     kind;
    gemm_operands operands;
    int64_t      m, n, k;
    const float *a, *b;
    int64_t      lda, ldb;
    float       *c;
    int64_t      ldc;
    bool         add;
    const float *bias;                  /* [n], NULL: none                                        */
    int          act;                   /* gq_act                                                 */
    float       *y;                     /* [m,n] at ldc; only with act                            */
    const float *r;                     /* [m,n] at ldr, NULL: none                               */
    int64_t      ldr;
} gemm_call;

#define gemm_temp GQ_NAME(gq_cpu_gemm_temp)
#define gemm      GQ_NAME(gq_cpu_gemm)

size_t gemm_temp(gemm_kind kind, int64_t m, int64_t n, int64_t k, gemm_operands operands,
                 int threads);
void   gemm(const gemm_call *g, gq_pool *pool, void *temp);

/* ---- shared by the files of the product ------------------------------------------------------ */

#define gemm_is_thin  GQ_NAME(gq_cpu_gemm_is_thin)
#define gemm_thin     GQ_NAME(gq_cpu_gemm_thin)
#define gemm_activate GQ_NAME(gq_cpu_gemm_activate)

/* The case of few rows against a large [n,k]: packing B would cost as much as the product. */
bool gemm_is_thin(gemm_kind kind, int64_t m, int64_t n, int64_t k);
void gemm_thin(const gemm_call *g, gq_pool *pool);

/* y = act(c) (+ r) on the m x n block at (i, j) */
void gemm_activate(const gemm_call *g, int64_t i, int64_t j, int64_t m, int64_t n);

#endif
