/* Parameter counts and first values of the published sizes, from declarations alone
 * (specification models.md 2.1, 2.7, 3.2, 3.4, 4.1, 4.4, 7.2): nothing of these sizes is
 * allocated. */
#include "support.h"

#include "models/stllm.h"

static gq_params *open_registry(void)
{
    gq_engine *e;
    gq_params *p;
    gq_error   err = {0};
    assert_ok(
        gq_engine_new(&(gq_engine_opts){.backend = &gq_backend_ref32, .threads = 1}, &e, &err),
        &err);
    assert_ok(gq_params_new(e, &p, &err), &err);
    return p;
}

static void close_registry(gq_params *p)
{
    gq_engine *e = p->engine;
    gq_params_free(p);
    gq_engine_free(e);
}

/* Elements of the parameters that match a pattern; "*" for all. */
static int64_t count(const gq_params *p, const char *pattern)
{
    int64_t n = 0;
    for (int32_t i = 0; i < p->count; i++)
        if (gq_glob(pattern, p->param[i].name))
            n += p->param[i].n;
    return n;
}

static gq_clip_config vit(int width, int layers, int heads, int patch, int text_width,
                          int text_heads, int proj)
{
    return (gq_clip_config){.image = 224,
                            .patch = patch,
                            .width = width,
                            .layers = layers,
                            .heads = heads,
                            .mlp = 4 * width,
                            .text_width = text_width,
                            .text_layers = 12,
                            .text_heads = text_heads,
                            .text_mlp = 4 * text_width,
                            .vocab = 49408,
                            .context = 77,
                            .proj = proj,
                            .act = GQ_QUICK_GELU,
                            .ln_eps = 1e-5,
                            .text = true};
}

static void clip(void **state)
{
    const struct { gq_clip_config c; int tokens; int64_t vision, text, total; } size[] = {
        {vit(768, 12, 12, 32, 512, 8, 512), 50, 87456000, 63165952, 151277313},
        {vit(768, 12, 12, 16, 512, 8, 512), 197, 85799424, 63165952, 149620737},
        {vit(1024, 24, 16, 14, 768, 12, 768), 257, 303179776, 123060480, 427616513},
    };
    (void)state;
    for (int k = 0; k < 3; k++) {
        gq_params *p = open_registry();
        gq_error   err = {0};
        assert_ok(gq_clip_declare(p, &size[k].c, &err), &err);
        assert_int_equal(gq_clip_tokens(&size[k].c), size[k].tokens);
        assert_int_equal(count(p, "clip.v.*") - count(p, "clip.v.proj.w"), size[k].vision);
        assert_int_equal(count(p, "clip.t.*") - count(p, "clip.t.proj.w"), size[k].text);
        assert_int_equal(count(p, "*"), size[k].total);
        close_registry(p);
    }
}

static gq_qformer_config blip2(int encoder, int vision, gq_bridge bridge)
{
    return (gq_qformer_config){.queries = 32,
                               .width = 768,
                               .layers = 12,
                               .heads = 12,
                               .mlp = 3072,
                               .cross_every = 2,
                               .encoder_width = encoder,
                               .vision_width = vision,
                               .bridge = bridge,
                               .ln_eps = 1e-12};
}

static void qformer(void **state)
{
    const struct { gq_qformer_config c; int64_t qformer, bridge; } size[] = {
        {blip2(1408, 768, GQ_BRIDGE_ADAPTER), 105162240, 1085568},
        {blip2(768, 768, GQ_BRIDGE_REINIT_KV), 99264000, 2 * 768},
        {blip2(1024, 1024, GQ_BRIDGE_NONE), 101623296, 0},
    };
    gq_params *p;
    gq_error   err = {0};

    (void)state;
    for (int k = 0; k < 3; k++) {
        p = open_registry();
        assert_ok(gq_qformer_declare(p, &size[k].c, &err), &err);
        assert_int_equal(count(p, "qformer.*"), size[k].qformer);
        assert_int_equal(count(p, "bridge.*"), size[k].bridge);
        assert_int_equal(count(p, "qformer.query"), 24576);
        if (k == 0) {
            assert_int_equal(count(p, "qformer.h.0.self.*"), 2363904);
            assert_int_equal(count(p, "qformer.h.0.cross.*"), 3346944);
            assert_int_equal(count(p, "qformer.h.1.cross.*"), 0);
            assert_int_equal(count(p, "qformer.h.11.mlp.*"), 4723968);
        }
        if (k == 1)
            assert_int_equal(count(p, "*.cross.kv.*"), 7087104);
        close_registry(p);
    }
    p = open_registry();
    assert_fails(gq_qformer_declare(p,
                                    &(gq_qformer_config){.queries = 2,
                                                         .width = 8,
                                                         .layers = 1,
                                                         .heads = 1,
                                                         .mlp = 8,
                                                         .cross_every = 2,
                                                         .encoder_width = 12,
                                                         .vision_width = 8,
                                                         .bridge = GQ_BRIDGE_REINIT_KV},
                                    &err),
                 GQ_ECONFIG, &err, "qformer.encoder_width is 12 and clip.width is 8");
    close_registry(p);
}

