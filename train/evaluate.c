#include "train/evaluate.h"

#include <math.h>
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "core/philox.h"
#include "data/prompt.h"
#include "models/t5_generate.h"
#include "train/feed.h"

const char *gq_view_name(gq_view v)
{
    static const char *const names[] = {"true", "other_gif", "shuffled_frames", "one_frame"};
    return names[v];
}

/* ---- what the model and the data have in common -------------------------------------------------------------- */

gq_status gq_data_fits(const gq_config *c, const gq_dataset *d, bool *live, gq_error *err)
{
    const gq_shard_meta *m = gq_dataset_meta(d);
    bool has_tokens = m->tokens > 0, has_frames = m->size > 0;
    bool text = c->model.kind == GQ_CFG_KIND_T5, set_of_texts = !has_tokens && !has_frames;
    int  grid = (int)(c->clip.image_size / c->clip.patch), tokens = grid * grid + 1;

    *live = false;
    if (text != set_of_texts)
        return gq_fail(err, GQ_ECONFIG, "%s holds %s and model.kind is '%s': %s", gq_dataset_dir(d),
                       set_of_texts ? "texts alone" : "frames", text ? "t5" : "stllm",
                       text ? "build a set of texts, with --context"
                            : "build it with GIFs, or set model.kind=t5");
    if (text)
        return GQ_OK;
    if (m->keyframes != c->data.frames)
        return gq_fail(
            err, GQ_ECONFIG,
            "%s holds %d frames a GIF and data.frames is %d: build it again or set data.frames",
            gq_dataset_dir(d), m->keyframes, (int)c->data.frames);
    *live = c->data.features == GQ_CFG_SOURCE_LIVE ||
            (c->data.features == GQ_CFG_SOURCE_AUTO && !has_tokens);
    if (c->clip.train)
        *live = true;                          /* a tower that learns cannot be read from a cache */
    if (*live && !has_frames)
        return gq_fail(err, GQ_ECONFIG,
                       "%s holds no pixels: set data.features=cached, or build it with frames",
                       gq_dataset_dir(d));
    if (*live && m->size != c->clip.image_size)
        return gq_fail(err, GQ_ECONFIG, "%s holds frames of %d pixels and clip.image_size is %d",
                       gq_dataset_dir(d), m->size, (int)c->clip.image_size);
    if (!*live && (m->tokens != tokens || m->width != c->clip.width))
        return gq_fail(err, GQ_ECONFIG, "%s holds features of %d x %d and the model reads %d x %d",
                       gq_dataset_dir(d), m->tokens, m->width, tokens, (int)c->clip.width);
    return GQ_OK;
}

static gq_status checked_tokenizer(const char *path, const gq_shard_meta *meta, gq_tokenizer **out,
                                   gq_error *err)
{
    uint8_t   hash[32];
    char      hex[65];
    gq_status s = gq_tokenizer_open(path, out, err);

    if (s != GQ_OK)
        return s;
    gq_tokenizer_hash(*out, hash);
    gq_hex(hash, sizeof hash, hex);
    if (meta && *meta->tokenizer_sha256 && strcmp(hex, meta->tokenizer_sha256) != 0) {
        gq_tokenizer_close(*out);
        *out = NULL;
        return gq_fail(
            err, GQ_EWEIGHTS,
            "%s: this tokenizer (%.12s...) is not the one the data was made with (%.12s...)", path,
            hex, meta->tokenizer_sha256);
    }
    return GQ_OK;
}

gq_status gq_run_tokenizer(const gq_config *c, const char *run_dir, const gq_shard_meta *meta,
                           gq_tokenizer **out, gq_error *err)
{
    const char *dirs[2] = {run_dir, c->data.train.n ? c->data.train.path[0] : NULL};

    *out = NULL;
    for (int i = 0; i < 2; i++) {
        char *path = dirs[i] ? gq_path(dirs[i], "tokenizer") : NULL;
        if (dirs[i] && !path)
            return gq_fail(err, GQ_ENOMEM, "%s: no memory for a file name", dirs[i]);
        bool      there = path && gq_is_dir(path);
        gq_status s = there ? checked_tokenizer(path, meta, out, err) : GQ_OK;
        gq_free(path);
        if (there)
            return s;
    }
    gq_language l = gq_net_language(c);
    if (*l.tokenizer)
        return checked_tokenizer(l.tokenizer, meta, out, err);
    return gq_fail(err, GQ_EWEIGHTS, "no tokenizer: %s/tokenizer is absent and %s is not set",
                   run_dir ? run_dir : "RUN", l.tokenizer_key);
}

