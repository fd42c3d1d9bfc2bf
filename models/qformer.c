#include "models/qformer.h"

#include <stdio.h>

static const double BRIDGE_EPS = 1e-6;          /* of the adapter's norm, as EVA's post_layernorm */

static gq_status declare_part(gq_params *p, const gq_qformer_config *c, int l, const char *part,
                              int64_t out, int64_t in, gq_error *err)
{
    char name[64];
    (void)c;
    snprintf(name, sizeof name, "qformer.h.%d.%s", l, part);
    return gq_declare_linear(p, err, 0.02, out, in, true, name);
}

static gq_status declare_ln(gq_params *p, const gq_qformer_config *c, int l, const char *part,
                            gq_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "qformer.h.%d.%s.ln", l, part);
    return gq_declare_norm(p, err, c->width, true, name);
}

static gq_status declare_layer(gq_params *p, const gq_qformer_config *c, int l, gq_error *err)
{
    int64_t   w = c->width;
    gq_status s = declare_part(p, c, l, "self.qkv", 3 * w, w, err);

    if (s == GQ_OK && (s = declare_part(p, c, l, "self.out", w, w, err)) == GQ_OK)
        s = declare_ln(p, c, l, "self", err);
    if (s == GQ_OK && l % c->cross_every == 0) {
        s = declare_part(p, c, l, "cross.q", w, w, err);
        if (s == GQ_OK &&
            (s = declare_part(p, c, l, "cross.kv", 2 * w, c->encoder_width, err)) == GQ_OK &&
            (s = declare_part(p, c, l, "cross.out", w, w, err)) == GQ_OK)
            s = declare_ln(p, c, l, "cross", err);
    }
    if (s == GQ_OK && (s = declare_part(p, c, l, "mlp.fc1", c->mlp, w, err)) == GQ_OK &&
        (s = declare_part(p, c, l, "mlp.fc2", w, c->mlp, err)) == GQ_OK)
        s = declare_ln(p, c, l, "mlp", err);
    return s;
}

gq_status gq_qformer_declare(gq_params *p, const gq_qformer_config *c, gq_error *err)
{
    gq_status s = GQ_OK;

    if (c->bridge == GQ_BRIDGE_ADAPTER)
        s = gq_declare_linear(p, err, 0.02, c->encoder_width, c->vision_width, true, "bridge");
    else if (c->encoder_width != c->vision_width)
        return gq_fail(
            err, GQ_ECONFIG,
            "qformer.encoder_width is %d and clip.width is %d: without the adapter bridge "
            "they must be equal",
            c->encoder_width, c->vision_width);
    if (s == GQ_OK && c->bridge != GQ_BRIDGE_NONE)
        s = gq_declare_norm(p, err, c->encoder_width, true, "bridge.ln");
    if (s == GQ_OK)
        s = gq_declare(p, err, GQ_NORMAL(0.02), 2, GQ_SHAPE(c->queries, c->width), "qformer.query");
    if (s == GQ_OK)
        s = gq_declare_norm(p, err, c->width, true, "qformer.ln");
    for (int l = 0; s == GQ_OK && l < c->layers; l++)
        s = declare_layer(p, c, l, err);
    return s;
}

gq_t gq_bridge_apply(gq_tape *t, const gq_qformer_config *c, gq_t features)
{
    if (c->bridge == GQ_BRIDGE_NONE)
        return features;
    if (c->bridge == GQ_BRIDGE_ADAPTER)
        features =
            gq_linear(t, features, gq_p(t, "bridge.w"), gq_p(t, "bridge.b"), GQ_NONE, GQ_T_NONE);
    return gq_layernorm(t, features, gq_p(t, "bridge.ln.g"), gq_p(t, "bridge.ln.b"), BRIDGE_EPS);
}

/* Post-LN: x = LN(x + dropout(branch)). */
static gq_t close_part(gq_tape *t, const gq_qformer_config *c, int l, const char *part, gq_t x,
                       gq_t branch, double dropout)
{
    branch = gq_dropout(t, branch, dropout);
    return gq_add_norm(t, x, branch, gq_p(t, "qformer.h.%d.%s.ln.g", l, part),
                       gq_p(t, "qformer.h.%d.%s.ln.b", l, part), c->ln_eps, NULL);
}

