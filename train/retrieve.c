#include "train/retrieve.h"

#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/image.h"
#include "data/tokenizer.h"
#include "train/embed_cache.h"

enum {
    BATCH = 32,                                     /* frames of one vision pass at most */
    TEXT_STEP = 16,                                 /* question lengths are padded to a multiple */
};

typedef enum want { WANT_FEATURES = 1, WANT_EMBEDS = 2, WANTS = 4 } want;

typedef struct vision_pass { gq_tape *tape; gq_t frames, features, embeds; } vision_pass;
typedef struct text_pass { gq_tape *tape; gq_t ids, pos, end, embed; int length; } text_pass;

struct gq_retriever {
    gq_config       cfg;
    gq_clip_config  clip;
    gq_clip_feature feature;
    bool            owns;               /* engine and params */
    gq_engine      *engine;
    gq_params      *params;
    gq_tokenizer   *tokenizer;          /* NULL without text tower */
    gq_resizer     *resizer;
    vision_pass     vision[BATCH + 1][WANTS]; /* by number of frames; recorded on first use */
    text_pass      *text;               /* [texts], one per padded length; recorded on first use */
    int             texts;
    int32_t        *ids;                /* [context] of the question */
    uint8_t        *pixels;             /* [BATCH,S,S,3] */
    gq_embed_cache *cache;
    bool            weighed;            /* weights is set */
    uint8_t         weights[16];        /* hash of the vision tower's parameters */
};

/* ---- life ------------------------------------------------------------------------------------ */

gq_gif_limits gq_retriever_limits(const gq_config *c)
{
    return (gq_gif_limits){.max_bytes = c->data.limits.bytes,
                           .max_side = (uint32_t)c->data.limits.side,
                           .max_pixels_total = c->data.limits.pixels,
                           .max_frames = (uint32_t)c->data.limits.frames,
                           .max_seconds = c->data.limits.seconds};
}

const gq_clip_config *gq_retriever_clip(const gq_retriever *r) { return &r->clip; }

static size_t image_bytes(const gq_retriever *r)
{
    return (size_t)r->clip.image * (size_t)r->clip.image * 3;
}

/* floats of one frame's features */
static size_t feature_count(const gq_retriever *r)
{
    return (size_t)gq_clip_tokens(&r->clip) * (size_t)r->clip.width;
}

static gq_status load_weights(gq_retriever *r, gq_load_report *report, gq_error *err)
{
    const char     *path = r->cfg.model.weights.clip;
    gq_safetensors *st;
    gq_status       s;

    if (!*path)
        return gq_fail(err, GQ_EWEIGHTS, "model.weights.clip is not set: it names a directory with "
                       "model.safetensors, or the file; or set model.init=random");
    s = gq_safetensors_open(path, &st, err);
    if (s == GQ_OK) {
        s = gq_hf_load(r->params, GQ_HF_CLIP, st, report, err);
        gq_safetensors_close(st);
    }
    if (s == GQ_OK && report->missing)
        s = gq_fail(err, GQ_EWEIGHTS, "%s: %d tensors of CLIP are missing, the first is '%s'", path,
                    report->missing, report->first_missing);
    return s;
}

static gq_status own_model(gq_retriever *r, gq_load_report *report, gq_error *err)
{
    gq_engine_opts o = {.backend = gq_net_backend(&r->cfg, err),
                        .threads = (int)r->cfg.engine.threads,
                        .seed = r->cfg.train.seed};
    gq_status      s = o.backend ? gq_engine_new(&o, &r->engine, err) : GQ_ECONFIG;

    r->owns = true;
    if (s == GQ_OK)
        s = gq_params_new(r->engine, &r->params, err);
    if (s == GQ_OK)
        s = gq_clip_declare(r->params, &r->clip, err);
    for (int32_t i = 0; s == GQ_OK && i < r->params->count; i++)
        r->params->param[i].trainable = r->params->param[i].active = false;
    if (s == GQ_OK)
        s = gq_params_seal(r->params, false, err);
    if (s == GQ_OK && r->cfg.model.init == GQ_CFG_INIT_WEIGHTS)
        s = load_weights(r, report, err);
    if (s == GQ_OK)
        s = gq_params_init(r->params, r->cfg.model.seed, err);
    return s;
}

