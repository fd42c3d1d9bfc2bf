#include "train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "train/checkpoint.h"
#include "train/peak.h"
#include "train/trainer_private.h"

/* ---- one step -------------------------------------------------------------------------------------------------- */

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
        t->sample[i] = (gq_sample){
            .vision = t->step.live
                          ? (const void *)(b->frames + (size_t)i * gq_shard_frame_bytes(m))
                          : (const void *)(b->tokens + (size_t)i * gq_shard_token_count(m)),
            .question = q->q_ids,
            .nq = q->nq,
            .answer = q->a_ids,
            .na = q->na,
            .index = b->index[i]};
    }
}

static gq_status micro_batch(gq_trainer *t, int micro, gq_error *err)
{
    gq_batch  batch;
    gq_status s = gq_loader_next(t->loader, &batch, err);

    if (s != GQ_OK)
        return s;
    take_batch(t, &batch);
    s = gq_step_micro(&t->step, micro, t->sample, err);
    gq_loader_release(t->loader);
    return s;
}

static uint64_t per_step(const gq_trainer *t)
{
    return (uint64_t)(t->cfg.train.batch * t->cfg.train.accumulate);
}

/* Samples seen up to and with the step that info describes. */
static uint64_t samples_of(const gq_trainer *t)
{
    return t->state.samples - (t->state.step - (uint64_t)t->info.step) * per_step(t);
}

static void describe(gq_trainer *t, const gq_step_outcome *step, double seconds, double waited)
{
    gq_step_info *i = &t->info;
    int64_t       per = (int64_t)per_step(t);

    i->step = (int64_t)step->number + 1;
    i->total = t->cfg.train.steps;
    i->epoch = (int64_t)(samples_of(t) / (uint64_t)gq_dataset_count(t->data));
    i->masked = step->masked;
    i->lm_loss = step->lm;
    i->mvm_loss = step->mvm;
    i->loss = step->lm + (step->masked ? t->cfg.mvm.weight * step->mvm : 0.0);
    i->ppl = exp(step->lm);
    i->grad_norm = step->norm;
    i->lr = step->lr;
    i->seconds = seconds;
    i->samples_per_s = (double)per / seconds;
    i->tokens_per_s = ((double)step->tokens + (double)(per * t->step.n)) / seconds;
    i->gflops = step->flops / seconds / 1e9;
    i->data_wait_s = waited;
    i->gemm_peak = t->peak;
    i->rss = gq_rss_peak();
    t->steps_s += seconds;
    t->steps_here++;
    i->eta_s = t->steps_s / (double)t->steps_here * (double)(i->total - i->step);
}

static void add_to_epoch(gq_trainer *t, const gq_step_outcome *step)
{
    gq_run_state *r = &t->state;

    r->epoch_nll += step->lm * (double)step->counted;
    r->epoch_labels += step->counted;
    r->epoch_rows += step->hits;
    r->epoch_mvm += step->mvm;
    r->epoch_masked += step->masked;
    r->epoch_loss += t->info.loss;
    r->epoch_steps++;
}

gq_status gq__trainer_step(gq_trainer *t, gq_error *err)
{
    gq_status s = GQ_OK;

    if (t->step.flying == 0)
        t->settled = gq_now();
    gq_step_begin(&t->step, t->state.step, count_labels(t), gq_tokenizer_end_id(t->tok));
    if (t->cfg.train.overfit_batch)
        s = gq_loader_seek(t->loader, 0, err);
    for (int micro = 0; s == GQ_OK && micro < (int)t->cfg.train.accumulate; micro++)
        s = micro_batch(t, micro, err);
    if (s == GQ_OK)
        s = gq_step_end(&t->step, err);
    if (s != GQ_OK)
        return s;
    t->state.step++;
    t->state.samples += per_step(t);
    return GQ_OK;
}

/* The state goes back to the last good step: what was asked for after a bad one has done nothing. */
static void step_back(gq_trainer *t, uint64_t number)
{
    t->state.samples -= (t->state.step - number) * per_step(t);
    t->state.step = number;
}

