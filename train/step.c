#include "train/step.h"

#include <inttypes.h>
#include <math.h>

#include "core/io.h"
#include "core/mem.h"
#include "train/mask.h"
#include "train/schedule.h"

/* ---- life ------------------------------------------------------------------------------------ */

gq_status gq_step_open(gq_step *s, const gq_config *c, bool live, int labels, gq_error *err)
{
    size_t batch = (size_t)c->train.batch, n = (size_t)(c->data.frames * c->qformer.queries);
    bool   elements = c->mvm.enable && c->mvm.granularity == GQ_CFG_GRAIN_ELEMENT;

    *s = (gq_step){.cfg = c, .live = live, .n = (int)n, .labels = labels};
    s->keep = gq_malloc(batch, n);
    if (elements)
        s->elements = gq_malloc(batch * n * (size_t)c->gpt2.width, sizeof *s->elements);
    s->stats = gq_malloc(2 * (size_t)labels, sizeof *s->stats);
    return s->keep && s->stats && (!elements || s->elements) ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");
}

void gq_step_close(gq_step *s)
{
    gq_free(s->keep);
    gq_free(s->elements);
    gq_free(s->stats);
    s->keep = NULL;
    s->stats = NULL;
    s->elements = NULL;
}

/* ---- passes ---------------------------------------------------------------------------------- */

/* The shape of a pass with this text length and, in drop-mode, this many kept places. */
static gq_stllm_shape shape_of(const gq_step *s, int text, int kept, bool masked)
{
    return (gq_stllm_shape){.batch = (int)s->cfg->train.batch,
                            .frames = (int)s->cfg->data.frames,
                            .text = text,
                            .labels = s->labels,
                            .kept = masked ? kept : 0,
                            .live = s->live,
                            .masked = masked,
                            .train = true};
}

gq_status gq_step_record(gq_step *s, int text, bool masked_too, gq_error *err)
{
    const gq_config *c = s->cfg;
    bool             drop = c->mvm.mode == GQ_CFG_MVM_DROP;
    gq_stllm_shape   shape = shape_of(s, text, 0, false);
    gq_stllm_tape   *h;
    gq_status        status = GQ_OK;

    if (!(c->mvm.enable && c->mvm.prob >= 1.0 &&
          gq_amount_steps(c->mvm.start, c->train.steps) == 0))
        status = gq_net_pass(s->net, &shape, &h, err);
    for (int kept = drop ? 16 : s->n; status == GQ_OK && masked_too; kept += 16) {
        shape = shape_of(s, text, kept < s->n ? kept : s->n, true);
        status = gq_net_pass(s->net, &shape, &h, err);
        if (kept >= s->n)
            break;
    }
    return status;
}

gq_step_bytes gq_step_plan(const gq_net *n)
{
    double        real = (double)gq_dtype_size(n->engine->backend->real);
    double        stat = (double)gq_dtype_size(n->engine->backend->stat);
    double        kept = (double)n->params->total_n * real - (double)n->params->released_bytes;
    gq_step_bytes b = {.param = kept,
                       .state = (stat == real ? 3.0 : 4.0) * (double)n->params->trainable_n * stat,
                       .act = (double)n->engine->act.bytes,
                       .temp = (double)n->engine->temp.bytes};

    for (int i = 0; i < n->passes; i++)
        b.host += (double)n->pass[i]->h.tape->host_bytes;
    return b;
}

/* ---- one step -------------------------------------------------------------------------------- */

void gq_step_begin(gq_step *s, uint64_t number, uint64_t counted, int end_id)
{
    gq_mask_key key = {s->cfg->train.seed, (uint32_t)number};
    uint32_t    slots = (uint32_t)(s->cfg->train.batch * s->cfg->train.accumulate);

    s->number = number;
    s->masked = gq_mask_step(s->cfg, key);
    s->feed = (gq_feed_opts){.inv_lm = 1.0 / (double)counted, .end_id = end_id};
    if (s->masked)
        s->feed.inv_mvm = 1.0 / gq_mask_denominator(s->cfg, key, slots, s->n);
    s->lm = s->mvm = s->norm = s->lr = s->flops = 0;
    s->counted = counted;
    s->hits = s->tokens = 0;
    s->seconds = (gq_step_seconds){0};
}

static void draw_masks(gq_step *s, int micro)
{
    gq_mask_key key = {s->cfg->train.seed, (uint32_t)s->number};
    int         batch = (int)s->cfg->train.batch;
    int64_t     d = s->cfg->gpt2.width;

    for (int b = 0; b < batch; b++) {
        uint32_t slot = (uint32_t)(micro * batch + b);
        if (s->elements)
            gq_mask_elements(s->cfg, key, slot, s->n * d, s->elements + (int64_t)b * s->n * d);
        gq_mask_tokens(s->cfg, key, slot, s->n, s->keep + b * s->n);
    }
}