/* model.tokenizer.clip, or the directory of the weights; "" when neither is set */
static void tokenizer_path(const gq_config *c, char out[GQ_PATH_MAX])
{
    const char *weights = c->model.init == GQ_CFG_INIT_WEIGHTS ? c->model.weights.clip : "";
    const char *slash;

    snprintf(out, GQ_PATH_MAX, "%s",
             *c->model.tokenizer.clip ? c->model.tokenizer.clip : weights);
    if (*c->model.tokenizer.clip || !*weights || gq_is_dir(weights))
        return;
    slash = strrchr(weights, '/');
    if (slash)
        out[slash - weights + (slash == weights)] = 0;
    else
        memcpy(out, ".", 2);
}

static gq_status open_tokenizer(gq_retriever *r, gq_error *err)
{
    char      path[GQ_PATH_MAX];
    gq_status s;

    tokenizer_path(&r->cfg, path);
    if (!*path)
        return gq_fail(
            err, GQ_EWEIGHTS,
            "model.tokenizer.clip is not set: it names CLIP's vocabulary, a directory with "
            "tokenizer.json, or vocab.json and merges.txt, or bpe_simple_vocab_16e6.txt.gz");
    s = gq_tokenizer_open(path, &r->tokenizer, err);
    if (s != GQ_OK)
        return s;
    if (gq_tokenizer_kind(r->tokenizer) == GQ_TOK_GPT2)
        return gq_fail(err, GQ_EWEIGHTS, "%s: this is GPT-2's vocabulary, CLIP's is needed", path);
    if (gq_tokenizer_vocab_size(r->tokenizer) > r->clip.vocab)
        return gq_fail(err, GQ_EWEIGHTS, "%s: %d tokens do not fit the %d rows of clip.vocab", path,
                       gq_tokenizer_vocab_size(r->tokenizer), r->clip.vocab);
    return GQ_OK;
}

/* What both ways of opening need besides a model. */
static gq_status furnish(gq_retriever *r, gq_error *err)
{
    gq_status s = gq_resizer_new(&r->resizer, err);

    r->texts = r->clip.text ? (r->clip.context - 1) / TEXT_STEP + 1 : 0;
    r->text = gq_calloc((size_t)r->texts + 1, sizeof *r->text);
    r->ids = gq_calloc((size_t)r->clip.context + 1, sizeof *r->ids);
    r->pixels = gq_malloc(BATCH, image_bytes(r));
    if (s == GQ_OK && (!r->text || !r->ids || !r->pixels))
        s = gq_fail(err, GQ_ENOMEM, "out of memory for a batch of %d frames", BATCH);
    if (s == GQ_OK)
        s = gq__embeds_open(NULL, 0, &r->cache, err);
    if (s == GQ_OK && r->clip.text)
        s = open_tokenizer(r, err);
    return s;
}

static gq_retriever *blank(const gq_config *c, gq_error *err)
{
    gq_retriever   *r = gq_calloc(1, sizeof *r);
    gq_stllm_config m;

    if (!r) {
        gq_fail(err, GQ_ENOMEM, "out of memory");
        return NULL;
    }
    gq_net_model(c, &m);
    r->cfg = *c;
    r->clip = m.clip;
    r->feature = m.feature;
    return r;
}

gq_status gq_retriever_open(const gq_config *c, gq_retriever **out, gq_load_report *report,
                            gq_error *err)
{
    gq_load_report unread;
    gq_retriever  *r = blank(c, err);
    gq_status      s;

    *out = NULL;
    report = report ? report : &unread;
    memset(report, 0, sizeof *report);
    if (!r)
        return GQ_ENOMEM;
    s = furnish(r, err); /* first: a missing vocabulary is found before weights are read */
    if (s == GQ_OK)
        s = own_model(r, report, err);
    if (s == GQ_OK)
        *out = r;
    else
        gq_retriever_close(r);
    return s;
}

