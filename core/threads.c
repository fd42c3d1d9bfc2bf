/* threads.c - how a call travels: the caller writes the job, then publishes it by storing `ticket`
 * = (generation, next tile 0) and raising `generation`, the word the workers watch. A tile is taken
 * by a compare-and-swap on `ticket`: it succeeds only while that very job still has tiles to give.
 * While the fields of a job are being written the ticket is CLOSED, so a worker that wakes late and
 * reads new fields beside an old ticket fails its swap and looks again. The caller takes tiles like
 * everybody else, then waits for `done`.
 */
#include "core/threads.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/mem.h"

enum {
    SPIN_NS = 50000,                    /* how long a worker stays hot after its last tile        */
    LATE_NS = 15000,            /* a gap this long between two looks: another thread had the core */
    LOOKS = 32,                         /* pauses between two looks at the clock                  */
    MAX_THREADS = 256,
};
#define PIECE  0x7fffffffu            /* tiles per published job: the ticket has 32 bits for them */
#define CLOSED 0xffffffffu              /* as next tile: none to take                             */

typedef struct worker {
    gq_pool  *pool;
    pthread_t thread;
    int       id;                       /* 1..size-1                                              */
} worker;

struct gq_pool {
    _Alignas(64) _Atomic uint64_t ticket;      /* generation << 32 | next tile                    */
    _Alignas(64) _Atomic uint32_t generation;  /* futex word of the workers                       */
    _Atomic uint32_t sleepers;               /* workers that are in, or about to enter, the futex */
    _Alignas(64) _Atomic uint32_t done;   /* tiles finished of this job; futex word of the caller */
    _Atomic uint32_t caller_sleeps;     /* 1: whoever finishes the last tile must wake the caller */
    _Alignas(64) _Atomic uint32_t tiles;       /* of this job                                     */
    _Atomic int64_t   first;                   /* number of its tile 0                            */
    _Atomic(gq_tile_fn) fn;
    _Atomic(void *)   ctx;
    _Atomic bool      stop;
    int               size;                    /* threads, the caller included                    */
    int64_t           spin_ns;                 /* 0 when there are more threads than cores        */
    worker            workers[];               /* [size-1]                                        */
};

static inline void cpu_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Spins until *word differs from `seen`. False: not in time, or the core is wanted by others. */
static bool spin_for_change(_Atomic uint32_t *word, uint32_t seen, int64_t budget)
{
    int64_t begin = budget > 0 ? now_ns() : 0, last = begin;
    do {
        for (int i = 0; i < LOOKS; i++) {
            if (atomic_load_explicit(word, memory_order_acquire) != seen)
                return true;
            cpu_pause();
        }
        if (budget <= 0)
            return false;
        int64_t now = now_ns();
        if (now - last > LATE_NS)
            return false;
        last = now;
    } while (last - begin < budget);
    return false;
}

