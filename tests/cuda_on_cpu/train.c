/* train.c - whole training runs on the CUDA column (column.h) beside the CPU column: the same losses, the
 * same bits from a captured step as from single launches, after a resume, and a state that either column
 * continues.
 *
 * Bounds. cuda-fp32 differs from the CPU in the order of sums and in the last bits of exp and erf, some
 * 2^-23 an operation; what is promised for a loss curve is 1e-5 relative, and Adam's steps of .01 do not use
 * that up here. cuda-bf16 rounds every activation to 8 bits, by 2^-9 relative on average. A logit goes
 * through some 30 roundings, which add up like a random walk to sqrt(30) 2^-9 = 1.1 % of it; a loss of log(64)
 * = 4.2 with logits of size 2 is then off by .022, .5 %. Gradients carry noise of that size into the weights,
 * so later losses may be off by twice as much: 1 %, with steps of 1e-3. (Seen with steps of .01: 5 % off in the
 * third, where the curve falls steeply.)
 */
#include "cuda_on_cpu/column.h"
#include "little.h"
#include "runs.h"
#include "train/evaluate.h"

#ifndef GQ_TEST_ON_GPU
#include "tests/cuda_on_cpu/lt_on_host.h"

static bool driver, unusable;           /* is there a driver; is the GPU of no use                */

const gq_backend *__wrap_gq_backend_cuda(int index, int bf16, gq_error *err);
const gq_backend *__wrap_gq_backend_cuda(int index, int bf16, gq_error *err)
{
    assert_int_equal(index, 0);
    if (unusable) {
        gq_fail(err, GQ_EUSAGE, "no GPU: its driver is older than this test");
        return NULL;
    }
    return gq_backend_on_host(bf16, err);
}

int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);
int __wrap_access(const char *path, int mode)
{
    return strcmp(path, "/dev/nvidiactl") == 0 ? driver ? 0 : -1 : __real_access(path, mode);
}
#endif

enum { STEPS = 6, MORE = 24 };

/* ---- runs ------------------------------------------------------------------------------------ */

static gq_error last_error;

static void configure(const char *const *more, gq_config *c)
{
    const char *set[LITTLE_KEYS + 8 + MORE];
    char        train[600], val[600], vocabulary[600];
    size_t      n = LITTLE_KEYS;
    gq_error    err = {0};

    memcpy(set, little_keys, sizeof little_keys);
    snprintf(train, sizeof train, "data.train=%s", little("train"));
    snprintf(val, sizeof val, "data.val=%s", little("test"));
    snprintf(vocabulary, sizeof vocabulary, "model.tokenizer.clip=%s", little("train/tokenizer"));
    set[n++] = train;
    set[n++] = val;
    set[n++] = vocabulary;
    set[n++] = "train.steps=6";
    set[n++] = "train.save_every=3";
    set[n++] = "train.eval_every=3";
    set[n++] = "mvm.prob=0.5";
    for (int i = 0; more[i]; i++)
        set[n++] = more[i];
    assert_ok(gq_config_load(NULL, set, n, c, NULL, &err), &err);
}

static gq_status run(const char *name, const char *const *more, volatile sig_atomic_t *stop,
                     gq_train_events events, gq_train_result *result)
{
    static gq_config c;
    char             dir[600];
    gq_train_opts    o = {.run_dir = dir, .stop = stop, .events = events};
    gq_error         err = {0};
    gq_status        s;

    snprintf(dir, sizeof dir, "%s", little(name));
    configure(more, &c);
    s = gq_train(&c, &o, result, &err);
    if (s != GQ_OK && s != GQ_ESTOPPED && s != GQ_ENOMEM && s != GQ_ENUMERIC)
        fail_msg("%s: %s", name, err.text);
    last_error = err;
    return s;
}

typedef struct losses { double loss[STEPS], norm[STEPS]; int n; } losses;

static void keep(void *ctx, const gq_step_info *i)
{
    losses *l = ctx;
    assert_true(l->n < STEPS);
    l->loss[l->n] = i->loss;
    l->norm[l->n++] = i->grad_norm;
}

static losses losses_of(const char *name, const char *const *more)
{
    losses          l = {.n = 0};
    gq_train_result result;
    assert_int_equal(run(name, more, NULL, (gq_train_events){.ctx = &l, .step = keep}, &result), GQ_OK);
    assert_int_equal(l.n, STEPS);
    return l;
}

