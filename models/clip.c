#include "models/clip.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static gq_blocks vision_blocks(const gq_clip_config *c)
{
    return (gq_blocks){.scope = "clip.v",
                       .layers = c->layers,
                       .width = c->width,
                       .heads = c->heads,
                       .mlp = c->mlp,
                       .act = c->act,
                       .ln_eps = c->ln_eps,
                       .bias = true};
}

static gq_blocks text_blocks(const gq_clip_config *c)
{
    return (gq_blocks){.scope = "clip.t",
                       .layers = c->text_layers,
                       .width = c->text_width,
                       .heads = c->text_heads,
                       .mlp = c->text_mlp,
                       .act = c->act,
                       .ln_eps = c->ln_eps,
                       .bias = true,
                       .mask = GQ_MASK_CAUSAL};
}

static gq_block_init hf_init(int width, int layers)
{
    double in = 1.0 / sqrt(width), deep = in / sqrt(2.0 * layers);
    return (gq_block_init){.qkv = deep, .out = in, .fc1 = 1.0 / sqrt(2.0 * width), .fc2 = deep};
}

static gq_status declare_vision(gq_params *p, const gq_clip_config *c, gq_error *err)
{
    gq_blocks     b = vision_blocks(c);
    gq_block_init init = hf_init(c->width, c->layers);
    gq_status     s = gq_declare(p, err, GQ_NORMAL(0.02), 2,
                                 GQ_SHAPE(c->width, 3 * c->patch * c->patch), "clip.v.patch.w");

    if (s == GQ_OK)
        s = gq_declare(p, err, GQ_NORMAL(1.0 / sqrt(c->width)), 1, GQ_SHAPE(c->width),
                       "clip.v.cls");
    if (s == GQ_OK)
        s = gq_declare(p, err, GQ_NORMAL(0.02), 2, GQ_SHAPE(gq_clip_tokens(c), c->width),
                       "clip.v.pos");
    if (s == GQ_OK)
        s = gq_declare_norm(p, err, c->width, true, "clip.v.ln_pre");
    if (s == GQ_OK)
        s = gq_blocks_declare(p, &b, &init, err);
    if (s == GQ_OK)
        s = gq_declare_norm(p, err, c->width, true, "clip.v.ln_post");
    if (s == GQ_OK && c->proj)
        s = gq_declare(p, err, GQ_NORMAL(1.0 / sqrt(c->width)), 2, GQ_SHAPE(c->proj, c->width),
                       "clip.v.proj.w");
    return s;
}

static gq_status declare_text(gq_params *p, const gq_clip_config *c, gq_error *err)
{
    gq_blocks     b = text_blocks(c);
    gq_block_init init = hf_init(c->text_width, c->text_layers);
    gq_status     s =
        gq_declare(p, err, GQ_NORMAL(0.02), 2, GQ_SHAPE(c->vocab, c->text_width), "clip.t.tok");

    if (s == GQ_OK)
        s = gq_declare(p, err, GQ_NORMAL(0.02), 2, GQ_SHAPE(c->context, c->text_width),
                       "clip.t.pos");
    if (s == GQ_OK)
        s = gq_blocks_declare(p, &b, &init, err);
    if (s == GQ_OK)
        s = gq_declare_norm(p, err, c->text_width, true, "clip.t.ln_final");
    if (s == GQ_OK)
        s = gq_declare(p, err, GQ_NORMAL(1.0 / sqrt(c->text_width)), 2,
                       GQ_SHAPE(c->proj, c->text_width), "clip.t.proj.w");
    if (s == GQ_OK)
        s = gq_declare(p, err, GQ_CONST(2.6592), 1, GQ_SHAPE(1), "clip.logit_scale");
    return s;
}

gq_status gq_clip_declare(gq_params *p, const gq_clip_config *c, gq_error *err)
{
    gq_status s = declare_vision(p, c, err);
    return s == GQ_OK && c->text ? declare_text(p, c, err) : s;
}

/* x: what the last block makes of the class tokens, [F,C] */
static gq_t pooled(gq_tape *t, const gq_clip_config *c, gq_t x)
{
    x = gq_layernorm(t, x, gq_p(t, "clip.v.ln_post.g"), gq_p(t, "clip.v.ln_post.b"), c->ln_eps);
    return gq_linear(t, x, gq_p(t, "clip.v.proj.w"), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
}

void gq_clip_vision(gq_tape *t, const gq_clip_config *c, gq_t frames, gq_clip_feature which,
                    gq_t *features, gq_t *embeds)
{
    gq_blocks b = vision_blocks(c);
    gq_pixels px = {.patch = c->patch};
    gq_t      x, branch = GQ_T_NONE, rows = GQ_T_NONE;
    int64_t   n = gq_dim(t, frames, 0);
    int       tap = c->layers -
              (which == GQ_CLIP_HIDDEN_2 && c->layers > 1 ? 2 : 1); /* block whose output is read */
    int       run = embeds ? c->layers : tap + 1;
    char      name[32];

    memcpy(px.mean, c->mean, sizeof px.mean);
    memcpy(px.std, c->std, sizeof px.std);
    x = gq_patch_embed(t, frames, gq_p(t, "clip.v.patch.w"), gq_p(t, "clip.v.cls"),
                       gq_p(t, "clip.v.pos"), &px);
    x = gq_layernorm(t, x, gq_p(t, "clip.v.ln_pre.g"), gq_p(t, "clip.v.ln_pre.b"), c->ln_eps);
    if (embeds)
        rows = gq_input(t, "clip.class_rows", GQ_I32, 1, &n); /* row of each class token */
    for (int l = 0; l < run; l++) {
        snprintf(name, sizeof name, "clip.v.h.%d", l);
        gq_segment(t, name);
        if (l == tap && features) {
            *features = x = gq_block_stream(t, &b, l, x, branch);
            branch = GQ_T_NONE;
        } else if (l == c->layers - 1) {                      /* only class tokens go further */
            b.rows = rows;
            x = gq_block_stream(t, &b, l, x, branch);
        } else {
            branch = gq_block(t, &b, l, &x, branch);
        }
    }
    gq_segment(t, "clip.v.end");
    if (features && which == GQ_CLIP_FINAL)
        *features = gq_layernorm(t, *features, gq_p(t, "clip.v.ln_post.g"),
                                 gq_p(t, "clip.v.ln_post.b"), c->ln_eps);
    if (embeds && features && tap == c->layers - 1)
        x = gq_gather_rows(t, x, rows);
    if (embeds)
        *embeds = pooled(t, c, x);
}

gq_t gq_clip_text(gq_tape *t, const gq_clip_config *c, gq_t ids, gq_t pos, gq_t end)
{
    gq_blocks b = text_blocks(c);
    gq_t      x = gq_embed(t, ids, gq_p(t, "clip.t.tok"), GQ_T_NONE), branch = GQ_T_NONE;

    x = gq_embed(t, pos, gq_p(t, "clip.t.pos"), x);
    for (int l = 0; l < c->text_layers; l++)
        branch = gq_block(t, &b, l, &x, branch);
    x = gq_add_norm(t, x, branch, gq_p(t, "clip.t.ln_final.g"), gq_p(t, "clip.t.ln_final.b"),
                    c->ln_eps, NULL);
    return gq_linear(t, gq_gather_rows(t, x, end), gq_p(t, "clip.t.proj.w"), GQ_T_NONE, GQ_NONE,
                     GQ_T_NONE);
}
