/* lm_loss.c - cross entropy on chosen rows. Forward computes the logits of up to GQ_LM_CHUNK rows
 * at a time; backward walks the vocabulary in blocks whose gradients stay in L2 and feed both
 * products at once. */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

enum {
    NOT_COUNTED = -100,
    BLOCK = 2048,                       /* vocabulary rows per backward block                     */
    SUM_PIECE = 1024,                  /* exponentials summed in float before they go to a double */
    COLUMN_BLOCK = 64,
};

typedef struct lm_job {
    const gq_call *c;
    int64_t R, V, D;
    const int32_t *rows, *labels;
    int64_t first, count;               /* rows of this chunk                                     */
    float  *x;                          /* [chunk,D] hidden rows, zeros where not counted         */
    const float *logits;                /* [chunk,ld] of this chunk or this block                 */
    float  *dl;                         /* backward [chunk,BLOCK]                                 */
    float  *dx;                         /* backward [chunk,D]                                     */
    int64_t ld, v0, width;              /* row length of logits; backward: vocabulary block       */
    double *nll;                        /* forward [chunk]                                        */
    float   factor;                     /* backward: inv_denom * dloss                            */
} lm_job;

static lm_job job_of(const gq_call *c)
{
    return (lm_job){.c = c,
                    .R = gq_size(&c->in[2]),
                    .V = c->in[1].shape[0],
                    .D = gq_cols(&c->in[1]),
                    .rows = c->in[2].p,
                    .labels = c->in[3].p};
}

static int64_t chunk_of(const lm_job *j) { return imin(imax(j->R, 1), GQ_LM_CHUNK); }

static void gather(const void *ctx, int64_t lo, int64_t hi)
{
    const lm_job *j = ctx;
    const float  *h = j->c->in[0].p;
    for (int64_t r = lo; r < hi; r++) {
        int counted = j->labels[j->first + r] != NOT_COUNTED;
        put(j->x + r * j->D, counted ? h + j->rows[j->first + r] * j->D : NULL, j->D, 0);
    }
}

/* ---- forward --------------------------------------------------------------------------------- */

static float largest(const float *z, int64_t n)
{
    vf      m0, m1;
    float   top = z[0];
    int64_t i = 0;
    m0 = m1 = vset(top);
    for (; i + 2 * VL <= n; i += 2 * VL) {
        m0 = vmax(vload(z + i), m0);
        m1 = vmax(vload(z + i + VL), m1);
    }
    top = vmax_lane(vmax(m0, m1));
    for (; i < n; i++)
        top = z[i] > top ? z[i] : top;
    return top;
}

static double sum_exp(const float *z, int64_t n, float top)
{
    double total = 0;
    for (int64_t p = 0; p < n; p += SUM_PIECE) {
        vf      s = {0};
        int64_t end = imin(n, p + SUM_PIECE), i = p;
        for (; i + VL <= end; i += VL)
            s += vexp(vload(z + i) - top);
        if (i < end) {                  /* lanes beyond the end would count as exp(-top)          */
            float t[GQ_VLEN];
            for (int64_t l = 0; l < VL; l++)
                t[l] = i + l < end ? z[i + l] - top : -INFINITY;
            s += vexp(vload(t));
        }
        total += (double)vsum(s);
    }
    return total;
}

/* Is `label` the lowest index of the largest logit? */
static int is_best(const float *z, int64_t label, float top)
{
    if (z[label] != top)
        return 0;
    for (int64_t v = 0; v < label; v++)
        if (z[v] == top)
            return 0;
    return 1;
}

static void row_losses(const void *ctx, int64_t lo, int64_t hi)
{
    const lm_job *j = ctx;
    float *stats = j->c->out[1].p, *lse = j->c->save[0].p;
    for (int64_t r = lo; r < hi; r++) {
        int64_t at = j->first + r, label = j->labels[at];
        double  l = 0, nll = 0;
        int     right = 0;
        if (label != NOT_COUNTED) {
            const float *z = j->logits + r * j->ld;
            float        top = largest(z, j->V);
            l = (double)top + log(sum_exp(z, j->V, top));
            nll = l - (double)z[label];
            right = is_best(z, label, top);
        }
        j->nll[r] = nll;
        stats[2 * at] = (float)nll;
        stats[2 * at + 1] = (float)right;
        if (lse)
            lse[at] = (float)l;
    }
}

static gemm_call logits_product(const lm_job *j, int64_t v0, int64_t width, float *out, int64_t ld)
{
    return (gemm_call){.kind = GEMM_NT,
                       .m = j->count,
                       .n = width,
                       .k = j->D,
                       .a = j->x,
                       .lda = j->D,
                       .b = (const float *)j->c->in[1].p + v0 * j->D,
                       .ldb = j->D,
                       .c = out,
                       .ldc = ld};
}

void CPU(lm_loss_fwd)(const gq_call *c)
{
    lm_job  j = job_of(c);
    char   *temp = c->work->temp;
    int64_t chunk = chunk_of(&j);
    double  total = 0;
    j.x = temp_floats(&temp, chunk * j.D);
    j.nll = (double *)(void *)temp_floats(&temp, 2 * chunk);
    float *z = c->save[1].p ? c->save[1].p : temp_floats(&temp, chunk * j.V);
    j.logits = z;
    j.ld = j.V;
    for (; j.first < j.R; j.first += chunk) {
        j.count = imin(chunk, j.R - j.first);
        over(c, j.count, range_items(j.D), gather, &j);
        gemm_call g = logits_product(&j, 0, j.V, z, j.V);
        gemm(&g, c->work->pool, temp);
        over(c, j.count, range_items(j.V), row_losses, &j);
        for (int64_t r = 0; r < j.count; r++)
            total += j.nll[r];
    }
    *(float *)c->out[0].p = (float)(total * (double)*(const float *)c->in[4].p);
}

