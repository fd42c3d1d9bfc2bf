/* Masks of masked video modelling: rates and flags have the distributions of specification
 * models.md 1.7, counts are exact where they should be, and everything is a pure function of
 * (seed, step, slot).
 *
 * Statistical bounds are five standard errors of the stated sample size; draws are seeded, so a
 * test never flickers. */
#include "support.h"

#include "core/philox.h"
#include "train/mask.h"

enum { N = 96, STEPS = 40000 };

/* The default of the main configuration: bernoulli, normal(0.5, 0.1) clipped to [0.1, 0.7], one
 * rate a batch. */
static gq_config defaults(void)
{
    static gq_config c;
    memset(&c, 0, sizeof c);
    c.train.steps = 1000;
    c.mvm.enable = true;
    c.mvm.rate_dist = GQ_CFG_RATE_NORMAL_CLIP;
    c.mvm.rate_mean = 0.5;
    c.mvm.rate_std = 0.1;
    c.mvm.rate_lo = 0.1;
    c.mvm.rate_hi = 0.7;
    c.mvm.rate_scope = GQ_CFG_SCOPE_BATCH;
    c.mvm.sampler = GQ_CFG_SAMPLER_BERNOULLI;
    c.mvm.granularity = GQ_CFG_GRAIN_TOKEN;
    c.mvm.denom = GQ_CFG_DENOM_ACTUAL;
    c.mvm.min_keep = 1;
    c.mvm.prob = 1.0;
    return c;
}

static gq_mask_key key(uint32_t step)
{
    return (gq_mask_key){.seed = 1234567, .step = step};
}

/* ---- rates ----------------------------------------------------------------------------------- */

/* E[clip(N(0.5, 0.1), 0.1, 0.7)] = 0.49915; it reaches the upper bound with P(Z > 2) = 2.28 %. */
static void clipped_normal(void **state)
{
    gq_config c = defaults();
    double    sum = 0.0, square = 0.0;
    int       top = 0, bottom = 0;

    (void)state;
    for (uint32_t s = 0; s < STEPS; s++) {
        double r = gq_mask_rate(&c, key(s), 0);
        assert_true(r >= 0.1 && r <= 0.7);
        sum += r;
        square += r * r;
        top += r == 0.7;
        bottom += r == 0.1;
    }
    sum /= STEPS;
    print_message("mean rate %.5f, at the cap %.3f %%\n", sum, 100.0 * top / STEPS);
    assert_true(fabs(sum - 0.49915) < 5 * 0.1 / sqrt(STEPS));
    assert_true(fabs((double)top / STEPS - 0.02275) < 5 * sqrt(0.02275 * 0.97725 / STEPS));
    assert_true(bottom < 12);                       /* P(Z < -4) is 3 in 100,000 */
    /* E[x^2] of the clipped normal in closed form gives a standard deviation of 0.09799 */
    assert_true(fabs(sqrt(square / STEPS - sum * sum) - 0.09799) < 5 * 0.1 / sqrt(2.0 * STEPS));
}

static void fixed_and_uniform(void **state)
{
    gq_config c = defaults();
    double    sum = 0.0, least = 1.0, most = 0.0;

    (void)state;
    c.mvm.rate_dist = GQ_CFG_RATE_FIXED;
    c.mvm.rate_mean = 0.45;
    for (uint32_t s = 0; s < 100; s++)
        assert_true(gq_mask_rate(&c, key(s), s) == 0.45);
    c.mvm.rate_dist = GQ_CFG_RATE_UNIFORM;
    for (uint32_t s = 0; s < STEPS; s++) {
        double r = gq_mask_rate(&c, key(s), 0);
        sum += r;
        least = fmin(least, r);
        most = fmax(most, r);
    }
    assert_true(fabs(sum / STEPS - 0.4) < 5 * 0.6 / sqrt(12.0 * STEPS));
    assert_true(least >= 0.1 && least < 0.101 && most < 0.7 && most > 0.699);
}

