/* dropout: inverted, the mask is a pure function of (seed, step, op, element) and is never stored.
 */
#include <string.h>

#include "core/ops.h"

static bool infer(gq_tape *t, gq_node *n)
{
    int64_t shape[GQ_MAX_RANK];
    memcpy(shape, gq__in(t, n, 0)->shape, sizeof shape);
    if (!(n->attr.p >= 0.0f && n->attr.p < 1.0f))
        return gq__fail(t, n, "probability %g is outside [0,1)", (double)n->attr.p);
    return gq__out(t, n, gq__in(t, n, 0)->rank, shape);
}

static void cost(const gq_tape *t, const gq_node *n, gq_cost *c)
{
    c->fwd_bytes = c->bwd_bytes = 2.0 * (double)gq__in(t, n, 0)->bytes;
}

const gq_op_rule gq__rule_DROPOUT = {infer, cost, .bwd_in = 0, .bwd_out = 0};

gq_t gq__dropout(gq_tape *t, gq_t x, double p)
{
    gq_node *n;
    if (p == 0.0)
        return x;
    n = gq__record(t, GQ_OP_DROPOUT, 1, &x, &(gq_attr){.p = (float)p});
    return (gq_t){n ? n->out[0] : 0};
}
