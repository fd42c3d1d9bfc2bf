/* tile.c - the register tiles: one function per height, width and way of reading A, made from one inline body. */
#include "kernels/cpu/tile.h"

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

#define TILE_(name, mr, nv, rows) \
    static void name(const tile_job *t) { tile_run(t, mr, nv, rows); }
TILE_(by_column_11, MR_STEP, 1, 0)
TILE_(by_column_21, 2 * MR_STEP, 1, 0)
TILE_(by_column_31, MR, 1, 0)
TILE_(by_column_12, MR_STEP, 2, 0)
TILE_(by_column_22, 2 * MR_STEP, 2, 0)
TILE_(by_column_32, MR, 2, 0)
TILE_(by_row_11, MR_STEP, 1, 1)
TILE_(by_row_21, 2 * MR_STEP, 1, 1)
TILE_(by_row_31, MR, 1, 1)
TILE_(by_row_12, MR_STEP, 2, 1)
TILE_(by_row_22, 2 * MR_STEP, 2, 1)
TILE_(by_row_32, MR, 2, 1)

const tile_fn tile_kernels[2][2][3] = {
    {{by_column_11, by_column_21, by_column_31}, {by_column_12, by_column_22, by_column_32}},
    {{by_row_11, by_row_21, by_row_31}, {by_row_12, by_row_22, by_row_32}},
};
