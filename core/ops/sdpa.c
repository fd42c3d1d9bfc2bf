/* sdpa: scaled dot-product attention per head, self (packed qkv) or cross (q, and packed k|v). */
#include <math.h>

#include "core/ops.h"
#include "kernels/relative.h"

static bool fits(const gq_tensor *x, int off, int64_t width)
{
    return off >= 0 && off + width <= x->shape[2];
}

/* With a gradient the source must hold nothing but what attention reads: backward writes it whole.
 */
static bool whole(const gq_tape *t, const gq_node *n, int64_t c)
{
    const gq_tensor *q = gq__in(t, n, 0), *kv = gq__in(t, n, 1);
    if (!n->in[1])
        return !(q->flags & GQ_TF_NEEDS_GRAD) || q->shape[2] == 3 * c;
    return (!(q->flags & GQ_TF_NEEDS_GRAD) || q->shape[2] == c) &&
           (!(kv->flags & GQ_TF_NEEDS_GRAD) || kv->shape[2] == 2 * c);
}

static bool table_fits(gq_tape *t, gq_node *n)
{
    const gq_tensor   *table = gq__in(t, n, 4);
    const gq_relative *rel = &n->attr.rel;
    int64_t            rows = (rel->exact + rel->edges + 1) * (rel->both ? 2 : 1);
    char               s0[64];

    if (!rel->exact)
        return gq__fail(t, n, "table of relative positions is %s: its rows cannot be buckets, even and 4..64 (both "
                              "sides: a multiple of 4, at most 128), that end before `far`", gq__shape(table, s0));
    if (table->rank != 2 || table->shape[1] != n->attr.heads || table->shape[0] != rows)
        return gq__fail(t, n, "table of relative positions is %s, want [%lld,%d]", gq__shape(table, s0),
                        (long long)rows, n->attr.heads);
    if (rel->last && !n->in[2])
        return gq__fail(t, n, "queries at the end of a sequence need lengths");
    return true;
}

static bool infer(gq_tape *t, gq_node *n)
{
    const gq_tensor *q = gq__in(t, n, 0), *kv = n->in[1] ? gq__in(t, n, 1) : q;
    const gq_tensor *len = gq__in(t, n, 2), *vis = gq__in(t, n, 3);
    int64_t          c = n->attr.width, b = q->shape[0], tq = q->shape[1];
    char             s0[64], s1[64];

    if (q->rank != 3 || kv->rank != 3 || kv->shape[0] != b)
        return gq__fail(t, n, "q is %s, k|v is %s: want [B,T,W] with the same B", gq__shape(q, s0),
                        gq__shape(kv, s1));
    if (n->attr.heads < 1 || c < 1 || c % n->attr.heads)
        return gq__fail(t, n, "width %lld does not divide into %d heads", (long long)c,
                        n->attr.heads);
    if (!fits(q, n->attr.qoff, c) || !fits(kv, n->attr.koff, c) || !fits(kv, n->attr.voff, c) ||
        !whole(t, n, c))
        return gq__fail(t, n, "q is %s at %d, k|v is %s at %d and %d: width %lld does not fit",
                        gq__shape(q, s0), n->attr.qoff, gq__shape(kv, s1), n->attr.koff,
                        n->attr.voff, (long long)c);
    if (n->attr.mask == GQ_MASK_CAUSAL && tq != kv->shape[1])
        return gq__fail(t, n, "causal attention of %lld queries on %lld keys", (long long)tq,
                        (long long)kv->shape[1]);
    if (n->in[2] && (len->dtype != GQ_I32 || len->shape[0] != b))
        return gq__fail(t, n, "lengths are %s, want i32 [%lld]", gq__shape(len, s0), (long long)b);
    if (n->in[3] && (vis->rank != 2 || vis->shape[0] != b || vis->shape[1] != kv->shape[1]))
        return gq__fail(t, n, "visible is %s, want [%lld,%lld]", gq__shape(vis, s0), (long long)b,
                        (long long)kv->shape[1]);
    if (n->in[4] && !table_fits(t, n))
        return false;
    return gq__out(t, n, 3, (int64_t[]){b, tq, c}) &&
           gq__save(t, n, 3, (int64_t[]){b, n->attr.heads, tq});
}

static void cost(const gq_tape *t, const gq_node *n, gq_cost *c)
{
    const gq_tensor *q = gq__in(t, n, 0), *kv = n->in[1] ? gq__in(t, n, 1) : q,
                    *o = &t->tensor[n->out[0]];
    c->fwd_flops = 4.0 * (double)(q->shape[0] * q->shape[1] * kv->shape[1]) * n->attr.width;
    c->bwd_flops = 2.5 * c->fwd_flops;
    c->fwd_bytes = (double)(q->bytes + (n->in[1] ? kv->bytes : 0) + o->bytes);
    c->bwd_bytes = 2.0 * c->fwd_bytes;
}

static bool range(const gq_tape *t, const gq_node *n, int k, int64_t *lo, int64_t *hi)
{
    *lo = 0;
    *hi = gq__in(t, n, n->in[1] ? 1 : 0)->shape[1] + 1;
    return k == 2;
}

const gq_op_rule gq__rule_SDPA = {
    infer, cost, .bwd_in = 1 | 2 | 4 | 8 | 16, .bwd_out = 1, .no_grad = 4 | 8, .range = range};

gq_t gq__sdpa(gq_tape *t, gq_t q, gq_t kv, const gq_sdpa_opts *o)
{
    gq_t     in[] = {q, kv, o->lengths, o->visible, o->table};
    gq_attr  a = {.heads = o->heads,
                  .mask = (int32_t)o->mask,
                  .qoff = o->qoff,
                  .koff = o->koff,
                  .voff = o->voff,
                  .p = (float)o->dropout};
    gq_node *n;
    int64_t  columns = q.i ? gq_dim(t, q, -1) : 3;

    a.width = o->width ? o->width : (int32_t)(kv.i ? columns : columns / 3);
    if (!o->qoff && !o->koff && !o->voff) {
        a.koff = kv.i ? 0 : a.width;
        a.voff = kv.i ? a.width : 2 * a.width;
    }
    a.scale =
        (float)(o->scale != 0.0 ? o->scale
                                : 1.0 / sqrt((double)a.width / (o->heads > 0 ? o->heads : 1)));
    if (o->table.i) {
        int rows = (int)gq_dim(t, o->table, 0);
        if (!gq_relative_set(&a.rel, rows, o->far, o->relative == GQ_REL_BOTH))
            a.rel = (gq_relative){0};                /* refused by the rule */
        a.rel.last = o->relative == GQ_REL_LAST;
    }
    n = gq__record(t, GQ_OP_SDPA, 5, in, &a);
    return (gq_t){n ? n->out[0] : 0};
}
