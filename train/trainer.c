#include "train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "train/checkpoint.h"
#include "train/peak.h"
#include "train/schedule.h"
#include "train/trainer_private.h"

/* ---- one step -------------------------------------------------------------------------------------------------- */

typedef struct step_sums {
    double   lm, mvm, flops;            /* of the step                                            */
    uint64_t labels, hits, tokens;      /* counted rows, right ones, text tokens                  */
} step_sums;

static uint64_t first_position(const gq_trainer *t)
{
    return t->cfg.train.overfit_batch ? 0 : t->state.samples;
}

/* Labels of the whole step: every micro-batch is scaled by the same denominator. */
static uint64_t count_labels(const gq_trainer *t)
{
    uint64_t n = (uint64_t)(t->cfg.train.batch * t->cfg.train.accumulate), sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        gq_qa qa;
        gq_dataset_qa(t->data, gq_loader_index(t->loader, first_position(t) + i), &qa);
        sum += (uint64_t)qa.na + 1;
    }
    return sum;
}

static void take_batch(gq_trainer *t, const gq_batch *b)
{
    const gq_shard_meta *m = gq_dataset_meta(t->data);

    for (int32_t i = 0; i < b->count; i++) {
        const gq_qa *q = &b->qa[i];
        t->sample[i] =
            (gq_sample){.question = q->q_ids, .nq = q->nq, .answer = q->a_ids, .na = q->na};
        t->sample[i].vision = t->live
                                  ? (const void *)(b->frames + (size_t)i * gq_shard_frame_bytes(m))
                                  : (const void *)(b->tokens + (size_t)i * gq_shard_token_count(m));
    }
}

static void draw_masks(gq_trainer *t, gq_mask_key key, int micro)
{
    int64_t d = t->cfg.gpt2.width;
    for (int b = 0; b < (int)t->cfg.train.batch; b++) {
        uint32_t slot = (uint32_t)(micro * (int)t->cfg.train.batch + b);
        if (t->elements)
            gq_mask_elements(&t->cfg, key, slot, t->n * d, t->elements + (int64_t)b * t->n * d);
        gq_mask_tokens(&t->cfg, key, slot, t->n, t->keep + b * t->n);
    }
}

static void collect(gq_trainer *t, gq_stllm_tape *h, step_sums *sum)
{
    gq_cost cost = gq_tape_cost(h->tape);
    float   stats[2];
    int     r = 0;

    sum->lm += gq_scalar(h->tape, h->lm_loss);
    sum->mvm += h->mvm_loss.i ? gq_scalar(h->tape, h->mvm_loss) : 0.0;
    sum->flops += cost.fwd_flops + cost.bwd_flops;
    for (int b = 0; b < h->shape.batch; b++) {
        sum->tokens += (uint64_t)(t->sample[b].nq + t->sample[b].na + 1);
        for (int k = 0; k <= t->sample[b].na; k++, r++) {
            gq_get_real(h->tape, h->stats, 2 * r, stats, 2);
            sum->hits += stats[1] > 0.5f;
        }
    }
}

