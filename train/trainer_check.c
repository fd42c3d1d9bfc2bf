/* trainer_check.c - what a configuration asks for, held against the data and the model before the first step: names
 * that match nothing are said, since a misspelt one would silently do nothing, and sizes that cannot work are refused. */
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
    int32_t tokens = gq_tokenizer_vocab_size(t->tok);

    note_names(t);
    if (tokens > t->cfg.gpt2.vocab)
        return gq_fail(err, GQ_ECONFIG,
                       "gpt2.vocab: %d rows are too few for the %d tokens of the data's vocabulary",
                       (int)t->cfg.gpt2.vocab, (int)tokens);
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

gq_status gq__trainer_fits(const gq_trainer *t, gq_error *err)
{
    double     limit = (double)t->cfg.engine.memory_limit, sum;
    gq_dry_run d = {0};

    gq__trainer_memory(t, &d);
    sum = d.param_bytes + d.state_bytes + d.act_bytes + d.temp_bytes + d.host_bytes;
    if (limit <= 0 || sum <= limit)
        return GQ_OK;
    return gq_fail(err, GQ_ENOMEM,
                   "engine.memory_limit: the plan needs %.0f bytes (parameters %.0f, state %.0f, "
                   "activations %.0f, workspace "
                   "%.0f, inputs %.0f) and %.0f are allowed: lower train.batch or set "
                   "train.checkpoint: segment",
                   sum, d.param_bytes, d.state_bytes, d.act_bytes, d.temp_bytes, d.host_bytes,
                   limit);
}
