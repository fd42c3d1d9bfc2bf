/* Both CLIP towers against transformers' CLIPModel in float64 (tests/reference/towers.py): every
 * hidden state, pooled and projected features, embeddings, logits. Vision gradients by finite
 * differences.
 *
 * Errors are relative to the largest magnitude of a tensor. ref64 against float32 storage: 1e-6
 * (half an ulp is 6e-8; pixels are normalised in float, another 1e-7); float32 backends: 1e-5. */
#include "tiny.h"

#include "parity.h"

enum { FRAMES = 3, TEXTS = 4, CONTEXT = 9, PROJ = 12 };

typedef struct tower {
    gq_safetensors *st;
    gq_engine      *e;
    gq_params      *p;
    gq_clip_config  c;
    double          bound;
} tower;

static gq_clip_config sizes(void)
{
    return (gq_clip_config){.image = 12,
                            .patch = 4,
                            .width = 16,
                            .layers = 3,
                            .heads = 2,
                            .mlp = 40,
                            .text_width = 24,
                            .text_layers = 2,
                            .text_heads = 3,
                            .text_mlp = 56,
                            .vocab = 50,
                            .context = CONTEXT,
                            .proj = PROJ,
                            .act = GQ_QUICK_GELU,
                            .ln_eps = 1e-5,
                            .text = true,
                            .mean = {0.48145466f, 0.4578275f, 0.40821073f},
                            .std = {0.26862954f, 0.26130258f, 0.27577711f}};
}

static void open_tower(tower *w, const gq_backend *backend)
{
    gq_load_report r;
    gq_error       err = {0};

    memset(w, 0, sizeof *w);
    w->bound = backend->real == GQ_F64 ? 1e-6 : 1e-5;
    w->c = sizes();
    assert_ok(gq_safetensors_open(FIXTURE("clip_tiny.safetensors"), &w->st, &err), &err);
    assert_ok(gq_engine_new(&(gq_engine_opts){.backend = backend, .threads = 2}, &w->e, &err),
              &err);
    assert_ok(gq_params_new(w->e, &w->p, &err), &err);
    assert_ok(gq_clip_declare(w->p, &w->c, &err), &err);
    assert_ok(gq_params_seal(w->p, true, &err), &err);
    assert_ok(gq_hf_load(w->p, GQ_HF_CLIP, w->st, &r, &err), &err);
    assert_int_equal(r.matched, w->p->count);
    assert_int_equal(r.missing + r.unexpected, 0);
}

static void close_tower(tower *w)
{
    gq_params_free(w->p);
    gq_engine_free(w->e);
    gq_safetensors_close(w->st);
}

static void normalise(double *x, int rows, int n)
{
    for (int r = 0; r < rows; r++) {
        double sum = 0.0;
        for (int i = 0; i < n; i++)
            sum += x[r * n + i] * x[r * n + i];
        for (int i = 0; i < n; i++)
            x[r * n + i] /= sqrt(sum);
    }
}

/* ---- vision ---------------------------------------------------------------------------------- */

static gq_tape *vision_tape(tower *w, gq_clip_feature which, bool project, gq_plan_opts plan,
                            gq_t *features, gq_t *embeds)
{
    gq_tape *t;
    gq_t     frames, rows;
    gq_error err = {0};

    assert_ok(gq_tape_new(w->e, w->p, "vision", &t, &err), &err);
    gq_tape_no_grad(t);
    frames = gq_input(t, "frames", GQ_U8, 4, GQ_SHAPE(FRAMES, 12, 12, 3));
    gq_clip_vision(t, &w->c, frames, which, features, project ? embeds : NULL);
    gq_keep(t, *features, "features");
    if (project)
        gq_keep(t, *embeds, "embeds");
    assert_ok(gq_tape_finish(t, GQ_T_NONE, &plan, &err), &err);
    memcpy(gq_data(t, frames), gq_st_find(w->st, "in.frames")->data, FRAMES * 12 * 12 * 3);
    rows = gq_find(t, "clip.class_rows");
    for (int f = 0; project && f < FRAMES; f++)
        ((int32_t *)gq_data(t, rows))[f] = f * gq_clip_tokens(&w->c);
    assert_ok(gq_forward(t, &err), &err);
    return t;
}

