/* embed.c - y = table[ids] (+ base). */
#include "kernels/ref/ref.h"

void REF(embed_fwd)(const gq_call *c)
{
    const int32_t *ids = c->in[0].p;
    const real    *table = c->in[1].p, *base = c->in[2].p;
    real          *y = c->out[0].p;
    int64_t        rows = gq_size(&c->in[0]), D = gq_cols(&c->in[1]);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t d = 0; d < D; d++)
            y[r * D + d] =
                (real)((double)table[ids[r] * D + d] + (base ? (double)base[r * D + d] : 0.0));
}

void REF(embed_bwd)(const gq_call *c)
{
    const int32_t *ids = c->in[0].p;
    const real    *dy = c->dout[0].p;
    real          *dtable = c->din[1].p, *dbase = c->din[2].p;
    int64_t        rows = gq_size(&c->in[0]), V = c->in[1].shape[0], D = gq_cols(&c->in[1]);
    if (dtable)
        ref_scatter_rows(dtable, ref_adds(c, 1), V, D, ids, rows, dy, c->work->temp);
    for (int64_t i = 0; dbase && i < rows * D; i++)
        ref_put(&dbase[i], ref_adds(c, 2), ref_get(dy, i));
}

size_t REF(embed_temp)(const gq_call *c, int backward, int threads)
{
    (void)threads;
    return backward ? (size_t)gq_cols(&c->in[1]) * sizeof(double) : 0;
}
