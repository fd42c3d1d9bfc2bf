#include "train/peak.h"

#include <string.h>

#include "core/io.h"
#include "core/mem.h"

enum { ALIGN = 64, SMALL = 256, LARGE = 1024 };

/* ---- matrix product -------------------------------------------------------------------------- */

static gq_buf matrix(float *p, int64_t rows, int64_t cols)
{
    return (gq_buf){.p = p, .shape = {rows, cols, 1, 1}, .rank = 2, .dtype = GQ_F32};
}

/* Fastest of several y[n,n] = x[n,n] w[n,n]^T within `seconds`, in GFLOP/s. */
static double square(gq_engine *e, int64_t n, double seconds)
{
    const gq_op_kernels *op = &e->backend->ops[GQ_OP_LINEAR];
    size_t               count = (size_t)(n * n), temp;
    float               *m = gq_aligned(ALIGN, 3 * count * sizeof *m);
    gq_work              work = {.pool = e->pool};
    gq_call              call = {.step = &e->step, .work = &work};
    double               best = 0, begin = gq_now();

    if (!m)
        return 0;
    for (size_t i = 0; i < 3 * count; i++)
        m[i] = (float)(i % 251) * (1.0f / 251); /* ordinary numbers: no zeros, no subnormals */
    call.in[0] = matrix(m, n, n);
    call.in[1] = matrix(m + count, n, n);
    call.out[0] = matrix(m + 2 * count, n, n);
    temp = op->temp ? op->temp(&call, 0, gq_pool_size(e->pool)) : 0;
    work.temp = gq_aligned(ALIGN, temp + ALIGN);
    work.temp_bytes = temp;
    for (int k = 0; work.temp && (k < 2 || gq_now() - begin < seconds); k++) {
        double t = gq_now();
        op->fwd(&call);
        t = gq_now() - t;
        if (t > 0 && 2e-9 * (double)(n * n * n) / t > best)
            best = 2e-9 * (double)(n * n * n) / t;
    }
    gq_free(work.temp);
    gq_free(m);
    return best;
}

double gq_measure_gemm(gq_engine *e, double seconds)
{
    double small, large;

    if (e->backend->real != GQ_F32)
        return 0;
    small = square(e, SMALL, seconds / 8);
    if (small == 0 ||
        2 * 2e-9 * LARGE * LARGE * LARGE / small > seconds) /* a slow backend: no time for more */
        return small;
    large = square(e, LARGE, seconds);
    return large > small ? large : small;
}

/* ---- memory ---------------------------------------------------------------------------------- */

enum {
    TRIAD = 1 << 24,
    TILE = 1 << 16
};                                      /* floats: three arrays of 64 MiB                       */

static void triad(void *arrays, int64_t tile, int thread)
{
    float *restrict a = (float *)arrays + tile * TILE;
    const float *b = a + TRIAD, *c = b + TRIAD;

    (void)thread;
    for (int i = 0; i < TILE; i++)
        a[i] = b[i] + 0.5f * c[i];
}

double gq_measure_memory(gq_pool *pool, double seconds)
{
    float *m = gq_aligned(ALIGN, 3 * sizeof(float) * TRIAD);
    double best = 0, begin = gq_now();

    if (!m)
        return 0;
    memset(m, 0, 3 * sizeof(float) * TRIAD);
    for (int k = 0; k < 2 || gq_now() - begin < seconds; k++) {
        double t = gq_now();
        gq_parallel(pool, TRIAD / TILE, triad, m);
        t = gq_now() - t;
        if (t > 0 && 3e-9 * sizeof(float) * TRIAD / t > best)
            best = 3e-9 * sizeof(float) * TRIAD / t;
    }
    gq_free(m);
    return best;
}
