#include "models/t5.h"

#include <math.h>
#include <stdio.h>

static int inner(const gq_t5_config *c)
{
    return c->heads * c->head_width;
}

/* ---- parameters ------------------------------------------------------------------------------ */

static gq_status declare_matrix(gq_params *p, const char *scope, int l, const char *name, double std,
                                int64_t out, int64_t in, gq_error *err)
{
    return gq_declare(p, err, GQ_NORMAL(std), 2, GQ_SHAPE(out, in), "%s.h.%d.%s.w", scope, l, name);
}

static gq_status declare_gain(gq_params *p, const gq_t5_config *c, const char *scope, int l, int norm,
                              gq_error *err)
{
    return gq_declare(p, err, GQ_CONST(1.0), 1, GQ_SHAPE(c->width), "%s.h.%d.ln_%d.g", scope, l, norm);
}

static gq_status declare_attention(gq_params *p, const gq_t5_config *c, const char *scope, int l,
                                   bool cross, gq_error *err)
{
    int64_t   C = c->width, I = inner(c);
    double    in = 1.0 / sqrt((double)C), out = 1.0 / sqrt((double)I), q = in / sqrt((double)c->head_width);
    gq_status s;

    if (!cross) {                       /* queries are smaller: nothing divides the scores        */
        gq_init packed = {.dist = GQ_INIT_NORMAL, .value = q, .second = in, .split = I};
        s = gq_declare(p, err, packed, 2, GQ_SHAPE(3 * I, C), "%s.h.%d.attn.qkv.w", scope, l);
        return s == GQ_OK ? declare_matrix(p, scope, l, "attn.out", out, C, I, err) : s;
    }
    s = declare_matrix(p, scope, l, "cross.q", q, I, C, err);
    if (s == GQ_OK)
        s = declare_matrix(p, scope, l, "cross.kv", in, 2 * I, C, err);
    return s == GQ_OK ? declare_matrix(p, scope, l, "cross.out", out, C, I, err) : s;
}

static gq_status declare_stack(gq_params *p, const gq_t5_config *c, const char *scope, int layers,
                               bool decoder, gq_error *err)
{
    double    in = 1.0 / sqrt((double)c->width), out = 1.0 / sqrt((double)c->mlp);
    gq_status s = gq_declare(p, err, GQ_NORMAL(in), 2, GQ_SHAPE(c->buckets, c->heads), "%s.rel", scope);

    for (int l = 0; s == GQ_OK && l < layers; l++) {
        int norm = 1;
        s = declare_gain(p, c, scope, l, norm++, err);
        if (s == GQ_OK)
            s = declare_attention(p, c, scope, l, false, err);
        if (s == GQ_OK && decoder && (s = declare_gain(p, c, scope, l, norm++, err)) == GQ_OK)
            s = declare_attention(p, c, scope, l, true, err);
        if (s == GQ_OK)
            s = declare_gain(p, c, scope, l, norm, err);
        if (s == GQ_OK)
            s = declare_matrix(p, scope, l, c->gated ? "mlp.gated" : "mlp.fc1", in,
                               (c->gated ? 2 : 1) * c->mlp, c->width, err);
        if (s == GQ_OK)
            s = declare_matrix(p, scope, l, "mlp.fc2", out, c->width, c->mlp, err);
    }
    return s == GQ_OK ? gq_declare(p, err, GQ_CONST(1.0), 1, GQ_SHAPE(c->width), "%s.ln_f.g", scope) : s;
}

