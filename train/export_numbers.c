/* Outputs of the towers for seeded random inputs, as tests/reference/check_export.py reads them. */
#include <math.h>

#include "core/io.h"
#include "core/mem.h"
#include "core/ops.h"
#include "core/philox.h"
#include "data/image.h"
#include "train/export.h"

enum { IMAGES = 2, WORDS = 8, RNG_PIXELS = 1, RNG_REALS, RNG_IDS };

typedef struct numbers {
    gq_session *s;
    gq_file    *f;
    uint64_t    seed;
    gq_error   *err;
    bool        second; /* an object was written before */
} numbers;

/* ---- text ------------------------------------------------------------------------------------ */

/* x [shape...] as nested lists; *x moves behind what was written. */
static gq_status put_nested(numbers *n, const float **x, const int32_t **ids, int rank,
                            const int64_t *shape)
{
    gq_status s = gq_file_printf(n->f, n->err, "[");

    for (int64_t i = 0; s == GQ_OK && i < shape[0]; i++) {
        if (i)
            s = gq_file_printf(n->f, n->err, ",");
        if (s == GQ_OK && rank > 1)
            s = put_nested(n, x, ids, rank - 1, shape + 1);
        else if (s == GQ_OK)
            s = ids ? gq_file_printf(n->f, n->err, "%d", *(*ids)++)
                    : gq_file_printf(n->f, n->err, "%.9g", *(*x)++);
    }
    return s == GQ_OK ? gq_file_printf(n->f, n->err, "]") : s;
}

static gq_status put_reals(numbers *n, const char *key, const float *x, int rank,
                           const int64_t *shape)
{
    gq_status s = gq_file_printf(n->f, n->err, ",\n \"%s\": ", key);
    return s == GQ_OK ? put_nested(n, &x, NULL, rank, shape) : s;
}

static gq_status put_ids(numbers *n, const char *key, const int32_t *x, int rank,
                         const int64_t *shape)
{
    gq_status s = gq_file_printf(n->f, n->err, ",\n \"%s\": ", key);
    return s == GQ_OK ? put_nested(n, NULL, &x, rank, shape) : s;
}

/* {"seed" stands first, so that every other key has a comma before it. */
static gq_status begin(numbers *n, const char *name)
{
    gq_status s = gq_file_printf(n->f, n->err, "%s\"%s\": {\"seed\": %llu",
                                 n->second ? "},\n" : "{", name, (unsigned long long)n->seed);
    n->second = true;
    return s;
}

/* ---- values ---------------------------------------------------------------------------------- */

static gq_status take(void **p, int64_t count, size_t size, gq_error *err)
{
    *p = gq_calloc((size_t)count + 1, size);
    return *p ? GQ_OK : gq_fail(err, GQ_ENOMEM, "numbers of the export: out of memory");
}

static void random_ids(const numbers *n, int32_t *ids, int64_t count, int64_t below)
{
    for (int64_t i = 0; i < count; i++)
        ids[i] =
            (int32_t)gq_below_at(n->seed, (uint64_t)i, GQ_RNG_SAMPLE, RNG_IDS, (uint32_t)below);
}

static void unit(float *x, int64_t rows, int64_t dim)
{
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0.0;
        for (int64_t i = 0; i < dim; i++)
            sum += (double)x[r * dim + i] * (double)x[r * dim + i];
        for (int64_t i = 0; i < dim; i++)
            x[r * dim + i] = (float)(x[r * dim + i] / sqrt(sum));
    }
}

static gq_status finish(gq_tape *t, gq_t out, gq_error *err)
{
    gq_keep(t, out, "out");
    return gq_tape_finish(t, GQ_T_NONE, NULL, err);
}

static gq_tape *tape_of(numbers *n, const char *name)
{
    gq_tape *t = NULL;
    if (gq_tape_new(n->s->net->engine, n->s->net->params, name, &t, n->err) == GQ_OK)
        gq_tape_no_grad(t);
    return t;
}

