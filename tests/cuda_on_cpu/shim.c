/* shim.c - the machine that runs CUDA kernels on the host (shim.h): does it do what a GPU does, and does
 * it tell when a kernel is wrong? */
#include "core/philox.h"
#include "tests/cuda_on_cpu/shim_kernels.h"
#include "tests/support.h"

#include <signal.h>
#include <sys/wait.h>

enum { SEEDS = 8 };

static void test_barriers(void **state)
{
    float x[512], out[2];
    (void)state;
    for (int i = 0; i < 512; i++)
        x[i] = (float)i;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        gq_shim_order(seed);
        assert_int_equal(shim_block_sums(x, 2, 0, out), 0);
        assert_true(out[0] == 32640.0f && out[1] == 98176.0f);
    }
    for (int without = 1; without <= 2; without++) {
        int found = 0;
        for (unsigned seed = 0; seed < SEEDS; seed++) {
            gq_shim_order(seed);
            assert_int_equal(shim_block_sums(x, 2, without, out), 0);
            found += out[0] != 32640.0f || out[1] != 98176.0f;
        }
        assert_true(found >= SEEDS - 2);
    }
    gq_shim_order(0);
}

static void test_order(void **state)
{
    uint64_t seen[SEEDS];
    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        gq_shim_order(seed);
        seen[seed] = shim_order_seen();
        gq_shim_order(seed);
        if (seed == 0)                   /* by index: block b, then 64 threads, twice             */
            assert_true(seen[0] == shim_order_seen());
        for (unsigned before = 0; before < seed; before++)
            assert_true(seen[before] != seen[seed]);
    }
    gq_shim_order(0);
    uint64_t sum = 0, next = 0;
    for (uint64_t block = 0; block < 2; block++)                /* blockIdx.x of (x, y) = (0,0) (1,0) (0,1) (1,1) */
        for (uint64_t b = 0; b < 2; b++)
            for (uint64_t phase = 0; phase < 2; phase++)
                for (uint64_t t = 0; t < 64; t++)
                    sum += next++ * (b * 64 + t);
    assert_true(seen[0] == sum);
}

static float bf16_of(uint32_t u, uint16_t *bits)
{
    float v = (float)((int)(u % 512) - 256) / 64.0f;            /* exact in bf16: 8 bits and a sign   */
    memcpy(&u, &v, 4);
    *bits = (uint16_t)(u >> 16);
    return v;
}

static void test_shuffles(void **state)
{
    static float    x[64], out[SHIM_SHUFFLES][64];
    static double   wide[2][64];
    static uint32_t votes[SHIM_VOTES][64];
    (void)state;
    for (unsigned i = 0; i < 64; i++)
        x[i] = gq_u01(gq_philox_at(1, i, GQ_RNG_TEST, 0));
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        gq_shim_order(seed);
        assert_int_equal(shim_shuffles(x, out[0], wide[0], votes[0]), 0);
        for (int t = 0; t < 64; t++) {
            int      w = t & 32, lane = t & 31, from;
            uint32_t ballot = 0;
            float    sums[32];
            assert_true(out[0][t] == x[w + 5]);
            assert_true(out[1][t] == x[w + (lane & 24) + ((lane + 1) & 7)]);
            assert_true(out[2][t] == x[w + (lane ^ 9)]);
            from = (lane ^ 8) >= (lane & 24) + 8 ? lane : lane ^ 8;
            assert_true(out[3][t] == x[w + from]);
            assert_true(out[4][t] == x[lane < 3 ? t : t - 3]);
            assert_true(out[5][t] == x[lane > 28 ? t : t + 3]);
            assert_true(out[6][t] == x[lane % 16 > 10 ? t : t + 5]);
            memcpy(sums, x + w, sizeof sums);
            for (int o = 16; o > 0; o >>= 1)
                for (int i = 0; i < o; i++)
                    sums[i] += sums[i + o];
            assert_true(out[7][t] == sums[0]);
            assert_true(wide[0][t] == (double)x[t ^ 1] / 3 && wide[1][t] == (double)(((uint64_t)(t ^ 2) << 40) + 1));
            for (int i = 0; i < 32; i++)
                ballot |= (uint32_t)(x[w + i] > 0.5f) << i;
            assert_true(votes[0][t] == ballot && votes[1][t] == (w == 32) && votes[2][t] == (w == 0));
        }
    }
    gq_shim_order(0);
}

static void test_product(void **state)
{
    uint16_t a[256], b[256], bt[256];
    float    fa[256], fb[256], out[2][256];
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        fa[i] = bf16_of(gq_philox_at(2, i, GQ_RNG_TEST, 0), &a[i]);
        fb[i] = bf16_of(gq_philox_at(2, i, GQ_RNG_TEST, 1), &b[i]);
        bt[i % 16 * 16 + i / 16] = b[i];
    }
    assert_int_equal(shim_product(a, b, bt, out[0], out[1]), 0);
    for (int i = 0; i < 256; i++) {
        float sum = 0;
        for (int k = 0; k < 16; k++)
            sum += fa[i / 16 * 16 + k] * fb[k * 16 + i % 16];
        assert_true(out[0][i] == sum && out[1][i] == sum);
    }
}

