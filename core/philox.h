/* philox.h - counter-based random numbers, the same bits on host and device.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC
 * 2011). Every random number of gifqa is a pure function of (seed, purpose, step, element): there
 * is no generator state to save, the order of work cannot matter, and a resumed run draws what the
 * uninterrupted one would have drawn.
 *
 * Counter layout: word 0 and 1 = element index / 4 (low, high), word 2 = purpose or op id, word 3 =
 * step. Element e takes word e % 4 of the block. Key = the 64-bit run seed.
 */
#ifndef GIFQA_CORE_PHILOX_H
#define GIFQA_CORE_PHILOX_H

#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define GQ_HD __host__ __device__ static inline
#else
#define GQ_HD static inline
#endif

typedef struct gq_philox { uint32_t w[4]; } gq_philox;

GQ_HD gq_philox gq_philox_block(uint64_t seed, uint64_t block, uint32_t purpose, uint32_t step)
{
    uint32_t  k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    gq_philox c = {{(uint32_t)block, (uint32_t)(block >> 32), purpose, step}};
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c.w[0], p1 = (uint64_t)0xCD9E8D57u * c.w[2];
        gq_philox n = {{(uint32_t)(p1 >> 32) ^ c.w[1] ^ k0, (uint32_t)p1,
                        (uint32_t)(p0 >> 32) ^ c.w[3] ^ k1, (uint32_t)p0}};
        c = n;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

/* 32 random bits of one element */
GQ_HD uint32_t gq_philox_at(uint64_t seed, uint64_t element, uint32_t purpose, uint32_t step)
{
    return gq_philox_block(seed, element >> 2, purpose, step).w[element & 3];
}

/* uniform in [0, 1): 24 bits times 2^-24, exact in float */
GQ_HD float gq_u01(uint32_t bits) { return (float)(bits >> 8) * 0x1p-24f; }

/* Purposes: values of word 2 that are not op ids of a tape (those are small). */
enum {
    GQ_RNG_INIT    = 0x10000000,        /* + parameter index: initialisation, normals             */
    GQ_RNG_SHUFFLE = 0x20000000,        /* keyed permutation of an epoch                          */
    GQ_RNG_MASK    = 0x30000000,        /* MVM mask flags                                         */
    GQ_RNG_RATE    = 0x31000000,        /* MVM mask rate, mask probability                        */
    GQ_RNG_WORLD   = 0x40000000,        /* toy world                                              */
    GQ_RNG_SAMPLE  = 0x50000000,        /* decoding by sampling                                   */
    GQ_RNG_BOOT    = 0x60000000,        /* bootstrap intervals                                    */
    GQ_RNG_FETCH   = 0x68000000,        /* pauses before a URL is asked again                     */
    GQ_RNG_TEST    = 0x70000000,
};

/* Standard normal by Box-Muller in double; host only: libm and CUDA differ in the last bit. */
double gq_normal_at(uint64_t seed, uint64_t element, uint32_t purpose, uint32_t step);
/* Elements 2*pair and 2*pair+1 of the same stream at once, for half the work. */
void   gq_normal_pair(uint64_t seed, uint64_t pair, uint32_t purpose, uint32_t step, double out[2]);
/* Pairs first .. first+pairs-1 into out[2*pairs], many times faster; within 4 ulp of
 * gq_normal_pair(), the same bits on every machine (core/normals.c). */
void   gq_normal_pairs(uint64_t seed, uint64_t first, uint32_t purpose, uint32_t step, size_t pairs, double *out);

/* Uniform integer in [0, n), unbiased for n < 2^32 by multiply-shift with rejection over `element`
 * sub-draws. */
uint32_t gq_below_at(uint64_t seed, uint64_t element, uint32_t purpose, uint32_t step, uint32_t n);

/* The i-th element of a keyed pseudo-random permutation of 0..n-1: a four-round-plus Feistel
 * network over the next even power of two, cycle-walked into range. Position i of epoch e is known
 * without any other position. */
uint64_t gq_permute(uint64_t seed, uint32_t epoch, uint64_t n, uint64_t i);

#endif
