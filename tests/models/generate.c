/* Greedy and beam decoding against transformers' generate() (tests/reference/gpt2_tiny_generate.json): the same tokens
 * and the same scores; and decoding over the cache against a full forward pass. */
#include "support.h"

#include <jansson.h>

#include "core/safetensors.h"
#include "models/generate.h"
#include "models/hf.h"

#define FIXTURE(name) GQ_SOURCE_DIR "/tests/reference/" name

typedef struct world {
    gq_engine      *engine;
    gq_params      *params;
    gq_stllm_config cfg;
    json_t         *json;
} world;

static void load(world *w, const gq_backend *backend)
{
    gq_error        err = {0};
    gq_safetensors *st;
    gq_load_report  report;
    json_error_t    e;
    float           bias[64];
    size_t          i;
    json_t         *v, *list;

    memset(w, 0, sizeof *w);
    w->cfg.gpt2 = (gq_gpt2_config){.width = 16,
                                   .layers = 2,
                                   .heads = 2,
                                   .mlp = 64,
                                   .vocab = 37,
                                   .positions = 24,
                                   .ln_eps = 1e-5,
                                   .act = GQ_GELU_TANH,
                                   .bias = true,
                                   .tied = true};
    assert_ok(gq_engine_new(&(gq_engine_opts){.backend = backend, .threads = 2}, &w->engine, &err),
              &err);
    assert_ok(gq_params_new(w->engine, &w->params, &err), &err);
    assert_ok(gq_gpt2_declare(w->params, &w->cfg.gpt2, &err), &err);
    assert_ok(gq_params_seal(w->params, false, &err), &err);
    assert_ok(gq_safetensors_open(FIXTURE("gpt2_tiny.safetensors"), &st, &err), &err);
    assert_ok(gq_hf_load(w->params, GQ_HF_GPT2, st, &report, &err), &err);
    assert_int_equal(report.missing, 0);
    gq_safetensors_close(st);
    w->json = json_load_file(FIXTURE("gpt2_tiny_generate.json"), 0, &e);
    assert_non_null(w->json);
    list = json_object_get(w->json, "ln_f.bias");
    json_array_foreach(list, i, v)
        bias[i] = (float)json_number_value(v);
    gq_param_set_f32(w->params, gq_params_find(w->params, "gpt2.ln_f.b"), 0, bias, 16);
}

static void drop(world *w)
{
    gq_params_free(w->params);
    gq_engine_free(w->engine);
    json_decref(w->json);
}

static int integer(json_t *o, const char *key, int fallback)
{
    json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? (int)json_integer_value(v) : fallback;
}

static gq_decode_opts options(world *w, json_t *c)
{
    json_t *lp = json_object_get(c, "length_penalty"),
           *early = json_object_get(c, "early_stopping");
    return (gq_decode_opts){.max_new = integer(c, "max_new_tokens", 9),
                            .min_new = integer(c, "min_new_tokens", 0),
                            .beams = integer(c, "num_beams", 1),
                            .length_penalty = lp ? json_number_value(lp) : 1.0,
                            .early = json_is_true(early)     ? GQ_EARLY_TRUE
                                     : json_is_string(early) ? GQ_EARLY_NEVER
                                                             : GQ_EARLY_FALSE,
                            .end_id = integer(w->json, "eos", 36),
                            .bucket = 4};
}

static void check_case(world *w, json_t *c, int number, double bound)
{
    gq_decode_opts o = options(w, c);
    gq_generator  *g;
    gq_error       err = {0};
    int32_t        prompt[32], out[32];
    json_t *list = json_object_get(c, "prompt"), *want = json_object_get(c, "generated"), *score,
           *v;
    gq_answer      a = {.ids = out};
    size_t         i;
    int            length;

    json_array_foreach(list, i, v)
        prompt[i] = (int32_t)json_integer_value(v);
    assert_ok(gq_generator_new(w->engine, w->params, &w->cfg, 1, 0, false, &o, &g, &err), &err);
    assert_ok(gq_generate(g, &(gq_prompt){.ids = prompt, .n = (int)json_array_size(list)}, 1, &a,
                          NULL, &err),
              &err);
    length = a.n;
    if (a.ended)
        out[length++] = o.end_id;
    if (length != (int)json_array_size(want))
        fail_msg("case %d: %d tokens, want %d", number, length, (int)json_array_size(want));
    json_array_foreach(want, i, v) if (out[i] != json_integer_value(v)) fail_msg(
        "case %d: token %d is %d, want %d", number, (int)i, out[i], (int)json_integer_value(v));
    score = json_object_get(c, "score");
    if (json_is_number(score)) {
        double got = a.logprob / pow(length, o.length_penalty), n = json_number_value(score);
        if (fabs(got - n) > bound * fmax(1, fabs(n) / 90))
            fail_msg("case %d: score %.9g, want %.9g", number, got, json_number_value(score));
    }
    gq_generator_free(g);
}

