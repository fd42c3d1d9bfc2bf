/* sdpa.c - scaled dot-product attention per head, with masks and dropout on the probabilities.
 *
 * Forward:  s_ij = scale <q_i, k_j> + table[bucket(j - at(i))][h];  P = softmax of s over the visible keys;
 *           Z_ij = P_ij keep_ij / (1-p);  o_i = sum_j Z_ij v_j.
 * Backward: dP_ij = <do_i, v_j> keep_ij / (1-p);  ds_ij = P_ij (dP_ij - sum_k P_ik dP_ik);
 *           dq_i = scale sum_j ds_ij k_j;  dk_j = scale sum_i ds_ij q_i;  dv_j = sum_i Z_ij do_i;
 *           dtable[n][h] = sum of ds_ij over the (i, j) of bucket n.
 */
#include "kernels/ref/ref.h"
#include "kernels/relative.h"

/* One head of one sequence: pointers at its first column in row 0, and the row strides. */
typedef struct head {
    const gq_call *c;
    int64_t b, h, H, Tq, Tk, width;     /* width: columns of one head                             */
    int64_t qstep, kstep, ostep;        /* row strides of the q source, the kv source and o       */
    int64_t qat, kat, vat, oat;      /* element offsets of row 0 in the q source, kv source and o */
    const real *q, *k, *v;
} head;

static head head_of(const gq_call *c, int64_t b, int64_t h)
{
    const gq_buf *qs = &c->in[0], *ks = c->in[1].p ? &c->in[1] : &c->in[0];
    int64_t       C = c->attr.width, H = c->attr.heads, w = C / H;
    head          o = {.c = c,
                       .b = b,
                       .h = h,
                       .H = H,
                       .Tq = qs->shape[1],
                       .Tk = ks->shape[1],
                       .width = w,
                       .qstep = qs->shape[2],
                       .kstep = ks->shape[2],
                       .ostep = C};
    o.qat = b * o.Tq * o.qstep + c->attr.qoff + h * w;
    o.kat = b * o.Tk * o.kstep + c->attr.koff + h * w;
    o.vat = b * o.Tk * o.kstep + c->attr.voff + h * w;
    o.oat = b * o.Tq * o.ostep + h * w;
    o.q = (const real *)qs->p + o.qat;
    o.k = (const real *)ks->p + o.kat;
    o.v = (const real *)ks->p + o.vat;
    return o;
}

static int visible(const head *o, int64_t i, int64_t j)
{
    const int32_t *lengths = o->c->in[2].p;
    const real    *shown = o->c->in[3].p;
    if (o->c->attr.mask == GQ_MASK_CAUSAL && j > i)
        return 0;
    if (lengths && j >= lengths[o->b])
        return 0;
    if (shown && shown[o->b * o->Tk + j] == 0)
        return i == j && !o->c->in[1].p;                        /* self-attention: always oneself */
    return 1;
}

/* The table's row of (i, j). */
static int64_t bucket(const head *o, int64_t i, int64_t j)
{
    const gq_relative *rel = &o->c->attr.rel;
    const int32_t     *lengths = o->c->in[2].p;
    int64_t            at = rel->last ? lengths[o->b] - o->Tq + i : i;
    return gq_relative_bucket(rel, (int32_t)(j - at));
}

static double score(const head *o, int64_t i, int64_t j)
{
    const real *table = o->c->in[4].p;
    double      sum = 0;
    for (int64_t d = 0; d < o->width; d++)
        sum += (double)o->q[i * o->qstep + d] * o->k[j * o->kstep + d];
    return sum * o->c->attr.scale + (table ? (double)table[bucket(o, i, j) * o->H + o->h] : 0.0);
}

/* keep_ij / (1-p): what dropout multiplies a probability with */
static double drop(const head *o, int64_t i, int64_t j)
{
    if (o->c->attr.p == 0)
        return 1;
    if (!ref_keeps(o->c, (uint64_t)(((o->b * o->H + o->h) * o->Tq + i) * o->Tk + j)))
        return 0;
    return 1 / (1 - (double)o->c->attr.p);
}

/* P of query i into p[0..Tk), zero where a key is hidden; the result is lse, 0 when no key is
 * visible. */
static double probabilities(const head *o, int64_t i, double *p)
{
    double top = -INFINITY, sum = 0;
    int    any = 0;
    for (int64_t j = 0; j < o->Tk; j++)
        if (visible(o, i, j)) {
            p[j] = score(o, i, j);
            top = p[j] > top ? p[j] : top;
            any = 1;
        }
    for (int64_t j = 0; j < o->Tk; j++) {
        p[j] = visible(o, i, j) ? exp(p[j] - top) : 0;
        sum += p[j];
    }
    for (int64_t j = 0; any && j < o->Tk; j++)
        p[j] /= sum;
    return any ? top + log(sum) : 0;
}

