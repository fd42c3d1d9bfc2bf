#include "train/ask.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/build.h"
#include "data/image.h"
#include "data/prompt.h"
#include "train/clip_dir.h"
#include "train/evaluate.h"

static const size_t MAX_CLIP = 1u << 30; /* bytes of the chosen frames before the resize */

struct gq_asker {
    gq_session   *session;
    gq_generator *generator;
    gq_retriever *retriever; /* NULL: frames are taken evenly */
    gq_resizer   *resizer;
    gq_prompt_ids question;
    uint8_t      *pixels; /* [k,S,S,3] */
    int32_t      *ids;    /* [max_new_tokens] of the answer */
    char         *description; /* NULL: none */
};

/* ---- which CLIP compares frames with the question -------------------------------------------- */

typedef struct settings {
    const char     *item[GQ_CLIP_SIZES + GQ_CLIP_WEIGHTS + 1];
    size_t          n;
    char            vocabulary[GQ_PATH_MAX + 32];
    gq_clip_weights weights;
} settings;

/* Configuration of a CLIP of its own: its sizes and weights, the run's limits and CLIP-Cut. */
static gq_status other_clip(const gq_config *c, const gq_ask_opts *o, gq_config *out, gq_error *err)
{
    settings     *list = gq_calloc(1, sizeof *list);
    gq_clip_sizes sizes = {0};
    gq_status     s = list ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");

    if (s == GQ_OK)
        gq_clip_weights_of(o->clip, &list->weights);
    if (s == GQ_OK && !list->weights.random && !gq_is_dir(o->clip) && !gq_is_file(o->clip))
        s = gq_fail(err, GQ_EWEIGHTS,
                    "%s: there is no such CLIP: give a directory with model.safetensors, "
                    "config.json and its vocabulary, or random:SEED",
                    o->clip);
    if (s == GQ_OK && !list->weights.random && gq_is_dir(o->clip))
        s = gq_clip_dir_sizes(o->clip, &sizes, err);
    if (s == GQ_OK) {
        snprintf(list->vocabulary, sizeof list->vocabulary, "model.tokenizer.clip=%s",
                 o->vocabulary ? o->vocabulary : "");
        if (o->vocabulary)
            list->item[list->n++] = list->vocabulary;
        for (int i = 0; i < list->weights.n; i++)
            list->item[list->n++] = list->weights.key[i];
        for (int i = 0; i < sizes.n; i++)
            list->item[list->n++] = sizes.key[i];
        s = gq_config_load(NULL, list->item, list->n, out, NULL, err);
    }
    if (s == GQ_OK) {
        out->data.limits = c->data.limits;
        out->engine = c->engine;
        out->clipcut = c->clipcut;
        out->clipcut.k = c->data.frames;
    }
    gq_free(list);
    return s;
}

static gq_status open_retriever(gq_asker *a, const gq_ask_opts *o, gq_error *err)
{
    gq_net    *net = a->session->net;
    gq_config *c;
    gq_status  s;

    if (o->evenly || (!o->clip && !net->cfg.clip.text))
        return GQ_OK;
    if (!o->clip) {
        if (net->cfg.clipcut.k != net->cfg.data.frames)
            return gq_fail(err, GQ_ECONFIG,
                           "clipcut.k is %d and the model sees data.frames = %d: set clipcut.k",
                           (int)net->cfg.clipcut.k, (int)net->cfg.data.frames);
        if (o->vocabulary)
            snprintf(net->cfg.model.tokenizer.clip, GQ_PATH_MAX, "%s", o->vocabulary);
        return gq_retriever_share(net, &a->retriever, err);
    }
    c = gq_calloc(1, sizeof *c);
    if (!c)
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    s = other_clip(&net->cfg, o, c, err);
    if (s == GQ_OK)
        s = gq_retriever_open(c, &a->retriever, NULL, err);
    gq_free(c);
    return s;
}

/* ---- life ------------------------------------------------------------------------------------ */

static gq_status open_generator(gq_asker *a, const gq_ask_opts *o, gq_error *err)
{
    const gq_config *c = &a->session->net->cfg;
    gq_decode_opts   d = gq_decode_of(c, a->session->tokenizer);

    if (o->beams > 0)
        d.beams = o->beams;
    return gq_generator_new(a->session->net->engine, a->session->net->params,
                            &a->session->net->model, 1, (int)c->data.frames, true, &d,
                            &a->generator, err);
}

