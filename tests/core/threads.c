/* The pool: every tile exactly once, for any number of threads, hot or asleep, and results that do not depend on it. */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "core/mem.h"
#include "core/threads.h"

enum { TILES = 1000 };

typedef struct job {
    _Atomic int runs[TILES];            /* how often each tile ran                                */
    _Atomic int bad;                    /* thread numbers out of range                            */
    int         size;
    int         sleepy;                 /* tile that takes long; -1: none                         */
} job;

static void count_tile(void *ctx, int64_t tile, int thread)
{
    job *j = ctx;
    if (thread < 0 || thread >= j->size || tile < 0 || tile >= TILES) {
        atomic_fetch_add(&j->bad, 1);
        return;
    }
    if (tile == j->sleepy)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    atomic_fetch_add(&j->runs[tile], 1);
}

static void check(gq_pool *p, int64_t tiles, int sleepy)
{
    static job j;
    memset(&j, 0, sizeof j);
    j.size = gq_pool_size(p);
    j.sleepy = sleepy;
    gq_parallel(p, tiles, count_tile, &j);
    assert_int_equal(j.bad, 0);
    for (int i = 0; i < TILES; i++)
        if (j.runs[i] != (i < tiles))
            fail_msg("tile %d of %d ran %d times with %d threads", i, (int)tiles, j.runs[i],
                     j.size);
}

static void every_tile_once(void **state)
{
    (void)state;
    gq_error err = {0};
    check(NULL, TILES, -1);
    for (int threads = 1; threads <= 9; threads++) {
        gq_pool *p;
        assert_ok(gq_pool_new(threads, &p, &err), &err);
        assert_int_equal(gq_pool_size(p), threads);
        for (int round = 0; round < 200; round++)
            check(p, round % 7 == 0 ? 0 : round % 5 == 0 ? 1 : (round * 37) % TILES, -1);
        check(p, 40, 39);               /* the caller has to sleep for the last tile              */
        check(p, 40, 0);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);     /* the workers fall asleep   */
        check(p, TILES, -1);
        gq_pool_free(p);
    }
}

typedef struct numbers { double part[64]; } numbers;

static void sum_tile(void *ctx, int64_t tile, int thread)
{
    (void)thread;
    double s = 0;
    for (int i = 1; i < 200; i++)
        s += 1.0 / (double)(tile * 200 + i);
    ((numbers *)ctx)->part[tile] = s;
}

/* Many short calls in a row: the case of a training step, and the one where a late worker could do harm. */
static void short_calls(void **state)
{
    (void)state;
    gq_error err = {0};
    numbers  want, got;
    gq_parallel(NULL, 64, sum_tile, &want);
    gq_pool *p;
    assert_ok(gq_pool_new(4, &p, &err), &err);
    for (int i = 0; i < 3000; i++) {
        int n = 2 + i % 63;
        memset(&got, 0, sizeof got);
        gq_parallel(p, n, sum_tile, &got);
        assert_memory_equal(got.part, want.part, (size_t)n * sizeof(double));
    }
    gq_pool_free(p);
}

static void refuses(void **state)
{
    (void)state;
    gq_error err = {0};
    gq_pool *p = (gq_pool *)&err;
    assert_fails(gq_pool_new(0, &p, &err), GQ_EUSAGE, &err, "1..256");
    assert_null(p);
    assert_fails(gq_pool_new(257, &p, &err), GQ_EUSAGE, &err, "257 threads");
    gq_mem_fail_at(1, false);
    assert_fails(gq_pool_new(2, &p, &err), GQ_ENOMEM, &err, "no memory");
    gq_mem_fail_at(0, false);
    gq_pool_free(NULL);
    assert_int_equal(gq_pool_size(NULL), 1);
    assert_true(gq_cpu_count() >= 1 && gq_cpu_count() <= 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tile_once),
        cmocka_unit_test(short_calls),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
