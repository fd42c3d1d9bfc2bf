/* What is measured against kernels whose time is known, and the limits of what is not measured. */
#include "core/io.h"
#include "support.h"
#include "train/peak.h"

static double  spin_s;                  /* seconds that the kernel below takes                    */
static int64_t largest;                 /* rows it was given                                      */

static void spin(const gq_call *c)
{
    double until = gq_now() + spin_s;
    assert_int_equal(gq_rows(&c->in[0]), gq_rows(&c->out[0]));
    largest = gq_rows(&c->in[0]) > largest ? gq_rows(&c->in[0]) : largest;
    while (gq_now() < until)
        continue;
}

static double measure(const gq_backend *b, int threads, double seconds)
{
    gq_engine     *e;
    gq_engine_opts o = {.backend = b, .threads = threads};
    gq_error       err = {0};
    double         gflops;

    assert_ok(gq_engine_new(&o, &e, &err), &err);
    gflops = gq_measure_gemm(e, seconds);
    gq_engine_free(e);
    return gflops;
}

/* The fastest repetition takes spin_s at least, and hardly more. */
static void a_known_time(void **state)
{
    gq_backend known = {.name = "known", .real = GQ_F32};
    double     got, want;

    (void)state;
    known.ops[GQ_OP_LINEAR].fwd = spin;
    spin_s = 1e-3;
    got = measure(&known, 1, 0.2);
    want = 2e-9 * 1024 * 1024 * 1024 / spin_s;
    assert_int_equal(largest, 1024);
    if (got > want || got < 0.5 * want)
        fail_msg("%g GFLOP/s, want a little below %g", got, want);
    largest = 0;
    spin_s = 0.02;                      /* 256 takes 0.02 s: 1024 would take 1.3 s each           */
    got = measure(&known, 1, 0.2);
    want = 2e-9 * 256 * 256 * 256 / spin_s;
    assert_int_equal(largest, 256);
    if (got > want || got < 0.5 * want)
        fail_msg("%g GFLOP/s, want a little below %g", got, want);
}

static void real_backends(void **state)
{
    (void)state;
    assert_true(measure(&gq_backend_ref32, 1, 0.02) > 0);
    assert_true(measure(gq_backend_cpu(NULL), 2, 0.02) > 0);
    assert_true(measure(&gq_backend_ref64, 1, 0.02) == 0);
}

static void memory(void **state)
{
    gq_pool *pool;
    gq_error err = {0};
    double   one, two;

    (void)state;
    one = gq_measure_memory(NULL, 0.01);
    assert_ok(gq_pool_new(2, &pool, &err), &err);
    two = gq_measure_memory(pool, 0.01);
    gq_pool_free(pool);
    assert_true(one > 0.01 && one < 1e5 && two > 0.01 && two < 1e5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_time),
        cmocka_unit_test(real_backends),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests_name("train/peak", tests, NULL, NULL);
}