/* ---- views ------------------------------------------------------------------------------------------------------ */

typedef struct job {
    gq_net              *net;
    const gq_dataset    *data;
    const gq_tokenizer  *tok;
    const gq_evaluate_opts *o;
    gq_shard_cursor     *cursor;
    gq_generator        *generator;                 /* of kind stllm                              */
    gq_t5_generator     *t5;                        /* of kind t5; then nothing is seen           */
    gq_scorer           *scorer;
    bool                 live;
    int                  batch;
    size_t               item;                      /* bytes of one sample's vision               */
    size_t               frame;                     /* bytes of one frame of it                   */
    char                *vision, *scratch;          /* [batch*item], [item]                       */
    int32_t             *ids;                       /* [batch*max_new]                            */
    int32_t             *texts;                     /* [batch*(max_question_tokens+1)], of kind t5 */
    double               nll;
    uint64_t             tokens, hits;
} job;

static gq_status read_vision(job *j, int64_t gif, void *dst, gq_error *err)
{
    return j->live ? gq_dataset_frames(j->data, j->cursor, gif, dst, err)
                   : gq_dataset_tokens(j->data, j->cursor, gif, dst, err);
}

static gq_status view(job *j, int64_t question, void *dst, gq_error *err)
{
    int64_t   count = gq_dataset_count(j->data), frames = j->net->cfg.data.frames;
    gq_qa     qa;
    gq_status s;

    if (j->t5)
        return GQ_OK;
    if (j->o->view == GQ_VIEW_OTHER)           /* the question half the dataset away: another GIF */
        gq_dataset_qa(j->data, (question + count / 2) % count, &qa);
    else
        gq_dataset_qa(j->data, question, &qa);
    s = read_vision(j, qa.gif,
                    j->o->view == GQ_VIEW_SHUFFLED || j->o->view == GQ_VIEW_ONE ? j->scratch : dst,
                    err);
    if (s != GQ_OK || j->o->view == GQ_VIEW_TRUE || j->o->view == GQ_VIEW_OTHER)
        return s;
    for (int64_t f = 0; f < frames; f++) {
        uint64_t from =
            j->o->view == GQ_VIEW_SHUFFLED
                ? gq_permute((uint64_t)question, 1, (uint64_t)frames, (uint64_t)f)
                : gq_below_at(5, (uint64_t)question, GQ_RNG_SAMPLE, 0, (uint32_t)frames);
        memcpy((char *)dst + (size_t)f * j->frame, j->scratch + from * j->frame, j->frame);
    }
    return GQ_OK;
}

/* ---- one batch ---------------------------------------------------------------------------------------------------- */

static gq_status measure_loss(job *j, const gq_qa *qa, int count, gq_error *err)
{
    gq_sample      s[256];
    gq_stllm_shape shape;
    gq_pass       *h;
    gq_feed_opts   o = {.inv_lm = 1.0, .end_id = gq_tokenizer_end_id(j->tok)};
    gq_status      status;
    float          stats[2];

    for (int b = 0; b < j->batch; b++) {
        const gq_qa *q = &qa[b < count ? b : 0];
        s[b] = (gq_sample){.vision = j->vision + (size_t)(b < count ? b : 0) * j->item,
                           .question = q->q_ids,
                           .nq = q->nq,
                           .answer = q->a_ids,
                           .na = q->na};
    }
    gq_feed_shape(&j->net->cfg, s, j->batch, j->live, false, false, NULL, &shape);
    status = gq_net_pass(j->net, &shape, &h, err);
    if (status != GQ_OK)
        return status;
    gq_feed_pass(&j->net->cfg, s, NULL, NULL, &o, h);
    status = gq_forward(h->tape, err);
    for (int b = 0, r = 0; status == GQ_OK && b < count; b++)
        for (int k = 0; k <= qa[b].na; k++, r++) {
            gq_get_real(h->tape, h->stats, 2 * r, stats, 2);
            j->nll += stats[0];
            j->hits += stats[1] > 0.5f;
            j->tokens++;
        }
    return status;
}

