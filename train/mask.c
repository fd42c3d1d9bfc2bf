#include "train/mask.h"

#include <math.h>
#include <string.h>

#include "core/philox.h"

/* Element numbers under GQ_RNG_RATE: 0 decides the step, 1 + slot draws a rate. Normals use elements of their own
 * block numbering, so they are drawn under the next purpose. */
enum { RATE_UNIFORM = GQ_RNG_RATE, RATE_NORMAL = GQ_RNG_RATE + 1 };

bool gq_mask_step(const gq_config *c, gq_mask_key k)
{
    if (!c->mvm.enable || (int64_t)k.step < gq_amount_steps(c->mvm.start, c->train.steps))
        return false;
    return (double)gq_u01(gq_philox_at(k.seed, 0, RATE_UNIFORM, k.step)) < c->mvm.prob;
}

double gq_mask_rate(const gq_config *c, gq_mask_key k, uint32_t slot)
{
    uint64_t draw = c->mvm.rate_scope == GQ_CFG_SCOPE_BATCH ? 1 : 1 + (uint64_t)slot;
    double   rate = c->mvm.rate_mean;

    if (c->mvm.rate_dist == GQ_CFG_RATE_FIXED)
        return rate;
    if (c->mvm.rate_dist == GQ_CFG_RATE_UNIFORM)
        return c->mvm.rate_lo +
               (c->mvm.rate_hi - c->mvm.rate_lo) *
                   (double)gq_u01(gq_philox_at(k.seed, draw, RATE_UNIFORM, k.step));
    rate += c->mvm.rate_std * gq_normal_at(k.seed, draw, RATE_NORMAL, k.step);
    return fmin(fmax(rate, c->mvm.rate_lo), c->mvm.rate_hi);
}

/* A slot owns 2^32 elements of the mask stream. */
static uint64_t element(uint32_t slot, int64_t i)
{
    return ((uint64_t)slot << 32) + (uint64_t)i;
}

static uint32_t word(gq_mask_key k, uint32_t slot, int j)
{
    return gq_philox_at(k.seed, element(slot, j), GQ_RNG_MASK, k.step);
}

/* The count-th smallest random word of n, by bisection on its value. */
static uint32_t smallest(gq_mask_key k, uint32_t slot, int n, int count)
{
    uint32_t lo = 0, hi = UINT32_MAX;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int      below = 0;
        for (int j = 0; j < n; j++)
            below += word(k, slot, j) <= mid;
        if (below >= count)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* Masks the `count` tokens with the smallest random words, ties to the lower index: a uniform random subset of exactly
 * that size. */
static void mask_exact(gq_mask_key k, uint32_t slot, int n, int count, uint8_t *keep)
{
    uint32_t last = count ? smallest(k, slot, n, count) : 0;
    int      ties = count;                  /* how many of the words equal to the last are masked */

    for (int j = 0; j < n; j++)
        ties -= word(k, slot, j) < last;
    for (int j = 0; j < n; j++) {
        uint32_t w = word(k, slot, j);
        keep[j] = !(w < last || (w == last && ties-- > 0));
    }
}

int gq_mask_tokens(const gq_config *c, gq_mask_key k, uint32_t slot, int n, uint8_t *keep)
{
    double rate = gq_mask_rate(c, k, slot);
    int    kept = 0;

    if (c->mvm.sampler == GQ_CFG_SAMPLER_EXACT) {
        mask_exact(k, slot, n, (int)floor(rate * n), keep);
    } else {
        for (int j = 0; j < n; j++)
            keep[j] = (double)gq_u01(word(k, slot, j)) >= rate;
    }
    for (int j = 0; j < n; j++)
        kept += keep[j];
    for (int j = 0; j < n && kept < c->mvm.min_keep; j++) {
        kept += !keep[j];
        keep[j] = 1;
    }
    return kept;
}

/* What gq_mask_tokens() returns, without the flags. */
static int count_kept(const gq_config *c, gq_mask_key k, uint32_t slot, int n)
{
    double rate = gq_mask_rate(c, k, slot);
    int    kept = n - (int)floor(rate * n);

    if (c->mvm.sampler != GQ_CFG_SAMPLER_EXACT) {
        kept = 0;
        for (int j = 0; j < n; j++)
            kept += (double)gq_u01(word(k, slot, j)) >= rate;
    }
    if (kept < c->mvm.min_keep)
        kept = c->mvm.min_keep < n ? (int)c->mvm.min_keep : n;
    return kept;
}

void gq_mask_elements(const gq_config *c, gq_mask_key k, uint32_t slot, int64_t n, float *keep)
{
    double rate = gq_mask_rate(c, k, slot);
    for (int64_t i = 0; i < n; i++)
        keep[i] =
            (double)gq_u01(gq_philox_at(k.seed, element(slot, i), GQ_RNG_MASK, k.step)) >= rate
                ? 1.0f
                : 0.0f;
}

double gq_mask_denominator(const gq_config *c, gq_mask_key k, uint32_t samples, int n)
{
    double sum = 0.0;

    for (uint32_t slot = 0; slot < samples; slot++) {
        if (c->mvm.granularity == GQ_CFG_GRAIN_ELEMENT)
            sum += n;
        else if (c->mvm.denom == GQ_CFG_DENOM_EXPECTED)
            sum += (1.0 - gq_mask_rate(c, k, slot)) * n;
        else
            sum += count_kept(c, k, slot, n);
    }
    return sum;
}
