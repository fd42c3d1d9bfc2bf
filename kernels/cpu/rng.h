/* rng.h - dropout factors by Philox, VL blocks of four elements at a time. Private to kernels/cpu.
 * The bits are those of core/philox.h for every element. */
#ifndef GIFQA_CPU_RNG_H
#define GIFQA_CPU_RNG_H

#include "kernels/cpu/vec.h"
#include "kernels/kernels.h"

typedef uint64_t vl_ __attribute__((vector_size(GQ_VLEN * 4)));       /* half as many 64-bit lanes       */

/* products of the even 32-bit lanes (the low halves of the 64-bit lanes) */
GQ_INLINE vl_ vmul_even(vl_ a, vl_ b)
{
#if GQ_VLEN == 16 && defined(__AVX512F__)
    return (vl_)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif GQ_VLEN == 8 && defined(__AVX2__)
    return (vl_)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif GQ_VLEN == 4 && defined(__SSE2__)
    return (vl_)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

GQ_INLINE void vmul_wide(vu a, uint32_t m, vu *hi, vu *lo)
{
    const vl_ low = (vl_){0} + 0xffffffffu, factor = (vl_){0} + m;
    vl_ even = vmul_even((vl_)a, factor), odd = vmul_even((vl_)a >> 32, factor);
    *hi = (vu)((even >> 32) | (odd & ~low));
    *lo = (vu)((even & low) | (odd << 32));
}

/* Words 0..3 of the blocks `block`, `block` + 1, ... */
GQ_INLINE void philox_blocks(uint64_t seed, uint64_t block, uint32_t purpose, uint32_t step, vu w[4])
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    vu       lane;
    for (int i = 0; i < VL; i++)
        lane[i] = (uint32_t)i;
    w[0] = (uint32_t)block + lane;
    w[1] = (uint32_t)(block >> 32) - (vu)(w[0] < lane);             /* a comparison is -1 where it holds  */
    w[2] = (vu){0} + purpose;
    w[3] = (vu){0} + step;
    for (int round = 0; round < 10; round++) {
        vu h0, l0, h1, l1;
        vmul_wide(w[0], 0xD2511F53u, &h0, &l0);
        vmul_wide(w[2], 0xCD9E8D57u, &h1, &l1);
        w[0] = h1 ^ w[1] ^ k0;
        w[1] = l1;
        w[2] = h0 ^ w[3] ^ k1;
        w[3] = l0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* dst[i] = factor of element e0 + i: 0 when it is dropped, 1/(1-p) when it is kept; i in [0, n) */
GQ_INLINE void drop_factors(float *dst, int64_t n, uint64_t e0, const gq_call *c)
{
    const float p = c->attr.p;
    const vf    kept = vset(1.0f / (1.0f - p));
    for (int64_t i = 0; i < n;) {
        float   t[4 * GQ_VLEN];
        vu      w[4];
        int64_t skip = (int64_t)((e0 + (uint64_t)i) & 3), count = 4 * VL - skip;
        philox_blocks(c->step->seed, (e0 + (uint64_t)i) >> 2, c->rng_op, gq_step_word(c), w);
        for (int k = 0; k < 4; k++) {
            vf u = __builtin_convertvector((vi)(w[k] >> 8), vf) * 0x1p-24f;
            vf f = vselect(u >= p, kept, vset(0.0f));
            for (int l = 0; l < VL; l++)
                t[4 * l + k] = f[l];
        }
        count = count < n - i ? count : n - i;
        memcpy(dst + i, t + skip, (size_t)count * sizeof(float));
        i += count;
    }
}

#endif
