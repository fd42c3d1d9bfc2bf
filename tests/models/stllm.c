/* The whole training step against PyTorch + transformers in float64
 * (tests/reference/make_fixtures.py): losses, hidden states and every parameter gradient, in
 * each masking mode, on the reference and the CPU backend.
 *
 * Bounds. Errors are relative to the largest magnitude of the tensor (gradients: or 1e-2 of the
 * largest gradient of all, because some gradients are exactly zero in theory). ref64 against
 * values stored in float32: half an ulp, 6e-8, rounded up to 1e-6. float32 backends: PyTorch's
 * own float32 run is 1.5e-6 to 3e-6 away (the fixture says how much); the promise is 1e-5. */
#include "parity.h"

#include <jansson.h>

#include "core/mem.h"
#include "core/safetensors.h"
#include "models/hf.h"
#include "models/stllm.h"
#include "train/feed.h"

typedef struct fixture {
    json_t         *json;
    gq_safetensors *st, *weights, *extra;
    gq_config       cfg;                /* what feeding needs */
    gq_stllm_config model;
    int             batch, text;
} fixture;

static json_t *load_json(const char *path)
{
    json_error_t e;
    json_t      *j = json_load_file(path, 0, &e);
    if (!j)
        fail_msg("%s:%d: %s", path, e.line, e.text);
    return j;
}

static int num(const json_t *j, const char *key)
{
    json_t *v = json_object_get(j, key);
    assert_true(json_is_integer(v));
    return (int)json_integer_value(v);
}

static bool is(const json_t *j, const char *key, const char *value)
{
    const char *s = json_string_value(json_object_get(j, key));
    return s && strcmp(s, value) == 0;
}

static void read_sizes(fixture *f, bool adapter)
{
    json_t *c = json_object_get(f->json, "config"), *q = json_object_get(c, "qformer");
    json_t *g = json_object_get(c, "gpt2");

    f->batch = num(c, "batch");
    f->cfg.data.frames = num(c, "frames");
    f->cfg.qformer.queries = num(c, "queries");
    f->cfg.prompt.bucket = 1;
    assert_int_equal(num(c, "tokens"), 5);          /* 2x2 patches and the class token */
    f->model.clip = (gq_clip_config){.image = 2,
                                     .patch = 1,
                                     .width = num(c, "clip_width"),
                                     .layers = 1,
                                     .heads = 1,
                                     .mlp = 4,
                                     .ln_eps = 1e-5};
    f->model.qformer = (gq_qformer_config){
        .queries = num(c, "queries"),
        .width = num(q, "width"),
        .layers = num(q, "layers"),
        .heads = num(q, "heads"),
        .mlp = num(q, "ffn"),
        .cross_every = num(q, "cross_every"),
        .ln_eps = 1e-12,
        .vision_width = num(c, "clip_width"),
        .encoder_width = adapter ? num(c, "bridge_width") : num(c, "clip_width"),
        .bridge = adapter ? GQ_BRIDGE_ADAPTER : GQ_BRIDGE_REINIT_KV};
    f->model.gpt2 = (gq_gpt2_config){.width = num(g, "width"),
                                     .layers = num(g, "layers"),
                                     .heads = num(g, "heads"),
                                     .mlp = 4 * num(g, "width"),
                                     .vocab = num(g, "vocab"),
                                     .positions = num(g, "positions"),
                                     .ln_eps = 1e-5,
                                     .act = GQ_GELU_TANH,
                                     .bias = true,
                                     .tied = true};
    f->model.proj_scale = 1.0;
    f->model.mvm_declared = true;
}

static void read_mvm(fixture *f)
{
    json_t *m = json_object_get(f->json, "mvm");

    if (!json_is_object(m))
        return;
    f->cfg.mvm.enable = true;
    f->cfg.mvm.mode = is(m, "mode", "drop") ? GQ_CFG_MVM_DROP : GQ_CFG_MVM_ZERO;
    f->cfg.mvm.pos = is(m, "pos", "compact") ? GQ_CFG_POS_COMPACT : GQ_CFG_POS_KEEP;
    f->model.mvm.mode = is(m, "mode", "drop") ? GQ_MVM_DROP : GQ_MVM_ZERO;
    f->model.mvm.hidden = is(m, "zero_attn", "hidden");
    f->model.mvm.predictor = is(m, "predictor", "linear_ln");
    f->model.mvm.loss = is(m, "loss", "cos")   ? GQ_MVM_COS
                        : is(m, "loss", "sse") ? GQ_MVM_SSE
                                               : GQ_MVM_MSE;
    f->model.mvm.weight = json_number_value(json_object_get(m, "weight"));
}

