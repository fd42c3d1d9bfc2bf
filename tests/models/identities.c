/* Identities of masked video modelling that hold without any reference numbers (specification
 * models.md 10.4).
 *
 * All on ref64: two ways to the same value differ by rounding of another order of additions
 * only, 1e-12 of the largest magnitude; where the arithmetic is the same, bits are compared. */
#include "tiny.h"

static const double BOUND = 1e-12;

static double most(const double *x, int64_t n)
{
    double m = 0.0;
    for (int64_t i = 0; i < n; i++)
        m = fmax(m, fabs(x[i]));
    return m;
}

static void expect_close(const double *a, const double *b, int64_t n, double scale,
                         const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(a[i] - b[i]) <= BOUND * scale))
            fail_msg("%s[%lld]: %.17g and %.17g", what, (long long)i, a[i], b[i]);
}

static const double *states_row(gq_stllm_tape *h, int b, int row)
{
    const double *x = gq_data(h->tape, h->states);
    return x + ((int64_t)b * gq_dim(h->tape, h->states, 1) + row) * gq_dim(h->tape, h->states, 2);
}

static void choose(tiny *m, bool drop, gq_mvm_kind loss)
{
    tiny_config(m);
    m->model.mvm.loss = loss;
    m->model.mvm.mode = drop ? GQ_MVM_DROP : GQ_MVM_ZERO;
    m->cfg.mvm.mode = drop ? GQ_CFG_MVM_DROP : GQ_CFG_MVM_ZERO;
    m->model.mvm.hidden = !drop;
}

/* drop with kept positions == zero hidden from attention: states of kept visual and all text
 * rows, both losses, and every gradient. (What a hidden token itself sees is compared nowhere.) */
static void drop_keep_is_zero_hidden(void **state)
{
    (void)state;
    for (int loss = 0; loss < 3; loss++) {
        tiny          m, z;
        gq_stllm_tape drop, zero;
        int           text = 0;

        choose(&m, true, (gq_mvm_kind)loss);
        choose(&z, false, (gq_mvm_kind)loss);
        m.model.mvm.predictor = z.model.mvm.predictor = loss == GQ_MVM_COS;
        tiny_open(&m, &gq_backend_ref64, 1);
        tiny_open(&z, &gq_backend_ref64, 1);
        tiny_record(&m, true, (gq_plan_opts){0}, &drop);
        tiny_record(&z, true, (gq_plan_opts){0}, &zero);
        tiny_step(&drop, false);
        tiny_step(&zero, false);
        assert_true(fabs(gq_scalar(drop.tape, drop.lm_loss) - gq_scalar(zero.tape, zero.lm_loss)) <
                    BOUND * 10);
        assert_true(
            fabs(gq_scalar(drop.tape, drop.mvm_loss) - gq_scalar(zero.tape, zero.mvm_loss)) <
            BOUND * fmax(1.0, gq_scalar(zero.tape, zero.mvm_loss)));
        text = drop.shape.text;
        for (int b = 0; b < m.batch; b++) {
            int used = 0;
            for (int j = 0; j < TINY_VISUAL; j++)
                if (m.keep[b * TINY_VISUAL + j])
                    expect_close(states_row(&drop, b, used++), states_row(&zero, b, j), 14, 10.0,
                                 "kept state");
            for (int j = 0; j < text; j++)
                expect_close(states_row(&drop, b, drop.shape.kept + j),
                             states_row(&zero, b, TINY_VISUAL + j), 14, 10.0, "text state");
        }
        expect_close(m.p->grad.base, z.p->grad.base, m.p->trainable_n,
                     most(z.p->grad.base, z.p->trainable_n), "gradient");
        assert_true(most(m.p->grad.base, m.p->trainable_n) > 1e-3);
        gq_tape_free(drop.tape);
        gq_tape_free(zero.tape);
        tiny_close(&m);
        tiny_close(&z);
    }
}

/* Visible zeros are something else: a zeroed token is still a key. */
static void zero_visible_differs(void **state)
{
    double loss[2];
    (void)state;
    for (int hidden = 0; hidden < 2; hidden++) {
        tiny          m;
        gq_stllm_tape h;
        choose(&m, false, GQ_MVM_MSE);
        m.model.mvm.hidden = hidden;
        tiny_open(&m, &gq_backend_ref64, 1);
        tiny_record(&m, true, (gq_plan_opts){0}, &h);
        tiny_step(&h, false);
        loss[hidden] = gq_scalar(h.tape, h.lm_loss);
        gq_tape_free(h.tape);
        tiny_close(&m);
    }
    assert_true(fabs(loss[0] - loss[1]) > 1e-4);
}

/* GPT-2 is causal and the visual tokens come first: the teacher on N tokens alone is the full
 * pass's first N rows. */