gq_status gq_retriever_share(gq_net *net, gq_retriever **out, gq_error *err)
{
    gq_retriever *r = blank(&net->cfg, err);
    gq_status     s;

    *out = NULL;
    if (!r)
        return GQ_ENOMEM;
    r->engine = net->engine;
    r->params = net->params;
    s = furnish(r, err);
    if (s == GQ_OK)
        *out = r;
    else
        gq_retriever_close(r);
    return s;
}

void gq_retriever_close(gq_retriever *r)
{
    if (!r)
        return;
    for (int b = 0; b <= BATCH; b++)
        for (int w = 0; w < WANTS; w++)
            gq_tape_free(r->vision[b][w].tape);
    for (int i = 0; r->text && i < r->texts; i++)
        gq_tape_free(r->text[i].tape);
    gq_tokenizer_close(r->tokenizer);
    gq_resizer_free(r->resizer);
    gq__embeds_close(r->cache);
    if (r->owns) {
        gq_params_free(r->params);
        gq_engine_free(r->engine);
    }
    gq_free(r->text);
    gq_free(r->ids);
    gq_free(r->pixels);
    gq_free(r);
}

/* ---- recorded passes ------------------------------------------------------------------------- */

static gq_status record_vision(gq_retriever *r, int frames, int wants, vision_pass *p,
                               gq_error *err)
{
    gq_plan_opts plan = {.policy = GQ_KEEP};
    int32_t     *rows;
    gq_status    s = gq_tape_new(r->engine, r->params, "clip vision", &p->tape, err);

    if (s != GQ_OK)
        return s;
    gq_tape_no_grad(p->tape);
    p->frames =
        gq_input(p->tape, "frames", GQ_U8, 4, GQ_SHAPE(frames, r->clip.image, r->clip.image, 3));
    gq_clip_vision(p->tape, &r->clip, p->frames, r->feature,
                   wants & WANT_FEATURES ? &p->features : NULL,
                   wants & WANT_EMBEDS ? &p->embeds : NULL);
    if (wants & WANT_FEATURES)
        gq_keep(p->tape, p->features, "features");
    if (wants & WANT_EMBEDS)
        gq_keep(p->tape, p->embeds, "embeds");
    s = gq_tape_finish(p->tape, GQ_T_NONE, &plan, err);
    if (s == GQ_OK && wants & WANT_EMBEDS) {
        rows = gq_data(p->tape, gq_find(p->tape, "clip.class_rows"));
        for (int32_t i = 0; i < frames; i++)
            rows[i] = i * gq_clip_tokens(&r->clip);
    }
    return s;
}

static gq_status vision_pass_of(gq_retriever *r, int frames, int wants, vision_pass **out,
                                gq_error *err)
{
    vision_pass *p = *out = &r->vision[frames][wants];
    gq_status    s = p->tape ? GQ_OK : record_vision(r, frames, wants, p, err);

    if (s != GQ_OK) {
        gq_tape_free(p->tape);
        p->tape = NULL;
    }
    return s;
}

/* pixels [n,S,S,3] through the vision tower, in passes of BATCH and one of what is left: no frame
 * is computed in vain, and weights are walked as seldom as possible. */
static gq_status see(gq_retriever *r, const uint8_t *pixels, int64_t n, float *features,
                     float *embeds, gq_error *err)
{
    int    wants = (features ? WANT_FEATURES : 0) | (embeds ? WANT_EMBEDS : 0);
    size_t image = image_bytes(r), width = feature_count(r), dim = (size_t)r->clip.proj;

    while (n > 0) {
        vision_pass *p;
        size_t       count = n < BATCH ? (size_t)n : BATCH;
        gq_status    s = vision_pass_of(r, (int)count, wants, &p, err);
        if (s != GQ_OK)
            return s;
        memcpy(gq_data(p->tape, p->frames), pixels, image * count);
        s = gq_forward(p->tape, err);
        if (s != GQ_OK)
            return s;
        if (features) {
            gq_get_real(p->tape, p->features, 0, features, (int64_t)(width * count));
            features += width * count;
        }
        if (embeds) {
            gq_get_real(p->tape, p->embeds, 0, embeds, (int64_t)(dim * count));
            embeds += dim * count;
        }
        pixels += image * count;
        n -= (int64_t)count;
    }
    return GQ_OK;
}

