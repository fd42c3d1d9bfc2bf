#include "train/net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"

/* ---- configuration to models ------------------------------------------------------------------------------ */

static gq_act act_of(gq_cfg_act a)
{
    switch (a) {
    case GQ_CFG_ACT_GELU: return GQ_GELU;
    case GQ_CFG_ACT_GELU_TANH: return GQ_GELU_TANH;
    case GQ_CFG_ACT_QUICK_GELU: return GQ_QUICK_GELU;
    }
    return GQ_NONE;
}

static void clip_model(const gq_config *c, gq_stllm_config *m)
{
    m->clip = (gq_clip_config){.image = (int)c->clip.image_size,
                               .patch = (int)c->clip.patch,
                               .width = (int)c->clip.width,
                               .layers = (int)c->clip.layers,
                               .heads = (int)c->clip.heads,
                               .mlp = (int)c->clip.mlp,
                               .text_width = (int)c->clip.text_width,
                               .text_layers = (int)c->clip.text_layers,
                               .text_heads = (int)c->clip.text_heads,
                               .text_mlp = (int)c->clip.text_mlp,
                               .vocab = (int)c->clip.vocab,
                               .context = (int)c->clip.context,
                               .proj = (int)c->clip.proj,
                               .act = act_of(c->clip.act),
                               .ln_eps = c->clip.ln_eps,
                               .text = c->clip.text};
    for (int i = 0; i < 3; i++) {
        m->clip.mean[i] = (float)c->image.mean[i];
        m->clip.std[i] = (float)c->image.std[i];
    }
    m->feature = c->clip.feature == GQ_CFG_FEATURE_HIDDEN_2   ? GQ_CLIP_HIDDEN_2
                 : c->clip.feature == GQ_CFG_FEATURE_HIDDEN_1 ? GQ_CLIP_HIDDEN_1
                                                              : GQ_CLIP_FINAL;
}

static void mvm_model(const gq_config *c, gq_stllm_config *m)
{
    m->mvm = (gq_mvm_config){.mode = c->mvm.mode == GQ_CFG_MVM_DROP ? GQ_MVM_DROP : GQ_MVM_ZERO,
                             .loss = c->mvm.loss == GQ_CFG_MVM_COS   ? GQ_MVM_COS
                                     : c->mvm.loss == GQ_CFG_MVM_SSE ? GQ_MVM_SSE
                                                                     : GQ_MVM_MSE,
                             .hidden = c->mvm.zero_attn == GQ_CFG_ZERO_HIDDEN,
                             .element = c->mvm.granularity == GQ_CFG_GRAIN_ELEMENT,
                             .predictor = c->mvm.predictor == GQ_CFG_PREDICT_LINEAR_LN,
                             .teacher_dropout = c->mvm.teacher_dropout,
                             .weight = c->mvm.weight};
    m->mvm_declared = c->mvm.enable && m->mvm.predictor;
}

void gq_net_model(const gq_config *c, gq_stllm_config *m)
{
    memset(m, 0, sizeof *m);
    clip_model(c, m);
    mvm_model(c, m);
    m->qformer = (gq_qformer_config){
        .queries = (int)c->qformer.queries,
        .width = (int)c->qformer.width,
        .layers = (int)c->qformer.layers,
        .heads = (int)c->qformer.heads,
        .mlp = (int)c->qformer.mlp,
        .cross_every = (int)c->qformer.cross_every,
        .encoder_width = (int)c->qformer.encoder_width,
        .vision_width = (int)c->clip.width,
        .bridge = c->qformer.bridge == GQ_CFG_BRIDGE_ADAPTER     ? GQ_BRIDGE_ADAPTER
                  : c->qformer.bridge == GQ_CFG_BRIDGE_REINIT_KV ? GQ_BRIDGE_REINIT_KV
                                                                 : GQ_BRIDGE_NONE,
        .ln_eps = c->qformer.ln_eps,
        .dropout = c->qformer.dropout};
    m->gpt2 = (gq_gpt2_config){.width = (int)c->gpt2.width,
                               .layers = (int)c->gpt2.layers,
                               .heads = (int)c->gpt2.heads,
                               .mlp = (int)c->gpt2.mlp,
                               .vocab = (int)c->gpt2.vocab,
                               .positions = (int)c->gpt2.positions,
                               .ln_eps = c->gpt2.ln_eps,
                               .dropout = c->gpt2.dropout,
                               .act = act_of(c->gpt2.act),
                               .bias = c->gpt2.bias,
                               .tied = c->gpt2.tied};
    m->proj_scale = c->proj.init_scale;
}