static void vision(tower *w, double *embeds)
{
    static const char *const streams[] = {"clip.v.h.0.ln_1.g", "clip.v.h.1.ln_1.g",
                                          "clip.v.h.2.ln_1.g"};
    static const char *const names[] = {"out.vision.hidden.0", "out.vision.hidden.1",
                                        "out.vision.hidden.2"};
    gq_t                     f, e = GQ_T_NONE, pooled;
    gq_tape                 *t;

    t = vision_tape(w, GQ_CLIP_HIDDEN_1, true, (gq_plan_opts){.separate = true}, &f, &e);
    for (int i = 0; i < 3; i++)
        parity_tensor(w->st, t, parity_stream(t, streams[i], NULL), names[i], w->bound);
    parity_tensor(w->st, t, f, "out.vision.hidden.3", w->bound);
    pooled = (gq_t){parity_node(t, GQ_OP_LINEAR, 1, "clip.v.proj.w")->in[0]};
    parity_tensor(w->st, t, pooled, "out.vision.pooled", w->bound);
    parity_tensor(w->st, t, e, "out.vision.projected", w->bound);
    double *v = parity_get(t, e);
    normalise(v, FRAMES, PROJ);
    parity_expect(w->st, v, FRAMES * PROJ, "out.image_embeds", w->bound);
    memcpy(embeds, v, FRAMES * PROJ * sizeof *v);
    free(v);
    gq_tape_free(t);
}

/* Features for the Q-Former without the projection record only what they need; with it both come
 * from one pass. */
static void features(tower *w)
{
    gq_t     f, e = GQ_T_NONE;
    gq_tape *t;
    int32_t  nodes;

    t = vision_tape(w, GQ_CLIP_HIDDEN_2, false, (gq_plan_opts){0}, &f, NULL);
    parity_tensor(w->st, t, f, "out.vision.hidden.2", w->bound);
    nodes = t->nnode;
    gq_tape_free(t);
    t = vision_tape(w, GQ_CLIP_HIDDEN_2, true, (gq_plan_opts){0}, &f, &e);
    parity_tensor(w->st, t, f, "out.vision.hidden.2", w->bound);
    parity_tensor(w->st, t, e, "out.vision.projected", w->bound);
    assert_true(t->nnode > nodes + 5);              /* the last block and the projection */
    gq_tape_free(t);
    t = vision_tape(w, GQ_CLIP_HIDDEN_1, false, (gq_plan_opts){0}, &f, NULL);
    parity_tensor(w->st, t, f, "out.vision.hidden.3", w->bound);
    gq_tape_free(t);
}

/* `final` is hidden.3 after post_layernorm; its class rows are the pooled output. */
static void final_features(tower *w)
{
    gq_t     f, e = GQ_T_NONE;
    gq_tape *t = vision_tape(w, GQ_CLIP_FINAL, true, (gq_plan_opts){0}, &f, &e);
    double  *v = parity_get(t, f), rows[FRAMES * 16];

    for (int k = 0; k < FRAMES; k++)
        memcpy(rows + 16 * k, v + 160 * k, sizeof(double[16]));
    parity_expect(w->st, rows, FRAMES * 16, "out.vision.pooled", w->bound);
    parity_tensor(w->st, t, e, "out.vision.projected", w->bound);
    free(v);
    gq_tape_free(t);
}

/* ---- text ------------------------------------------------------------------------------------ */

