/* lm_loss, mvm_loss, combine: from hidden states to one scalar. */
#include "core/ops.h"

static bool scalar(const gq_tensor *x)
{
    return x->rank == 1 && x->shape[0] == 1;
}

static bool infer_lm(gq_tape *t, gq_node *n)
{
    const gq_tensor *h = gq__in(t, n, 0), *w = gq__in(t, n, 1), *rows = gq__in(t, n, 2),
                    *labels = gq__in(t, n, 3);
    int64_t          r = rows->shape[0], v = w->shape[0];
    char             s0[64], s1[64];

    if (w->rank != 2 || h->shape[h->rank - 1] != w->shape[1])
        return gq__fail(t, n, "hidden is %s, head is %s", gq__shape(h, s0), gq__shape(w, s1));
    if (rows->dtype != GQ_I32 || labels->dtype != GQ_I32 || rows->rank != 1 || labels->rank != 1 ||
        labels->shape[0] != r)
        return gq__fail(t, n, "rows are %s, labels are %s: want i32 [R] both", gq__shape(rows, s0),
                        gq__shape(labels, s1));
    if (!scalar(gq__in(t, n, 4)))
        return gq__fail(t, n, "inv_denom is %s, want [1]", gq__shape(gq__in(t, n, 4), s0));
    return gq__out_stat(t, n, 1, (int64_t[]){1}) && gq__out_stat(t, n, 2, (int64_t[]){r, 2}) &&
           gq__save(t, n, 1, &r) &&
           gq__save(t, n, 2, (int64_t[]){r < GQ_LM_CHUNK ? r : GQ_LM_CHUNK, v});
}

static void cost_lm(const gq_tape *t, const gq_node *n, gq_cost *c)
{
    const gq_tensor *w = gq__in(t, n, 1);
    double           r = (double)gq__in(t, n, 2)->shape[0],
           logits = 2.0 * r * (double)(w->shape[0] * w->shape[1]);
    c->fwd_flops = logits;
    c->bwd_flops = (r > GQ_LM_CHUNK ? 3.0 : 2.0) * logits;
    c->fwd_bytes = (double)w->bytes + r * (double)w->shape[0] * 4.0;
    c->bwd_bytes = 3.0 * c->fwd_bytes;
}

static bool infer_mvm(gq_tape *t, gq_node *n)
{
    const gq_tensor *h = gq__in(t, n, 0), *te = gq__in(t, n, 1), *u = gq__in(t, n, 2);
    char             s0[64], s1[64];

    if (gq__count(h) != gq__count(te) || h->shape[h->rank - 1] != te->shape[te->rank - 1])
        return gq__fail(t, n, "student is %s, teacher is %s", gq__shape(h, s0), gq__shape(te, s1));
    if (gq__count(u) * h->shape[h->rank - 1] != gq__count(h))
        return gq__fail(t, n, "student is %s, kept flags are %s: want one per row",
                        gq__shape(h, s0), gq__shape(u, s1));
    if (te->flags & GQ_TF_NEEDS_GRAD)
        return gq__fail(t, n, "the teacher must be detached: pass it through gq_stop_grad");
    if (!scalar(gq__in(t, n, 3)))
        return gq__fail(t, n, "inv_denom is %s, want [1]", gq__shape(gq__in(t, n, 3), s0));
    return gq__out_stat(t, n, 1, (int64_t[]){1});
}

static bool infer_combine(gq_tape *t, gq_node *n)
{
    char s0[64];
    for (int k = 0; k < n->nin; k++)
        if (!scalar(gq__in(t, n, k)))
            return gq__fail(t, n, "loss %d is %s, want [1]", k, gq__shape(gq__in(t, n, k), s0));
    return gq__out_stat(t, n, 1, (int64_t[]){1});
}

static void cost_stream(const gq_tape *t, const gq_node *n, gq_cost *c)
{
    c->fwd_bytes = 2.0 * (double)gq__in(t, n, 0)->bytes;
    c->bwd_bytes = 1.5 * c->fwd_bytes;
}

static bool range_lm(const gq_tape *t, const gq_node *n, int k, int64_t *lo, int64_t *hi)
{
    const gq_tensor *h = gq__in(t, n, 0);
    *lo = 0;
    *hi = k == 2 ? (int64_t)(h->bytes / gq_dtype_size(h->dtype)) / h->shape[h->rank - 1]
                 : gq__in(t, n, 1)->shape[0];
    return k == 2 || k == 3;
}

const gq_op_rule gq__rule_LM_LOSS = {infer_lm, cost_lm, .bwd_in = 1 | 2 | 4 | 8 | 16, .bwd_out = 0,
                                     .no_grad = 4 | 8 | 16, .range = range_lm, .ignore = 8};
const gq_op_rule gq__rule_MVM_LOSS = {infer_mvm, cost_stream, .bwd_in = 1 | 2 | 4 | 8, .bwd_out = 0,
                                      .no_grad = 2 | 4 | 8};
const gq_op_rule gq__rule_COMBINE = {infer_combine, cost_stream, .bwd_in = 0, .bwd_out = 0};

gq_t gq__lm_loss(gq_tape *t, gq_t hidden, gq_t wte, gq_t rows, gq_t labels, gq_t inv_denom,
                 gq_t *stats)
{
    gq_t     in[] = {hidden, wte, rows, labels, inv_denom};
    gq_node *n = gq__record(t, GQ_OP_LM_LOSS, 5, in, &(gq_attr){0});
    if (stats)
        stats->i = n ? n->out[1] : 0;
    return (gq_t){n ? n->out[0] : 0};
}

gq_t gq__mvm_loss(gq_tape *t, gq_t h, gq_t teacher, gq_t u, gq_t inv_denom, gq_mvm_kind kind)
{
    gq_t     in[] = {h, teacher, u, inv_denom};
    gq_node *n = gq__record(t, GQ_OP_MVM_LOSS, 4, in, &(gq_attr){.kind = (int32_t)kind});
    return (gq_t){n ? n->out[0] : 0};
}

gq_t gq__combine(gq_tape *t, int count, const gq_t *loss, const double *weight)
{
    gq_attr  a = {0};
    gq_node *n;
    if (count < 1 || count > 4) {
        gq__fail(t, NULL, "combine: %d losses, want 1 to 4", count);
        return GQ_T_NONE;
    }
    for (int k = 0; k < count; k++)
        a.w[k] = (float)weight[k];
    n = gq__record(t, GQ_OP_COMBINE, count, loss, &a);
    return (gq_t){n ? n->out[0] : 0};
}