static void open_fixture(fixture *f, const char *name)
{
    char     path[512];
    gq_error err = {0};
    bool     adapter;

    memset(f, 0, sizeof *f);
    snprintf(path, sizeof path, FIXTURE("stllm_tiny_%s.json"), name);
    f->json = load_json(path);
    snprintf(path, sizeof path, FIXTURE("stllm_tiny_%s.safetensors"), name);
    assert_ok(gq_safetensors_open(path, &f->st, &err), &err);
    assert_ok(gq_safetensors_open(FIXTURE("stllm_tiny_weights.safetensors"), &f->weights, &err),
              &err);
    adapter = is(f->json, "bridge", "adapter");
    if (!adapter)
        assert_ok(gq_safetensors_open(FIXTURE("stllm_tiny_reinit_kv_weights.safetensors"),
                                      &f->extra, &err),
                  &err);
    read_sizes(f, adapter);
    read_mvm(f);
    f->text = (int)gq_st_find(f->st, "in.text_ids")->shape[1];
}

static void close_fixture(fixture *f)
{
    gq_safetensors_close(f->st);
    gq_safetensors_close(f->weights);
    gq_safetensors_close(f->extra);
    json_decref(f->json);
}

static void load_weights(fixture *f, gq_params *p)
{
    gq_load_report r;
    gq_error       err = {0};

    for (int family = GQ_HF_QFORMER; family < GQ_HF_FAMILIES; family++)
        assert_ok(gq_hf_load(p, (gq_hf_family)family, f->weights, &r, &err), &err);
}

/* reinit_kv replaces some tensors by others of another shape, so parts are loaded one by one */
static void load_replaced(fixture *f, gq_params *p)
{
    gq_error err = {0};
    for (int32_t i = 0; i < p->count; i++)
        for (int family = GQ_HF_QFORMER; family < GQ_HF_FAMILIES; family++) {
            gq_hf_part part[3];
            int        parts = gq_hf_parts((gq_hf_family)family, &p->param[i], part);
            for (int k = 0; k < parts; k++) {
                const gq_st_tensor *t = gq_st_find(f->extra, part[k].name);
                double             *x = gq_malloc((size_t)part[k].n, sizeof *x);
                float              *y = gq_malloc((size_t)part[k].n, sizeof *y);
                if (!t)
                    t = gq_st_find(f->weights, part[k].name);
                assert_non_null(t);
                assert_ok(gq_hf_read(&part[k], t, x, &err), &err);
                for (int64_t j = 0; j < part[k].n; j++)
                    y[j] = (float)x[j];
                gq_param_set_f32(p, &p->param[i], part[k].first, y, part[k].n);
                gq_free(x);
                gq_free(y);
            }
        }
}

static void expect_loss(fixture *f, gq_stllm_tape *h, double bound)
{
    json_t *l = json_object_get(f->json, "losses");
    double  lm = json_number_value(json_object_get(l, "lm"));
    double  mvm = json_number_value(json_object_get(l, "mvm"));

    if (fabs(gq_scalar(h->tape, h->lm_loss) - lm) > bound * lm)
        fail_msg("lm loss: got %.12g, want %.12g", gq_scalar(h->tape, h->lm_loss), lm);
    if (h->mvm_loss.i && fabs(gq_scalar(h->tape, h->mvm_loss) - mvm) > bound * mvm)
        fail_msg("mvm loss: got %.12g, want %.12g", gq_scalar(h->tape, h->mvm_loss), mvm);
}

static void make_samples(fixture *f, gq_sample *s, int *labels)
{
    const int32_t *ids = gq_st_find(f->st, "in.text_ids")->data;
    const int32_t *ql = gq_st_find(f->st, "in.question_len")->data;
    const int32_t *al = gq_st_find(f->st, "in.answer_len")->data;
    const float   *x = gq_st_find(f->st, "in.features")->data;
    int64_t        per = (int64_t)gq_st_find(f->st, "in.features")->count / f->batch;
    bool           with_end;

    *labels = 0;
    for (int b = 0; b < f->batch; b++) {
        with_end = ids[b * f->text + ql[b] + al[b] - 1] == f->model.gpt2.vocab - 1;
        s[b] = (gq_sample){.vision = x + b * per, .question = ids + b * f->text, .nq = ql[b],
                           .answer = ids + b * f->text + ql[b], .na = al[b] - (with_end ? 1 : 0)};
        *labels += s[b].na + 1;
    }
}

static double mvm_denominator(const fixture *f, const uint8_t *keep)
{
    json_t *m = json_object_get(f->json, "mvm");
    int     n = (int)(f->cfg.data.frames * f->cfg.qformer.queries) * f->batch, kept = 0;

    for (int i = 0; i < n; i++)
        kept += keep[i];
    if (is(m, "denom", "expected"))
        return (1.0 - json_number_value(json_object_get(m, "rate"))) * n;
    return kept;
}

/* Student states of the tokens that take part: kept visual tokens and the text without its
 * padding. */