/* ---- backward -------------------------------------------------------------------------------- */

static void logit_gradients(const void *ctx, int64_t lo, int64_t hi)
{
    const lm_job *j = ctx;
    const float  *lse = j->c->save[0].p;
    for (int64_t r = lo; r < hi; r++) {
        const float *z = j->logits + r * j->ld;
        float       *d = j->dl + r * BLOCK;
        int64_t      label = j->labels[j->first + r];
        if (label == NOT_COUNTED) {
            put(d, NULL, j->width, 0);
            continue;
        }
        for (int64_t i = 0; i < j->width; i += VL) {
            vf p = vexp(load_part(z + i, j->width - i) - lse[j->first + r]);
            store_part(d + i, p * j->factor, j->width - i);
        }
        if (label >= j->v0 && label < j->v0 + j->width)
            d[label - j->v0] -= j->factor;
    }
}

/* dhidden[rows[r]] += dx[r], rows in order, columns shared out */
static void scatter(const void *ctx, int64_t lo, int64_t hi)
{
    const lm_job *j = ctx;
    int64_t       at = lo * COLUMN_BLOCK, n = imin(hi * COLUMN_BLOCK, j->D) - at;
    for (int64_t r = 0; r < j->count; r++)
        if (j->labels[j->first + r] != NOT_COUNTED)
            put((float *)j->c->din[0].p + j->rows[j->first + r] * j->D + at, j->dx + r * j->D + at,
                n, 1);
}

static void backward_block(lm_job *j, void *temp)
{
    const gq_call *c = j->c;
    const float   *wte = (const float *)c->in[1].p + j->v0 * j->D;
    if (c->save[1].p && j->R <= GQ_LM_CHUNK) {
        j->logits = (const float *)c->save[1].p + j->v0;
        j->ld = j->V;
    } else {
        gemm_call z = logits_product(j, j->v0, j->width, j->dl, BLOCK);
        gemm(&z, c->work->pool, temp);
        j->logits = j->dl;
        j->ld = BLOCK;
    }
    over(c, j->count, range_items(j->width), logit_gradients, j);
    if (c->din[0].p) {
        gemm_call g = {.kind = GEMM_NN,
                       .m = j->count,
                       .n = j->D,
                       .k = j->width,
                       .a = j->dl,
                       .lda = BLOCK,
                       .b = wte,
                       .ldb = j->D,
                       .c = j->dx,
                       .ldc = j->D,
                       .add = j->v0 > 0};
        gemm(&g, c->work->pool, temp);
    }
    if (c->din[1].p) {
        gemm_call g = {.kind = GEMM_TN,
                       .m = j->width,
                       .n = j->D,
                       .k = j->count,
                       .a = j->dl,
                       .lda = BLOCK,
                       .b = j->x,
                       .ldb = j->D,
                       .c = (float *)c->din[1].p + j->v0 * j->D,
                       .ldc = j->D,
                       .add = j->first > 0 || adds(c, 1)};
        gemm(&g, c->work->pool, temp);
    }
}

void CPU(lm_loss_bwd)(const gq_call *c)
{
    lm_job  j = job_of(c);
    char   *temp = c->work->temp;
    int64_t chunk = chunk_of(&j), columns = (j.D + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
    if (nothing_arrives(c))
        return;
    if (!adds(c, 0))
        put_gradient(c, 0, NULL);
    j.factor = *(const float *)c->in[4].p * *(const float *)c->dout[0].p;
    j.x = temp_floats(&temp, chunk * j.D);
    j.dx = temp_floats(&temp, chunk * j.D);
    j.dl = temp_floats(&temp, chunk * BLOCK);
    for (; j.first < j.R; j.first += chunk) {
        j.count = imin(chunk, j.R - j.first);
        over(c, j.count, range_items(j.D), gather, &j);
        for (j.v0 = 0; j.v0 < j.V; j.v0 += BLOCK) {
            j.width = imin(BLOCK, j.V - j.v0);
            backward_block(&j, temp);
        }
        if (c->din[0].p)
            over(c, columns, range_items(j.count * COLUMN_BLOCK), scatter, &j);
    }
}

/* ---- workspace ------------------------------------------------------------------------------- */

static size_t products_temp(int64_t m, int64_t v, int64_t D, int backward, int threads)
{
    size_t z = gemm_temp(GEMM_NT, m, v, D, GEMM_FLOATS, threads), dx, dw;
    if (!backward)
        return z;
    dx = gemm_temp(GEMM_NN, m, D, v, GEMM_FLOATS, threads);
    dw = gemm_temp(GEMM_TN, v, D, m, GEMM_FLOATS, threads);
    z = z > dx ? z : dx;
    return z > dw ? z : dw;
}

size_t CPU(lm_loss_temp)(const gq_call *c, int backward, int threads)
{
    lm_job  j = job_of(c);
    int64_t chunk = chunk_of(&j), sizes[2] = {chunk, j.R % chunk ? j.R % chunk : chunk};
    int64_t block = backward ? imin(j.V, BLOCK) : j.V;
    int64_t widths[2] = {block, j.V % block ? j.V % block : block};
    size_t  most = 0, bytes = TEMP_ROUND(chunk * j.D * 4);
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < 2; b++) {
            size_t t = products_temp(sizes[a], widths[b], j.D, backward, threads);
            most = t > most ? t : most;
        }
    if (backward)
        bytes += TEMP_ROUND(chunk * j.D * 4) + TEMP_ROUND(chunk * BLOCK * 4);
    else
        bytes += TEMP_ROUND(2 * chunk * 4) + (c->save[1].p ? 0 : TEMP_ROUND(chunk * j.V * 4));
    return bytes + most;
}
