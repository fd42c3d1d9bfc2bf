/* The configuration: strictness, problems at once, overrides, presets, exact round trip, limits, the reference file. */
#include "support.h"

#include <locale.h>
#include <time.h>

#include "core/io.h"
#include "core/mem.h"
#include "train/config.h"

static gq_config   a, b;
static gq_problems problems;
static gq_error    err;

static gq_status parse(const char *text)
{
    gq_error_clear(&err);
    return gq_config_parse("t.yaml", text, strlen(text), NULL, 0, &a, &problems, &err);
}

static gq_status set(const char *text, const char *one)
{
    gq_error_clear(&err);
    return gq_config_parse("t.yaml", text, strlen(text), &one, one ? 1 : 0, &a, &problems, &err);
}

static char *written(const gq_config *c)
{
    char  *p = NULL;
    size_t n = 0;
    FILE  *f = open_memstream(&p, &n);
    assert_ok(gq_config_write(c, f, &err), &err);
    fclose(f);
    return p;
}

static void defaults_are_the_papers(void **state)
{
    (void)state;
    assert_ok(parse(""), &err);
    assert_int_equal(a.model.init, GQ_CFG_INIT_RANDOM);
    assert_int_equal(a.clip.width, 768);
    assert_int_equal(a.clip.patch, 32);
    assert_int_equal(a.clip.mlp, 3072);
    assert_int_equal(a.clip.proj, 512);
    assert_int_equal(a.clip.text_mlp, 2048);
    assert_int_equal(a.qformer.encoder_width, 1408);
    assert_int_equal(a.qformer.mlp, 3072);
    assert_int_equal(a.gpt2.vocab, 50257);
    assert_int_equal(a.gpt2.mlp, 3072);
    assert_int_equal(a.clipcut.k, 3);
    assert_int_equal(a.image.size, 224);
    assert_true(a.image.mean[1] == 0.4578275);
    assert_true(a.data.limits.bytes == 64u << 20);
    assert_true(a.data.limits.pixels == 256u << 20);
    assert_true(a.train.warmup.fraction && a.train.warmup.value == 0.03);
    assert_int_equal(a.mvm.loss, GQ_CFG_MVM_MSE);
    assert_string_equal(a.prompt.template, "Question: {q} Answer:");
    assert_string_equal(a.prompt.answer_prefix, " ");
}

static void presets(void **state)
{
    (void)state;
    assert_ok(parse("clip: {preset: vit_l14, layers: 3}\ngpt2: {preset: 1558m}\nqformer: {bridge: "
                    "reinit_kv}\n"),
              &err);
    assert_int_equal(a.clip.width, 1024);
    assert_int_equal(a.clip.layers, 3);
    assert_int_equal(a.clip.text_heads, 12);
    assert_int_equal(a.clip.proj, 768);
    assert_int_equal(a.qformer.encoder_width, 1024);
    assert_int_equal(a.gpt2.width, 1600);
    assert_int_equal(a.gpt2.heads, 25);
    assert_int_equal(parse("gpt2: {preset: custom, width: 64}"), GQ_ECONFIG);
    assert_int_equal(problems.n, 4);
    assert_non_null(strstr(err.text, "gpt2.layers: must be given"));
}

