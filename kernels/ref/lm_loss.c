/* lm_loss.c - cross entropy of the rows that have a label.
 *
 * z_r = hidden[rows[r]] wte^T; lse_r = log sum_v exp z_rv; nll_r = lse_r - z_r,label; loss =
 * inv_denom sum_r nll_r. Backward: dz_rv = (exp(z_rv - lse_r) - [v == label]) inv_denom dloss. The
 * reference computes the logits of a row again where it needs them; save[1] is only written, for
 * its readers.
 */
#include "kernels/ref/ref.h"

enum { NOT_COUNTED = -100 };

/* The logits of row r into z[V]. */
static void row_logits(const gq_call *c, int64_t r, double *z)
{
    const int32_t *rows = c->in[2].p;
    int64_t        V = c->in[1].shape[0], D = gq_cols(&c->in[1]);
    const real    *h = (const real *)c->in[0].p + rows[r] * D, *wte = c->in[1].p;
    for (int64_t v = 0; v < V; v++) {
        z[v] = 0;
        for (int64_t d = 0; d < D; d++)
            z[v] += (double)h[d] * wte[v * D + d];
    }
}

/* log sum exp of z[V]; *best: the lowest index of the largest logit */
static double log_sum_exp(const double *z, int64_t V, int64_t *best)
{
    double sum = 0;
    *best = 0;
    for (int64_t v = 1; v < V; v++)
        if (z[v] > z[*best])
            *best = v;
    for (int64_t v = 0; v < V; v++)
        sum += exp(z[v] - z[*best]);
    return z[*best] + log(sum);
}

void REF(lm_loss_fwd)(const gq_call *c)
{
    const int32_t *labels = c->in[3].p;
    const real    *inv_denom = c->in[4].p;
    real *loss = c->out[0].p, *stats = c->out[1].p, *lse = c->save[0].p, *logits = c->save[1].p;
    double        *z = c->work->temp, total = 0;                      /* z: [V]                   */
    int64_t        R = gq_size(&c->in[2]), V = c->in[1].shape[0];
    for (int64_t r = 0; r < R; r++) {
        int64_t best;
        double  l = 0, nll = 0, right = 0;
        if (labels[r] == NOT_COUNTED) {
            memset(z, 0, (size_t)V * sizeof *z);
        } else {
            row_logits(c, r, z);
            l = log_sum_exp(z, V, &best);
            nll = l - z[labels[r]];
            right = best == labels[r];
        }
        total += nll;
        stats[2 * r] = (real)nll;
        stats[2 * r + 1] = (real)right;
        if (lse)
            lse[r] = (real)l;
        for (int64_t v = 0; logits && v < V; v++)
            logits[r % GQ_LM_CHUNK * V + v] = (real)z[v];
    }
    loss[0] = (real)(total * inv_denom[0]);
}

/* dz of every row, [R,V]; zero in rows that are not counted */
static void logit_gradients(const gq_call *c, double *dz)
{
    const int32_t *labels = c->in[3].p;
    const real    *inv_denom = c->in[4].p, *lse = c->save[0].p;
    double         factor = inv_denom[0] * ref_get(c->dout[0].p, 0);
    int64_t        R = gq_size(&c->in[2]), V = c->in[1].shape[0];
    for (int64_t r = 0; r < R; r++, dz += V) {
        if (labels[r] == NOT_COUNTED) {
            memset(dz, 0, (size_t)V * sizeof *dz);
            continue;
        }
        row_logits(c, r, dz);
        for (int64_t v = 0; v < V; v++)
            dz[v] = (exp(dz[v] - lse[r]) - (v == labels[r])) * factor;
    }
}

/* dhidden[i] = sum of dz_r wte over the rows r that read hidden[i], in order */
static void hidden_gradient(const gq_call *c, const double *dz)
{
    const int32_t *rows = c->in[2].p, *labels = c->in[3].p;
    const real    *wte = c->in[1].p;
    real          *dh = c->din[0].p;
    int64_t        n = gq_rows(&c->in[0]), R = gq_size(&c->in[2]), V = c->in[1].shape[0],
            D = gq_cols(&c->in[1]);
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < D; d++) {
            double sum = 0;
            for (int64_t r = 0; r < R; r++)
                if (labels[r] != NOT_COUNTED && rows[r] == i)
                    for (int64_t v = 0; v < V; v++)
                        sum += dz[r * V + v] * wte[v * D + d];
            ref_put(&dh[i * D + d], ref_adds(c, 0), sum);
        }
}

void REF(lm_loss_bwd)(const gq_call *c)
{
    const int32_t *rows = c->in[2].p, *labels = c->in[3].p;
    const real    *h = c->in[0].p;
    real          *dwte = c->din[1].p;
    double        *dz = c->work->temp;
    int64_t        R = gq_size(&c->in[2]), V = c->in[1].shape[0], D = gq_cols(&c->in[1]);
    logit_gradients(c, dz);
    if (c->din[0].p)
        hidden_gradient(c, dz);
    for (int64_t v = 0; dwte && v < V; v++)
        for (int64_t d = 0; d < D; d++) {
            double sum = 0;
            for (int64_t r = 0; r < R; r++)
                if (labels[r] != NOT_COUNTED)
                    sum += dz[r * V + v] * h[rows[r] * D + d];
            ref_put(&dwte[v * D + d], ref_adds(c, 1), sum);
        }
}

size_t REF(lm_loss_temp)(const gq_call *c, int backward, int threads)
{
    int64_t R = gq_size(&c->in[2]), V = c->in[1].shape[0];
    (void)threads;
    return (size_t)(backward ? R * V : V) * sizeof(double);
}