static gq_status record_text(gq_retriever *r, int length, text_pass *p, gq_error *err)
{
    gq_plan_opts plan = {.policy = GQ_KEEP};
    int32_t     *pos;
    gq_status    s = gq_tape_new(r->engine, r->params, "clip text", &p->tape, err);

    if (s != GQ_OK)
        return s;
    p->length = length;
    gq_tape_no_grad(p->tape);
    p->ids = gq_input(p->tape, "ids", GQ_I32, 2, GQ_SHAPE(1, length));
    p->pos = gq_input(p->tape, "pos", GQ_I32, 2, GQ_SHAPE(1, length));
    p->end = gq_input(p->tape, "end", GQ_I32, 1, GQ_SHAPE(1));
    p->embed = gq_clip_text(p->tape, &r->clip, p->ids, p->pos, p->end);
    gq_keep(p->tape, p->embed, "embed");
    s = gq_tape_finish(p->tape, GQ_T_NONE, &plan, err);
    if (s == GQ_OK) {
        pos = gq_data(p->tape, p->pos);
        for (int32_t i = 0; i < length; i++)
            pos[i] = i;
    }
    return s;
}

static gq_status text_pass_of(gq_retriever *r, int tokens, text_pass **out, gq_error *err)
{
    int        which = (tokens - 1) / TEXT_STEP, length = (which + 1) * TEXT_STEP;
    text_pass *p = *out = &r->text[which];
    gq_status  s = GQ_OK;

    if (!p->tape)
        s = record_text(r, length < r->clip.context ? length : r->clip.context, p, err);
    if (s != GQ_OK) {
        gq_tape_free(p->tape);
        p->tape = NULL;
    }
    return s;
}

/* ---- frames in ------------------------------------------------------------------------------- */

typedef struct source {                 /* a GIF being walked */
    gq_retriever *r;
    gq_gif       *gif;
    const uint8_t *rgba;                /* the frame just read, NULL at the end */
    uint8_t      *rgb;                  /* [height, width, 3] */
    gq_gif_frame  info;
    gq_retrieve_seconds *seconds;
} source;

static gq_status source_open(source *src, gq_retriever *r, const gq_gif_bytes *gif,
                             gq_retrieve_seconds *seconds, gq_error *err)
{
    gq_gif_limits limits = gq_retriever_limits(&r->cfg);
    gq_status     s;

    *src = (source){.r = r, .seconds = seconds};
    s = gq_gif_open(gif->data, gif->size, gif->name, &limits, &src->gif, err);
    if (s != GQ_OK)
        return s;
    src->rgb = gq_malloc((size_t)gq_gif_width(src->gif) * gq_gif_height(src->gif), 3);
    if (!src->rgb)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory for a frame", gif->name);
    return GQ_OK;
}

static void source_close(source *src)
{
    gq_gif_close(src->gif);
    gq_free(src->rgb);
}

/* Composes the next frame; src->rgba is NULL at the end. */
static gq_status source_next(source *src, gq_error *err)
{
    double    start = gq_now();
    gq_status s = gq_gif_next(src->gif, &src->rgba, &src->info, err);

    src->seconds->decode += gq_now() - start;
    return s;
}

/* The frame as the vision tower reads it: out [S,S,3]. */
static gq_status source_pixels(source *src, uint8_t *out, gq_error *err)
{
    static const uint8_t black[3] = {0, 0, 0};
    uint32_t             w = gq_gif_width(src->gif), h = gq_gif_height(src->gif);
    gq_filter filter = src->r->cfg.image.filter == GQ_CFG_FILTER_NEAREST ? GQ_NEAREST : GQ_BICUBIC;
    double               start = gq_now();
    gq_status            s;

    gq_gif_over(src->rgba, (size_t)w * h, black, src->rgb);
    s = gq_resizer_preprocess(src->r->resizer, src->rgb, w, h, (uint32_t)src->r->clip.image, filter,
                              out, err);
    src->seconds->preprocess += gq_now() - start;
    return s;
}