/* model.kind t5: sizes and forms of the published models, defaults that are about text, and what cannot be. */
static void text_models(void **state)
{
    static const struct { const char *text, *needle; } bad[] = {
        {"model: {kind: t5}\nmvm: {enable: true}\n", "mvm.enable: T5 (model.kind) reads no frames"},
        {"model: {kind: t5}\nprompt: {template: \"{q} {c} {c}\"}\n", "must hold {c} at most once"},
        {"model: {kind: t5}\nprompt: {template: \"{c}\"}\n", "must hold {q} exactly once"},
        {"model: {kind: t5}\nt5: {buckets: 30}\n", "t5.buckets: 30 is no multiple of 4"},
        {"model: {kind: t5}\nt5: {far: 16}\n", "t5.far: 16 is not beyond the 16 distances"},
        {"model: {kind: t5}\nt5: {preset: custom, width: 64}\n", "t5.heads: must be given"},
        {"prompt: {template: \"{q} {c}\"}\n", "{c}, a context, is read by model.kind 't5' alone"},
    };
    (void)state;
    assert_ok(parse("model: {kind: t5}\n"), &err);
    assert_int_equal(a.t5.width, 768);
    assert_int_equal(a.t5.mlp, 3072);
    assert_int_equal(a.t5.decoder_layers, 12);
    assert_int_equal(a.t5.vocab, 32128);
    assert_int_equal(a.t5.act, GQ_CFG_T5_RELU);
    assert_int_equal(a.t5.head, GQ_CFG_T5_TIED);
    assert_false(a.mvm.enable);
    assert_string_equal(a.prompt.template, "question: {q} context: {c}");
    assert_string_equal(a.prompt.answer_prefix, "");
    assert_ok(parse("model: {kind: t5}\nt5: {preset: flan_t5_small, layers: 3, head: tied}\n"
                    "prompt: {template: \"{c} {q}\", answer_prefix: x}\n"), &err);
    assert_int_equal(a.t5.heads, 6);
    assert_int_equal(a.t5.decoder_layers, 3);
    assert_int_equal(a.t5.act, GQ_CFG_T5_GATED_GELU);
    assert_int_equal(a.t5.head, GQ_CFG_T5_TIED);
    assert_string_equal(a.prompt.template, "{c} {q}");
    assert_string_equal(a.prompt.answer_prefix, "x");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(bad[i].text), GQ_ECONFIG);
        if (!strstr(err.text, bad[i].needle))
            fail_msg("'%s' is not in '%s'", bad[i].needle, err.text);
    }
}

static void problems_all_at_once(void **state)
{
    static const char text[] =
        "train:\n  bacth: 3\n  lr: abc\n  lr: 1\n  schedule: cosin\nfoo: 1\nclip:\n"
        "  heads: 2000\n  warmup: 3\n  train: yes\n  width: \"32\"\n  layers: 1.5\n  patch:\n";
    static const struct { int line, column; const char *needle; } want[] = {
        {2, 3, "t.yaml:2:3: unknown key 'train.bacth'; did you mean 'train.batch'?"},
        {3, 7, "t.yaml:3:7: train.lr: 'abc' is not a number"},
        {4, 3, "train.lr: stands here twice; it was set in line 3"},
        {5, 13, "'cosin' is not one of cosine, linear, constant; did you mean 'cosine'?"},
        {6, 1, "unknown key 'foo'"},
        {8, 10, "clip.heads: 2000 is outside 0 to 256"},
        {9, 3, "unknown key 'clip.warmup'; did you mean 'train.warmup'?"},
        {10, 10, "clip.train: 'yes' is not true or false"},
        {11, 10, "clip.width: '32' is not an integer: take the quotes away"},
        {12, 11, "clip.layers: '1.5' is not an integer"},
        {13, 9, "clip.patch: has no value"},
    };
    (void)state;
    assert_int_equal(parse(text), GQ_ECONFIG);
    assert_int_equal(err.code, GQ_ECONFIG);
    assert_int_equal(problems.n, sizeof want / sizeof want[0]);
    for (size_t i = 0; i < problems.n; i++) {
        assert_int_equal(problems.item[i].line, want[i].line);
        assert_int_equal(problems.item[i].column, want[i].column);
        if (!strstr(problems.item[i].text, want[i].needle))
            fail_msg("'%s' is not in '%s'", want[i].needle, problems.item[i].text);
        if (i < 6)
            assert_non_null(strstr(err.text, want[i].needle));
    }
}

