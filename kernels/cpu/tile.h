/* tile.h - the register tile of every matrix product here: up to MR x NR of C, one pass over k.
 *
 * C[i][j] = sum_k A[i][k] B[k][j] (+ init[i][j]) (+ bias[j]). B is read in rows of NR floats at stride bs, as a packed
 * panel (bs = NR) or in place. A is read either by columns (packed panels, or the stored transpose: element i of
 * column k at a[k*as + i]) or by rows (element k of row i at a[i*as + k]). Private to kernels/cpu.
 */
#ifndef GIFQA_CPU_TILE_H
#define GIFQA_CPU_TILE_H

#include "kernels/cpu/vec.h"

enum {
    NR = 2 * VL,                        /* columns of a tile: two vectors                                */
    MR = VL == 16 ? 12 : 6,             /* rows: as many as the registers hold                           */
    MR_STEP = MR / 3,                   /* tiles exist with MR, 2/3 MR and 1/3 MR rows                   */
};

typedef struct tile_job {
    const float *a, *b;
    int64_t      as, bs, k;
    const float *init;                  /* NULL: zero; may be c                                          */
    int64_t      ldi;
    const float *bias;                  /* [cols], NULL: none                                            */
    float       *c;
    int64_t      ldc;
    int          lo, hi;                /* rows lo..hi-1 of the tile are stored                          */
    int64_t      cols;                  /* columns stored, 1..NR                                         */
} tile_job;

GQ_INLINE void tile_store(const tile_job *t, int i, int nv, const vf *acc)
{
    for (int v = 0; v < nv; v++) {
        vf      x = acc[v];
        int64_t n = t->cols - v * VL;
        if (n >= VL) {
            if (t->init)
                x += vload(t->init + i * t->ldi + v * VL);
            if (t->bias)
                x += vload(t->bias + v * VL);
            vstore(t->c + i * t->ldc + v * VL, x);
        } else if (n > 0) {
            if (t->init)
                x += vload_n(t->init + i * t->ldi + v * VL, n);
            if (t->bias)
                x += vload_n(t->bias + v * VL, n);
            vstore_n(t->c + i * t->ldc + v * VL, x, n);
        }
    }
}

/* mr, nv (vectors per row: 1 or 2) and rows (how A is read) are constants after inlining */
GQ_INLINE void tile_run(const tile_job *t, int mr, int nv, int rows)
{
    vf           acc[MR][2] = {{{0}}};
    const float *a = t->a, *b = t->b;
    int64_t      as = t->as, bs = t->bs;
    for (int64_t k = t->k; k > 0; k--) {
        vf b0 = vload(b), b1 = nv > 1 ? vload(b + VL) : b0;
#pragma GCC unroll 12
        for (int i = 0; i < mr; i++) {
            vf x = vset(rows ? a[i * as] : a[i]);
            acc[i][0] = vfma(x, b0, acc[i][0]);
            if (nv > 1)
                acc[i][1] = vfma(x, b1, acc[i][1]);
        }
        a += rows ? 1 : as;
        b += bs;
    }
#pragma GCC unroll 12
    for (int i = 0; i < mr; i++)
        if (i >= t->lo && i < t->hi)
            tile_store(t, i, nv, acc[i]);
}

#endif