/* The recorded pass for these samples, its inputs written. */
static gq_status feed(gq_step *s, int micro, const gq_sample *samples, gq_stllm_tape **h,
                      gq_error *err)
{
    const gq_config *c = s->cfg;
    gq_stllm_shape   shape;
    gq_status        status;

    if (s->masked)
        draw_masks(s, micro);
    gq_feed_shape(c, samples, (int)c->train.batch, s->live, s->masked, true,
                  s->masked ? s->keep : NULL, &shape);
    shape = shape_of(s, shape.text, c->mvm.mode == GQ_CFG_MVM_DROP ? shape.kept : s->n, s->masked);
    status = gq_net_pass(s->net, &shape, h, err);
    if (status == GQ_OK)
        gq_feed(c, samples, s->masked ? s->keep : NULL, s->masked ? s->elements : NULL, &s->feed,
                *h);
    return status;
}

static void collect(gq_step *s, const gq_sample *samples, gq_stllm_tape *h)
{
    gq_cost cost = gq_tape_cost(h->tape);
    int     r = 0;

    gq_get_real(h->tape, h->stats, 0, s->stats, 2 * (int64_t)h->shape.labels);

    s->lm += gq_scalar(h->tape, h->lm_loss);
    s->mvm += h->mvm_loss.i ? gq_scalar(h->tape, h->mvm_loss) : 0.0;
    s->flops += cost.fwd_flops + cost.bwd_flops;
    for (int b = 0; b < h->shape.batch; b++) {
        s->tokens += (uint64_t)(samples[b].nq + samples[b].na + 1);
        for (int k = 0; k <= samples[b].na; k++, r++)
            s->hits += s->stats[2 * r + 1] > 0.5f;
    }
}

static gq_adamw_opts update_of(gq_step *s)
{
    const gq_config *c = s->cfg;

    s->lr = gq_learning_rate(c, (int64_t)s->number, c->train.steps);
    return (gq_adamw_opts){.lr = s->lr,
                           .beta1 = c->train.beta1,
                           .beta2 = c->train.beta2,
                           .eps = c->train.eps,
                           .clip = c->train.clip};
}

/* The last micro-batch and the update are one piece of work: the device itself leaves a step with a bad
 * gradient or loss undone. */
static gq_status on_device(gq_step *s, int micro, gq_error *err)
{
    gq_params    *p = s->net->params;
    gq_adamw_opts o = update_of(s);
    bool          last = micro + 1 == (int)s->cfg->train.accumulate;
    gq_status     status = GQ_OK;

    if (!p->update || s->table_key != s->net->frozen_key) {
        status = gq_params_update_open(p, err);
        s->table_key = s->net->frozen_key;
    }
    if (status == GQ_OK && last)
        gq_params_update_set(p, &o, (int64_t)s->number + 1);
    if (status == GQ_OK)
        status = gq_tape_step(s->tape, micro > 0, last, s->cfg->engine.graph, err);
    return status;
}

gq_status gq_step_micro(gq_step *s, int micro, const gq_sample *samples, gq_error *err)
{
    gq_stllm_tape *h;
    double         begin = gq_now(), fed, forth;
    gq_status      status = feed(s, micro, samples, &h, err);

    if (status != GQ_OK)
        return status;
    s->net->engine->step = (gq_step_block){
        .seed = s->cfg->train.seed, .step = (uint32_t)s->number, .micro = (uint32_t)micro};
    s->tape = h->tape;
    fed = gq_now();
    if (s->net->engine->backend->device) {
        status = on_device(s, micro, err);
        forth = gq_now();
    } else {
        status = gq_forward(h->tape, err);
        forth = gq_now();
        if (status == GQ_OK)
            status = gq_backward(h->tape, micro > 0, err);
    }
    if (status != GQ_OK)
        return status;
    s->seconds.feed += fed - begin;
    s->seconds.forward += forth - fed;
    s->seconds.backward += gq_now() - forth;
    collect(s, samples, h);
    if (s->cfg->train.finite_check && !(isfinite(s->lm) && isfinite(s->mvm))) {
        char what[256] = "loss";
        gq_find_nonfinite(h->tape, what, sizeof what);
        return gq_fail(err, GQ_ENUMERIC,
                       "step %" PRIu64
                       ": the first value that is not finite is in the %s; question %lld; the "
                       "step was not applied",
                       s->number, what, (long long)samples[0].index);
    }
    return GQ_OK;
}

/* The gradient norm is where a bad value anywhere in backward ends up; the pass is run again to
 * find the op. Of several micro-batches that is the last: what the others read is gone. */
static gq_status bad_gradient(const gq_step *s, gq_error *err)
{
    char what[256] = "gradient";
    gq_find_nonfinite(s->tape, what, sizeof what);
    return gq_fail(err, GQ_ENUMERIC,
                   "step %" PRIu64
                   ": the gradient norm is not finite, first in the %s; the step was not applied",
                   s->number, what);
}

gq_status gq_step_end(gq_step *s, gq_error *err)
{
    gq_adamw_opts o = update_of(s);
    bool          done = s->net->engine->backend->device != NULL;          /* on_device()         */
    double        begin = gq_now(), known;

    s->norm = done ? gq_params_update_norm(s->net->params) : gq_params_grad_norm(s->net->params);
    known = gq_now();
    s->seconds.norm = known - begin;
    if (!isfinite(s->norm))
        return bad_gradient(s, err);
    if (!done)
        gq_params_adamw(s->net->params, &o, (int64_t)s->number + 1, s->norm);
    s->seconds.update = gq_now() - known;
    return GQ_OK;
}