static void wrong_values(void **state)
{
    static const struct { const char *text, *needle;
    } bad[] = {
        {"- 1\n", "expected sections"},
        {"hello\n", "expected sections"},
        {"train: 3\n", "train: expected a section"},
        {"train: [1]\n", "train: expected a section"},
        {"{[a]: 1}\n", "a key is one word, not a list"},
        {"train: {batch: [1]}\n", "train.batch: expected integer, found a list"},
        {"train: {batch: {a: 1}}\n", "found a map"},
        {"train: {batch: 0}\n", "0 is outside 1 to 65536"},
        {"train: {batch: 99999999999999999999}\n", "is not an integer"},
        {"train: {batch: 0x10}\n", "is not an integer"},
        {"train: {seed: -1}\n", "-1 is outside"},
        {"train: {lr: nan}\n", "is not a number"},
        {"train: {lr: inf}\n", "is not a number"},
        {"train: {lr: 1e999}\n", "is not a number"},
        {"train: {lr: 1,5}\n", "unknown key"},
        {"train: {lr: ~}\n", "has no value"},
        {"train: {warmup: 1.5}\n", "outside 0 to 1 (100%)"},
        {"train: {warmup: 101%}\n", "outside 0 to 1 (100%)"},
        {"train: {warmup: -1}\n", "outside 0 to 1e9 steps"},
        {"train: {warmup: soon}\n", "a number of steps (300) or a share"},
        {"image: {mean: [1, 2]}\n", "expected three numbers (R, G, B), found 2"},
        {"image: {mean: [1, 2, 3, 4]}\n", "expected three numbers"},
        {"image: {mean: 3}\n", "expected three numbers, found a single value"},
        {"image: {std: [1, 0, 1]}\n", "image.std: 0 is outside"},
        {"data: {limits: {bytes: 3Kb}}\n", "a size such as 64MiB"},
        {"data: {limits: {bytes: 999999Ti}}\n", "outside"},
        {"data: {limits: {pixels: 1MiB}}\n", "a number such as 256Mi"},
        {"data: {train: {a: b}}\n", "expected path or a list"},
        {"data: {train: [1,2,3,4,5,6,7,8,9]}\n", "more than 8 entries"},
        {"train: {groups: {match: a}}\n", "expected list of maps"},
        {"train: {groups: [a]}\n", "expected items such as '- {match: ...}'"},
        {"train: {groups: [{lr_mult: 2}]}\n", "'match' must be given"},
        {"train: {groups: [{match: a, lr_mul: 2}]}\n",
         "unknown field 'lr_mul'; did you mean 'lr_mult'?"},
        {"train: {groups: [{match: a, match: b}]}\n", "train.groups.match: stands here twice"},
        {"train: {groups: [{match: a, decay: -1}]}\n", "outside 0 to 10"},
        {"train: {stages: [{until: 10}, {until: 10}]}\n", "stage 2 does not end after"},
        {"train: {steps: 100, stages: [{until: 50}, {until: 20%}]}\n",
         "stage 2 does not end after"},
        {"train: {mix: {a: -1}}\n", "outside"},
        {"train: {mix: {a: 1, a: 2}}\n", "'a' stands here twice"},
        {"train: {mix: {a: 0}}\n", "nothing would be drawn"},
        {"train: {mix: [a]}\n", "expected map"},
        {"init: {rules: [{match: a, dist: gauss}]}\n", "not one of normal"},
        {"run: {dir: \"a\\u0007b\"}\n", "control characters"},
        {"clip: {heads: 7}\n", "clip.heads: 7 does not divide clip.width, which is 768"},
        {"clip: {patch: 15}\n", "does not divide clip.image_size"},
        {"image: {size: 200}\n", "differs from clip.image_size"},
        {"qformer: {bridge: none, encoder_width: 1408}\n", "differs from clip.width"},
        {"prompt: {template: hello}\n", "must hold {q} exactly once"},
        {"prompt: {template: \"{q} {q}\"}\n", "must hold {q} exactly once"},
        {"data: {frames: 30}\n", "too few for 960 visual tokens"},
        {"mvm: {mode: drop, sampler: bernoulli}\n",
         "t.yaml:1:19: mvm.sampler: mvm.mode 'drop' needs 'exact'"},
        {"mvm: {mode: drop, rate_scope: sample}\n", "needs 'batch'"},
        {"mvm: {pos: compact}\n", "'compact' is about removed tokens"},
        {"mvm: {rate_lo: 0.8}\n", "0.8 is above mvm.rate_hi"},
        {"decode: {min_new_tokens: 17}\n", "17 is above decode.max_new_tokens, which is 16"},
        {"clip: {train: true}\ndata: {features: cached}\n", "cached states cannot train CLIP"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        gq_status s = parse(bad[i].text);
        if (s != GQ_ECONFIG || !strstr(err.text, bad[i].needle))
            fail_msg("%s-> %d '%s', want '%s'", bad[i].text, (int)s, err.text, bad[i].needle);
    }
}

static void not_plain_yaml(void **state)
{
    static const struct { const char *text, *needle; } bad[] = {
        {"train: &x {batch: 1}\n", "anchors (&) and tags (!)"},
        {"train: {batch: &x 1}\n", "t.yaml:1:16: anchors"},
        {"train: {batch: !!int 1}\n", "anchors (&) and tags (!)"},
        {"train: !t {batch: 1}\n", "anchors (&) and tags (!)"},
        {"train: {batch: *x}\n", "aliases (*)"},
        {"%YAML 1.1\n---\ntrain: {}\n", "t.yaml:1:1: directives (%)"},
        {"---\ntrain: {}\n---\nclip: {}\n", "t.yaml:3:1: a second document"},
        {"train: {batch: 1\n", "not YAML"},
        {"train:\n\tbatch: 1\n", "t.yaml:2:1: not YAML"},
        {"train: {run: \"a\xff\"}\n", "not YAML"},
        {"run: {dir: \"a\\0b\"}\n", "a NUL byte"},
        {"<<: {a: 1}\n", "unknown key '<<'"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        gq_status s = parse(bad[i].text);
        if (s != GQ_ECONFIG || !strstr(err.text, bad[i].needle))
            fail_msg("%s-> %d '%s', want '%s'", bad[i].text, (int)s, err.text, bad[i].needle);
    }
    assert_ok(parse("\xef\xbb\xbftrain:\n  batch: 3\ndata:\n"),
              &err); /* a byte order mark, an empty section */
    assert_int_equal(a.train.batch, 3);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* 1 MiB made of repetitions of `unit` after `head` */
static double cost_of(const char *head, const char *unit, size_t total)
{
    char  *text = malloc(total + 1);
    size_t n = strlen(head), u = strlen(unit);
    double begin, took;

    memcpy(text, head, n);
    for (; n + u <= total; n += u)
        memcpy(text + n, unit, u);
    gq_error_clear(&err);
    begin = seconds();
    gq_config_parse("t.yaml", text, n, NULL, 0, &a, &problems, &err);
    took = seconds() - begin;
    print_message("%.12s%.24s x %zu bytes: %.1f ms, %s\n", head, unit[0] == '\n' ? "\\n" : unit, n,
                  took * 1e3, err.code ? "refused" : "taken");
    free(text);
    return took;
}

/* Nothing up to 1 MiB may be slow. The promise is 50 ms; sanitizers cost up to ten times that. */
static void limits(void **state)
{
    static const char *const units[] = {
        "[", "{", "[\n", "- ", "? ", "a: {", "[a: ", "a: 1\n", "- a\n", "a,", "'", "\"\\n",
        "#", "\n", " ", "%TAG !a! b\n",
        "!", "&a ", "*a ", "a", "a: b: ", "\t", "\r", "---\n", "...\n", "|\n", "\xc3\xa9",
        "[]", "{}", "[],", "key_that_is_not_known: 1\n", "train: 1\n", "\"a\":", "? a\n: b\n"};
#if defined __SANITIZE_ADDRESS__
    const double most = 0.5;
#else
    const double most = 0.05;
#endif
    double worst = 0;
    (void)state;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        static const char *const heads[] = {"", "train: [", "train: {mix: {", "train:\n  "};
        for (size_t h = 0; h < sizeof heads / sizeof heads[0]; h++) {
            double took = cost_of(heads[h], units[i], 1 << 20);
            if (took > most)                       /* once more: other programs share the machine */
                took = cost_of(heads[h], units[i], 1 << 20);
            if (took > most)
                fail_msg("'%s' after '%s' takes %.3f s", units[i], heads[h], took);
            worst = took > worst ? took : worst;
        }
    }
    print_message("worst parse: %.1f ms\n", worst * 1e3);
    assert_int_equal(gq_config_parse("t.yaml", "", (1 << 20) + 1, NULL, 0, &a, &problems, &err),
                     GQ_ECONFIG);
}

static void depth_and_nodes(void **state)
{
    char   text[200];
    size_t n = 0;
    (void)state;
    for (int depth = 31; depth <= 33; depth++) {
        n = 0;
        for (int i = 0; i < depth; i++)
            text[n++] = '[';
        for (int i = 0; i < depth; i++)
            text[n++] = ']';
        text[n] = 0;
        assert_int_equal(parse(text), GQ_ECONFIG);
        if (depth <= 32)
            assert_non_null(strstr(err.text, "expected sections"));
        else
            assert_non_null(strstr(err.text, "t.yaml:1:33: nested more than 32 deep"));
    }
    cost_of("train: [", "a,", 8 + 2 * 9000);
    assert_null(strstr(err.text, "10,000"));
    cost_of("train: [", "a,", 8 + 2 * 10010);
    assert_non_null(strstr(err.text, "more than 10,000 values"));
}

static void many_problems(void **state)
{
    char   text[4000] = "";
    (void)state;
    for (int i = 0; i < 100; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "key_%03d_with_some_length: 1\n",
                 i);
    assert_int_equal(parse(text), GQ_ECONFIG);
    assert_int_equal(problems.n, GQ_PROBLEMS_MAX);
    assert_int_equal(problems.more, 80);
    assert_non_null(strstr(err.text, "more"));
    assert_true(strlen(err.text) < sizeof err.text - 1);
}

static void overrides(void **state)
{
    static const struct { const char *set, *needle; } bad[] = {
        {"train.steps=-3", "--set train.steps=-3: train.steps: -3 is outside"},
        {"batch=3", "--set batch=3: unknown key 'batch'; did you mean 'train.batch'?"},
        {"train.mix.order=x", "train.mix: 'x' is not a number"},
        {"image.mean=[1,2]", "expected three numbers"},
        {"image.mean=[1", "image.mean: not YAML"},
        {"train.groups=", "train.groups: has no value"},
        {"foo", "expected KEY=VALUE"},
        {"=3", "expected KEY=VALUE"},
        {"train=3", "'train' is a section"},
        {"clip.heads=7", "--set clip.heads=7: clip.heads: 7 does not divide"},
        {"train.batch=", "has no value"},
        {"run.dir=a\x1b[31m", "control characters"},
        {"trian.batch=3", "did you mean 'train.batch'?"},
    };
    const char *many[] = {"train.batch=5",
                          "train.batch=6",
                          "run.dir=a: b #c",
                          "data.train=x,y.h5",
                          "data.val=[p, q]",
                          "train.mix.order=2",
                          "train.groups=[{match: 'gpt2.*', frozen: true}]",
                          "mvm.start=300",
                          "prompt.template=Q {q}?",
                          "engine.memory_limit=2GiB",
                          "model.weights.clip="};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(set("", bad[i].set), GQ_ECONFIG);
        if (!strstr(err.text, bad[i].needle))
            fail_msg("%s -> '%s'", bad[i].set, err.text);
    }
    gq_error_clear(&err);
    assert_ok(gq_config_parse("t.yaml", "train: {batch: 2, mix: {order: 3, count: 4}}", 44, many,
                              sizeof many / sizeof many[0], &a, NULL, &err), &err);
    assert_int_equal(a.train.batch, 6);
    assert_string_equal(a.run.dir, "a: b #c");
    assert_int_equal(a.data.train.n, 1);
    assert_string_equal(a.data.train.path[0], "x,y.h5");
    assert_int_equal(a.data.val.n, 2);
    assert_string_equal(a.data.val.path[1], "q");
    assert_true(gq_mix_weight(&a.train.mix, "order") == 2 &&
                gq_mix_weight(&a.train.mix, "count") == 4 &&
                gq_mix_weight(&a.train.mix, "other") == 1);
    assert_int_equal(a.train.groups.n, 1);
    assert_int_equal(a.train.groups.item[0].frozen, 1);
    assert_true(a.train.groups.item[0].lr_mult == GQ_UNSET &&
                a.train.groups.item[0].decay == GQ_UNSET);
    assert_false(a.mvm.start.fraction);
    assert_int_equal(gq_amount_steps(a.mvm.start, 1000), 300);
    assert_true(a.engine.memory_limit == UINT64_C(2) << 30);
}

static void drop_takes_exact(void **state)
{
    (void)state;
    assert_ok(parse("mvm: {mode: drop}\n"), &err);
    assert_int_equal(a.mvm.sampler, GQ_CFG_SAMPLER_EXACT);
    assert_ok(set("mvm: {mode: drop}\n", "mvm.sampler=exact"), &err);
    assert_int_equal(set("mvm: {mode: drop}\n", "mvm.sampler=bernoulli"), GQ_ECONFIG);
    assert_ok(parse("mvm: {mode: zero}\n"), &err);
    assert_int_equal(a.mvm.sampler, GQ_CFG_SAMPLER_BERNOULLI);
}

static void note_difference(void *ctx, const char *key, const char *x, const char *y)
{
    char *out = ctx;
    snprintf(out + strlen(out), 2000 - strlen(out), "%s: %s -> %s\n", key, x, y);
}

static void differences(void **state)
{
    char text[2000] = "";
    (void)state;
    assert_ok(parse("train: {lr: 0.1}\n"), &err);
    b = a;
    assert_int_equal(gq_config_diff(&a, &b, note_difference, text), 0);
    b.train.lr = 0.2;
    b.data.train.n = 1;
    strcpy(b.data.train.path[0], "x");
    strcpy(b.data.train.path[1], "stale bytes do not count");
    b.mvm.start = (gq_amount){1, true};
    assert_int_equal(gq_config_diff(&a, &b, note_difference, text), 3);
    assert_string_equal(text,
                        "mvm.start: 0 -> 1.0\ndata.train: [] -> [\"x\"]\ntrain.lr: 0.1 -> 0.2\n");
}

/* Text and value must meet again, for awkward numbers and strings too. */
static void round_trip(void **state)
{
    static const double awkward[] = {0.1, 1.0 / 3, 5e-324, 0x1.fffffffffffffp-1, 3e-5, 1e-8, 0, 1};
    (void)state;
    assert_ok(
        parse("train: {stages: [{until: 8%, kinds: [a, 'b: c'], freeze: ['clip.*']}, {until: 700}],"
              " groups: [{match: '*', decay: 0}, {match: x, frozen: false, lr_mult: "
              "0.30000000000000004}],"
              " mix: {a: 0.1, 'true': 7}}\n"
              "init: {scheme: nano, rules: [{match: '\"q\\', dist: sinusoid, base: 200, part: "
              "second_half}]}\n"),
        &err);
    for (size_t i = 0; i < sizeof awkward / sizeof awkward[0]; i++) {
        a.train.lr = a.mvm.rate_mean = awkward[i];
        a.train.warmup = (gq_amount){awkward[i], true};
        a.mvm.start = (gq_amount){(double)i * 1e8, false};
        a.model.seed = UINT64_C(9223372036854775807) - i;
        strcpy(a.run.dir, i & 1 ? " # \"q\" \\ \t\n\xc3\xa9 '%" : "~");
        strcpy(a.prompt.template, i & 1 ? "null: {q}" : "{q}\n");
        char *text = written(&a);
        assert_ok(gq_config_parse("w", text, strlen(text), NULL, 0, &b, NULL, &err), &err);
        char *again = written(&b);
        assert_string_equal(text, again);
        assert_int_equal(gq_config_diff(&a, &b, NULL, NULL), 0);
        assert_memory_equal(&a.train.lr, &b.train.lr, sizeof a.train.lr);
        assert_memory_equal(&a.train.warmup.value, &b.train.warmup.value,
                            sizeof a.train.warmup.value);
        assert_true(b.train.warmup.fraction && !b.mvm.start.fraction);
        assert_true(a.model.seed == b.model.seed);
        assert_string_equal(a.run.dir, b.run.dir);
        assert_string_equal(a.prompt.template, b.prompt.template);
        assert_true(a.train.groups.item[1].lr_mult == b.train.groups.item[1].lr_mult);
        assert_int_equal(b.train.groups.item[0].frozen, -1);
        assert_int_equal(b.train.groups.item[1].frozen, 0);
        assert_string_equal(b.train.stages.item[0].kinds.name[1], "b: c");
        assert_string_equal(b.init.rules.item[0].match, "\"q\\");
        free(text);
        free(again);
    }
}

/* The decimal comma of another locale must not reach the file or change what is read. */
static void locale_with_comma(void **state)
{
    (void)state;
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8")) {
        print_message("skipped: no locale with a decimal comma is installed\n");
        skip();
    }
    assert_ok(parse("train: {lr: 0.25}\n"), &err);
    assert_true(a.train.lr == 0.25);
    char *text = written(&a);
    assert_non_null(strstr(text, "  lr: 0.25\n"));
    free(text);
    setlocale(LC_ALL, "C");
}

