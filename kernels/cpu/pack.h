/* pack.h - copies blocks of A and B into panels: [k][width] for `width` consecutive rows of A or
 * columns of B, zeros where the matrix ends. Private to kernels/cpu. */
#ifndef GIFQA_CPU_PACK_H
#define GIFQA_CPU_PACK_H

#include <stdbool.h>

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

#ifdef GQ_BF16_DOT
/* Sixteen pairs of bf16, k = 0..31, of each of 16 lines (rows of A, columns of B) at src + line*ld
 * + k; zero from line `valid` on and from n on. */
GQ_INLINE void pairs_along(vf v[GQ_VLEN], const float *src, int64_t ld, int64_t valid, int64_t n)
{
    int64_t low = n < VL ? n : VL, high = n < VL ? 0 : n < 2 * VL ? n - VL : VL;
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) {
        vf a = {0}, b = {0};
        if (i < valid) {
            a = vload_n(src + i * ld, low);
            b = high > 0 ? vload_n(src + i * ld + VL, high) : b;
        }
        v[i] = (vf)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
    }
}

/* The same, turned, from src + k*ld + line: v[i] holds pair i of every line. */
GQ_INLINE void pairs_across(vf v[GQ_VLEN], const float *src, int64_t ld, int64_t valid, int64_t n)
{
    const __m512i mix = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    int64_t       lines = valid < VL ? valid : VL;
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) {
        const float *s = src + 2 * i * ld;
        vf a = 2 * i < n ? vload_n(s, lines) : (vf){0};
        vf b = 2 * i + 1 < n ? vload_n(s + ld, lines) : (vf){0};
        v[i] = (vf)_mm512_permutexvar_epi16(mix,
                                            (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a));
    }
}

/* `panels` neighbouring panels of `steps` >= k/2 pairs from k floats of `left` lines, `along` as in
 * pairs_along. A panel is [steps][width], or with `by_line` [steps/16][width][16]; what is beyond k
 * and `left` is zero. Panels are filled side by side, because that is how the lines of a row lie in
 * memory. */
GQ_INLINE void pack_pairs(float *dst, int width, bool by_line, int64_t steps, int64_t panels,
                          const float *src, int64_t ld, bool along, int64_t left, int64_t k)
{
    for (int64_t at = 0; at < steps; at += VL)
        for (int64_t p = 0; p < panels; p++)
#pragma GCC unroll 2
            for (int l = 0; l < width; l += VL) {
                vf       v[GQ_VLEN];
                int64_t  line = p * width + l, valid = left > line ? left - line : 0;
                int64_t  n = k > 2 * at ? k - 2 * at : 0;
                float   *d = dst + (p * steps + at) * width + (by_line ? l * VL : l);
                if (along)
                    pairs_along(v, src + line * ld + 2 * at, ld, valid, n);
                else
                    pairs_across(v, src + 2 * at * ld + line, ld, valid, n);
                if (along != by_line)
                    vtranspose(v);
#pragma GCC unroll 16
                for (int i = 0; i < VL; i++)
                    if (by_line)
                        vstore(d + i * VL, v[i]);
                    else if (at + i < steps)
                        pack_store(d + i * width, v[i], width - l < VL ? width - l : VL);
            }
}
#endif

#endif