/* Runs the tape and reads `count` elements of out into memory of the caller's. */
static gq_status run(numbers *n, gq_tape *t, gq_t out, int64_t count, float **x)
{
    gq_status s = gq_forward(t, n->err);
    if (s == GQ_OK)
        s = take((void **)x, count, sizeof **x, n->err);
    if (s == GQ_OK)
        gq_get_real(t, out, 0, *x, count);
    return s;
}

/* A random normal input, fed and written. */
static gq_status feed_reals(numbers *n, gq_tape *t, gq_t in, const char *key, int rank,
                            const int64_t *shape)
{
    int64_t   count = 1;
    float    *x;
    gq_status s;

    for (int i = 0; i < rank; i++)
        count *= shape[i];
    s = take((void **)&x, count, sizeof *x, n->err);
    if (s != GQ_OK)
        return s;
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)gq_normal_at(n->seed, (uint64_t)i, GQ_RNG_SAMPLE, RNG_REALS);
    gq_put_real(t, in, 0, x, count);
    s = put_reals(n, key, x, rank, shape);
    gq_free(x);
    return s;
}

/* ---- the towers ------------------------------------------------------------------------------ */

/* frames > 0: the whole model from features; 0: GPT-2 alone. Logits of the text's rows. */
static gq_status language(numbers *n, const char *name, int frames)
{
    const gq_stllm_config *m = &n->s->net->model;
    int64_t       visual = (int64_t)frames * m->qformer.queries, room = m->gpt2.positions - visual;
    int64_t       text = room < WORDS ? room : WORDS, all = visual + text;
    gq_stllm_tape h = {.shape = {.batch = 1, .frames = frames, .text = (int)text}};
    gq_gpt2_opts  o = {0};
    gq_tape      *t = h.tape = tape_of(n, name);
    gq_t          ids, pos, rows, x;
    float        *logits = NULL;
    gq_status     s;

    if (!t)
        return GQ_ENOMEM;
    ids = gq_input(t, "ids", GQ_I32, 2, GQ_SHAPE(1, text));
    pos = gq_input(t, "pos", GQ_I32, 2, GQ_SHAPE(1, all));
    rows = gq_input(t, "rows", GQ_I32, 1, &text);
    x = gq_gpt2_tokens(t, ids);
    if (frames)
        x = gq_concat_rows(t, gq_stllm_visual(t, m, &h), x);
    x = gq_gather_rows(t, gq_gpt2_states(t, &m->gpt2, x, pos, &o), rows);
    x = gq_linear(t, x, gq_gpt2_head(t, &m->gpt2), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
    s = finish(t, x, n->err);
    if (s == GQ_OK)
        s = begin(n, name);
    if (s == GQ_OK && frames)
        s = feed_reals(n, t, h.features, "features", 3,
                       GQ_SHAPE(frames, gq_clip_tokens(&m->clip), m->clip.width));
    if (s == GQ_OK) {
        random_ids(n, gq_data(t, ids), text, m->gpt2.vocab);
        for (int64_t i = 0; i < all; i++)
            ((int32_t *)gq_data(t, pos))[i] = (int32_t)i;
        for (int64_t i = 0; i < text; i++)
            ((int32_t *)gq_data(t, rows))[i] = (int32_t)(visual + i);
        s = frames ? put_ids(n, "ids", gq_data(t, ids), 1, &text)
                   : put_ids(n, "ids", gq_data(t, ids), 2, GQ_SHAPE(1, text));
    }
    if (s == GQ_OK)
        s = run(n, t, x, text * m->gpt2.vocab, &logits);
    if (s == GQ_OK)
        s = frames ? put_reals(n, "logits", logits, 2, GQ_SHAPE(text, m->gpt2.vocab))
                   : put_reals(n, "logits", logits, 3, GQ_SHAPE(1, text, m->gpt2.vocab));
    gq_free(logits);
    gq_tape_free(t);
    return s;
}

/* T5: logits of a target after a source. */
static gq_status t5(numbers *n)
{
    const gq_t5_config *m = &n->s->net->t5;
    const int64_t       words = WORDS;
    gq_tape            *t = tape_of(n, "t5");
    gq_t                source, lengths, target, x;
    float              *logits = NULL;
    gq_status           s;

    if (!t)
        return GQ_ENOMEM;
    source = gq_input(t, "ids", GQ_I32, 2, GQ_SHAPE(1, words));
    lengths = gq_input(t, "lengths", GQ_I32, 1, GQ_SHAPE(1));
    target = gq_input(t, "target", GQ_I32, 2, GQ_SHAPE(1, words));
    x = gq_t5_encode(t, m, source, lengths, 0.0);
    x = gq_t5_decode(t, m, target, x, lengths, &(gq_t5_opts){0});
    x = gq_linear(t, x, gq_t5_head(t, m), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
    s = finish(t, x, n->err);
    if (s == GQ_OK)
        s = begin(n, "t5");
    if (s == GQ_OK) {
        random_ids(n, gq_data(t, source), words, m->vocab);
        *(int32_t *)gq_data(t, lengths) = (int32_t)words;
        for (int64_t i = 0; i < words; i++)          /* the source backwards, behind the start */
            ((int32_t *)gq_data(t, target))[i] =
                i ? ((const int32_t *)gq_data(t, source))[words - i] : GQ_T5_START;
        s = put_ids(n, "ids", gq_data(t, source), 2, GQ_SHAPE(1, words));
    }
    if (s == GQ_OK)
        s = put_ids(n, "target_ids", gq_data(t, target), 2, GQ_SHAPE(1, words));
    if (s == GQ_OK)
        s = run(n, t, x, words * m->vocab, &logits);
    if (s == GQ_OK)
        s = put_reals(n, "logits", logits, 3, GQ_SHAPE(1, words, m->vocab));
    gq_free(logits);
    gq_tape_free(t);
    return s;
}

static gq_status qformer(numbers *n)
{
    const gq_stllm_config *m = &n->s->net->model;
    const int64_t *in_shape = GQ_SHAPE(IMAGES, gq_clip_tokens(&m->clip), m->qformer.encoder_width);
    gq_tape       *t = tape_of(n, "qformer");
    float         *states = NULL;
    gq_t           in, out;
    gq_status      s;

    if (!t)
        return GQ_ENOMEM;
    in = gq_input_real(t, "encoder", 3, in_shape);
    out = gq_qformer_states(t, &m->qformer, in, 0.0);
    s = finish(t, out, n->err);
    if (s == GQ_OK)
        s = begin(n, "qformer");
    if (s == GQ_OK)
        s = feed_reals(n, t, in, "encoder", 3, in_shape);
    if (s == GQ_OK)
        s = run(n, t, out, (int64_t)IMAGES * m->qformer.queries * m->qformer.width, &states);
    if (s == GQ_OK)
        s = put_reals(n, "states", states, 3,
                      GQ_SHAPE(IMAGES, m->qformer.queries, m->qformer.width));
    gq_free(states);
    gq_tape_free(t);
    return s;
}

/* Random pixels into the tape; the file gets them as transformers wants them: planes, normalised. */
static gq_status feed_pixels(numbers *n, uint8_t *frames)
{
    const gq_clip_config *c = &n->s->net->model.clip;
    int64_t               side = c->image, one = 3 * side * side;
    float                *x;
    gq_status             s = take((void **)&x, IMAGES * one, sizeof *x, n->err);

    if (s != GQ_OK)
        return s;
    for (int64_t i = 0; i < IMAGES * one; i++)
        frames[i] = (uint8_t)gq_below_at(n->seed, (uint64_t)i, GQ_RNG_SAMPLE, RNG_PIXELS, 256);
    for (int i = 0; i < IMAGES; i++)
        gq_image_normalize(frames + i * one, (uint32_t)side, c->mean, c->std, x + i * one);
    s = put_reals(n, "pixels", x, 4, GQ_SHAPE(IMAGES, 3, side, side));
    gq_free(x);
    return s;
}

static gq_status vision(numbers *n)
{
    const gq_clip_config *c = &n->s->net->model.clip;
    gq_tape              *t = tape_of(n, "clip vision");
    float                *embeds = NULL;
    gq_t                  frames, out;
    gq_status             s;

    if (!t)
        return GQ_ENOMEM;
    frames = gq_input(t, "frames", GQ_U8, 4, GQ_SHAPE(IMAGES, c->image, c->image, 3));
    gq_clip_vision(t, c, frames, GQ_CLIP_FINAL, NULL, &out);
    s = finish(t, out, n->err);
    if (s == GQ_OK)
        s = feed_pixels(n, gq_data(t, frames));
    if (s == GQ_OK) {
        for (int i = 0; i < IMAGES; i++)
            ((int32_t *)gq_data(t, gq_find(t, "clip.class_rows")))[i] = i * gq_clip_tokens(c);
        s = run(n, t, out, (int64_t)IMAGES * c->proj, &embeds);
    }
    if (s == GQ_OK) {
        unit(embeds, IMAGES, c->proj);
        s = put_reals(n, "image_embeds", embeds, 2, GQ_SHAPE(IMAGES, c->proj));
    }
    gq_free(embeds);
    gq_tape_free(t);
    return s;
}

static gq_status text(numbers *n)
{
    const gq_clip_config *c = &n->s->net->model.clip;
    int64_t               words = c->context < WORDS ? c->context : WORDS;
    gq_tape              *t = tape_of(n, "clip text");
    float                *embeds = NULL;
    gq_t                  ids, pos, end, out;
    gq_status             s;

    if (!t)
        return GQ_ENOMEM;
    ids = gq_input(t, "ids", GQ_I32, 2, GQ_SHAPE(1, words));
    pos = gq_input(t, "pos", GQ_I32, 2, GQ_SHAPE(1, words));
    end = gq_input(t, "end", GQ_I32, 1, GQ_SHAPE(1));
    out = gq_clip_text(t, c, ids, pos, end);
    s = finish(t, out, n->err);
    if (s == GQ_OK) {
        int32_t *id = gq_data(t, ids);
        random_ids(n, id, words, c->vocab - 1);
        id[words - 1] = c->vocab - 1; /* the end token, whose state is read */
        for (int64_t i = 0; i < words; i++)
            ((int32_t *)gq_data(t, pos))[i] = (int32_t)i;
        *(int32_t *)gq_data(t, end) = (int32_t)words - 1;
        s = put_ids(n, "ids", id, 2, GQ_SHAPE(1, words));
    }
    if (s == GQ_OK)
        s = run(n, t, out, c->proj, &embeds);
    if (s == GQ_OK) {
        unit(embeds, 1, c->proj);
        s = put_reals(n, "text_embeds", embeds, 2, GQ_SHAPE(1, c->proj));
    }
    gq_free(embeds);
    gq_tape_free(t);
    return s;
}

static gq_status all(numbers *n)
{
    const gq_stllm_config *m = &n->s->net->model;
    gq_status              s;

    if (n->s->cfg.model.kind == GQ_CFG_KIND_T5) {
        s = t5(n);
        return s == GQ_OK ? gq_file_printf(n->f, n->err, "}}\n") : s;
    }
    s = language(n, "gpt2", 0);
    if (s == GQ_OK)
        s = qformer(n);
    if (s == GQ_OK)
        s = language(n, "stllm", (int)n->s->cfg.data.frames);
    if (s == GQ_OK && m->clip.text) {
        s = begin(n, "clip");
        if (s == GQ_OK)
            s = vision(n);
        if (s == GQ_OK)
            s = text(n);
    }
    return s == GQ_OK ? gq_file_printf(n->f, n->err, "}}\n") : s;
}

gq_status gq_export_numbers(gq_session *s, uint64_t seed, const char *file, gq_error *err)
{
    numbers   n = {.s = s, .seed = seed, .err = err};
    gq_status st;

    if (s->stored)
        return gq_fail(err, GQ_EBUG, "%s: numbers need the weights in memory", s->path);
    st = gq_atomic_open(file, &n.f, err);
    if (st == GQ_OK)
        st = all(&n);
    if (st == GQ_OK)
        return gq_atomic_commit(n.f, err);
    gq_atomic_abort(n.f);
    return st;
}
