/* layernorm and add_norm: statistics of each row, biased variance, eps inside the root; RMSNorm is the
 * same two ops without the mean. */
#include <string.h>

#include "core/ops.h"

static bool gains_fit(gq_tape *t, gq_node *n, int first, int64_t d)
{
    char s0[64], s1[64];
    for (int k = first; k < first + 2; k++) {
        const gq_tensor *g = gq__in(t, n, k);
        if (n->in[k] && (g->rank != 1 || g->shape[0] != d))
            return gq__fail(t, n, "x is %s, %s is %s", gq__shape(gq__in(t, n, 0), s0),
                            k == first ? "gain" : "bias", gq__shape(g, s1));
    }
    return true;
}

static bool statistics(gq_tape *t, gq_node *n, int rank, const int64_t *shape)
{
    int64_t rows = 1;
    for (int i = 0; i + 1 < rank; i++)
        rows *= shape[i];
    return gq__save(t, n, 1, &rows) && gq__save(t, n, 1, &rows);
}

static bool infer_norm(gq_tape *t, gq_node *n)
{
    int64_t shape[GQ_MAX_RANK];
    int     rank = gq__in(t, n, 0)->rank;

    memcpy(shape, gq__in(t, n, 0)->shape, sizeof shape);
    return gains_fit(t, n, 1, shape[rank - 1]) && gq__out(t, n, rank, shape) &&
           statistics(t, n, rank, shape);
}

static bool infer_add_norm(gq_tape *t, gq_node *n)
{
    const gq_tensor *a = gq__in(t, n, 0), *b = gq__in(t, n, 1);
    int64_t          shape[GQ_MAX_RANK];
    int              rank = a->rank;
    char             s0[64], s1[64];

    memcpy(shape, a->shape, sizeof shape);
    if (b->rank != rank || memcmp(b->shape, shape, sizeof shape) != 0)
        return gq__fail(t, n, "a is %s, b is %s", gq__shape(a, s0), gq__shape(b, s1));
    return gains_fit(t, n, 2, shape[rank - 1]) && gq__out(t, n, rank, shape) &&
           gq__out(t, n, rank, shape) && statistics(t, n, rank, shape);
}

static void cost(const gq_tape *t, const gq_node *n, gq_cost *c)
{
    double x = (double)gq__in(t, n, 0)->bytes, streams = n->op == GQ_OP_ADD_NORM ? 4.0 : 2.0;
    c->fwd_bytes = streams * x;
    c->bwd_bytes = (streams + 1.0) * x;
    c->fwd_flops = 8.0 * x / (double)gq_dtype_size(gq__in(t, n, 0)->dtype);
    c->bwd_flops = 2.0 * c->fwd_flops;
}

const gq_op_rule gq__rule_LAYERNORM = {infer_norm, cost, .bwd_in = 1 | 2, .bwd_out = 0};
const gq_op_rule gq__rule_ADD_NORM = {infer_add_norm, cost, .bwd_in = 4, .bwd_out = 1};

static gq_t norm(gq_tape *t, gq_t x, gq_t gain, gq_t bias, const gq_attr *a)
{
    gq_t     in[] = {x, gain, bias};
    gq_node *n = gq__record(t, GQ_OP_LAYERNORM, 3, in, a);
    return (gq_t){n ? n->out[0] : 0};
}

static gq_t add_norm(gq_tape *t, gq_t a, gq_t b, gq_t gain, gq_t bias, const gq_attr *attr, gq_t *sum)
{
    gq_t     in[] = {a, b, gain, bias};
    gq_node *n = gq__record(t, GQ_OP_ADD_NORM, 4, in, attr);
    if (sum)
        sum->i = n ? n->out[0] : 0;
    return (gq_t){n ? n->out[1] : 0};
}

gq_t gq__layernorm(gq_tape *t, gq_t x, gq_t gain, gq_t bias, double eps)
{
    return norm(t, x, gain, bias, &(gq_attr){.eps = (float)eps});
}

gq_t gq__add_norm(gq_tape *t, gq_t a, gq_t b, gq_t gain, gq_t bias, double eps, gq_t *sum)
{
    return add_norm(t, a, b, gain, bias, &(gq_attr){.eps = (float)eps}, sum);
}

gq_t gq__rmsnorm(gq_tape *t, gq_t x, gq_t gain, double eps)
{
    return norm(t, x, gain, GQ_T_NONE, &(gq_attr){.eps = (float)eps, .rms = 1});
}

gq_t gq__add_rmsnorm(gq_tape *t, gq_t a, gq_t b, gq_t gain, double eps, gq_t *sum)
{
    return add_norm(t, a, b, gain, GQ_T_NONE, &(gq_attr){.eps = (float)eps, .rms = 1}, sum);
}