static void compare(const char *what, const losses *got, const losses *want, double loss, double norm)
{
    for (int i = 0; i < STEPS; i++) {
        if (!(fabs(got->loss[i] - want->loss[i]) <= loss * want->loss[i]))
            fail_msg("%s, step %d: loss %.9g, on the CPU %.9g", what, i, got->loss[i], want->loss[i]);
        if (!(fabs(got->norm[i] - want->norm[i]) <= norm * want->norm[i]))
            fail_msg("%s, step %d: gradient norm %.9g, on the CPU %.9g", what, i, got->norm[i],
                     want->norm[i]);
    }
}

/* ---- a text model ---------------------------------------------------------------------------- */

static const char *context_of(void *ctx, const char *gif)
{
    (void)ctx;
    return strchr(gif, '1') ? "red square left" : "blue circle up";
}

/* Shards "text": the questions of the training set, their GIFs as words. */
static void text_shards(void)
{
    char          table[600], out[600];
    gq_tokenizer *words;
    gq_error      err = {0};
    gq_build_opts o = {.table = table, .out = out, .keyframes = 1, .size = 1, .template = "{q} {c}",
                       .answer_prefix = "", .max_question = 13, .max_answer = 2, .context = context_of,
                       .contexts_sha256 = ""};

    snprintf(table, sizeof table, "%s", little("world/train.tsv"));
    snprintf(out, sizeof out, "%s", little("text"));
    assert_ok(gq_tokenizer_open(little("world/words.txt"), &words, &err), &err);
    o.tokenizer = words;
    assert_ok(gq_build(&o, NULL, &err), &err);
    gq_tokenizer_close(words);
}

#define LIST(...) (const char *const[]){__VA_ARGS__, NULL}
#define CUDA "engine.device=cuda"

static void test_fp32(void **state)
{
    const gq_backend *be[2];
    need_column(be);
    losses cpu = losses_of("cpu", LIST("engine.device=cpu")),
           gpu = losses_of("fp32", LIST(CUDA, "engine.precision=fp32"));
    (void)state;
    compare("cuda-fp32", &gpu, &cpu, 1e-5, 1e-4);
}

#define T5                                                                                         \
    "model.kind=t5", "mvm.enable=false", "t5.preset=custom", "t5.width=16", "t5.head_width=8", "t5.heads=2",    \
        "t5.mlp=24", "t5.layers=2", "t5.vocab=64", "t5.buckets=8", "t5.far=12", "t5.dropout=0.1", text, val

/* T5: norms without a mean, gated units, tables of relative positions, dropout everywhere, answers over two caches. */
static void test_text(void **state)
{
    const gq_backend *be[2];
    char              text[600], val[600];

    (void)state;
    need_column(be);
    text_shards();
    snprintf(text, sizeof text, "data.train=%s", little("text"));
    snprintf(val, sizeof val, "data.val=%s", little("text"));
    losses cpu = losses_of("t5-cpu", LIST("engine.device=cpu", "t5.act=gated_gelu", T5)),
           gpu = losses_of("t5-fp32", LIST(CUDA, "engine.precision=fp32", "t5.act=gated_gelu", T5));
    compare("T5, cuda-fp32", &gpu, &cpu, 1e-5, 1e-4);
    cpu = losses_of("t5-slow", LIST("engine.device=cpu", "train.lr=0.001", T5));
    gpu = losses_of("t5-bf16", LIST(CUDA, "train.lr=0.001", T5));
    compare("T5, cuda-bf16", &gpu, &cpu, 1e-2, 1e-1);
}

/* Heads of 64, for which the own attention kernels are made. */
#define WIDE "train.lr=0.001", "gpt2.width=128", "gpt2.heads=2", "qformer.width=64", "qformer.heads=1"

static void test_bf16(void **state)
{
    const gq_backend *be[2];
    need_column(be);
    losses cpu = losses_of("wide", LIST("engine.device=cpu", WIDE)),
           gpu = losses_of("bf16", LIST(CUDA, WIDE)),
           unfused = losses_of("unfused", LIST(CUDA, WIDE, "engine.attention=unfused"));
    (void)state;
    compare("cuda-bf16", &gpu, &cpu, .01, .1);
    compare("cuda-bf16, unfused attention", &unfused, &cpu, .01, .1);
}

