/* trainer_open.c - everything before the first step: data, net, resume, passes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "train/checkpoint.h"
#include "train/trainer_private.h"

/* ---- data ---------------------------------------------------------------------------------------------------- */

/* Mix weights become places in a block: whole weights as they are, others in hundredths. */
static uint32_t places(double weight, bool whole)
{
    double v = whole ? weight : 100.0 * weight;
    return v >= 1000.0 ? 1000 : (uint32_t)(v + 0.5);
}

static bool mix_is_whole(const gq_mix *m)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->weight[i] != floor(m->weight[i]))
            return false;
    return true;
}

static void stage_weights(const gq_config *c, const gq_dataset *d, const gq_kinds *kinds,
                          gq_loader_stage *s)
{
    bool whole = mix_is_whole(&c->train.mix);

    memset(s->weight, 0, sizeof s->weight);
    if (kinds->n == 0 && c->train.mix.n == 0)
        return;                                     /* plain epochs                               */
    for (int k = 0; k < gq_dataset_meta(d)->ntypes; k++) {
        const char *name = gq_dataset_type_name(d, k);
        if (gq_kinds_has(kinds, name))
            s->weight[k] =
                places(kinds->n ? 1.0 : gq_mix_weight(&c->train.mix, name), kinds->n || whole);
    }
}

static gq_status open_loader(gq_trainer *t, gq_error *err)
{
    static const gq_kinds all;
    const gq_config *c = &t->cfg;
    uint64_t         per_step = (uint64_t)(c->train.batch * c->train.accumulate);
    gq_loader_stage *stage = gq_calloc(c->train.stages.n + 1, sizeof *stage);
    gq_loader_opts        o = {.batch = (int32_t)c->train.batch,
                               .threads = (int32_t)c->data.workers,
                               .ring = (int32_t)c->data.ring,
                               .seed = c->train.seed,
                               .shuffle = true,
                               .frames = t->step.live,
                               .tokens = !t->step.live && t->cfg.model.kind == GQ_CFG_KIND_STLLM,
                               .max_bad = (uint32_t)c->data.max_bad,
                               .stage = stage};
    uint64_t         first = 0;
    gq_status        s;

    if (!stage)
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    for (size_t i = 0; i <= c->train.stages.n; i++) {
        const gq_stage *from = i < c->train.stages.n ? &c->train.stages.item[i] : NULL;
        uint64_t        end =
            from ? per_step * (uint64_t)gq_amount_steps(from->until, c->train.steps) : UINT64_MAX;
        if (end <= first && from)
            continue;                               /* a share of a short run may be no step */
        stage[o.stages].first = first;
        stage_weights(c, t->data, from ? &from->kinds : &all, &stage[o.stages]);
        o.stages++;
        first = end;
    }
    s = gq_loader_open(t->data, &o, &t->loader, err);
    gq_free(stage);
    return s;
}

