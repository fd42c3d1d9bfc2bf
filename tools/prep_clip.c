/* CLIP in a build: chooses frames by question, and turns them into the features that a model
 * reads. */
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/table.h"
#include "tools/cli_cut.h"
#include "tools/prep_build.h"
#include "train/retrieve.h"

struct gq_prep_clip {
    gq_retriever *retriever;
    gq_config     cfg;
    char name[GQ_TABLE_GIF + 1];        /* of the GIF in `set`                                  */
    bool have;                          /* there is one                                         */
    gq_frame_set set;                   /* embeddings of its frames                             */
    float       *question;              /* [dim]                                                */
    int32_t      k;                     /* frames of a choice                                   */
    char         chooser[128], tower[128];
    gq_retrieve_seconds seconds;
};

/* ---- choosing -------------------------------------------------------------------------------- */

static gq_status look_at(gq_prep_clip *p, const gq_gif_file *gif, gq_error *err)
{
    gq_gif_bytes bytes = {gif->data, gif->size, gif->name};
    gq_status    s;

    if (p->have && !strcmp(p->name, gif->name))
        return GQ_OK;
    gq_frame_set_free(&p->set);
    p->have = false;
    s = gq_retriever_frames(p->retriever, &bytes, 0, &p->set, &p->seconds, err);
    if (s != GQ_OK)
        return s;
    p->have = true;
    snprintf(p->name, sizeof p->name, "%s", gif->name);
    return GQ_OK;
}

static gq_status choose(void *ctx, const gq_gif_file *gif, const char *question, int32_t k,
                        int32_t *frame, gq_error *err)
{
    gq_prep_clip *p = ctx;
    gq_clipcut    c = {0};
    gq_status     s;

    if (gq_prep_stopping())
        return gq_fail(err, GQ_ESTOPPED, "stopped at %s; run it again to continue", gif->name);
    s = look_at(p, gif, err);
    if (s == GQ_OK)
        s = gq_retriever_question(p->retriever, question, p->question, NULL, &p->seconds, err);
    if (s == GQ_OK)
        s = gq_retriever_select(p->retriever, &p->set, p->question, &c, &p->seconds, err);
    for (int32_t i = 0; s == GQ_OK && i < k; i++)
        frame[i] = (int32_t)c.pick[i].frame;
    gq_clipcut_free(&c);
    return s;
}

static gq_status features(void *ctx, const uint8_t *frames, float *tokens, gq_error *err)
{
    gq_prep_clip *p = ctx;

    if (gq_prep_stopping())
        return gq_fail(err, GQ_ESTOPPED, "stopped; run it again to continue");
    return gq_retriever_features(p->retriever, frames, p->k, tokens, &p->seconds, err);
}

/* In one call with choose() the GIF is looked at once. */
static gq_status all_frames(void *ctx, const gq_gif_file *gif, const float **vectors, int32_t *n,
                            gq_error *err)
{
    gq_prep_clip *p = ctx;

    if (gq_prep_stopping())
        return gq_fail(err, GQ_ESTOPPED, "stopped at %s; run it again to continue", gif->name);
    gq_status s = look_at(p, gif, err);
    *vectors = p->set.embed;
    *n = (int32_t)p->set.n;
    return s;
}

/* ---- life ------------------------------------------------------------------------------------ */

static const char *name_of_feature(gq_cfg_feature f)
{
#define NAME(id, text) if (f == id) return text;
    GQ_LIST_FEATURE(NAME)
#undef NAME
    return "?";
}

static const char *name_of_reduce(gq_cfg_reduce r)
{
#define NAME(id, text) if (r == id) return text;
    GQ_LIST_REDUCE(NAME)
#undef NAME
    return "?";
}

