/* config_rules.c - what one key means for another: presets, "0 = from ...", and combinations that cannot work. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/config_load.h"

/* ---- resolution ------------------------------------------------------------------------------------- */

static void take(int64_t *field, int64_t from)
{
    if (*field == 0)
        *field = from;
}

static void resolve_clip(gq_config *c)
{
    static const struct {
        int64_t image_size, patch, width, layers, heads, text_width, text_layers, text_heads, vocab,
            context, proj;
    } preset[] = {
        [GQ_CFG_CLIP_B32] = {224, 32, 768, 12, 12, 512, 12, 8, 49408, 77, 512},
        [GQ_CFG_CLIP_B16] = {224, 16, 768, 12, 12, 512, 12, 8, 49408, 77, 512},
        [GQ_CFG_CLIP_L14] = {224, 14, 1024, 24, 16, 768, 12, 12, 49408, 77, 768},
    };
    if (c->clip.preset != GQ_CFG_CLIP_CUSTOM) {
        take(&c->clip.image_size, preset[c->clip.preset].image_size);
        take(&c->clip.patch, preset[c->clip.preset].patch);
        take(&c->clip.width, preset[c->clip.preset].width);
        take(&c->clip.layers, preset[c->clip.preset].layers);
        take(&c->clip.heads, preset[c->clip.preset].heads);
        take(&c->clip.text_width, preset[c->clip.preset].text_width);
        take(&c->clip.text_layers, preset[c->clip.preset].text_layers);
        take(&c->clip.text_heads, preset[c->clip.preset].text_heads);
        take(&c->clip.vocab, preset[c->clip.preset].vocab);
        take(&c->clip.context, preset[c->clip.preset].context);
        if (c->clip.proj < 0)
            c->clip.proj = preset[c->clip.preset].proj;
    }
    take(&c->clip.mlp, 4 * c->clip.width);
    take(&c->clip.text_mlp, 4 * c->clip.text_width);
}

static void resolve_gpt2(gq_config *c)
{
    static const struct { int64_t width, layers, heads; } preset[] = {
        [GQ_CFG_GPT2_124M] = {768, 12, 12},
        [GQ_CFG_GPT2_355M] = {1024, 24, 16},
        [GQ_CFG_GPT2_774M] = {1280, 36, 20},
        [GQ_CFG_GPT2_1558M] = {1600, 48, 25},
    };
    if (c->gpt2.preset != GQ_CFG_GPT2_CUSTOM) {
        take(&c->gpt2.width, preset[c->gpt2.preset].width);
        take(&c->gpt2.layers, preset[c->gpt2.preset].layers);
        take(&c->gpt2.heads, preset[c->gpt2.preset].heads);
        take(&c->gpt2.vocab, 50257);
        take(&c->gpt2.positions, 1024);
    }
    take(&c->gpt2.mlp, 4 * c->gpt2.width);
}

static void resolve_t5(gq_config *c)
{
    static const struct { int64_t width, head_width, heads, mlp, layers; } preset[] = {
        [GQ_CFG_T5_SMALL] = {512, 64, 8, 2048, 6},    [GQ_CFG_T5_BASE] = {768, 64, 12, 3072, 12},
        [GQ_CFG_T5_LARGE] = {1024, 64, 16, 4096, 24}, [GQ_CFG_FLAN_SMALL] = {512, 64, 6, 1024, 8},
        [GQ_CFG_FLAN_BASE] = {768, 64, 12, 2048, 12}, [GQ_CFG_FLAN_LARGE] = {1024, 64, 16, 2816, 24},
        [GQ_CFG_FLAN_XL] = {2048, 64, 32, 5120, 24},
    };
    bool first = c->t5.preset == GQ_CFG_T5_CUSTOM || c->t5.preset == GQ_CFG_T5_SMALL ||
                 c->t5.preset == GQ_CFG_T5_BASE || c->t5.preset == GQ_CFG_T5_LARGE;

    if (c->t5.preset != GQ_CFG_T5_CUSTOM) {
        take(&c->t5.width, preset[c->t5.preset].width);
        take(&c->t5.head_width, preset[c->t5.preset].head_width);
        take(&c->t5.heads, preset[c->t5.preset].heads);
        take(&c->t5.mlp, preset[c->t5.preset].mlp);
        take(&c->t5.layers, preset[c->t5.preset].layers);
        take(&c->t5.vocab, 32128);
    }
    take(&c->t5.decoder_layers, c->t5.layers);
    if (c->t5.act == GQ_CFG_T5_ACT_PRESET)
        c->t5.act = first ? GQ_CFG_T5_RELU : GQ_CFG_T5_GATED_GELU;
    if (c->t5.head == GQ_CFG_T5_HEAD_PRESET)
        c->t5.head = first ? GQ_CFG_T5_TIED : GQ_CFG_T5_OWN;
}

