#include "train/step.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "core/io.h"
#include "core/mem.h"
#include "train/mask.h"
#include "train/schedule.h"

/* ---- life ------------------------------------------------------------------------------------ */

gq_status gq_step_open(gq_step *s, const gq_config *c, bool live, int labels, gq_error *err)
{
    size_t batch = (size_t)c->train.batch, n = (size_t)gq_net_visual(c);
    bool   elements = c->mvm.enable && c->mvm.granularity == GQ_CFG_GRAIN_ELEMENT;

    *s = (gq_step){.cfg = c, .live = live, .n = (int)n, .labels = labels};
    s->keep = gq_malloc(batch, n + 1);                /* +1: a T5 has none                    */
    if (elements)
        s->elements = gq_malloc(batch * n * (size_t)c->gpt2.width, sizeof *s->elements);
    return s->keep && (!elements || s->elements) ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");
}

/* Floats that are read of one micro-batch. */
static size_t floats_of(const gq_step *s)
{
    return 2 + 2 * (size_t)s->labels;
}

static gq_status open_flights(gq_step *s, gq_error *err)
{
    size_t micros = (size_t)s->cfg->train.accumulate;
    size_t bytes = sizeof(double) + micros * floats_of(s) * sizeof(float);

    s->device = s->net->engine->backend->device;
    for (int i = 0; i < GQ_STEPS_FLYING; i++) {
        gq_flight *f = &s->flight[i];
        f->micro = gq_calloc(micros, sizeof *f->micro);
        f->norm = s->device ? s->device->alloc_host(s->device, bytes) : gq_calloc(1, bytes);
        if (!f->micro || !f->norm)
            return gq_fail(err, GQ_ENOMEM, "out of memory");
        f->read = (float *)(f->norm + 1);
    }
    return GQ_OK;
}

void gq_step_close(gq_step *s)
{
    if (s->device)                                  /* nothing is on its way there any more       */
        s->device->finish(s->device, NULL);
    for (int i = 0; i < GQ_STEPS_FLYING; i++) {
        gq_flight *f = &s->flight[i];
        if (s->device) {
            s->device->release_host(s->device, f->norm);
        } else {
            gq_free(f->norm);
        }
        gq_free(f->micro);
    }
    gq_free(s->keep);
    gq_free(s->elements);
    *s = (gq_step){0};
}

/* ---- passes ---------------------------------------------------------------------------------- */

