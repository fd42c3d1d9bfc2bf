/* The engine's bitwise promises on a whole training step: rerun, replay = eager, any plan,
 * recompute = keep, any number of threads, the documented order of gradient accumulation;
 * nothing is allocated while a tape runs; which parameter gets a gradient; and how a non-finite
 * number is traced. */
#include "tiny.h"

#include "core/ops.h"

static const gq_backend *backends(int i) /* reference and, where it is built, the CPU's best rung */
{
    return i == 0   ? &gq_backend_ref32
           : i == 1 ? &gq_backend_ref64
           : i == 2 ? gq_backend_cpu(NULL)
                    : NULL;
}

static void expect_same(const void *a, const void *b, size_t bytes, const char *what)
{
    if (memcmp(a, b, bytes) != 0) {
        size_t i = 0;
        while (((const char *)a)[i] == ((const char *)b)[i])
            i++;
        fail_msg("%s: byte %zu of %zu differs", what, i, bytes);
    }
}

static void some_dropout(tiny *m)
{
    m->model.gpt2.dropout = 0.2;
    m->model.qformer.dropout = 0.1;
    m->model.mvm.teacher_dropout = true;
    m->model.mvm.predictor = true;
}

typedef struct snapshot { void *grad, *states; double loss; size_t bytes, state_bytes; } snapshot;

static snapshot take(tiny *m, gq_stllm_tape *h)
{
    snapshot s = {.loss = gq_scalar(h->tape, h->loss), .bytes = tiny_gradient_bytes(m->p),
                  .state_bytes = h->tape->tensor[h->states.i].bytes};
    s.grad = tiny_copy(m->p->grad.base, s.bytes);
    s.states = tiny_copy(gq_data(h->tape, h->states), s.state_bytes);
    return s;
}

static void drop_snapshot(snapshot *s)
{
    free(s->grad);
    free(s->states);
}

static void expect_snapshot(const snapshot *a, const snapshot *b, const char *what)
{
    assert_true(a->loss == b->loss && isfinite(a->loss));
    assert_int_equal(a->bytes, b->bytes);
    expect_same(a->states, b->states, a->state_bytes, what);
    expect_same(a->grad, b->grad, a->bytes, what);
}

/* ---- plans and reruns ------------------------------------------------------------------------ */

static void run_plan(const gq_backend *backend, gq_plan_opts plan, uint32_t step, snapshot *out,
                     size_t *act)
{
    tiny          m;
    gq_stllm_tape h;

    tiny_config(&m);
    m.live = true;
    some_dropout(&m);
    tiny_open(&m, backend, 2);
    m.e->step.step = step;
    tiny_record(&m, true, plan, &h);
    tiny_step(&h, false);
    *out = take(&m, &h);
    *act = h.tape->act_bytes;
    tiny_step(&h, false);                           /* the same tape again */
    snapshot again = take(&m, &h);
    expect_snapshot(out, &again, "rerun");
    drop_snapshot(&again);
    gq_tape_free(h.tape);
    tiny_close(&m);
}

static void every_plan_computes_the_same_bits(void **state)
{
    static const gq_plan_opts plans[] = {{.separate = true}, {0}, {.policy = GQ_SEGMENT},
                                         {.policy = GQ_SEGMENT, .separate = true}};
    (void)state;
    for (int b = 0; backends(b); b++) {
        snapshot s[4], other;
        size_t   act[4], unused;
        for (int k = 0; k < 4; k++)
            run_plan(backends(b), plans[k], 3, &s[k], &act[k]);
        for (int k = 1; k < 4; k++)
            expect_snapshot(&s[0], &s[k], backends(b)->name);
        assert_true(act[1] < act[0]);               /* shared memory is less than separate memory */
        assert_true(act[2] < act[1]);               /* and recomputing needs less again */
        run_plan(backends(b), plans[1], 4, &other, &unused);
        assert_true(other.loss != s[0].loss);       /* another step draws another dropout */
        drop_snapshot(&other);
        for (int k = 0; k < 4; k++)
            drop_snapshot(&s[k]);
    }
}

/* Two tapes of different sizes share ACT and TEMP: running one must not disturb what the other
 * computes next. */
