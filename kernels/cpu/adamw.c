/* adamw.c - the optimiser step and the sum of squares over flat arrays, in pieces of fixed size. */
#include "kernels/cpu/cpu.h"

enum {
    CHUNK = 65536,                      /* elements of one partial sum of squares                 */
    GROUP = 256,                        /* partial sums computed before they are added up         */
};

typedef struct adam_job {
    float  *w, *m, *v;
    const float *g;
    float   b1, b2, e1, e2;             /* e1 = 1-b1, e2 = 1-b2 rounded from double               */
    float   gscale, rate, root, eps, keep;  /* rate = lr/c1; root = 1/sqrt(c2); keep = lr * decay */
} adam_job;

static void adam_range(const void *ctx, int64_t lo, int64_t hi)
{
    const adam_job *j = ctx;
    for (int64_t i = lo; i < hi; i += VL) {
        int64_t left = hi - i;
        vf g = load_part(j->g + i, left) * j->gscale, w = load_part(j->w + i, left);
        vf m = j->b1 * load_part(j->m + i, left) + j->e1 * g;
        vf v = j->b2 * load_part(j->v + i, left) + j->e2 * g * g;
        w = w - j->keep * w - j->rate * m / (vsqrt(v) * j->root + j->eps);
        store_part(j->m + i, m, left);
        store_part(j->v + i, v, left);
        store_part(j->w + i, w, left);
    }
}

void CPU(adamw)(const gq_adamw_call *c, gq_work *work)
{
    adam_job j = {.w = c->w,
                  .m = c->m,
                  .v = c->v,
                  .g = c->g,
                  .b1 = (float)c->beta1,
                  .b2 = (float)c->beta2,
                  .e1 = (float)(1 - c->beta1),
                  .e2 = (float)(1 - c->beta2),
                  .gscale = (float)c->gscale,
                  .rate = (float)(c->lr / c->c1),
                  .root = (float)(1 / __builtin_sqrt(c->c2)),
                  .eps = (float)c->eps,
                  .keep = (float)(c->lr * c->decay)};
    gq_call  call = {.work = work};
    over(&call, c->n, RANGE_ELEMENTS, adam_range, &j);
}

typedef struct square_job {
    const float *x;
    int64_t      first, n;              /* first element of this group, elements in all           */
    double       part[GROUP];
} square_job;

static void square_tile(void *ctx, int64_t tile, int thread)
{
    enum { HALF = VL / 2, SUMS = 4 };   /* doubles in a vector; vectors of partial sums           */
    typedef double vd __attribute__((vector_size(GQ_VLEN * 4)));
    typedef float  vh __attribute__((vector_size(GQ_VLEN * 2), aligned(4), may_alias));
    square_job  *j = ctx;
    int64_t      lo = j->first + tile * CHUNK, hi = imin(lo + CHUNK, j->n), i = lo;
    const float *x = j->x;
    vd           s[SUMS] = {{0}};
    double       sum = 0;
    (void)thread;
    for (; i + SUMS * HALF <= hi; i += SUMS * HALF)
#pragma GCC unroll 4
        for (int k = 0; k < SUMS; k++) {
            vd d = __builtin_convertvector(*(const vh *)(x + i + k * HALF), vd);
            s[k] += d * d;
        }
    for (; i < hi; i++)
        sum += (double)x[i] * (double)x[i];
    for (int k = 0; k < SUMS; k++)
        for (int l = 0; l < HALF; l++)
            sum += s[k][l];
    j->part[tile] = sum;
}

double CPU(sumsq)(const void *x, int64_t n, gq_work *work)
{
    square_job j = {.x = x, .n = n};
    double     total = 0;
    for (; j.first < n; j.first += (int64_t)CHUNK * GROUP) {
        int64_t chunks = imin(GROUP, (n - j.first + CHUNK - 1) / CHUNK);
        gq_parallel(work ? work->pool : NULL, chunks, square_tile, &j);
        for (int64_t p = 0; p < chunks; p++)
            total += j.part[p];
    }
    return total;
}