/* Everything a run can have: several micro-batches, dropout, recomputation, dropped tokens, a predictor. */
#define ALL                                                                                        \
    CUDA, "train.accumulate=2", "gpt2.dropout=0.1", "train.checkpoint=segment", "mvm.mode=drop",   \
        "mvm.sampler=exact", "mvm.rate_scope=batch"

static void test_graph(void **state)
{
    const gq_backend *be[2];
    need_column(be);
    const char *why;
    (void)state;
    losses_of("stream", LIST(ALL, "engine.graph=false"));
    losses_of("graph", LIST(ALL));
    why = runs_differ(little("stream"), little("graph"), STEPS);
    if (why)
        fail_msg("a captured step gives other bits: %s", why);
    column_order(77);
    losses_of("order", LIST(ALL));
    column_order(0);
    why = runs_differ(little("graph"), little("order"), STEPS);
    if (why)
        fail_msg("the bits depend on the order in which threads run: %s", why);
}

static volatile sig_atomic_t stop;

static void stop_after_two(void *ctx, const gq_step_info *i)
{
    (void)ctx;
    if (i->step == 2)
        stop = 1;
}

/* The result of a step is known on a device when the next one has been asked for, which is then done, too. */
static void interrupted(const char *name, bool device, const char *const *first, const char *const *second)
{
    gq_train_result result;
    stop = 0;
    assert_int_equal(run(name, first, &stop, (gq_train_events){.step = stop_after_two}, &result),
                     GQ_ESTOPPED);
    assert_int_equal(run(name, second, NULL, (gq_train_events){0}, &result), GQ_OK);
    assert_int_equal(result.resumed_from, device ? 3 : 2);
}

static void test_resume(void **state)
{
    const gq_backend *be[2];
    need_column(be);
    const char *why;
    (void)state;
    losses_of("whole", LIST(CUDA));
    interrupted("twice", true, LIST(CUDA), LIST(CUDA));
    why = runs_differ(little("whole"), little("twice"), STEPS);
    if (why)
        fail_msg("a resumed run differs: %s", why);
}

static double last_loss(const char *name)
{
    json_t *lines = runs_metrics(little(name));
    double  loss = NAN;
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *x = json_object_get(json_array_get(lines, i), "loss");
        if (json_is_number(x))
            loss = json_number_value(x);
    }
    json_decref(lines);
    return loss;
}

/* A bad step is named when the next one has been asked for already: neither is applied, logged or saved. */
static void test_not_finite(void **state)
{
    const gq_backend *be[2];
    gq_train_result   result;
    int               step = -1;
    json_t           *lines;
    (void)state;
    need_column(be);
    assert_int_equal(run("steep", LIST(CUDA, "engine.precision=fp32", "train.lr=10", "train.warmup=6",
                                       "train.groups=[{match: \"*\", lr_mult: 1e6}]"),
                         NULL, (gq_train_events){0}, &result),
                     GQ_ENUMERIC);
    assert_non_null(strstr(last_error.text, "was not applied"));
    assert_null(strstr(last_error.text, "in the loss"));           /* the inputs of the step are found again */
    assert_null(strstr(last_error.text, "in the gradient"));
    assert_int_equal(sscanf(last_error.text, "step %d", &step), 1);
    assert_in_range(step, 1, STEPS - 1);
    assert_int_equal(result.steps, step);
    lines = runs_metrics(little("steep"));
    assert_int_equal(json_array_size(lines), step);
    json_decref(lines);
}

/* A state saved by one column is continued by the other: as close as two columns are. */
static void test_change(void **state)
{
    const gq_backend *be[2];
    need_column(be);
    losses cpu = losses_of("cpu.whole", LIST("engine.device=cpu"));
    (void)state;
    interrupted("to.gpu", false, LIST("engine.device=cpu"), LIST(CUDA, "engine.precision=fp32"));
    interrupted("to.cpu", true, LIST(CUDA, "engine.precision=fp32"), LIST("engine.device=cpu"));
    assert_true(fabs(last_loss("to.gpu") - cpu.loss[STEPS - 1]) <= 1e-5 * cpu.loss[STEPS - 1]);
    assert_true(fabs(last_loss("to.cpu") - cpu.loss[STEPS - 1]) <= 1e-5 * cpu.loss[STEPS - 1]);
}

