/* The registry of parameters: names, patterns, layout of the arenas, seeded initialisation, and
 * the optimiser step against torch.optim.AdamW (tests/reference/optim.py). */
#include "support.h"

#include <jansson.h>

#include "core/ops.h"
#include "core/safetensors.h"

#define FIXTURE(name) GQ_SOURCE_DIR "/tests/reference/" name

static const gq_init ZERO = {.dist = GQ_INIT_ZERO};

static gq_params *open_params(const gq_backend *backend, int threads)
{
    gq_engine *e;
    gq_params *p;
    gq_error   err = {0};
    assert_ok(gq_engine_new(&(gq_engine_opts){.backend = backend, .threads = threads}, &e, &err),
              &err);
    assert_ok(gq_params_new(e, &p, &err), &err);
    return p;
}

static void close_params(gq_params *p)
{
    gq_engine *e = p->engine;
    gq_params_free(p);
    gq_engine_free(e);
}

static gq_param *add(gq_params *p, const char *name, gq_init init, int64_t rows, int64_t columns)
{
    gq_error err = {0};
    assert_ok(gq_params_add(p, name, init, 2, (int64_t[]){rows, columns}, &err), &err);
    return gq_params_find(p, name);
}

static void seal(gq_params *p, bool state)
{
    gq_error err = {0};
    assert_ok(gq_params_seal(p, state, &err), &err);
}

/* ---- registry -------------------------------------------------------------------------------- */

static void names_are_found(void **state)
{
    gq_params *p = open_params(&gq_backend_ref32, 1);
    char       name[32];

    (void)state;
    assert_null(gq_params_find(p, "w"));
    for (int i = 0; i < 700; i++) {
        snprintf(name, sizeof name, "h.%d.w", i);
        add(p, name, ZERO, 1 + i % 3, 2);
    }
    for (int i = 0; i < 700; i++) {
        snprintf(name, sizeof name, "h.%d.w", i);
        assert_ptr_equal(gq_params_find(p, name), &p->param[i]);
        assert_int_equal(p->param[i].n, 2 * (1 + i % 3));
    }
    assert_null(gq_params_find(p, "h.700.w"));
    assert_null(gq_params_find(p, ""));
    close_params(p);
}

static void refusals(void **state)
{
    static const struct { int rank; int64_t shape[4]; const char *needle;
    } bad[] = {
        {2, {0, 4}, "dimension 0 is 0"},           {2, {4, -1}, "dimension 1 is -1"},
        {3, {1 << 20, 1 << 20, 1}, "dimension 2"}, {4, {INT64_MAX, 2, 2, 2}, "dimension 0"},
        {2, {1LL << 40, 2}, "dimension 1"},
    };
    gq_params *p = open_params(&gq_backend_ref32, 1);
    gq_error   err = {0};

    (void)state;
    add(p, "w", ZERO, 3, 4);
    add(p, "w", ZERO, 3, 4);                        /* declared again with the same shape: a tie */
    assert_int_equal(p->count, 1);
    assert_fails(gq_params_add(p, "w", ZERO, 2, (int64_t[]){4, 3}, &err), GQ_EBUG, &err,
                 "'w' is declared twice");
    assert_fails(gq_params_add(p, "w", ZERO, 1, (int64_t[]){3}, &err), GQ_EBUG, &err, "'w'");
    assert_fails(gq_params_add(p, "w", ZERO, 3, (int64_t[]){3, 4, 1}, &err), GQ_EBUG, &err, "'w'");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (i == 2)                          /* 2^40 elements are the limit, one more is too much */
            assert_ok(gq_params_add(p, "limit", ZERO, 3, bad[i].shape, &err), &err);
        else
            assert_fails(gq_params_add(p, "b", ZERO, bad[i].rank, bad[i].shape, &err), GQ_ECONFIG,
                         &err, bad[i].needle);
    }
    assert_null(gq_params_find(p, "b"));
    close_params(p);

    p = open_params(&gq_backend_ref32, 1);
    add(p, "w", ZERO, 3, 4);
    seal(p, true);
    assert_fails(gq_params_add(p, "late", ZERO, 1, (int64_t[]){3}, &err), GQ_EBUG, &err, "'late'");
    close_params(p);
}