static void teacher_on_visual_tokens_is_the_full_pass(void **state)
{
    tiny          m;
    gq_stllm_tape masked, full;
    double       *teacher;

    (void)state;
    tiny_config(&m);
    tiny_open(&m, &gq_backend_ref64, 1);
    tiny_record(&m, true, (gq_plan_opts){0}, &masked);
    tiny_step(&masked, false);
    teacher = tiny_copy(gq_data(masked.tape, masked.teacher),
                        (size_t)m.batch * TINY_VISUAL * 14 * sizeof(double));
    tiny_record(&m, false, (gq_plan_opts){0}, &full);
    tiny_step(&full, false);
    for (int b = 0; b < m.batch; b++)
        for (int j = 0; j < TINY_VISUAL; j++)
            expect_close(&teacher[(b * TINY_VISUAL + j) * 14], states_row(&full, b, j), 14, 10.0,
                         "teacher");
    free(teacher);
    gq_tape_free(masked.tape);
    gq_tape_free(full.tape);
    tiny_close(&m);
}

/* Nothing masked, no predictor, no dropout: student and teacher agree, so the MVM loss is 0 and
 * the step is the plain one. */
static void nothing_masked_costs_nothing(void **state)
{
    (void)state;
    for (int loss = 0; loss < 3; loss++)
        for (int drop = 0; drop < 2; drop++) {
            tiny          m;
            gq_stllm_tape masked, plain;
            double       *g;
            choose(&m, drop, (gq_mvm_kind)loss);
            tiny_open(&m, &gq_backend_ref64, 1);
            memset(m.keep, 1, sizeof m.keep);
            tiny_record(&m, true, (gq_plan_opts){0}, &masked);
            tiny_step(&masked, false);
            assert_true(fabs(gq_scalar(masked.tape, masked.mvm_loss)) < 1e-14);
            g = tiny_copy(m.p->grad.base, tiny_gradient_bytes(m.p));
            tiny_record(&m, false, (gq_plan_opts){0}, &plain);
            tiny_step(&plain, false);
            expect_close(g, m.p->grad.base, m.p->trainable_n, most(g, m.p->trainable_n),
                         "gradient");
            free(g);
            gq_tape_free(masked.tape);
            gq_tape_free(plain.tape);
            tiny_close(&m);
        }
}

/* The gradient of V at a masked token is exactly 0, at a kept one it is not. The separate plan
 * keeps it readable. */
static void masked_tokens_get_no_gradient(void **state)
{
    (void)state;
    for (int hidden = 0; hidden < 2; hidden++)
        for (int b = 0; b < 2; b++) {
            const gq_backend *backend = b == 0 ? &gq_backend_ref64 : gq_backend_cpu(NULL);
            tiny              m;
            gq_stllm_tape     h;
            if (!backend)
                continue;
            choose(&m, false, GQ_MVM_COS);
            m.model.mvm.hidden = hidden;
            tiny_open(&m, backend, 1);
            tiny_record(&m, true, (gq_plan_opts){.separate = true}, &h);
            tiny_step(&h, false);
            for (int j = 0; j < m.batch * TINY_VISUAL; j++) {
                double largest = 0.0;
                for (int i = 0; i < 14; i++)
                    largest = fmax(
                        largest, fabs(tiny_value(m.e, gq_grad_data(h.tape, h.visual), j * 14 + i)));
                if (m.keep[j])
                    assert_true(largest > 1e-6);
                else
                    assert_true(largest == 0.0);
            }
            gq_tape_free(h.tape);
            tiny_close(&m);
        }
}

/* A sample alone gives the rows it has in a padded batch, and with the same denominators the
 * gradients add up. */
static void batch_of_one_is_a_row_of_a_batch(void **state)
{
    (void)state;
    for (int drop = 0; drop < 2; drop++) {
        tiny          m;
        gq_stllm_tape all, one;
        gq_feed_opts  o;
        double       *sum, *whole, *states;
        int64_t       seen, width;

        choose(&m, drop, GQ_MVM_MSE);
        tiny_open(&m, &gq_backend_ref64, 1);
        o = tiny_feed_opts(&m);
        tiny_record(&m, true, (gq_plan_opts){0}, &all);
        tiny_step(&all, false);
        whole = tiny_copy(m.p->grad.base, tiny_gradient_bytes(m.p));
        states = tiny_copy(gq_data(all.tape, all.states), all.tape->tensor[all.states.i].bytes);
        width = gq_dim(all.tape, all.states, 1);
        seen = width - all.shape.text;
        sum = calloc((size_t)m.p->trainable_n, sizeof *sum);
        for (int b = 0; b < TINY_BATCH; b++) {
            gq_stllm_shape shape;
            gq_error       err = {0};
            int            used = m.s[b].nq + m.s[b].na + 1;
            gq_feed_shape(&m.cfg, &m.s[b], 1, false, true, true, m.keep + b * TINY_VISUAL, &shape);
            assert_int_equal(shape.text, used);     /* alone there is no padding */
            assert_ok(
                gq_stllm_record(m.e, m.p, &m.model, &shape, &(gq_plan_opts){0}, true, &one, &err),
                &err);
            gq_feed(&m.cfg, &m.s[b], m.keep + b * TINY_VISUAL, NULL, &o, &one);
            tiny_step(&one, false);
            for (int j = 0; j < used; j++)
                expect_close(states_row(&one, 0, (int)(gq_dim(one.tape, one.states, 1) - used) + j),
                             states + (b * width + seen + j) * 14, 14, 10.0, "text state");
            for (int64_t i = 0; i < m.p->trainable_n; i++)
                sum[i] += ((double *)m.p->grad.base)[i];
            gq_tape_free(one.tape);
        }
        expect_close(sum, whole, m.p->trainable_n, most(whole, m.p->trainable_n), "gradient");
        free(sum);
        free(whole);
        free(states);
        gq_tape_free(all.tape);
        tiny_close(&m);
    }
}

