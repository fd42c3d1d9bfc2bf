/* From ragged samples to the inputs of a recorded pass: shapes by bucket, ids, positions,
 * labelled rows, masks. Every expected number is written out or follows from the definition in
 * specification models.md 1.7. */
#include "tiny.h"

/* tiny.h: 6 visual tokens; samples of 4+3, 2+5 and 6+1 question and answer tokens. */

static const int32_t *ints(gq_stllm_tape *h, gq_t x)
{
    return gq_data(h->tape, x);
}

static double real(gq_stllm_tape *h, gq_t x, int64_t i)
{
    return tiny_value(h->tape->engine, gq_data(h->tape, x), i);
}

static void shapes_by_bucket(void **state)
{
    tiny           m;
    gq_stllm_shape s;

    (void)state;
    tiny_config(&m);
    tiny_samples(&m);
    tiny_shape(&m, true, &s);
    assert_int_equal(s.batch, 3);
    assert_int_equal(s.frames, 2);
    assert_int_equal(s.text, 8);                    /* 2 + 5 + end, also 4 + 3 + end */
    assert_int_equal(s.labels, 3 * 6);              /* answers of up to 5 and the end, even */
    assert_true(s.masked && s.train && !s.live);
    m.cfg.prompt.bucket = 16;
    tiny_shape(&m, false, &s);
    assert_int_equal(s.text, 16);
    assert_false(s.masked);
    for (int text = 1; text < 70; text++) /* the smallest multiple that holds text tokens and end */
        for (int bucket = 1; bucket < 20; bucket++) {
            int got;
            m.cfg.prompt.bucket = bucket;
            got = gq_feed_text(&m.cfg, (text + 1) / 2, text / 2);
            assert_true(got % bucket == 0 && got >= text + 1 && got < text + 1 + bucket);
        }
}

/* Drop-mode pads kept tokens to a multiple of 16, but never beyond all of them. */
static void kept_places(void **state)
{
    static uint8_t keep[3 * 96];
    tiny           m;
    gq_stllm_shape s;

    (void)state;
    tiny_config(&m);
    tiny_samples(&m);
    m.cfg.data.frames = 3;
    m.cfg.qformer.queries = 32;
    for (int most = 1; most <= 96; most++) {
        for (int b = 0; b < 3; b++)
            for (int j = 0; j < 96; j++)
                keep[b * 96 + j] = j < (b == 1 ? most : 1);
        gq_feed_shape(&m.cfg, m.s, 3, false, true, true, keep, &s);
        assert_int_equal(s.kept, (most + 15) / 16 * 16);
    }
    m.cfg.qformer.queries = 11;                     /* 33 tokens: not a multiple */
    memset(keep, 1, sizeof keep);
    gq_feed_shape(&m.cfg, m.s, 3, false, true, true, keep, &s);
    assert_int_equal(s.kept, 33);
}

static void expect_text(tiny *m, gq_stllm_tape *h, int seen)
{
    int t = h->shape.text, r = 0, width = seen + t;

    for (int b = 0; b < m->batch; b++) {
        const gq_sample *s = &m->s[b];
        for (int j = 0; j < t; j++) {
            int32_t want = j < s->nq           ? s->question[j]
                           : j < s->nq + s->na ? s->answer[j - s->nq]
                                               : TINY_VOCAB - 1;
            assert_int_equal(ints(h, h->ids)[b * t + j], want);
        }
        /* the row before predicts: last question token first */
        for (int j = 0; j <= s->na; j++, r++) {
            assert_int_equal(ints(h, h->rows)[r], b * width + seen + s->nq - 1 + j);
            assert_int_equal(ints(h, h->labels)[r], j < s->na ? s->answer[j] : TINY_VOCAB - 1);
        }
    }
    assert_true(r < h->shape.labels);               /* these samples leave places over */
    for (; r < h->shape.labels; r++)
        assert_int_equal(ints(h, h->labels)[r], -100);
}

static void expect_positions(tiny *m, gq_stllm_tape *h, const int (*want)[64])
{
    int64_t width = gq_dim(h->tape, h->pos, 1);
    for (int b = 0; b < m->batch; b++)
        for (int64_t j = 0; j < width; j++)
            if (want[b][j] >= 0)
                assert_int_equal(ints(h, h->pos)[b * width + j], want[b][j]);
}

