/* pointwise.c - glu and scale: one pass, elements on their own or with one partner in their row. */
#include "kernels/cpu/act.h"
#include "kernels/cpu/cpu.h"

/* ---- glu: a row of u is (a, b) --------------------------------------------------------------- */

typedef struct glu_job {
    const float *u, *dy;                /* dy: backward                                           */
    float       *to;                    /* y [rows,F] or du [rows,2F]                             */
    int64_t      F;
    int          act, add;
} glu_job;

typedef void (*glu_fn)(const glu_job *j, int act, int64_t lo, int64_t hi);

GQ_INLINE void glu_forward(const glu_job *j, int act, int64_t lo, int64_t hi)
{
    int64_t F = j->F;
    for (int64_t r = lo; r < hi; r++) {
        const float *a = j->u + r * 2 * F, *b = a + F;
        for (int64_t i = 0; i < F; i += VL)
            store_part(j->to + r * F + i,
                       act_value(act, load_part(a + i, F - i)) * load_part(b + i, F - i), F - i);
    }
}

GQ_INLINE void glu_backward(const glu_job *j, int act, int64_t lo, int64_t hi)
{
    int64_t F = j->F;
    for (int64_t r = lo; r < hi; r++) {
        const float *a = j->u + r * 2 * F, *b = a + F, *dy = j->dy + r * F;
        float       *da = j->to + r * 2 * F, *db = da + F;
        for (int64_t i = 0; i < F; i += VL) {
            int64_t left = F - i;
            vf      u = load_part(a + i, left), up = load_part(dy + i, left);
            vf      ga = up * load_part(b + i, left) * act_slope(act, u);
            vf      gb = up * act_value(act, u);
            store_part(da + i, j->add ? load_part(da + i, left) + ga : ga, left);
            store_part(db + i, j->add ? load_part(db + i, left) + gb : gb, left);
        }
    }
}

/* fn with the activation as a constant: its loops hold one activation each */
GQ_INLINE void glu_per_act(const glu_job *j, glu_fn fn, int64_t lo, int64_t hi)
{
    switch (j->act) {
    case GQ_GELU: fn(j, GQ_GELU, lo, hi); break;
    case GQ_GELU_TANH: fn(j, GQ_GELU_TANH, lo, hi); break;
    case GQ_QUICK_GELU: fn(j, GQ_QUICK_GELU, lo, hi); break;
    case GQ_RELU: fn(j, GQ_RELU, lo, hi); break;
    default: fn(j, GQ_NONE, lo, hi); break;
    }
}

static void glu_forward_range(const void *ctx, int64_t lo, int64_t hi)
{
    glu_per_act(ctx, glu_forward, lo, hi);
}

static void glu_backward_range(const void *ctx, int64_t lo, int64_t hi)
{
    glu_per_act(ctx, glu_backward, lo, hi);
}

void CPU(glu_fwd)(const gq_call *c)
{
    glu_job j = {.u = c->in[0].p, .to = c->out[0].p, .F = gq_cols(&c->out[0]), .act = c->attr.act};
    over(c, gq_rows(&c->in[0]), range_items(2 * j.F), glu_forward_range, &j);
}

void CPU(glu_bwd)(const gq_call *c)
{
    glu_job j = {.u = c->in[0].p,
                 .dy = c->dout[0].p,
                 .to = c->din[0].p,
                 .F = gq_cols(&c->in[0]) / 2,
                 .act = c->attr.act,
                 .add = adds(c, 0)};
    if (!nothing_arrives(c) && j.to)
        over(c, gq_rows(&c->in[0]), range_items(2 * j.F), glu_backward_range, &j);
}

/* ---- scale ----------------------------------------------------------------------------------- */

typedef struct scale_job {
    const float *from;
    float       *to;
    float        s;
    int          add;
} scale_job;

static void scale_range(const void *ctx, int64_t lo, int64_t hi)
{
    const scale_job *j = ctx;
    for (int64_t i = lo; i < hi; i += VL) {
        vf v = load_part(j->from + i, hi - i) * j->s;
        store_part(j->to + i, j->add ? load_part(j->to + i, hi - i) + v : v, hi - i);
    }
}

void CPU(scale_fwd)(const gq_call *c)
{
    scale_job j = {c->in[0].p, c->out[0].p, c->attr.scale, 0};
    over(c, gq_size(&c->in[0]), RANGE_ELEMENTS, scale_range, &j);
}

void CPU(scale_bwd)(const gq_call *c)
{
    scale_job j = {c->dout[0].p, c->din[0].p, c->attr.scale, adds(c, 0)};
    if (!nothing_arrives(c) && j.to)
        over(c, gq_size(&c->in[0]), RANGE_ELEMENTS, scale_range, &j);
}