/* The shape of a pass with this text length and, in drop-mode, this many kept places. */
static gq_stllm_shape shape_of(const gq_step *s, int text, int kept, bool masked)
{
    return (gq_stllm_shape){.batch = (int)s->cfg->train.batch,
                            .frames = s->n ? (int)s->cfg->data.frames : 0,
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
    gq_pass         *h;
    gq_status        status = s->flight[0].micro ? GQ_OK : open_flights(s, err);

    if (status == GQ_OK && !(c->mvm.enable && c->mvm.prob >= 1.0 &&
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

    for (int i = 0; i < n->passes; i++) {        /* on a device the next step's wait beside them  */
        const gq_tape *t = n->pass[i]->tape;
        b.host += (t->stage ? 2.0 : 1.0) * (double)t->host_bytes;
    }
    return b;
}

/* ---- one step -------------------------------------------------------------------------------- */

void gq_step_begin(gq_step *s, uint64_t number, uint64_t counted, int end_id)
{
    gq_mask_key key = {s->cfg->train.seed, (uint32_t)number};
    uint32_t    slots = (uint32_t)(s->cfg->train.batch * s->cfg->train.accumulate);
    gq_flight  *f = s->now = &s->flight[number % GQ_STEPS_FLYING];

    f->out = (gq_step_outcome){.number = number, .masked = gq_mask_step(s->cfg, key), .counted = counted};
    f->out.lr = gq_learning_rate(s->cfg, (int64_t)number, s->cfg->train.steps);
    s->feed = (gq_feed_opts){.inv_lm = 1.0 / (double)counted, .end_id = end_id};
    if (f->out.masked)
        s->feed.inv_mvm = 1.0 / gq_mask_denominator(s->cfg, key, slots, s->n);
    s->seconds = (gq_step_seconds){0};
}

static void draw_masks(gq_step *s, int micro)
{
    gq_mask_key key = {s->cfg->train.seed, (uint32_t)s->now->out.number};
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
static gq_status feed(gq_step *s, int micro, const gq_sample *samples, gq_pass **h,
                      gq_error *err)
{
    const gq_config *c = s->cfg;
    bool             masked = s->now->out.masked;
    gq_stllm_shape   shape;
    gq_status        status;

    if (masked)
        draw_masks(s, micro);
    gq_feed_shape(c, samples, (int)c->train.batch, s->live, masked, true, masked ? s->keep : NULL,
                  &shape);
    shape = shape_of(s, shape.text, c->mvm.mode == GQ_CFG_MVM_DROP ? shape.kept : s->n, masked);
    status = gq_net_pass(s->net, &shape, h, err);
    if (status == GQ_OK)
        gq_feed_pass(c, samples, masked ? s->keep : NULL, masked ? s->elements : NULL, &s->feed, *h);
    return status;
}

/* What is known of a micro-batch before it runs. */
static void note(gq_step *s, int micro, const gq_sample *samples, gq_pass *h)
{
    gq_cost          cost = gq_tape_cost(h->tape);
    gq_step_outcome *out = &s->now->out;
    gq_micro        *m = &s->now->micro[micro];

    *m = (gq_micro){.tape = h->tape, .inputs = gq_tape_inputs(h->tape), .masked = h->mvm_loss.i != 0,
                    .first = (int64_t)samples[0].index};
    out->flops += cost.fwd_flops + cost.bwd_flops;
    for (int b = 0; b < h->shape.batch; b++) {
        m->rows += samples[b].na + 1;
        out->tokens += (uint64_t)(samples[b].nq + samples[b].na + 1);
    }
}

/* Asks for what the result of a micro-batch is made of. */
static void ask(const gq_step *s, int micro, gq_pass *h)
{
    float *to = s->now->read + (size_t)micro * floats_of(s);

    gq_fetch(h->tape, h->lm_loss, to, 1);
    if (h->mvm_loss.i)
        gq_fetch(h->tape, h->mvm_loss, to + 1, 1);
    gq_fetch(h->tape, h->stats, to + 2, 2 * (int64_t)h->shape.labels);
}

static gq_adamw_opts update_of(const gq_step *s)
{
    const gq_config *c = s->cfg;

    return (gq_adamw_opts){.lr = s->now->out.lr,
                           .beta1 = c->train.beta1,
                           .beta2 = c->train.beta2,
                           .eps = c->train.eps,
                           .clip = c->train.clip};
}

static gq_step_block block_of(const gq_step *s, const gq_flight *f, int micro)
{
    return (gq_step_block){.seed = s->cfg->train.seed, .step = (uint32_t)f->out.number, .micro = (uint32_t)micro};
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
        gq_params_update_set(p, &o, (int64_t)s->now->out.number + 1);
    if (status == GQ_OK)
        status = gq_tape_step(s->tape, micro > 0, last, s->cfg->engine.graph, err);
    return status;
}

/* Forward and backward are run again, with what they read then, to find the op. On a device the inputs of the
 * last two micro-batches are there; of those before, the loss is blamed. */
static gq_status blame(gq_step *s, const gq_flight *f, int micro, bool loss, gq_error *err)
{
    const gq_micro *m = &f->micro[micro];
    char            place[256];

    snprintf(place, sizeof place, "%s", loss ? "loss" : "gradient");
    s->net->engine->step = block_of(s, f, micro);
    if (s->device) {
        gq_params_update_again(s->net->params);
        gq_tape_recall(m->tape, m->inputs);
    }
    if (!s->device || micro + 2 >= (int)s->cfg->train.accumulate)
        gq_find_nonfinite(m->tape, place, sizeof place);
    if (loss)
        return gq_fail(err, GQ_ENUMERIC,
                       "step %" PRIu64 ": the first value that is not finite is in the %s; question %lld; the step "
                       "was not applied",
                       f->out.number, place, (long long)m->first);
    return gq_fail(err, GQ_ENUMERIC,
                   "step %" PRIu64 ": the gradient norm is not finite, first in the %s; the step was not applied",
                   f->out.number, place);
}

/* Adds a micro-batch to the outcome. */
static gq_status collect(gq_step *s, gq_flight *f, int micro, gq_error *err)
{
    const gq_micro *m = &f->micro[micro];
    const float    *read = f->read + (size_t)micro * floats_of(s);
    double          mvm = m->masked ? (double)read[1] : 0.0;

    f->out.lm += (double)read[0];
    f->out.mvm += mvm;
    for (int r = 0; r < m->rows; r++)
        f->out.hits += read[2 + 2 * r + 1] > 0.5f;
    if (s->cfg->train.finite_check && !(isfinite(read[0]) && isfinite(mvm)))
        return blame(s, f, micro, true, err);
    return GQ_OK;
}

gq_status gq_step_micro(gq_step *s, int micro, const gq_sample *samples, gq_error *err)
{
    gq_pass *h;
    double         begin = gq_now(), fed, forth;
    gq_status      status = feed(s, micro, samples, &h, err);

    if (status != GQ_OK)
        return status;
    s->net->engine->step = block_of(s, s->now, micro);
    s->tape = h->tape;
    note(s, micro, samples, h);
    fed = gq_now();
    if (s->device) {
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
    ask(s, micro, h);
    return s->device ? GQ_OK : collect(s, s->now, micro, err);
}

/* The gradient norm is where a bad value anywhere in backward ends up. Of several micro-batches the last is
 * looked at: what the others read is gone. */
static gq_status check_norm(gq_step *s, const gq_flight *f, gq_error *err)
{
    return isfinite(f->out.norm) ? GQ_OK
                                 : blame(s, f, (int)s->cfg->train.accumulate - 1, false, err);
}

static gq_status flies(gq_step *s)
{
    if (s->flying++ == 0)
        s->oldest = s->now->out.number;
    return GQ_OK;
}

gq_status gq_step_end(gq_step *s, gq_error *err)
{
    gq_flight    *f = s->now;
    gq_adamw_opts o = update_of(s);
    double        begin = gq_now(), known;
    gq_status     status;

    if (s->device) {
        gq_params_update_norm(s->net->params, f->norm);
        f->point = s->device->mark(s->device);
        return flies(s);
    }
    f->out.norm = gq_params_grad_norm(s->net->params);
    known = gq_now();
    s->seconds.norm = known - begin;
    status = check_norm(s, f, err);
    if (status != GQ_OK)
        return status;
    gq_params_adamw(s->net->params, &o, (int64_t)f->out.number + 1, f->out.norm);
    s->seconds.update = gq_now() - known;
    return flies(s);
}

gq_status gq_step_result(gq_step *s, gq_step_outcome *out, gq_error *err)
{
    gq_flight *f = &s->flight[s->oldest++ % GQ_STEPS_FLYING];
    gq_status  status = GQ_OK;

    s->flying--;
    if (s->device) {
        status = s->device->wait(s->device, f->point, err);
        f->out.norm = *f->norm;
        for (int m = 0; status == GQ_OK && m < (int)s->cfg->train.accumulate; m++)
            status = collect(s, f, m, err);
        if (status == GQ_OK)
            status = check_norm(s, f, err);
        if (status != GQ_OK)                        /* steps after a bad one did nothing          */
            s->flying = 0;
    }
    *out = f->out;
    return status;
}