/* ---- every frame ----------------------------------------------------------------------------- */

typedef struct growing { gq_frame_set set; int64_t room; size_t feature_bytes; } growing;

static gq_status grow_array(void **array, int64_t room, size_t bytes, gq_error *err)
{
    size_t one = 0;
    void  *more =
        gq_mul_size((size_t)room, bytes, &one) ? gq_realloc(*array, (size_t)room, bytes) : NULL;

    if (!more)
        return gq_fail(err, GQ_ENOMEM, "out of memory for the embeddings of %lld frames",
                       (long long)room);
    *array = more;
    return GQ_OK;
}

/* Room for BATCH more frames; features beyond their budget are given up. */
static gq_status grow(const gq_retriever *r, growing *g, gq_error *err)
{
    size_t    feature = feature_count(r) * sizeof(float);
    gq_status s = GQ_OK;

    if (g->set.n + BATCH <= g->room)
        return GQ_OK;
    g->room = g->room ? 2 * g->room : 4 * BATCH;
    s = grow_array((void **)&g->set.delay_cs, g->room, sizeof *g->set.delay_cs, err);
    if (s == GQ_OK && r->clip.proj)
        s = grow_array((void **)&g->set.embed, g->room, (size_t)r->clip.proj * sizeof *g->set.embed,
                       err);
    if (s == GQ_OK && g->feature_bytes / feature >= (size_t)g->room)
        return grow_array((void **)&g->set.feature, g->room, feature, err);
    gq_free(g->set.feature);
    g->set.feature = NULL;
    g->feature_bytes = 0;
    return s;
}

/* The next up to BATCH frames; *end when the GIF has no more. */
static gq_status take_batch(source *src, growing *g, bool *end, gq_error *err)
{
    gq_retriever *r = src->r;
    gq_frame_set *f = &g->set;
    int64_t       n = 0;
    double        start;
    gq_status     s = grow(r, g, err);

    while (s == GQ_OK && n < BATCH && !*end) {
        s = source_next(src, err);
        *end = s == GQ_OK && !src->rgba;
        if (s == GQ_OK && !*end) {
            s = source_pixels(src, r->pixels + (size_t)n * image_bytes(r), err);
            f->delay_cs[f->n + n++] = src->info.delay_cs;
        }
    }
    start = gq_now();
    if (s == GQ_OK && (f->embed || f->feature))
        s = see(r, r->pixels, n, f->feature ? f->feature + (size_t)f->n * feature_count(r) : NULL,
                f->embed ? f->embed + f->n * f->dim : NULL, err);
    src->seconds->vision += gq_now() - start;
    f->n += n;
    return s;
}

gq_status gq_retriever_frames(gq_retriever *r, const gq_gif_bytes *gif, size_t feature_bytes,
                              gq_frame_set *out, gq_retrieve_seconds *seconds, gq_error *err)
{
    growing   g = {.set.dim = r->clip.proj, .feature_bytes = feature_bytes};
    source    src;
    bool      end = false;
    gq_status s = source_open(&src, r, gif, seconds, err);

    while (s == GQ_OK && !end)
        s = take_batch(&src, &g, &end, err);
    if (s == GQ_OK) {
        g.set.width = gq_gif_width(src.gif);
        g.set.height = gq_gif_height(src.gif);
        g.set.flags = gq_gif_flags(src.gif);
    }
    source_close(&src);
    *out = g.set;
    if (s != GQ_OK)
        gq_frame_set_free(out);
    return s;
}

void gq_frame_set_free(gq_frame_set *f)
{
    gq_free(f->delay_cs);
    gq_free(f->embed);
    gq_free(f->feature);
    memset(f, 0, sizeof *f);
}

/* ---- GIFs seen before ------------------------------------------------------------------------ */