/* Takes tiles of the published job until none is left. */
static void work(gq_pool *p, int thread)
{
    uint32_t count = 0, tiles;
    uint64_t t = atomic_load_explicit(&p->ticket, memory_order_acquire);
    for (;;) {
        tiles = atomic_load_explicit(&p->tiles, memory_order_acquire);
        gq_tile_fn fn = atomic_load_explicit(&p->fn, memory_order_acquire);
        void      *ctx = atomic_load_explicit(&p->ctx, memory_order_acquire);
        int64_t    first = atomic_load_explicit(&p->first, memory_order_acquire);
        if ((uint32_t)t >= tiles)
            break;
        if (!atomic_compare_exchange_weak_explicit(&p->ticket, &t, t + 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        fn(ctx, first + (uint32_t)t, thread);
        count++;
        t = atomic_load_explicit(&p->ticket, memory_order_acquire);
    }
    /* count > 0 holds the caller in this job, so `tiles` above is still this job's number */
    if (count && atomic_fetch_add(&p->done, count) + count == tiles &&
        atomic_load(&p->caller_sleeps))
        futex_wake(&p->done, 1);
}

static void *worker_main(void *arg)
{
    worker  *w = arg;
    gq_pool *p = w->pool;
    uint32_t seen = 0;
    for (;;) {
        if (!spin_for_change(&p->generation, seen, p->spin_ns)) {
            atomic_fetch_add(&p->sleepers, 1);
            while (atomic_load(&p->generation) == seen)
                futex_wait(&p->generation, seen);
            atomic_fetch_sub(&p->sleepers, 1);
        }
        seen = atomic_load(&p->generation);
        if (atomic_load(&p->stop))
            return NULL;
        work(p, w->id);
    }
}

static void publish(gq_pool *p, gq_tile_fn fn, void *ctx, int64_t first, uint32_t tiles)
{
    uint32_t g = atomic_load_explicit(&p->generation, memory_order_relaxed) + 1;
    atomic_store_explicit(&p->ticket, (uint64_t)g << 32 | CLOSED, memory_order_relaxed);
    atomic_store_explicit(&p->fn, fn, memory_order_release);
    atomic_store_explicit(&p->ctx, ctx, memory_order_release);
    atomic_store_explicit(&p->first, first, memory_order_release);
    atomic_store_explicit(&p->tiles, tiles, memory_order_release);
    atomic_store_explicit(&p->done, 0, memory_order_relaxed);
    atomic_store_explicit(&p->ticket, (uint64_t)g << 32, memory_order_release);
    atomic_store(&p->generation, g);
    if (atomic_load(&p->sleepers))
        futex_wake(&p->generation, p->size);
}

static void wait_done(gq_pool *p, uint32_t tiles)
{
    uint32_t seen;
    while ((seen = atomic_load(&p->done)) != tiles) {
        if (spin_for_change(&p->done, seen, p->spin_ns))
            continue;
        atomic_store(&p->caller_sleeps, 1);
        while ((seen = atomic_load(&p->done)) != tiles)
            futex_wait(&p->done, seen);
        atomic_store(&p->caller_sleeps, 0);
    }
}

void gq_parallel(gq_pool *p, int64_t tiles, gq_tile_fn fn, void *ctx)
{
    if (!p || p->size == 1 || tiles <= 1) {
        for (int64_t i = 0; i < tiles; i++)
            fn(ctx, i, 0);
        return;
    }
    for (int64_t first = 0; first < tiles; first += PIECE) {
        uint32_t n = tiles - first < (int64_t)PIECE ? (uint32_t)(tiles - first) : PIECE;
        publish(p, fn, ctx, first, n);
        work(p, 0);
        wait_done(p, n);
    }
}

/* Workers take no signals: they belong to the main thread. */
static int start_worker(worker *w)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&w->thread, NULL, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

gq_status gq_pool_new(int threads, gq_pool **out, gq_error *err)
{
    *out = NULL;
    if (threads < 1 || threads > MAX_THREADS)
        return gq_fail(err, GQ_EUSAGE, "%d threads asked for: the number must lie in 1..%d",
                       threads, MAX_THREADS);
    size_t   bytes = sizeof(gq_pool) + (size_t)(threads - 1) * sizeof(worker);
    gq_pool *p = gq_aligned(64, (bytes + 63) / 64 * 64);
    if (!p)
        return gq_fail(err, GQ_ENOMEM, "no memory for a pool of %d threads", threads);
    memset(p, 0, bytes);
    p->size = 1;
    p->spin_ns = threads <= gq_cpu_count() ? SPIN_NS : 0;
    for (int i = 1; i < threads; i++) {
        worker *w = &p->workers[i - 1];
        *w = (worker){.pool = p, .id = i};
        int rc = start_worker(w);
        if (rc != 0) {
            gq_pool_free(p);
            return gq_fail(err, GQ_ENOMEM,
                           "thread %d of %d did not start: %s; ask for fewer threads", i + 1,
                           threads, strerror(rc));
        }
        p->size = i + 1;
    }
    *out = p;
    return GQ_OK;
}

void gq_pool_free(gq_pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, true);
    atomic_fetch_add(&p->generation, 1);
    futex_wake(&p->generation, p->size);
    for (int i = 1; i < p->size; i++)
        pthread_join(p->workers[i - 1].thread, NULL);
    gq_free(p);
}

int gq_pool_size(const gq_pool *p)
{
    return p ? p->size : 1;
}

/* The quota of a container ("200000 100000": two cores), rounded up; 0: none. */
static int cgroup_quota(void)
{
    long long quota, period;
    FILE     *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    int       n = 0;
    if (!f)
        return 0;
    if (fscanf(f, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0)
        n = (int)((quota + period - 1) / period < MAX_THREADS ? (quota + period - 1) / period
                                                              : MAX_THREADS);
    fclose(f);
    return n;
}

int gq_cpu_count(void)
{
    cpu_set_t set;
    int       n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                              : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int       quota = cgroup_quota();
    if (quota > 0 && quota < n)
        n = quota;
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
}