gq_status gq_prediction_write(gq_append *file, const gq_answered *a, gq_error *err)
{
    struct { const char *key, *text;
    } field[] = {{"type", a->type},
                 {"question", a->question},
                 {"answer", a->reference},
                 {"prediction", a->prediction}};
    size_t    room = 256, at;
    char     *line;
    gq_status s;

    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        room += gq_json_quote(field[i].text, NULL, 0) + strlen(field[i].key) + 8;
    line = gq_malloc(room, 1);
    if (!line)
        return gq_fail(err, GQ_ENOMEM, "evaluation: out of memory");
    at = (size_t)snprintf(line, room, "{\"index\":%lld,\"view\":\"%s\"", (long long)a->index,
                          gq_view_name(a->view));
    for (size_t i = 0; i < sizeof field / sizeof *field; i++) {
        at += (size_t)snprintf(line + at, room - at, ",\"%s\":", field[i].key);
        at += gq_json_quote(field[i].text, line + at, room - at);
    }
    snprintf(line + at, room - at, ",\"confidence\":%.9g}", a->confidence);
    s = gq_append_line(file, line, err);
    gq_free(line);
    return s;
}

static gq_status score_batch(job *j, int64_t first, const gq_qa *qa, const gq_answer *a, int count,
                             gq_error *err)
{
    gq_prompt_form form = {.answer_prefix = gq_dataset_meta(j->data)->answer_prefix};
    gq_status      s = GQ_OK;

    for (int b = 0; s == GQ_OK && b < count; b++) {
        char       *text = NULL;
        const char *ref = qa[b].answer, *shown;
        s = gq_tokenizer_decode(j->tok, a[b].ids, (size_t)a[b].n, GQ_TOK_SKIP | GQ_TOK_REPAIR,
                                &text, NULL, err);
        if (s != GQ_OK)
            break;
        shown = gq_prompt_strip(&form, text);
        s = gq_scorer_add(j->scorer, gq_dataset_type_name(j->data, qa[b].type), shown, &ref, 1,
                          err);
        if (s == GQ_OK && j->o->answered) {
            const char *type = gq_dataset_type_name(j->data, qa[b].type);
            gq_answered done = {.index = first + b, .view = j->o->view, .type = type ? type : "",
                                .question = qa[b].question, .reference = ref, .prediction = shown,
                                .confidence = exp(a[b].logprob)};
            s = j->o->answered(j->o->ctx, &done, err);
        }
        gq_free(text);
    }
    return s;
}

/* T5 reads the question and the end token. */
static gq_status answer_texts(job *j, const gq_qa *qa, int count, gq_answer *answer, gq_error *err)
{
    int       most = (int)j->net->cfg.prompt.max_question_tokens + 1;
    gq_source source[256];

    for (int b = 0; b < count; b++) {
        int32_t *ids = j->texts + (size_t)b * (size_t)most;
        int      n = qa[b].nq < most ? qa[b].nq : most - 1;
        memcpy(ids, qa[b].q_ids, (size_t)n * sizeof *ids);
        ids[n] = gq_tokenizer_end_id(j->tok);
        source[b] = (gq_source){ids, n + 1};
    }
    return gq_t5_generate(j->t5, source, count, answer, NULL, err);
}

static gq_status one_batch(job *j, int64_t first, int count, gq_error *err)
{
    gq_qa     qa[256];
    gq_prompt prompt[256] = {0};
    gq_answer answer[256] = {0};
    int       max_new = (int)j->net->cfg.decode.max_new_tokens;
    gq_status s = GQ_OK;

    for (int b = 0; s == GQ_OK && b < count; b++) {
        gq_dataset_qa(j->data, first + b, &qa[b]);
        s = view(j, first + b, j->vision + (size_t)b * j->item, err);
        prompt[b] = (gq_prompt){
            .vision = j->vision + (size_t)b * j->item, .ids = qa[b].q_ids, .n = qa[b].nq};
        answer[b] = (gq_answer){.ids = j->ids + b * max_new};
    }
    if (s == GQ_OK)
        s = j->t5 ? answer_texts(j, qa, count, answer, err)
                  : gq_generate(j->generator, prompt, count, answer, NULL, err);
    if (s == GQ_OK)
        s = score_batch(j, first, qa, answer, count, err);
    if (s == GQ_OK && j->o->loss)
        s = measure_loss(j, qa, count, err);
    return s;
}