static void one_rate_a_batch_or_a_sample(void **state)
{
    gq_config c = defaults();
    int       differ = 0;

    (void)state;
    for (uint32_t slot = 1; slot < 50; slot++)
        assert_true(gq_mask_rate(&c, key(9), slot) == gq_mask_rate(&c, key(9), 0));
    c.mvm.rate_scope = GQ_CFG_SCOPE_SAMPLE;
    for (uint32_t slot = 1; slot < 50; slot++)
        differ += gq_mask_rate(&c, key(9), slot) != gq_mask_rate(&c, key(9), slot - 1);
    assert_true(differ > 45);
}

/* ---- which steps are masked ------------------------------------------------------------------ */

static void start_and_probability(void **state)
{
    gq_config c = defaults();
    int       masked = 0;

    (void)state;
    c.mvm.start = (gq_amount){.value = 0.25, .fraction = true};      /* of 1000 steps */
    assert_false(gq_mask_step(&c, key(0)));
    assert_false(gq_mask_step(&c, key(249)));
    assert_true(gq_mask_step(&c, key(250)));
    c.mvm.start = (gq_amount){.value = 10};
    assert_false(gq_mask_step(&c, key(9)));
    assert_true(gq_mask_step(&c, key(10)));
    c.mvm.prob = 0.3;
    for (uint32_t s = 0; s < STEPS; s++)
        masked += gq_mask_step(&c, key(s));
    assert_true(fabs((double)masked / STEPS - 0.3) < 5 * sqrt(0.21 / STEPS) + 10.0 / STEPS);
    c.mvm.prob = 0.0;
    for (uint32_t s = 0; s < 1000; s++)
        assert_false(gq_mask_step(&c, key(s)));
    c.mvm.prob = 1.0;
    c.mvm.enable = false;
    assert_false(gq_mask_step(&c, key(500)));
}

/* ---- flags ----------------------------------------------------------------------------------- */

static int flags(const gq_config *c, uint32_t step, uint32_t slot, int n, uint8_t *keep)
{
    int kept = gq_mask_tokens(c, key(step), slot, n, keep), count = 0;
    for (int j = 0; j < n; j++) {
        assert_true(keep[j] <= 1);
        count += keep[j];
    }
    assert_int_equal(kept, count);
    return kept;
}

static void bernoulli_counts(void **state)
{
    gq_config c = defaults();
    uint8_t   keep[N];
    int64_t   masked = 0, place[N] = {0}, pairs = 0;
    int       draws = 4000;

    (void)state;
    c.mvm.rate_dist = GQ_CFG_RATE_FIXED;
    c.mvm.rate_mean = 0.3;
    for (int s = 0; s < draws; s++) {
        masked += N - flags(&c, (uint32_t)s / 8, (uint32_t)s % 8, N, keep);
        for (int j = 0; j < N; j++)
            place[j] += !keep[j];
        for (int j = 0; j + 1 < N; j++)
            pairs += !keep[j] && !keep[j + 1];
    }
    assert_true(fabs((double)masked / draws / N - 0.3) < 5 * sqrt(0.21 / (double)(draws * N)));
    for (int j = 0; j < N; j++)                     /* every place alike */
        assert_true(fabs((double)place[j] / draws - 0.3) < 5 * sqrt(0.21 / draws));
    /* neighbours are independent: both masked with 0.09 (overlapping pairs: a wider bound) */
    assert_true(fabs((double)pairs / draws / (N - 1) - 0.09) <
                8 * sqrt(0.09 * 0.91 / (double)(draws * (N - 1))));
}