static gq_gpt2_config gpt(int width, int layers, int heads, bool tied)
{
    return (gq_gpt2_config){.width = width,
                            .layers = layers,
                            .heads = heads,
                            .mlp = 4 * width,
                            .vocab = 50257,
                            .positions = 1024,
                            .ln_eps = 1e-5,
                            .act = GQ_GELU_TANH,
                            .bias = true,
                            .tied = tied};
}

static void gpt2(void **state)
{
    const struct { gq_gpt2_config c; int64_t total; } size[] = {
        {gpt(768, 12, 12, true), 124439808},   {gpt(1024, 24, 16, true), 354823168},
        {gpt(1280, 36, 20, true), 774030080},  {gpt(1600, 48, 25, true), 1557611200},
        {gpt(768, 12, 12, false), 124439808 + 50257 * 768},          /* a head of its own */
    };
    (void)state;
    for (int k = 0; k < 5; k++) {
        gq_params *p = open_registry();
        gq_error   err = {0};
        assert_ok(gq_gpt2_declare(p, &size[k].c, &err), &err);
        assert_int_equal(count(p, "*"), size[k].total);
        close_registry(p);
    }
}

static void whole_model(void **state)
{
    gq_stllm_config c = {.clip = vit(768, 12, 12, 32, 512, 8, 512),
                         .qformer = blip2(1408, 768, GQ_BRIDGE_ADAPTER),
                         .gpt2 = gpt(768, 12, 12, true),
                         .proj_scale = 1.0,
                         .mvm_declared = true};
    gq_params      *p = open_registry();
    gq_error        err = {0};

    (void)state;
    assert_ok(gq_stllm_declare(p, &c, &err), &err);
    assert_int_equal(count(p, "clip.v.*") - count(p, "clip.v.proj.w"), 87456000);
    assert_int_equal(
        count(p, "clip.t.*") + count(p, "clip.v.proj.w") + count(p, "clip.logit_scale"), 63821313);
    assert_int_equal(count(p, "proj.*"), 590592);
    assert_int_equal(count(p, "mvm.predictor.*"), 592128);
    assert_int_equal(count(p, "*") - count(p, "clip.*") - count(p, "mvm.*"), 231278208);
    close_registry(p);
}

/* Every parameter's first value by the first pattern that fits; a negative deviation stands for
 * a constant. */
static void first_values(void **state)
{
    const double in = 1.0 / sqrt(768.0), deep = in / sqrt(24.0), text = 1.0 / sqrt(512.0);
    const double text_deep = text / sqrt(24.0);
    const struct { const char *pattern; double std, constant;
    } rules[] = {
        {"*ln*.g", -1, 1.0},
        {"*ln*.b", -1, 0.0},
        {"clip.logit_scale", -1, 2.6592},
        {"clip.?.*.b", -1, 0.0},
        {"clip.v.cls", in, 0},
        {"clip.v.patch.w", 0.02, 0},
        {"clip.v.pos", 0.02, 0},
        {"clip.v.proj.w", in, 0},
        {"clip.v.*.qkv.w", deep, 0},
        {"clip.v.*.attn.out.w", in, 0},
        {"clip.v.*.fc1.w", 1.0 / sqrt(1536.0), 0},
        {"clip.v.*.fc2.w", deep, 0},
        {"clip.t.tok", 0.02, 0},
        {"clip.t.pos", 0.02, 0},
        {"clip.t.proj.w", text, 0},
        {"clip.t.*.qkv.w", text_deep, 0},
        {"clip.t.*.attn.out.w", text, 0},
        {"clip.t.*.fc1.w", 1.0 / 32.0, 0},
        {"clip.t.*.fc2.w", text_deep, 0},
        {"qformer.query", 0.02, 0},
        {"proj.w", 0.06, 0},
        {"gpt2.*.attn.out.w", 0.02 / sqrt(24.0), 0},
        {"gpt2.*.fc2.w", 0.02 / sqrt(24.0), 0},
        {"*.b", -1, 0.0},
        {"*.w", 0.02, 0},
        {"gpt2.w?e", 0.02, 0},
    };
    gq_stllm_config c = {.clip = vit(768, 12, 12, 32, 512, 8, 512),
                         .qformer = blip2(1408, 768, GQ_BRIDGE_ADAPTER),
                         .gpt2 = gpt(768, 12, 12, true),
                         .proj_scale = 3.0,
                         .mvm_declared = true};
    gq_params      *p = open_registry();
    gq_error        err = {0};

    (void)state;
    assert_ok(gq_stllm_declare(p, &c, &err), &err);
    for (int32_t i = 0; i < p->count; i++) {
        const gq_init *init = &p->param[i].init;
        size_t         k = 0;
        while (k < sizeof rules / sizeof *rules && !gq_glob(rules[k].pattern, p->param[i].name))
            k++;
        if (k == sizeof rules / sizeof *rules)
            fail_msg("'%s' has no rule", p->param[i].name);
        if (init->dist != (rules[k].std < 0 ? GQ_INIT_CONST : GQ_INIT_NORMAL) ||
            fabs(init->value - (rules[k].std < 0 ? rules[k].constant : rules[k].std)) > 1e-12)
            fail_msg("'%s' starts with %.9g", p->param[i].name, init->value);
    }
    close_registry(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clip),
        cmocka_unit_test(qformer),
        cmocka_unit_test(gpt2),
        cmocka_unit_test(whole_model),
        cmocka_unit_test(first_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
