/* glu and scale: elements on their own, or with one partner in their row. */
#include <string.h>

#include "core/ops.h"

static bool infer_glu(gq_tape *t, gq_node *n)
{
    const gq_tensor *u = gq__in(t, n, 0);
    int64_t          shape[GQ_MAX_RANK];
    char             s0[64];

    memcpy(shape, u->shape, sizeof shape);
    if (shape[u->rank - 1] % 2 != 0)
        return gq__fail(t, n, "u is %s: want an even number of columns", gq__shape(u, s0));
    shape[u->rank - 1] /= 2;
    return gq__out(t, n, u->rank, shape);
}

static bool infer_scale(gq_tape *t, gq_node *n)
{
    int64_t shape[GQ_MAX_RANK];
    memcpy(shape, gq__in(t, n, 0)->shape, sizeof shape);
    return gq__out(t, n, gq__in(t, n, 0)->rank, shape);
}

static void cost(const gq_tape *t, const gq_node *n, gq_cost *c)
{
    double in = (double)gq__in(t, n, 0)->bytes, out = (double)t->tensor[n->out[0]].bytes;
    c->fwd_bytes = in + out;
    c->bwd_bytes = n->op == GQ_OP_GLU ? 2.0 * in + out : in + out;
}

const gq_op_rule gq__rule_GLU = {infer_glu, cost, .bwd_in = 1, .bwd_out = 0};
const gq_op_rule gq__rule_SCALE = {infer_scale, cost, .bwd_in = 0, .bwd_out = 0};

gq_t gq__glu(gq_tape *t, gq_t u, gq_act act)
{
    gq_node *n = gq__record(t, GQ_OP_GLU, 1, &u, &(gq_attr){.act = (int32_t)act});
    return (gq_t){n ? n->out[0] : 0};
}

gq_t gq__scale(gq_tape *t, gq_t x, double s)
{
    gq_node *n = gq__record(t, GQ_OP_SCALE, 1, &x, &(gq_attr){.scale = (float)s});
    return (gq_t){n ? n->out[0] : 0};
}
