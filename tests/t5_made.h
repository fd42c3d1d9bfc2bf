/* t5_made.h - T5 directories that tests write: config.json, model.safetensors, spiece.model.
 *
 * made_t5_random(): seeded weights, which write nonsense. made_t5_asker(): weights set by hand, so that
 * it asks "what is THING?" where THING stands for the word of made_things that the prompt has most often;
 * with the same number the one that comes first in made_things.
 */
#ifndef GIFQA_TESTS_T5_MADE_H
#define GIFQA_TESTS_T5_MADE_H

#include "data/tok_unigram_fixture.h"

#include "models/hf.h"
#include "models/t5.h"

#define MADE_THINGS(X)                                                                             \
    X("chases", "pursuit") X("sleeps", "rest") X("dog", "pet") X("cat", "feline") X("ball", "toy")    \
    X("mouse", "rodent") X("couch", "seat") X("red", "shade") X("black", "tint") X("man", "person")  \
    X("runs", "sport") X("horse", "mount")
static const struct { const char *word, *thing; } made_things[] = {
#define MADE_ROW(word, thing) {word, thing},
    MADE_THINGS(MADE_ROW)
#undef MADE_ROW
};
enum { MADE_THINGS_N = sizeof made_things / sizeof *made_things };

static const char *const made_words[] = {"what", "is", "?", "answer", "context",
                                         "a", "the", "on", ":", ".", "question"};
enum {
    MADE_WHAT = 3, MADE_IS, MADE_MARK,
    MADE_WORDS_N = sizeof made_words / sizeof *made_words,
    MADE_WORD = MADE_WHAT + MADE_WORDS_N,           /* ids of the words of made_things            */
    MADE_THING = MADE_WORD + MADE_THINGS_N,         /* ... of what they are asked for with        */
    MADE_LETTER = MADE_THING + MADE_THINGS_N,
    MADE_PIECES = MADE_LETTER + 26 + 1,
    MADE_ROWS = MADE_PIECES + 100,                  /* T5's sentinels follow                      */
};

static const gq_t5_config made_t5_sizes = {.width = 2 * MADE_PIECES, .head_width = MADE_PIECES, .heads = 1, .mlp = 16,
                                           .layers = 1, .decoder_layers = 1, .vocab = MADE_ROWS, .buckets = 8,
                                           .far = 16, .eps = 1e-6, .act = GQ_GELU_TANH, .gated = true};

/* ---- files ----------------------------------------------------------------------------------- */

/* more: members that come last and so win, each with a comma in front; "" none. */
static inline void made_config(const char *dir, const gq_t5_config *c, const char *more)
{
    char text[2048];
    int  n = snprintf(text, sizeof text,
                      "{\"model_type\":\"t5\",\"d_model\":%d,\"d_kv\":%d,\"num_heads\":%d,\"d_ff\":%d,"
                      "\"num_layers\":%d,"
                      "\"num_decoder_layers\":%d,\"vocab_size\":%d,\"relative_attention_num_buckets\":%d,"
                      "\"relative_attention_max_distance\":%d,\"feed_forward_proj\":\"%s\",\"tie_word_embeddings\":%s,"
                      "\"dropout_rate\":0.1,\"layer_norm_epsilon\":%g,\"architectures\":[\"T5\"]%s}",
                      c->width, c->head_width, c->heads, c->mlp, c->layers, c->decoder_layers, c->vocab, c->buckets,
                      c->far, c->gated ? "gated-gelu" : "relu", c->tied ? "true" : "false", c->eps, more);
    fix_put(dir, "config.json", text, (size_t)n);
}

static inline void made_pieces(const char *dir)
{
    static uni_bytes b, part;
    char             word[32];
    b.n = part.n = 0;
    uni_put_piece(&b, "<pad>", 5, 0, 3);
    uni_put_piece(&b, "</s>", 4, 0, 3);
    uni_put_piece(&b, "<unk>", 5, 0, 2);
    for (int k = 0; k < MADE_WORDS_N + 2 * MADE_THINGS_N; k++) {
        int         t = k - MADE_WORDS_N;
        const char *w = t < 0               ? made_words[k]
                      : t < MADE_THINGS_N ? made_things[t].word
                                          : made_things[t - MADE_THINGS_N].thing;
        snprintf(word, sizeof word, "%s%s", strchr("?:.", *w) ? "" : "\xE2\x96\x81", w);
        uni_put_piece(&b, word, strlen(word), -3, 1);
    }
    for (char c = 'a'; c <= 'z'; c++)
        uni_put_piece(&b, &c, 1, -10, 1);
    uni_put_piece(&b, "\xE2\x96\x81", 3, -10, 1);
    uni_number(&part, 3, 1);                        /* model_type UNIGRAM                         */
    uni_field(&b, 2, part.b, part.n);
    part.n = 0;
    uni_field(&part, 1, "identity", 8);             /* normalizer_spec without a map              */
    uni_field(&b, 3, part.b, part.n);
    fix_put(dir, "spiece.model", b.b, b.n);
}

