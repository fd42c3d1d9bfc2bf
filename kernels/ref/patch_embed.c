/* patch_embed.c - a convolution whose stride is its width: each patch of p x p pixels is a row of a
 * matrix product. */
#include "kernels/ref/ref.h"

typedef struct patches {
    const uint8_t *frames;              /* [B,S,S,3]                                              */
    int64_t S, p, n, columns;           /* frame side, patch side, patches per frame, 3*p*p       */
} patches;

static patches patches_of(const gq_call *c)
{
    int64_t S = c->in[0].shape[1], p = c->attr.patch;
    return (patches){c->in[0].p, S, p, (S / p) * (S / p), 3 * p * p};
}

/* Column k = (ch, y, x) of patch i of frame b. In float by contract, so that all backends see the
 * same pixels. */
static double pixel(const gq_call *c, const patches *q, int64_t b, int64_t i, int64_t k)
{
    int64_t ch = k / (q->p * q->p), y = k / q->p % q->p, x = k % q->p, side = q->S / q->p;
    int64_t row = i / side * q->p + y, col = i % side * q->p + x;
    float   v = (float)q->frames[((b * q->S + row) * q->S + col) * 3 + ch] * (1 / 255.f);
    return (v - c->attr.mean[ch]) / c->attr.std[ch];
}

void REF(patch_embed_fwd)(const gq_call *c)
{
    const real *w = c->in[1].p, *cls = c->in[2].p, *pos = c->in[3].p;
    real       *y = c->out[0].p;
    patches     q = patches_of(c);
    int64_t     B = c->in[0].shape[0], D = c->in[1].shape[0], first = cls ? 1 : 0, T = q.n + first;
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t d = 0; d < D; d++) {
                double sum = pos ? (double)pos[t * D + d] : 0.0;
                if (t < first)
                    sum += cls[d];
                else
                    for (int64_t k = 0; k < q.columns; k++)
                        sum += pixel(c, &q, b, t - first, k) * w[d * q.columns + k];
                y[(b * T + t) * D + d] = (real)sum;
            }
}

void REF(patch_embed_bwd)(const gq_call *c)
{
    const real *dy = c->dout[0].p;
    real       *dw = c->din[1].p, *dcls = c->din[2].p, *dpos = c->din[3].p;
    patches     q = patches_of(c);
    int64_t     B = c->in[0].shape[0], D = c->in[1].shape[0], first = c->in[2].p ? 1 : 0,
            T = q.n + first;
    for (int64_t d = 0; dw && d < D; d++)
        for (int64_t k = 0; k < q.columns; k++) {
            double sum = 0;
            for (int64_t b = 0; b < B; b++)
                for (int64_t i = 0; i < q.n; i++)
                    sum += ref_get(dy, (b * T + first + i) * D + d) * pixel(c, &q, b, i, k);
            ref_put(&dw[d * q.columns + k], ref_adds(c, 1), sum);
        }
    for (int64_t i = 0; i < T * D; i++) {                             /* i < D: the class row     */
        double sum = 0;
        for (int64_t b = 0; b < B; b++)
            sum += ref_get(dy, b * T * D + i);
        if (dcls && i < D)
            ref_put(&dcls[i], ref_adds(c, 2), sum);
        if (dpos)
            ref_put(&dpos[i], ref_adds(c, 3), sum);
    }
}