gq_status gq_t5_declare(gq_params *p, const gq_t5_config *c, gq_error *err)
{
    gq_status s = gq_declare(p, err, GQ_NORMAL(1.0), 2, GQ_SHAPE(c->vocab, c->width), "t5.shared");

    if (c->layers > GQ_T5_MAX_LAYERS || c->decoder_layers > GQ_T5_MAX_LAYERS)
        return gq_fail(err, GQ_ECONFIG, "T5 of %d and %d layers: at most %d", c->layers,
                       c->decoder_layers, GQ_T5_MAX_LAYERS);
    if (s == GQ_OK)
        s = declare_stack(p, c, "t5.enc", c->layers, false, err);
    if (s == GQ_OK)
        s = declare_stack(p, c, "t5.dec", c->decoder_layers, true, err);
    if (s == GQ_OK && !c->tied)
        s = gq_declare(p, err, GQ_NORMAL(1.0), 2, GQ_SHAPE(c->vocab, c->width), "t5.head.w");
    return s;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

typedef struct stack {                  /* one side, while its blocks are recorded                */
    gq_tape            *t;
    const gq_t5_config *c;
    const char         *scope;
    double              dropout;
    gq_t                sum, branch;    /* residual stream, and what is still to be added to it   */
    gq_t                rows;           /* of the last block: see gq_t5_opts                      */
} stack;

static gq_t norm(stack *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static gq_t norm(stack *s, const char *fmt, ...)
{
    char    name[96];
    va_list ap;
    gq_t    gain;

    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    gain = gq_p(s->t, "%s.%s", s->scope, name);
    if (!s->branch.i)
        return gq_rmsnorm(s->t, s->sum, gain, s->c->eps);
    return gq_add_rmsnorm(s->t, s->sum, s->branch, gain, s->c->eps, &s->sum);
}

static gq_t dense(stack *s, gq_t x, gq_act act, int l, const char *name)
{
    return gq_dense(s->t, x, act, GQ_T_NONE, "%s.h.%d.%s", s->scope, l, name);
}

static void add(stack *s, gq_t branch)
{
    s->branch = gq_dropout(s->t, branch, s->dropout);
}

/* The two matrices of a block; dropout also between them. */
static void feed_forward(stack *s, int l, int norm_number)
{
    const gq_t5_config *c = s->c;
    gq_t                h = norm(s, "h.%d.ln_%d.g", l, norm_number);

    if (c->gated)
        h = gq_glu(s->t, dense(s, h, GQ_NONE, l, "mlp.gated"), c->act);
    else
        h = dense(s, h, c->act, l, "mlp.fc1");
    add(s, dense(s, gq_dropout(s->t, h, s->dropout), GQ_NONE, l, "mlp.fc2"));
}

/* Unscaled scores plus the stack's table. */
static gq_sdpa_opts self_opts(const stack *s, gq_rel relative)
{
    return (gq_sdpa_opts){.heads = s->c->heads,
                          .scale = 1.0,
                          .width = inner(s->c),
                          .table = gq_p(s->t, "%s.rel", s->scope),
                          .relative = relative,
                          .far = s->c->far,
                          .dropout = s->dropout};
}

/* What follows attention is computed for the wanted rows of the last block only. */
static gq_t wanted(stack *s, bool last, gq_t h)
{
    if (!last || !s->rows.i)
        return h;
    s->sum = gq_gather_rows(s->t, s->sum, s->rows);
    return gq_gather_rows(s->t, h, s->rows);
}

static gq_t finish(stack *s)
{
    gq_segment(s->t, s->scope);
    return gq_dropout(s->t, norm(s, "ln_f.g"), s->dropout);
}

static void begin_block(stack *s, int l)
{
    char name[32];
    snprintf(name, sizeof name, "%s.h.%d", s->scope, l);
    gq_segment(s->t, name);
}

static stack begin(gq_tape *t, const gq_t5_config *c, const char *scope, gq_t ids, double dropout)
{
    stack s = {.t = t, .c = c, .scope = scope, .dropout = dropout};
    s.sum = gq_dropout(t, gq_embed(t, ids, gq_p(t, "t5.shared"), GQ_T_NONE), dropout);
    return s;
}

gq_t gq_t5_encode(gq_tape *t, const gq_t5_config *c, gq_t ids, gq_t lengths, double dropout)
{
    stack        s = begin(t, c, "t5.enc", ids, dropout);
    gq_sdpa_opts o = self_opts(&s, GQ_REL_BOTH);

    o.lengths = lengths;
    for (int l = 0; l < c->layers; l++) {
        begin_block(&s, l);
        gq_t qkv = dense(&s, norm(&s, "h.%d.ln_1.g", l), GQ_NONE, l, "attn.qkv");
        add(&s, dense(&s, gq_sdpa(t, qkv, GQ_T_NONE, &o), GQ_NONE, l, "attn.out"));
        feed_forward(&s, l, 2);
    }
    return finish(&s);
}

static gq_sdpa_opts cross_opts(const stack *s, gq_t lengths)
{
    return (gq_sdpa_opts){.heads = s->c->heads, .scale = 1.0, .width = inner(s->c), .voff = inner(s->c),
                          .lengths = lengths, .dropout = s->dropout};
}

/* Tied heads are the token table, whose rows are large: the states are made smaller instead. */
static gq_t for_head(gq_tape *t, const gq_t5_config *c, gq_t states)
{
    return c->tied ? gq_scale(t, states, 1.0 / sqrt((double)c->width)) : states;
}

gq_t gq_t5_head(gq_tape *t, const gq_t5_config *c)
{
    return c->tied ? gq_p(t, "t5.shared") : gq_p(t, "t5.head.w");
}

gq_t gq_t5_decode(gq_tape *t, const gq_t5_config *c, gq_t ids, gq_t memory, gq_t lengths,
                  const gq_t5_opts *o)
{
    stack        s = begin(t, c, "t5.dec", ids, o->dropout);
    gq_sdpa_opts self = self_opts(&s, GQ_REL_BACK), cross = cross_opts(&s, lengths);

    s.rows = o->rows;
    self.mask = GQ_MASK_CAUSAL;
    for (int l = 0; l < c->decoder_layers; l++) {
        begin_block(&s, l);
        gq_t qkv = dense(&s, norm(&s, "h.%d.ln_1.g", l), GQ_NONE, l, "attn.qkv");
        add(&s, dense(&s, gq_sdpa(t, qkv, GQ_T_NONE, &self), GQ_NONE, l, "attn.out"));
        gq_t q = dense(&s, norm(&s, "h.%d.ln_2.g", l), GQ_NONE, l, "cross.q");
        gq_t kv = dense(&s, memory, GQ_NONE, l, "cross.kv");
        gq_t h = wanted(&s, l == c->decoder_layers - 1, gq_sdpa(t, q, kv, &cross));
        add(&s, dense(&s, h, GQ_NONE, l, "cross.out"));
        feed_forward(&s, l, 3);
    }
    return for_head(t, c, finish(&s));
}

/* ---- token by token -------------------------------------------------------------------------- */

void gq_t5_remember(gq_tape *t, const gq_t5_config *c, gq_t memory, gq_t zeros, const gq_t *cross)
{
    for (int l = 0; l < c->decoder_layers; l++) {
        gq_t kv = gq_dense(t, memory, GQ_NONE, GQ_T_NONE, "t5.dec.h.%d.cross.kv", l);
        gq_kv_append(t, kv, cross[l], zeros, 0, inner(c), inner(c));
    }
}

gq_t gq_t5_step(gq_tape *t, const gq_t5_config *c, gq_t ids, const gq_t5_cache *k)
{
    stack        s = begin(t, c, "t5.dec", ids, 0.0);
    gq_sdpa_opts self = self_opts(&s, GQ_REL_LAST), cross = cross_opts(&s, k->source);
    int64_t      rows = gq_dim(t, ids, 0), I = inner(c);

    self.lengths = k->lengths;
    self.voff = (int)I;
    for (int l = 0; l < c->decoder_layers; l++) {
        gq_t qkv = dense(&s, norm(&s, "h.%d.ln_1.g", l), GQ_NONE, l, "attn.qkv");
        gq_kv_append(t, qkv, k->self[l], k->pos, (int)I, (int)(2 * I), (int)I);
        add(&s, dense(&s, gq_sdpa(t, qkv, k->self[l], &self), GQ_NONE, l, "attn.out"));
        gq_t q = dense(&s, norm(&s, "h.%d.ln_2.g", l), GQ_NONE, l, "cross.q");
        q = gq_reshape(t, q, 3, GQ_SHAPE(rows / k->beams, k->beams, I));
        gq_t h = gq_reshape(t, gq_sdpa(t, q, k->cross[l], &cross), 3, GQ_SHAPE(rows, 1, I));
        add(&s, dense(&s, h, GQ_NONE, l, "cross.out"));
        feed_forward(&s, l, 3);
    }
    return for_head(t, c, gq_reshape(t, finish(&s), 2, GQ_SHAPE(rows, c->width)));
}

/* ---- training -------------------------------------------------------------------------------- */

gq_status gq_t5_record(gq_engine *e, gq_params *p, const gq_t5_config *c, const gq_t5_shape *shape,
                       const gq_plan_opts *plan, gq_t5_tape *out, gq_error *err)
{
    int64_t    b = shape->batch, one = 1, labels = shape->labels;
    gq_t5_opts o = {.dropout = shape->train ? c->dropout : 0.0};
    gq_tape   *t;
    gq_status  s = gq_tape_new(e, p, shape->train ? "t5 train" : "t5", &t, err);

    if (s != GQ_OK)
        return s;
    *out = (gq_t5_tape){.shape = *shape, .tape = t};
    if (!shape->train)
        gq_tape_no_grad(t);
    out->source = gq_input(t, "source", GQ_I32, 2, GQ_SHAPE(b, shape->source));
    out->lengths = gq_input(t, "lengths", GQ_I32, 1, &b);
    out->target = gq_input(t, "target", GQ_I32, 2, GQ_SHAPE(b, shape->target));
    out->rows = gq_input(t, "rows", GQ_I32, 1, &labels);
    out->labels = gq_input(t, "labels", GQ_I32, 1, &labels);
    out->inv_lm = gq_input_stat(t, "inv_lm", 1, &one);
    gq_t memory = gq_t5_encode(t, c, out->source, out->lengths, o.dropout);
    gq_t states = gq_t5_decode(t, c, out->target, memory, out->lengths, &o);
    states = gq_reshape(t, states, 2, GQ_SHAPE(b * shape->target, c->width));
    out->lm_loss = gq_lm_loss(t, states, gq_t5_head(t, c), out->rows, out->labels, out->inv_lm, &out->stats);
    gq_keep(t, out->lm_loss, "lm_loss");
    gq_keep(t, out->stats, "stats");
    s = gq_tape_finish(t, shape->train ? out->lm_loss : GQ_T_NONE, plan, err);
    if (s != GQ_OK)
        gq_tape_free(t);
    return s;
}
