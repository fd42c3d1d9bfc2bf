/* combine.c - the total loss: a weighted sum of scalars. */
#include "kernels/ref/ref.h"

enum { TERMS = 4 };

void REF(combine_fwd)(const gq_call *c)
{
    real  *y = c->out[0].p;
    double sum = 0;
    for (int k = 0; k < TERMS; k++)
        if (c->in[k].p)
            sum += (double)c->attr.w[k] * *(const real *)c->in[k].p;
    y[0] = (real)sum;
}

void REF(combine_bwd)(const gq_call *c)
{
    for (int k = 0; k < TERMS; k++)
        if (c->din[k].p)
            ref_put(c->din[k].p, ref_adds(c, k), c->attr.w[k] * ref_get(c->dout[0].p, 0));
}