static void tapes_share_arenas(void **state)
{
    (void)state;
    for (int b = 0; backends(b); b++) {
        tiny          m;
        gq_stllm_tape small, large;
        snapshot      first, again;

        tiny_config(&m);
        tiny_open(&m, backends(b), 1);
        m.batch = 1;
        tiny_record(&m, true, (gq_plan_opts){0}, &small);
        tiny_step(&small, false);
        first = take(&m, &small);
        m.batch = 3;
        tiny_record(&m, true, (gq_plan_opts){0}, &large);            /* the arena moves */
        tiny_step(&large, false);
        tiny_step(&small, false);
        again = take(&m, &small);
        expect_snapshot(&first, &again, "after a larger tape");
        drop_snapshot(&first);
        drop_snapshot(&again);
        gq_tape_free(small.tape);
        gq_tape_free(large.tape);
        tiny_close(&m);
    }
}

/* ---- eager ----------------------------------------------------------------------------------- */

typedef struct lm { gq_tape *t; gq_t ids, pos, rows, labels, inv, states, loss; int count; } lm;

static void lm_inputs(lm *l)
{
    int64_t n = TINY_TEXT, r = l->count * (n - 1);

    l->ids = gq_input(l->t, "ids", GQ_I32, 2, GQ_SHAPE(l->count, n));
    l->pos = gq_input(l->t, "pos", GQ_I32, 2, GQ_SHAPE(l->count, n));
    l->rows = gq_input(l->t, "rows", GQ_I32, 1, &r);
    l->labels = gq_input(l->t, "labels", GQ_I32, 1, &r);
    l->inv = gq_input_stat(l->t, "inv", 1, GQ_SHAPE(1));
}

/* Samples first, first+1, ...: every token predicts the next; the denominator is a constant of
 * the step. */
static void lm_fill(tiny *m, lm *l, int first)
{
    int32_t *ids = gq_data(l->t, l->ids), *pos = gq_data(l->t, l->pos);
    int32_t *rows = gq_data(l->t, l->rows);
    int32_t *labels = gq_data(l->t, l->labels);

    for (int b = 0; b < l->count; b++)
        for (int j = 0; j < TINY_TEXT; j++) {
            ids[b * TINY_TEXT + j] = m->ids[first + b][j];
            pos[b * TINY_TEXT + j] = j;
            if (j + 1 < TINY_TEXT) {
                *rows++ = b * TINY_TEXT + j;
                *labels++ = m->ids[first + b][j + 1];
            }
        }
    gq_put_real(l->t, l->inv, 0, &(float){1.0f / 32.0f}, 1);
}

static void lm_ops(tiny *m, lm *l)
{
    gq_gpt2_opts o = {.dropout = m->model.gpt2.dropout};

    l->states = gq_gpt2_states(l->t, &m->model.gpt2, gq_gpt2_tokens(l->t, l->ids), l->pos, &o);
    l->loss = gq_lm_loss(l->t, l->states, gq_gpt2_head(l->t, &m->model.gpt2), l->rows, l->labels,
                         l->inv, NULL);
    gq_keep(l->t, l->states, "states");
    gq_keep(l->t, l->loss, "loss");
}

static void open_lm(tiny *m, lm *l, bool eager, int first, int count)
{
    gq_error err = {0};

    memset(l, 0, sizeof *l);
    l->count = count;
    assert_ok(gq_tape_new(m->e, m->p, "lm", &l->t, &err), &err);
    if (eager)
        gq_tape_eager(l->t);
    lm_inputs(l);
    if (eager)                                /* an eager op reads its inputs when it is recorded */
        lm_fill(m, l, first);
    lm_ops(m, l);
    if (!eager)
        assert_ok(gq_tape_finish(l->t, l->loss, NULL, &err), &err);
    if (!eager)
        lm_fill(m, l, first);
}

static void step_lm(lm *l, bool accumulate)
{
    gq_error err = {0};
    assert_ok(gq_forward(l->t, &err), &err);
    assert_ok(gq_backward(l->t, accumulate, &err), &err);
}