static const char *config_file(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/configs/%s", GQ_SOURCE_DIR, name);
    return path;
}

static void shipped_configs(void **state)
{
    static const char *const names[] = {"stllm_gpt2.yaml", "stllm_paper.yaml", "stllm_seed.yaml",
                                        "stllm_nano.yaml"};
    (void)state;
    gq_error_clear(&err);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_ok(gq_config_load(config_file(names[i]), NULL, 0, &a, &problems, &err), &err);
        char *text = written(&a);
        assert_ok(gq_config_parse("w", text, strlen(text), NULL, 0, &b, NULL, &err), &err);
        assert_int_equal(gq_config_diff(&a, &b, NULL, NULL), 0);
        free(text);
    }
    /* what the recipe stands on */
    assert_int_equal(a.train.steps, 9000);
    assert_int_equal(gq_amount_steps(a.train.stages.item[0].until, a.train.steps), 720);
    assert_int_equal(gq_amount_steps(a.mvm.start, a.train.steps), 6750);
    assert_true(gq_kinds_has(&a.train.stages.item[0].kinds, "where"));
    assert_false(gq_kinds_has(&a.train.stages.item[0].kinds, "order"));
    assert_true(fabs(a.image.mean[0] * 255 - 64) < 1e-12);
    assert_int_equal(a.data.frames * a.qformer.queries, 16);
    assert_ok(gq_config_load(config_file("stllm_gpt2.yaml"), NULL, 0, &a, NULL, &err), &err);
    assert_true(fabs(a.train.lr * a.train.groups.item[2].lr_mult - 2e-5) < 1e-20);
    assert_true(fabs(a.train.lr * a.train.groups.item[0].lr_mult - 1e-4) < 1e-20);
    assert_fails(gq_config_load(config_file("none.yaml"), NULL, 0, &a, &problems, &err), GQ_ECONFIG,
                 &err, "none.yaml");
}