/* Defaults that are about frames. */
static void resolve_text(gq_config_loader *l)
{
    gq_config *c = l->c;

    if (!gq_config_given(l, "mvm.enable"))
        c->mvm.enable = false;
    if (!gq_config_given(l, "prompt.template"))
        snprintf(c->prompt.template, sizeof c->prompt.template, "question: {q} context: {c}");
    if (!gq_config_given(l, "prompt.answer_prefix"))
        c->prompt.answer_prefix[0] = '\0';
}

void gq_config_resolve(gq_config_loader *l)
{
    gq_config *c = l->c;

    resolve_clip(c);
    resolve_gpt2(c);
    resolve_t5(c);
    if (c->model.kind == GQ_CFG_KIND_T5)
        resolve_text(l);
    if (c->clip.proj < 0 && !c->clip.text)
        c->clip.proj = 0;
    take(&c->qformer.mlp, 4 * c->qformer.width);
    take(&c->qformer.encoder_width,
         c->qformer.bridge == GQ_CFG_BRIDGE_ADAPTER ? 1408 : c->clip.width);
    take(&c->clipcut.k, c->data.frames);
    take(&c->image.size, c->clip.image_size);
    if (c->mvm.mode == GQ_CFG_MVM_DROP && !gq_config_given(l, "mvm.sampler"))
        c->mvm.sampler = GQ_CFG_SAMPLER_EXACT;
}

/* ---- combinations ----------------------------------------------------------------------------------- */

static void given(gq_config_loader *l, const char *key, int64_t value, const char *preset)
{
    if (value <= 0)
        gq_problem_key(l, key, "must be given: with %s 'custom' no size has a default", preset);
}

static void divides(gq_config_loader *l, const char *key, int64_t value, const char *whole_key,
                    int64_t whole)
{
    if (value > 0 && whole > 0 && whole % value)
        gq_problem_key(l, key, "%lld does not divide %s, which is %lld", (long long)value,
                       whole_key, (long long)whole);
}

static void check_clip(gq_config_loader *l)
{
    const gq_config *c = l->c;

    given(l, "clip.image_size", c->clip.image_size, "clip.preset");
    given(l, "clip.patch", c->clip.patch, "clip.preset");
    given(l, "clip.width", c->clip.width, "clip.preset");
    given(l, "clip.layers", c->clip.layers, "clip.preset");
    given(l, "clip.heads", c->clip.heads, "clip.preset");
    divides(l, "clip.patch", c->clip.patch, "clip.image_size", c->clip.image_size);
    divides(l, "clip.heads", c->clip.heads, "clip.width", c->clip.width);
    if (c->clip.text) {
        given(l, "clip.text_width", c->clip.text_width, "clip.preset");
        given(l, "clip.text_layers", c->clip.text_layers, "clip.preset");
        given(l, "clip.text_heads", c->clip.text_heads, "clip.preset");
        given(l, "clip.vocab", c->clip.vocab, "clip.preset");
        given(l, "clip.context", c->clip.context, "clip.preset");
        if (c->clip.proj < 1)
            gq_problem_key(l, "clip.proj",
                           "must be at least 1 when clip.text is true: the towers meet there");
        divides(l, "clip.text_heads", c->clip.text_heads, "clip.text_width", c->clip.text_width);
    }
    if (c->image.size != c->clip.image_size)
        gq_problem_key(l, "image.size",
                       "%lld differs from clip.image_size, which is %lld; leave one of them out",
                       (long long)c->image.size, (long long)c->clip.image_size);
    if (c->clip.train && c->data.features == GQ_CFG_SOURCE_CACHED)
        gq_problem_key(l, "data.features",
                       "cached states cannot train CLIP; clip.train needs 'live'");
}