/* ---- configs/stllm_nano.yaml ----------------------------------------------------------------- */

/* As it is but for the length of the run, no warm-up, and masking from the start. */
#define NANO_KEYS                                                                                  \
    "train.steps=2", "train.warmup=0", "train.eval_every=2", "train.save_every=2", "mvm.start=0", "mvm.prob=0.5",  \
        "engine.threads=1"

enum { NANO_STEPS = 2, NANO_FRAMES = 8 };

typedef struct nano_losses { double loss[NANO_STEPS], norm[NANO_STEPS], lm; int n, masked; } nano_losses;

static void nano_step(void *ctx, const gq_step_info *i)
{
    nano_losses *l = ctx;
    assert_true(l->n < NANO_STEPS);
    l->masked += i->masked;
    l->loss[l->n] = i->loss;
    l->norm[l->n++] = i->grad_norm;
}

static void nano_evaluated(void *ctx, int64_t step, const gq_evaluation *e, bool best)
{
    (void)best;
    assert_int_equal(step, NANO_STEPS);
    assert_int_equal(e->n, LITTLE_TEST);
    ((nano_losses *)ctx)->lm = e->lm_loss;
}

static nano_losses nano_of(const char *name, const char *device, const char *precision)
{
    static gq_config c;
    char             train[600], val[600], dir[600];
    const char      *set[] = {train, val, device, precision, NANO_KEYS};
    nano_losses      l = {.n = 0};
    gq_train_opts    o = {.run_dir = dir, .events = {.ctx = &l, .step = nano_step, .evaluated = nano_evaluated}};
    gq_train_result  result;
    gq_error         err = {0};

    snprintf(train, sizeof train, "data.train=%s", little("nano.train"));
    snprintf(val, sizeof val, "data.val=%s", little("nano.test"));
    snprintf(dir, sizeof dir, "%s", little(name));
    assert_ok(gq_config_load(GQ_SOURCE_DIR "/configs/stllm_nano.yaml", set, sizeof set / sizeof *set, &c, NULL,
                             &err), &err);
    assert_ok(gq_train(&c, &o, &result, &err), &err);
    assert_int_equal(l.n, NANO_STEPS);
    assert_true(l.masked > 0 && l.masked < NANO_STEPS && isfinite(l.lm));
    return l;
}

static void nano_near(const char *what, const nano_losses *got, const nano_losses *want, double loss, double norm)
{
    for (int i = 0; i < NANO_STEPS; i++)
        if (!(fabs(got->loss[i] - want->loss[i]) <= loss * want->loss[i]) ||
            !(fabs(got->norm[i] - want->norm[i]) <= norm * want->norm[i]))
            fail_msg("nano, %s, step %d: loss %.9g, gradient norm %.9g, on the CPU %.9g, %.9g", what, i, got->loss[i],
                     got->norm[i], want->loss[i], want->norm[i]);
    if (!(fabs(got->lm - want->lm) <= loss * want->lm))
        fail_msg("nano, %s: loss on the test questions %.9g, on the CPU %.9g", what, got->lm, want->lm);
}

static void test_nano(void **state)
{
    const gq_backend *be[2];
    need_column(be);
    nano_losses cpu = nano_of("nano.cpu", "engine.device=cpu", "engine.precision=fp32"),
                gpu = nano_of("nano.fp32", CUDA, "engine.precision=fp32"),
                bf16 = nano_of("nano.bf16", CUDA, "engine.precision=bf16");
    (void)state;
    nano_near("cuda-fp32", &gpu, &cpu, 1e-5, 1e-4);
    nano_near("cuda-bf16", &bf16, &cpu, .01, .1);
}

#ifndef GQ_TEST_ON_GPU
/* ---- which device ---------------------------------------------------------------------------- */

static void keep_device(void *ctx, const char *text)
{
    if (strncmp(text, "runs on ", 8) == 0)
        snprintf(ctx, 300, "%s", text);
}

static const char *device_of(const char *name, const char *key, gq_status want)
{
    static char     text[300];
    gq_train_result result;
    *text = 0;
    assert_int_equal(run(name, LIST(key, "train.steps=1", "data.val=[]"), NULL,
                         (gq_train_events){.ctx = text, .note = keep_device}, &result), want);
    return text;
}

