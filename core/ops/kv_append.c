/* kv_append: the k and v columns of new rows go to their place in the key/value cache. */
#include "core/ops.h"

static bool infer(gq_tape *t, gq_node *n)
{
    const gq_tensor *x = gq__in(t, n, 0), *cache = gq__in(t, n, 1), *pos = gq__in(t, n, 2);
    int64_t          c = n->attr.width;
    char             s0[64], s1[64];

    if (x->rank != 3 || cache->rank != 3 || cache->shape[0] != x->shape[0] ||
        cache->shape[2] != 2 * c || n->attr.koff + c > x->shape[2] ||
        n->attr.voff + c > x->shape[2])
        return gq__fail(t, n, "qkv is %s, cache is %s, width %lld", gq__shape(x, s0),
                        gq__shape(cache, s1), (long long)c);
    if (pos->dtype != GQ_I32 || pos->shape[0] != x->shape[0])
        return gq__fail(t, n, "positions are %s, want i32 [%lld]", gq__shape(pos, s0),
                        (long long)x->shape[0]);
    if (x->flags & GQ_TF_NEEDS_GRAD)
        return gq__fail(t, n, "decoding has no backward: record it on a tape without gradients");
    return true;
}

static void cost(const gq_tape *t, const gq_node *n, gq_cost *c)
{
    c->fwd_bytes = 2.0 * (double)gq__in(t, n, 0)->bytes;
}

static bool range(const gq_tape *t, const gq_node *n, int k, int64_t *lo, int64_t *hi)
{
    *lo = 0;
    *hi = gq__in(t, n, 1)->shape[1];
    return k == 2;
}

const gq_op_rule gq__rule_KV_APPEND = {infer,        cost,         .bwd_in = 0,
                                       .bwd_out = 0, .no_grad = 7, .range = range};

void gq__kv_append(gq_tape *t, gq_t qkv, gq_t cache, gq_t pos, int koff, int voff, int width)
{
    gq_t in[] = {qkv, cache, pos};
    gq__record(t, GQ_OP_KV_APPEND, 3, in, &(gq_attr){.koff = koff, .voff = voff, .width = width});
}
