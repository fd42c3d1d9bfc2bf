#include "models/stllm.h"

#include <string.h>

gq_status gq_stllm_declare(gq_params *p, const gq_stllm_config *c, gq_error *err)
{
    gq_status s = gq_clip_declare(p, &c->clip, err);
    int64_t   d = c->gpt2.width;

    if (s == GQ_OK)
        s = gq_qformer_declare(p, &c->qformer, err);
    if (s == GQ_OK)
        s = gq_declare_linear(p, err, 0.02 * c->proj_scale, d, c->qformer.width, true, "proj");
    if (s == GQ_OK)
        s = gq_gpt2_declare(p, &c->gpt2, err);
    if (s == GQ_OK && c->mvm_declared) {
        s = gq_declare_linear(p, err, 0.02, d, d, true, "mvm.predictor");
        if (s == GQ_OK)
            s = gq_declare_norm(p, err, d, true, "mvm.predictor.ln");
    }
    return s;
}

gq_t gq_stllm_visual(gq_tape *t, const gq_stllm_config *c, gq_stllm_tape *h)
{
    int64_t f = (int64_t)h->shape.batch * h->shape.frames,
            n = (int64_t)h->shape.frames * c->qformer.queries;
    double  dropout = h->shape.train ? c->qformer.dropout : 0.0;
    gq_t    x;

    if (h->shape.live) {
        h->frames = gq_input(t, "frames", GQ_U8, 4, GQ_SHAPE(f, c->clip.image, c->clip.image, 3));
        gq_clip_vision(t, &c->clip, h->frames, c->feature, &x, NULL);
    } else {
        x = h->features =
            gq_input_real(t, "features", 3, GQ_SHAPE(f, gq_clip_tokens(&c->clip), c->clip.width));
    }
    h->encoded = gq_bridge_apply(t, &c->qformer, x);
    h->queries = gq_qformer_states(t, &c->qformer, h->encoded, dropout);
    x = gq_linear(t, h->queries, gq_p(t, "proj.w"), gq_p(t, "proj.b"), GQ_NONE, GQ_T_NONE);
    return h->visual = gq_reshape(t, x, 3, GQ_SHAPE(h->shape.batch, n, c->gpt2.width));
}

/* What the student's GPT-2 reads in place of V. */
static gq_t masked_visual(gq_tape *t, const gq_stllm_config *c, gq_stllm_tape *h, gq_gpt2_opts *o)
{
    int64_t b = h->shape.batch, n = gq_dim(t, h->visual, 1), d = c->gpt2.width;
    gq_t    x;

    if (c->mvm.mode == GQ_MVM_DROP) {
        h->kept = gq_input(t, "kept", GQ_I32, 1, GQ_SHAPE(b * h->shape.kept));
        o->visible = h->visible =
            gq_input_stat(t, "visible", 2, GQ_SHAPE(b, h->shape.kept + h->shape.text));
        x = gq_gather_rows(t, h->visual, h->kept);
        return gq_reshape(t, x, 3, GQ_SHAPE(b, h->shape.kept, d));
    }
    h->u = c->mvm.element ? gq_input_stat(t, "u", 3, GQ_SHAPE(b, n, d))
                          : gq_input_stat(t, "u", 2, GQ_SHAPE(b, n));
    if (c->mvm.hidden)
        o->visible = h->visible = gq_input_stat(t, "visible", 2, GQ_SHAPE(b, n + h->shape.text));
    return gq_mask_rows(t, h->visual, h->u);
}

static gq_t teacher_states(gq_tape *t, const gq_stllm_config *c, gq_stllm_tape *h)
{
    int64_t      b = h->shape.batch, n = gq_dim(t, h->visual, 1);
    gq_gpt2_opts o = {.dropout = c->mvm.teacher_dropout && h->shape.train ? c->gpt2.dropout : 0.0};
    gq_t         x;

    h->teacher_pos = gq_input(t, "teacher_pos", GQ_I32, 2, GQ_SHAPE(b, n));
    gq_grad_pause(t, true);
    x = gq_gpt2_states(t, &c->gpt2, gq_stop_grad(t, h->visual), h->teacher_pos, &o);
    if (c->mvm.mode == GQ_MVM_DROP)
        x = gq_gather_rows(t, x, h->kept);
    gq_grad_pause(t, false);
    return x;
}

/* How many rows of the student's states the MVM loss compares. */
static int64_t compared_rows(gq_tape *t, const gq_stllm_config *c, const gq_stllm_tape *h)
{
    if (!h->shape.masked)
        return 0;
    return h->shape.batch *
           (c->mvm.mode == GQ_MVM_DROP ? h->shape.kept : gq_dim(t, h->visual, 1));
}