static void replay_equals_eager(void **state)
{
    (void)state;
    for (int b = 0; backends(b); b++) {
        tiny     m;
        lm       eager, planned;
        void    *states, *grad;
        size_t   bytes;
        double   loss;
        gq_error err = {0};

        tiny_config(&m);
        m.model.gpt2.dropout = 0.2;
        tiny_open(&m, backends(b), 2);
        open_lm(&m, &eager, true, 0, 3);
        bytes = eager.t->tensor[eager.states.i].bytes;
        states = tiny_copy(gq_data(eager.t, eager.states), bytes);   /* computed while recording */
        loss = gq_scalar(eager.t, eager.loss);
        assert_true(loss > 0.1);
        assert_ok(gq_tape_finish(eager.t, eager.loss, NULL, &err), &err);
        step_lm(&eager, false);
        expect_same(states, gq_data(eager.t, eager.states), bytes, "eager tape run again");
        grad = tiny_copy(m.p->grad.base, tiny_gradient_bytes(m.p));
        open_lm(&m, &planned, false, 0, 3);
        step_lm(&planned, false);
        expect_same(states, gq_data(planned.t, planned.states), bytes, "planned tape");
        expect_same(grad, m.p->grad.base, tiny_gradient_bytes(m.p),
                    "gradients of the planned tape");
        assert_true(gq_scalar(planned.t, planned.loss) == loss);
        free(states);
        free(grad);
        gq_tape_free(eager.t);
        gq_tape_free(planned.t);
        tiny_close(&m);
    }
}

/* ---- gradient accumulation ------------------------------------------------------------------- */

/* Gradient of one parameter in double (ref64), copied. */
static double *gradient_of(tiny *m, const char *name)
{
    gq_param *q = gq_params_find(m->p, name);
    return tiny_copy(gq_param_grad(m->p, q), (size_t)q->n * sizeof(double));
}

/* The documented order (core/tape.h): micro-batch by micro-batch, and within one in reverse tape
 * order - for the tied embedding first the head, then the lookup. The same weights with an
 * untied head give the two shares apart. */
static void documented_order_of_accumulation(void **state)
{
    tiny     tied, untied;
    lm       l;
    double  *sum[2], *head[2], *look[2], *got;

    (void)state;
    tiny_config(&untied);
    untied.model.gpt2.tied = false;
    tiny_open(&untied, &gq_backend_ref64, 1);
    memcpy(gq_param_data(untied.p, gq_params_find(untied.p, "gpt2.head.w")),
           gq_param_data(untied.p, gq_params_find(untied.p, "gpt2.wte")),
           TINY_VOCAB * 14 * sizeof(double));
    for (int k = 0; k < 2; k++) {                   /* micro-batches {0} and {1, 2} */
        open_lm(&untied, &l, false, k, 1 + k);
        step_lm(&l, false);
        head[k] = gradient_of(&untied, "gpt2.head.w");
        look[k] = gradient_of(&untied, "gpt2.wte");
        sum[k] = tiny_copy(untied.p->grad.base, tiny_gradient_bytes(untied.p));
        gq_tape_free(l.t);
    }
    for (int k = 0; k < 2; k++) {                   /* every other parameter: micro 0 + micro 1 */
        open_lm(&untied, &l, false, k, 1 + k);
        step_lm(&l, k == 1);
        gq_tape_free(l.t);
    }
    for (int64_t i = 0; i < untied.p->trainable_n; i++)
        assert_true(((double *)untied.p->grad.base)[i] == sum[0][i] + sum[1][i]);

    tiny_config(&tied);
    tiny_open(&tied, &gq_backend_ref64, 1);
    for (int32_t i = 0; i < tied.p->count; i++) {   /* the same values under the same names */
        gq_param *q = &tied.p->param[i], *r = gq_params_find(untied.p, q->name);
        memcpy(gq_param_data(tied.p, q), gq_param_data(untied.p, r), (size_t)q->n * sizeof(double));
    }
    for (int k = 0; k < 2; k++) {
        open_lm(&tied, &l, false, k, 1 + k);
        step_lm(&l, k == 1);
        gq_tape_free(l.t);
    }
    got = gradient_of(&tied, "gpt2.wte");
    for (int i = 0; i < TINY_VOCAB * 14; i++)
        assert_true(got[i] == ((head[0][i] + look[0][i]) + head[1][i]) + look[1][i]);
    for (int k = 0; k < 2; k++) {
        free(sum[k]);
        free(head[k]);
        free(look[k]);
    }
    free(got);
    tiny_close(&tied);
    tiny_close(&untied);
}

/* Two halves accumulated are the whole batch up to rounding (and not its double, nor only the
 * last half). */
