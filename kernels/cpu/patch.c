/* patch.c - patch_embed: patches are unfolded into rows, a group of frames at a time, and
 * multiplied. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

enum { GROUP_FLOATS = 2 << 20 };        /* unfolded pixels per group                              */

typedef struct patch_job {
    const gq_call *c;
    /* frame, patch side; patches per frame; 3pp; width; class rows 0 or 1 */
    int64_t side, p, n, k, d, cls;
    int64_t frames, group;              /* all, per group                                         */
    int64_t first;                      /* of this group                                          */
    float  *rows;                       /* [group*n, k] unfolded                                  */
    float  *z;                   /* [group*n, d] products, or output gradients without class rows */
    float   value[3][256];              /* what a byte of a channel stands for                    */
} patch_job;

static patch_job job_of(const gq_call *c)
{
    patch_job j = {.c = c,
                   .side = c->in[0].shape[1],
                   .p = c->attr.patch,
                   .frames = c->in[0].shape[0],
                   .d = c->in[1].shape[0],
                   .cls = c->in[2].p != NULL};
    j.n = (j.side / j.p) * (j.side / j.p);
    j.k = 3 * j.p * j.p;
    j.group = imin(imax(1, GROUP_FLOATS / imax(1, j.n * j.k)), imax(1, j.frames));
    return j;
}

static void start(patch_job *j, char **temp)
{
    j->rows = temp_floats(temp, j->group * j->n * j->k);
    j->z = temp_floats(temp, j->group * j->n * j->d);
    for (int ch = 0; ch < 3; ch++)
        for (int v = 0; v < 256; v++)
            j->value[ch][v] = ((float)v * (1 / 255.f) - j->c->attr.mean[ch]) / j->c->attr.std[ch];
}

/* Unfolds frames lo..hi-1 of the group. */
static void unfold(const void *ctx, int64_t lo, int64_t hi)
{
    const patch_job *j = ctx;
    int64_t p = j->p, across = j->side / p;
    for (int64_t f = lo; f < hi; f++) {
        const uint8_t *frame =
            (const uint8_t *)j->c->in[0].p + (j->first + f) * j->side * j->side * 3;
        for (int64_t i = 0; i < j->n; i++) {
            const uint8_t *corner = frame + ((i / across) * p * j->side + (i % across) * p) * 3;
            float         *to = j->rows + (f * j->n + i) * j->k;
            for (int64_t y = 0; y < p; y++)
                for (int64_t x = 0; x < p; x++)
                    for (int64_t ch = 0; ch < 3; ch++)
                        to[(ch * p + y) * p + x] = j->value[ch][corner[(y * j->side + x) * 3 + ch]];
        }
    }
}

/* Products to their places, with class row and positions. */
static void place(const void *ctx, int64_t lo, int64_t hi)
{
    const patch_job *j = ctx;
    const float     *cls = j->c->in[2].p, *pos = j->c->in[3].p;
    int64_t          T = j->n + j->cls;
    for (int64_t f = lo; f < hi; f++) {
        float *y = (float *)j->c->out[0].p + (j->first + f) * T * j->d;
        if (cls)
            put(y, cls, j->d, 0);
        put(y + j->cls * j->d, j->z + f * j->n * j->d, j->n * j->d, 0);
        if (pos)
            put(y, pos, T * j->d, 1);
    }
}

void CPU(patch_embed_fwd)(const gq_call *c)
{
    patch_job j = job_of(c);
    char     *temp = c->work->temp;
    start(&j, &temp);
    for (; j.first < j.frames; j.first += j.group) {
        int64_t   m = imin(j.group, j.frames - j.first);
        gemm_call g = {.kind = GEMM_NT,
                       .m = m * j.n,
                       .n = j.d,
                       .k = j.k,
                       .a = j.rows,
                       .lda = j.k,
                       .b = c->in[1].p,
                       .ldb = j.k,
                       .c = j.z,
                       .ldc = j.d};
        over(c, m, range_items(j.n * j.k), unfold, &j);
        gemm(&g, c->work->pool, temp);
        over(c, m, range_items(j.n * j.d), place, &j);
    }
}

/* Output gradients of the group without the class rows. */
static void collect(const void *ctx, int64_t lo, int64_t hi)
{
    const patch_job *j = ctx;
    const float     *dy = j->c->dout[0].p;
    for (int64_t f = lo; f < hi; f++)
        put(j->z + f * j->n * j->d, dy + ((j->first + f) * (j->n + j->cls) + j->cls) * j->d,
            j->n * j->d, 0);
}

/* Elements lo..hi-1 of a frame's rows, summed over the frames in order: positions, and the class
 * row. */
static void sum_frames(const void *ctx, int64_t lo, int64_t hi)
{
    const patch_job *j = ctx;
    const float     *dy = j->c->dout[0].p;
    float           *dcls = j->c->din[2].p, *dpos = j->c->din[3].p;
    int64_t          size = (j->n + j->cls) * j->d, class_end = imin(hi, j->d);
    for (int64_t f = 0; f < j->frames; f++) {
        if (dpos)
            put(dpos + lo, dy + f * size + lo, hi - lo, f > 0 || adds(j->c, 3));
        if (dcls && lo < class_end)
            put(dcls + lo, dy + f * size + lo, class_end - lo, f > 0 || adds(j->c, 2));
    }
}

void CPU(patch_embed_bwd)(const gq_call *c)
{
    patch_job j = job_of(c);
    char     *temp = c->work->temp;
    if (nothing_arrives(c))
        return;
    if (c->din[2].p || c->din[3].p)
        over(c, (j.n + j.cls) * j.d, range_items(j.frames), sum_frames, &j);
    if (!c->din[1].p)
        return;
    start(&j, &temp);
    for (; j.first < j.frames; j.first += j.group) {
        int64_t   m = imin(j.group, j.frames - j.first);
        gemm_call g = {.kind = GEMM_TN,
                       .m = j.d,
                       .n = j.k,
                       .k = m * j.n,
                       .a = j.z,
                       .lda = j.d,
                       .b = j.rows,
                       .ldb = j.k,
                       .c = c->din[1].p,
                       .ldc = j.k,
                       .add = j.first > 0 || adds(c, 1)};
        over(c, m, range_items(j.n * j.k), unfold, &j);
        over(c, m, range_items(j.n * j.d), collect, &j);
        gemm(&g, c->work->pool, temp);
    }
}

size_t CPU(patch_embed_temp)(const gq_call *c, int backward, int threads)
{
    patch_job j = job_of(c);
    int64_t   m = j.group * j.n, tail = imax(1, j.frames % j.group) * j.n;
    size_t    bytes = TEMP_ROUND(m * j.k * 4) + TEMP_ROUND(m * j.d * 4);
    size_t    size[2];
    for (int i = 0; i < 2; i++) {
        int64_t rows = i ? tail : m;
        size[i] = backward ? gemm_temp(GEMM_TN, j.d, j.k, rows, GEMM_FLOATS, threads)
                           : gemm_temp(GEMM_NT, rows, j.d, j.k, GEMM_FLOATS, threads);
    }
    return bytes + (size[0] > size[1] ? size[0] : size[1]);
}