/* ---- weights --------------------------------------------------------------------------------- */

typedef struct made_t5 {
    gq_engine *e;
    gq_params *p;
} made_t5;

static inline made_t5 made_open(const gq_t5_config *c, uint64_t seed)
{
    made_t5  m;
    gq_error err = {0};
    assert_ok(gq_engine_new(&(gq_engine_opts){.backend = &gq_backend_ref32, .threads = 1}, &m.e, &err), &err);
    assert_ok(gq_params_new(m.e, &m.p, &err), &err);
    assert_ok(gq_t5_declare(m.p, c, &err), &err);
    assert_ok(gq_params_seal(m.p, false, &err), &err);
    assert_ok(gq_params_init(m.p, seed, &err), &err);
    return m;
}

static inline void made_close(made_t5 *m, const char *dir)
{
    gq_hf_source from = {gq_hf_from_params, m->p};
    char         path[1200];
    gq_error     err = {0};
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_ok(gq_hf_save(m->p, GQ_HF_T5, &from, path, &err), &err);
    gq_params_free(m->p);
    gq_engine_free(m->e);
}

static inline void made_dir(const char *dir)
{
    gq_error err = {0};
    assert_ok(gq_mkdirs(dir, &err), &err);
}

static inline void made_t5_random(const char *dir, const gq_t5_config *c, uint64_t seed)
{
    made_t5 m = made_open(c, seed);
    made_dir(dir);
    made_close(&m, dir);
    made_config(dir, c, "");
    made_pieces(dir);
}

static inline void made_set(made_t5 *m, const char *name, int64_t row, int64_t column, float value)
{
    gq_param *q = gq_params_find(m->p, name);
    gq_param_set_f32(m->p, q, row * q->shape[1] + column, &value, 1);
}

/* Every token is a direction of its own, nothing but the decoder's look at the source does anything: its keys are all
 * alike, so it sees how often each token is there, as directions in the upper half. The head's rows want the last token
 * (ten times what they want of the source). */
static inline void made_t5_asker(const char *dir)
{
    const gq_t5_config *c = &made_t5_sizes;
    made_t5             m = made_open(c, 1);
    float              *zero = calloc(2 * (size_t)c->vocab * (size_t)c->width, sizeof *zero);

    for (int32_t i = 0; i < m.p->count; i++)
        if (m.p->param[i].rank == 2)
            gq_param_set_f32(m.p, &m.p->param[i], 0, zero, m.p->param[i].n);
    free(zero);
    for (int t = 0; t < MADE_PIECES; t++) {
        made_set(&m, "t5.shared", t, t, 1);
        made_set(&m, "t5.dec.h.0.cross.kv.w", MADE_PIECES + t, t, 1);
        made_set(&m, "t5.dec.h.0.cross.out.w", MADE_PIECES + t, t, 1 / sqrtf((float)c->width));
    }
    made_set(&m, "t5.head.w", MADE_WHAT, GQ_T5_START, 10);
    made_set(&m, "t5.head.w", MADE_IS, MADE_WHAT, 10);
    for (int t = 0; t < MADE_THINGS_N; t++) {
        made_set(&m, "t5.head.w", MADE_THING + t, MADE_IS, 10);
        made_set(&m, "t5.head.w", MADE_THING + t, MADE_PIECES + MADE_WORD + t, 1);
        made_set(&m, "t5.head.w", MADE_MARK, MADE_THING + t, 10);
    }
    made_set(&m, "t5.head.w", 1, MADE_MARK, 10);
    made_dir(dir);
    made_close(&m, dir);
    made_config(dir, c, "");
    made_pieces(dir);
}

#endif