/* --device auto takes the GPU where there is one; where it cannot be used the run says so and is none the worse: what
 * goes wrong later is told as it is. */
static void test_auto(void **state)
{
    const char *says;
    (void)state;
    driver = true;
    says = device_of("auto.gpu", "train.lr=0.001", GQ_OK);
    assert_string_equal(says, "runs on GPU 0 (cuda-bf16)");
    unusable = true;
    says = device_of("auto.cpu", "train.lr=0.001", GQ_OK);
    if (strncmp(says, "runs on the CPU (cpu-", 21) != 0 ||
        !strstr(says, "), not on the GPU: no GPU: its driver is older than this test"))
        fail_msg("a GPU that cannot be used: '%s'", says);
    device_of("auto.little", "engine.memory_limit=4096", GQ_ENOMEM);
    if (!strstr(last_error.text, "engine.memory_limit"))
        fail_msg("after the fallback the message is '%s'", last_error.text);
    driver = unusable = false;
    says = device_of("auto.none", "train.lr=0.001", GQ_OK);
    assert_true(strncmp(says, "runs on the CPU (cpu-", 21) == 0 && !strstr(says, "not on"));
}

/* ---- descriptors ----------------------------------------------------------------------------- */

enum { CALL_STEPS = 10 };

typedef struct calls { gq_device *d; uint64_t after[CALL_STEPS]; bool masked[CALL_STEPS]; int n; } calls;

static void count_calls(void *ctx, const gq_step_info *i)
{
    calls *c = ctx;
    assert_true(c->n < CALL_STEPS);
    c->after[c->n] = gq_lt_test_descriptor_calls(c->d);
    c->masked[c->n++] = i->masked;
}

static bool first_of_its_shape(const calls *c, int step)
{
    for (int i = 0; i < step; i++)
        if (step >= c->n || c->masked[i] == c->masked[step])
            return false;
    return true;
}

/* A step is told when the next one has been asked for: its calls are counted here, too. */
static void check_calls(const calls *c, uint64_t before)
{
    int firsts = 0, last = 0;
    assert_int_equal(c->n, CALL_STEPS);
    assert_true(c->after[0] > before);
    for (int i = 0; i < CALL_STEPS; i++) {
        uint64_t made = c->after[i] - (i ? c->after[i - 1] : before);
        if (first_of_its_shape(c, i)) {
            firsts++;
            last = i;
        } else if (made && !first_of_its_shape(c, i + 1)) {
            fail_msg("step %d made %d descriptor calls though its shape is known", i, (int)made);
        }
    }
    assert_true(firsts == 2 && last < CALL_STEPS - 3);         /* later ones of both                 */
}

/* Steps of one text length, masked and plain: the first of each makes the plans of its products, no other asks the
 * library about a descriptor, neither in single launches nor while it is captured or when it is launched as a whole. */
static void test_descriptors(void **state)
{
    static const char *const graph[] = {"engine.graph=false", "engine.graph=true"};
    const gq_backend        *be[2];
    (void)state;
    need_column(be);
    for (int g = 0; g < 2; g++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            gq_error        err = {0};
            calls           c = {.d = be[bf16]->device};
            uint64_t        before;
            char            name[32];
            gq_train_result result;
            assert_ok(gq_lt_test_reopen(c.d, &err), &err);
            before = gq_lt_test_descriptor_calls(c.d);
            snprintf(name, sizeof name, "calls.%d%d", g, bf16);
            assert_int_equal(run(name,
                                 LIST(CUDA, bf16 ? "engine.precision=bf16" : "engine.precision=fp32", graph[g],
                                      "train.overfit_batch=true", "train.accumulate=2", "train.batch=1",
                                      "train.steps=10", "train.lr=0.001", "data.val=[]"),
                                 NULL, (gq_train_events){.ctx = &c, .step = count_calls}, &result),
                             GQ_OK);
            check_calls(&c, before);
        }
}