static void text(tower *w, double *embeds)
{
    const int32_t *ids = gq_st_find(w->st, "in.ids")->data;
    gq_t           in, pos, end, out;
    gq_tape       *t;
    gq_error       err = {0};
    double        *v;

    assert_ok(gq_tape_new(w->e, w->p, "text", &t, &err), &err);
    gq_tape_no_grad(t);
    in = gq_input(t, "ids", GQ_I32, 2, GQ_SHAPE(TEXTS, CONTEXT));
    pos = gq_input(t, "pos", GQ_I32, 2, GQ_SHAPE(TEXTS, CONTEXT));
    end = gq_input(t, "end", GQ_I32, 1, GQ_SHAPE(TEXTS));
    out = gq_clip_text(t, &w->c, in, pos, end);
    assert_ok(gq_tape_finish(t, GQ_T_NONE, &(gq_plan_opts){.separate = true}, &err), &err);
    for (int b = 0; b < TEXTS; b++) {
        int best = 0;                               /* first occurrence of the largest id */
        for (int j = 0; j < CONTEXT; j++) {
            ((int32_t *)gq_data(t, in))[b * CONTEXT + j] = ids[b * CONTEXT + j];
            ((int32_t *)gq_data(t, pos))[b * CONTEXT + j] = j;
            if (ids[b * CONTEXT + j] > ids[b * CONTEXT + best])
                best = j;
        }
        ((int32_t *)gq_data(t, end))[b] = b * CONTEXT + best;
    }
    assert_ok(gq_forward(t, &err), &err);
    parity_tensor(w->st, t, parity_stream(t, "clip.t.h.0.ln_1.g", NULL), "out.text.hidden.0",
                  w->bound);
    parity_tensor(w->st, t, parity_stream(t, "clip.t.h.1.ln_1.g", NULL), "out.text.hidden.1",
                  w->bound);
    parity_tensor(w->st, t, parity_stream(t, "clip.t.ln_final.g", NULL), "out.text.hidden.2",
                  w->bound);
    for (int32_t i = 0; i < t->nnode; i++)
        if (t->node[i].op == GQ_OP_GATHER_ROWS)
            parity_tensor(w->st, t, (gq_t){t->node[i].out[0]}, "out.text.pooled", w->bound);
    parity_tensor(w->st, t, out, "out.text.projected", w->bound);
    v = parity_get(t, out);
    normalise(v, TEXTS, PROJ);
    parity_expect(w->st, v, TEXTS * PROJ, "out.text_embeds", w->bound);
    memcpy(embeds, v, TEXTS * PROJ * sizeof *v);
    free(v);
    gq_tape_free(t);
}

/* exp(logit_scale) * text . image */
static void logits(tower *w, const double *image, const double *words)
{
    double out[TEXTS * FRAMES] = {0};
    float  scale;

    gq_param_get_f32(w->p, gq_params_find(w->p, "clip.logit_scale"), 0, &scale, 1);
    for (int a = 0; a < TEXTS; a++)
        for (int b = 0; b < FRAMES; b++) {
            for (int i = 0; i < PROJ; i++)
                out[a * FRAMES + b] += words[a * PROJ + i] * image[b * PROJ + i];
            out[a * FRAMES + b] *= exp(scale);
        }
    parity_expect(w->st, out, TEXTS * FRAMES, "out.logits_per_text", w->bound);
}

static void parity(const gq_backend *backend)
{
    tower  w;
    double image[FRAMES * PROJ], words[TEXTS * PROJ];

    if (!backend)
        skip();
    open_tower(&w, backend);
    vision(&w, image);
    features(&w);
    final_features(&w);
    text(&w, words);
    logits(&w, image, words);
    close_tower(&w);
}

static void reference_in_double(void **state)
{
    (void)state;
    parity(&gq_backend_ref64);
}

static void reference_in_float(void **state)
{
    (void)state;
    parity(&gq_backend_ref32);
}

static void cpu(void **state)
{
    (void)state;
    parity(gq_backend_cpu(NULL));
}

/* ---- gradients of the vision tower ----------------------------------------------------------- */

/* loss = 0.5 (sum of squared distances of features and of embeddings to zero, weighted): every
 * parameter takes part. */