static void test_copies(void **state)
{
    _Alignas(16) float x[256], out[4][128];
    (void)state;
    for (int i = 0; i < 256; i++)
        x[i] = (float)(i + 1);
    assert_int_equal(shim_copies(x, out[0]), 0);
    for (int t = 0; t < 32; t++) {
        assert_true(isnan(out[0][4 * t]));                      /* nobody waited                      */
        for (int i = 0; i < 3; i++)
            assert_true(out[1][4 * t + i] == x[4 * t + i]);     /* the first group                    */
        assert_true(isnan(out[1][4 * t + 3]));                  /* not the second                     */
        for (int i = 0; i < 4; i++)
            assert_true(out[2][4 * t + i] == (t < 16 ? x[128 + 4 * t + i] : 0.0f));
        assert_true(isnan(out[3][t]));                          /* what was there may be gone         */
    }
}

static void test_uninitialised(void **state)
{
    float   out[3] = {0, 0, 0};
    int32_t word;
    int     nans = 0, large = 0, negative = 0, small = 0;
    (void)state;
    assert_int_equal(shim_uninitialised(out, &word), 0);        /* block 1 finds nothing of block 0   */
    assert_true(isnan(out[0]) && isnan(out[1]) && isnan(out[2]));
    for (unsigned seed = 1; seed <= 40; seed++) {               /* other orders, other words          */
        gq_shim_order(seed);
        assert_int_equal(shim_uninitialised(out, &word), 0);
        nans += isnan(out[0]) && isnan(out[1]) && isnan(out[2]);
        large += word > 1 << 30 && out[0] > 3e38f && out[1] > 3e38f && out[2] > 3e38f;
        negative += word < 0 && out[0] < -3e38f && out[1] < -3e38f && out[2] < -3e38f;
        small += word > 0 && word < 1 << 20;
    }
    gq_shim_order(0);
    assert_true(nans && large && negative && small && nans + large + negative + small == 40);
}

static void test_mistakes(void **state)
{
    static const char *const says[SHIM_MISTAKES] = {
        [SHIM_BARRIER_OF_SOME] = "waits for ever at __syncthreads",
        [SHIM_TWO_BARRIERS] = "waits for ever at __syncthreads",
        [SHIM_SHUFFLE_OF_SOME] = "waits for ever at __shfl_xor_sync",
        [SHIM_TWO_COLLECTIVES] = "while other lanes",
        [SHIM_PART_MASK] = "full mask",
        [SHIM_OVER_STATIC] = "between part and the end",
        [SHIM_UNDER_STATIC] = "between before and part",
        [SHIM_OVER_DYNAMIC] = "after the 100 of dynamic",
        [SHIM_UNDER_DYNAMIC] = "before the dynamic",
        [SHIM_NO_DYNAMIC] = "launched with none",
        [SHIM_MUCH_SHARED] = "dynamic bytes of shared memory, a block may have",
        [SHIM_ROW_NOT_SHARED] = "not 16 aligned bytes",
        [SHIM_COPY_UNALIGNED] = "not 16 aligned bytes"};
    (void)state;
    gq_shim_catch(1);
    for (unsigned seed = 0; seed < 3; seed++)
        for (int wrong = SHIM_RIGHT; wrong < SHIM_MISTAKES; wrong++) {
            gq_shim_order(seed);
            int         code = shim_wrong((shim_mistake)wrong);
            const char *text = gq_shim_fault();
            if (wrong == SHIM_RIGHT) {
                assert_null(text);
                assert_int_equal(code, 0);
                continue;
            }
            assert_int_not_equal(code, 0);
            assert_non_null(text);
            if (!strstr(text, says[wrong]) || strncmp(text, "mistake, block (0,", 18) != 0)
                fail_msg("mistake %d is reported as: %s", wrong, text);
        }
    gq_shim_catch(0);
    gq_shim_order(0);
}

static void test_runtime(void **state)
{
    (void)state;
    gq_shim_catch(1);
    assert_int_equal(shim_launch_limits(), 0);
    assert_int_equal(shim_streams(), 0);
    assert_int_equal(shim_graphs(), 0);
    assert_int_equal(shim_memory(), 0);
    assert_int_equal(shim_templates(), 0);
    assert_null(gq_shim_fault());
    gq_shim_catch(0);
}

/* The signal that ends a child that makes a mistake (p NULL), or reads device memory; 0: none does. */
static int ends_with(const volatile char *p)
{
    int   status = 0;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        fclose(stderr);
        if (!p)
            shim_wrong(SHIM_TWO_BARRIERS);
        _exit(p && p[0] == 0);
    }
    assert_true(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}
static void test_ends(void **state)
{
    const volatile char *p = shim_device_block();
    (void)state;
    assert_non_null(p);
    assert_int_equal(ends_with(p), SIGSEGV);                    /* the host keeps off                 */
    assert_int_equal(ends_with(NULL), SIGABRT);                 /* a fault that nobody catches        */
}

static void test_speed(void **state)
{
    (void)state;
    print_message("%.1f ns a switch of fibres\n", shim_nanoseconds_a_switch());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_barriers),      cmocka_unit_test(test_order),    cmocka_unit_test(test_shuffles),
        cmocka_unit_test(test_product),       cmocka_unit_test(test_copies),   cmocka_unit_test(test_uninitialised),
        cmocka_unit_test(test_mistakes),      cmocka_unit_test(test_runtime),  cmocka_unit_test(test_ends),
        cmocka_unit_test(test_speed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
