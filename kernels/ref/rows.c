/* rows.c - moving rows: gather_rows, concat_rows, expand_rows. Forward copies, backward adds. */
#include "kernels/ref/ref.h"

void REF(gather_rows_fwd)(const gq_call *c)
{
    const real    *x = c->in[0].p;
    const int32_t *idx = c->in[1].p;
    real          *y = c->out[0].p;
    int64_t        R = gq_size(&c->in[1]), D = gq_cols(&c->in[0]);
    for (int64_t r = 0; r < R; r++)
        for (int64_t d = 0; d < D; d++)
            y[r * D + d] = idx[r] < 0 ? 0 : x[idx[r] * D + d];
}

void REF(gather_rows_bwd)(const gq_call *c)
{
    if (c->din[0].p)
        ref_scatter_rows(c->din[0].p, ref_adds(c, 0), gq_rows(&c->in[0]), gq_cols(&c->in[0]),
                         c->in[1].p, gq_size(&c->in[1]), c->dout[0].p, c->work->temp);
}

size_t REF(gather_rows_temp)(const gq_call *c, int backward, int threads)
{
    (void)threads;
    return backward ? (size_t)gq_cols(&c->in[0]) * sizeof(double) : 0;
}

/* The concatenation as one list of elements: those of a and of b alternate, one block of each per
 * sequence. */
void REF(concat_rows_fwd)(const gq_call *c)
{
    const real *a = c->in[0].p, *b = c->in[1].p;
    real       *y = c->out[0].p;
    int64_t     B = c->in[0].shape[0], D = c->in[0].shape[2], na = c->in[0].shape[1] * D,
            nb = c->in[1].shape[1] * D;
    for (int64_t s = 0; s < B; s++) {
        for (int64_t i = 0; i < na; i++)
            y[s * (na + nb) + i] = a[s * na + i];
        for (int64_t i = 0; i < nb; i++)
            y[s * (na + nb) + na + i] = b[s * nb + i];
    }
}

void REF(concat_rows_bwd)(const gq_call *c)
{
    const real *dy = c->dout[0].p;
    real       *da = c->din[0].p, *db = c->din[1].p;
    int64_t     B = c->in[0].shape[0], D = c->in[0].shape[2], na = c->in[0].shape[1] * D,
            nb = c->in[1].shape[1] * D;
    for (int64_t s = 0; s < B; s++) {
        for (int64_t i = 0; da && i < na; i++)
            ref_put(&da[s * na + i], ref_adds(c, 0), ref_get(dy, s * (na + nb) + i));
        for (int64_t i = 0; db && i < nb; i++)
            ref_put(&db[s * nb + i], ref_adds(c, 1), ref_get(dy, s * (na + nb) + na + i));
    }
}

void REF(expand_rows_fwd)(const gq_call *c)
{
    const real *x = c->in[0].p;
    real       *y = c->out[0].p;
    int64_t     n = gq_size(&c->in[0]);
    for (int64_t i = 0; i < gq_size(&c->out[0]); i++)
        y[i] = x[i % n];
}

void REF(expand_rows_bwd)(const gq_call *c)
{
    const real *dy = c->dout[0].p;
    real       *dx = c->din[0].p;
    int64_t     n = gq_size(&c->in[0]);
    for (int64_t i = 0; dx && i < n; i++) {
        double sum = 0;
        for (int64_t b = 0; b < c->out[0].shape[0]; b++)
            sum += ref_get(dy, b * n + i);
        ref_put(&dx[i], ref_adds(c, 0), sum);
    }
}