gq_decode_opts gq_decode_of(const gq_config *c, const gq_tokenizer *tok)
{
    return (gq_decode_opts){
        .max_new = (int)c->decode.max_new_tokens,
        .min_new = (int)c->decode.min_new_tokens,
        .beams = (int)c->decode.beams,
        .length_penalty = c->decode.length_penalty,
        .legacy_length = c->decode.beam_len == GQ_CFG_BEAM_HF_LEGACY,
        .early = (gq_early)c->decode.early_stopping,
        .end_id = gq_tokenizer_end_id(tok),
        .tokens = (int)gq_tokenizer_vocab_size(tok),
        .bucket = (int)c->prompt.bucket,
    };
}

/* ---- all of it ------------------------------------------------------------------------------------------------------ */

static gq_status prepare(job *j, gq_error *err)
{
    const gq_config     *c = &j->net->cfg;
    const gq_shard_meta *m = gq_dataset_meta(j->data);
    gq_decode_opts       o = gq_decode_of(c, j->tok);
    gq_status            s = gq_data_fits(c, j->data, &j->live, err);

    if (s != GQ_OK)
        return s;
    j->batch = c->train.batch < 256 ? (int)c->train.batch : 256;
    j->item = j->live ? gq_shard_frame_bytes(m) : gq_shard_token_count(m) * sizeof(float);
    j->frame = j->item / (size_t)m->keyframes;
    j->vision = gq_malloc((size_t)j->batch, j->item + 1);         /* +1: texts have none          */
    j->scratch = gq_malloc(1, j->item + 1);
    j->texts = gq_malloc((size_t)j->batch, ((size_t)c->prompt.max_question_tokens + 1) * sizeof *j->texts);
    j->ids = gq_malloc((size_t)j->batch * (size_t)o.max_new, sizeof *j->ids);
    j->scorer = gq_scorer_new();
    if (!j->vision || !j->scratch || !j->texts || !j->ids || !j->scorer)
        return gq_fail(err, GQ_ENOMEM, "evaluation: out of memory");
    s = gq_shard_cursor_new(j->data, &j->cursor, err);
    if (s == GQ_OK && c->model.kind == GQ_CFG_KIND_T5)
        return gq_t5_generator_new(j->net->engine, j->net->params, &j->net->t5, j->batch, &o, &j->t5, err);
    if (s == GQ_OK)
        s = gq_generator_new(j->net->engine, j->net->params, &j->net->model, j->batch,
                             (int)c->data.frames, j->live, &o, &j->generator, err);
    return s;
}

static void finish(job *j)
{
    gq_generator_free(j->generator);
    gq_t5_generator_free(j->t5);
    gq_shard_cursor_free(j->cursor);
    gq_scorer_free(j->scorer);
    gq_free(j->vision);
    gq_free(j->scratch);
    gq_free(j->ids);
    gq_free(j->texts);
}

gq_status gq_evaluate(gq_net *n, const gq_dataset *d, const gq_tokenizer *tok,
                      const gq_evaluate_opts *o, gq_evaluation *out, gq_error *err)
{
    job       j = {.net = n, .data = d, .tok = tok, .o = o};
    int64_t   total = gq_dataset_count(d);
    double    start = gq_now();
    gq_status s = n->cfg.model.kind == GQ_CFG_KIND_T5 && o->view != GQ_VIEW_TRUE
                      ? gq_fail(err, GQ_EUSAGE, "view '%s': a T5 reads text, there are no frames to change",
                                gq_view_name(o->view))
                      : prepare(&j, err);

    memset(out, 0, sizeof *out);
    if (o->samples > 0 && o->samples < total)
        total = o->samples;
    for (int64_t i = 0; s == GQ_OK && i < total; i += j.batch) {
        s = one_batch(&j, i, (int)(total - i < j.batch ? total - i : j.batch), err);
        if (s == GQ_OK && o->stop && *o->stop)
            s = gq_fail(err, GQ_ESTOPPED, "stopped during evaluation");
    }
    if (s == GQ_OK)
        s = gq_scorer_table(j.scorer, n->cfg.train.seed, o->resamples, 0.95, &out->table, err);
    out->n = total;
    out->lm_loss = j.tokens ? j.nll / (double)j.tokens : NAN;
    out->ppl = exp(out->lm_loss);
    out->token_accuracy = j.tokens ? (double)j.hits / (double)j.tokens : NAN;
    out->seconds = gq_now() - start;
    finish(&j);
    return s;
}

void gq_evaluation_free(gq_evaluation *e)
{
    gq_score_table_free(&e->table);
}
