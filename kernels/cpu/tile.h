/* tile.h - the register tile of every matrix product here: up to MR x NR of C, one pass over k.
 *
 * C[i][j] = sum_k A[i][k] B[k][j] (+ init[i][j]) (+ bias[j]). B is read in rows of NR floats at
 * stride bs, as a packed panel (bs = NR) or in place. A is read either by columns (packed panels,
 * or the stored transpose: element i of column k at a[k*as + i]) or by rows (element k of row i at
 * a[i*as + k]). Private to kernels/cpu.
 */
#ifndef GIFQA_CPU_TILE_H
#define GIFQA_CPU_TILE_H

#include "kernels/cpu/vec.h"

enum {
    NR = 2 * VL,                        /* columns of a tile: two vectors                         */
    MR = VL == 16 ? 12 : 6,             /* rows: as many as the registers hold                    */
    MR_STEP = MR / 3,                   /* tiles exist with MR, 2/3 MR and 1/3 MR rows            */
};

typedef struct tile_job {
    const float *a, *b;
    int64_t      as, bs, k;
    const float *init;                  /* NULL: zero; may be c                                   */
    int64_t      ldi;
    const float *bias;                  /* [cols], NULL: none                                     */
    float       *c;
    int64_t      ldc;
    int          lo, hi;                /* rows lo..hi-1 of the tile are stored                   */
    int64_t      cols;                  /* columns stored, 1..NR                                  */
} tile_job;

typedef void (*tile_fn)(const tile_job *);

#define tile_kernels GQ_NAME(gq_cpu_tile_kernels)

/* [A by rows][vectors per row - 1][rows / MR_STEP - 1] */
extern const tile_fn tile_kernels[2][2][3];

#ifdef GQ_BF16_DOT
/* The same by columns with panels of bf16 pairs: element i of a and b holds k = 2i (low half) and
 * 2i + 1. */
#define tile_kernels_pairs GQ_NAME(gq_cpu_tile_kernels_pairs)
extern const tile_fn tile_kernels_pairs[2][3];
#endif

#ifdef GQ_AMX
/* Tiles of AMX_ROWS x NR; k counts pairs and is a multiple of AMX_PAIRS. Of a job, as, bs and lo
 * are not read: panels of B are those above; a panel of A is [k/AMX_PAIRS][AMX_ROWS][AMX_PAIRS].
 * Pairs beyond the end of a matrix are zero. A thread calls tile_amx between begin and end. */
#define tile_amx       GQ_NAME(gq_cpu_tile_amx)
#define tile_amx_begin GQ_NAME(gq_cpu_tile_amx_begin)
#define tile_amx_end   GQ_NAME(gq_cpu_tile_amx_end)

enum { AMX_ROWS = 32, AMX_PAIRS = 16 };

void tile_amx_begin(void);
void tile_amx(const tile_job *t);
void tile_amx_end(void);
#endif

#endif