static gq_status take_result(gq_trainer *t, gq_error *err)
{
    gq_step_outcome out;
    double          now, waited;
    gq_status       s = gq_step_result(&t->step, &out, err);

    if (s != GQ_OK) {
        step_back(t, out.number);
        return s;
    }
    now = gq_now();
    waited = gq_loader_wait_seconds(t->loader);
    describe(t, &out, now - t->settled, waited - t->waited);
    t->settled = now;
    t->waited = waited;
    add_to_epoch(t, &out);
    return GQ_OK;
}

/* Lines of the step that info describes, and of an epoch that ends with it. */
static gq_status log_result(gq_trainer *t, gq_error *err)
{
    uint64_t  count = (uint64_t)gq_dataset_count(t->data), samples = samples_of(t);
    gq_status s = gq__trainer_log_step(t, err);

    if (s == GQ_OK && (samples / count != (samples - per_step(t)) / count || t->info.step == t->info.total))
        s = gq__trainer_log_epoch(t, (int64_t)((samples - 1) / count), err);
    return s;
}

gq_status gq__trainer_settle(gq_trainer *t, int most, gq_error *err)
{
    gq_status s = GQ_OK;

    while (s == GQ_OK && t->step.flying > most) {
        s = take_result(t, err);
        if (s == GQ_OK && t->dir.log)   /* a dry run has nothing to write to                      */
            s = log_result(t, err);
    }
    return s;
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
    gq_status        s = open_predictions(t, &p.file, err), closed;

    if (s == GQ_OK)
        s = gq_evaluate(t->net, t->val, t->tok, &o, &e, err);
    closed = gq_append_close(p.file, err);
    if (s == GQ_OK)
        s = closed;
    if (s == GQ_OK)                     /* before a checkpoint says that this step was evaluated */
        s = gq_sync_dir(t->dir.path, err);
    if (s != GQ_OK) {
        gq_evaluation_free(&e);
        return s;
    }
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
        s = gq__trainer_products_keep(t, err);
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

/* What follows a step: evaluation, checkpoint, for which all results must be there. On a device the results of
 * other steps are taken when the next one has been asked for. An evaluation cut short by a stop is made up
 * for on resume, because the state says which step was evaluated last. */
static gq_status after_step(gq_trainer *t, gq_error *err)
{
    int64_t   step = (int64_t)t->state.step, total = t->cfg.train.steps;
    bool      best = false;             /* the best checkpoint so far is kept: it must be written */
    bool      evaluates = t->val && due(step, t->cfg.train.eval_every, total);
    bool      rests = evaluates || due(step, t->cfg.train.save_every, total) || stopping(t);
    bool      ahead = t->step.device && t->cfg.train.accumulate == 1 && !rests;
    gq_status s = gq__trainer_settle(t, ahead ? 1 : 0, err);

    if (s == GQ_OK && evaluates) {
        s = evaluate(t, err);
        best = s == GQ_OK && t->state.best_step == t->state.step;
        if (s == GQ_ESTOPPED) {
            gq_error_clear(err);
            return stop(t, err);
        }
    }
    if (s == GQ_OK && stopping(t) && step < total) {
        s = gq__trainer_settle(t, 0, err);
        return s == GQ_OK ? stop(t, err) : s;
    }
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
    if (s != GQ_OK)                     /* lines of steps that are done                           */
        gq__trainer_settle(t, 0, NULL);
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
        gq_cost c = gq_tape_cost(t->net->pass[i]->tape);
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
    if (s == GQ_OK) {
        gq_net_release(t->net, t->pixels);
        s = gq__trainer_stage(t, 0, err);
    }
    if (s == GQ_OK) {
        add_up(t, out);
        out->gemm_peak = gq_measure_gemm(t->net->engine, 0.2);
        out->predicted_s = out->gemm_peak > 0 ? out->flops / (0.8e9 * out->gemm_peak) : 0.0;
        s = gq__trainer_step(t, err);
        if (s == GQ_OK)
            s = gq__trainer_settle(t, 0, err);
        out->measured_s = t->info.seconds;
        out->loss = t->info.loss;
    }
    if (t)
        gq__trainer_close(t);
    gq_free(t);
    return s;
}