static gq_status micro_batch(gq_trainer *t, int micro, bool masked, const gq_feed_opts *o,
                             step_sums *sum, gq_error *err)
{
    gq_mask_key    key = {t->cfg.train.seed, (uint32_t)t->state.step};
    gq_batch       batch;
    gq_stllm_shape shape;
    gq_stllm_tape *h;
    gq_status      s = gq_loader_next(t->loader, &batch, err);

    if (s != GQ_OK)
        return s;
    take_batch(t, &batch);
    if (masked)
        draw_masks(t, key, micro);
    gq_feed_shape(&t->cfg, t->sample, batch.count, t->live, masked, true, masked ? t->keep : NULL,
                  &shape);
    shape = gq__trainer_shape(t, shape.text, t->cfg.mvm.mode == GQ_CFG_MVM_DROP ? shape.kept : t->n,
                              masked);
    s = gq_net_pass(t->net, &shape, &h, err);
    if (s == GQ_OK) {
        t->tape = h->tape;
        gq_feed(&t->cfg, t->sample, masked ? t->keep : NULL, masked ? t->elements : NULL, o, h);
        t->net->engine->step = (gq_step_block){
            .seed = t->cfg.train.seed, .step = (uint32_t)t->state.step, .micro = (uint32_t)micro};
        s = gq_forward(h->tape, err);
    }
    if (s == GQ_OK)
        s = gq_backward(h->tape, micro > 0, err);
    if (s == GQ_OK) {
        collect(t, h, sum);
        if (t->cfg.train.finite_check && !(isfinite(sum->lm) && isfinite(sum->mvm))) {
            char what[256] = "loss";
            gq_find_nonfinite(h->tape, what, sizeof what);
            s = gq_fail(err, GQ_ENUMERIC,
                        "step %" PRIu64
                        ": the first value that is not finite is in the %s; question %lld; the "
                        "step was not applied",
                        t->state.step, what, (long long)batch.index[0]);
        }
    }
    gq_loader_release(t->loader);
    return s;
}

/* The gradient norm is where a bad value anywhere in backward ends up; the pass is run again to find the op. Of
 * several micro-batches that is the last: what the others read is gone. */
static gq_status bad_gradient(gq_trainer *t, gq_error *err)
{
    char what[256] = "gradient";
    gq_find_nonfinite(t->tape, what, sizeof what);
    return gq_fail(err, GQ_ENUMERIC,
                   "step %" PRIu64
                   ": the gradient norm is not finite, first in the %s; the step was not applied",
                   t->state.step, what);
}

static void update(gq_trainer *t, double norm)
{
    gq_adamw_opts o = {.lr = gq_learning_rate(&t->cfg, (int64_t)t->state.step, t->cfg.train.steps),
                       .beta1 = t->cfg.train.beta1,
                       .beta2 = t->cfg.train.beta2,
                       .eps = t->cfg.train.eps,
                       .clip = t->cfg.train.clip};
    t->info.lr = o.lr;
    gq_params_adamw(t->net->params, &o, (int64_t)t->state.step + 1, norm);
}

static void describe(gq_trainer *t, const step_sums *sum, bool masked, double norm, double seconds,
                     double waited)
{
    gq_step_info *i = &t->info;
    int64_t       per = t->cfg.train.batch * t->cfg.train.accumulate;

    i->step = (int64_t)t->state.step;
    i->total = t->cfg.train.steps;
    i->epoch = (int64_t)(t->state.samples / (uint64_t)gq_dataset_count(t->data));
    i->masked = masked;
    i->lm_loss = sum->lm;
    i->mvm_loss = sum->mvm;
    i->loss = sum->lm + (masked ? t->cfg.mvm.weight * sum->mvm : 0.0);
    i->ppl = exp(sum->lm);
    i->grad_norm = norm;
    i->seconds = seconds;
    i->samples_per_s = (double)per / seconds;
    i->tokens_per_s = ((double)sum->tokens + (double)(per * t->n)) / seconds;
    i->gflops = sum->flops / seconds / 1e9;
    i->data_wait_s = waited;
    i->gemm_peak = t->peak;
    i->rss = gq_rss_peak();
    t->steps_s += seconds;
    t->steps_here++;
    i->eta_s = t->steps_s / (double)t->steps_here * (double)(i->total - i->step);
}

static void add_to_epoch(gq_trainer *t, const step_sums *sum, bool masked)
{
    gq_run_state *r = &t->state;
    r->epoch_nll += sum->lm * (double)sum->labels;
    r->epoch_labels += sum->labels;
    r->epoch_rows += sum->hits;
    r->epoch_mvm += sum->mvm;
    r->epoch_masked += masked;
    r->epoch_loss += t->info.loss;
    r->epoch_steps++;
}

