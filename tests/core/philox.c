/* core/philox.*: the published vectors, and statistics with bounds that follow from the sample
 * size.
 *
 * Every draw is a pure function of fixed seeds, so a test passes always or never; the bounds are
 * wide enough (five standard deviations or more) that a sound generator passes, and narrow
 * enough that the usual mistakes do not. */
#include "core/philox.h"

#include "core/mem.h"
#include "support.h"

/* Random123's kat_vectors for philox4x32-10 */
static void published_vectors(void **state)
{
    static const struct { uint64_t key, block; uint32_t w2, w3, want[4]; } kat[] = {
        {0, 0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {~0ull, ~0ull, ~0u, ~0u, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822, 0x85a308d3243f6a88, 0x13198a2e, 0x03707344,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        gq_philox b = gq_philox_block(kat[i].key, kat[i].block, kat[i].w2, kat[i].w3);
        assert_memory_equal(b.w, kat[i].want, sizeof b.w);
    }
    for (uint64_t e = 0; e < 12; e++)
        assert_int_equal(gq_philox_at(5, e, 6, 7), gq_philox_block(5, e / 4, 6, 7).w[e % 4]);
}

static void uniform(void **state)
{
    enum { N = 200000 };
    double sum = 0, sum2 = 0;
    (void)state;
    assert_true(gq_u01(0) == 0.0f);
    assert_true(gq_u01(0xffffffffu) == 1.0f - 0x1p-24f);
    assert_true(gq_u01(0x80000000u) == 0.5f);
    for (uint64_t e = 0; e < N; e++) {
        float u = gq_u01(gq_philox_at(11, e, GQ_RNG_TEST, 3));
        assert_true(u >= 0 && u < 1);
        sum += (double)u;
        sum2 += (double)u * (double)u;
    }
    /* standard deviation of the mean 1/sqrt(12 N), of the mean square sqrt(4/45/N) */
    assert_true(fabs(sum / N - 0.5) < 5 / sqrt(12.0 * N));
    assert_true(fabs(sum2 / N - 1.0 / 3) < 5 * sqrt(4.0 / 45 / N));
}

static void normal(void **state)
{
    enum { N = 200000 };
    double   m[5] = {0}, cross = 0, last = 0;
    unsigned beyond3 = 0;
    (void)state;
    for (uint64_t e = 0; e < N; e++) {
        double z = gq_normal_at(12, e, GQ_RNG_TEST, 0);
        for (int k = 1; k <= 4; k++)
            m[k] += pow(z, k) / N;
        cross += z * last / N;
        beyond3 += fabs(z) > 3;
        last = z;
    }
    /* variances of the sample moments: 1, 2, 15, 96 over N; of the product of neighbours 1/N */
    assert_true(fabs(m[1]) < 5 * sqrt(1.0 / N));
    assert_true(fabs(m[2] - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(m[3]) < 5 * sqrt(15.0 / N));
    assert_true(fabs(m[4] - 3) < 5 * sqrt(96.0 / N));
    assert_true(fabs(cross) < 5 * sqrt(1.0 / N));
    double p = erfc(3 / sqrt(2.0));
    assert_true(fabs(beyond3 - N * p) < 5 * sqrt(N * p));
    assert_true(gq_normal_at(12, 0, GQ_RNG_TEST, 0) != gq_normal_at(12, 1, GQ_RNG_TEST, 0));
    assert_true(gq_normal_at(12, 0, GQ_RNG_TEST, 0) != gq_normal_at(12, 0, GQ_RNG_TEST, 1));
}

static void below_is_unbiased(void **state)
{
    static const uint32_t sizes[] = {2, 3, 7, 10, 97, 1000};
    enum { PER_CELL = 200 };
    (void)state;
    assert_int_equal(gq_below_at(1, 2, 3, 4, 1), 0);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        uint32_t  n = sizes[k];
        uint64_t  draws = (uint64_t)n * PER_CELL;
        unsigned *cell = gq_calloc(n, sizeof *cell);
        double    chi2 = 0;
        assert_non_null(cell);
        for (uint64_t e = 0; e < draws; e++) {
            uint32_t v = gq_below_at(13, e, GQ_RNG_TEST, 0, n);
            assert_true(v < n);
            cell[v]++;
        }
        for (uint32_t i = 0; i < n; i++)
            chi2 += (cell[i] - (double)PER_CELL) * (cell[i] - (double)PER_CELL) / PER_CELL;
        gq_free(cell);
        double df = n - 1;                         /* mean df, variance 2 df; small df: long tail */
        assert_true(chi2 < df + 5 * sqrt(2 * df) + 10);
        assert_true(chi2 > df - 5 * sqrt(2 * df));
    }
    /* n = 3 * 2^30: plain multiply-shift without rejection would give each third value twice */
    unsigned third[3] = {0};
    enum { N = 30000 };
    for (uint64_t e = 0; e < N; e++)
        third[gq_below_at(14, e, GQ_RNG_TEST, 0, 3u << 30) % 3]++;
    for (int i = 0; i < 3; i++)
        assert_true(fabs(third[i] - N / 3.0) < 5 * sqrt(N * 2.0 / 9));
}

/* 0..n-1 each once, for all small n and some awkward large ones. */
static void permutation_is_one(void **state)
{
    uint8_t *seen = gq_malloc(70000, 1);
    (void)state;
    assert_non_null(seen);
    for (uint64_t n = 1; n < 70000; n = n < 70 ? n + 1 : n * 3 + 1) {
        memset(seen, 0, n);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t v = gq_permute(15, 1, n, i);
            assert_true(v < n);
            assert_int_equal(seen[v]++, 0);
        }
    }
    gq_free(seen);
    static const uint64_t large[] = {(1ull << 32) - 1, (1ull << 32) + 1, 1ull << 40};
    for (size_t k = 0; k < 3; k++)
        for (uint64_t i = 0; i < 1000; i++)
            assert_true(gq_permute(16, 2, large[k], i) < large[k]);
}

/* Looks shuffled: no memory of the place, of the neighbour, of the epoch, and all orders of four
 * alike. */
static void permutation_is_shuffled(void **state)
{
    enum { N = 1000, SMALL = 24000 };
    double   dot = 0, mean = (N - 1) / 2.0, var = ((double)N * N - 1) / 12;
    unsigned neighbours = 0, same = 0, orders[256] = {0}, kinds = 0;
    (void)state;
    for (uint64_t i = 0; i < N; i++) {
        uint64_t v = gq_permute(17, 1, N, i), w = gq_permute(17, 1, N, (i + 1) % N);
        dot += ((double)i - mean) * ((double)v - mean) / var / N;
        neighbours += w == v + 1;
        same += v == gq_permute(17, 2, N, i);
    }
    assert_true(fabs(dot) < 5 / sqrt(N));                    /* correlation of a random order */
    assert_true(neighbours < 10 && same < 10);               /* both are Poisson with mean 1 */
    for (uint32_t epoch = 0; epoch < SMALL; epoch++) {
        unsigned code = 0;
        for (uint64_t i = 0; i < 4; i++)
            code = code << 2 | (unsigned)gq_permute(18, epoch, 4, i);
        orders[code]++;
    }
    /* a network over halves of one bit is not quite even: all within 15 % of 1000 (chance 3 %) */
    for (int i = 0; i < 256; i++) {
        kinds += orders[i] > 0;
        assert_true(orders[i] == 0 || (orders[i] > 850 && orders[i] < 1150));
    }
    assert_int_equal(kinds, 24);
}

/* Every length, and starts where the counter's low word runs over; both computations are within 1 ulp
 * in logarithm, root, sine or cosine and product each. */
static void pairs_in_bulk_are_the_pairs(void **state)
{
    static const uint64_t firsts[] = {0, 1, 4294967290u, (1ull << 40) - 3};
    double got[2 * 1003];
    int    rounded = 0;

    (void)state;
    for (int f = 0; f < 4; f++)
        for (size_t n = 1; n <= 1003; n = n < 20 ? n + 1 : n + 983) {
            got[2 * n - 1] = 99.0;
            gq_normal_pairs(77, firsts[f], 5, 9, n, got);
            for (size_t i = 0; i < 2 * n; i++) {
                double pair[2], want;
                gq_normal_pair(77, firsts[f] + i / 2, 5, 9, pair);
                want = pair[i % 2];
                /* near zero the error is that of the reduced angle: absolute */
                assert_true(fabs(got[i] - want) <= 4 * 0x1p-52 * fmax(fabs(want), 1.0));
                rounded += (float)got[i] != (float)want;
            }
        }
    assert_true(rounded <= 1);          /* 4 ulp of double change one float in 10^8 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors), cmocka_unit_test(uniform),
        cmocka_unit_test(normal),            cmocka_unit_test(below_is_unbiased),
        cmocka_unit_test(permutation_is_one), cmocka_unit_test(permutation_is_shuffled),
        cmocka_unit_test(pairs_in_bulk_are_the_pairs),
    };
    return cmocka_run_group_tests_name("core/philox", tests, NULL, NULL);
}
