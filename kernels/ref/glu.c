/* glu.c - gated linear unit: y = act(a) * b for rows (a, b); da = dy b act'(a), db = dy act(a). */
#include "kernels/ref/ref.h"

void REF(glu_fwd)(const gq_call *c)
{
    const real *u = c->in[0].p;
    real       *y = c->out[0].p;
    int64_t     F = gq_cols(&c->out[0]);
    for (int64_t r = 0; r < gq_rows(&c->in[0]); r++)
        for (int64_t f = 0; f < F; f++)
            y[r * F + f] =
                (real)(REF(act_value)(c->attr.act, u[r * 2 * F + f]) * u[r * 2 * F + F + f]);
}

void REF(glu_bwd)(const gq_call *c)
{
    const real *u = c->in[0].p, *dy = c->dout[0].p;
    real       *du = c->din[0].p;
    int64_t     F = gq_cols(&c->in[0]) / 2;
    for (int64_t r = 0; du && r < gq_rows(&c->in[0]); r++)
        for (int64_t f = 0; f < F; f++) {
            int64_t a = r * 2 * F + f, b = a + F;
            double  up = ref_get(dy, r * F + f);
            ref_put(&du[a], ref_adds(c, 0), up * u[b] * REF(act_slope)(c->attr.act, u[a]));
            ref_put(&du[b], ref_adds(c, 0), up * REF(act_value)(c->attr.act, u[a]));
        }
}
