/* mask_rows, gather_rows, concat_rows, expand_rows: moving rows about. */
#include <string.h>

#include "core/ops.h"

static bool infer_mask(gq_tape *t, gq_node *n)
{
    const gq_tensor *x = gq__in(t, n, 0), *u = gq__in(t, n, 1);
    int64_t          shape[GQ_MAX_RANK], d = x->shape[x->rank - 1];
    char             s0[64], s1[64];

    memcpy(shape, x->shape, sizeof shape);
    if (u->dtype != (int32_t)t->engine->backend->stat ||
        (gq__count(u) != gq__count(x) && gq__count(u) * d != gq__count(x)))
        return gq__fail(t, n, "x is %s, mask is %s: want one value per row or per element",
                        gq__shape(x, s0), gq__shape(u, s1));
    return gq__out(t, n, x->rank, shape);
}

static bool infer_gather(gq_tape *t, gq_node *n)
{
    const gq_tensor *x = gq__in(t, n, 0), *idx = gq__in(t, n, 1);
    int64_t          shape[GQ_MAX_RANK];
    int              rank = idx->rank + 1;
    char             s0[64], s1[64];

    if (idx->dtype != GQ_I32 || rank > GQ_MAX_RANK)
        return gq__fail(t, n, "x is %s, indices are %s", gq__shape(x, s0), gq__shape(idx, s1));
    for (int i = 0; i < rank; i++)
        shape[i] = i == rank - 1 ? x->shape[x->rank - 1] : idx->shape[i];
    return gq__out(t, n, rank, shape);
}

static bool infer_concat(gq_tape *t, gq_node *n)
{
    const gq_tensor *a = gq__in(t, n, 0), *b = gq__in(t, n, 1);
    char             s0[64], s1[64];

    if (a->rank != 3 || b->rank != 3 || a->shape[0] != b->shape[0] || a->shape[2] != b->shape[2])
        return gq__fail(t, n, "a is %s, b is %s: want [B,N,D] and [B,P,D]", gq__shape(a, s0),
                        gq__shape(b, s1));
    return gq__out(t, n, 3, (int64_t[]){a->shape[0], a->shape[1] + b->shape[1], a->shape[2]});
}

static bool infer_expand(gq_tape *t, gq_node *n)
{
    const gq_tensor *x = gq__in(t, n, 0);
    char             s0[64];
    if (x->rank != 2 || n->attr.width < 1)
        return gq__fail(t, n, "x is %s, want [n,D]; batch %d", gq__shape(x, s0), n->attr.width);
    return gq__out(t, n, 3, (int64_t[]){n->attr.width, x->shape[0], x->shape[1]});
}

static void cost(const gq_tape *t, const gq_node *n, gq_cost *c)
{
    c->fwd_bytes = c->bwd_bytes = 2.0 * (double)t->tensor[n->out[0]].bytes;
}

const gq_op_rule gq__rule_MASK_ROWS = {infer_mask, cost, .bwd_in = 2, .bwd_out = 0, .no_grad = 2};
static bool range_gather(const gq_tape *t, const gq_node *n, int k, int64_t *lo, int64_t *hi)
{
    const gq_tensor *x = gq__in(t, n, 0);
    *lo = -1;
    *hi = (int64_t)(x->bytes / gq_dtype_size(x->dtype)) / x->shape[x->rank - 1];
    return k == 1;
}

const gq_op_rule gq__rule_GATHER_ROWS = {infer_gather, cost,         .bwd_in = 2,
                                         .bwd_out = 0, .no_grad = 2, .range = range_gather};
const gq_op_rule gq__rule_CONCAT_ROWS = {infer_concat, cost, .bwd_in = 0, .bwd_out = 0};
const gq_op_rule gq__rule_EXPAND_ROWS = {infer_expand, cost, .bwd_in = 0, .bwd_out = 0};

static gq_t one(gq_tape *t, gq_op op, int nin, const gq_t *in, const gq_attr *a)
{
    gq_node *n = gq__record(t, op, nin, in, a);
    return (gq_t){n ? n->out[0] : 0};
}

gq_t gq__mask_rows(gq_tape *t, gq_t x, gq_t u)
{
    return one(t, GQ_OP_MASK_ROWS, 2, (gq_t[]){x, u}, &(gq_attr){0});
}

gq_t gq__gather_rows(gq_tape *t, gq_t x, gq_t idx)
{
    return one(t, GQ_OP_GATHER_ROWS, 2, (gq_t[]){x, idx}, &(gq_attr){0});
}

gq_t gq__concat_rows(gq_tape *t, gq_t a, gq_t b)
{
    return one(t, GQ_OP_CONCAT_ROWS, 2, (gq_t[]){a, b}, &(gq_attr){0});
}

gq_t gq__expand_rows(gq_tape *t, gq_t x, int64_t batch)
{
    return one(t, GQ_OP_EXPAND_ROWS, 1, &x, &(gq_attr){.width = (int32_t)batch});
}
