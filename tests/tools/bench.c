/* gifqa-bench on a tiny model: what it prints is there and makes sense, and wrong use is
 * refused. Nothing here asserts how fast anything is. */
#include "shell.h"

#include <math.h>

#include "t5_made.h"

static const char tiny[] =
    "clip: {preset: custom, train: true, text: false, feature: final, image_size: 12, patch: 4,\n"
    "       width: 16, layers: 1, heads: 2, mlp: 32, proj: 0}\n"
    "qformer: {queries: 2, width: 16, layers: 1, heads: 2, mlp: 32, bridge: none}\n"
    "gpt2: {preset: custom, width: 32, layers: 2, heads: 2, mlp: 64, vocab: 64, positions: 48,\n"
    "       dropout: 0}\n"
    "prompt: {max_question_tokens: 24, max_answer_tokens: 8, bucket: 4}\n"
    "mvm: {enable: true}\n"
    "data: {frames: 2}\n"
    "train: {batch: 2}\n"
    "engine: {threads: 1}\n";

static int make(void **state)
{
    (void)state;
    shell_begin("gifqa-bench");
    shell_put("tiny.yaml", tiny);
    shell_put("broken.yaml", "clip: {presett: custom}\n");
    return 0;
}

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_number(v) || !isfinite(json_number_value(v)))
        fail_msg("'%s' is no finite number", key);
    return json_number_value(v);
}

static json_t *run(const char *command)
{
    shell_expect(command, 0, "\"ok\":true", NULL);
    return shell_json();
}

static void help(void **state)
{
    (void)state;
    need_program();
    shell_help("gifqa-bench step");
    shell_help("gifqa-bench ask");
    shell_help("gifqa-bench gemm");
    shell_help("gifqa-bench gpu");
    shell_help("gifqa-bench t5");
    shell_help("gifqa-bench features");
    shell_expect("gifqa-bench --help", 0, "gemm", NULL);
}

#define T5 "gifqa-bench t5 --model t5 --batch 3 --prompts 7 --tokens 5 --threads 1 --device cpu --json"

/* A directory's T5: what it did, however fast. */
static void a_t5(void **state)
{
    char    path[1024];
    json_t *o;
    (void)state;
    need_program();
    shell_path("t5", path);
    made_t5_random(path, &made_t5_sizes, 1);
    for (int beams = 1; beams <= 2; beams++) {
        o = run(beams == 1 ? T5 : T5 " --beams 2 --shortest 5 --longest 5");
        assert_int_equal(shell_int(o, "prompts"), 7);
        assert_int_equal(shell_int(o, "beams"), beams);
        assert_int_equal(shell_int(o, "threads"), 1);
        assert_true(number(o, "pairs_per_s") > 0 && number(o, "encoder_s") > 0 && number(o, "decoder_s") > 0);
        assert_true(number(o, "peak_rss_mib") > 0);
        json_decref(o);
    }
    shell_expect("gifqa-bench t5 --model t5 --batch 2 --prompts 2 --tokens 3 --device cpu", 0,
                 "2 prompts of 16 to 40 tokens, 3 new ones, batches of 2, 1 beams: ", NULL);
    shell_expect("gifqa-bench t5 --model none", 5, NULL, "none: no such directory");
    shell_expect("gifqa-bench t5 --shortest 9 --longest 8", 2, NULL, "--shortest 9 is longer");
}

#define STEP "gifqa-bench step --config tiny.yaml --text 12 --labelled 3 --steps 2 --json "

static void a_step(void **state)
{
    json_t *o, *plan;
    double  sum = 0;
    (void)state;
    need_program();

    o = run(STEP "--batch 3 --masked");
    assert_true(number(o, "min_s") > 0);
    assert_true(number(o, "min_s") <= number(o, "median_s"));
    assert_true(number(o, "median_s") <= number(o, "max_s"));
    assert_true(number(o, "first_step_done_s") > number(o, "first_step_s"));
    assert_true(number(o, "gflops") > 0);
    assert_true(number(o, "peak_rss_mib") > number(o, "growth_mib"));
    assert_true(number(o, "first_loss") > 0);
    assert_int_equal(shell_int(o, "batch"), 3);
    assert_int_equal(shell_int(o, "frames"), 2);
    assert_int_equal(shell_int(o, "steps"), 2);
    assert_true(json_is_true(json_object_get(o, "masked")));
    assert_string_equal(json_string_value(json_object_get(o, "vision")), "live");
    plan = json_object_get(o, "plan_bytes");
    sum = number(plan, "param") + number(plan, "state") + number(plan, "act") +
          number(plan, "temp") + number(plan, "host");
    assert_true(fabs(sum / 1048576 - number(o, "plan_mib")) < 1e-6);
    assert_true(number(plan, "state") == 3 * number(plan, "param")); /* all of it is trained */
    json_decref(o);
}