typedef struct weighing {
    const gq_params *p;
    void            *scratch;           /* [longest parameter], when they are not on the host     */
    uint8_t        (*hash)[16];
} weighing;

static void weigh_param(void *ctx, int64_t i, int thread)
{
    const weighing *w = ctx;
    const gq_param *q = &w->p->param[i];
    const void     *at = gq_param_view(w->p, q, GQ_WEIGHT);

    (void)thread;
    if (!at) {
        gq_param_read(w->p, q, GQ_WEIGHT, 0, w->scratch, q->n);
        at = w->scratch;
    }
    if (gq_glob("clip.v.*", q->name))
        gq_xxh128(at,
                  (size_t)q->n * gq_dtype_size(w->p->engine->backend->stat), w->hash[i]);
}

/* Hash of the vision tower's parameters, in the order of their declaration. */
static gq_status weigh(gq_retriever *r, gq_error *err)
{
    size_t   n = (size_t)r->params->count;
    weighing w = {.p = r->params, .hash = gq_calloc(n + 1, sizeof *w.hash)};
    bool     away = r->engine->backend->device != NULL;
    int64_t  most = 1;

    for (size_t i = 0; i < n; i++)
        most = r->params->param[i].n > most ? r->params->param[i].n : most;
    if (away)
        w.scratch = gq_malloc((size_t)most, gq_dtype_size(r->engine->backend->stat));

    if (!w.hash || (away && !w.scratch)) {
        gq_free(w.hash);
        gq_free(w.scratch);
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    }
    gq_parallel(away ? NULL : r->engine->pool, (int64_t)n, weigh_param, &w);    /* copies: one thread */
    gq_free(w.scratch);
    gq_xxh128(w.hash, n * sizeof *w.hash, r->weights);
    gq_free(w.hash);
    r->weighed = true;
    return GQ_OK;
}

/* Sizes and weights of the vision tower as text. */
static gq_status tower_text(gq_retriever *r, char *text, size_t size, gq_error *err)
{
    const gq_clip_config *m = &r->clip;
    char                  hex[33];
    gq_status             s = r->weighed ? GQ_OK : weigh(r, err);

    if (s != GQ_OK)
        return s;
    gq_hex(r->weights, sizeof r->weights, hex);
    snprintf(text, size, "%s clip %d %d %d %d %d %d %d %d %.17g %.9g %.9g %.9g %.9g %.9g %.9g", hex,
             m->image, m->patch, m->width, m->layers, m->heads, m->mlp, m->proj, (int)m->act,
             m->ln_eps, (double)m->mean[0], (double)m->mean[1], (double)m->mean[2],
             (double)m->std[0], (double)m->std[1], (double)m->std[2]);
    return GQ_OK;
}

gq_status gq_retriever_tower(gq_retriever *r, uint8_t tower[16], gq_error *err)
{
    char      text[1024];
    int       n = snprintf(text, sizeof text, "1 filter %d ", (int)r->cfg.image.filter);
    gq_status s = tower_text(r, text + n, sizeof text - (size_t)n, err);

    if (s == GQ_OK)
        gq_xxh128(text, strlen(text), tower);
    return s;
}

/* Everything that the numbers of gq_retriever_frames() depend on. A change of how they are computed
 * is a new number at the start of the text. */
static gq_status key_of(gq_retriever *r, const gq_gif_bytes *gif, uint8_t key[GQ_EMBED_KEY],
                        gq_error *err)
{
    const gq_config *c = &r->cfg;
    char             text[1024], hex[65];
    uint8_t          hash[32];
    gq_status        s;
    int              n;

    gq_sha256(gif->data, gif->size, hash);
    gq_hex(hash, sizeof hash, hex);
    n = snprintf(text, sizeof text, "1 %s %s batch %d filter %d limits %llu %llu %llu %llu %.17g ",
                 hex, r->engine->backend->name, BATCH, (int)c->image.filter,
                 (unsigned long long)c->data.limits.bytes, (unsigned long long)c->data.limits.side,
                 (unsigned long long)c->data.limits.pixels,
                 (unsigned long long)c->data.limits.frames, c->data.limits.seconds);
    s = tower_text(r, text + n, sizeof text - (size_t)n, err);
    if (s == GQ_OK)
        gq_sha256(text, strlen(text), key);
    return s;
}