static gq_t mvm_loss(gq_tape *t, const gq_stllm_config *c, gq_stllm_tape *h)
{
    int64_t rows = compared_rows(t, c, h), d = c->gpt2.width;
    gq_t    x, teacher;

    h->student_rows = gq_input(t, "student_rows", GQ_I32, 1, &rows);
    h->weight = gq_input_stat(t, "weight", 1, &rows);
    h->inv_mvm = gq_input_stat(t, "inv_mvm", 1, GQ_SHAPE(1));
    x = gq_gather_rows(t, h->states, h->student_rows);
    if (c->mvm.predictor) {
        x = gq_linear(t, x, gq_p(t, "mvm.predictor.w"), gq_p(t, "mvm.predictor.b"), GQ_NONE,
                      GQ_T_NONE);
        x = gq_layernorm(t, x, gq_p(t, "mvm.predictor.ln.g"), gq_p(t, "mvm.predictor.ln.b"), 1e-5);
    }
    teacher = gq_reshape(t, h->teacher, 2, GQ_SHAPE(rows, d));
    return gq_mvm_loss(t, x, teacher, h->weight, h->inv_mvm, c->mvm.loss);
}

static void keep_all(gq_tape *t, gq_stllm_tape *h)
{
    gq_keep(t, h->encoded, "encoded");
    gq_keep(t, h->queries, "queries");
    gq_keep(t, h->visual, "visual");
    gq_keep(t, h->states, "states");
    gq_keep(t, h->teacher, "teacher");
}

static void record(gq_tape *t, const gq_stllm_config *c, gq_stllm_tape *h, bool all)
{
    int64_t      b = h->shape.batch, r = h->shape.labels, seen, needed;
    gq_gpt2_opts o = {.dropout = h->shape.train ? c->gpt2.dropout : 0.0};
    gq_t         x = gq_stllm_visual(t, c, h);

    if (h->shape.masked) {
        x = masked_visual(t, c, h, &o);
        h->teacher = teacher_states(t, c, h);
    }
    seen = gq_dim(t, x, 1);
    h->ids = gq_input(t, "ids", GQ_I32, 2, GQ_SHAPE(b, h->shape.text));
    h->pos = gq_input(t, "pos", GQ_I32, 2, GQ_SHAPE(b, seen + h->shape.text));
    h->rows = gq_input(t, "rows", GQ_I32, 1, &r);
    h->labels = gq_input(t, "labels", GQ_I32, 1, &r);
    h->inv_lm = gq_input_stat(t, "inv_lm", 1, GQ_SHAPE(1));
    needed = compared_rows(t, c, h) + r;
    if (!all)
        o.rows = h->needed = gq_input(t, "needed", GQ_I32, 1, &needed);
    x = gq_concat_rows(t, x, gq_gpt2_tokens(t, h->ids));
    h->states = gq_gpt2_states(t, &c->gpt2, x, h->pos, &o);
    gq_segment(t, "losses");
    h->lm_loss = gq_lm_loss(t, h->states, gq_gpt2_head(t, &c->gpt2), h->rows, h->labels, h->inv_lm,
                            &h->stats);
    h->loss = h->lm_loss;
    if (h->shape.masked) {
        h->mvm_loss = mvm_loss(t, c, h);
        h->loss =
            gq_combine(t, 2, (gq_t[]){h->lm_loss, h->mvm_loss}, (double[]){1.0, c->mvm.weight});
    }
    gq_keep(t, h->lm_loss, "lm_loss");
    gq_keep(t, h->mvm_loss, "mvm_loss");
    gq_keep(t, h->stats, "stats");
}

gq_status gq_stllm_record(gq_engine *e, gq_params *p, const gq_stllm_config *c,
                          const gq_stllm_shape *shape, const gq_plan_opts *plan, bool keep,
                          gq_stllm_tape *out, gq_error *err)
{
    gq_status s;

    memset(out, 0, sizeof *out);
    out->shape = *shape;
    s = gq_tape_new(e, p,
                    shape->masked  ? "masked step"
                    : shape->train ? "step"
                                   : "evaluation",
                    &out->tape, err);
    if (s != GQ_OK)
        return s;
    if (!shape->train)
        gq_tape_no_grad(out->tape);
    record(out->tape, c, out, keep);
    if (keep)
        keep_all(out->tape, out);
    s = gq_tape_finish(out->tape, shape->train ? out->loss : GQ_T_NONE, plan, err);
    if (s != GQ_OK) {
        gq_tape_free(out->tape);
        out->tape = NULL;
    }
    return s;
}