static gq_tape *loss_tape(tower *w, gq_t *loss)
{
    int64_t  rows = FRAMES * 10, one = 1;
    gq_t     f, e, frames, zf, ze, uf, ue, inv, part[2], class;
    gq_tape *t;
    gq_error err = {0};

    assert_ok(gq_tape_new(w->e, w->p, "vision loss", &t, &err), &err);
    frames = gq_input(t, "frames", GQ_U8, 4, GQ_SHAPE(FRAMES, 12, 12, 3));
    gq_clip_vision(t, &w->c, frames, GQ_CLIP_HIDDEN_2, &f, &e);
    zf = gq_input_real(t, "zf", 2, GQ_SHAPE(rows, 16));
    ze = gq_input_real(t, "ze", 2, GQ_SHAPE(FRAMES, PROJ));
    uf = gq_input_stat(t, "uf", 1, &rows);
    ue = gq_input_stat(t, "ue", 1, GQ_SHAPE(FRAMES));
    inv = gq_input_stat(t, "inv", 1, &one);
    part[0] = gq_mvm_loss(t, gq_reshape(t, f, 2, GQ_SHAPE(rows, 16)), zf, uf, inv, GQ_MVM_SSE);
    part[1] = gq_mvm_loss(t, e, ze, ue, inv, GQ_MVM_SSE);
    *loss = gq_combine(t, 2, part, (double[]){0.25, 2.0});
    gq_keep(t, *loss, "loss");
    assert_ok(gq_tape_finish(t, *loss, NULL, &err), &err);
    memcpy(gq_data(t, frames), gq_st_find(w->st, "in.frames")->data, FRAMES * 12 * 12 * 3);
    for (int i = 0; i < rows; i++) {
        gq_put_real(t, inv, 0, &(float){1.0f}, 1);
        ((double *)gq_data(t, uf))[i] = 1.0 + i % 3;
    }
    class = gq_find(t, "clip.class_rows");
    for (int k = 0; k < FRAMES; k++) {
        ((double *)gq_data(t, ue))[k] = 1.0;
        ((int32_t *)gq_data(t, class))[k] = k * 10;
    }
    return t;
}

static double loss_with(gq_tape *t, gq_t loss, double *x, double v)
{
    gq_error err = {0};
    *x = v;
    assert_ok(gq_forward(t, &err), &err);
    return gq_scalar(t, loss);
}

/* Central differences of fourth order: error h^4 f^(5)/30 + eps f/h; with h = 1e-3 both are
 * about 1e-11 of the loss. */
static void vision_gradients(void **state)
{
    tower    w;
    gq_t     loss;
    gq_tape *t;
    gq_error err = {0};
    double  *grad, scale;
    int      checked = 0;

    (void)state;
    open_tower(&w, &gq_backend_ref64);
    t = loss_tape(&w, &loss);
    assert_ok(gq_forward(t, &err), &err);
    scale = gq_scalar(t, loss);
    assert_ok(gq_backward(t, false, &err), &err);
    grad = tiny_copy(w.p->grad.base, tiny_gradient_bytes(w.p));
    for (int32_t i = 0; i < w.p->count; i++) {
        const gq_param *q = &w.p->param[i];
        double         *x = gq_param_data(w.p, q);
        if (strncmp(q->name, "clip.v.", 7) != 0)
            continue;
        for (int64_t k = 0; k < 4; k++) {           /* four elements of each parameter */
            int64_t j = (k * 7919 + i) % q->n;
            double  at = x[j], h = 1e-3, got = grad[q->offset + j], want;
            want =
                (8.0 * (loss_with(t, loss, &x[j], at + h) - loss_with(t, loss, &x[j], at - h)) -
                 (loss_with(t, loss, &x[j], at + 2 * h) - loss_with(t, loss, &x[j], at - 2 * h))) /
                (12.0 * h);
            x[j] = at;
            if (!(fabs(got - want) <= 1e-9 * fmax(scale, fabs(want))))
                fail_msg("%s[%lld]: gradient %.12g, finite differences %.12g", q->name,
                         (long long)j, got, want);
            checked++;
        }
    }
    assert_true(checked > 150);
    free(grad);
    gq_tape_free(t);
    close_tower(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_in_double),
        cmocka_unit_test(reference_in_float),
        cmocka_unit_test(cpu),
        cmocka_unit_test(vision_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
