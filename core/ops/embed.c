/* embed: rows of a table by index, optionally added to a base (token plus position embeddings). */
#include "core/ops.h"

static bool infer(gq_tape *t, gq_node *n)
{
    const gq_tensor *ids = gq__in(t, n, 0), *table = gq__in(t, n, 1), *base = gq__in(t, n, 2);
    int64_t          shape[GQ_MAX_RANK];
    int              rank = ids->rank + 1;
    char             s0[64], s1[64];

    if (ids->dtype != GQ_I32 || rank > GQ_MAX_RANK || table->rank != 2)
        return gq__fail(t, n, "ids are %s, table is %s", gq__shape(ids, s0), gq__shape(table, s1));
    for (int i = 0; i < rank; i++)
        shape[i] = i == rank - 1 ? table->shape[1] : ids->shape[i];
    for (int i = 0; n->in[2] && i < rank; i++)
        if (base->rank != rank || base->shape[i] != shape[i])
            return gq__fail(t, n, "ids are %s, base is %s", gq__shape(ids, s0),
                            gq__shape(base, s1));
    return gq__out(t, n, rank, shape);
}

static void cost(const gq_tape *t, const gq_node *n, gq_cost *c)
{
    const gq_tensor *table = gq__in(t, n, 1), *y = &t->tensor[n->out[0]];
    c->fwd_bytes = 2.0 * (double)y->bytes;
    c->bwd_bytes = table->flags & GQ_TF_NEEDS_GRAD ? (double)(2 * y->bytes + table->bytes) : 0.0;
}

static bool range(const gq_tape *t, const gq_node *n, int k, int64_t *lo, int64_t *hi)
{
    *lo = 0;
    *hi = gq__in(t, n, 1)->shape[0];
    return k == 0;
}

const gq_op_rule gq__rule_EMBED = {infer,        cost,         .bwd_in = 1,
                                   .bwd_out = 0, .no_grad = 1, .range = range};

gq_t gq__embed(gq_tape *t, gq_t ids, gq_t table, gq_t base)
{
    gq_t     in[] = {ids, table, base};
    gq_node *n = gq__record(t, GQ_OP_EMBED, 3, in, &(gq_attr){0});
    return (gq_t){n ? n->out[0] : 0};
}
