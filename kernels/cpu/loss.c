/* loss.c - mvm_loss and combine. Sums over rows are doubles, added in the order of the rows. */
#include <math.h>

#include "kernels/cpu/cpu.h"

static const float smallest_norm = 1e-8f;

typedef struct row_sums { float ht, hh, tt, dd; } row_sums;       /* <h,t>, |h|^2, |t|^2, |h-t|^2 */

static row_sums sums_of(const float *h, const float *t, int64_t n)
{
    vf ht = {0}, hh = {0}, tt = {0}, dd = {0};
    for (int64_t i = 0; i < n; i += VL) {
        vf a = load_part(h + i, n - i), b = load_part(t + i, n - i), d = a - b;
        ht = vfma(a, b, ht);
        hh = vfma(a, a, hh);
        tt = vfma(b, b, tt);
        dd = vfma(d, d, dd);
    }
    return (row_sums){vsum(ht), vsum(hh), vsum(tt), vsum(dd)};
}

typedef struct mvm_job {
    const gq_call *c;
    int64_t  n;                         /* columns                                                */
    double  *row;                       /* forward: loss of each row, unweighted                  */
    float    factor;                    /* backward: what every row's gradient is multiplied with */
} mvm_job;

static void mvm_forward(const void *ctx, int64_t lo, int64_t hi)
{
    const mvm_job *j = ctx;
    const float   *h = j->c->in[0].p, *t = j->c->in[1].p;
    for (int64_t r = lo; r < hi; r++) {
        row_sums s = sums_of(h + r * j->n, t + r * j->n, j->n);
        if (j->c->attr.kind == GQ_MVM_COS)
            j->row[r] = 2 - 2 * (double)s.ht / ((double)fmaxf(sqrtf(s.hh), smallest_norm) *
                                                (double)fmaxf(sqrtf(s.tt), smallest_norm));
        else
            j->row[r] = j->c->attr.kind == GQ_MVM_MSE ? (double)s.dd / (double)j->n : (double)s.dd;
    }
}

void CPU(mvm_loss_fwd)(const gq_call *c)
{
    const float *u = c->in[2].p, *inv_denom = c->in[3].p;
    int64_t      rows = gq_rows(&c->in[0]);
    mvm_job      j = {c, gq_cols(&c->in[0]), c->work->temp, 0};
    double       sum = 0;
    over(c, rows, range_items(j.n), mvm_forward, &j);
    for (int64_t r = 0; r < rows; r++)
        sum += (double)u[r] * j.row[r];
    *(float *)c->out[0].p = (float)(sum * (double)*inv_denom);
}

/* dh = a (t - b h), per row */
static void mvm_backward(const void *ctx, int64_t lo, int64_t hi)
{
    const mvm_job *j = ctx;
    const float   *u = j->c->in[2].p;
    int            add = adds(j->c, 0);
    for (int64_t r = lo; r < hi; r++) {
        const float *h = (const float *)j->c->in[0].p + r * j->n,
                    *t = (const float *)j->c->in[1].p + r * j->n;
        float       *dh = (float *)j->c->din[0].p + r * j->n, a = -2 * u[r] * j->factor, b = 1;
        if (j->c->attr.kind == GQ_MVM_COS) {
            row_sums s = sums_of(h, t, j->n);
            float    nh = sqrtf(s.hh), lh = fmaxf(nh, smallest_norm),
                  lt = fmaxf(sqrtf(s.tt), smallest_norm);
            a /= lh * lt;
            b = nh < smallest_norm ? 0 : s.ht / (lh * lh);
        }
        for (int64_t i = 0; i < j->n; i += VL) {
            int64_t left = j->n - i;
            vf      v = a * (load_part(t + i, left) - b * load_part(h + i, left));
            store_part(dh + i, add ? load_part(dh + i, left) + v : v, left);
        }
    }
}

void CPU(mvm_loss_bwd)(const gq_call *c)
{
    mvm_job j = {.c = c, .n = gq_cols(&c->in[0])};
    if (nothing_arrives(c) || !c->din[0].p)
        return;
    j.factor = *(const float *)c->in[3].p * *(const float *)c->dout[0].p;
    if (c->attr.kind == GQ_MVM_MSE)
        j.factor /= (float)j.n;
    over(c, gq_rows(&c->in[0]), range_items(j.n), mvm_backward, &j);
}

size_t CPU(mvm_loss_temp)(const gq_call *c, int backward, int threads)
{
    (void)threads;
    return backward ? 0 : TEMP_ROUND(gq_rows(&c->in[0]) * (int64_t)sizeof(double));
}

/* ---- combine --------------------------------------------------------------------------------- */

enum { TERMS = 4 };

void CPU(combine_fwd)(const gq_call *c)
{
    double sum = 0;
    for (int k = 0; k < TERMS; k++)
        if (c->in[k].p)
            sum += (double)c->attr.w[k] * (double)*(const float *)c->in[k].p;
    *(float *)c->out[0].p = (float)sum;
}

void CPU(combine_bwd)(const gq_call *c)
{
    if (nothing_arrives(c))
        return;
    for (int k = 0; k < TERMS; k++)
        if (c->din[k].p) {
            float g = c->attr.w[k] * *(const float *)c->dout[0].p;
            put_gradient(c, k, &g);
        }
}
