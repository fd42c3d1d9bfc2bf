/* mask.h - which steps of a run are masked, at what rate, and which visual tokens are kept.
 *
 * Everything here is a pure function of (run seed, step, slot), slot being the sample's place in the whole step's
 * batch (micro-batch * batch + row): the same on resume, for any batch/accumulation split and on every device.
 * Definitions: ST-LLM (Liu et al. 2024) and specification 1.7: rate = clip(N(mean, std), lo, hi), a fixed value, or
 * uniform in [lo, hi]; bernoulli keeps a token when u >= rate; exact masks floor(rate * N) tokens of a permutation.
 */
#ifndef GIFQA_TRAIN_MASK_H
#define GIFQA_TRAIN_MASK_H

#include <stdbool.h>
#include <stdint.h>

#include "train/config.h"

typedef struct gq_mask_key {
    uint64_t seed;                      /* of the run                                             */
    uint32_t step;                      /* counts from 0                                          */
} gq_mask_key;

/* Is this step masked at all? (mvm.enable, mvm.start, mvm.prob) */
bool   gq_mask_step(const gq_config *c, gq_mask_key k);
double gq_mask_rate(const gq_config *c, gq_mask_key k, uint32_t slot);       /* fraction masked   */
/* keep[n] = 1 for kept tokens, 0 for masked ones, at least mvm.min_keep kept; returns how many are kept. */
int    gq_mask_tokens(const gq_config *c, gq_mask_key k, uint32_t slot, int n, uint8_t *keep);
/* element granularity: keep[n] over all elements of a sample's visual tokens */
void   gq_mask_elements(const gq_config *c, gq_mask_key k, uint32_t slot, int64_t n, float *keep);
/* The MVM loss denominator of `samples` slots with n tokens each: kept tokens, or their expectation. */
double gq_mask_denominator(const gq_config *c, gq_mask_key k, uint32_t samples, int n);

#endif
