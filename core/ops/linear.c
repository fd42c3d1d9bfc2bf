/* linear: y = act(x W^T + b) + r, rows of x against rows of W. */
#include "core/ops.h"

static bool infer(gq_tape *t, gq_node *n)
{
    const gq_tensor *x = gq__in(t, n, 0), *w = gq__in(t, n, 1), *b = gq__in(t, n, 2),
                    *r = gq__in(t, n, 3);
    int64_t          k = x->shape[x->rank - 1], shape[GQ_MAX_RANK];
    int              rank = x->rank;
    char             s0[64], s1[64];

    if (w->rank != 2 || w->shape[1] != k)
        return gq__fail(t, n, "x is %s, w is %s: %lld != %lld", gq__shape(x, s0), gq__shape(w, s1),
                        (long long)k, (long long)w->shape[w->rank - 1]);
    if (n->in[2] && (b->rank != 1 || b->shape[0] != w->shape[0]))
        return gq__fail(t, n, "w is %s, bias is %s", gq__shape(w, s0), gq__shape(b, s1));
    for (int i = 0; i < GQ_MAX_RANK; i++)
        shape[i] = i == rank - 1 ? w->shape[0] : x->shape[i];
    for (int i = 0; n->in[3] && i < rank; i++)
        if (r->rank != rank || r->shape[i] != shape[i])
            return gq__fail(t, n, "the output has %lld columns, residual is %s",
                            (long long)shape[rank - 1], gq__shape(r, s0));
    if (!gq__out(t, n, rank, shape))
        return false;
    return n->attr.act == GQ_NONE || gq__save_real(t, n, rank, shape);
}

static void cost(const gq_tape *t, const gq_node *n, gq_cost *c)
{
    const gq_tensor *x = gq__in(t, n, 0), *w = gq__in(t, n, 1), *y = &t->tensor[n->out[0]];
    double flops = 2.0 * (double)(y->bytes / gq_dtype_size(y->dtype)) * (double)w->shape[1];
    int    dx = (x->flags & GQ_TF_NEEDS_GRAD) != 0, dw = (w->flags & GQ_TF_NEEDS_GRAD) != 0;

    c->fwd_flops = flops;
    c->bwd_flops = flops * (dx + dw);
    c->fwd_bytes = (double)(x->bytes + w->bytes + y->bytes);
    c->bwd_bytes = (double)((size_t)dx * (y->bytes + w->bytes + x->bytes) +
                            (size_t)dw * (y->bytes + x->bytes + w->bytes));
}

const gq_op_rule gq__rule_LINEAR = {infer, cost, .bwd_in = 1 | 2, .bwd_out = 0};

gq_t gq__linear(gq_tape *t, gq_t x, gq_t w, gq_t bias, gq_act act, gq_t residual)
{
    gq_t     in[] = {x, w, bias, residual};
    gq_attr  a = {.act = (int32_t)act};
    gq_node *n = gq__record(t, GQ_OP_LINEAR, 4, in, &a);
    return (gq_t){n ? n->out[0] : 0};
}
