/* rng.h - dropout factors by Philox, VL blocks of four elements at a time. Private to kernels/cpu.
 * The bits are those of core/philox.h for every element. */
#ifndef GIFQA_CPU_RNG_H
#define GIFQA_CPU_RNG_H

#include "kernels/cpu/pack.h"
#include "kernels/cpu/vec.h"
#include "kernels/kernels.h"

typedef uint64_t vl_ __attribute__((vector_size(GQ_VLEN * 4)));      /* half as many 64-bit lanes */

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

/* One half of VL neighbouring blocks: those with even or those with odd numbers, a word in the low
 * half of each 64-bit lane. The high halves hold left-overs: the products never look at them. */
GQ_INLINE void philox_half(uint64_t seed, uint64_t block, uint32_t purpose, uint32_t step, vl_ w[4])
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    const vl_ m0 = (vl_){0} + 0xD2511F53u, m1 = (vl_){0} + 0xCD9E8D57u;
    vl_ lane;
    for (int i = 0; i < VL / 2; i++)
        lane[i] = 2 * (uint64_t)i;
    w[0] = block + lane;
    w[1] = w[0] >> 32;
    w[2] = (vl_){0} + purpose;
    w[3] = (vl_){0} + step;
    for (int round = 0; round < 10; round++) {
        vl_ p0 = vmul_even(w[0], m0), p1 = vmul_even(w[2], m1);
        w[0] = (p1 >> 32) ^ w[1] ^ k0;
        w[1] = p1;
        w[2] = (p0 >> 32) ^ w[3] ^ k1;
        w[3] = p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* Words 0..3 of the blocks `block`, `block` + 1, ... */
GQ_INLINE void philox_blocks(uint64_t seed, uint64_t block, uint32_t purpose, uint32_t step,
                             vu w[4])
{
    vl_ even[4], odd[4];
    philox_half(seed, block, purpose, step, even);
    philox_half(seed, block + 1, purpose, step, odd);
    for (int i = 0; i < 4; i++)
        w[i] = (vu)((even[i] & 0xffffffffu) | (odd[i] << 32));
}

/* Lanes of a and b in turn: the first half of each, or the second half. */
#define MERGE_LOW_(l, s)  ((l) % 2 * VL + (l) / 2)
#define MERGE_HIGH_(l, s) ((l) % 2 * VL + (l) / 2 + VL / 2)
GQ_INLINE vf vmerge(vf a, vf b, int high)
{
    const vi low_lanes = LANES_(MERGE_LOW_, 0), high_lanes = LANES_(MERGE_HIGH_, 0);
    return high ? __builtin_shuffle(a, b, high_lanes) : __builtin_shuffle(a, b, low_lanes);
}

/* dst[i] = factor of element e0 + i: 0 when it is dropped, 1/(1-p) when it is kept; i in [0, n) */
GQ_INLINE void drop_factors(float *dst, int64_t n, uint64_t e0, const gq_call *c)
{
    const float p = c->attr.p;
    const vf    kept = vset(1.0f / (1.0f - p));
    for (int64_t i = 0; i < n;) {
        float   t[4 * GQ_VLEN];
        vu      w[4];
        vf      f[4];
        int64_t skip = (int64_t)((e0 + (uint64_t)i) & 3), count = 4 * VL - skip;
        philox_blocks(c->step->seed, (e0 + (uint64_t)i) >> 2, c->rng_op, gq_step_word(c), w);
        for (int k = 0; k < 4; k++)
            f[k] = vselect(__builtin_convertvector((vi)(w[k] >> 8), vf) * 0x1p-24f >= p, kept,
                           vset(0.0f));
        vf even[2] = {vmerge(f[0], f[2], 0), vmerge(f[0], f[2], 1)};
        vf odd[2] = {vmerge(f[1], f[3], 0), vmerge(f[1], f[3], 1)};
        float *to = skip == 0 && n - i >= 4 * VL ? dst + i : t;
        for (int k = 0; k < 4; k++)
            vstore(to + k * VL, vmerge(even[k / 2], odd[k / 2], k % 2));
        count = count < n - i ? count : n - i;
        if (to == t)
            memcpy(dst + i, t + skip, (size_t)count * sizeof(float));
        i += count;
    }
}

#endif
