#include "train/peak.h"

#include <string.h>

#include "core/bf16.h"
#include "core/io.h"
#include "core/mem.h"

enum { ALIGN = 64, SMALL = 256, LARGE = 1024, ON_DEVICE = 8192 };

/* ---- matrix product -------------------------------------------------------------------------- */

enum { PATTERN = SMALL * SMALL, TOGETHER = 10 };

/* Ordinary numbers: no zeros, no subnormals. PATTERN of them, over and over. */
static void *pattern(int32_t dtype)
{
    float *f = gq_malloc(PATTERN, sizeof *f);
    for (size_t i = 0; f && i < PATTERN; i++) {
        float x = ((float)((uint32_t)i * 2654435761u >> 8) + 0.5f) * 0x1p-23f - 1.0f;
        if (dtype == GQ_BF16)
            ((uint16_t *)(void *)f)[i] = gq_f32_to_bf16(x);
        else
            f[i] = x;
    }
    return f;
}

static gq_buf matrix(gq_engine *e, int64_t n, const void *numbers)
{
    gq_device *d = e->backend->device;
    int32_t    dtype = (int32_t)e->backend->real;
    size_t     piece = PATTERN * gq_dtype_size(dtype);
    gq_buf     b = {.shape = {n, n, 1, 1}, .rank = 2, .dtype = dtype};
    b.p = gq_engine_alloc(e, (size_t)(n * n) * gq_dtype_size(dtype));
    for (int64_t i = 0; b.p && i < n * n / PATTERN; i++)
        if (d)
            d->upload(d, (char *)b.p + (size_t)i * piece, numbers, piece);
        else
            memcpy((char *)b.p + (size_t)i * piece, numbers, piece);
    return b;
}

static double now(const gq_engine *e)               /* when all that was started is done          */
{
    gq_device *d = e->backend->device;
    return d ? d->seconds(d) : gq_now();
}

/* Fastest of several y[n,n] = x[n,n] w[n,n]^T within `seconds`, in GFLOP/s. A device gets several at once:
 * then starting them and waiting for them is nothing beside them. */
static double square(gq_engine *e, int64_t n, double seconds)
{
    const gq_op_kernels *op = &e->backend->ops[GQ_OP_LINEAR];
    void                *numbers = pattern((int32_t)e->backend->real);
    gq_work              work = {.pool = e->pool, .device = e->backend->device};
    gq_call              call = {.step = &e->step, .work = &work};
    int                  times = work.device ? TOGETHER : 1;
    double               best = 0, begin = gq_now();

    if (numbers) {
        call.in[0] = matrix(e, n, numbers);
        call.in[1] = matrix(e, n, numbers);
        call.out[0] = matrix(e, n, numbers);
        work.temp_bytes = op->temp ? op->temp(&call, 0, gq_pool_size(e->pool)) : 0;
        work.temp = gq_engine_alloc(e, work.temp_bytes);
    }
    for (int k = 0; work.temp && call.in[0].p && call.in[1].p && call.out[0].p &&
                    (k < 2 || gq_now() - begin < seconds); k++) {
        double t = now(e);
        for (int i = 0; i < times; i++)
            op->fwd(&call);
        t = (now(e) - t) / times;
        if (t > 0 && 2e-9 * (double)(n * n * n) / t > best)
            best = 2e-9 * (double)(n * n * n) / t;
    }
    gq_engine_release(e, work.temp);
    gq_engine_release(e, call.in[0].p);
    gq_engine_release(e, call.in[1].p);
    gq_engine_release(e, call.out[0].p);
    gq_free(numbers);
    return best;
}

double gq_measure_gemm(gq_engine *e, double seconds)
{
    static const int64_t sizes[] = {SMALL, LARGE, ON_DEVICE};
    int                  n = e->backend->device ? 3 : 2;
    double               best = 0;

    if (e->backend->real != GQ_F32 && e->backend->real != GQ_BF16)
        return 0;
    for (int i = 0; i < n; i++) {
        double cost = 2 * 2e-9 * (double)sizes[i] * (double)sizes[i] * (double)sizes[i], got;
        if (i > 0 && (best == 0 || cost / best > seconds))
            break;                                  /* a slow backend: no time for more           */
        got = square(e, sizes[i], i + 1 < n ? seconds / 8 : seconds);
        best = got > best ? got : best;
    }
    return best;
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