void gq_net_t5(const gq_config *c, gq_t5_config *m)
{
    *m = (gq_t5_config){.width = (int)c->t5.width,
                        .head_width = (int)c->t5.head_width,
                        .heads = (int)c->t5.heads,
                        .mlp = (int)c->t5.mlp,
                        .layers = (int)c->t5.layers,
                        .decoder_layers = (int)c->t5.decoder_layers,
                        .vocab = (int)c->t5.vocab,
                        .buckets = (int)c->t5.buckets,
                        .far = (int)c->t5.far,
                        .eps = c->t5.eps,
                        .dropout = c->t5.dropout,
                        .act = c->t5.act == GQ_CFG_T5_RELU ? GQ_RELU : GQ_GELU_TANH,
                        .gated = c->t5.act != GQ_CFG_T5_RELU,
                        .tied = c->t5.head == GQ_CFG_T5_TIED};
}

gq_language gq_net_language(const gq_config *c)
{
    if (c->model.kind == GQ_CFG_KIND_T5)
        return (gq_language){c->t5.vocab, "t5.vocab", c->model.tokenizer.t5, "model.tokenizer.t5",
                             c->model.weights.t5};
    return (gq_language){c->gpt2.vocab, "gpt2.vocab", c->model.tokenizer.gpt2, "model.tokenizer.gpt2",
                         c->model.weights.gpt2};
}

int gq_net_visual(const gq_config *c)
{
    return c->model.kind == GQ_CFG_KIND_T5 ? 0 : (int)(c->data.frames * c->qformer.queries);
}

/* Asked before anything of CUDA is: machines without a driver load none of it. */
static bool gpu_driver(void)
{
    return access("/dev/nvidiactl", F_OK) == 0 || access("/dev/dxg", F_OK) == 0;
}

/* The GPU that was asked for; with auto one that is there and can be used. NULL: none, or (err) it cannot be had. */
static const gq_backend *gpu_backend(const gq_config *c, gq_error *refused, gq_error *err)
{
    int               gpu = gq_config_gpu(c->engine.device);
    bool              anywhere = strcmp(c->engine.device, "auto") == 0;
    const gq_backend *b;

    if (gpu < 0 && !(anywhere && c->engine.backend == GQ_CFG_BACKEND_AUTO && gpu_driver()))
        return NULL;
    b = gq_backend_cuda(gpu >= 0 ? gpu : 0, c->engine.precision != GQ_CFG_FP32, anywhere ? refused : err);
    if (b)
        b->device->attention(b->device, (int)c->engine.attention);
    return b;
}

const gq_backend *gq_net_backend_of(const gq_config *c, gq_error *refused, gq_error *err)
{
    static const char *const rungs[] = {NULL, "scalar", "avx2", "avx512", "avx512bf16"};
    const gq_backend        *b;

    if (c->engine.backend == GQ_CFG_BACKEND_REF)
        return &gq_backend_ref32;
    b = gpu_backend(c, refused, err);
    if (b || gq_config_gpu(c->engine.device) >= 0)
        return b;
    b = c->engine.precision == GQ_CFG_BF16 ? gq_backend_cpu_bf16(NULL)
                                           : gq_backend_cpu(rungs[c->engine.cpu]);
    if (!b)
        gq_fail(err, GQ_ECONFIG, "engine.%s: this machine or build does not have it; use auto",
                c->engine.precision == GQ_CFG_BF16 ? "precision: bf16" : "cpu");
    return b;
}

const gq_backend *gq_net_backend(const gq_config *c, gq_error *err)
{
    gq_error refused = {0};
    return gq_net_backend_of(c, &refused, err);
}

static const gq_backend *backend_of(gq_net *n, gq_error *err)
{
    gq_error          refused = {0};
    const gq_backend *b = gq_net_backend_of(&n->cfg, &refused, err);
    int               gpu = gq_config_gpu(n->cfg.engine.device);

    if (b && b->device)
        snprintf(n->device, sizeof n->device, "GPU %d (%s)", gpu >= 0 ? gpu : 0, b->name);
    else if (b)
        snprintf(n->device, sizeof n->device, "the CPU (%s)%s%.400s", b->name,
                 refused.code != GQ_OK ? ", not on the GPU: " : "", refused.text);
    return b;
}