static int compare_int(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Which padded text lengths occur, and the most labelled rows a sample has: passes are recorded for these. */
static gq_status survey(gq_trainer *t, bool live, gq_error *err)
{
    int64_t count = gq_dataset_count(t->data);
    int     answer = 0, most = 0, n = gq_net_visual(&t->cfg);

    for (int64_t i = 0; i < count; i++) {
        gq_qa qa;
        int   text, k;
        gq_dataset_qa(t->data, i, &qa);
        text = gq_feed_text(&t->cfg, qa.nq, qa.na);
        most = text > most ? text : most;
        answer = qa.na > answer ? qa.na : answer;
        for (k = 0; k < t->texts && t->text[k] != text; k++)
            ;
        if (k == t->texts && t->texts < GQ_TEXT_SHAPES)
            t->text[t->texts++] = text;
    }
    if (t->cfg.model.kind == GQ_CFG_KIND_STLLM && n + most > t->cfg.gpt2.positions)
        return gq_fail(err, GQ_EINPUT,
                       "%s: the longest question and answer need %d positions beside %d visual "
                       "tokens; gpt2.positions"
                       " is %d: lower prompt.max_question_tokens and build again",
                       gq_dataset_dir(t->data), most, n, (int)t->cfg.gpt2.positions);
    qsort(t->text, (size_t)t->texts, sizeof *t->text, compare_int);
    t->sample = gq_calloc((size_t)t->cfg.train.batch, sizeof *t->sample);
    if (!t->sample)
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    return gq_step_open(&t->step, &t->cfg, live, (int)t->cfg.train.batch * gq_feed_labels(answer),
                        err);
}

static gq_status open_shards(const gq_paths *p, gq_dataset **out, gq_error *err)
{
    const char *path[GQ_SHARDS_MAX];

    for (size_t i = 0; i < p->n; i++)
        path[i] = p->path[i];
    return gq_dataset_open_list(path, (int)p->n, out, err);
}

static bool same_tokenizer(const gq_dataset *a, const gq_dataset *b)
{
    return strcmp(gq_dataset_meta(a)->tokenizer_sha256, gq_dataset_meta(b)->tokenizer_sha256) == 0;
}

/* Both sets, checked now: what evaluation needs should not be missed hours later. */
static gq_status open_data(gq_trainer *t, bool *live, gq_error *err)
{
    const gq_config *c = &t->cfg;
    bool             val_live = false;
    gq_status        s;

    if (c->data.train.n == 0)
        return gq_fail(err, GQ_ECONFIG,
                       "data.train: name the directories made by 'gifqa-prep build'");
    s = open_shards(&c->data.train, &t->data, err);
    if (s == GQ_OK && c->data.val.n)
        s = open_shards(&c->data.val, &t->val, err);
    if (s == GQ_OK)
        s = gq_data_fits(c, t->data, live, err);
    if (s == GQ_OK && t->val)
        s = gq_data_fits(c, t->val, &val_live, err);
    t->pixels = *live || val_live;
    if (s == GQ_OK && t->val && !same_tokenizer(t->val, t->data))
        s = gq_fail(err, GQ_EINPUT,
                    "%s: made with another tokenizer than %s: build it again with --tokenizer "
                    "%s/tokenizer",
                    gq_dataset_dir(t->val), gq_dataset_dir(t->data), gq_dataset_dir(t->data));
    if (s == GQ_OK && gq_dataset_count(t->data) == 0)
        s = gq_fail(err, GQ_EINPUT, "%s: there is no question in it", gq_dataset_dir(t->data));
    return s;
}

gq_status gq__trainer_data(gq_trainer *t, gq_error *err)
{
    gq_config *c = &t->cfg;
    bool       live;
    gq_status  s = open_data(t, &live, err);

    if (s != GQ_OK)
        return s;
    if (c->train.steps == 0) {
        int64_t per = c->train.batch * c->train.accumulate, count = gq_dataset_count(t->data);
        c->train.steps = (c->train.epochs * count + per - 1) / per;
    }
    s = survey(t, live, err);
    if (s == GQ_OK)
        s = open_loader(t, err);
    return s;
}

/* ---- passes --------------------------------------------------------------------------------------------------- */

gq_status gq__trainer_record(gq_trainer *t, bool masked_too, gq_error *err)
{
    gq_status s = GQ_OK;

    t->step.net = t->net;
    for (int i = 0; s == GQ_OK && i < t->texts; i++)
        s = gq_step_record(&t->step, t->text[i], masked_too, err);
    return s;
}

gq_status gq__trainer_stage(gq_trainer *t, int64_t step, gq_error *err)
{
    size_t    i = 0;
    gq_status s;

    while (i < t->cfg.train.stages.n &&
           step >= gq_amount_steps(t->cfg.train.stages.item[i].until, t->cfg.train.steps))
        i++;
    if ((int)i == t->stage)
        return GQ_OK;
    s = gq__trainer_settle(t, 0, err);
    if (s != GQ_OK)
        return s;
    t->stage = (int)i;
    gq_net_freeze(t->net, i < t->cfg.train.stages.n ? &t->cfg.train.stages.item[i].freeze : NULL);
    return gq__trainer_plan(t, err);
}

/* ---- resume ------------------------------------------------------------------------------------------------------ */

static void announce(void *ctx, const char *key, const char *a, const char *b)
{
    gq__trainer_note(ctx, "config differs from the run so far: %s was %s, is now %s", key, a, b);
}

static gq_status start_fresh(gq_trainer *t, gq_error *err)
{
    int       aside = 0;
    gq_status s = gq_ckpt_set_aside(t->dir.path, 0, &aside, err);

    if (s == GQ_OK && aside)
        gq__trainer_note(t, "starting from nothing: %d older checkpoints were set aside", aside);
    if (s == GQ_OK)
        s = gq_append_truncate(t->dir.metrics, 0, err);
    t->state = (gq_run_state){.best = -1.0, .best_step = GQ_CKPT_NONE};
    t->resumed_from = -1;
    return s;
}

/* Is this checkpoint, wherever it lies, one of this run's history? */
static bool is_own(const gq_trainer *t, const char *ckpt)
{
    gq_ckpt_manifest *m = gq_calloc(2, sizeof *m);
    char             *path = NULL;
    bool              own = m && gq_ckpt_manifest_read(ckpt, &m[0], NULL) == GQ_OK;

    if (own && (path = gq_ckpt_step_path(t->dir.path, m[0].step)) != NULL)
        own = gq_ckpt_manifest_read(path, &m[1], NULL) == GQ_OK &&
              memcmp(&m[0], &m[1], sizeof *m) == 0;
    gq_free(path);
    gq_free(m);
    return own;
}

/* The lines that belong to the checkpoint stay; those of another run are not here. */
static gq_status cut_metrics(gq_trainer *t, bool own, gq_error *err)
{
    if (!own)
        return gq_append_truncate(t->dir.metrics, 0, err);
    if (gq_append_size(t->dir.metrics) >= t->state.metrics_bytes)
        return gq_append_truncate(t->dir.metrics, t->state.metrics_bytes, err);
    gq__trainer_note(
        t, "%s/metrics.jsonl is shorter than it was at this step: lines are missing from it",
        t->dir.path);
    return GQ_OK;
}

static gq_status load(gq_trainer *t, const char *ckpt, bool own, gq_error *err)
{
    int       aside = 0;
    gq_status s = gq_snapshot_load(t->net, t->dir.path, ckpt, true, &t->state, err);

    if (s == GQ_OK && *t->state.tokenizer_sha256 &&
        strcmp(t->state.tokenizer_sha256, gq_dataset_meta(t->data)->tokenizer_sha256) != 0)
        s = gq_fail(
            err, GQ_EINPUT,
            "%s: made with another tokenizer than the data this run was trained on (%.12s...)",
            gq_dataset_dir(t->data), t->state.tokenizer_sha256);
    if (s == GQ_OK)
        s = cut_metrics(t, own, err);
    if (s == GQ_OK)
        s = gq_ckpt_set_aside(t->dir.path, own ? t->state.step : 0, &aside, err);
    if (!own) {
        t->state.best = -1.0;                       /* that checkpoint is elsewhere */
        t->state.best_step = GQ_CKPT_NONE;
    }
    t->resumed_from = (int64_t)t->state.step;
    if (s == GQ_OK)
        gq__trainer_note(t, "resumed at step %lld from %s", (long long)t->state.step, ckpt);
    if (s == GQ_OK && aside)
        gq__trainer_note(t, "%d checkpoints of another history were set aside", aside);
    return s;
}

/* The checkpoint a user names is verified like one that was found. */
static gq_status load_named(gq_trainer *t, const char *ckpt, bool own, gq_error *err)
{
    gq_status s = gq_is_dir(ckpt)
                      ? gq_ckpt_verify(ckpt, NULL, err)
                      : gq_fail(err, GQ_EWEIGHTS, "%s: there is no such checkpoint", ckpt);
    return s == GQ_OK ? load(t, ckpt, own, err) : s;
}

static gq_status resume(gq_trainer *t, bool *own_history, gq_error *err)
{
    gq_ckpt_found found = {0};
    gq_status     s = gq_ckpt_clean(t->dir.path, err);

    *own_history = false;
    if (s == GQ_OK && t->o->resume == GQ_RESUME_PATH) {
        *own_history = is_own(t, t->o->resume_path);
        return load_named(t, t->o->resume_path, *own_history, err);
    }
    if (s == GQ_OK && t->o->resume != GQ_RESUME_NEVER) {
        s = gq_ckpt_find(t->dir.path, true, &found, err);
        if (s == GQ_OK && found.broken)
            gq__trainer_note(t, "%s", found.notes);
    }
    *own_history = found.path != NULL;
    if (s == GQ_OK && found.path)
        s = load(t, found.path, true, err);
    else if (s == GQ_OK && t->o->resume == GQ_RESUME_MUST)
        s = gq_fail(err, GQ_EWEIGHTS, "%s: no healthy checkpoint to resume from", t->dir.path);
    else if (s == GQ_OK)
        s = start_fresh(t, err);
    gq_free(found.path);
    return s;
}

/* Says what differs from the run so far. Nothing is replaced before the state has been read: a configuration that
 * does not fit leaves the run as it was. */
static gq_status compare_config(gq_trainer *t, const gq_config *c, bool *replace, bool *overfitted,
                                gq_error *err)
{
    gq_config *old = gq_calloc(1, sizeof *old);
    bool       had = false;
    gq_status  s = old ? gq_rundir_config(&t->dir, c, old, &had, err)
                       : gq_fail(err, GQ_ENOMEM, "out of memory");

    *replace = s == GQ_OK && had && gq_config_diff(old, c, announce, t) > 0;
    *overfitted = s == GQ_OK && had && old->train.overfit_batch && !c->train.overfit_batch;
    gq_free(old);
    return s;
}

/* RUN/tokenizer; a run that starts from nothing takes that of its data again. */
/* The directory appears whole or not at all: a kill in between must not leave one that looks like a
 * tokenizer. (Found by random kills, tests/faults/kill.c.) */
static gq_status copy_tokenizer(gq_trainer *t, const char *path, gq_error *err)
{
    char     *part = gq_path(t->dir.path, ".tmp-tokenizer");
    gq_status s = part ? gq_remove_tree(part, err) : gq_fail(err, GQ_ENOMEM, "out of memory");

    if (s == GQ_OK)
        s = gq_tokenizer_save(t->tok, part, err);
    if (s == GQ_OK)
        s = gq_rename(part, path, err);
    gq_free(part);
    return s;
}

static gq_status keep_tokenizer(gq_trainer *t, gq_error *err)
{
    bool      anew = t->o->resume == GQ_RESUME_NEVER;
    char     *path = gq_path(t->dir.path, "tokenizer");
    gq_status s = path ? gq_run_tokenizer(&t->cfg, anew ? NULL : t->dir.path,
                                          gq_dataset_meta(t->data), &t->tok, err)
                       : gq_fail(err, GQ_ENOMEM, "out of memory");

    if (s == GQ_OK && anew)
        s = gq_remove_tree(path, err);
    if (s == GQ_OK && !gq_is_dir(path))
        s = copy_tokenizer(t, path, err);
    gq_free(path);
    return s;
}

static void report_weights(gq_trainer *t, const gq_net_report *r)
{
    static const char *const names[] = {"CLIP", "Q-Former", "GPT-2", "bridge and projection", "T5"};
    for (int f = 0; f < GQ_HF_FAMILIES; f++)
        if (r->given[f])
            gq__trainer_note(
                t, "%s weights: %d parameters matched, %d missing, %d tensors unused%s%s", names[f],
                r->family[f].matched, r->family[f].missing, r->family[f].unexpected,
                r->family[f].unexpected ? ", the first is " : "", r->family[f].first_unexpected);
}

/* Known once it is clear whether a checkpoint fills the parameters. */
static void report_start(gq_trainer *t, const gq_net_report *r, bool overfitted)
{
    char random[80] = "";

    if (t->resumed_from < 0)
        snprintf(random, sizeof random, "; %d tensors start from seeded random values", r->random);
    gq__trainer_note(t, "%lld parameters, %lld trained%s", (long long)r->total,
                     (long long)r->trained, random);
    if (overfitted)
        gq__trainer_note(t, "this run was made with train.overfit_batch and continues from the "
                            "overfitted weights; for a fresh start give another --run-dir, or "
                            "--resume never");
}

static gq_status open_state(gq_trainer *t, const gq_config *c, gq_error *err)
{
    gq_net_report report_of;
    bool          replace = false, overfitted = false, own;
    gq_status     s = compare_config(t, c, &replace, &overfitted, err);

    if (s == GQ_OK)
        s = keep_tokenizer(t, err);
    if (s == GQ_OK)
        s = gq_net_open(&t->cfg, GQ_NET_TRAIN, true, &t->net, &report_of, err);
    if (s != GQ_OK)
        return s;
    gq__trainer_note(t, "runs on %s", t->net->device);
    report_weights(t, &report_of);
    s = gq__trainer_check(t, err);
    if (s == GQ_OK)
        s = gq__trainer_products_take(t, err);
    if (s == GQ_OK)
        s = resume(t, &own, err);
    if (s == GQ_OK)
        report_start(t, &report_of, own && overfitted);
    if (s == GQ_OK && replace)
        s = gq_rundir_freeze(&t->dir, c, err);
    if (s == GQ_OK && !own)
        s = gq_snapshot_frozen(t->net, t->dir.path, &t->state, err);
    if (s == GQ_OK)                     /* what is frozen is in a file now                        */
        gq_net_release(t->net, t->pixels);
    memcpy(t->state.tokenizer_sha256, gq_dataset_meta(t->data)->tokenizer_sha256,
           sizeof t->state.tokenizer_sha256);
    return s;
}

gq_status gq__trainer_open(gq_trainer *t, const gq_config *c, const gq_train_opts *o, gq_error *err)
{
    gq_status s;

    memset(t, 0, sizeof *t);
    t->cfg = *c;
    t->o = o;
    t->stage = -1;
    t->started = gq_now();
    s = gq_rundir_open(o->run_dir, &t->dir, err);
    if (s == GQ_OK)
        s = gq__trainer_data(t, err);
    if (s == GQ_OK)
        s = open_state(t, c, err);
    if (s == GQ_OK)
        s = gq__trainer_stage(t, (int64_t)t->state.step, err);
    return s == GQ_OK ? gq_loader_seek(t->loader, t->state.samples, err) : s;
}

void gq__trainer_close(gq_trainer *t)
{
    gq_loader_close(t->loader);
    gq_net_close(t->net);
    gq_dataset_close(t->data);
    gq_dataset_close(t->val);
    gq_tokenizer_close(t->tok);
    gq_step_close(&t->step);
    gq_free(t->sample);
    gq_rundir_close(&t->dir);
}