static void reference_is_current(void **state)
{
    gq_bytes file = {0};
    char    *made = NULL;
    size_t   n = 0;
    FILE    *f = open_memstream(&made, &n);
    (void)state;
    gq_error_clear(&err);
    assert_ok(gq_config_reference(f, &err), &err);
    fclose(f);
    assert_ok(gq_read_file(config_file("REFERENCE.md"), 1 << 20, &file, &err), &err);
    if (n != file.size || memcmp(made, file.data, n) != 0)
        fail_msg("configs/REFERENCE.md is not what the table says: run gifqa-train --reference > "
                 "configs/REFERENCE.md");
    gq_bytes_free(&file);
    free(made);
}

static void help_and_explain(void **state)
{
    char  *text = NULL;
    size_t n = 0;
    FILE  *f = open_memstream(&text, &n);
    (void)state;
    gq_error_clear(&err);
    assert_ok(gq_config_explain("train.groups", f, &err), &err);
    assert_ok(gq_config_explain("data.limits", f, &err), &err);
    assert_ok(gq_config_help(f, &err), &err);
    assert_fails(gq_config_explain("train.bach", f, &err), GQ_EUSAGE, &err,
                 "did you mean 'train.batch'?");
    fclose(f);
    assert_non_null(strstr(text, "  - lr_mult: number; default unset"));
    assert_non_null(strstr(text, "data.limits.seconds\n  Processor time of one file."));
    assert_non_null(strstr(text, "mvm.loss                     mse"));
    free(text);
    f = fopen("/dev/full", "w");
    gq_error_clear(&err);
    setvbuf(f, NULL, _IONBF, 0);
    assert_fails(gq_config_reference(f, &err), GQ_EDISK, &err, "cannot write");
    fclose(f);
}