void REF(sdpa_fwd)(const gq_call *c)
{
    double *p = c->work->temp;                                        /* [Tk]                     */
    real   *out = c->out[0].p, *lse = c->save[0].p;
    for (int64_t b = 0; b < c->in[0].shape[0]; b++)
        for (int64_t h = 0; h < c->attr.heads; h++) {
            head o = head_of(c, b, h);
            for (int64_t i = 0; i < o.Tq; i++) {
                double l = probabilities(&o, i, p);
                if (lse)
                    lse[(b * o.H + h) * o.Tq + i] = (real)l;
                for (int64_t j = 0; j < o.Tk; j++)
                    p[j] *= drop(&o, i, j);
                for (int64_t d = 0; d < o.width; d++) {
                    double sum = 0;
                    for (int64_t j = 0; j < o.Tk; j++)
                        if (p[j] != 0)                         /* a hidden key's NaN stays hidden */
                            sum += p[j] * o.v[j * o.kstep + d];
                    out[o.oat + i * o.ostep + d] = (real)sum;
                }
            }
        }
}

/* dP_ij */
static double probability_gradient(const head *o, int64_t i, int64_t j)
{
    const real *dout = o->c->dout[0].p;
    double      sum = 0;
    for (int64_t d = 0; d < o->width; d++)
        sum += ref_get(dout, o->oat + i * o->ostep + d) * o->v[j * o->kstep + d];
    return sum * drop(o, i, j);
}

/* Z and ds of one head, both [Tq,Tk], zero where a key is hidden */
static void score_gradients(const head *o, double *Z, double *ds)
{
    const real *lse = (const real *)o->c->save[0].p + (o->b * o->H + o->h) * o->Tq;
    for (int64_t i = 0; i < o->Tq; i++, Z += o->Tk, ds += o->Tk) {
        double mean = 0;
        for (int64_t j = 0; j < o->Tk; j++) {
            int see = visible(o, i, j);
            Z[j] = see ? exp(score(o, i, j) - lse[i]) : 0;            /* P, for the moment        */
            ds[j] = see ? probability_gradient(o, i, j) : 0;          /* dP                       */
            mean += Z[j] * ds[j];
        }
        for (int64_t j = 0; j < o->Tk; j++) {
            ds[j] = Z[j] * (ds[j] - mean);
            Z[j] *= drop(o, i, j);
        }
    }
}

/* Adds dq, dk and dv of one head; the gradients were cleared or hold what is to be added to. */
static void add_head(const head *o, const double *Z, const double *ds, real *dq, real *dkv)
{
    const real *dout = o->c->dout[0].p;
    double      scale = o->c->attr.scale;
    for (int64_t d = 0; d < o->width; d++) {
        for (int64_t i = 0; dq && i < o->Tq; i++) {
            double sum = 0;
            for (int64_t j = 0; j < o->Tk; j++)
                if (visible(o, i, j))
                    sum += ds[i * o->Tk + j] * o->k[j * o->kstep + d];
            ref_put(&dq[o->qat + i * o->qstep + d], 1, scale * sum);
        }
        for (int64_t j = 0; dkv && j < o->Tk; j++) {
            double dk = 0, dv = 0;
            for (int64_t i = 0; i < o->Tq; i++)
                if (visible(o, i, j)) {
                    dk += ds[i * o->Tk + j] * o->q[i * o->qstep + d];
                    dv += Z[i * o->Tk + j] * ref_get(dout, o->oat + i * o->ostep + d);
                }
            ref_put(&dkv[o->kat + j * o->kstep + d], 1, scale * dk);
            ref_put(&dkv[o->vat + j * o->kstep + d], 1, dv);
        }
    }
}

/* Adds to the table's gradients, sum [buckets,H], what one head has of them. */
static void add_table(const head *o, const double *ds, double *sum)
{
    for (int64_t i = 0; i < o->Tq; i++)
        for (int64_t j = 0; j < o->Tk; j++)
            if (visible(o, i, j))
                sum[bucket(o, i, j) * o->H + o->h] += ds[i * o->Tk + j];
}

void REF(sdpa_bwd)(const gq_call *c)
{
    real   *dq = c->din[0].p, *dkv = c->in[1].p ? c->din[1].p : dq, *dtable = c->din[4].p;
    double *sum = c->work->temp;                                      /* [buckets,H]              */
    int64_t entries = dtable ? gq_size(&c->in[4]) : 0;
    for (int k = 0; k < 2; k++)
        if (c->din[k].p && !ref_adds(c, k))
            memset(c->din[k].p, 0, (size_t)gq_size(&c->in[k]) * sizeof(real));
    for (int64_t i = 0; i < entries; i++)
        sum[i] = 0;
    for (int64_t b = 0; b < c->in[0].shape[0]; b++)
        for (int64_t h = 0; h < c->attr.heads; h++) {
            head    o = head_of(c, b, h);
            double *Z = sum + entries, *ds = Z + o.Tq * o.Tk;
            score_gradients(&o, Z, ds);
            add_head(&o, Z, ds, dq, dkv);
            if (dtable)
                add_table(&o, ds, sum);
        }
    for (int64_t i = 0; i < entries; i++)
        ref_put(&dtable[i], ref_adds(c, 4), sum[i]);
}

size_t REF(sdpa_temp)(const gq_call *c, int backward, int threads)
{
    int64_t Tq = c->in[0].shape[1], Tk = c->in[1].shape[1] > Tq ? c->in[1].shape[1] : Tq;
    (void)threads;
    return (size_t)(backward ? 2 * Tq * Tk + (c->in[4].rank ? gq_size(&c->in[4]) : 0) : Tk) * sizeof(double);
}
