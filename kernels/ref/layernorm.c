/* layernorm.c - layernorm and add_norm.
 *
 * y = xhat * g + b with xhat = (x - mean) * rstd, rstd = 1 / sqrt(var + eps), var the biased
 * variance of the row. Backward, with e = dy * g: dx = rstd * (e - mean(e) - xhat * mean(e *
 * xhat)). RMSNorm is the same with a mean of 0, which does not depend on x: no mean(e).
 */
#include "kernels/ref/ref.h"

/* What both ops have in common: x is the normalised tensor, [rows,D]. */
typedef struct norm {
    int64_t rows, D;
    int     rms;
    const real *x, *g, *b;              /* b may be absent                                        */
    real *y;                            /* forward                                                */
    real *mean, *rstd;                  /* [rows], absent when nothing runs backward              */
    const real *dy;                     /* backward, may be absent                                */
} norm;

static void norm_forward(const norm *o, double eps)
{
    for (int64_t r = 0; r < o->rows; r++) {
        const real *x = o->x + r * o->D;
        double      mean = 0, var = 0, rstd;
        for (int64_t d = 0; d < o->D && !o->rms; d++)
            mean += x[d];
        mean /= (double)o->D;
        for (int64_t d = 0; d < o->D; d++)
            var += (x[d] - mean) * (x[d] - mean);
        var /= (double)o->D;
        rstd = 1 / sqrt(var + eps);
        for (int64_t d = 0; d < o->D; d++)
            o->y[r * o->D + d] =
                (real)((x[d] - mean) * rstd * o->g[d] + (o->b ? (double)o->b[d] : 0.0));
        if (o->mean)
            o->mean[r] = (real)mean;
        if (o->rstd)
            o->rstd[r] = (real)rstd;
    }
}

static double xhat(const norm *o, int64_t r, int64_t d)
{
    return ((double)o->x[r * o->D + d] - o->mean[r]) * o->rstd[r];
}

/* The mean of e (RMSNorm: 0) and of e * xhat over a row. */
static void row_means(const norm *o, int64_t r, double *mean_e, double *mean_ex)
{
    *mean_e = *mean_ex = 0;
    for (int64_t d = 0; d < o->D; d++) {
        double e = ref_get(o->dy, r * o->D + d) * o->g[d];
        *mean_e += o->rms ? 0 : e / (double)o->D;
        *mean_ex += e * xhat(o, r, d) / (double)o->D;
    }
}

static double dx_element(const norm *o, int64_t r, int64_t d, double mean_e, double mean_ex)
{
    double e = ref_get(o->dy, r * o->D + d) * o->g[d];
    return o->rstd[r] * (e - mean_e - xhat(o, r, d) * mean_ex);
}

/* Gradients of gain (input kg) and bias (the next one): sums over the rows. */
static void gain_and_bias(const gq_call *c, const norm *o, int kg)
{
    real *dg = c->din[kg].p, *db = c->din[kg + 1].p;
    for (int64_t d = 0; d < o->D; d++) {
        double sum_g = 0, sum_b = 0;
        for (int64_t r = 0; r < o->rows; r++) {
            double dy = ref_get(o->dy, r * o->D + d);
            sum_g += dy * xhat(o, r, d);
            sum_b += dy;
        }
        if (dg)
            ref_put(&dg[d], ref_adds(c, kg), sum_g);
        if (db)
            ref_put(&db[d], ref_adds(c, kg + 1), sum_b);
    }
}

static norm norm_of(const gq_call *c, const gq_buf *x, int kg, int ky)
{
    return (norm){gq_rows(x), gq_cols(x), c->attr.rms, x->p, c->in[kg].p, c->in[kg + 1].p, c->out[ky].p,
                  c->save[0].p, c->save[1].p, c->dout[ky].p};
}

void REF(layernorm_fwd)(const gq_call *c)
{
    norm o = norm_of(c, &c->in[0], 1, 0);
    norm_forward(&o, c->attr.eps);
}

void REF(layernorm_bwd)(const gq_call *c)
{
    norm  o = norm_of(c, &c->in[0], 1, 0);
    real *dx = c->din[0].p;
    for (int64_t r = 0; dx && r < o.rows; r++) {
        double mean_e, mean_ex;
        row_means(&o, r, &mean_e, &mean_ex);
        for (int64_t d = 0; d < o.D; d++)
            ref_put(&dx[r * o.D + d], ref_adds(c, 0), dx_element(&o, r, d, mean_e, mean_ex));
    }
    gain_and_bias(c, &o, 1);
}

void REF(add_norm_fwd)(const gq_call *c)
{
    norm        o = norm_of(c, &c->out[0], 2, 1);
    const real *a = c->in[0].p, *b = c->in[1].p;
    real       *s = c->out[0].p;
    for (int64_t i = 0; i < o.rows * o.D; i++)
        s[i] = (real)((double)a[i] + b[i]);
    norm_forward(&o, c->attr.eps);
}

void REF(add_norm_bwd)(const gq_call *c)
{
    norm        o = norm_of(c, &c->out[0], 2, 1);
    const real *dsum = c->dout[0].p;
    real       *da = c->din[0].p, *db = c->din[1].p;
    for (int64_t r = 0; r < o.rows; r++) {
        double mean_e, mean_ex;
        row_means(&o, r, &mean_e, &mean_ex);
        for (int64_t d = 0; d < o.D; d++) {
            int64_t i = r * o.D + d;
            double  ds = ref_get(dsum, i) + dx_element(&o, r, d, mean_e, mean_ex);
            if (da)
                ref_put(&da[i], ref_adds(c, 0), ds);
            if (db)
                ref_put(&db[i], ref_adds(c, 1), ds);
        }
    }
    gain_and_bias(c, &o, 2);
}
