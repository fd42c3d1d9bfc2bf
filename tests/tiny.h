/* tiny.h - a whole stllm model of a few thousand parameters, with samples, for tests of the
 * engine and the models.
 *
 * Every parameter is random (biases and norms too) and every switch is a field, so that a test
 * changes the one it is about. Sizes are odd on purpose. Values come from Philox: the same on
 * every machine.
 */
#ifndef GIFQA_TESTS_TINY_H
#define GIFQA_TESTS_TINY_H

#include "core/mem.h"
#include "core/philox.h"
#include "models/stllm.h"
#include "support.h"
#include "train/feed.h"

enum {
    TINY_BATCH = 3,
    TINY_FRAMES = 2,
    TINY_QUERIES = 3,
    TINY_VISUAL = TINY_FRAMES * TINY_QUERIES,
    TINY_TEXT = 12,
    TINY_VOCAB = 29,
    TINY_SIDE = 6
};

typedef struct tiny {
    gq_config       cfg;                /* what feeding reads */
    gq_stllm_config model;
    gq_engine      *e;
    gq_params      *p;
    int             batch;              /* samples in use */
    bool            live;               /* frames go through CLIP, else features are the input */
    gq_sample       s[TINY_BATCH];
    int32_t         ids[TINY_BATCH][TINY_TEXT];
    uint8_t         frames[TINY_BATCH][TINY_FRAMES * TINY_SIDE * TINY_SIDE * 3];
    float           features[TINY_BATCH][TINY_FRAMES * 10 * 8];
    uint8_t         keep[TINY_BATCH * TINY_VISUAL];
} tiny;

static inline double tiny_normal(uint32_t stream, int64_t i)
{
    return gq_normal_at(77, (uint64_t)i, GQ_RNG_TEST, stream);
}

/* Sizes and switches before anything is declared; change fields, then tiny_open(). */
static inline void tiny_config(tiny *m)
{
    memset(m, 0, sizeof *m);
    m->batch = TINY_BATCH;
    m->cfg.data.frames = TINY_FRAMES;
    m->cfg.qformer.queries = TINY_QUERIES;
    m->cfg.prompt.bucket = 1;
    m->cfg.mvm.enable = true;
    m->model.clip = (gq_clip_config){.image = TINY_SIDE,
                                     .patch = 2,
                                     .width = 8,
                                     .layers = 3,
                                     .heads = 2,
                                     .mlp = 10,
                                     .act = GQ_QUICK_GELU,
                                     .ln_eps = 1e-5,
                                     .mean = {0.4f, 0.5f, 0.6f},
                                     .std = {0.3f, 0.25f, 0.2f}};
    m->model.feature = GQ_CLIP_FINAL;
    m->model.qformer = (gq_qformer_config){.queries = TINY_QUERIES,
                                           .width = 12,
                                           .layers = 3,
                                           .heads = 3,
                                           .mlp = 14,
                                           .cross_every = 2,
                                           .encoder_width = 10,
                                           .vision_width = 8,
                                           .bridge = GQ_BRIDGE_ADAPTER,
                                           .ln_eps = 1e-12};
    m->model.gpt2 = (gq_gpt2_config){.width = 14,
                                     .layers = 2,
                                     .heads = 2,
                                     .mlp = 30,
                                     .vocab = TINY_VOCAB,
                                     .positions = TINY_VISUAL + TINY_TEXT + 10,
                                     .ln_eps = 1e-5,
                                     .act = GQ_GELU_TANH,
                                     .bias = true,
                                     .tied = true};
    m->model.mvm = (gq_mvm_config){.mode = GQ_MVM_ZERO, .loss = GQ_MVM_COS, .weight = 1.5};
    m->model.proj_scale = 1.0;
    m->model.mvm_declared = true;
}