static double loss_of(const char *command)
{
    json_t *o = run(command);
    double  loss = number(o, "loss");
    json_decref(o);
    return loss;
}

/* It is the product's step: the same bits again, for any number of threads and either policy;
 * and not without masks. */
static void a_step_is_reproducible(void **state)
{
    double loss;
    (void)state;
    need_program();

    loss = loss_of(STEP "--masked");
    assert_true(loss == loss_of(STEP "--masked --threads 2"));
    assert_true(loss == loss_of(STEP "--masked --checkpoint segment"));
    assert_true(loss != loss_of(STEP "--unmasked"));
    assert_true(loss != loss_of(STEP "--masked --frames 3"));
    loss_of(STEP "--set clip.train=false --vision cached");
}

static void a_profile(void **state)
{
    json_t *o, *ops, *trace, *events, *op;
    double  share = 0;
    bool    adamw = false;
    size_t  i;
    char    path[1024];
    (void)state;
    need_program();

    o = run(STEP "--masked --profile 2 --trace step.json");
    ops = json_object_get(o, "ops");
    assert_true(json_array_size(ops) > 20);
    json_array_foreach(ops, i, op) {
        share += number(op, "share");
        adamw |= strcmp(json_string_value(json_object_get(op, "op")), "AdamW") == 0;
    }
    assert_true(adamw);
    assert_true(fabs(share - 1) < 1e-6);   /* "between ops" is one of them */
    json_decref(o);
    shell_path("step.json", path);
    trace = json_load_file(path, 0, NULL);
    events = json_object_get(trace, "traceEvents");
    assert_true(json_array_size(events) > 40);
    json_array_foreach(events, i, op)
        assert_true(number(op, "dur") >= 0 && number(op, "ts") >= 0);
    json_decref(trace);
    shell_expect("gifqa-bench step --config tiny.yaml --text 12 --labelled 3 --steps 1 "
                 "--profile 1",
                 0, "| AdamW |", NULL);
}

static void products(void **state)
{
    json_t *o, *cases, *c;
    size_t  i;
    (void)state;
    need_program();

    o = run("gifqa-bench gemm --no-blas --rounds 1 --threads 2 --json 8x16x24 3x50x7");
    cases = json_object_get(o, "cases");
    assert_int_equal(json_array_size(cases), 6);
    json_array_foreach(cases, i, c) {
        assert_true(number(c, "gflops") > 0);
        assert_int_equal(shell_int(c, "threads"), 2);
        assert_null(json_object_get(c, "ratio"));
    }
    c = json_object_get(json_array_get(cases, 2), "shape");
    assert_int_equal(json_integer_value(json_array_get(c, 0)), 8);
    json_decref(o);
    o = run("gifqa-bench gemm --no-blas --rounds 1 --threads 1 --json --layers 8x16x24");
    c = json_object_get(json_array_get(json_object_get(o, "cases"), 2), "shape");
    assert_int_equal(json_integer_value(json_array_get(c, 0)), 16);    /* gradient of w [16,24] */
    assert_int_equal(json_integer_value(json_array_get(c, 2)), 8);
    json_decref(o);
}

/* Where there is an OpenBLAS both sides compute the same, or the program fails. */
static void products_beside_openblas(void **state)
{
    json_t *o;
    (void)state;
    need_program();

    o = run("gifqa-bench gemm --rounds 1 --threads 2 --json 33x65x129");
    if (!json_object_get(o, "openblas")) {
        print_message("no OpenBLAS here\n");
        json_decref(o);
        skip();
    }
    assert_true(number(json_array_get(json_object_get(o, "cases"), 0), "ratio") > 0);
    assert_true(number(json_array_get(json_object_get(o, "threads"), 0), "worst") > 0);
    json_decref(o);
}