static void patterns(void **state)
{
    static const struct { const char *pattern, *name; bool match;
    } cases[] = {
        {"gpt2.*", "gpt2.wte", true},
        {"gpt2.*", "gpt2", false},
        {"*", "", true},
        {"*.b", "gpt2.h.0.ln_1.b", true},
        {"*.b", "gpt2.h.0.ln_1.g", false},
        {"clip.?.h.*.w", "clip.v.h.3.attn.qkv.w", true},
        {"clip.?.pos", "clip.v.pos", true},
        {"clip.?.pos", "clip.vv.pos", false},
        {"clip.?.pos", "clip..pos", false},
        {"*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaac", false},
        {"**", "x", true},
        {"h.1.*", "h.11.w", false},
        {"", "", true},
        {"", "x", false},
        {"x", "", false},
        {"*ab*", "aab", true},
        {"a*b", "abab", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (gq_glob(cases[i].pattern, cases[i].name) != cases[i].match)
            fail_msg("'%s' against '%s'", cases[i].pattern, cases[i].name);
}

/* ---- layout ---------------------------------------------------------------------------------- */

static void layout(const gq_backend *backend)
{
    gq_params *p = open_params(backend, 1);
    int64_t    unit = 64 / (int64_t)gq_dtype_size(backend->real), at = 0;
    gq_param  *last = NULL;

    add(p, "a", ZERO, 3, 5);
    add(p, "frozen.1", ZERO, 7, 1)->trainable = false;
    add(p, "b", ZERO, 1, 1);
    add(p, "frozen.2", ZERO, 2, 1)->trainable = false;
    add(p, "c", ZERO, 16, 4);
    seal(p, true);
    for (int k = 0; k < 5; k++) {             /* trainable in reverse order, then frozen in order */
        static const char *const order[] = {"c", "b", "a", "frozen.1", "frozen.2"};
        gq_param *q = gq_params_find(p, order[k]);
        assert_int_equal(q->offset, at);
        assert_int_equal(q->offset % unit, 0);
        at = (q->offset + q->n + unit - 1) / unit * unit;
        if (k == 2)
            assert_int_equal(p->trainable_n, at);
        assert_ptr_equal(gq_param_data(p, q), (char *)p->weights.base +
                                                  (size_t)q->offset * gq_dtype_size(backend->real));
        assert_int_equal(gq_param_grad(p, q) != NULL, k < 3);
        last = q;
    }
    assert_int_equal(p->total_n, at);
    assert_true(p->weights.bytes >= (size_t)at * gq_dtype_size(backend->real));
    assert_int_equal((uintptr_t)p->weights.base % 256, 0);
    gq_param_set_f32(p, last, 1, (float[]){2.5f}, 1);
    float got[2];
    gq_param_get_f32(p, last, 0, got, 2);
    assert_true(got[0] == 0.0f && got[1] == 2.5f);
    close_params(p);
}

static void trainable_first_in_reverse_order(void **state)
{
    (void)state;
    layout(&gq_backend_ref32);
    layout(&gq_backend_ref64);
}

/* The same layout without moments and gradients: checkpoints of a training run fit an inference
 * registry. */
static void inference_has_no_state(void **state)
{
    gq_params *p = open_params(&gq_backend_ref32, 1);
    gq_tape   *t;
    gq_t       x, loss;
    gq_error   err = {0};

    (void)state;
    add(p, "a", ZERO, 3, 5);
    add(p, "b", ZERO, 1, 1);
    seal(p, false);
    assert_int_equal(gq_params_find(p, "b")->offset, 0);
    assert_int_equal(gq_params_find(p, "a")->offset, 16);
    assert_int_equal(p->grad.bytes + p->m.bytes + p->v.bytes, 0);
    assert_null(gq_param_grad(p, gq_params_find(p, "b")));
    assert_true(gq_params_grad_norm(p) == 0.0);
    gq_params_adamw(p, &(gq_adamw_opts){.lr = 1, .clip = 1}, 1, 0.0);       /* nothing to do */

    assert_ok(gq_tape_new(p->engine, p, "training", &t, &err), &err);     /* and nothing to train */
    x = gq_linear(t, gq_input_real(t, "x", 2, (int64_t[]){1, 1}), gq_p(t, "b"), GQ_T_NONE, GQ_NONE,
                  GQ_T_NONE);
    x = gq_reshape(t, x, 1, (int64_t[]){1});
    loss = gq_combine(t, 1, &x, (double[]){1.0});
    assert_fails(gq_tape_finish(t, loss, NULL, &err), GQ_ECONFIG, &err, "no trained parameter");
    gq_tape_free(t);
    close_params(p);
}

/* ---- initialisation -------------------------------------------------------------------------- */

static void read_all(gq_params *p, const char *name, float *x)
{
    gq_param *q = gq_params_find(p, name);
    gq_param_get_f32(p, q, 0, x, q->n);
}

/* More than one 4096-element tile, so that threads share the work. */
enum { ROWS = 100, COLUMNS = 130, CELLS = ROWS * COLUMNS };

static void init_one(const gq_backend *backend, int threads, int before, uint64_t seed, float *x)
{
    gq_params *p = open_params(backend, threads);
    char       name[16];

    for (int i = 0; i < before; i++) {
        snprintf(name, sizeof name, "other.%d", i);
        add(p, name, (gq_init){.dist = GQ_INIT_NORMAL, .value = 1.0}, 3, 5);
    }
    add(p, "w", (gq_init){.dist = GQ_INIT_NORMAL, .value = 0.02}, ROWS, COLUMNS)->trainable =
        before % 2;
    seal(p, true);
    assert_int_equal(gq_params_init(p, seed, NULL), GQ_OK);
    read_all(p, "w", x);
    close_params(p);
}

static void init_is_a_function_of_seed_and_name(void **state)
{
    static float a[CELLS], b[CELLS];

    (void)state;
    init_one(&gq_backend_ref32, 1, 0, 42, a);
    for (int threads = 1; threads <= 4; threads++) {
        init_one(&gq_backend_ref32, threads, threads, 42, b);
        assert_memory_equal(a, b, sizeof a);
    }
    init_one(&gq_backend_ref64, 2, 1, 42, b);       /* rounded to float in every backend */
    assert_memory_equal(a, b, sizeof a);
    init_one(&gq_backend_ref32, 1, 0, 43, b);
    for (int i = 0; i < CELLS; i++)
        assert_true(a[i] != b[i]);
}

static void normals_are_normal(void **state)
{
    static float x[CELLS];
    double       sum = 0.0, square = 0.0;
    int          beyond = 0;

    (void)state;
    init_one(&gq_backend_ref32, 1, 0, 7, x);
    for (int i = 0; i < CELLS; i++) {
        sum += x[i];
        square += (double)x[i] * x[i];
        beyond += fabsf(x[i]) > 0.02f * 1.959964f;
    }
    /* 5 standard errors: of the mean std/sqrt(n), of the variance sqrt(2/n), of a share
     * sqrt(pq/n) */
    assert_true(fabs(sum / CELLS) < 5 * 0.02 / sqrt(CELLS));
    assert_true(fabs(square / CELLS / 4e-4 - 1.0) < 5 * sqrt(2.0 / CELLS));
    assert_true(fabs((double)beyond / CELLS - 0.05) < 5 * sqrt(0.05 * 0.95 / CELLS));
}

static void distributions(void **state)
{
    gq_params *p = open_params(&gq_backend_ref64, 2);
    float      x[6 * 8], y[6 * 8], w[6 * 8];
    gq_param  *q;

    (void)state;
    add(p, "zero", ZERO, 6, 8);
    add(p, "const", (gq_init){.dist = GQ_INIT_CONST, .value = 2.5}, 6, 8);
    add(p, "table", (gq_init){.dist = GQ_INIT_SINUSOID, .value = 0.1, .base = 200.0}, 6, 8);
    add(p, "halves", (gq_init){.dist = GQ_INIT_CONST, .value = 1.0, .second = 3.0}, 6, 8);
    q = add(p, "loaded", (gq_init){.dist = GQ_INIT_CONST, .value = 1.0}, 6, 8);
    seal(p, true);
    q->loaded = true;
    assert_int_equal(gq_params_init(p, 5, NULL), GQ_OK);
    read_all(p, "zero", x);
    read_all(p, "const", y);
    read_all(p, "loaded", w);
    for (int i = 0; i < 48; i++)
        assert_true(x[i] == 0.0f && y[i] == 2.5f && w[i] == 0.0f);
    read_all(p, "halves", x);
    for (int i = 0; i < 48; i++)
        assert_true(x[i] == (i < 24 ? 1.0f : 3.0f));
    read_all(p, "table", x);
    for (int pos = 0; pos < 6; pos++)
        for (int c = 0; c < 8; c++) {
            double angle = pos / pow(200.0, (c / 2 * 2) / 8.0);
            double want = 0.1 * sqrt(2.0) * (c % 2 ? cos(angle) : sin(angle));
            assert_true(fabs(x[pos * 8 + c] - want) < 1e-7);
        }
    close_params(p);
}

/* ---- optimiser ------------------------------------------------------------------------------- */

typedef struct optim { json_t *json; gq_safetensors *st; gq_params *p; } optim;

static double number(const json_t *j, const char *key, const char *sub, int i)
{
    const json_t *v = json_object_get(j, key);
    if (sub)
        v = json_object_get(v, sub);
    if (i >= 0)
        v = json_array_get(v, (size_t)i);
    assert_true(json_is_number(v));
    return json_number_value(v);
}

static void read_tensor(optim *o, const char *name, double *x, int64_t n)
{
    const gq_st_tensor *t = gq_st_find(o->st, name);
    gq_error            err = {0};
    if (!t)
        fail_msg("no tensor '%s'", name);
    assert_int_equal(t->count, n);
    assert_ok(gq_st_read_f64(t, x, &err), &err);
}

static void put_array(gq_params *p, void *dst, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (p->engine->backend->real == GQ_F64)
            ((double *)dst)[i] = x[i];
        else
            ((float *)dst)[i] = (float)x[i];
}

/* Errors are relative to the largest magnitude in the tensor. */
static void expect_array(gq_params *p, const void *a, const double *want, int64_t n, double bound,
                         const char *what)
{
    double most = 0.0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(want[i]));
    for (int64_t i = 0; i < n; i++) {
        double got = p->engine->backend->real == GQ_F64 ? ((const double *)a)[i]
                                                        : (double)((const float *)a)[i];
        if (!(fabs(got - want[i]) <= bound * most))
            fail_msg("%s[%lld]: got %.17g, want %.17g", what, (long long)i, got, want[i]);
    }
}

static void open_optim(optim *o, const gq_backend *backend)
{
    static const char *const names[] = {"matrix", "bias"};
    json_error_t             e;
    gq_error                 err = {0};

    o->json = json_load_file(FIXTURE("adamw_tiny.json"), 0, &e);
    if (!o->json)
        fail_msg("line %d: %s", e.line, e.text);
    assert_ok(gq_safetensors_open(FIXTURE("adamw_tiny.safetensors"), &o->st, &err), &err);
    o->p = open_params(backend, 2);
    add(o->p, "matrix", ZERO, 4, 3);
    add(o->p, "frozen", (gq_init){.dist = GQ_INIT_CONST, .value = 1.0}, 2, 3)->trainable = false;
    add(o->p, "bias", ZERO, 1, 5);
    add(o->p, "paused", (gq_init){.dist = GQ_INIT_CONST, .value = 1.0}, 2, 3);
    seal(o->p, true);
    assert_int_equal(gq_params_init(o->p, 1, NULL), GQ_OK);
    gq_params_find(o->p, "paused")->active = false;
    for (int k = 0; k < 2; k++) {
        gq_param *q = gq_params_find(o->p, names[k]);
        double    x[12];
        char      key[32];
        q->lr_mult = number(o->json, "lr_multiplier", names[k], -1);
        q->decay = number(o->json, "decay", names[k], -1);
        snprintf(key, sizeof key, "in.%s", names[k]);
        read_tensor(o, key, x, q->n);
        put_array(o->p, gq_param_data(o->p, q), x, q->n);
    }
}

static void compare_step(optim *o, int step, double bound)
{
    static const char *const names[] = {"matrix", "bias"};
    size_t                   real = gq_dtype_size(o->p->engine->backend->real);

    for (int k = 0; k < 2; k++) {
        gq_param *q = gq_params_find(o->p, names[k]);
        size_t    at = (size_t)q->offset * real;
        void     *got[] = {gq_param_data(o->p, q), (char *)o->p->m.base + at,
                           (char *)o->p->v.base + at};
        for (int part = 0; part < 3; part++) {
            double x[12];
            char   key[32];
            snprintf(key, sizeof key, "out.%d.%s%s", step, (const char *[]){"", "m.", "v."}[part],
                     names[k]);
            read_tensor(o, key, x, q->n);
            expect_array(o->p, got[part], x, q->n, bound, key);
        }
    }
}

/* ref64 adds in another order than PyTorch: a few ulp, 1e-14; a float32 step rounds each of its
 * five inputs: 1e-6. */
static void run_optim(const gq_backend *backend, double bound)
{
    static const char *const names[] = {"matrix", "bias"};
    optim                    o;
    float                    x[6];

    open_optim(&o, backend);
    for (int step = 0; step < 5; step++) {
        gq_adamw_opts opts = {.lr = number(o.json, "lr", NULL, step),
                              .beta1 = number(o.json, "betas", NULL, 0),
                              .beta2 = number(o.json, "betas", NULL, 1),
                              .eps = number(o.json, "eps", NULL, -1),
                              .clip = number(o.json, "clip", NULL, -1)};
        double        norm, want = number(o.json, "grad_norm", NULL, step);
        for (int k = 0; k < 2; k++) {
            gq_param *q = gq_params_find(o.p, names[k]);
            double    g[12];
            char      key[32];
            snprintf(key, sizeof key, "in.grad.%d.%s", step, names[k]);
            read_tensor(&o, key, g, q->n);
            put_array(o.p, gq_param_grad(o.p, q), g, q->n);
        }
        norm = gq_params_grad_norm(o.p);
        assert_true(fabs(norm - want) <= bound * want);
        gq_params_adamw(o.p, &opts, step + 1, norm);
        compare_step(&o, step, bound);
    }
    for (int k = 0; k < 2; k++) {                   /* frozen for good, or by a stage: untouched */
        read_all(o.p, (const char *[]){"frozen", "paused"}[k], x);
        for (int i = 0; i < 6; i++)
            assert_true(x[i] == 1.0f);
    }
    gq_safetensors_close(o.st);
    json_decref(o.json);
    close_params(o.p);
}

static void adamw_as_pytorch(void **state)
{
    (void)state;
    run_optim(&gq_backend_ref64, 1e-14);
    run_optim(&gq_backend_ref32, 1e-6);
    for (int i = 0; i < 4; i++) {
        const gq_backend *cpu =
            gq_backend_cpu((const char *[]){"scalar", "avx2", "avx512", "avx512bf16"}[i]);
        if (cpu)
            run_optim(cpu, 1e-6);
    }
}

/* The norm covers the whole trainable arena once: 70,000 elements are more than one chunk of the
 * sum. */
static void norm_of_known_gradients(void **state)
{
    const gq_backend *backends[] = {&gq_backend_ref32, &gq_backend_ref64, gq_backend_cpu(NULL)};

    (void)state;
    for (int b = 0; b < 3 && backends[b]; b++) {
        gq_params *p = open_params(backends[b], 2);
        gq_param  *a = add(p, "a", ZERO, 350, 200), *c;
        double     big[1] = {4096.0};
        add(p, "frozen", ZERO, 10, 10)->trainable = false;
        c = add(p, "c", ZERO, 1, 1);
        a = gq_params_find(p, "a");
        seal(p, true);
        for (int64_t i = 0; i < a->n; i++)
            put_array(p, (char *)gq_param_grad(p, a) + (size_t)i * gq_dtype_size(backends[b]->real),
                      (double[]){-0.5}, 1);
        assert_true(fabs(gq_params_grad_norm(p) - sqrt(0.25 * 70000)) < 1e-9);
        put_array(p, gq_param_grad(p, c), big, 1);
        assert_true(fabs(gq_params_grad_norm(p) - sqrt(0.25 * 70000 + big[0] * big[0])) < 1e-9);
        put_array(p, gq_param_grad(p, c), (double[]){NAN}, 1);
        assert_false(isfinite(gq_params_grad_norm(p)));
        close_params(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(refusals),
        cmocka_unit_test(patterns),
        cmocka_unit_test(trainable_first_in_reverse_order),
        cmocka_unit_test(inference_has_no_state),
        cmocka_unit_test(init_is_a_function_of_seed_and_name),
        cmocka_unit_test(normals_are_normal),
        cmocka_unit_test(distributions),
        cmocka_unit_test(adamw_as_pytorch),
        cmocka_unit_test(norm_of_known_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