static gq_t self_part(gq_tape *t, const gq_qformer_config *c, int l, gq_t x, double dropout)
{
    gq_sdpa_opts o = {.heads = c->heads, .dropout = dropout};
    gq_t         a = gq_dense(t, x, GQ_NONE, GQ_T_NONE, "qformer.h.%d.self.qkv", l);

    a = gq_dense(t, gq_sdpa(t, a, GQ_T_NONE, &o), GQ_NONE, GQ_T_NONE, "qformer.h.%d.self.out", l);
    return close_part(t, c, l, "self", x, a, dropout);
}

/* Attention of the queries q (a linear image of x) to the features of their frames. */
static gq_t cross_part(gq_tape *t, const gq_qformer_config *c, int l, gq_t x, gq_t q, gq_t encoded,
                       double dropout)
{
    gq_sdpa_opts o = {.heads = c->heads, .dropout = dropout};
    gq_t         kv = gq_dense(t, encoded, GQ_NONE, GQ_T_NONE, "qformer.h.%d.cross.kv", l), a;

    a = gq_dense(t, gq_sdpa(t, q, kv, &o), GQ_NONE, GQ_T_NONE, "qformer.h.%d.cross.out", l);
    return close_part(t, c, l, "cross", x, a, dropout);
}

static gq_t mlp_part(gq_tape *t, const gq_qformer_config *c, int l, gq_t x, double dropout)
{
    gq_t a = gq_dense(t, x, GQ_GELU, GQ_T_NONE, "qformer.h.%d.mlp.fc1", l);

    a = gq_dense(t, a, GQ_NONE, GQ_T_NONE, "qformer.h.%d.mlp.fc2", l);
    return close_part(t, c, l, "mlp", x, a, dropout);
}

static gq_t cross_query(gq_tape *t, int l, gq_t x)
{
    return gq_dense(t, x, GQ_NONE, GQ_T_NONE, "qformer.h.%d.cross.q", l);
}

/* Before their first look at a frame the queries are the same for all: layer 0 computes them once
 * and repeats them, its cross-attention's q as well. With dropout every frame has its own. */
static gq_t first_layer(gq_tape *t, const gq_qformer_config *c, gq_t encoded, double dropout)
{
    int64_t frames = gq_dim(t, encoded, 0);
    gq_t    x = gq_layernorm(t, gq_p(t, "qformer.query"), gq_p(t, "qformer.ln.g"),
                             gq_p(t, "qformer.ln.b"), c->ln_eps), q;

    if (dropout > 0.0) {
        x = self_part(t, c, 0, gq_dropout(t, gq_expand_rows(t, x, frames), dropout), dropout);
        q = cross_query(t, 0, x);
    } else {
        x = self_part(t, c, 0, gq_reshape(t, x, 3, GQ_SHAPE(1, c->queries, c->width)), 0.0);
        x = gq_reshape(t, x, 2, GQ_SHAPE(c->queries, c->width));
        q = gq_expand_rows(t, cross_query(t, 0, x), frames);
        x = gq_expand_rows(t, x, frames);
    }
    return mlp_part(t, c, 0, cross_part(t, c, 0, x, q, encoded, dropout), dropout);
}

gq_t gq_qformer_states(gq_tape *t, const gq_qformer_config *c, gq_t encoded, double dropout)
{
    gq_t x = GQ_T_NONE;
    char name[32];

    for (int l = 0; l < c->layers; l++) {
        snprintf(name, sizeof name, "qformer.h.%d", l);
        gq_segment(t, name);
        if (l == 0) {
            x = first_layer(t, c, encoded, dropout);
            continue;
        }
        x = self_part(t, c, l, x, dropout);
        if (l % c->cross_every == 0)
            x = cross_part(t, c, l, x, cross_query(t, l, x), encoded, dropout);
        x = mlp_part(t, c, l, x, dropout);
    }
    gq_segment(t, "qformer.end");
    return x;
}