/* What identifies the weights in a shard: the last part of their path, or the seed. */
static void name_weights(const gq_config *c, char *out, size_t size)
{
    const char *path = c->model.weights.clip, *slash;
    size_t      n = strlen(path);

    while (n > 1 && path[n - 1] == '/')
        n--;
    slash = memrchr(path, '/', n);
    if (c->model.init == GQ_CFG_INIT_RANDOM)
        snprintf(out, size, "random:%llu", (unsigned long long)c->model.seed);
    else
        snprintf(out, size, "%.*s", (int)(path + n - (slash ? slash + 1 : path)),
                 slash ? slash + 1 : path);
}

/* Everything but k that a choice depends on; what is as it always was has no words. */
static void describe(gq_prep_clip *p, const gq_clip_config *clip, bool described)
{
    const gq_config *c = &p->cfg;
    char             weights[48], mode[16] = "", apart[24] = "";

    name_weights(c, weights, sizeof weights);
    if (c->clipcut.mode != GQ_CFG_CUT_CLIP)
        snprintf(mode, sizeof mode, " %s", gq_cli_cut_mode(c->clipcut.mode));
    if (c->clipcut.apart > 1)
        snprintf(apart, sizeof apart, " apart %d", (int)c->clipcut.apart);
    snprintf(p->chooser, sizeof p->chooser, "clipcut%s group %d %s%s%s%s, %s", mode,
             (int)c->clipcut.group, name_of_reduce(c->clipcut.reduce),
             c->clipcut.normalize ? " unit" : "", apart, described ? " with description" : "",
             weights);
    snprintf(p->tower, sizeof p->tower, "clip %dx%d/%d width %d layers %d %s, %s", clip->image,
             clip->image, clip->patch, clip->width, clip->layers, name_of_feature(c->clip.feature),
             weights);
}

/* The tower that makes the vectors, in full: what is compared with them must come from it. */
static gq_status offer_vectors(gq_prep_clip *p, gq_build_opts *o, gq_error *err)
{
    uint8_t   tower[16];
    gq_status s = gq_retriever_tower(p->retriever, tower, err);
    if (s != GQ_OK)
        return s;
    gq_hex(tower, sizeof tower, o->pooled_tower);
    o->all_frames = all_frames;
    o->pooled = gq_retriever_clip(p->retriever)->proj;
    return GQ_OK;
}

gq_status gq_prep_clip_open(const gq_config *c, bool chooses, bool with_features, bool vectors,
                            gq_build_opts *o, gq_prep_clip **out, gq_error *err)
{
    gq_prep_clip         *p = *out = gq_calloc(1, sizeof *p);
    const gq_clip_config *clip;
    gq_status             s;

    if (!p)
        return gq_fail(err, GQ_ENOMEM, "no memory for CLIP");
    p->cfg = *c;
    p->k = o->keyframes;
    p->cfg.clipcut.k = p->k;
    if (!chooses && !vectors)           /* vectors that no text could be compared with: no use */
        p->cfg.clip.text = false;       /* needs no vocabulary then */
    s = gq_retriever_open(&p->cfg, &p->retriever, NULL, err);
    if (s != GQ_OK)
        return s;
    clip = gq_retriever_clip(p->retriever);
    p->question = gq_malloc((size_t)clip->proj + 1, sizeof *p->question);
    if (!p->question)
        return gq_fail(err, GQ_ENOMEM, "no memory for CLIP");
    describe(p, clip, o->described);
    o->ctx = p;
    if (chooses) {
        o->choose = choose;
        o->chooser = p->chooser;
    }
    if (with_features) {
        o->features = features;
        o->tower = p->tower;
        o->tokens = gq_clip_tokens(clip);
        o->width = clip->width;
    }
    return vectors ? offer_vectors(p, o, err) : GQ_OK;
}

void gq_prep_clip_close(gq_prep_clip *p)
{
    if (!p)
        return;
    gq_frame_set_free(&p->set);
    gq_retriever_close(p->retriever);
    gq_free(p->question);
    gq_free(p);
}