static void plain_pass(void **state)
{
    (void)state;
    for (int live = 0; live < 2; live++)
        for (int bits = 0; bits < 2; bits++) {
            tiny          m;
            gq_stllm_tape h;
            int           want[3][64];
            gq_t          vision;
            tiny_config(&m);
            m.live = live;
            m.cfg.prompt.bucket = 5;
            tiny_open(&m, bits ? &gq_backend_ref64 : &gq_backend_ref32, 1);
            tiny_record(&m, false, (gq_plan_opts){0}, &h);
            assert_int_equal(h.shape.text, 10);
            expect_text(&m, &h, TINY_VISUAL);
            for (int b = 0; b < 3; b++)
                for (int j = 0; j < 16; j++)
                    want[b][j] = j;
            expect_positions(&m, &h, want);
            assert_true(real(&h, h.inv_lm, 0) == (bits ? 1.0 / 12 : (double)(1.0f / 12)));
            vision = live ? h.frames : h.features;
            assert_int_equal(live ? h.features.i : h.frames.i, 0);
            assert_int_equal(h.u.i + h.visible.i + h.kept.i + h.teacher_pos.i + h.inv_mvm.i, 0);
            for (int b = 0; b < 3; b++)             /* sample-major, frames in order */
                for (int64_t i = 0;
                     i < (live ? TINY_FRAMES * TINY_SIDE * TINY_SIDE * 3 : TINY_FRAMES * 10 * 8);
                     i++) {
                    if (live)
                        assert_int_equal(((uint8_t *)gq_data(h.tape, vision))[b * 216 + i],
                                         m.frames[b][i]);
                    else
                        assert_true(real(&h, vision, b * 160 + i) == (double)m.features[b][i]);
                }
            gq_tape_free(h.tape);
            tiny_close(&m);
        }
}

static void zero_mode(void **state)
{
    (void)state;
    for (int hidden = 0; hidden < 2; hidden++) {
        tiny          m;
        gq_stllm_tape h;
        int           t;
        tiny_config(&m);
        m.model.mvm.hidden = hidden;
        tiny_open(&m, &gq_backend_ref64, 1);
        tiny_record(&m, true, (gq_plan_opts){0}, &h);
        t = h.shape.text;
        expect_text(&m, &h, TINY_VISUAL);
        assert_true(real(&h, h.inv_mvm, 0) == 1.0 / 9);
        assert_int_equal(h.visible.i != 0, hidden);
        for (int b = 0; b < 3; b++) {
            for (int j = 0; j < TINY_VISUAL; j++) {
                int keep = m.keep[b * TINY_VISUAL + j];
                assert_true(real(&h, h.u, b * TINY_VISUAL + j) == keep);
                assert_true(real(&h, h.weight, b * TINY_VISUAL + j) == keep);
                assert_int_equal(ints(&h, h.student_rows)[b * TINY_VISUAL + j],
                                 b * (TINY_VISUAL + t) + j);
                assert_int_equal(ints(&h, h.teacher_pos)[b * TINY_VISUAL + j], j);
            }
            for (int j = 0; hidden && j < TINY_VISUAL + t; j++)
                assert_true(real(&h, h.visible, b * (TINY_VISUAL + t) + j) ==
                            (j >= TINY_VISUAL || m.keep[b * TINY_VISUAL + j]));
        }
        gq_tape_free(h.tape);
        tiny_close(&m);
    }
}

/* One flag an element: V is multiplied by the matrix, every token takes part in the loss. */
static void element_mode(void **state)
{
    static float  flags[TINY_BATCH * TINY_VISUAL * 14];
    tiny          m;
    gq_stllm_tape h;
    gq_feed_opts  o;

    (void)state;
    tiny_config(&m);
    m.model.mvm.element = true;
    m.cfg.mvm.granularity = GQ_CFG_GRAIN_ELEMENT;
    tiny_open(&m, &gq_backend_ref32, 1);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        flags[i] = i % 3 != 0;
    gq_stllm_shape shape;
    gq_error       err = {0};
    tiny_shape(&m, true, &shape);
    assert_ok(gq_stllm_record(m.e, m.p, &m.model, &shape, &(gq_plan_opts){0}, true, &h, &err),
              &err);
    o = tiny_feed_opts(&m);
    gq_feed(&m.cfg, m.s, m.keep, flags, &o, &h);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        assert_true(real(&h, h.u, (int64_t)i) == (double)flags[i]);
    for (int j = 0; j < TINY_BATCH * TINY_VISUAL; j++)
        assert_true(real(&h, h.weight, j) == 1.0);
    tiny_step(&h, false);
    assert_true(isfinite(gq_scalar(h.tape, h.loss)));
    gq_tape_free(h.tape);
    tiny_close(&m);
}