/* ---- groups: who learns, how fast ---------------------------------------------------------------------------- */

static bool qformer_learns(const gq_config *c, const char *name)
{
    if (!gq_glob("qformer.*", name) || c->qformer.train == GQ_CFG_QTRAIN_ALL)
        return true;
    return c->qformer.train == GQ_CFG_QTRAIN_CROSS && gq_glob("qformer.h.*.cross.*", name);
}

static void apply_groups(const gq_config *c, gq_params *p)
{
    for (int32_t i = 0; i < p->count; i++) {
        gq_param *q = &p->param[i];
        bool      clip = gq_glob("clip.*", q->name), text = gq_glob("clip.t.*", q->name);

        q->decay = q->rank >= 2 ? c->train.weight_decay : 0.0;
        q->trainable = (!clip || (c->clip.train && !text)) && qformer_learns(c, q->name);
        if (strcmp(q->name, "clip.logit_scale") == 0 || strcmp(q->name, "clip.v.proj.w") == 0)
            q->trainable = false;         /* used by retrieval only: the losses do not reach them */
        for (size_t k = 0; k < c->train.groups.n; k++) {
            const gq_group *g = &c->train.groups.item[k];
            if (!gq_glob(g->match, q->name))
                continue;
            if (g->lr_mult != GQ_UNSET)
                q->lr_mult = g->lr_mult;
            if (g->decay != GQ_UNSET)
                q->decay = g->decay;
            if (g->frozen >= 0)
                q->trainable = !g->frozen;
        }
        q->active = q->trainable;
    }
}

void gq_net_release(gq_net *n, bool pixels)
{
    gq_params_release(n->params, pixels ? "clip.t.*" : "clip.*");
}

void gq_net_freeze(gq_net *n, const gq_patterns *freeze)
{
    uint64_t key = 1469598103934665603ull;
    for (int32_t i = 0; i < n->params->count; i++) {
        gq_param *q = &n->params->param[i];
        q->active = q->trainable;
        for (size_t k = 0; freeze && k < freeze->n; k++)
            if (gq_glob(freeze->glob[k], q->name))
                q->active = false;
        key = (key ^ (uint64_t)(q->active + 1)) * 1099511628211ull;
    }
    n->frozen_key = key;
}

/* ---- first values ---------------------------------------------------------------------------------------------- */

/* scheme nano: matrices N(0, 1/sqrt(inputs)), the projections back into a pre-LN stream times 1/sqrt(2 layers) */
static void nano_scheme(const gq_config *c, gq_param *q)
{
    double deep = 1.0;
    if (q->rank != 2 || q->init.dist != GQ_INIT_NORMAL)
        return;
    if (gq_glob("clip.v.h.*.attn.out.w", q->name) || gq_glob("clip.v.h.*.mlp.fc2.w", q->name))
        deep = 1.0 / sqrt(2.0 * (double)c->clip.layers);
    if (gq_glob("gpt2.h.*.attn.out.w", q->name) || gq_glob("gpt2.h.*.mlp.fc2.w", q->name))
        deep = 1.0 / sqrt(2.0 * (double)c->gpt2.layers);
    if (strcmp(q->name, "proj.w") == 0)
        deep = c->proj.init_scale;
    q->init.value = deep / sqrt((double)q->shape[1]);
}

static void apply_rule(const gq_rule *r, gq_param *q)
{
    double  value = r->scale;
    gq_init old = q->init;

    switch (r->dist) {
    case GQ_CFG_DIST_NORMAL: q->init = (gq_init){.dist = GQ_INIT_NORMAL}; break;
    case GQ_CFG_DIST_FAN_IN:
        q->init = (gq_init){.dist = GQ_INIT_NORMAL};
        value /= sqrt((double)q->shape[q->rank - 1]);
        break;
    case GQ_CFG_DIST_CONSTANT: q->init = (gq_init){.dist = GQ_INIT_CONST}; break;
    case GQ_CFG_DIST_ZEROS: q->init = (gq_init){.dist = GQ_INIT_CONST}; value = 0.0; break;
    case GQ_CFG_DIST_SINUSOID:
        q->init = (gq_init){.dist = GQ_INIT_SINUSOID, .base = r->base};
        break;
    }
    q->init.value = value;
    if (r->part == GQ_CFG_PART_FIRST)
        q->init.second = old.second != 0.0 ? old.second : old.value;
    if (r->part == GQ_CFG_PART_SECOND) {
        q->init.value = old.value;
        q->init.second = value;
    }
    if (r->part != GQ_CFG_PART_ALL)
        q->init.split = old.split;
}

