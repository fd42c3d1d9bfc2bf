/* norm.c - layernorm and add_norm, a row at a time: a row stays in L1 over its passes. RMSNorm is
 * the same with a mean of 0, and without the share of the gradient that flows through the mean. */
#include "kernels/cpu/cpu.h"

typedef struct norm_job {
    const gq_call *c;
    int64_t rows, n;                    /* n: columns                                             */
    const float *a, *b;                 /* add_norm: s = a + b is written to `x`                  */
    float       *s;
    const float *x, *g, *beta;          /* the normalised tensor, gain, bias (NULL: none)         */
    float       *y, *mean, *rstd;  /* mean, rstd [rows]; forward: NULL when nothing runs backward */
    const float *dy, *ds;               /* backward, NULL: absent                                 */
    float       *d0, *d1;          /* gradients of the normalised tensor's inputs, NULL: unwanted */
    int          add0, add1;
    float       *partial;               /* [ranges][2][n]: dgain, dbias; NULL: unwanted           */
    int64_t      per;                   /* rows per range                                         */
} norm_job;

static float row_sum(const float *x, int64_t n, float shift, int square)
{
    vf s0 = {0}, s1 = {0}, c = vset(shift);
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        vf a = vload(x + i) - c, b = vload(x + i + VL) - c;
        s0 = square ? vfma(a, a, s0) : s0 + a;
        s1 = square ? vfma(b, b, s1) : s1 + b;
    }
    for (; i + VL <= n; i += VL) {
        vf a = vload(x + i) - c;
        s0 = square ? vfma(a, a, s0) : s0 + a;
    }
    float total = vsum(s0 + s1);
    for (; i < n; i++)
        total += square ? (x[i] - shift) * (x[i] - shift) : x[i] - shift;
    return total;
}

static void forward_rows(const void *ctx, int64_t lo, int64_t hi)
{
    const norm_job *j = ctx;
    int64_t n = j->n;
    for (int64_t r = lo; r < hi; r++) {
        const float *x = j->x + r * n;
        float       *y = j->y + r * n, mean, rstd;
        for (int64_t i = 0; j->s && i < n; i += VL) {
            int64_t at = r * n + i;
            store_part(j->s + at, load_part(j->a + at, n - i) + load_part(j->b + at, n - i), n - i);
        }
        mean = j->c->attr.rms ? 0 : row_sum(x, n, 0, 0) / (float)n;
        rstd = 1.0f / __builtin_sqrtf(row_sum(x, n, mean, 1) / (float)n + j->c->attr.eps);
        for (int64_t i = 0; i < n; i += VL) {
            vf v = (load_part(x + i, n - i) - mean) * rstd * load_part(j->g + i, n - i);
            if (j->beta)
                v += load_part(j->beta + i, n - i);
            store_part(y + i, v, n - i);
        }
        if (j->mean)
            j->mean[r] = mean;
        if (j->rstd)
            j->rstd[r] = rstd;
    }
}

/* The sums over a row of e = dy g and of e xhat; on the way dgain += dy xhat and dbias += dy. */
static void backward_sums(const norm_job *j, int64_t r, float *dg, float *se, float *sex)
{
    int64_t      n = j->n;
    const float *x = j->x + r * n, *dy = j->dy + r * n;
    float        mean = j->mean[r], rstd = j->rstd[r];
    vf           e_sum = {0}, ex_sum = {0};
    for (int64_t i = 0; i < n; i += VL) {
        int64_t left = n - i;
        vf d = load_part(dy + i, left), xhat = (load_part(x + i, left) - mean) * rstd;
        vf e = d * load_part(j->g + i, left);
        e_sum += e;
        ex_sum = vfma(e, xhat, ex_sum);                              /* e is 0 beyond the row     */
        if (dg) {
            store_part(dg + i, vfma(d, xhat, load_part(dg + i, left)), left);
            store_part(dg + n + i, load_part(dg + n + i, left) + d, left);
        }
    }
    *se = vsum(e_sum);
    *sex = vsum(ex_sum);
}

