/* mask_rows.c - y = x * u, with one factor per row or one per element. u never has a gradient. */
#include "kernels/ref/ref.h"

static double factor(const gq_call *c, int64_t i)
{
    const real *u = c->in[1].p;
    return gq_size(&c->in[1]) == gq_size(&c->in[0]) ? u[i] : u[i / gq_cols(&c->in[0])];
}

void REF(mask_rows_fwd)(const gq_call *c)
{
    const real *x = c->in[0].p;
    real       *y = c->out[0].p;
    for (int64_t i = 0; i < gq_size(&c->in[0]); i++)
        y[i] = (real)(x[i] * factor(c, i));
}

void REF(mask_rows_bwd)(const gq_call *c)
{
    const real *dy = c->dout[0].p;
    real       *dx = c->din[0].p;
    for (int64_t i = 0; dx && i < gq_size(&c->in[0]); i++)
        ref_put(&dx[i], ref_adds(c, 0), ref_get(dy, i) * factor(c, i));
}