static void apply_init(const gq_config *c, gq_params *p)
{
    for (int32_t i = 0; i < p->count; i++) {
        gq_param *q = &p->param[i];
        if (c->init.scheme == GQ_CFG_SCHEME_NANO)
            nano_scheme(c, q);
        for (size_t k = 0; k < c->init.rules.n; k++)
            if (gq_glob(c->init.rules.item[k].match, q->name))
                apply_rule(&c->init.rules.item[k], q);
    }
}

static gq_status load_family(gq_net *n, gq_hf_family f, const char *path, const char *key,
                             gq_net_report *r, gq_error *err)
{
    gq_safetensors *st;
    gq_status       s;

    if (!*path)
        return gq_fail(
            err, GQ_EWEIGHTS,
            "model.init is 'weights' and %s is not set: it names a .safetensors file or a "
            "directory with model.safetensors; or set model.init=random",
            key);
    s = gq_safetensors_open(path, &st, err);
    if (s != GQ_OK)
        return gq_context(err, "%s", key);
    r->given[f] = true;
    s = gq_hf_load(n->params, f, st, &r->family[f], err);
    gq_safetensors_close(st);
    if (s == GQ_OK && r->family[f].missing)
        s = gq_fail(err, GQ_EWEIGHTS,
                    "%s: %s: %d tensors of the model are missing, the first is '%s'", key, path,
                    r->family[f].missing, r->family[f].first_missing);
    return s;
}

static gq_status first_values(gq_net *n, gq_net_report *r, gq_error *err)
{
    const gq_config *c = &n->cfg;
    gq_status        s = GQ_OK;

    if (c->model.init == GQ_CFG_INIT_WEIGHTS && c->model.kind == GQ_CFG_KIND_T5) {
        s = load_family(n, GQ_HF_T5, c->model.weights.t5, "model.weights.t5", r, err);
    } else if (c->model.init == GQ_CFG_INIT_WEIGHTS) {
        s = load_family(n, GQ_HF_CLIP, c->model.weights.clip, "model.weights.clip", r, err);
        if (s == GQ_OK &&
            *c->model.weights.qformer) /* optional: a Q-Former may start from nothing        */
            s = load_family(n, GQ_HF_QFORMER, c->model.weights.qformer, "model.weights.qformer", r,
                            err);
        if (s == GQ_OK)
            s = load_family(n, GQ_HF_GPT2, c->model.weights.gpt2, "model.weights.gpt2", r, err);
    }
    if (s == GQ_OK)
        s = gq_params_init(n->params, c->model.seed, err);
    return s;
}

/* ---- life ---------------------------------------------------------------------------------------------------------- */

static void count(gq_net *n, gq_net_report *r)
{
    for (int32_t i = 0; i < n->params->count; i++) {
        const gq_param *q = &n->params->param[i];
        r->random += !q->loaded;
        r->total += q->n;
        r->trained += q->trainable ? q->n : 0;
    }
}