static void exact_counts(void **state)
{
    static const double rates[] = {0.0, 0.01, 0.25, 0.5, 0.699, 0.999};
    gq_config           c = defaults();
    uint8_t             keep[N];
    int64_t             place[N] = {0};
    int                 draws = 4000;

    (void)state;
    c.mvm.rate_dist = GQ_CFG_RATE_FIXED;
    c.mvm.sampler = GQ_CFG_SAMPLER_EXACT;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        for (int n = 1; n <= N; n += 19) {
            c.mvm.rate_mean = rates[i];
            for (uint32_t slot = 0; slot < 20; slot++) {
                int want = n - (int)floor(rates[i] * n);
                assert_int_equal(flags(&c, 3, slot, n, keep), want > 0 ? want : 1);
            }
        }
    c.mvm.rate_mean = 0.25;
    for (int s = 0; s < draws; s++) {
        assert_int_equal(flags(&c, (uint32_t)s, 5, N, keep), 72);
        for (int j = 0; j < N; j++)
            place[j] += !keep[j];
    }
    for (int j = 0; j < N; j++)                     /* every place alike: a uniform subset */
        assert_true(fabs((double)place[j] / draws - 0.25) < 5 * sqrt(0.25 * 0.75 / draws));
}

/* exact masks the tokens with the smallest random words, ties to the lower index */
static void exact_masks_the_smallest_words(void **state)
{
    gq_config c = defaults();
    uint8_t   keep[N];

    (void)state;
    c.mvm.rate_dist = GQ_CFG_RATE_FIXED;
    c.mvm.rate_mean = 0.4;
    c.mvm.sampler = GQ_CFG_SAMPLER_EXACT;
    for (uint32_t slot = 0; slot < 30; slot++) {
        uint32_t largest = 0, least = UINT32_MAX;
        flags(&c, 2, slot, N, keep);
        for (int j = 0; j < N; j++) {
            uint32_t w =
                gq_philox_at(1234567, ((uint64_t)slot << 32) + (uint64_t)j, GQ_RNG_MASK, 2);
            if (keep[j])
                least = w < least ? w : least;
            else
                largest = w > largest ? w : largest;
        }
        assert_true(largest <= least);
    }
}

static void at_least_min_keep(void **state)
{
    gq_config c = defaults();
    uint8_t   keep[N];

    (void)state;
    c.mvm.rate_dist = GQ_CFG_RATE_FIXED;
    c.mvm.rate_mean = 0.999;
    for (int sampler = 0; sampler < 2; sampler++)
        for (int64_t least = 0; least < 9; least += 4) {
            int64_t fewest = N;
            c.mvm.sampler = sampler ? GQ_CFG_SAMPLER_EXACT : GQ_CFG_SAMPLER_BERNOULLI;
            c.mvm.min_keep = least;
            for (uint32_t s = 0; s < 500; s++) {
                int kept = flags(&c, s, 1, N, keep);
                fewest = kept < fewest ? kept : fewest;
            }
            assert_true(fewest >= least);
            assert_true(fewest <= (least ? least : 1));
        }
    c.mvm.min_keep = 100;                           /* more than there are: all are kept */
    assert_int_equal(flags(&c, 0, 0, N, keep), N);
}

static void elements(void **state)
{
    static float keep[N * 64], again[N * 64];
    gq_config    c = defaults();
    double       sum = 0.0;

    (void)state;
    c.mvm.rate_dist = GQ_CFG_RATE_FIXED;
    c.mvm.rate_mean = 0.2;
    c.mvm.granularity = GQ_CFG_GRAIN_ELEMENT;
    gq_mask_elements(&c, key(4), 2, N * 64, keep);
    for (int i = 0; i < N * 64; i++) {
        assert_true(keep[i] == 0.0f || keep[i] == 1.0f);
        sum += keep[i];
    }
    assert_true(fabs(sum / (N * 64) - 0.8) < 5 * sqrt(0.16 / (N * 64)));
    gq_mask_elements(&c, key(4), 2, N * 64, again);
    assert_memory_equal(keep, again, sizeof keep);
    gq_mask_elements(&c, key(4), 3, N * 64, again);
    assert_memory_not_equal(keep, again, sizeof keep);
}

/* ---- purity ---------------------------------------------------------------------------------- */

