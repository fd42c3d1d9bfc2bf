/* gemm_thin.c - C = A B^T with few rows of A: decoding, and the language-model head on a handful of
 * labelled rows.
 *
 * Rows of A and rows of B both run along k, so the product is a set of dot products: vectors run
 * along k, nothing is packed, and B - which is large - is read once, straight from memory.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

enum {
    THIN_ROWS = VL == 16 ? 32 : 8,      /* rows of A up to which this pays                        */
    THIN_K = 8 * VL,                    /* and length of a dot product from which on              */
    THIN_B = 65536,                     /* and floats in B: smaller ones are packed in no time    */
    BN = VL == 16 ? 8 : 4,              /* rows of B at a time                                    */
    BM = 3,                             /* rows of A at a time: BM * BN sums fill the registers   */
    TASK_FLOPS = 1000000,
    TASK_FLOATS = 32768,                /* of B                                                   */
};

bool gemm_is_thin(gemm_kind kind, int64_t m, int64_t n, int64_t k)
{
    return kind == GEMM_NT && m <= THIN_ROWS && k >= THIN_K && n * k >= THIN_B;
}

/* Quarters of a vector added up: four lanes, each the sum of every fourth */
GQ_INLINE vf4_ fold(vf a)
{
#if GQ_VLEN == 16
    vf8_ h = __builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7) +
             __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15);
    return __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
#elif GQ_VLEN == 8
    return __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
#else
    return a;
#endif
}

/* The four sums of four vectors */
GQ_INLINE vf4_ sum_four(vf a, vf b, vf c, vf d)
{
    vf4_ p = fold(a), q = fold(b), r = fold(c), s = fold(d);
    vf4_ x = __builtin_shufflevector(p, q, 0, 4, 1, 5) + __builtin_shufflevector(p, q, 2, 6, 3, 7);
    vf4_ y = __builtin_shufflevector(r, s, 0, 4, 1, 5) + __builtin_shufflevector(r, s, 2, 6, 3, 7);
    return __builtin_shufflevector(x, y, 0, 1, 4, 5) + __builtin_shufflevector(x, y, 2, 3, 6, 7);
}

/* m x BN dot products of length k; m is a constant after inlining. Row i of the result goes to
 * out[i*BN..]. Meanwhile `fetched` rows from `next` on are brought near. */
GQ_INLINE void dots(int m, const float *a, int64_t lda, const float *b, int64_t ldb, int64_t k,
                    const float *next, int64_t fetched, float *out)
{
    vf acc[BM][BN] = {{{0}}};
    for (int64_t i = 0; i < k; i += VL) {
        vf      x[BM];
        int64_t left = k - i;
        for (int64_t s = 0; s < fetched; s++)
            __builtin_prefetch(next + s * ldb + i, 0, 2);
#pragma GCC unroll 3
        for (int r = 0; r < m; r++)
            x[r] = load_part(a + r * lda + i, left);
#pragma GCC unroll 8
        for (int s = 0; s < BN; s++) {
            vf w = load_part(b + s * ldb + i, left);
#pragma GCC unroll 3
            for (int r = 0; r < m; r++)
                acc[r][s] = vfma(x[r], w, acc[r][s]);
        }
    }
#pragma GCC unroll 3
    for (int r = 0; r < m; r++)
#pragma GCC unroll 2
        for (int s = 0; s < BN; s += 4) {
            vf4_ sums = sum_four(acc[r][s], acc[r][s + 1], acc[r][s + 2], acc[r][s + 3]);
            memcpy(out + r * BN + s, &sums, sizeof sums);
        }
}

static void dots_of(int m, const float *a, int64_t lda, const float *b, int64_t ldb, int64_t k,
                    const float *next, int64_t fetched, float *out)
{
    switch (m) {
    case 1: dots(1, a, lda, b, ldb, k, next, fetched, out); break;
    case 2: dots(2, a, lda, b, ldb, k, next, fetched, out); break;
    case 3: dots(3, a, lda, b, ldb, k, next, fetched, out); break;
    }
}

/* Writes the m x n block at (i, j), n <= BN. */
static void store_block(const gemm_call *g, int64_t i, int64_t j, int64_t m, int64_t n,
                        const float *sums)
{
    const float *r = g->act == GQ_NONE ? g->r : NULL;
    for (int64_t y = 0; y < m; y++)
        for (int64_t x = 0; x < n; x++) {
            float *c = g->c + (i + y) * g->ldc + j + x, v = sums[y * BN + x];
            if (g->add)
                v += *c;
            if (r)
                v += r[(i + y) * g->ldr + j + x];
            if (g->bias)
                v += g->bias[j + x];
            *c = v;
        }
}

/* Columns lo..hi-1 of C */
static void columns(const void *ctx, int64_t lo, int64_t hi)
{
    const gemm_call *g = ctx;
    int64_t          groups = (g->m + BM - 1) / BM;
    float            sums[BM * BN];
    for (int64_t j = lo; j < hi; j += BN) {
        const float *b = g->b + j * g->ldb;
        int64_t      n = imin(BN, hi - j), ahead = imin(BN, imax(0, hi - j - BN));
        for (int64_t i = 0; i < g->m; i += BM) {
            int64_t      m = imin(BM, g->m - i);
            const float *a = g->a + i * g->lda;
            if (n == BN) {
                int64_t group = i / BM, from = group * ahead / groups, to = (group + 1) * ahead / groups;
                dots_of((int)m, a, g->lda, b, g->ldb, g->k, b + (BN + from) * g->ldb, to - from, sums);
                store_block(g, i, j, m, BN, sums);
            } else {
                for (int64_t x = 0; x < n; x++) {              /* stride 0: the same row BN times */
                    dots_of((int)m, a, g->lda, b + x * g->ldb, 0, g->k, b, 0, sums);
                    store_block(g, i, j + x, m, 1, sums);
                }
            }
        }
    }
    if (g->act != GQ_NONE)
        gemm_activate(g, 0, lo, g->m, hi - lo);
}

void gemm_thin(const gemm_call *g, gq_pool *pool)
{
    int64_t  per = imax(TASK_FLOPS / (2 * g->m * g->k), TASK_FLOATS / g->k) / BN * BN;
    gq_work  work = {.pool = pool};
    gq_call  call = {.work = &work};
    over(&call, g->n, imax(BN, per), columns, g);
}
