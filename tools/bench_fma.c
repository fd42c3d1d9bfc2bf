/* gifqa-bench: the roof over all matrix products, fused multiply-adds that wait for nothing. */
#include <string.h>

#include "tools/bench.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS = 12, ROUNDS = 1 << 20 }; /* latency 4 or 5 times two units a cycle: 10 are enough */

/* Twelve accumulators by name: an array would live in memory. Their sum goes out so that the loop stays. */
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define START(i) x##i = start + i;
#define STEP(i) x##i = FMA(x##i, a, b);
#define SUM(i) +x##i[0]

#define FMA _mm256_fmadd_ps
__attribute__((target("avx2,fma"))) static void narrow(void *sum, int64_t tile, int thread)
{
    __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f), start = a;
    __m256 x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11;
    EACH(START)
    for (int r = 0; r < ROUNDS; r++) {
        EACH(STEP)
    }
    ((float *)sum)[tile] = (float)thread EACH(SUM);
}
#undef FMA

#define FMA _mm512_fmadd_ps
__attribute__((target("avx512f"))) static void wide(void *sum, int64_t tile, int thread)
{
    __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f), start = a;
    __m512 x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11;
    EACH(START)
    for (int r = 0; r < ROUNDS; r++) {
        EACH(STEP)
    }
    ((float *)sum)[tile] = (float)thread EACH(SUM);
}
#undef FMA

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