gq_status gq__trainer_step(gq_trainer *t, gq_error *err)
{
    gq_mask_key  key = {t->cfg.train.seed, (uint32_t)t->state.step};
    uint32_t     slots = (uint32_t)(t->cfg.train.batch * t->cfg.train.accumulate);
    bool         masked = gq_mask_step(&t->cfg, key);
    step_sums    sum = {.labels = count_labels(t)};
    gq_feed_opts o = {.inv_lm = 1.0 / (double)sum.labels, .end_id = gq_tokenizer_end_id(t->tok)};
    double       start = gq_now(), wait = gq_loader_wait_seconds(t->loader), norm;
    gq_status    s = GQ_OK;

    if (masked)
        o.inv_mvm = 1.0 / gq_mask_denominator(&t->cfg, key, slots, t->n);
    if (t->cfg.train.overfit_batch)
        s = gq_loader_seek(t->loader, 0, err);
    for (int micro = 0; s == GQ_OK && micro < (int)t->cfg.train.accumulate; micro++)
        s = micro_batch(t, micro, masked, &o, &sum, err);
    if (s != GQ_OK)
        return s;
    norm = gq_params_grad_norm(t->net->params);
    if (!isfinite(norm))
        return bad_gradient(t, err);
    update(t, norm);
    t->state.step++;
    t->state.samples += slots;
    describe(t, &sum, masked, norm, gq_now() - start, gq_loader_wait_seconds(t->loader) - wait);
    add_to_epoch(t, &sum, masked);
    return GQ_OK;
}

/* ---- evaluation --------------------------------------------------------------------------------------------------- */

typedef struct probe { gq_trainer *t; gq_append *file; } probe;

static gq_status answered(void *ctx, const gq_answered *a, gq_error *err)
{
    probe *p = ctx;
    if (a->index < p->t->cfg.train.probe)
        gq__trainer_note(p->t, "probe: %s -> %s (right: %s, confidence %.2f)", a->question,
                         a->prediction, a->reference, a->confidence);
    return gq_prediction_write(p->file, a, err);
}

static gq_status open_predictions(gq_trainer *t, gq_append **out, gq_error *err)
{
    char     *path = gq_path(t->dir.path, "predictions.jsonl");
    gq_status s = path ? gq_append_open(path, out, err) : gq_fail(err, GQ_ENOMEM, "out of memory");
    if (s == GQ_OK)
        s = gq_append_truncate(*out, 0, err);
    gq_free(path);
    return s;
}

static gq_status evaluate(gq_trainer *t, gq_error *err)
{
    probe            p = {.t = t};
    gq_evaluate_opts o = {.samples = t->cfg.train.eval_samples,
                          .loss = true,
                          .answered = answered,
                          .ctx = &p,
                          .stop = t->o->stop};
    gq_evaluation    e = {0};
    double           score;
    bool             best;
    gq_status        s = open_predictions(t, &p.file, err);

    if (s == GQ_OK)
        s = gq_evaluate(t->net, t->val, t->tok, &o, &e, err);
    gq_append_close(p.file, NULL);
    if (s != GQ_OK)
        return s;
    score = e.table.rows[0].value[GQ_METRIC_EXACT];
    best = score >= t->state.best; /* of equals the later one: its learning rate is lower  */
    if (best) {
        t->state.best = score;
        t->state.best_step = t->state.step;
    }
    t->state.evaluated_step = t->state.step;
    s = gq__trainer_log_evaluation(t, &e, err);
    if (s == GQ_OK && t->o->events.evaluated)
        t->o->events.evaluated(t->o->events.ctx, (int64_t)t->state.step, &e, best);
    gq_evaluation_free(&e);
    return s;
}

/* ---- the loop -------------------------------------------------------------------------------------------------------- */

static bool due(int64_t step, int64_t every, int64_t total)
{
    return step == total || (every > 0 && step % every == 0);
}