/* The MVM loss alone touches neither the embedding table nor the text: by causality its
 * gradients do not depend on the question. */
static void mvm_does_not_see_the_text(void **state)
{
    tiny          m;
    gq_stllm_tape h;
    gq_feed_opts  o;
    double       *first, *second;
    gq_param     *wte;

    (void)state;
    choose(&m, false, GQ_MVM_COS);
    tiny_open(&m, &gq_backend_ref64, 1);
    tiny_record(&m, true, (gq_plan_opts){0}, &h);
    o = tiny_feed_opts(&m);
    o.inv_lm = 0.0;                                 /* the LM loss times nothing */
    gq_feed(&m.cfg, m.s, m.keep, NULL, &o, &h);
    tiny_step(&h, false);
    first = tiny_copy(m.p->grad.base, tiny_gradient_bytes(m.p));
    for (int b = 0; b < TINY_BATCH; b++)
        for (int i = 0; i < TINY_TEXT; i++)
            m.ids[b][i] = (m.ids[b][i] + 7) % (TINY_VOCAB - 1);
    gq_feed(&m.cfg, m.s, m.keep, NULL, &o, &h);
    tiny_step(&h, false);
    second = m.p->grad.base;
    assert_true(most(first, m.p->trainable_n) > 1e-3);
    expect_close(first, second, m.p->trainable_n, most(first, m.p->trainable_n), "gradient");
    wte = gq_params_find(m.p, "gpt2.wte");
    assert_true(most(gq_param_grad(m.p, wte), wte->n) == 0.0);
    free(first);
    gq_tape_free(h.tape);
    tiny_close(&m);
}

/* A pass whose last block computes only the rows that a loss reads gives the losses and gradients of
 * one that computes all of them; the rows it does compute are the same. */
static void rows_nobody_reads_are_not_missed(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        tiny           m;
        gq_stllm_tape  all, few;
        gq_stllm_shape shape;
        gq_feed_opts   o;
        gq_error       err = {0};
        bool           masked = k > 0;
        double        *whole;

        choose(&m, k == 1, k == 3 ? GQ_MVM_COS : GQ_MVM_MSE);
        m.model.mvm.predictor = k == 3;
        tiny_open(&m, &gq_backend_ref64, 1);
        o = tiny_feed_opts(&m);
        tiny_record(&m, masked, (gq_plan_opts){0}, &all);
        tiny_step(&all, false);
        whole = tiny_copy(m.p->grad.base, tiny_gradient_bytes(m.p));
        tiny_shape(&m, masked, &shape);
        assert_ok(
            gq_stllm_record(m.e, m.p, &m.model, &shape, &(gq_plan_opts){0}, false, &few, &err),
            &err);
        gq_feed(&m.cfg, m.s, masked ? m.keep : NULL, NULL, &o, &few);
        tiny_step(&few, false);
        assert_int_equal(gq_rank(few.tape, few.states), 2);
        expect_close(&(double){gq_scalar(few.tape, few.loss)},
                     &(double){gq_scalar(all.tape, all.loss)}, 1, 1.0, "loss");
        assert_true(most(whole, m.p->trainable_n) > 1e-3);
        expect_close(m.p->grad.base, whole, m.p->trainable_n, most(whole, m.p->trainable_n),
                     "gradient");
        free(whole);
        gq_tape_free(few.tape);
        gq_tape_free(all.tape);
        tiny_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drop_keep_is_zero_hidden),
        cmocka_unit_test(zero_visible_differs),
        cmocka_unit_test(teacher_on_visual_tokens_is_the_full_pass),
        cmocka_unit_test(nothing_masked_costs_nothing),
        cmocka_unit_test(masked_tokens_get_no_gradient),
        cmocka_unit_test(batch_of_one_is_a_row_of_a_batch),
        cmocka_unit_test(mvm_does_not_see_the_text),
        cmocka_unit_test(rows_nobody_reads_are_not_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