static gq_status take_description(gq_asker *a, const char *description, gq_error *err)
{
    if (!a->retriever)
        return gq_fail(err, GQ_EUSAGE,
                       "a description is for CLIP-Cut, and the frames are taken evenly here: the "
                       "model has no CLIP with a text tower, or it is not asked");
    a->description = gq_strdup(description);
    return a->description ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");
}

gq_status gq_asker_open(gq_session *s, const gq_ask_opts *o, gq_asker **out, gq_error *err)
{
    static const gq_ask_opts defaults;
    const gq_config         *c = &s->net->cfg;
    gq_asker                *a = gq_calloc(1, sizeof *a);
    size_t                   frame = (size_t)(3 * c->clip.image_size * c->clip.image_size);
    gq_status                st;

    *out = NULL;
    if (c->model.kind == GQ_CFG_KIND_T5) {
        gq_free(a);
        return gq_fail(err, GQ_ECONFIG, "%s: a T5 reads text and this is about GIFs: ask a model of kind stllm, or "
                       "measure this one with gifqa-eval", s->path);
    }
    if (!a)
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    a->session = s;
    a->pixels = gq_malloc((size_t)c->data.frames, frame);
    a->ids = gq_malloc((size_t)c->decode.max_new_tokens, sizeof *a->ids);
    st = a->pixels && a->ids ? gq_resizer_new(&a->resizer, err)
                             : gq_fail(err, GQ_ENOMEM, "out of memory");
    o = o ? o : &defaults;
    if (st == GQ_OK)
        st = open_retriever(a, o, err);
    if (st == GQ_OK && o->description)
        st = take_description(a, o->description, err);
    if (st == GQ_OK && a->retriever)
        st = gq_retriever_cache(a->retriever, o->cache, o->cache_bytes, err);
    if (st == GQ_OK)
        st = open_generator(a, o, err);
    if (st != GQ_OK) {
        gq_asker_close(a);
        return st;
    }
    *out = a;
    return GQ_OK;
}

const char *gq_asker_note(const gq_asker *a)
{
    return a->retriever ? gq_retriever_note(a->retriever) : "";
}

