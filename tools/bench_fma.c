/* gifqa-bench: the roof over all matrix products, fused multiply-adds that wait for nothing. */
#include <string.h>

#include "tools/bench.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS = 12, ROUNDS = 1 << 20 }; /* latency 4 or 5 times two units a cycle: 10 are enough */

/* Twelve accumulators by name: an array would live in memory. Their sum goes out so that the
 * loop stays. */
#define EACH(X, F) X(0, F) X(1, F) X(2, F) X(3, F) X(4, F) X(5, F) X(6, F) X(7, F) X(8, F) X(9, F) \
    X(10, F) X(11, F)
#define START(i, F) , x##i = a + i
#define STEP(i, F) x##i = F(x##i, a, b);
#define SUM(i, F) +x##i[0]

#define KERNEL(NAME, TARGET, VECTOR, SET, FMA)                                                     \
    __attribute__((target(TARGET))) static void NAME(void *sum, int64_t tile, int thread)          \
    {                                                                                              \
        VECTOR a = SET(0.999f), b = SET(0.001f) EACH(START, FMA);                                  \
        for (int r = 0; r < ROUNDS; r++) {                                                         \
            EACH(STEP, FMA)                                                                        \
        }                                                                                          \
        ((float *)sum)[tile] = (float)thread EACH(SUM, FMA);                                       \
    }

KERNEL(narrow, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps)
KERNEL(wide, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps)

double bench_fma_peak(gq_pool *pool, const char *rung, double seconds)
{
    enum { THREADS_MAX = 256 };
    static float sum[THREADS_MAX];
    bool         is_wide = strncmp(rung, "cpu-avx512", 10) == 0;
    int64_t      threads = gq_pool_size(pool);
    double       best = 0, begin = gq_now(),
           work = 2e-9 * (is_wide ? 16 : 8) * CHAINS * (double)ROUNDS * (double)threads;

    if (!is_wide && strcmp(rung, "cpu-avx2") != 0)
        return 0;
    for (int k = 0; k < 3 || gq_now() - begin < seconds; k++) {
        double t = gq_now();
        gq_parallel(pool, threads, is_wide ? wide : narrow, sum);
        t = gq_now() - t;
        best = t > 0 && work / t > best ? work / t : best;
    }
    return best;
}

#else

double bench_fma_peak(gq_pool *pool, const char *rung, double seconds)
{
    (void)pool;
    (void)rung;
    (void)seconds;
    return 0;
}

#endif
