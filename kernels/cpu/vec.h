/* vec.h - one vector of GQ_VLEN floats, the same source for SSE2, AVX2 and AVX-512, and the
 * functions on it.
 *
 * Private to kernels/cpu. Every file of this folder is compiled once per rung (GQ_RUNG, GQ_VLEN);
 * nothing here has linkage. No branch depends on data. Fused multiply-add happens where vfma() is
 * written and nowhere else, so the bits do not depend on compiler options.
 *
 * Largest errors, checked against libm in tests/kernels/vecmath.c:
 *   vexp      1.0e-7 relative where the result is normal; 0 below -104; inf above 88.73; NaN
 *             stays NaN
 *   vsigmoid  2.5e-7 relative above -87
 *   vlog      1.5e-7 absolute in [0.5, 8], 1.0e-7 relative above; x > 0 and normal only
 *   vtanh     2.0e-7 absolute
 *   verf, vphi (the normal distribution function)  1.0e-7 absolute
 */
#ifndef GIFQA_CPU_VEC_H
#define GIFQA_CPU_VEC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#define GQ_PASTE2(a, b) a##_##b
#define GQ_PASTE(a, b)  GQ_PASTE2(a, b)
#define GQ_NAME(name)   GQ_PASTE(name, GQ_RUNG)               /* gq_gemm -> gq_gemm_avx2          */

#define GQ_INLINE static inline __attribute__((always_inline, unused))

enum { VL = GQ_VLEN };

typedef float    vf __attribute__((vector_size(GQ_VLEN * 4)));
typedef int32_t  vi __attribute__((vector_size(GQ_VLEN * 4)));
typedef uint32_t vu __attribute__((vector_size(GQ_VLEN * 4)));
typedef float    vf_any __attribute__((vector_size(GQ_VLEN * 4), aligned(4), may_alias));
typedef uint32_t vu_any __attribute__((vector_size(GQ_VLEN * 4), aligned(4), may_alias));

GQ_INLINE vf vset(float x) { return x - (vf){0}; }     /* x - 0 is x; x + 0 is not for -0         */
GQ_INLINE vf vload(const float *p) { return *(const vf_any *)p; }
GQ_INLINE void vstore(float *p, vf v) { *(vf_any *)p = v; }

/* The first n lanes, 0 <= n <= VL; the others are zero (load) or not written (store). */
GQ_INLINE vf vload_n(const float *p, int64_t n)
{
#if GQ_VLEN == 16 && defined(__AVX512F__)
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif GQ_VLEN == 8 && defined(__AVX2__)
    static const int32_t edge[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return (vf)_mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i_u *)(edge + 8 - n)));
#else
    float t[GQ_VLEN] = {0};
    for (int64_t i = 0; i < n; i++)
        t[i] = p[i];
    return vload(t);
#endif
}

GQ_INLINE void vstore_n(float *p, vf v, int64_t n)
{
#if GQ_VLEN == 16 && defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
    float t[GQ_VLEN];                   /* masked stores of AVX2 are slow on some machines        */
    vstore(t, v);
    for (int64_t i = 0; i < n; i++)
        p[i] = t[i];
#endif
}

/* a * b + c, one rounding where the machine has it */
GQ_INLINE vf vfma(vf a, vf b, vf c)
{
#if GQ_VLEN == 16 && defined(__AVX512F__)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif GQ_VLEN == 8 && defined(__FMA__)
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

GQ_INLINE vf vselect(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }
GQ_INLINE vf vabs(vf a) { return (vf)((vi)a & 0x7fffffff); }

/* The larger, the smaller; b where either is NaN: write the value that may be NaN second. */
GQ_INLINE vf vmax(vf a, vf b)
{
#if GQ_VLEN == 16 && defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif GQ_VLEN == 8 && defined(__AVX2__)
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vselect(a > b, a, b);
#endif
}

GQ_INLINE vf vmin(vf a, vf b)
{
#if GQ_VLEN == 16 && defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif GQ_VLEN == 8 && defined(__AVX2__)
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return vselect(a < b, a, b);
#endif
}

/* 1/a for 1 <= a < inf; 0 where that is below the normal numbers */
GQ_INLINE vf vinverse(vf a)
{
#if GQ_VLEN == 16 && defined(__AVX512F__)
    vf y = (vf)_mm512_rcp14_ps((__m512)a);
    return vfma(vfma(-a, y, vset(1.0f)), y, y);
#else
    return 1.0f / a;
#endif
}

GQ_INLINE vf vsqrt(vf a)
{
#if GQ_VLEN == 16 && defined(__AVX512F__)
    return (vf)_mm512_sqrt_ps((__m512)a);
#elif GQ_VLEN == 8 && defined(__AVX2__)
    return (vf)_mm256_sqrt_ps((__m256)a);
#elif GQ_VLEN == 4 && defined(__SSE2__)
    return (vf)_mm_sqrt_ps((__m128)a);
#else
    for (int i = 0; i < VL; i++)
        a[i] = __builtin_sqrtf(a[i]);
    return a;
#endif
}

typedef float vf4_ __attribute__((vector_size(16)));
typedef float vf8_ __attribute__((vector_size(32)));

/* Halves are added until one lane is left: the order is fixed. */
GQ_INLINE float vsum(vf a)
{
#if GQ_VLEN == 16
    vf8_ b = __builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7) +
             __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15);
    vf4_ c = __builtin_shufflevector(b, b, 0, 1, 2, 3) + __builtin_shufflevector(b, b, 4, 5, 6, 7);