/* Every allocation failing once: an error each time, no leak, no crash. libyaml's own are not under this switch. */
static void out_of_memory(void **state)
{
    static const char text[] =
        "train: {groups: [{match: a}, {match: b}], lr: 1}\nclip: {heads: 1}\n";
    int refused = 0;
    (void)state;
    for (uint64_t n = 1; n < 40; n++) {
        gq_error_clear(&err);
        gq_mem_fail_at(n, false);
        gq_status s =
            gq_config_parse("t.yaml", text, sizeof text - 1, NULL, 0, &a, &problems, &err);
        gq_mem_fail_at(0, false);
        assert_true(s == GQ_OK || s == GQ_ENOMEM);
        refused += s == GQ_ENOMEM;
    }
    assert_true(refused > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_papers),
        cmocka_unit_test(presets),
        cmocka_unit_test(text_models),
        cmocka_unit_test(problems_all_at_once),
        cmocka_unit_test(wrong_values),
        cmocka_unit_test(not_plain_yaml),
        cmocka_unit_test(limits),
        cmocka_unit_test(depth_and_nodes),
        cmocka_unit_test(many_problems),
        cmocka_unit_test(overrides),
        cmocka_unit_test(drop_takes_exact),
        cmocka_unit_test(differences),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(locale_with_comma),
        cmocka_unit_test(shipped_configs),
        cmocka_unit_test(reference_is_current),
        cmocka_unit_test(help_and_explain),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests_name("train/config", tests, NULL, NULL);
}