gq_status gq_retriever_cache(gq_retriever *r, const char *dir, uint64_t most, gq_error *err)
{
    gq_embed_cache *c;
    gq_status       s = gq__embeds_open(dir, most, &c, err);

    if (s != GQ_OK)
        return s;
    gq__embeds_close(r->cache);
    r->cache = c;
    return GQ_OK;
}

const char *gq_retriever_note(const gq_retriever *r) { return gq__embeds_note(r->cache); }

gq_status gq_retriever_recall(gq_retriever *r, const gq_gif_bytes *gif, const gq_frame_set **out,
                              gq_origin *from, gq_retrieve_seconds *seconds, gq_error *err)
{
    uint8_t      key[GQ_EMBED_KEY];
    gq_frame_set set;
    double       start = gq_now();
    gq_status    s = key_of(r, gif, key, err);

    *from = GQ_COMPUTED;
    *out = s == GQ_OK ? gq__embeds_find(r->cache, key, r->clip.proj, from) : NULL;
    seconds->recall += gq_now() - start;
    if (s != GQ_OK || *out)
        return s;
    s = gq_retriever_frames(r, gif, 0, &set, seconds, err);
    start = gq_now();
    if (s == GQ_OK)
        *out = gq__embeds_keep(r->cache, key, &set);
    seconds->recall += gq_now() - start;
    return s;
}

/* ---- question, choice, chosen frames --------------------------------------------------------- */

static int32_t first_end(const int32_t *ids, size_t n, int32_t end)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] == end)
            return (int32_t)i;
    return (int32_t)n - 1;
}

static gq_status read_question(gq_retriever *r, const char *question, float *embed, bool *cut,
                               gq_error *err)
{
    size_t     n = 0, whole = 0, room = (size_t)r->clip.context, bytes = strlen(question);
    int32_t    end = gq_tokenizer_end_id(r->tokenizer);
    int32_t   *ids;
    text_pass *p;
    gq_status  s =
        gq_tokenizer_encode(r->tokenizer, question, bytes, GQ_TOK_FRAME, NULL, 0, &whole, err);

    if (s == GQ_OK)
        s = gq_tokenizer_encode(r->tokenizer, question, bytes, GQ_TOK_FRAME | GQ_TOK_TRUNCATE,
                                r->ids, room, &n, err);
    if (s == GQ_OK)
        s = text_pass_of(r, (int)n, &p, err);
    if (s != GQ_OK)
        return s;
    ids = gq_data(p->tape, p->ids);
    for (int i = 0; i < p->length; i++) /* nothing looks at the padding: attention is causal */
        ids[i] = (size_t)i < n ? r->ids[i] : end;
    *(int32_t *)gq_data(p->tape, p->end) = first_end(r->ids, n, end);
    s = gq_forward(p->tape, err);
    if (s == GQ_OK)
        gq_get_real(p->tape, p->embed, 0, embed, r->clip.proj);
    if (cut)
        *cut = whole > room;
    return s;
}

gq_status gq_retriever_question(gq_retriever *r, const char *question, float *embed, bool *cut,
                                gq_retrieve_seconds *seconds, gq_error *err)
{
    double    start = gq_now();
    gq_status s;

    if (!r->clip.text)
        return gq_fail(err, GQ_ECONFIG,
                       "clip.text is false: without CLIP's text tower no question can be compared "
                       "with frames");
    s = read_question(r, question, embed, cut, err);
    seconds->text += gq_now() - start;
    return s;
}

