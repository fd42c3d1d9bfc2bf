#include "models/gpt2.h"

#include <math.h>
#include <stdio.h>

static gq_blocks blocks(const gq_gpt2_config *c)
{
    return (gq_blocks){.scope = "gpt2",
                       .layers = c->layers,
                       .width = c->width,
                       .heads = c->heads,
                       .mlp = c->mlp,
                       .act = c->act,
                       .ln_eps = c->ln_eps,
                       .bias = c->bias,
                       .mask = GQ_MASK_CAUSAL};
}

gq_status gq_gpt2_declare(gq_params *p, const gq_gpt2_config *c, gq_error *err)
{
    double        deep = 0.02 / sqrt(2.0 * c->layers);
    gq_block_init init = {.qkv = 0.02, .out = deep, .fc1 = 0.02, .fc2 = deep};
    gq_blocks     b = blocks(c);
    gq_status s = gq_declare(p, err, GQ_NORMAL(0.02), 2, GQ_SHAPE(c->vocab, c->width), "gpt2.wte");

    if (s == GQ_OK)
        s = gq_declare(p, err, GQ_NORMAL(0.02), 2, GQ_SHAPE(c->positions, c->width), "gpt2.wpe");
    if (s == GQ_OK)
        s = gq_blocks_declare(p, &b, &init, err);
    if (s == GQ_OK)
        s = gq_declare_norm(p, err, c->width, c->bias, "gpt2.ln_f");
    if (s == GQ_OK && !c->tied)
        s = gq_declare(p, err, GQ_NORMAL(0.02), 2, GQ_SHAPE(c->vocab, c->width), "gpt2.head.w");
    return s;
}

gq_t gq_gpt2_tokens(gq_tape *t, gq_t ids)
{
    return gq_embed(t, ids, gq_p(t, "gpt2.wte"), GQ_T_NONE);
}

gq_t gq_gpt2_head(gq_tape *t, const gq_gpt2_config *c)
{
    return c->tied ? gq_p(t, "gpt2.wte") : gq_p(t, "gpt2.head.w");
}

gq_t gq_gpt2_states(gq_tape *t, const gq_gpt2_config *c, gq_t x, gq_t pos, const gq_gpt2_opts *o)
{
    gq_blocks b = blocks(c);
    gq_t      branch = GQ_T_NONE;
    char      name[32];

    b.dropout = o->dropout;
    b.visible = o->visible;
    b.cache = o->cache;
    b.pos = o->pos;
    b.lengths = o->lengths;
    x = gq_dropout(t, gq_embed(t, pos, gq_p(t, "gpt2.wpe"), x), o->dropout);
    for (int l = 0; l < c->layers; l++) {
        snprintf(name, sizeof name, "gpt2.h.%d", l);
        gq_segment(t, name);
        if (l == c->layers - 1)
            b.rows = o->rows;
        branch = gq_block(t, &b, l, &x, branch);
    }
    gq_segment(t, "gpt2.ln_f");
    return gq_add_norm(t, x, branch, gq_p(t, "gpt2.ln_f.g"), gq_p_opt(t, "gpt2.ln_f.b"), c->ln_eps,
                       NULL);
}