/* Kept tokens of the three samples: {0,2,4}, {1,3,5}, {0,2,4}; here sample 1 keeps {1,3} and
 * sample 2 only {5}. */
static void drop_mode(void **state)
{
    static const int kept[3][6] = {
        {0, 2, 4, -1, -1, -1}, {7, 9, -1, -1, -1, -1}, {17, -1, -1, -1, -1, -1}};
    static const int count[3] = {3, 2, 1};

    (void)state;
    for (int compact = 0; compact < 2; compact++) {
        tiny          m;
        gq_stllm_tape h;
        int           want[3][64], t, width;
        tiny_config(&m);
        m.model.mvm.mode = GQ_MVM_DROP;
        m.cfg.mvm.mode = GQ_CFG_MVM_DROP;
        m.cfg.mvm.pos = compact ? GQ_CFG_POS_COMPACT : GQ_CFG_POS_KEEP;
        tiny_open(&m, &gq_backend_ref64, 1);
        m.keep[6 + 5] = 0;
        memset(m.keep + 12, 0, 5);
        m.keep[12 + 5] = 1;
        tiny_record(&m, true, (gq_plan_opts){0}, &h);
        assert_int_equal(h.shape.kept, 6);
        t = h.shape.text;
        width = 6 + t;
        expect_text(&m, &h, 6);
        for (int b = 0; b < 3; b++) {
            for (int j = 0; j < 6; j++) {
                bool here = j < count[b];
                assert_int_equal(ints(&h, h.kept)[b * 6 + j], kept[b][j]);
                assert_int_equal(ints(&h, h.student_rows)[b * 6 + j], b * width + j);
                assert_true(real(&h, h.weight, b * 6 + j) == here);
                assert_true(real(&h, h.visible, b * width + j) == here);
                want[b][j] = !here ? -1 : compact ? j : kept[b][j] - b * 6;
            }
            for (int j = 0; j < t; j++) {           /* text follows all tokens, or the kept ones */
                want[b][6 + j] = (compact ? count[b] : 6) + j;
                assert_true(real(&h, h.visible, b * width + 6 + j) == 1.0);
            }
        }
        expect_positions(&m, &h, want);
        tiny_step(&h, false);                       /* pads are in range and stay finite */
        assert_true(isfinite(gq_scalar(h.tape, h.loss)));
        gq_tape_free(h.tape);
        tiny_close(&m);
    }
}

/* Feeding again overwrites everything: nothing of longer samples stays behind. */
static void feeding_again_leaves_nothing_behind(void **state)
{
    tiny          m;
    gq_stllm_tape h;
    gq_feed_opts  o;
    double        loss, other;
    gq_sample     swap;

    (void)state;
    tiny_config(&m);
    m.model.mvm.hidden = true;
    tiny_open(&m, &gq_backend_ref64, 1);
    tiny_record(&m, true, (gq_plan_opts){0}, &h);
    o = tiny_feed_opts(&m);
    tiny_step(&h, false);
    loss = gq_scalar(h.tape, h.loss);
    swap = m.s[1];
    m.s[1] = m.s[2];
    m.s[2] = swap;
    m.s[0].na = 0;                                  /* an empty answer is one label: the end */
    gq_feed(&m.cfg, m.s, m.keep, NULL, &o, &h);
    expect_text(&m, &h, TINY_VISUAL);
    tiny_step(&h, false);
    other = gq_scalar(h.tape, h.loss);
    assert_true(other != loss);
    m.s[2] = m.s[1];
    m.s[1] = swap;
    m.s[0].na = 3;
    gq_feed(&m.cfg, m.s, m.keep, NULL, &o, &h);
    tiny_step(&h, false);
    assert_true(gq_scalar(h.tape, h.loss) == loss);
    gq_tape_free(h.tape);
    tiny_close(&m);
}

/* Padding is nobody's business: a larger bucket changes neither loss nor gradients, bit for bit
 * in double. */