static void halves_add_up_to_the_whole(void **state)
{
    (void)state;
    for (int b = 0; backends(b); b++) {
        tiny   m;
        lm     l;
        double most = 0.0, bound = backends(b)->real == GQ_F64 ? 1e-13 : 1e-5;
        void  *whole;

        tiny_config(&m);
        tiny_open(&m, backends(b), 2);
        open_lm(&m, &l, false, 0, 3);
        step_lm(&l, false);
        whole = tiny_copy(m.p->grad.base, tiny_gradient_bytes(m.p));
        gq_tape_free(l.t);
        for (int k = 0; k < 2; k++) {
            open_lm(&m, &l, false, k, 1 + k);
            step_lm(&l, k == 1);
            gq_tape_free(l.t);
        }
        for (int64_t i = 0; i < m.p->trainable_n; i++)
            most = fmax(most, fabs(tiny_value(m.e, whole, i)));
        assert_true(most > 0.0);
        for (int64_t i = 0; i < m.p->trainable_n; i++)
            assert_true(fabs(tiny_value(m.e, whole, i) - tiny_value(m.e, m.p->grad.base, i)) <=
                        bound * most);
        free(whole);
        tiny_close(&m);
    }
}

/* ---- threads --------------------------------------------------------------------------------- */

/* Large enough for several tiles in every kernel. */
static void wide(tiny *m)
{
    tiny_config(m);
    some_dropout(m);
    m->cfg.prompt.bucket = 64;                      /* 3 x 70 rows */
    m->model.gpt2.positions = 80;
    m->model.gpt2.width = 136;
    m->model.gpt2.mlp = 520;
    m->model.gpt2.heads = 4;
    m->model.gpt2.vocab = 700;
    m->model.qformer.width = 96;
    m->model.qformer.mlp = 260;
}

static void two_updates(const gq_backend *backend, int threads, snapshot *s, void **weights,
                        double *norm)
{
    tiny          m;
    gq_stllm_tape h;
    gq_adamw_opts o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .clip = 0.5};

    wide(&m);
    tiny_open(&m, backend, threads);
    tiny_record(&m, true, (gq_plan_opts){0}, &h);
    for (int64_t t = 1; t <= 2; t++) {
        m.e->step.step = (uint32_t)t;
        tiny_step(&h, false);
        *norm = gq_params_grad_norm(m.p);
        gq_params_adamw(m.p, &o, t, *norm);
    }
    *s = take(&m, &h);
    *weights = tiny_copy(m.p->weights.base, (size_t)m.p->total_n * gq_dtype_size(backend->real));
    gq_tape_free(h.tape);
    tiny_close(&m);
}

static void threads_do_not_matter(void **state)
{
    static const char *const rungs[] = {"scalar", "avx2", "avx512", "avx512bf16"};
    int                      tried = 0;

    (void)state;
    for (int r = 0; r < 4; r++) {
        const gq_backend *cpu = gq_backend_cpu(rungs[r]);
        snapshot          s[5];
        void             *w[5];
        double            norm[5];
        for (int n = 1; cpu && n <= 4; n++)
            two_updates(cpu, n, &s[n], &w[n], &norm[n]);
        for (int n = 2; cpu && n <= 4; n++) {
            expect_snapshot(&s[1], &s[n], cpu->name);
            expect_same(w[1], w[n], s[1].bytes, "weights after two updates");
            assert_true(norm[1] == norm[n] && norm[1] > 0.0);
        }
        for (int n = 1; cpu && n <= 4; n++) {
            drop_snapshot(&s[n]);
            free(w[n]);
        }
        tried += cpu != NULL;
    }
    if (tried == 0)
        skip();
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void nothing_is_allocated_while_running(void **state)
{
    (void)state;
    for (int b = 0; backends(b); b++) {
        tiny          m;
        gq_stllm_tape h, plain;
        gq_adamw_opts o = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .clip = 1.0};
        gq_feed_opts  f;
        uint64_t      before;

        tiny_config(&m);
        m.live = true;
        some_dropout(&m);
        tiny_open(&m, backends(b), 3);
        tiny_record(&m, true, (gq_plan_opts){.policy = GQ_SEGMENT}, &h);
        tiny_record(&m, false, (gq_plan_opts){0}, &plain);
        f = tiny_feed_opts(&m);
        before = gq_mem_count();
        for (int64_t t = 1; t <= 2; t++) {
            gq_feed(&m.cfg, m.s, m.keep, NULL, &f, &h);
            tiny_step(&h, false);
            gq_feed(&m.cfg, m.s, NULL, NULL, &f, &plain);
            tiny_step(&plain, true);
            gq_params_adamw(m.p, &o, t, gq_params_grad_norm(m.p));
        }
        assert_int_equal(gq_mem_count(), before);
        gq_tape_free(h.tape);
        gq_tape_free(plain.tape);
        tiny_close(&m);
    }
}