gq_status gq_net_open(const gq_config *c, gq_net_use use, bool weights, gq_net **out,
                      gq_net_report *report, gq_error *err)
{
    gq_net        *n = gq_calloc(1, sizeof *n);
    gq_engine_opts o = {.threads = use == GQ_NET_DECLARE ? 1 : (int)c->engine.threads,
                        .seed = c->train.seed};
    gq_status      s = n ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");

    *out = NULL;
    memset(report, 0, sizeof *report);
    if (s == GQ_OK) {
        n->cfg = *c;
        gq_net_model(c, &n->model);
        gq_net_t5(c, &n->t5);
        o.backend = use == GQ_NET_DECLARE ? gq_backend_cpu(NULL) : backend_of(n, err);
        s = o.backend ? gq_engine_new(&o, &n->engine, err) : GQ_ECONFIG;
    }
    if (s == GQ_OK && (s = gq_params_new(n->engine, &n->params, err)) == GQ_OK)
        s = c->model.kind == GQ_CFG_KIND_T5 ? gq_t5_declare(n->params, &n->t5, err)
                                            : gq_stllm_declare(n->params, &n->model, err);
    if (s == GQ_OK) {
        apply_groups(c, n->params);
        apply_init(c, n->params);
        if (use != GQ_NET_DECLARE)
            s = gq_params_seal(n->params, use == GQ_NET_TRAIN, err);
    }
    if (s == GQ_OK && weights)
        s = first_values(n, report, err);
    if (s != GQ_OK) {
        gq_net_close(n);
        return s;
    }
    count(n, report);
    gq_net_freeze(n, NULL);
    *out = n;
    return GQ_OK;
}

void gq_net_close(gq_net *n)
{
    if (!n)
        return;
    for (int i = 0; i < n->passes; i++) {
        gq_tape_free(n->pass[i]->tape);
        gq_free(n->pass[i]);
    }
    gq_free(n->pass);
    gq_params_free(n->params);
    gq_engine_free(n->engine);
    gq_free(n);
}

static bool same_shape(const gq_stllm_shape *a, const gq_stllm_shape *b)
{
    return a->batch == b->batch && a->frames == b->frames && a->text == b->text &&
           a->labels == b->labels && a->kept == b->kept && a->live == b->live &&
           a->masked == b->masked && a->train == b->train;
}

static gq_status record_t5(gq_net *n, const gq_stllm_shape *shape, const gq_plan_opts *plan, gq_pass *p,
                           gq_error *err)
{
    gq_t5_shape of = {.batch = shape->batch, .source = shape->text, .target = shape->labels / shape->batch,
                      .labels = shape->labels, .train = shape->train};
    gq_t5_tape  t;
    gq_status   s = gq_t5_record(n->engine, n->params, &n->t5, &of, plan, &t, err);

    if (s == GQ_OK)
        *p = (gq_pass){.tape = t.tape, .shape = *shape, .lm_loss = t.lm_loss, .stats = t.stats,
                       .kind = GQ_CFG_KIND_T5, .in.t5 = t};
    return s;
}

static gq_status record(gq_net *n, const gq_stllm_shape *shape, gq_pass *p, gq_error *err)
{
    gq_plan_opts  plan = {.policy = n->cfg.train.checkpoint == GQ_CFG_POLICY_SEGMENT ? GQ_SEGMENT
                                                                                     : GQ_KEEP};
    gq_stllm_tape h;
    gq_status     s;

    if (n->cfg.model.kind == GQ_CFG_KIND_T5)
        return record_t5(n, shape, &plan, p, err);
    s = gq_stllm_record(n->engine, n->params, &n->model, shape, &plan, false, &h, err);
    if (s == GQ_OK)
        *p = (gq_pass){.tape = h.tape, .shape = *shape, .lm_loss = h.lm_loss, .mvm_loss = h.mvm_loss,
                       .stats = h.stats, .kind = GQ_CFG_KIND_STLLM, .in.stllm = h};
    return s;
}

gq_status gq_net_pass(gq_net *n, const gq_stllm_shape *shape, gq_pass **out, gq_error *err)
{
    gq_pass  *p;
    gq_status s;

    for (int i = 0; i < n->passes; i++)
        if (same_shape(&n->pass[i]->shape, shape) &&
            (!shape->train || n->pass[i]->frozen_key == n->frozen_key)) {
            *out = n->pass[i];
            return GQ_OK;
        }
    if (n->passes == n->pass_cap) {
        int       cap = n->pass_cap ? 2 * n->pass_cap : 16;
        gq_pass **grown = gq_realloc(n->pass, (size_t)cap, sizeof *grown);
        if (!grown)
            return gq_fail(err, GQ_ENOMEM, "out of memory");
        n->pass = grown;
        n->pass_cap = cap;
    }
    p = gq_calloc(1, sizeof *p);
    if (!p)
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    s = record(n, shape, p, err);
    if (s != GQ_OK) {
        gq_free(p);
        return s;
    }
    p->frozen_key = n->frozen_key;
    n->pass[n->passes++] = p;
    *out = p;
    return GQ_OK;
}