static void check_towers(gq_config_loader *l)
{
    const gq_config *c = l->c;

    given(l, "gpt2.width", c->gpt2.width, "gpt2.preset");
    given(l, "gpt2.layers", c->gpt2.layers, "gpt2.preset");
    given(l, "gpt2.heads", c->gpt2.heads, "gpt2.preset");
    given(l, "gpt2.vocab", c->gpt2.vocab, "gpt2.preset");
    given(l, "gpt2.positions", c->gpt2.positions, "gpt2.preset");
    divides(l, "gpt2.heads", c->gpt2.heads, "gpt2.width", c->gpt2.width);
    divides(l, "qformer.heads", c->qformer.heads, "qformer.width", c->qformer.width);
    if (c->qformer.bridge != GQ_CFG_BRIDGE_ADAPTER && c->qformer.encoder_width != c->clip.width)
        gq_problem_key(l, "qformer.encoder_width",
                       "%lld differs from clip.width, which is %lld; only qformer.bridge "
                       "'adapter' maps one to the other",
                       (long long)c->qformer.encoder_width, (long long)c->clip.width);
}

static void check_t5(gq_config_loader *l)
{
    const gq_config *c = l->c;
    const char      *context = strstr(c->prompt.template, "{c}");

    given(l, "t5.width", c->t5.width, "t5.preset");
    given(l, "t5.head_width", c->t5.head_width, "t5.preset");
    given(l, "t5.heads", c->t5.heads, "t5.preset");
    given(l, "t5.mlp", c->t5.mlp, "t5.preset");
    given(l, "t5.layers", c->t5.layers, "t5.preset");
    given(l, "t5.vocab", c->t5.vocab, "t5.preset");
    if (c->t5.buckets % 4)
        gq_problem_key(l, "t5.buckets",
                       "%lld is no multiple of 4: half of them are for keys behind the query, and half of those for "
                       "single distances",
                       (long long)c->t5.buckets);
    if (c->t5.far <= c->t5.buckets / 2)
        gq_problem_key(l, "t5.far", "%lld is not beyond the %lld distances that have a bucket of their own",
                       (long long)c->t5.far, (long long)c->t5.buckets / 2);
    if (c->mvm.enable)
        gq_problem_key(l, "mvm.enable", "T5 (model.kind) reads no frames: there is nothing to mask");
    if (context && strstr(context + 1, "{c}"))
        gq_problem_key(l, "prompt.template", "must hold {c} at most once");
}

static void check_sequence(gq_config_loader *l)
{
    const gq_config *c = l->c;
    int64_t          visual = c->data.frames * c->qformer.queries;
    int64_t          text = c->prompt.max_question_tokens + c->prompt.max_answer_tokens + 1;
    const char      *hole = strstr(c->prompt.template, "{q}");

    text = (text + c->prompt.bucket - 1) / c->prompt.bucket * c->prompt.bucket;
    if (c->model.kind == GQ_CFG_KIND_STLLM && c->gpt2.positions > 0 && visual + text > c->gpt2.positions)
        gq_problem_key(l, "gpt2.positions",
                       "%lld are too few for %lld visual tokens (data.frames * qformer.queries) "
                       "and %lld of text (prompt.max_*, rounded up to prompt.bucket)",
                       (long long)c->gpt2.positions, (long long)visual, (long long)text);
    if (c->mvm.enable && c->mvm.min_keep > visual)
        gq_problem_key(l, "mvm.min_keep", "%lld is more than the %lld visual tokens",
                       (long long)c->mvm.min_keep, (long long)visual);
    if (!hole || strstr(hole + 1, "{q}"))
        gq_problem_key(l, "prompt.template", "must hold {q} exactly once");
    if (c->model.kind == GQ_CFG_KIND_STLLM && strstr(c->prompt.template, "{c}"))
        gq_problem_key(l, "prompt.template", "{c}, a context, is read by model.kind 't5' alone");
    if (c->decode.min_new_tokens > c->decode.max_new_tokens)
        gq_problem_key(l, "decode.min_new_tokens",
                       "%lld is above decode.max_new_tokens, which is %lld",
                       (long long)c->decode.min_new_tokens, (long long)c->decode.max_new_tokens);
}