/* ---- which parameter gets a gradient --------------------------------------------------------- */

static bool all_zero(const void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (((const char *)p)[i])
            return false;
    return true;
}

static void unreached_parameters_have_zero_gradients(void **state)
{
    tiny          m;
    gq_stllm_tape h;
    gq_param     *q;

    (void)state;
    tiny_config(&m);
    m.model.mvm.predictor = true;
    tiny_open(&m, &gq_backend_ref32, 1);
    q = gq_params_find(m.p, "mvm.predictor.w");
    tiny_record(&m, true, (gq_plan_opts){0}, &h);
    tiny_step(&h, false);
    gq_tape_free(h.tape);
    assert_false(all_zero(gq_param_grad(m.p, q), (size_t)q->n * 4));
    /* no predictor, and with cached features no CLIP */
    tiny_record(&m, false, (gq_plan_opts){0}, &h);
    tiny_step(&h, true);
    assert_false(all_zero(gq_param_grad(m.p, q), (size_t)q->n * 4));     /* accumulating keeps it */
    tiny_step(&h, false);
    assert_true(all_zero(gq_param_grad(m.p, q), (size_t)q->n * 4));
    q = gq_params_find(m.p, "clip.v.patch.w");
    assert_true(all_zero(gq_param_grad(m.p, q), (size_t)q->n * 4));
    q = gq_params_find(m.p, "qformer.query");
    assert_false(all_zero(gq_param_grad(m.p, q), (size_t)q->n * 4));
    gq_tape_free(h.tape);
    q->active = false;                         /* a stage freezes it: recorded now, it stays zero */
    tiny_record(&m, false, (gq_plan_opts){0}, &h);
    tiny_step(&h, false);
    assert_true(all_zero(gq_param_grad(m.p, q), (size_t)q->n * 4));
    gq_tape_free(h.tape);
    tiny_close(&m);
}

static double largest_in(tiny *m, const gq_param *q, int64_t first, int64_t n)
{
    double most = 0.0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(tiny_value(m->e, gq_param_grad(m->p, q), first + i)));
    return most;
}

/* A constant added to all keys of a head changes no softmax: the gradient of a key bias is zero
 * in theory. */
static bool key_bias(const gq_param *q, int64_t *first, int64_t *n)
{
    bool self = gq_glob("*.qkv.b", q->name), cross = gq_glob("*.cross.kv.b", q->name);
    *n = self ? q->n / 3 : q->n / 2;
    *first = self ? *n : 0;
    return self || cross;
}

static void every_parameter_gets_a_gradient(void **state)
{
    tiny          m;
    gq_stllm_tape h;

    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        tiny_config(&m);
        m.live = true;
        m.model.mvm.predictor = true;
        m.model.mvm.mode = mode ? GQ_MVM_DROP : GQ_MVM_ZERO;
        m.cfg.mvm.mode = mode ? GQ_CFG_MVM_DROP : GQ_CFG_MVM_ZERO;
        tiny_open(&m, &gq_backend_ref64, 1);
        tiny_record(&m, true, (gq_plan_opts){0}, &h);
        tiny_step(&h, false);
        assert_int_equal(h.tape->nunreached, 0);
        for (int32_t i = 0; i < m.p->count; i++) {
            const gq_param *q = &m.p->param[i];
            int64_t         first, n;
            if (key_bias(q, &first, &n)) {
                assert_true(largest_in(&m, q, first, n) < 1e-12);
                if (first)
                    assert_true(largest_in(&m, q, 0, n) > 1e-8);
                assert_true(largest_in(&m, q, first + n, n) > 1e-8);
            } else if (!(largest_in(&m, q, 0, q->n) > 1e-8)) {
                fail_msg("'%s' has no gradient", q->name);
            }
        }
        gq_tape_free(h.tape);
        tiny_close(&m);
    }
}

/* ---- numbers that are not finite ------------------------------------------------------------- */

static void expect_blame(gq_stllm_tape *h, const char *a, const char *b, const char *c)
{
    char text[512] = "";
    assert_true(gq_find_nonfinite(h->tape, text, sizeof text));
    if (!strstr(text, a) || !strstr(text, b) || !strstr(text, c))
        fail_msg("'%s' does not name '%s', '%s' and '%s'", text, a, b, c);
}