void gq_asker_close(gq_asker *a)
{
    if (!a)
        return;
    gq_generator_free(a->generator);
    gq_retriever_close(a->retriever);
    gq_resizer_free(a->resizer);
    gq_prompt_ids_free(&a->question);
    gq_free(a->pixels);
    gq_free(a->ids);
    gq_free(a->description);
    gq_free(a);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static gq_status retrieve(gq_asker *a, const gq_gif_bytes *gif, const char *question, gq_reply *out,
                          gq_error *err)
{
    gq_retrieve_seconds t = {0};
    const gq_frame_set *frames = NULL;
    gq_clipcut          cut = {0};
    char     *text = gq_clipcut_text(question, a->description);
    float    *embed = gq_calloc((size_t)gq_retriever_clip(a->retriever)->proj + 1, sizeof *embed);
    gq_status s = text && embed ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");

    if (s == GQ_OK)
        s = gq_retriever_question(a->retriever, text, embed, NULL, &t, err);
    if (s == GQ_OK)
        s = gq_retriever_recall(a->retriever, gif, &frames, &out->origin, &t, err);
    if (s == GQ_OK)
        s = gq_retriever_select(a->retriever, frames, embed, &cut, &t, err);
    for (int i = 0; s == GQ_OK && i < out->k; i++) {
        out->frame[i] = (int32_t)cut.pick[i].frame;
        out->distance[i] = cut.pick[i].distance;
    }
    out->retrieved = true;
    out->seconds.decode += t.decode;
    out->seconds.preprocess += t.preprocess;
    out->seconds.retrieve += t.vision + t.text + t.select + t.recall;
    out->seconds.text += t.text + t.select;
    gq_clipcut_free(&cut);
    gq_free(embed);
    gq_free(text);
    return s;
}

static gq_status choose(gq_asker *a, const gq_gif_bytes *gif, const char *question, gq_reply *out,
                        gq_error *err)
{
    gq_gif_limits  limits = gq_retriever_limits(&a->session->net->cfg);
    gq_gif_summary sum;
    double         start = gq_now();
    gq_status      s = gq_gif_count(gif->data, gif->size, gif->name, &limits, &sum, err);

    out->seconds.decode += gq_now() - start;
    if (s != GQ_OK)
        return s;
    out->frames = sum.frames;
    out->width = sum.width;
    out->height = sum.height;
    out->flags = sum.flags;
    if (a->retriever)
        return retrieve(a, gif, question, out, err);
    gq_frames_evenly(sum.frames, out->k, out->frame);
    return GQ_OK;
}

static gq_status read_pixels(gq_asker *a, const gq_gif_bytes *gif, gq_reply *out, gq_error *err)
{
    const gq_config *c = &a->session->net->cfg;
    gq_gif_limits    limits = gq_retriever_limits(c);
    gq_filter        filter = c->image.filter == GQ_CFG_FILTER_NEAREST ? GQ_NEAREST : GQ_BICUBIC;
    size_t           side = (size_t)c->clip.image_size;
    gq_gif_clip      clip;
    double           start = gq_now(), middle;
    gq_status        s =
        gq_gif_load_rgb(gif->data, gif->size, gif->name, &limits, (const uint32_t *)out->frame,
                        (size_t)out->k, NULL, MAX_CLIP, &clip, err);

    middle = gq_now();
    out->seconds.decode += middle - start;
    if (s != GQ_OK)
        return s;
    out->flags |= clip.flags;
    for (size_t i = 0; s == GQ_OK && i < (size_t)out->k; i++)
        s = gq_resizer_preprocess(a->resizer, clip.rgb + i * 3 * clip.width * clip.height,
                                  clip.width, clip.height, (uint32_t)side, filter,
                                  a->pixels + i * 3 * side * side, err);
    gq_gif_clip_free(&clip);
    out->seconds.preprocess += gq_now() - middle;
    return s;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static gq_status generate(gq_asker *a, const gq_prompt_form *form, gq_reply *out, gq_error *err)
{
    gq_prompt prompt = {.vision = a->pixels, .ids = a->question.ids, .n = a->question.n};
    gq_answer answer = {.ids = a->ids};
    double    seconds[2] = {0, 0};
    char     *text = NULL;
    gq_status s = gq_generate(a->generator, &prompt, 1, &answer, seconds, err);

    if (s == GQ_OK)
        s = gq_tokenizer_decode(a->session->tokenizer, answer.ids, (size_t)answer.n,
                                GQ_TOK_SKIP | GQ_TOK_REPAIR, &text, NULL, err);
    if (s == GQ_OK && !(out->answer = gq_strdup(gq_prompt_strip(form, text))))
        s = gq_fail(err, GQ_ENOMEM, "out of memory");
    gq_free(text);
    out->confidence = exp(answer.logprob);
    out->ended = answer.ended;
    out->tokens = answer.n;
    out->seconds.vision = seconds[0];
    out->seconds.answer = seconds[1];
    return s;
}

gq_status gq_asker_ask(gq_asker *a, const gq_gif_bytes *gif, const char *question, gq_reply *out,
                       gq_error *err)
{
    const gq_config *c = &a->session->net->cfg;
    gq_prompt_form   form = {.template = c->prompt.template,
                             .answer_prefix = c->prompt.answer_prefix,
                             .max_question = (int32_t)c->prompt.max_question_tokens,
                             .max_answer = (int32_t)c->prompt.max_answer_tokens};
    gq_status        s;

    memset(out, 0, sizeof *out);
    if (!question[strspn(question, " \t\r\n")])
        return gq_fail(err, GQ_EUSAGE, "the question is empty");
    out->k = (int)c->data.frames;
    out->frame = gq_calloc((size_t)out->k, sizeof *out->frame);
    out->distance = gq_calloc((size_t)out->k, sizeof *out->distance);
    s = out->frame && out->distance ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");
    for (int i = 0; s == GQ_OK && i < out->k; i++)
        out->distance[i] = NAN;
    if (s == GQ_OK)
        s = gq_prompt_question(&form, a->session->tokenizer, question, "", &a->question, err);
    if (s == GQ_OK)
        s = choose(a, gif, question, out, err);
    if (s == GQ_OK)
        s = read_pixels(a, gif, out, err);
    if (s == GQ_OK)
        s = generate(a, &form, out, err);
    out->cut = a->question.cut;
    if (s != GQ_OK)
        gq_reply_free(out);
    return s;
}

void gq_reply_free(gq_reply *r)
{
    gq_free(r->answer);
    gq_free(r->frame);
    gq_free(r->distance);
    memset(r, 0, sizeof *r);
}