static gq_status save(gq_trainer *t, gq_error *err)
{
    gq_status s =
        gq_append_sync(t->dir.metrics, err); /* the log is never shorter than a checkpoint says */
    t->state.metrics_bytes = gq_append_size(t->dir.metrics);
    if (s == GQ_OK)
        s = gq_snapshot_save(t->net, t->dir.path, &t->state, err);
    if (s == GQ_OK)
        s = gq_ckpt_rotate(t->dir.path, (int)t->cfg.train.keep_last, t->state.best_step,
                           t->state.step, err);
    return s;
}

static bool stopping(const gq_trainer *t)
{
    return t->o->stop && *t->o->stop;
}

static gq_status stop(gq_trainer *t, gq_error *err)
{
    gq_status s = save(t, err);
    if (s != GQ_OK)
        return s;
    gq_rundir_note(&t->dir, "stopped on request at step %" PRIu64 ", state saved", t->state.step);
    return gq_fail(err, GQ_ESTOPPED,
                   "stopped on request at step %" PRIu64
                   ": the state is saved, run the same command to continue",
                   t->state.step);
}

/* What follows a step: epoch and step lines, evaluation, checkpoint. An evaluation cut short by a stop is made up
 * for on resume, because the state says which step was evaluated last. */
static gq_status after_step(gq_trainer *t, gq_error *err)
{
    int64_t   step = (int64_t)t->state.step, total = t->cfg.train.steps;
    uint64_t  count = (uint64_t)gq_dataset_count(t->data),
             per = (uint64_t)(t->cfg.train.batch * t->cfg.train.accumulate);
    bool      best = false;             /* the best checkpoint so far is kept: it must be written */
    gq_status s = gq__trainer_log_step(t, err);

    if (s == GQ_OK &&
        (t->state.samples / count != (t->state.samples - per) / count || step == total))
        s = gq__trainer_log_epoch(t, (int64_t)((t->state.samples - 1) / count), err);
    if (s == GQ_OK && t->val && due(step, t->cfg.train.eval_every, total)) {
        s = evaluate(t, err);
        best = s == GQ_OK && t->state.best_step == t->state.step;
        if (s == GQ_ESTOPPED) {
            gq_error_clear(err);
            return stop(t, err);
        }
    }
    if (s == GQ_OK && stopping(t) && step < total)
        return stop(t, err);
    if (s == GQ_OK && (best || due(step, t->cfg.train.save_every, total)))
        s = save(t, err);
    return s;
}

/* The evaluation that a stop cut short; what it says about the best belongs to this step's checkpoint. */
static gq_status catch_up(gq_trainer *t, gq_error *err)
{
    int64_t   step = (int64_t)t->state.step;
    gq_status s;

    if (!t->val || step == 0 || t->state.evaluated_step == t->state.step ||
        !due(step, t->cfg.train.eval_every, t->cfg.train.steps))
        return GQ_OK;
    s = evaluate(t, err);
    if (s == GQ_ESTOPPED) {
        gq_error_clear(err);
        return stop(t, err);
    }
    return s == GQ_OK ? save(t, err) : s;
}

static gq_status loop(gq_trainer *t, gq_error *err)
{
    gq_status s = catch_up(t, err);

    while (s == GQ_OK && (int64_t)t->state.step < t->cfg.train.steps) {
#ifdef GIFQA_CHECKED
        uint64_t calls = gq_mem_count();
        int64_t  stage = t->stage;
#endif
        s = gq__trainer_stage(t, (int64_t)t->state.step, err);
        if (s == GQ_OK)
            s = gq__trainer_step(t, err);
#ifdef GIFQA_CHECKED
        if (s == GQ_OK && t->steps_here > 1 && stage == t->stage && gq_mem_count() != calls)
            s = gq_fail(err, GQ_EBUG, "step %" PRIu64 " allocated memory %" PRIu64 " times",
                        t->state.step, gq_mem_count() - calls);
#endif
        if (s == GQ_OK)
            s = after_step(t, err);
    }
    return s;
}