/* Slots asked in any order, alone or together, with anything drawn in between: the same flags. */
static void any_order_of_slots(void **state)
{
    gq_config c = defaults();
    uint8_t   all[24][N], keep[N];
    int       same = 0;

    (void)state;
    c.mvm.rate_scope = GQ_CFG_SCOPE_SAMPLE;
    for (int sampler = 0; sampler < 2; sampler++) {
        c.mvm.sampler = sampler ? GQ_CFG_SAMPLER_EXACT : GQ_CFG_SAMPLER_BERNOULLI;
        for (uint32_t slot = 0; slot < 24; slot++)
            flags(&c, 17, slot, N, all[slot]);
        for (uint32_t k = 0; k < 24; k++) {
            uint32_t slot = k * 7 % 24;             /* a permutation */
            flags(&c, 16, slot, N, keep);
            assert_memory_not_equal(keep, all[slot], N);             /* another step, other flags */
            flags(&c, 17, slot, N, keep);
            assert_memory_equal(keep, all[slot], N);
            same += slot > 0 && memcmp(all[slot], all[slot - 1], N) == 0;
        }
    }
    assert_int_equal(same, 0);
    gq_mask_tokens(&c, (gq_mask_key){.seed = 1234568, .step = 17}, 0, N, keep);
    assert_memory_not_equal(keep, all[0], N);       /* another seed */
}

/* 24 samples a step as 1 x 24, 3 x 8, 8 x 3 or 24 x 1 (micro-batches x batch): slot = micro *
 * batch + row. */
static void any_split_into_micro_batches(void **state)
{
    static const uint32_t batches[] = {24, 8, 3, 1};
    gq_config             c = defaults();
    uint8_t               first[24][N], keep[N];

    (void)state;
    for (int k = 0; k < 4; k++)
        for (uint32_t micro = 0; micro < 24 / batches[k]; micro++)
            for (uint32_t row = 0; row < batches[k]; row++) {
                uint32_t slot = micro * batches[k] + row;
                flags(&c, 5, slot, N, k ? keep : first[slot]);
                if (k)
                    assert_memory_equal(keep, first[slot], N);
            }
}

/* ---- denominators ---------------------------------------------------------------------------- */

static void denominators(void **state)
{
    static uint8_t keep[9000];
    gq_config      c = defaults();

    (void)state;
    for (int sampler = 0; sampler < 2; sampler++)
        for (int scope = 0; scope < 2; scope++)
            for (int n = 5; n < 9000; n = n * 4 + 1) {       /* more tokens than any small buffer */
                double actual = 0.0, expected = 0.0;
                c.mvm.sampler = sampler ? GQ_CFG_SAMPLER_EXACT : GQ_CFG_SAMPLER_BERNOULLI;
                c.mvm.rate_scope = scope ? GQ_CFG_SCOPE_SAMPLE : GQ_CFG_SCOPE_BATCH;
                c.mvm.min_keep = n == 5 ? 4 : 1;
                for (uint32_t slot = 0; slot < 7; slot++) {
                    actual += gq_mask_tokens(&c, key(8), slot, n, keep);
                    expected += (1.0 - gq_mask_rate(&c, key(8), slot)) * n;
                }
                c.mvm.denom = GQ_CFG_DENOM_ACTUAL;
                assert_true(gq_mask_denominator(&c, key(8), 7, n) == actual);
                c.mvm.denom = GQ_CFG_DENOM_EXPECTED;
                assert_true(fabs(gq_mask_denominator(&c, key(8), 7, n) - expected) <
                            1e-9 * expected);
            }
    c.mvm.granularity = GQ_CFG_GRAIN_ELEMENT;       /* every token takes part */
    assert_true(gq_mask_denominator(&c, key(8), 7, N) == 7 * N);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clipped_normal),
        cmocka_unit_test(fixed_and_uniform),
        cmocka_unit_test(one_rate_a_batch_or_a_sample),
        cmocka_unit_test(start_and_probability),
        cmocka_unit_test(bernoulli_counts),
        cmocka_unit_test(exact_counts),
        cmocka_unit_test(exact_masks_the_smallest_words),
        cmocka_unit_test(at_least_min_keep),
        cmocka_unit_test(elements),
        cmocka_unit_test(any_order_of_slots),
        cmocka_unit_test(any_split_into_micro_batches),
        cmocka_unit_test(denominators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
