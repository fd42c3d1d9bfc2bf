/* patch_embed: pixels to tokens - normalisation, patches, projection, class row and positions in
 * one op. */
#include <string.h>

#include "core/ops.h"

static bool infer(gq_tape *t, gq_node *n)
{
    const gq_tensor *f = gq__in(t, n, 0), *w = gq__in(t, n, 1), *cls = gq__in(t, n, 2),
                    *pos = gq__in(t, n, 3);
    int64_t          p = n->attr.patch, side, tokens, d;
    char             s0[64], s1[64];

    if (f->rank != 4 || f->dtype != GQ_U8 || f->shape[1] != f->shape[2] || f->shape[3] != 3)
        return gq__fail(t, n, "frames are %s, want u8 [B,S,S,3]", gq__shape(f, s0));
    if (p < 1 || f->shape[1] % p)
        return gq__fail(t, n, "image side %lld is not a multiple of the patch side %lld",
                        (long long)f->shape[1], (long long)p);
    if (w->rank != 2 || w->shape[1] != 3 * p * p)
        return gq__fail(t, n, "w is %s, patches have %lld values", gq__shape(w, s0),
                        (long long)(3 * p * p));
    side = f->shape[1] / p;
    tokens = side * side + (n->in[2] != 0);
    d = w->shape[0];
    if (n->in[2] && (cls->rank != 1 || cls->shape[0] != d))
        return gq__fail(t, n, "w is %s, class embedding is %s", gq__shape(w, s0),
                        gq__shape(cls, s1));
    if (n->in[3] && (pos->rank != 2 || pos->shape[0] != tokens || pos->shape[1] != d))
        return gq__fail(t, n, "positions are %s, want [%lld,%lld]", gq__shape(pos, s0),
                        (long long)tokens, (long long)d);
    return gq__out(t, n, 3, (int64_t[]){f->shape[0], tokens, d});
}

static void cost(const gq_tape *t, const gq_node *n, gq_cost *c)
{
    const gq_tensor *f = gq__in(t, n, 0), *w = gq__in(t, n, 1), *y = &t->tensor[n->out[0]];
    double           patches = (double)f->bytes / (double)w->shape[1];

    c->fwd_flops = 2.0 * patches * (double)(w->shape[0] * w->shape[1]);
    c->bwd_flops = w->flags & GQ_TF_NEEDS_GRAD ? c->fwd_flops : 0.0;
    c->fwd_bytes = c->bwd_bytes = (double)(f->bytes + w->bytes + y->bytes);
}

const gq_op_rule gq__rule_PATCH_EMBED = {infer, cost, .bwd_in = 1, .bwd_out = 0, .no_grad = 1};

gq_t gq__patch_embed(gq_tape *t, gq_t frames, gq_t w, gq_t cls, gq_t pos, const gq_pixels *o)
{
    gq_t     in[] = {frames, w, cls, pos};
    gq_attr  a = {.patch = o->patch};
    gq_node *n;

    memcpy(a.mean, o->mean, sizeof a.mean);
    memcpy(a.std, o->std, sizeof a.std);
    n = gq__record(t, GQ_OP_PATCH_EMBED, 4, in, &a);
    return (gq_t){n ? n->out[0] : 0};
}
