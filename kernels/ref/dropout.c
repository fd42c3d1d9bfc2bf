/* dropout.c - inverted dropout: kept elements are scaled by 1/(1-p), the others become zero.
 * Backward draws the same numbers again; no mask is stored. */
#include "kernels/ref/ref.h"

void REF(dropout_fwd)(const gq_call *c)
{
    const real *x = c->in[0].p;
    real       *y = c->out[0].p;
    double      scale = 1 / (1 - (double)c->attr.p);
    for (int64_t i = 0; i < gq_size(&c->in[0]); i++)
        y[i] = ref_keeps(c, (uint64_t)i) ? (real)(x[i] * scale) : 0;
}

void REF(dropout_bwd)(const gq_call *c)
{
    const real *dy = c->dout[0].p;
    real       *dx = c->din[0].p;
    double      scale = 1 / (1 - (double)c->attr.p);
    for (int64_t i = 0; dx && i < gq_size(&c->in[0]); i++)
        ref_put(&dx[i], ref_adds(c, 0), ref_keeps(c, (uint64_t)i) ? ref_get(dy, i) * scale : 0);
}