/* A start that does no step looks like one that trained: it is said. */
static void say_finished(gq_trainer *t)
{
    if ((int64_t)t->state.step >= t->cfg.train.steps)
        gq__trainer_note(t,
                         "nothing to do: the run is at step %" PRIu64
                         " of %lld; a larger train.steps continues it",
                         t->state.step, (long long)t->cfg.train.steps);
}

gq_status gq_train(const gq_config *c, const gq_train_opts *o, gq_train_result *out, gq_error *err)
{
    gq_trainer *t = gq_calloc(1, sizeof *t);
    gq_status   s = t ? gq__trainer_open(t, c, o, err) : gq_fail(err, GQ_ENOMEM, "out of memory");

    memset(out, 0, sizeof *out);
    if (s == GQ_OK) {
        say_finished(t);
        t->peak = gq_measure_gemm(t->net->engine, 0.05);
        s = loop(t, err);
    }
    if (t) {
        bool stepped = t->steps_here > 0;
        *out = (gq_train_result){.steps = (int64_t)t->state.step,
                                 .resumed_from = t->resumed_from,
                                 .loss = stepped ? t->info.loss : NAN,
                                 .lm_loss = stepped ? t->info.lm_loss : NAN,
                                 .mvm_loss = t->info.masked ? t->info.mvm_loss : NAN,
                                 .best = t->state.best,
                                 .seconds = gq_now() - t->started,
                                 .rss = gq_rss_peak()};
        if (s != GQ_OK && s != GQ_ESTOPPED && t->dir.log)
            gq_rundir_note(&t->dir, "ended: %s", err->text);
        if (s != GQ_OK && !stepped)
            gq_rundir_discard(&t->dir);
        gq__trainer_close(t);
    }
    gq_free(t);
    return s;
}

/* ---- dry run -------------------------------------------------------------------------------------------------------- */

static void add_up(const gq_trainer *t, gq_dry_run *out)
{
    const gq_params *p = t->net->params;

    gq__trainer_memory(t, out);
    for (int i = 0; i < t->net->passes; i++) {
        gq_cost c = gq_tape_cost(t->net->pass[i]->h.tape);
        double  flops = (c.fwd_flops + c.bwd_flops) * (double)t->cfg.train.accumulate;
        out->flops = flops > out->flops ? flops : out->flops;
    }
    for (int32_t i = 0; i < p->count; i++) {
        out->total += p->param[i].n;
        out->trained += p->param[i].trainable ? p->param[i].n : 0;
    }
}

gq_status gq_train_dry_run(const gq_config *c, gq_dry_run *out, gq_error *err)
{
    gq_train_opts  o = {0};
    gq_net_report  report;
    gq_trainer    *t = gq_calloc(1, sizeof *t);
    gq_status      s = t ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");

    memset(out, 0, sizeof *out);
    if (s == GQ_OK) {
        t->cfg = *c;
        t->o = &o;
        t->stage = -1;
        s = gq__trainer_data(t, err);
    }
    if (s == GQ_OK)
        s = gq_run_tokenizer(&t->cfg, NULL, gq_dataset_meta(t->data), &t->tok, err);
    if (s == GQ_OK)
        s = gq_net_open(&t->cfg, GQ_NET_TRAIN, true, &t->net, &report, err);
    if (s == GQ_OK)
        s = gq__trainer_check(t, err);
    if (s == GQ_OK)
        s = gq__trainer_stage(t, 0, err);
    if (s == GQ_OK) {
        add_up(t, out);
        out->gemm_peak = gq_measure_gemm(t->net->engine, 0.2);
        out->predicted_s = out->gemm_peak > 0 ? out->flops / (0.8e9 * out->gemm_peak) : 0.0;
        s = gq__trainer_step(t, err);
        out->measured_s = t->info.seconds;
        out->loss = t->info.loss;
    }
    if (t)
        gq__trainer_close(t);
    gq_free(t);
    return s;
}