static void check_mvm(gq_config_loader *l)
{
    const gq_config *c = l->c;
    bool             drop = c->mvm.mode == GQ_CFG_MVM_DROP;

    if (c->mvm.rate_dist != GQ_CFG_RATE_FIXED && c->mvm.rate_lo > c->mvm.rate_hi)
        gq_problem_key(l, "mvm.rate_lo", "%.10g is above mvm.rate_hi, which is %.10g",
                       c->mvm.rate_lo, c->mvm.rate_hi);
    if (drop && c->mvm.sampler != GQ_CFG_SAMPLER_EXACT)
        gq_problem_key(l, "mvm.sampler",
                       "mvm.mode 'drop' needs 'exact': every sample of a batch keeps the same "
                       "number");
    if (drop && c->mvm.rate_scope != GQ_CFG_SCOPE_BATCH)
        gq_problem_key(l, "mvm.rate_scope",
                       "mvm.mode 'drop' needs 'batch': every sample of a batch keeps the same "
                       "number");
    if (drop && c->mvm.granularity != GQ_CFG_GRAIN_TOKEN)
        gq_problem_key(l, "mvm.granularity",
                       "mvm.mode 'drop' removes whole tokens; 'element' needs mode 'zero'");
    if (drop && c->mvm.zero_attn != GQ_CFG_ZERO_VISIBLE)
        gq_problem_key(l, "mvm.zero_attn",
                       "'hidden' is about zeroed tokens; mvm.mode 'drop' has none");
    if (!drop && c->mvm.pos != GQ_CFG_POS_KEEP)
        gq_problem_key(l, "mvm.pos",
                       "'compact' is about removed tokens; mvm.mode 'zero' removes none");
}

static void check_train(gq_config_loader *l)
{
    const gq_config *c = l->c;
    gq_amount        before = {0};
    double           sum = c->train.mix.n == 0;

    for (size_t i = 0; i < c->train.stages.n; i++) {
        gq_amount now = c->train.stages.item[i].until;
        bool      same = now.fraction == before.fraction || i == 0;
        bool      later = same ? now.value > before.value
                               : !c->train.steps || gq_amount_steps(now, c->train.steps) >
                                                    gq_amount_steps(before, c->train.steps);
        if (!later)
            gq_problem_key(l, "train.stages", "stage %zu does not end after the one before it",
                           i + 1);
        before = now;
    }
    for (size_t i = 0; i < c->train.mix.n; i++)
        sum += c->train.mix.weight[i];
    if (sum <= 0)
        gq_problem_key(l, "train.mix", "every weight is 0: nothing would be drawn");
}

/* "cuda:N" gives N, "cuda" 0; -1: not a GPU's name. */
int gq_config_gpu(const char *device)
{
    char *end;
    long  n;
    if (strcmp(device, "cuda") == 0)
        return 0;
    if (strncmp(device, "cuda:", 5) != 0 || device[5] < '0' || device[5] > '9')
        return -1;
    n = strtol(device + 5, &end, 10);
    return *end || n > 255 ? -1 : (int)n;
}

static void check_engine(gq_config_loader *l)
{
    const char *d = l->c->engine.device;
    if (strcmp(d, "auto") != 0 && strcmp(d, "cpu") != 0 && gq_config_gpu(d) < 0)
        gq_problem_key(l, "engine.device", "'%s' is not auto, cpu, cuda or cuda:N", d);
}

static void check_clipcut(gq_config_loader *l)
{
    if (l->c->clipcut.mode == GQ_CFG_CUT_UNIFORM && l->c->clipcut.apart > 1)
        gq_problem_key(l, "clipcut.apart",
                       "clipcut.mode 'uniform' spreads the frames by itself; leave it out");
}

void gq_config_check(gq_config_loader *l)
{
    check_engine(l);
    if (l->c->model.kind == GQ_CFG_KIND_T5) {
        check_t5(l);
    } else {
        check_clip(l);
        check_towers(l);
    }
    check_sequence(l);
    check_mvm(l);
    check_clipcut(l);
    check_train(l);
}