/* Any allocation on the device may fail: the run ends with that, says so, and gives back all it had. */
static void test_no_memory(void **state)
{
    gq_train_result result;
    gq_status       s = GQ_ENOMEM;
    uint64_t        before;
    int             n = 1, failed = 0, tables = 0;
    (void)state;
    losses_of("opened", LIST(CUDA));                          /* what belongs to the process is there */
    before = gq_shim_count().device_blocks;
    for (; s != GQ_OK; n += 1 + n / 4) {
        char name[32];
        assert_true(n < 1000);
        snprintf(name, sizeof name, "starved.%d", n);
        gq_shim_fail_malloc(n);
        s = run(name, LIST(CUDA), NULL, (gq_train_events){0}, &result);
        gq_shim_fail_malloc(0);
        assert_true(s == GQ_OK || s == GQ_ENOMEM);
        if (s == GQ_ENOMEM && !strstr(last_error.text, "memory"))
            fail_msg("allocation %d: the message is '%s'", n, last_error.text);
        failed += s == GQ_ENOMEM;
        tables += s == GQ_ENOMEM && strstr(last_error.text, "\n  activations ") != NULL;
        assert_int_equal(gq_shim_count().device_blocks, before);
    }
    assert_true(failed > 5 && tables > 0);
}

/* A plan that the device has no room for is refused with its table before any of it is taken; the batch that the
 * message names does fit. */
static void test_plan(void **state)
{
    static gq_config c;
    gq_train_result  result;
    gq_dry_run       d;
    gq_error         err = {0};
    const char      *named;
    char             batch[40];
    uint64_t         opened;
    size_t           params, rest;
    (void)state;
    losses_of("roomy", LIST(CUDA, "train.batch=12"));
    opened = gq_shim_count().device_bytes;
    configure(LIST(CUDA, "train.batch=12"), &c);
    assert_ok(gq_train_dry_run(&c, &d, &err), &err);
    assert_int_equal(gq_shim_count().device_bytes, opened);
    params = (size_t)(d.param_bytes + d.state_bytes);
    rest = (size_t)(d.act_bytes + d.temp_bytes + d.host_bytes);

    gq_shim_memory(opened + params + rest / 2);
    assert_int_equal(run("narrow", LIST(CUDA, "train.batch=12"), NULL, (gq_train_events){0}, &result), GQ_ENOMEM);
    named = strstr(last_error.text, "\ntrain.batch: the largest that fits is about ");
    if (!named || !strstr(last_error.text, "GPU memory: the plan needs ") ||
        !strstr(last_error.text, "\n  parameters ") || !strstr(last_error.text, "\n  inputs "))
        fail_msg("half the room: the message is '%s'", last_error.text);
    assert_int_equal(gq_train_dry_run(&c, &d, &err), GQ_ENOMEM);
    assert_string_equal(err.text, last_error.text);
    snprintf(batch, sizeof batch, "train.batch=%d", atoi(strstr(named, "about ") + 6));
    assert_int_equal(run("fitted", LIST(CUDA, batch), NULL, (gq_train_events){0}, &result), GQ_OK);

    gq_shim_memory(opened + params + 4096);
    assert_int_equal(run("narrow", LIST(CUDA), NULL, (gq_train_events){0}, &result), GQ_ENOMEM);
    if (!strstr(last_error.text, "GPU memory, planned so far:\n  parameters "))
        fail_msg("no room for the inputs: the message is '%s'", last_error.text);
    gq_shim_memory(opened + params / 2);
    assert_int_equal(run("narrow", LIST(CUDA), NULL, (gq_train_events){0}, &result), GQ_ENOMEM);
    if (!strstr(last_error.text, "GPU memory: the model needs "))
        fail_msg("no room for the parameters: the message is '%s'", last_error.text);
    gq_shim_memory(0);
    assert_int_equal(gq_shim_count().device_bytes, opened);
}

#endif

static int setup(void **state)
{
    (void)state;
    snprintf(little_dir, sizeof little_dir, "%s", gq_scratch());
    little_world();
    little_shards("train");
    little_shards("test");
    little_shards_as("train", "nano.train", NANO_FRAMES);
    little_shards_as("test", "nano.test", NANO_FRAMES);
    return 0;
}

int main(int argc, char **argv)          /* [TEST]: this one alone                                 */
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fp32),   cmocka_unit_test(test_bf16),   cmocka_unit_test(test_graph),
        cmocka_unit_test(test_resume), cmocka_unit_test(test_change), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_nano), cmocka_unit_test(test_text),
#ifndef GQ_TEST_ON_GPU
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_plan), cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_auto),
#endif
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, setup, little_drop);
}