static void backward_row(const norm_job *j, int64_t r, float se, float sex)
{
    int64_t n = j->n;
    float   mean_e = j->c->attr.rms ? 0 : se / (float)n, mean_ex = sex / (float)n;
    for (int64_t i = 0; i < n; i += VL) {
        int64_t left = n - i, at = r * n + i;
        vf      v = {0};
        if (j->dy) {
            vf xhat = (load_part(j->x + at, left) - j->mean[r]) * j->rstd[r];
            v = (load_part(j->dy + at, left) * load_part(j->g + i, left) - mean_e -
                 xhat * mean_ex) *
                j->rstd[r];
        }
        if (j->ds)
            v += load_part(j->ds + at, left);
        if (j->d0)
            store_part(j->d0 + at, j->add0 ? load_part(j->d0 + at, left) + v : v, left);
        if (j->d1)
            store_part(j->d1 + at, j->add1 ? load_part(j->d1 + at, left) + v : v, left);
    }
}

static void backward_rows(const void *ctx, int64_t lo, int64_t hi)
{
    const norm_job *j = ctx;
    float *dg = j->partial ? j->partial + lo / j->per * 2 * j->n : NULL;
    if (dg)
        memset(dg, 0, (size_t)(2 * j->n) * sizeof(float));
    for (int64_t r = lo; r < hi; r++) {
        float se = 0, sex = 0;
        if (j->dy)
            backward_sums(j, r, dg, &se, &sex);
        if (j->d0 || j->d1)
            backward_row(j, r, se, sex);
    }
}

/* Runs the ranges, then adds their sums by index: gain is input kg, bias the next one. */
static void backward(norm_job *j, int kg)
{
    const gq_call *c = j->c;
    float *dg = c->din[kg].p, *db = c->din[kg + 1].p;
    j->per = partial_rows(j->rows, j->n);
    int64_t ranges = (j->rows + j->per - 1) / j->per;
    if (dg || db)
        j->partial = c->work->temp;
    over(c, j->rows, j->per, backward_rows, j);
    for (int64_t p = 0; p < ranges; p++) {
        if (dg)
            put(dg, j->partial + 2 * p * j->n, j->n, p > 0 || adds(c, kg));
        if (db)
            put(db, j->partial + (2 * p + 1) * j->n, j->n, p > 0 || adds(c, kg + 1));
    }
}

static norm_job job_of(const gq_call *c, const gq_buf *x, int kg, int ky)
{
    return (norm_job){.c = c,
                      .rows = gq_rows(x),
                      .n = gq_cols(x),
                      .x = x->p,
                      .g = c->in[kg].p,
                      .beta = c->in[kg + 1].p,
                      .y = c->out[ky].p,
                      .mean = c->save[0].p,
                      .rstd = c->save[1].p,
                      .dy = c->dout[ky].p};
}

void CPU(layernorm_fwd)(const gq_call *c)
{
    norm_job j = job_of(c, &c->in[0], 1, 0);
    over(c, j.rows, range_items(j.n), forward_rows, &j);
}

void CPU(layernorm_bwd)(const gq_call *c)
{
    norm_job j = job_of(c, &c->in[0], 1, 0);
    j.d0 = c->din[0].p;
    j.add0 = adds(c, 0);
    backward(&j, 1);
}

void CPU(add_norm_fwd)(const gq_call *c)
{
    norm_job j = job_of(c, &c->out[0], 2, 1);
    j.a = c->in[0].p;
    j.b = c->in[1].p;
    j.s = c->out[0].p;
    over(c, j.rows, range_items(j.n), forward_rows, &j);
}

void CPU(add_norm_bwd)(const gq_call *c)
{
    norm_job j = job_of(c, &c->out[0], 2, 1);
    j.ds = c->dout[0].p;
    j.d0 = c->din[0].p;
    j.d1 = c->din[1].p;
    j.add0 = adds(c, 0);
    j.add1 = adds(c, 1);
    backward(&j, 2);
}

size_t CPU(norm_temp)(const gq_call *c, int backward, int threads)
{
    (void)threads;
    return backward ? TEMP_ROUND(PARTIALS * 2 * gq_cols(&c->in[0]) * 4) : 0;
}
