/* pack.h - copies blocks of A and B into panels: [k][width] for `width` consecutive rows of A or
 * columns of B, zeros where the matrix ends. Private to kernels/cpu. */
#ifndef GIFQA_CPU_PACK_H
#define GIFQA_CPU_PACK_H

#include "kernels/cpu/vec.h"

/* Exchanges the off-diagonal s x s blocks of every 2s x 2s block; s = VL/2 .. 1 transposes. */
#define LANE_A_(l, s) (((l) & (s)) ? VL + (l) - (s) : (l))
#define LANE_B_(l, s) (((l) & (s)) ? VL + (l) : (l) + (s))
#define LANES4_(f, l, s) f(l, s), f((l) + 1, s), f((l) + 2, s), f((l) + 3, s)
#if GQ_VLEN == 16
#define LANES_(f, s) {LANES4_(f, 0, s), LANES4_(f, 4, s), LANES4_(f, 8, s), LANES4_(f, 12, s)}
#elif GQ_VLEN == 8
#define LANES_(f, s) {LANES4_(f, 0, s), LANES4_(f, 4, s)}
#else
#define LANES_(f, s) {LANES4_(f, 0, s)}
#endif
#define TRANSPOSE_STEP_(v, s)                                                                      \
    _Pragma("GCC unroll 16") for (int i_ = 0; i_ < VL; i_++) if (!(i_ & (s))) {                    \
        const vi la_ = LANES_(LANE_A_, s), lb_ = LANES_(LANE_B_, s);                               \
        vf x_ = (v)[i_], y_ = (v)[i_ + (s)];                                                       \
        (v)[i_] = __builtin_shuffle(x_, y_, la_);                                                  \
        (v)[i_ + (s)] = __builtin_shuffle(x_, y_, lb_);                                            \
    }

GQ_INLINE void vtranspose(vf v[GQ_VLEN])
{
#if GQ_VLEN == 16
    TRANSPOSE_STEP_(v, 8)
#endif
#if GQ_VLEN >= 8
    TRANSPOSE_STEP_(v, 4)
#endif
    TRANSPOSE_STEP_(v, 2)
    TRANSPOSE_STEP_(v, 1)
}

/* The first n lanes, n a constant after inlining */
GQ_INLINE void pack_store(float *p, vf v, int n)
{
    if (n >= VL)
        vstore(p, v);
    else if (VL == 16)
        vstore_n(p, v, n);
    else
        memcpy(p, &v, (size_t)n * sizeof(float));
}

/* `lanes` <= VL rows of a row-major block become columns at dst, stride `width`; rows >= valid are
 * zero. */
GQ_INLINE void pack_turn(float *dst, int width, int lanes, const float *src, int64_t ld,
                         int64_t valid, int64_t k)
{
    for (int64_t k0 = 0; k0 < k; k0 += VL) {
        vf      v[GQ_VLEN];
        int64_t n = k - k0 < VL ? k - k0 : VL;
        if (valid >= lanes && n == VL) {
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++)
                v[i] = i < lanes ? vload(src + i * ld + k0) : (vf){0};
        } else {
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++)
                v[i] = i < lanes && i < valid ? vload_n(src + i * ld + k0, n) : (vf){0};
        }
        vtranspose(v);
        if (n == VL) {
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++)
                pack_store(dst + (k0 + i) * width, v[i], lanes);
        } else {
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++)
                if (i < n)
                    pack_store(dst + (k0 + i) * width, v[i], lanes);
        }
    }
}

/* One panel from `valid` rows of a row-major block: A of NN and NT, B of NT. */
GQ_INLINE void pack_rows(float *dst, int width, const float *src, int64_t ld, int64_t valid,
                         int64_t k)
{
#pragma GCC unroll 4
    for (int r = 0; r < width; r += VL)
        pack_turn(dst + r, width, width - r < VL ? width - r : VL, src + r * ld, ld,
                  valid > r ? valid - r : 0, k);
}

/* `panels` neighbouring panels, each `stride` floats long, from a block whose rows are k: A of TN,
 * B of NN and TN. All panels of a row are written together, because a row of the source is what
 * lies together in memory. */
GQ_INLINE void pack_cols(float *dst, int width, int64_t stride, int64_t panels, const float *src,
                         int64_t ld, int64_t valid, int64_t k)
{
    for (int64_t kk = 0; kk < k; kk++) {
        const float *s = src + kk * ld;
        for (int64_t p = 0; p < panels; p++) {
            float  *d = dst + p * stride + kk * width;
            int64_t left = valid - p * width;
            if (left >= width) {
                memcpy(d, s + p * width, (size_t)width * sizeof(float));
            } else {
                for (int i = 0; i < width; i++)
                    d[i] = i < left ? s[p * width + i] : 0.0f;
            }
        }
    }
}

#endif