static void a_question(void **state)
{
    static const char *const phase[] = {"init",          "decode",  "preprocess", "clip_vision",
                                        "text_and_topk", "qformer", "generate"};
    json_t *o, *seconds;
    double  sum = 0;
    (void)state;
    need_program();

    shell_expect("gifqa-prep world --preset micro --train 1 --val 0 --test 0 --novel 0 -o world && "
                 "cp world/gif/*.gif cat.gif",
                 0, "", "");
    o = run("gifqa-bench ask --config tiny.yaml --gif cat.gif --tokens 5 --threads 2 --json");
    assert_int_equal(shell_int(o, "tokens"), 5);
    assert_int_equal(shell_int(o, "threads"), 2);
    assert_true(shell_int(o, "frames") > 1);
    assert_true(number(o, "peak_rss_mib") > 0);
    seconds = json_object_get(o, "seconds");
    for (size_t i = 0; i < sizeof phase / sizeof *phase; i++) {
        assert_true(number(seconds, phase[i]) >= 0);
        sum += number(seconds, phase[i]);
    }
    assert_true(sum <= number(seconds, "total") + 0.05);   /* launch is known to a hundredth */
    json_decref(o);
}

static void frames_through_clip(void **state)
{
    json_t *o;
    (void)state;
    need_program();
    o = run("gifqa-bench features --config tiny.yaml --frames 3 --rounds 2 --json");
    assert_int_equal(shell_int(o, "frames"), 3);
    assert_true(number(o, "frames_per_s") > 0);
    json_decref(o);
}

static void wrong_use(void **state)
{
    (void)state;
    need_program();
    shell_expect("gifqa-bench", 2, NULL, "");
    shell_expect("gifqa-bench stepp", 2, NULL, "stepp");
    shell_expect("gifqa-bench step", 2, NULL, "--config FILE is needed");
    shell_expect("gifqa-bench gpu --device cpu", 2, NULL, "cuda:N");
    shell_expect("gifqa-bench step --config tiny.yaml --masked --unmasked", 2, NULL, "exclude");
    shell_expect("gifqa-bench step --config tiny.yaml --batch 0", 2, NULL, "--batch");
    shell_expect("gifqa-bench step --config tiny.yaml --text 6", 2, NULL, "larger than --labelled");
    shell_expect("gifqa-bench step --config tiny.yaml --trace t.json", 2, NULL, "--profile");
    shell_expect("gifqa-bench step --config broken.yaml", 3, NULL, "presett");
    shell_expect("gifqa-bench step --config tiny.yaml --text 64", 3, NULL, "gpt2.positions is 48");
    shell_expect("gifqa-bench step --config tiny.yaml --checkpoint some", 3, NULL,
                 "train.checkpoint");
    shell_expect("gifqa-bench gemm 8x16", 2, NULL, "'8x16' is no shape");
    shell_expect("gifqa-bench gemm 8x16x0", 2, NULL, "is no shape");
    shell_expect("gifqa-bench gemm --blas ./none.so 8x8x8", 4, NULL, "none.so");
    shell_expect("gifqa-bench gemm --blas none.so --no-blas 8x8x8", 2, NULL, "excludes");
    shell_expect("gifqa-bench ask", 2, NULL, "--gif FILE is needed");
    shell_expect("gifqa-bench ask --gif none.gif", 4, NULL, "none.gif");
    shell_expect("gifqa-bench ask --config tiny.yaml --gif tiny.yaml", 4, NULL, "tiny.yaml");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help), cmocka_unit_test(a_t5),
        cmocka_unit_test(a_step),
        cmocka_unit_test(a_step_is_reproducible),
        cmocka_unit_test(a_profile),
        cmocka_unit_test(products),
        cmocka_unit_test(products_beside_openblas),
        cmocka_unit_test(a_question),
        cmocka_unit_test(frames_through_clip),
        cmocka_unit_test(wrong_use),
    };
    return cmocka_run_group_tests(tests, make, shell_end);
}