static void padding_changes_nothing(void **state)
{
    tiny          m;
    gq_stllm_tape h;
    double        loss[2], *g = NULL;

    (void)state;
    for (int k = 0; k < 2; k++) {
        tiny_config(&m);
        m.cfg.prompt.bucket = k ? 13 : 1;
        tiny_open(&m, &gq_backend_ref64, 1);
        tiny_record(&m, true, (gq_plan_opts){0}, &h);
        tiny_step(&h, false);
        loss[k] = gq_scalar(h.tape, h.loss);
        if (k == 0)
            g = tiny_copy(m.p->grad.base, tiny_gradient_bytes(m.p));
        for (int64_t i = 0; k == 1 && i < m.p->trainable_n; i++)
            assert_true(fabs(g[i] - ((double *)m.p->grad.base)[i]) <= 1e-15);
        gq_tape_free(h.tape);
        tiny_close(&m);
    }
    assert_true(loss[0] == loss[1]);
    free(g);
}

/* T5: the question and the end are the source, answer and end the labels, and the target is those behind the start. */
static void texts(void **state)
{
    static const int32_t q[2][6] = {{5, 6, 7, 8, 9}, {10}}, answer[2][3] = {{20, 21, 22}, {23}};
    static const int32_t target[2][4] = {{0, 20, 21, 22}, {0, 23, 0, 0}};
    static const int32_t labels[8] = {20, 21, 22, 1, 23, 1, -100, -100}, rows[6] = {0, 1, 2, 3, 4, 5};
    static const gq_t5_config t5 = {.width = 8, .head_width = 4, .heads = 2, .mlp = 8, .layers = 1, .decoder_layers = 1,
                                    .vocab = 32, .buckets = 4, .far = 9, .eps = 1e-6};
    static gq_config c = {.model.kind = GQ_CFG_KIND_T5, .prompt.bucket = 4};
    gq_sample        s[2] = {{.question = q[0], .nq = 5, .answer = answer[0], .na = 3},
                             {.question = q[1], .nq = 1, .answer = answer[1], .na = 1}};
    gq_feed_opts     o = {.inv_lm = 1.0 / 6, .end_id = 1};
    gq_stllm_shape   shape;
    gq_engine       *e;
    gq_params       *p;
    gq_pass          pass = {.kind = GQ_CFG_KIND_T5};
    gq_t5_tape      *h = &pass.in.t5;
    gq_error         err = {0};

    (void)state;
    gq_feed_shape(&c, s, 2, false, false, true, NULL, &shape);
    assert_int_equal(shape.text, 8);
    assert_int_equal(shape.labels, 8);
    assert_int_equal(shape.frames, 0);
    assert_ok(gq_engine_new(&(gq_engine_opts){.backend = &gq_backend_ref64, .threads = 1}, &e, &err), &err);
    assert_ok(gq_params_new(e, &p, &err), &err);
    assert_ok(gq_t5_declare(p, &t5, &err), &err);
    assert_ok(gq_params_seal(p, false, &err), &err);
    assert_ok(gq_t5_record(e, p, &t5, &(gq_t5_shape){.batch = 2, .source = 8, .target = 4, .labels = 8}, NULL, h, &err),
              &err);
    gq_feed_pass(&c, s, NULL, NULL, &o, &pass);
    for (int b = 0; b < 2; b++) {
        const int32_t *source = (const int32_t *)gq_data(h->tape, h->source) + 8 * b;
        assert_memory_equal(source, q[b], (size_t)s[b].nq * sizeof *source);
        assert_int_equal(source[s[b].nq], 1);
        assert_int_equal(((const int32_t *)gq_data(h->tape, h->lengths))[b], s[b].nq + 1);
    }
    assert_memory_equal(gq_data(h->tape, h->target), target, sizeof target);
    assert_memory_equal(gq_data(h->tape, h->labels), labels, sizeof labels);
    assert_memory_equal(gq_data(h->tape, h->rows), rows, sizeof rows);
    assert_true(*(const double *)gq_data(h->tape, h->inv_lm) == 1.0 / 6);
    gq_tape_free(h->tape);
    gq_params_free(p);
    gq_engine_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_by_bucket),
        cmocka_unit_test(kept_places),
        cmocka_unit_test(plain_pass),
        cmocka_unit_test(zero_mode),
        cmocka_unit_test(element_mode),
        cmocka_unit_test(drop_mode),
        cmocka_unit_test(feeding_again_leaves_nothing_behind),
        cmocka_unit_test(padding_changes_nothing),
        cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