static void run_cases(const gq_backend *backend, double bound)
{
    world  w;
    json_t *cases, *c;
    size_t i;

    load(&w, backend);
    cases = json_object_get(w.json, "cases");
    assert_true(json_array_size(cases) > 30);
    json_array_foreach(cases, i, c)
        check_case(&w, c, (int)i, bound);
    drop(&w);
}

/* float32 log probabilities of up to 9 tokens of magnitude 10: 9 * 10 * 6e-8, and as much again for the states; of
 * a score that a length penalty below zero makes larger than those 90, as much more */
static void as_transformers_in_double(void **state)
{
    (void)state;
    run_cases(&gq_backend_ref64, 1e-5);
}

static void as_transformers_on_cpu(void **state)
{
    (void)state;
    run_cases(gq_backend_cpu(NULL), 1e-5);
}

/* A batch of prompts of different lengths answers as each prompt alone, to the bit. */
static void batch_equals_single(void **state)
{
    world          w;
    gq_error       err = {0};
    gq_generator  *g;
    int32_t        ids[3][8] = {{5, 9, 30}, {0, 1}, {7, 7, 7, 2, 3}}, out[2][3][12];
    int            n[3] = {3, 2, 5};
    gq_answer      one, many[3];
    gq_prompt      p[3];
    gq_decode_opts o = {.max_new = 9, .beams = 1, .length_penalty = 1.0, .end_id = 36, .bucket = 8};

    (void)state;
    load(&w, &gq_backend_ref32);
    for (int i = 0; i < 3; i++) {
        p[i] = (gq_prompt){.ids = ids[i], .n = n[i]};
        many[i] = (gq_answer){.ids = out[0][i]};
    }
    assert_ok(gq_generator_new(w.engine, w.params, &w.cfg, 3, 0, false, &o, &g, &err), &err);
    assert_ok(gq_generate(g, p, 3, many, NULL, &err), &err);
    gq_generator_free(g);
    assert_ok(gq_generator_new(w.engine, w.params, &w.cfg, 1, 0, false, &o, &g, &err), &err);
    for (int i = 0; i < 3; i++) {
        one = (gq_answer){.ids = out[1][i]};
        assert_ok(gq_generate(g, &p[i], 1, &one, NULL, &err), &err);
        assert_int_equal(one.n, many[i].n);
        assert_memory_equal(out[0][i], out[1][i], (size_t)one.n * sizeof(int32_t));
        assert_true(one.logprob == many[i].logprob);
    }
    gq_generator_free(g);
    drop(&w);
}

/* Rows of the head that no token stands for are never chosen, whatever their logits are. */
static void ids_stay_below_the_limit(void **state)
{
    world        w;
    gq_error     err = {0};
    int32_t      ids[3] = {5, 9, 30}, out[12];
    gq_prompt    p = {.ids = ids, .n = 3};
    gq_generator *g;

    (void)state;
    load(&w, &gq_backend_ref32);
    for (int beams = 1; beams <= 3; beams += 2)
        for (int limit = 1; limit <= 29; limit += 7) {
            gq_decode_opts o = {.max_new = 9, .beams = beams, .length_penalty = 1.0, .end_id = 36,
                                .tokens = limit, .bucket = 4};
            gq_answer      a = {.ids = out};
            assert_ok(gq_generator_new(w.engine, w.params, &w.cfg, 1, 0, false, &o, &g, &err),
                      &err);
            assert_ok(gq_generate(g, &p, 1, &a, NULL, &err), &err);
            assert_int_equal(a.n, 9);
            for (int i = 0; i < a.n; i++)
                assert_in_range(out[i], 0, limit - 1);
            gq_generator_free(g);
        }
    drop(&w);
}

static void too_long_is_refused(void **state)
{
    world          w;
    gq_error       err = {0};
    gq_generator  *g;
    int32_t        ids[20] = {0}, out[12];
    gq_answer      a = {.ids = out};
    gq_decode_opts o = {.max_new = 9, .beams = 1, .length_penalty = 1.0, .end_id = 36, .bucket = 4};

    (void)state;
    load(&w, &gq_backend_ref32);
    assert_ok(gq_generator_new(w.engine, w.params, &w.cfg, 1, 0, false, &o, &g, &err), &err);
    assert_fails(gq_generate(g, &(gq_prompt){.ids = ids, .n = 20}, 1, &a, NULL, &err), GQ_EINPUT,
                 &err, "positions");
    gq_generator_free(g);
    drop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_transformers_in_double),
        cmocka_unit_test(as_transformers_on_cpu),
        cmocka_unit_test(batch_equals_single),
        cmocka_unit_test(ids_stay_below_the_limit),
        cmocka_unit_test(too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