static void compare_student(fixture *f, gq_stllm_tape *h, const gq_sample *s, const uint8_t *keep,
                            double bound)
{
    int64_t n = f->cfg.data.frames * f->cfg.qformer.queries, d = f->model.gpt2.width;
    int64_t width = gq_dim(h->tape, h->states, 1);
    double *states = parity_get(h->tape, h->states);
    double *visual = parity_read(f->st, "out.student_visual", f->batch * n * d);
    double *text = parity_read(f->st, "out.student_text", f->batch * f->text * d);
    double  scale = bound * parity_largest(text, f->batch * f->text * d);

    for (int64_t b = 0; b < f->batch; b++) {
        int64_t used = 0;
        for (int64_t j = 0; j < n; j++) {
            int64_t row = f->model.mvm.mode == GQ_MVM_DROP && keep ? used : j;
            if (keep && !keep[b * n + j])
                continue;
            parity_close(states + (b * width + row) * d, visual + (b * n + j) * d, d, scale,
                         "out.student_visual");
            used++;
        }
        for (int64_t j = 0; j < s[b].nq + s[b].na + 1; j++)
            parity_close(states + (b * width + width - h->shape.text + j) * d,
                         text + (b * f->text + j) * d, d, scale, "out.student_text");
    }
    free(states);
    free(visual);
    free(text);
}

static void run_fixture(const char *name, const gq_backend *backend, double bound,
                        gq_plan_opts plan)
{
    fixture        f;
    gq_engine     *e;
    gq_params     *p;
    gq_stllm_tape  h;
    gq_stllm_shape shape = {0};
    gq_sample      s[8];
    gq_error       err = {0};
    int            labels;
    const uint8_t *keep = NULL;
    gq_feed_opts   o = {0};

    open_fixture(&f, name);
    assert_ok(gq_engine_new(&(gq_engine_opts){.backend = backend, .threads = 2}, &e, &err), &err);
    assert_ok(gq_params_new(e, &p, &err), &err);
    assert_ok(gq_stllm_declare(p, &f.model, &err), &err);
    assert_ok(gq_params_seal(p, true, &err), &err);
    if (f.extra)
        load_replaced(&f, p);
    else
        load_weights(&f, p);
    make_samples(&f, s, &labels);
    if (f.cfg.mvm.enable)
        keep = gq_st_find(f.st, "in.keep")->data;
    gq_feed_shape(&f.cfg, s, f.batch, false, f.cfg.mvm.enable, true, keep, &shape);
    o = (gq_feed_opts){.inv_lm = 1.0 / labels, .end_id = f.model.gpt2.vocab - 1};
    if (keep)
        o.inv_mvm = 1.0 / mvm_denominator(&f, keep);
    assert_ok(gq_stllm_record(e, p, &f.model, &shape, &plan, true, &h, &err), &err);
    gq_feed(&f.cfg, s, keep, NULL, &o, &h);
    assert_ok(gq_forward(h.tape, &err), &err);
    expect_loss(&f, &h, bound);
    parity_tensor(f.st, h.tape, h.encoded, "out.bridge", bound);
    parity_tensor(f.st, h.tape, h.queries, "out.qformer", bound);
    parity_tensor(f.st, h.tape, h.visual, "out.visual", bound);
    if (h.teacher.i && f.model.mvm.mode == GQ_MVM_ZERO)
        parity_tensor(f.st, h.tape, h.teacher, "out.teacher", bound);
    compare_student(&f, &h, s, keep, bound);
    assert_ok(gq_backward(h.tape, false, &err), &err);
    assert_true(parity_gradients(p, f.st, bound) >= 100);
    gq_tape_free(h.tape);
    gq_params_free(p);
    gq_engine_free(e);
    close_fixture(&f);
}

static const char *const modes[] = {"none",       "zero_mse",         "zero_sse_expected",
                                    "hidden_cos", "drop_compact_cos", "reinit_kv"};

static void all_modes(const gq_backend *backend, double bound, gq_plan_opts plan)
{
    for (size_t i = 0; backend && i < sizeof modes / sizeof *modes; i++) {
        print_message("%s %s\n", backend->name, modes[i]);
        run_fixture(modes[i], backend, bound, plan);
    }
}

static void reference_in_double(void **state)
{
    (void)state;
    all_modes(&gq_backend_ref64, 1e-6, (gq_plan_opts){0});
}

static void reference_in_float(void **state)
{
    (void)state;
    all_modes(&gq_backend_ref32, 1e-5, (gq_plan_opts){0});
}

static void cpu(void **state)
{
    (void)state;
    all_modes(gq_backend_cpu(NULL), 1e-5, (gq_plan_opts){0});
}

static void recomputed_segments(void **state)
{
    (void)state;
    all_modes(&gq_backend_ref64, 1e-6, (gq_plan_opts){.policy = GQ_SEGMENT});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_in_double),
        cmocka_unit_test(reference_in_float),
        cmocka_unit_test(recomputed_segments),
        cmocka_unit_test(cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
