#include "core/philox.h"

#include <math.h>

void gq_normal_pair(uint64_t seed, uint64_t pair, uint32_t purpose, uint32_t step, double out[2])
{
    /* two elements share one block: words 0,1 make the radius, words 2,3 the angle */
    gq_philox b = gq_philox_block(seed, pair, purpose, step);
    double    u = ((double)(((uint64_t)b.w[0] << 21) ^ (b.w[1] >> 11)) + 0.5) * 0x1p-53;
    double    a =
        (double)(((uint64_t)b.w[2] << 21) ^ (b.w[3] >> 11)) * 0x1p-53 * 6.283185307179586476925;
    double    r = sqrt(-2.0 * log(u));
    out[0] = r * cos(a);
    out[1] = r * sin(a);
}

double gq_normal_at(uint64_t seed, uint64_t element, uint32_t purpose, uint32_t step)
{
    double pair[2];
    gq_normal_pair(seed, element >> 1, purpose, step, pair);
    return pair[element & 1];
}

uint32_t gq_below_at(uint64_t seed, uint64_t element, uint32_t purpose, uint32_t step, uint32_t n)
{
    uint32_t threshold = n ? (uint32_t)(-n) % n : 0;    /* 2^32 mod n: values below it are biased */
    for (uint32_t attempt = 0;; attempt++) {
        gq_philox b = gq_philox_block(seed, element, purpose, step ^ (attempt << 24));
        for (int k = 0; k < 4; k++) {
            uint64_t m = (uint64_t)b.w[k] * n;
            if ((uint32_t)m >= threshold || attempt > 64)
                return (uint32_t)(m >> 32);
        }
    }
}

uint64_t gq_permute(uint64_t seed, uint32_t epoch, uint64_t n, uint64_t i)
{
    unsigned half = 1;
    uint64_t mask;
    while (half < 32 && (1ull << (2 * half)) < n)
        half++;
    mask = (1ull << half) - 1;
    do {
        uint64_t l = i >> half, r = i & mask;
        for (uint32_t round = 0; round < 6; round++) {
            uint64_t f = gq_philox_block(seed, r, GQ_RNG_SHUFFLE + round, epoch).w[0] & mask;
            uint64_t t = l ^ f;
            l = r;
            r = t;
        }
        i = (l << half) | r;
    } while (i >= n);
    return i;
}
