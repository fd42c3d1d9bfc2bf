#include "models/blocks.h"

#include <stdio.h>

gq_status gq_declare(gq_params *p, gq_error *err, gq_init init, int rank, const int64_t *shape,
                     const char *fmt, ...)
{
    char    name[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return gq_params_add(p, name, init, rank, shape, err);
}

gq_status gq_declare_linear(gq_params *p, gq_error *err, double std, int64_t out, int64_t in,
                            bool bias, const char *name)
{
    gq_status s = gq_declare(p, err, GQ_NORMAL(std), 2, GQ_SHAPE(out, in), "%s.w", name);
    if (s == GQ_OK && bias)
        s = gq_declare(p, err, GQ_CONST(0.0), 1, GQ_SHAPE(out), "%s.b", name);
    return s;
}

gq_status gq_declare_norm(gq_params *p, gq_error *err, int64_t width, bool bias, const char *name)
{
    gq_status s = gq_declare(p, err, GQ_CONST(1.0), 1, GQ_SHAPE(width), "%s.g", name);
    if (s == GQ_OK && bias)
        s = gq_declare(p, err, GQ_CONST(0.0), 1, GQ_SHAPE(width), "%s.b", name);
    return s;
}

static gq_status declare_block(gq_params *p, const gq_blocks *b, const gq_block_init *init, int l,
                               gq_error *err)
{
    struct { const char *part; double std; int64_t out, in;
    } linear[] = {
        {"attn.qkv", init->qkv, 3 * b->width, b->width},
        {"attn.out", init->out, b->width, b->width},
        {"mlp.fc1", init->fc1, b->mlp, b->width},
        {"mlp.fc2", init->fc2, b->width, b->mlp},
    };
    char      name[96];
    gq_status s = GQ_OK;

    for (int i = 0; s == GQ_OK && i < 4; i++) {
        if (i % 2 == 0) {                 /* declared in order of use: norm, then its two linears */
            snprintf(name, sizeof name, "%s.h.%d.ln_%d", b->scope, l, i / 2 + 1);
            s = gq_declare_norm(p, err, b->width, b->bias, name);
        }
        snprintf(name, sizeof name, "%s.h.%d.%s", b->scope, l, linear[i].part);
        if (s == GQ_OK)
            s = gq_declare_linear(p, err, linear[i].std, linear[i].out, linear[i].in, b->bias,
                                  name);
    }
    return s;
}

gq_status gq_blocks_declare(gq_params *p, const gq_blocks *b, const gq_block_init *init,
                            gq_error *err)
{
    gq_status s = GQ_OK;
    for (int l = 0; s == GQ_OK && l < b->layers; l++)
        s = declare_block(p, b, init, l, err);
    return s;
}

gq_t gq_dense(gq_tape *t, gq_t x, gq_act act, gq_t residual, const char *fmt, ...)
{
    char    name[96];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    /* no GQ_HERE: an error should name the caller's line, set by the norm or attention before */
    return gq__linear(t, x, gq_p(t, "%s.w", name), gq_p_opt(t, "%s.b", name), act, residual);
}

static gq_t attention(gq_tape *t, const gq_blocks *b, int l, gq_t qkv)
{
    gq_sdpa_opts o = {.heads = b->heads, .mask = b->mask, .width = b->width, .visible = b->visible,
                      .dropout = b->dropout};
    if (b->cache)
        gq_kv_append(t, qkv, b->cache[l], b->pos, b->width, 2 * b->width, b->width);
    if (!b->lengths.i)
        return gq_sdpa(t, qkv, GQ_T_NONE, &o);
    o.mask = GQ_MASK_NONE;                          /* one new row sees the whole cache           */
    o.lengths = b->lengths;
    o.voff = b->width;
    return gq_sdpa(t, qkv, b->cache[l], &o);
}

/* Everything of a block but its last linear. */
static gq_t block_hidden(gq_tape *t, const gq_blocks *b, int l, gq_t *sum, gq_t branch)
{
    gq_t h, u, gain = gq_p(t, "%s.h.%d.ln_1.g", b->scope, l),
               bias = gq_p_opt(t, "%s.h.%d.ln_1.b", b->scope, l);

    if (branch.i)
        h = gq_add_norm(t, *sum, branch, gain, bias, b->ln_eps, sum);
    else
        h = gq_layernorm(t, *sum, gain, bias, b->ln_eps);
    h = gq_dense(t, h, GQ_NONE, GQ_T_NONE, "%s.h.%d.attn.qkv", b->scope, l);
    h = attention(t, b, l, h);
    if (b->rows.i) {
        h = gq_gather_rows(t, h, b->rows);
        *sum = gq_gather_rows(t, *sum, b->rows);
    }
    u = gq_dense(t, h, GQ_NONE, GQ_T_NONE, "%s.h.%d.attn.out", b->scope, l);
    u = gq_dropout(t, u, b->dropout);
    h = gq_add_norm(t, *sum, u, gq_p(t, "%s.h.%d.ln_2.g", b->scope, l),
                    gq_p_opt(t, "%s.h.%d.ln_2.b", b->scope, l), b->ln_eps, sum);
    return gq_dense(t, h, b->act, GQ_T_NONE, "%s.h.%d.mlp.fc1", b->scope, l);
}

gq_t gq_block(gq_tape *t, const gq_blocks *b, int l, gq_t *sum, gq_t branch)
{
    gq_t h = block_hidden(t, b, l, sum, branch);
    return gq_dropout(t, gq_dense(t, h, GQ_NONE, GQ_T_NONE, "%s.h.%d.mlp.fc2", b->scope, l),
                      b->dropout);
}

gq_t gq_block_stream(gq_tape *t, const gq_blocks *b, int l, gq_t sum, gq_t branch)
{
    gq_t h = block_hidden(t, b, l, &sum, branch);
    return gq_dense(t, h, GQ_NONE, sum, "%s.h.%d.mlp.fc2", b->scope, l);
}
