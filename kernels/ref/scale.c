/* scale.c - y = s x; dx = s dy. */
#include "kernels/ref/ref.h"

void REF(scale_fwd)(const gq_call *c)
{
    const real *x = c->in[0].p;
    real       *y = c->out[0].p;
    for (int64_t i = 0; i < gq_size(&c->in[0]); i++)
        y[i] = (real)((double)c->attr.scale * x[i]);
}

void REF(scale_bwd)(const gq_call *c)
{
    const real *dy = c->dout[0].p;
    real       *dx = c->din[0].p;
    for (int64_t i = 0; dx && i < gq_size(&c->in[0]); i++)
        ref_put(&dx[i], ref_adds(c, 0), c->attr.scale * ref_get(dy, i));
}