static inline void tiny_samples(tiny *m)
{
    static const int nq[TINY_BATCH] = {4, 2, 6}, na[TINY_BATCH] = {3, 5, 1};

    for (int b = 0; b < TINY_BATCH; b++) {
        for (int i = 0; i < TINY_TEXT; i++)
            m->ids[b][i] = (int32_t)(gq_philox_at(5, (uint64_t)(b * 64 + i), GQ_RNG_TEST, 1) %
                                     (TINY_VOCAB - 1));
        for (size_t i = 0; i < sizeof m->frames[b]; i++)
            m->frames[b][i] = (uint8_t)gq_philox_at(5, (uint64_t)b << 20 | i, GQ_RNG_TEST, 2);
        for (int i = 0; i < TINY_FRAMES * 10 * 8; i++)
            m->features[b][i] = (float)tiny_normal(3, b * 4096 + i);
        m->s[b] = (gq_sample){.vision = m->live ? (const void *)m->frames[b] : m->features[b],
                              .question = m->ids[b],
                              .nq = nq[b],
                              .answer = m->ids[b] + nq[b],
                              .na = na[b]};
        for (int j = 0; j < TINY_VISUAL; j++)       /* sample b keeps 3 tokens */
            m->keep[b * TINY_VISUAL + j] = (j + b) % 2 == 0;
    }
}

static inline void tiny_randomize(gq_params *p, double scale)
{
    for (int32_t i = 0; i < p->count; i++) {
        gq_param *q = &p->param[i];
        double    base = q->init.dist == GQ_INIT_CONST ? q->init.value : 0.0;
        for (int64_t j = 0; j < q->n; j++) {
            float v = (float)(base + scale * tiny_normal(100 + (uint32_t)i, j));
            gq_param_set_f32(p, q, j, &v, 1);
        }
    }
}

static inline void tiny_open(tiny *m, const gq_backend *backend, int threads)
{
    gq_error err = {0};

    tiny_samples(m);
    assert_ok(gq_engine_new(&(gq_engine_opts){.backend = backend, .threads = threads, .seed = 11},
                            &m->e, &err),
              &err);
    assert_ok(gq_params_new(m->e, &m->p, &err), &err);
    assert_ok(gq_stllm_declare(m->p, &m->model, &err), &err);
    assert_ok(gq_params_seal(m->p, true, &err), &err);
    tiny_randomize(m->p, 0.25);
}

static inline void tiny_close(tiny *m)
{
    gq_params_free(m->p);
    gq_engine_free(m->e);
}

/* Denominators of the whole batch in use. */
static inline gq_feed_opts tiny_feed_opts(const tiny *m)
{
    int labels = 0, kept = 0;
    for (int b = 0; b < m->batch; b++)
        labels += m->s[b].na + 1;
    for (int j = 0; j < m->batch * TINY_VISUAL; j++)
        kept += m->keep[j];
    return (gq_feed_opts){.inv_lm = 1.0 / labels, .inv_mvm = 1.0 / kept, .end_id = TINY_VOCAB - 1};
}

static inline void tiny_shape(const tiny *m, bool masked, gq_stllm_shape *shape)
{
    gq_feed_shape(&m->cfg, m->s, m->batch, m->live, masked, true, m->keep, shape);
}

/* Records the pass of the samples in use and fills its inputs. */
static inline void tiny_record(tiny *m, bool masked, gq_plan_opts plan, gq_stllm_tape *h)
{
    gq_stllm_shape shape;
    gq_feed_opts   o = tiny_feed_opts(m);
    gq_error       err = {0};

    tiny_shape(m, masked, &shape);
    assert_ok(gq_stllm_record(m->e, m->p, &m->model, &shape, &plan, true, h, &err), &err);
    gq_feed(&m->cfg, m->s, masked ? m->keep : NULL, NULL, &o, h);
}

static inline void tiny_step(gq_stllm_tape *h, bool accumulate)
{
    gq_error err = {0};
    assert_ok(gq_forward(h->tape, &err), &err);
    assert_ok(gq_backward(h->tape, accumulate, &err), &err);
}

/* Element i of a real array of the backend. */
static inline double tiny_value(const gq_engine *e, const void *p, int64_t i)
{
    return e->backend->real == GQ_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

/* Bytes of all gradients; gaps between parameters are zero. */
static inline size_t tiny_gradient_bytes(const gq_params *p)
{
    return (size_t)p->trainable_n * gq_dtype_size(p->engine->backend->real);
}

static inline void *tiny_copy(const void *p, size_t bytes)
{
    void *c = malloc(bytes ? bytes : 1);
    assert_non_null(c);
    return memcpy(c, p, bytes);
}

#endif