static void first_bad_op_is_named(void **state)
{
    (void)state;
    for (int b = 0; backends(b); b++) {
        tiny          m;
        gq_stllm_tape h;
        gq_param     *q;
        float         old, bad = NAN, huge = 3e38f;
        char          text[512];

        tiny_config(&m);
        tiny_open(&m, backends(b), 1);
        tiny_record(&m, true, (gq_plan_opts){0}, &h);
        assert_false(gq_find_nonfinite(h.tape, text, sizeof text));

        q = gq_params_find(m.p, "gpt2.h.1.mlp.fc1.w");
        gq_param_get_f32(m.p, q, 5, &old, 1);
        gq_param_set_f32(m.p, q, 5, &bad, 1);
        expect_blame(&h, "input 'gpt2.h.1.mlp.fc1.w'", "linear", "blocks.c:");
        gq_param_set_f32(m.p, q, 5, &old, 1);

        old = (float)tiny_value(m.e, gq_data(h.tape, h.features), 7);
        gq_put_real(h.tape, h.features, 0, &bad, 1);
        expect_blame(&h, "input 'features'", "linear", "qformer.c:");
        gq_put_real(h.tape, h.features, 0, m.features[0], 1);
        assert_false(gq_find_nonfinite(h.tape, text, sizeof text));

        if (m.e->backend->real == GQ_F32) {         /* finite weights, but the product overflows */
            q = gq_params_find(m.p, "proj.w");
            for (int64_t i = 0; i < q->n; i++)
                gq_param_set_f32(m.p, q, i, &huge, 1);
            expect_blame(&h, "output of linear", "proj.w", "stllm.c:");
        }
        gq_tape_free(h.tape);
        tiny_close(&m);
    }
}

/* Forward is finite, backward is not: loss = 3e38 * (1e3 * h^2) = 3e35 with h = 1e-3, but d loss
 * / dh = 6e38. */
static void bad_backward_is_named(void **state)
{
    tiny     m;
    gq_tape *t;
    gq_t     x, inv, u, h, loss;
    gq_param *q;
    char     text[512] = "";
    float    one = 1.0f, thousand = 1e3f, small = 1e-3f, zero = 0.0f;
    int      width = 12, line;
    gq_error err = {0};

    (void)state;
    tiny_config(&m);
    tiny_open(&m, &gq_backend_ref32, 1);
    q = gq_params_find(m.p, "proj.w");
    for (int64_t i = 0; i < q->n; i++)
        gq_param_set_f32(m.p, q, i, i == 0 ? &small : &zero, 1);
    assert_ok(gq_tape_new(m.e, m.p, "overflow", &t, &err), &err);
    x = gq_input_real(t, "x", 2, GQ_SHAPE(1, width));
    u = gq_input_stat(t, "u", 1, GQ_SHAPE(1));
    inv = gq_input_stat(t, "inv", 1, GQ_SHAPE(1));
    h = gq_linear(t, x, gq_p(t, "proj.w"), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
    line = __LINE__ + 1;
    loss = gq_mvm_loss(t, h, gq_input_real(t, "teacher", 2, GQ_SHAPE(1, 14)), u, inv, GQ_MVM_SSE);
    loss = gq_combine(t, 1, &loss, (double[]){3e38});
    assert_ok(gq_tape_finish(t, loss, NULL, &err), &err);
    gq_put_real(t, x, 0, &one, 1);
    gq_put_real(t, u, 0, &one, 1);
    gq_put_real(t, inv, 0, &thousand, 1);
    assert_true(gq_find_nonfinite(t, text, sizeof text));
    assert_true(isfinite(gq_scalar(t, loss)) && gq_scalar(t, loss) > 1e35);
    if (!strstr(text, "backward of mvm_loss") || !strstr(text, "bitwise.c:"))
        fail_msg("'%s', recorded in line %d", text, line);
    gq_tape_free(t);
    tiny_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_plan_computes_the_same_bits),
        cmocka_unit_test(tapes_share_arenas),
        cmocka_unit_test(replay_equals_eager),
        cmocka_unit_test(documented_order_of_accumulation),
        cmocka_unit_test(halves_add_up_to_the_whole),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(nothing_is_allocated_while_running),
        cmocka_unit_test(unreached_parameters_have_zero_gradients),
        cmocka_unit_test(every_parameter_gets_a_gradient),
        cmocka_unit_test(first_bad_op_is_named),
        cmocka_unit_test(bad_backward_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