gq_status gq_retriever_select(gq_retriever *r, const gq_frame_set *f, const float *question,
                              gq_clipcut *out, gq_retrieve_seconds *seconds, gq_error *err)
{
    static const gq_clipcut_reduce reduce[] = {[GQ_CFG_REDUCE_MEAN] = GQ_CLIPCUT_MEAN,
                                               [GQ_CFG_REDUCE_MAX] = GQ_CLIPCUT_MAXIMUM,
                                               [GQ_CFG_REDUCE_FIRST] = GQ_CLIPCUT_FIRST};
    static const gq_clipcut_mode mode[] = {[GQ_CFG_CUT_CLIP] = GQ_CLIPCUT_CLIP,
                                           [GQ_CFG_CUT_UNIFORM] = GQ_CLIPCUT_UNIFORM,
                                           [GQ_CFG_CUT_MIX] = GQ_CLIPCUT_MIX};
    gq_clipcut_opts                o = {.k = r->cfg.clipcut.k,
                                        .group = r->cfg.clipcut.group,
                                        .normalize = r->cfg.clipcut.normalize,
                                        .reduce = reduce[r->cfg.clipcut.reduce],
                                        .mode = mode[r->cfg.clipcut.mode],
                                        .apart = r->cfg.clipcut.apart};
    double          start = gq_now();
    gq_status       s = gq_clipcut_select(f->embed, f->n, f->dim, question, &o, out, err);

    seconds->select += gq_now() - start;
    return s;
}

static gq_status fetch_pixels(gq_retriever *r, const gq_gif_bytes *gif, const int64_t *frame,
                              int64_t k, uint8_t *pixels, gq_retrieve_seconds *seconds,
                              gq_error *err)
{
    size_t    image = image_bytes(r);
    int64_t   at = -1;                              /* frame that src holds */
    source    src;
    gq_status s = source_open(&src, r, gif, seconds, err);

    for (int64_t i = 0; s == GQ_OK && i < k; i++) {
        if (i > 0 && frame[i] == frame[i - 1]) {
            memcpy(pixels + (size_t)i * image, pixels + (size_t)(i - 1) * image, image);
            continue;
        }
        for (; s == GQ_OK && at < frame[i]; at++) {
            s = source_next(&src, err);
            if (s == GQ_OK && !src.rgba)
                s = gq_fail(err, GQ_EINPUT, "%s: there is no frame %lld, only %lld", gif->name,
                            (long long)frame[i], (long long)at + 1);
        }
        if (s == GQ_OK)
            s = source_pixels(&src, pixels + (size_t)i * image, err);
    }
    source_close(&src);
    return s;
}

gq_status gq_retriever_features(gq_retriever *r, const uint8_t *pixels, int64_t n, float *features,
                                gq_retrieve_seconds *seconds, gq_error *err)
{
    double    start = gq_now();
    gq_status s = see(r, pixels, n, features, NULL, err);

    seconds->vision += gq_now() - start;
    return s;
}

gq_status gq_retriever_fetch(gq_retriever *r, const gq_gif_bytes *gif, const gq_frame_set *f,
                             const int64_t *frame, int64_t k, uint8_t *pixels, float *features,
                             gq_retrieve_seconds *seconds, gq_error *err)
{
    bool      kept = f && f->feature;
    uint8_t  *own = NULL;
    gq_status s = GQ_OK;

    for (int64_t i = 0; i < k; i++)
        if (frame[i] < (i ? frame[i - 1] : 0) || (kept && frame[i] >= f->n))
            return gq_fail(err, GQ_EBUG, "%s: frame %lld is out of order or beyond the end",
                           gif->name, (long long)frame[i]);
    if (!pixels && features && !kept) {
        pixels = own = gq_malloc((size_t)k, image_bytes(r));
        if (!own)
            return gq_fail(err, GQ_ENOMEM, "out of memory for the pixels of %lld frames",
                           (long long)k);
    }
    if (pixels)
        s = fetch_pixels(r, gif, frame, k, pixels, seconds, err);
    for (int64_t i = 0; s == GQ_OK && features && kept && i < k; i++)
        memcpy(features + (size_t)i * feature_count(r),
               f->feature + (size_t)frame[i] * feature_count(r),
               feature_count(r) * sizeof *features);
    if (s == GQ_OK && features && !kept)
        s = gq_retriever_features(r, pixels, k, features, seconds, err);
    gq_free(own);
    return s;
}
