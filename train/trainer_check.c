/* trainer_check.c - what a configuration asks for, held against the data and the model before the first step: names
 * that match nothing are said, since a misspelt one would silently do nothing, and sizes that cannot work are refused. */
#include <math.h>
#include <stdio.h>

#include "train/trainer_private.h"

/* ---- names --------------------------------------------------------------------------------------- */

static void note_pattern(gq_trainer *t, const char *key, const char *pattern)
{
    const gq_params *p = t->net->params;

    for (int32_t i = 0; i < p->count; i++)
        if (gq_glob(pattern, p->param[i].name))
            return;
    gq__trainer_note(t, "%s: '%s' matches no parameter of this model", key, pattern);
}

static void note_kind(gq_trainer *t, const char *key, const char *name)
{
    if (gq_shard_type(gq_dataset_meta(t->data), name) < 0)
        gq__trainer_note(t, "%s: the data has no question of the kind '%s'", key, name);
}

static void note_names(gq_trainer *t)
{
    const gq_config *c = &t->cfg;

    for (size_t i = 0; i < c->init.rules.n; i++)
        note_pattern(t, "init.rules", c->init.rules.item[i].match);
    for (size_t i = 0; i < c->train.groups.n; i++)
        note_pattern(t, "train.groups", c->train.groups.item[i].match);
    for (size_t i = 0; i < c->train.stages.n; i++) {
        const gq_stage *s = &c->train.stages.item[i];
        for (size_t k = 0; k < s->freeze.n; k++)
            note_pattern(t, "train.stages", s->freeze.glob[k]);
        for (size_t k = 0; k < s->kinds.n; k++)
            note_kind(t, "train.stages", s->kinds.name[k]);
    }
    for (size_t i = 0; i < c->train.mix.n; i++)
        note_kind(t, "train.mix", c->train.mix.name[i]);
}

/* ---- sizes --------------------------------------------------------------------------------------- */

gq_status gq__trainer_check(gq_trainer *t, gq_error *err)
{
    int32_t     tokens = gq_tokenizer_vocab_size(t->tok);
    gq_language l = gq_net_language(&t->cfg);

    note_names(t);
    if (tokens > l.vocab)
        return gq_fail(err, GQ_ECONFIG,
                       "%s: %d rows are too few for the %d tokens of the data's vocabulary",
                       l.vocab_key, (int)l.vocab, (int)tokens);
    return GQ_OK;
}

void gq__trainer_memory(const gq_trainer *t, gq_dry_run *out)
{
    gq_step_bytes b = gq_step_plan(t->net);

    out->param_bytes = b.param;
    out->state_bytes = b.state;
    out->act_bytes = b.act;
    out->temp_bytes = b.temp;
    out->host_bytes = b.host;
}

/* The plan as a table, behind what is wrong with it. excess: bytes too many; below 0: unknown. */
static gq_status refuse(const gq_trainer *t, const char *what, double excess, gq_error *err)
{
    const gq_config *c = &t->cfg;
    bool             segment = c->train.checkpoint == GQ_CFG_POLICY_SEGMENT;
    gq_dry_run       d = {0};
    char             remedy[160] = "";
    double           moves, batch;

    gq__trainer_memory(t, &d);
    moves = d.act_bytes + d.host_bytes;             /* what grows and shrinks with the batch      */
    batch = moves > 0 && excess < moves ? floor((double)c->train.batch * (1.0 - excess / moves)) : 0.0;
    if (excess >= 0)
        snprintf(remedy, sizeof remedy, "\n%s%.0f%s",
                 batch >= 1 ? "train.batch: the largest that fits is about "
                            : "not even one question fits (train.batch: ",
                 batch >= 1 ? batch : 1.0, batch >= 1 ? segment ? "" : "; or set train.checkpoint: segment" : ")");
    return gq_fail(err, GQ_ENOMEM,
                   "%s\n  parameters   %15.0f\n  state        %15.0f\n  activations  %15.0f\n"
                   "  workspace    %15.0f\n  inputs       %15.0f%s",
                   what, d.param_bytes, d.state_bytes, d.act_bytes, d.temp_bytes, d.host_bytes, remedy);
}

/* What is still to be taken against what the device has left. */
static gq_status fits_device(const gq_trainer *t, double sum, gq_error *err)
{
    const gq_engine *e = t->net->engine;
    gq_device       *d = e->backend->device;
    double           missing = (double)(e->act.bytes - e->act.held) + (double)(e->temp.bytes - e->temp.held);
    size_t           room, total;
    char             what[200];

    d->room(d, &room, &total);
    if (missing <= (double)room)
        return GQ_OK;
    snprintf(what, sizeof what,
             "GPU memory: the plan needs %.0f bytes, %.0f of them are still to be taken, and %zu of %zu are free",
             sum, missing, room, total);
    return refuse(t, what, missing - (double)room, err);
}

static gq_status fits(const gq_trainer *t, gq_error *err)
{
    double     limit = (double)t->cfg.engine.memory_limit, sum;
    gq_dry_run d = {0};
    char       what[160];

    gq__trainer_memory(t, &d);
    sum = d.param_bytes + d.state_bytes + d.act_bytes + d.temp_bytes + d.host_bytes;
    if (limit > 0 && sum > limit) {
        snprintf(what, sizeof what, "engine.memory_limit: the plan needs %.0f bytes and %.0f are allowed", sum,
                 limit);
        return refuse(t, what, sum - limit, err);
    }
    return t->net->engine->backend->device ? fits_device(t, sum, err) : GQ_OK;
}

gq_status gq__trainer_plan(gq_trainer *t, gq_error *err)
{
    gq_engine *e = t->net->engine;
    gq_error   why = {0};
    char       what[400];
    gq_status  s;

    gq_engine_plan(e);
    s = gq__trainer_record(t, t->cfg.mvm.enable, &why);
    if (s == GQ_OK && (s = fits(t, err)) != GQ_OK)
        return s;
    if (s == GQ_OK)
        s = gq_engine_reserve(e, &why);
    if (s == GQ_ENOMEM && e->backend->device) {     /* in pieces, or somebody else took it        */
        snprintf(what, sizeof what, "%s; GPU memory, planned so far:", why.text);
        return refuse(t, what, -1.0, err);
    }
    return s == GQ_OK ? GQ_OK : gq_fail(err, s, "%s", why.text);
}
