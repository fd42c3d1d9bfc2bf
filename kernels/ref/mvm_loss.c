/* mvm_loss.c - masked video modelling: how far the student's rows h are from the teacher's rows t.
 *
 * sse: |h-t|^2; mse: |h-t|^2 / D; cos: |h/|h| - t/|t||^2 = 2 - 2 <h,t> / (|h||t|), norms clamped
 * below at 1e-8. Gradient of the last: -2 (t / (|h||t|) - <h,t> h / (|h|^3 |t|)); a clamped |h| is
 * a constant and loses the second term.
 */
#include "kernels/ref/ref.h"

static const double smallest_norm = 1e-8;

typedef struct angle {
    double dot, h, t;                   /* <h,t> and the clamped norms                            */
    int    clamped;                     /* |h| was below the clamp                                */
} angle;

static angle angle_of(const real *h, const real *t, int64_t D)
{
    double dot = 0, hh = 0, tt = 0;
    for (int64_t d = 0; d < D; d++) {
        dot += (double)h[d] * t[d];
        hh += (double)h[d] * h[d];
        tt += (double)t[d] * t[d];
    }
    hh = sqrt(hh);
    tt = sqrt(tt);
    return (angle){dot, hh < smallest_norm ? smallest_norm : hh,
                   tt < smallest_norm ? smallest_norm : tt, hh < smallest_norm};
}

static double row_loss(int kind, const real *h, const real *t, int64_t D)
{
    double sum = 0;
    if (kind == GQ_MVM_COS) {
        angle a = angle_of(h, t, D);
        return 2 - 2 * a.dot / (a.h * a.t);
    }
    for (int64_t d = 0; d < D; d++)
        sum += ((double)h[d] - t[d]) * ((double)h[d] - t[d]);
    return kind == GQ_MVM_MSE ? sum / (double)D : sum;
}

void REF(mvm_loss_fwd)(const gq_call *c)
{
    const real *h = c->in[0].p, *t = c->in[1].p, *u = c->in[2].p, *inv_denom = c->in[3].p;
    real       *loss = c->out[0].p;
    int64_t     R = gq_rows(&c->in[0]), D = gq_cols(&c->in[0]);
    double      sum = 0;
    for (int64_t r = 0; r < R; r++)
        sum += u[r] * row_loss(c->attr.kind, h + r * D, t + r * D, D);
    loss[0] = (real)(sum * inv_denom[0]);
}

void REF(mvm_loss_bwd)(const gq_call *c)
{
    const real *h = c->in[0].p, *t = c->in[1].p, *u = c->in[2].p, *inv_denom = c->in[3].p;
    real       *dh = c->din[0].p;
    int64_t     R = gq_rows(&c->in[0]), D = gq_cols(&c->in[0]);
    double      factor =
        inv_denom[0] * ref_get(c->dout[0].p, 0) / (c->attr.kind == GQ_MVM_MSE ? (double)D : 1.0);
    for (int64_t r = 0; dh && r < R; r++, h += D, t += D, dh += D) {
        angle a = angle_of(h, t, D);
        for (int64_t d = 0; d < D; d++) {
            double slope = 2 * ((double)h[d] - t[d]);
            if (c->attr.kind == GQ_MVM_COS)
                slope = -2 * (t[d] - (a.clamped ? 0 : a.dot / (a.h * a.h) * h[d])) / (a.h * a.t);
            ref_put(&dh[d], ref_adds(c, 0), u[r] * factor * slope);
        }
    }
}
