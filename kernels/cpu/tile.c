/* tile.c - the register tiles: one function per height, width and way of reading A, made from one
 * inline body. */
#include "kernels/cpu/tile.h"

/* A tile that is cut: rows lo..hi-1 only, columns up to cols. */
static void store_cut(const tile_job *t, int mr, int nv, vf acc[MR][2])
{
    for (int i = t->lo; i < t->hi && i < mr; i++)
        for (int v = 0; v < nv; v++) {
            vf      x = acc[i][v];
            int64_t n = t->cols - v * VL;
            if (n <= 0)
                break;
            n = n < VL ? n : VL;
            if (t->init)
                x += vload_n(t->init + i * t->ldi + v * VL, n);
            if (t->bias)
                x += vload_n(t->bias + v * VL, n);
            vstore_n(t->c + i * t->ldc + v * VL, x, n);
        }
}

GQ_INLINE void finish(const tile_job *t, int mr, int nv, vf acc[MR][2])
{
    if (t->lo > 0 || t->hi < mr || t->cols < nv * VL) {
        vf cut[MR][2];                  /* a copy, so that acc itself stays in registers          */
#pragma GCC unroll 12
        for (int i = 0; i < mr; i++) {
            cut[i][0] = acc[i][0];
            cut[i][1] = acc[i][1];
        }
        store_cut(t, mr, nv, cut);
        return;
    }
    if (t->init) {
        const float *init = t->init;
#pragma GCC unroll 12
        for (int i = 0; i < mr; i++, init += t->ldi)
            for (int v = 0; v < nv; v++)
                acc[i][v] += vload(init + v * VL);
    }
    if (t->bias) {
        vf bias[2] = {vload(t->bias), nv > 1 ? vload(t->bias + VL) : vload(t->bias)};
#pragma GCC unroll 12
        for (int i = 0; i < mr; i++)
            for (int v = 0; v < nv; v++)
                acc[i][v] += bias[v];
    }
    float *c = t->c;
#pragma GCC unroll 12
    for (int i = 0; i < mr; i++, c += t->ldc)
        for (int v = 0; v < nv; v++)
            vstore(c + v * VL, acc[i][v]);
}

/* how A is read; PAIRS: by column, two bf16 in the place of a float */
enum { BY_COLUMN, BY_ROW, PAIRS };

/* A pair is moved as the integer it is: as a float it may be a signalling NaN. */
GQ_INLINE vf spread(const float *a, int how)
{
    int32_t bits;
    if (how != PAIRS)
        return vset(*a);
    memcpy(&bits, a, sizeof bits);
    return (vf)((vi){0} + bits);
}

GQ_INLINE vf step(vf x, vf b, vf acc, int how)
{
#ifdef GQ_BF16_DOT
    if (how == PAIRS)
        return (vf)_mm512_dpbf16_ps((__m512)acc, (__m512bh)x, (__m512bh)b);
#endif
    (void)how;
    return vfma(x, b, acc);
}

/* mr, nv (vectors per row: 1 or 2) and how are constants after inlining */
GQ_INLINE void tile_run(const tile_job *t, int mr, int nv, int how)
{
    vf           acc[MR][2] = {{{0}}};
    const float *a = t->a, *b = t->b;
    int64_t      as = t->as, bs = t->bs;
#pragma GCC unroll 12
    for (int i = 0; i < mr; i++) {      /* where the sums go: on its way while they are made      */
        __builtin_prefetch(t->c + i * t->ldc, 1);
        if (nv > 1)
            __builtin_prefetch(t->c + i * t->ldc + VL, 1);
    }
    for (int64_t k = t->k; k > 0; k--) {
        vf b0 = vload(b), b1 = nv > 1 ? vload(b + VL) : b0;
#pragma GCC unroll 12
        for (int i = 0; i < mr; i++) {
            vf x = spread(how == BY_ROW ? a + i * as : a + i, how);
            acc[i][0] = step(x, b0, acc[i][0], how);
            if (nv > 1)
                acc[i][1] = step(x, b1, acc[i][1], how);
        }
        a += how == BY_ROW ? 1 : as;
        b += bs;
    }
    finish(t, mr, nv, acc);
}

#define TILE_(name, mr, nv, how) \
    static void name(const tile_job *t) { tile_run(t, mr, nv, how); }
TILE_(by_column_11, MR_STEP, 1, BY_COLUMN)
TILE_(by_column_21, 2 * MR_STEP, 1, BY_COLUMN)
TILE_(by_column_31, MR, 1, BY_COLUMN)
TILE_(by_column_12, MR_STEP, 2, BY_COLUMN)
TILE_(by_column_22, 2 * MR_STEP, 2, BY_COLUMN)
TILE_(by_column_32, MR, 2, BY_COLUMN)
TILE_(by_row_11, MR_STEP, 1, BY_ROW)
TILE_(by_row_21, 2 * MR_STEP, 1, BY_ROW)
TILE_(by_row_31, MR, 1, BY_ROW)
TILE_(by_row_12, MR_STEP, 2, BY_ROW)
TILE_(by_row_22, 2 * MR_STEP, 2, BY_ROW)
TILE_(by_row_32, MR, 2, BY_ROW)

const tile_fn tile_kernels[2][2][3] = {
    {{by_column_11, by_column_21, by_column_31}, {by_column_12, by_column_22, by_column_32}},
    {{by_row_11, by_row_21, by_row_31}, {by_row_12, by_row_22, by_row_32}},
};

#ifdef GQ_BF16_DOT
TILE_(pairs_11, MR_STEP, 1, PAIRS)
TILE_(pairs_21, 2 * MR_STEP, 1, PAIRS)
TILE_(pairs_31, MR, 1, PAIRS)
TILE_(pairs_12, MR_STEP, 2, PAIRS)
TILE_(pairs_22, 2 * MR_STEP, 2, PAIRS)
TILE_(pairs_32, MR, 2, PAIRS)

const tile_fn tile_kernels_pairs[2][3] = {{pairs_11, pairs_21, pairs_31},
                                          {pairs_12, pairs_22, pairs_32}};
#endif