#elif GQ_VLEN == 8
    vf4_ c = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
#else
    vf4_ c = a;
#endif
    c += __builtin_shufflevector(c, c, 2, 3, 0, 1);
    return c[0] + c[1];
}

GQ_INLINE float vmax_lane(vf a)
{
    float t[GQ_VLEN], m;
    vstore(t, a);
    m = t[0];
    for (int i = 1; i < VL; i++)
        m = t[i] > m ? t[i] : m;
    return m;
}

/* Every lane one up; lane 0 is zero. */
GQ_INLINE vf vpush(vf a)
{
    const vf zero = {0};
#if GQ_VLEN == 16
    return __builtin_shufflevector(zero, a, 0, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
                                   29, 30);
#elif GQ_VLEN == 8
    return __builtin_shufflevector(zero, a, 0, 8, 9, 10, 11, 12, 13, 14);
#else
    return __builtin_shufflevector(zero, a, 0, 4, 5, 6);
#endif
}

/* p * 2^n, n integral in [-150, 129], with gradual underflow and overflow to infinity */
GQ_INLINE vf vscale2(vf p, vf n, vi ni)
{
#if GQ_VLEN == 16 && defined(__AVX512F__)
    (void)ni;
    return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    (void)n;
    vi half = ni >> 1;
    return p * (vf)((half + 127) << 23) * (vf)((ni - half + 127) << 23);
#endif
}

/* exp(x) = 2^n (1 + r + r^2 q(r)), |r| <= ln(2)/2; q by weighted minimax fit */
GQ_INLINE vf vexp(vf x)
{
    const float magic = 12582912.0f;    /* 1.5 * 2^23: adding it rounds to the nearest integer    */
    x = vmin(vset(89.0f), vmax(vset(-104.0f), x));
    vf t = vfma(x, vset(1.44269504f), vset(magic));
    vf n = t - magic;
    vi ni = (vi)t - 0x4B400000;
    vf r = vfma(n, vset(-0.693359375f), x);
    r = vfma(n, vset(2.12194440e-4f), r);
    vf q = vset(0x1.6a23ccp-10f);
    q = vfma(q, r, vset(0x1.123a20p-7f));
    q = vfma(q, r, vset(0x1.5558f2p-5f));
    q = vfma(q, r, vset(0x1.555492p-3f));
    q = vfma(q, r, vset(0x1.fffffcp-2f));
    q = vfma(q * r, r, r) + 1.0f;
    return vscale2(q, n, ni);
}

GQ_INLINE vf vsigmoid(vf x) { return vinverse(1.0f + vexp(vmin(vset(88.0f), -x))); }
GQ_INLINE vf vtanh(vf x) { return vfma(vset(2.0f), vsigmoid(2.0f * x), vset(-1.0f)); }

/* log(x) for normal x > 0: x = 2^n m with m in [1/sqrt 2, sqrt 2), log m = 2 atanh((m-1)/(m+1)) */
GQ_INLINE vf vlog(vf x)
{
    vi n = (((vi)x - 0x3f3504f3) >> 23);
    vf m = (vf)((vi)x - (n << 23)), k = __builtin_convertvector(n, vf);
    vf s = (m - 1.0f) / (m + 1.0f), z = s * s;
    vf q = vset(0x1.c71c72p-3f);   /* 2/9, 2/7, 2/5, 2/3: the series; the next term is below 3e-9 */
    q = vfma(q, z, vset(0x1.24924ap-2f));
    q = vfma(q, z, vset(0x1.99999ap-2f));
    q = vfma(q, z, vset(0x1.555556p-1f));
    vf r = vfma(q * z, s, 2.0f * s);
    return vfma(k, vset(0.693359375f), vfma(k, vset(-2.12194440e-4f), r));
}

/* erfc(z) = exp(-z q(z)) for 0 <= z <= 4, where it is 1.5e-8; beyond that 0 */
GQ_INLINE vf verfc_pos(vf z)
{
    vi far = z > 4.0f;
    z = vselect(far, vset(4.0f), z);
    vf q = vset(-0x1.0de844p-17f);
    q = vfma(q, z, vset(0x1.bcb5a4p-14f));
    q = vfma(q, z, vset(-0x1.344196p-11f));
    q = vfma(q, z, vset(0x1.9d56c0p-10f));
    q = vfma(q, z, vset(-0x1.ed1e02p-15f));
    q = vfma(q, z, vset(-0x1.3ada88p-6f));
    q = vfma(q, z, vset(0x1.a510c8p-4f));
    q = vfma(q, z, vset(0x1.45f28cp-1f));
    q = vfma(q, z, vset(0x1.20dd78p+0f));
    return vselect(far, vset(0.0f), vexp(-(q * z)));
}

GQ_INLINE vf verf(vf x)
{
    vf e = 1.0f - verfc_pos(vabs(x));
    return vselect(x < 0.0f, -e, e);
}

/* The normal distribution function; its left tail keeps two to three digits down to x = -5.6, then
 * is 0. */
GQ_INLINE vf vphi(vf x)
{
    vf half = 0.5f * verfc_pos(vabs(x) * 0.707106781f);
    return vselect(x < 0.0f, half, 1.0f - half);
}

#endif
