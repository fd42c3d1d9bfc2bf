/* gifqa-train as a user meets it: output, exit codes, refusals, exact resume. What kills, signals and
 * full disks do to it is in tests/faults/. */
#include "shell.h"

#include "core/safetensors.h"
#include "little.h"
#include "runs.h"
#include "train_yaml.h"

/* ---- helpers --------------------------------------------------------------------------------- */

/* Exit code of gifqa-train on the configuration above; args: run directory and more. */
static int train(const char *args)
{
    char command[1024];
    snprintf(command, sizeof command, "gifqa-train --config t.yaml --run-dir %s", args);
    return shell_run(command);
}

/* The same with expectations as in shell_expect(). */
static void expect(const char *args, int code, const char *in_out, const char *in_err)
{
    char command[1024];
    snprintf(command, sizeof command, "gifqa-train --config t.yaml --run-dir %s", args);
    shell_expect(command, code, in_out, in_err);
}

static void must(const char *args)
{
    expect(args, 0, "", "");
}

static bool file_has(const char *name, const char *needle)
{
    static char text[1 << 20];
    shell_slurp(name, text, sizeof text);
    return strstr(text, needle) != NULL;
}

static bool exists(const char *name)
{
    char path[1024];
    shell_path(name, path);
    return access(path, F_OK) == 0;
}

static json_t *metrics(const char *run)
{
    char path[1024];
    shell_path(run, path);
    return runs_metrics(path);
}

static void same_file(const char *a, const char *b, const char *name)
{
    char x[1024], y[1024];
    shell_path(a, x);
    shell_path(b, y);
    if (!runs_same_file(x, y, name))
        fail_msg("%s differs between %s and %s", name, a, b);
}

/* Metrics, and weights and moments of checkpoint `step`, are the same to the bit. */
static void same_run(const char *a, const char *b, int step)
{
    char        x[1024], y[1024];
    const char *why;
    shell_path(a, x);
    shell_path(b, y);
    if ((why = runs_differ(x, y, step)))
        fail_msg("%s", why);
}

/* The field of the step lines of a run, in order; returns how many. */
static int curve(const char *run, const char *key, double *out, int room)
{
    json_t *all = metrics(run);
    int     n = 0;
    for (size_t i = 0; i < json_array_size(all) && n < room; i++) {
        const json_t *o = json_array_get(all, i);
        if (json_object_get(o, "grad_norm"))
            out[n++] = json_number_value(json_object_get(o, key));
    }
    json_decref(all);
    return n;
}

/* Flips one bit of a file, `at` bytes from its start, or from its end when negative. */
static void flip(const char *name, long at)
{
    char  path[1024];
    FILE *f;
    int   c;
    shell_path(name, path);
    f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, at < 0 ? SEEK_END : SEEK_SET);
    c = fgetc(f);
    fseek(f, -1, SEEK_CUR);
    fputc(c ^ 4, f);
    assert_int_equal(fclose(f), 0);
}

static int begin(void **state)
{
    (void)state;
    shell_begin("gifqa-train");
    if (shell_absent)
        return 0;
    snprintf(little_dir, sizeof little_dir, "%s", shell.dir);
    little_world();
    little_shards("train");
    little_shards("test");
    shell_put("t.yaml", yaml);
    if (train("straight") != 0)
        fail_msg("the first run failed: %s", shell.err);
    return 0;
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void fresh_run(void **state)
{
    static const char *const step_keys[] = {"step",          "epoch",  "loss",        "lm_loss",
                                            "mvm_loss",      "ppl",    "grad_norm",   "lr",
                                            "samples_per_s", "gflops", "data_wait_s", "rss_mib"};
    static char              text[1 << 12];
    json_t                  *o, *all;
    int                      steps = 0, evaluations = 0, epochs = 0;
    (void)state;
    need_program();

    all = metrics("straight");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *l = json_array_get(all, i);
        steps += json_object_get(l, "grad_norm") != NULL;
        evaluations += json_object_get(l, "eval") != NULL;
        epochs += json_object_get(l, "epoch_end") != NULL;
    }
    json_decref(all);
    assert_int_equal(steps, 30);
    assert_int_equal(evaluations, 3);
    assert_int_equal(epochs, 5); /* 24 samples, 4 a step */
    shell_slurp("straight/metrics.jsonl", text, sizeof text);
    *strchr(text, '\n') = 0;
    o = json_loads(text, 0, NULL);
    for (size_t i = 0; i < sizeof step_keys / sizeof *step_keys; i++)
        if (!json_object_get(o, step_keys[i]))
            fail_msg("no '%s' in %s", step_keys[i], text);
    assert_int_equal(json_object_size(o), sizeof step_keys / sizeof *step_keys);
    json_decref(o);
    assert_true(exists("straight/config.yaml") && exists("straight/predictions.jsonl"));
    assert_true(file_has("straight/log.txt", "probe: "));
    assert_true(file_has("straight/log.txt", "avg_perplexity"));
    shell_expect("gifqa-ckpt verify straight && ls straight/checkpoints", 0, "step-00000030", NULL);
    assert_non_null(strstr(shell.out, "step-00000028"));
    assert_null(strstr(shell.out, "tmp"));
}

static void result_as_json(void **state)
{
    static const char *const keys[] = {"ok",      "run",         "steps",    "resumed_from",
                                       "loss",    "lm_loss",     "mvm_loss", "best_accuracy",
                                       "seconds", "peak_rss_mib"};
    double                   loss[64];
    json_t                  *o;
    int                      n;
    (void)state;
    need_program();

    expect("json --json --set train.steps=4", 0, "{", "step 4/4");
    o = shell_json();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!json_object_get(o, keys[i]))
            fail_msg("no '%s' in the result", keys[i]);
    assert_true(json_is_true(json_object_get(o, "ok")));
    assert_int_equal(shell_int(o, "steps"), 4);
    assert_int_equal(shell_int(o, "resumed_from"), -1);
    n = curve("json", "loss", loss, 64);
    assert_true(fabs(json_real_value(json_object_get(o, "loss")) - loss[n - 1]) <
                1e-6 * loss[n - 1]);
    json_decref(o);
    expect("json --json --quiet --set train.steps=4", 0, "{", NULL); /* finished: nothing to do */
    o = shell_json();
    assert_int_equal(shell_int(o, "steps"), 4);
    assert_int_equal(shell_int(o, "resumed_from"), 4);
    assert_true(
        json_is_null(json_object_get(o, "loss"))); /* no step was done, so none has a loss */
    json_decref(o);
    expect("json --json --set data.train=nowhere", 4, "\"ok\":false", "nowhere");
    o = shell_json();
    assert_int_equal(shell_int(o, "exit"), 4);
    json_decref(o);
}

/* A larger train.steps continues a finished run; where the rate does not depend on the length, bit for bit. */
static void finished_runs_continue(void **state)
{
    const char *constant = "--set train.schedule=constant --set data.val=[] --quiet";
    char        args[256];
    (void)state;
    need_program();

    snprintf(args, sizeof args, "long %s --set train.steps=12", constant);
    must(args);
    snprintf(args, sizeof args, "short %s --set train.steps=6", constant);
    must(args);
    snprintf(args, sizeof args, "short %s --set train.steps=12", constant);
    must(args);
    /* step 6 was the end of an epoch in both */
    same_run("long", "short", 12);
    assert_true(file_has("short/log.txt", "resumed at step 6"));
    assert_true(file_has("short/log.txt", "train.steps was 6, is now 12"));
    snprintf(args, sizeof args, "short %s --set train.steps=6",
             constant); /* and fewer change nothing */
    must(args);
    same_run("long", "short", 12);
    assert_true(file_has("short/log.txt", "nothing to do: the run is at step 12 of 6;"));
}

static void resume_modes(void **state)
{
    (void)state;
    need_program();

    expect("modes --resume must --set train.steps=4", 5, NULL, "no healthy checkpoint");
    must("modes --resume never --set train.steps=4 --quiet");
    must("modes --resume must --set train.steps=6 --quiet");
    assert_true(file_has("modes/log.txt", "resumed at step 4"));
    must("modes --resume modes/checkpoints/step-00000004 --set train.steps=6 --quiet");
    expect("modes --resume never --set train.steps=2", 0, "2 steps", "set aside");
    expect("modes --resume nowhere", 5, NULL, "nowhere");
    expect("modes --resume straight/checkpoints/step-00000030 --set train.steps=32", 0, "32 steps",
           "resumed at step 30");
    assert_null(strstr(shell.err, "seeded random")); /* the checkpoint filled them */
}

static void differences_are_announced(void **state)
{
    (void)state;
    need_program();

    must("differ --quiet --set train.steps=4");
    expect("differ --set train.steps=6 --set train.lr=0.02 --set mvm.weight=2", 0, "",
           "train.lr was 0.01, is now 0.02");
    assert_non_null(strstr(shell.err, "mvm.weight was 1, is now 2"));
    assert_true(file_has("differ/config.yaml", "lr: 0.02"));
    /* another model cannot continue it, and the run stays what it was */
    expect("differ --set train.steps=8 --set gpt2.width=16", 5, NULL, "has another shape");
    assert_true(file_has("differ/config.yaml", "width: 12"));
    must("differ --set train.steps=8 --quiet");
}

/* Parameters that never learn lie in one file beside the checkpoints, which name it by its hash. */
static void frozen_parameters(void **state)
{
    (void)state;
    need_program();

    must("cold --quiet --set clip.train=false --set train.steps=4");
    must("warm --quiet --set clip.train=false --set train.steps=4");
    must("cold --quiet --set clip.train=false --set train.steps=6");
    /* a checkpoint of another run, into an empty directory */
    expect(
        "moved --set clip.train=false --set train.steps=6 --resume warm/checkpoints/step-00000004",
        0, "6 steps", "resumed at step 4 from warm/");
    same_file("cold", "moved", "checkpoints/step-00000006/weights.safetensors");
    same_file("cold", "moved", "frozen.safetensors");
    must("moved --quiet --set clip.train=false --set train.steps=8");
    flip("cold/frozen.safetensors", -1);
    expect("cold --set clip.train=false --set train.steps=8", 5, NULL, "cold/frozen.safetensors");
    /* from nothing with another seed: the file is of the new run */
    must("warm --quiet --set clip.train=false --set train.steps=2 --set model.seed=2 --resume "
         "never");
    must("other --quiet --set clip.train=false --set train.steps=2 --set model.seed=2");
    same_file("warm", "other", "frozen.safetensors");
    must("warm --quiet --set clip.train=false --set train.steps=4 --set model.seed=2");
}

/* The best checkpoint is there although no save was due, and survives rotation. */
static void best_is_kept(void **state)
{
    static char text[4096];
    char        name[128];
    (void)state;
    need_program();

    must("best --quiet --set train.steps=24 --set train.eval_every=5 --set train.save_every=0 "
         "--set train.keep_last=1");
    shell_slurp("best/checkpoints/step-00000024/state.json", text, sizeof text);
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    snprintf(name, sizeof name, "best/checkpoints/step-%08lld", shell_int(o, "best_step"));
    json_decref(o);
    assert_true(exists(name));
}

static void lost_metrics(void **state)
{
    (void)state;
    need_program();

    must("lost --quiet --set train.steps=4");
    shell_run("rm lost/metrics.jsonl");
    expect("lost --set train.steps=6", 0, "6 steps", "lines are missing");
    assert_true(file_has("lost/metrics.jsonl", "{\"step\":5,"));
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void config_refused(void **state)
{
    (void)state;
    need_program();

    shell_put("bad.yaml", "train:\n  batch: 4\n  stpes: 3\n  lr: fast\n  batch: 8\n");
    shell_expect("gifqa-train --config bad.yaml --check", 3, NULL, "bad.yaml:3:3");
    assert_non_null(strstr(shell.err, "train.steps")); /* the nearest spelling */
    assert_non_null(strstr(shell.err, "bad.yaml:4:7"));
    assert_non_null(strstr(shell.err, "bad.yaml:5:3"));
    shell_expect("gifqa-train --config bad.yaml --check --json", 3, "\"exit\":3", "bad.yaml:3:3");
    expect("r --set train.stpes=3", 3, NULL, "train.steps");
    expect("r --set train.batch=0", 3, NULL, "train.batch");
    expect("r --set train.batch", 3, NULL, "train.batch");
    shell_expect("gifqa-train --config nothing.yaml --check", 3, NULL, "nothing.yaml");
    shell_expect("gifqa-train --run-dir r", 2, NULL, "--config");
    shell_expect("gifqa-train --config t.yaml", 2, NULL, "--run-dir");
    shell_expect("gifqa-train --config t.yaml --run-dir r --prove-resume x", 2, NULL,
                 "number of kills");
    assert_false(exists("r"));
}

static void data_refused(void **state)
{
    char path[1024];
    long size;
    (void)state;
    need_program();

    expect("r1 --set data.train=nowhere", 4, NULL, "nowhere");
    assert_false(exists("r1")); /* nothing began, nothing is left */
    expect("r1 --set data.train=[]", 3, NULL, "data.train");
    expect("r1 --set data.val=nowhere", 4, NULL, "nowhere");
    expect("r1 --set data.frames=2", 3, NULL, "data.frames");
    expect("r1 --set clip.image_size=16", 3, NULL, "clip.image_size");
    shell_path("train/shard-00000.h5", path);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    size = ftell(f);
    fclose(f);
    for (int i = 1; i < 8; i++) {
        assert_int_equal(shell_run("rm -rf hurt && cp -r train hurt"), 0);
        flip("hurt/shard-00000.h5", size * i / 8);
        expect("r2 --resume never --quiet --set data.train=hurt --set data.max_bad=0", 4, NULL,
               "hurt/shard-00000.h5");
    }
    assert_int_equal(
        shell_run("rm -rf hurt && cp -r train hurt && truncate -s -1 hurt/shard-00000.h5"), 0);
    expect("r2 --quiet --set data.train=hurt", 4, NULL, "hurt/shard-00000.h5");
}

static void weights_refused(void **state)
{
    (void)state;
    need_program();

    expect("r3 --set model.init=weights", 5, NULL, "model.weights.clip");
    expect("r3 --set model.init=weights --set model.weights.clip=nowhere", 5, NULL, "nowhere");
    assert_int_equal(
        shell_run("head -c 2000 straight/checkpoints/step-00000030/weights.safetensors > "
                  "cut.safetensors"),
        0);
    expect("r3 --set model.init=weights --set model.weights.clip=cut.safetensors", 5, NULL,
           "cut.safetensors");
}

/* Damage in the newest checkpoint is said, it is put aside, and the one before continues to the same end. */
static void damaged_checkpoints(void **state)
{
    (void)state;
    need_program();

    must("mended --quiet --set train.steps=30");
    flip("mended/checkpoints/step-00000030/optim.safetensors", -9);
    expect("mended", 0, "30 steps", "step-00000030");
    assert_non_null(strstr(shell.err, "resumed at step 28"));
    same_run("straight", "mended", 30);
    assert_int_equal(shell_run("ls -a mended/checkpoints | grep bad-step-00000030"), 0);
    shell_run("truncate -s 100 mended/checkpoints/step-*/weights.safetensors");
    expect("mended --resume must", 5, NULL, "no healthy checkpoint");
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void diverging_run(void **state)
{
    (void)state;
    need_program();

    expect("wild --quiet --set proj.init_scale=1e6 --set 'init.rules=[{match: \"*\", dist: normal, "
           "scale: 1e6}]'",
           7, NULL, "step 0: the first value that is not finite is in the ");
    assert_null(strstr(shell.err, "in the the"));
    assert_false(exists("wild/checkpoints/step-00000002"));
    /* weights that leave the range after some steps: the last checkpoint is a healthy one */
    expect("steep --quiet --set train.lr=10 --set train.warmup=6 --set train.save_every=1 "
           "--set 'train.groups=[{match: \"*\", lr_mult: 1e6}]'",
           7, NULL, "was not applied");
    assert_int_equal(shell_run("grep -ciE 'nan|inf' steep/metrics.jsonl"), 1);
    shell_expect("gifqa-ckpt verify steep", 0, "step-0000000", NULL);
}

/* The same masks and samples cut another way: sums in another order, so equal within rounding. */
static void accumulation(void **state)
{
    static const char *const keys[] = {"loss", "lm_loss", "mvm_loss", "grad_norm"};
    double                   a[32], b[32];
    (void)state;
    need_program();

    must("parts --quiet --set train.batch=2 --set train.accumulate=2 --set train.steps=8 --set "
         "train.lr=0.001");
    must("one --quiet --set train.steps=8 --set train.lr=0.001");
    for (size_t k = 0; k < 4; k++) {
        int n = curve("parts", keys[k], a, 32), m = curve("one", keys[k], b, 32);
        assert_int_equal(n, 8);
        assert_int_equal(m, 8);
        for (int i = 0; i < n; i++)
            if (!(fabs(a[i] - b[i]) <= 1e-4 * fabs(b[i])))
                fail_msg("%s of step %d: %.9g and %.9g", keys[k], i + 1, a[i], b[i]);
    }
}

static void overfitting_one_batch(void **state)
{
    double lm[64];
    (void)state;
    need_program();

    must("over --quiet --overfit-batch --set train.steps=60 --set data.val=[] --set "
         "mvm.enable=false");
    assert_int_equal(curve("over", "lm_loss", lm, 64), 60);
    if (!(lm[59] < 0.25 * lm[0]))
        fail_msg("from %g to %g", lm[0], lm[59]);
    expect("over --set train.steps=61", 0, "61 steps", "continues from the overfitted weights");
}

static void same_bits(void **state)
{
    (void)state;
    need_program();

    must("again --quiet");
    same_run("straight", "again", 30);
    must("segment --quiet --set train.checkpoint=segment");
    same_run("straight", "segment", 30);
    must("threads --quiet --set engine.threads=3 --set data.workers=3");
    same_run("straight", "threads", 30);
}

/* ---- what the program tells ------------------------------------------------------------------ */

static void tells(void **state)
{
    static const char *const memory[] = {"parameters", "state",  "activations",
                                         "workspace",  "inputs", "total"};
    json_t                  *o;
    (void)state;
    need_program();

    shell_expect("gifqa-train --config t.yaml --check", 0, "t.yaml: ok", NULL);
    shell_expect("gifqa-train --config t.yaml --set train.lr=0.25 --print-config > p.yaml", 0, NULL,
                 NULL);
    shell_expect("gifqa-train --config p.yaml --print-config > q.yaml && cmp p.yaml q.yaml", 0,
                 NULL, NULL);
    assert_true(file_has("p.yaml", "lr: 0.25"));
    shell_expect("gifqa-train --config t.yaml --dry-run", 0, "one step: ", "");
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        if (!strstr(shell.out, memory[i]))
            fail_msg("no line '%s': %s", memory[i], shell.out);
    shell_expect("gifqa-train --config t.yaml --dry-run --json", 0, "{", "");
    o = shell_json();
    assert_true(json_real_value(json_object_get(o, "flops_per_step")) > 0);
    assert_true(json_real_value(json_object_get(o, "loss")) > 0);
    assert_true(shell_int(o, "trained") == shell_int(o, "parameters"));
    assert_true(json_real_value(json_object_get(o, "param_bytes")) >=
                4.0 * (double)shell_int(o, "parameters"));
    json_decref(o);
    shell_expect("gifqa-train --explain train.lr", 0, "5e-5", NULL);
    shell_expect("gifqa-train --explain train.lrr", 2, NULL, "did you mean 'train.lr'");
    shell_expect("gifqa-train --keys", 0, "mvm.rate_mean", NULL);
    shell_help("gifqa-train");
    shell_expect("gifqa-train --version", 0, GIFQA_VERSION, NULL);
    shell_expect(
        "gifqa-train --config t.yaml --run-dir tells --set train.steps=2 --set train.log_every=1",
        0, "tells: 2 steps, loss ", "step 1/2  loss ");
    assert_non_null(strstr(shell.err, "ETA"));
    assert_null(strchr(shell.err, '\033'));
}

/* Epochs shorter than train.log_every are told at the end alone; metrics.jsonl has them all. */
static void short_epochs(void **state)
{
    (void)state;
    need_program();

    expect("epochs --set train.steps=8 --set train.log_every=7", 0, "8 steps",
           "epoch 1 (partial): avg_loss");
    assert_null(strstr(shell.err, "epoch 0"));
    assert_true(file_has("epochs/metrics.jsonl", "\"epoch_end\":0,\"step\":6,"));
    expect("epochs --resume never --set train.steps=12 --set train.log_every=6", 0, "12 steps",
           "epoch 0: avg_loss");
    assert_non_null(strstr(shell.err, "epoch 1: avg_loss")); /* as whole as the first */
}

static void several_directories(void **state)
{
    (void)state;
    need_program();

    assert_int_equal(shell_run("cp -r train copy && cp -r test test2"), 0);
    must("several --quiet --set data.train=[train,copy] --set data.val=[test,test2] --set "
         "train.steps=12");
    /* 24 + 24 samples, 4 a step: the epoch ends with step 12 */
    assert_true(file_has("several/metrics.jsonl", "\"epoch_end\":0,\"step\":12,"));
    assert_false(file_has("several/metrics.jsonl", "\"step\":6,\"avg_loss\""));
    assert_true(file_has("several/metrics.jsonl", "\"n\":24,"));
    expect("several --quiet --set data.train=[train,nowhere]", 4, NULL, "nowhere");
}

/* Names that match nothing are said; sizes that cannot work are refused before the first step. */
static void checked_before_the_first_step(void **state)
{
    (void)state;
    need_program();

    expect("names --set train.steps=2 --set 'train.groups=[{match: \"qformr.*\", frozen: true}]' "
           "--set "
           "'init.rules=[{match: \"gpt.*\", dist: zeros}]' --set 'train.mix={color: 2}' --set "
           "'train.stages=[{until: 1, kinds: [wher], freeze: [\"clip.v.x\"]}]'",
           0, "2 steps", "train.groups: 'qformr.*' matches no parameter");
    assert_non_null(strstr(shell.err, "init.rules: 'gpt.*' matches no parameter"));
    assert_non_null(strstr(shell.err, "train.stages: 'clip.v.x' matches no parameter"));
    assert_non_null(strstr(shell.err, "train.stages: the data has no question of the kind 'wher'"));
    assert_non_null(strstr(shell.err, "train.mix: the data has no question of the kind 'color'"));
    expect("sizes --set gpt2.vocab=10", 3, NULL, "gpt2.vocab: 10 rows are too few");
    expect("sizes --set engine.memory_limit=300KiB", 6, NULL,
           "engine.memory_limit: the plan needs ");
    assert_non_null(strstr(shell.err, "\n    activations  "));
    assert_non_null(strstr(shell.err, "train.batch: "));
    must("sizes --quiet --set engine.memory_limit=10MiB --set train.steps=2");
    shell_expect("gifqa-train --config t.yaml --dry-run --set engine.memory_limit=300KiB", 6, NULL,
                 "engine.memory_limit");
}

/* A share of a short run may round to no step at all: that stage is left out. */
static void short_runs_have_stages(void **state)
{
    (void)state;
    need_program();

    must("brief --quiet --set train.steps=4 --set 'train.stages=[{until: 8%, kinds: [colour]}, "
         "{until: 50%, freeze: [\"gpt2.*\"]}, {until: 60%, kinds: [where]}]'");
    must("brief --quiet --set train.steps=40 --set 'train.stages=[{until: 8%, kinds: [colour]}, "
         "{until: 50%, freeze: [\"gpt2.*\"]}, {until: 60%, kinds: [where]}]'");
}

/* ---- the headline ---------------------------------------------------------------------------- */

/* The user's own proof; tests/faults/kill.c does it at length. */
static void proves_resume(void **state)
{
    json_t *o;
    (void)state;
    need_program();

    shell_expect("gifqa-train --config t.yaml --run-dir proof --set train.steps=50 --set "
                 "train.eval_every=25 --prove-resume 3 --json",
                 0, "{", "");
    o = shell_json();
    assert_true(json_is_true(json_object_get(o, "identical")));
    assert_int_equal(shell_int(o, "kills"), 3);
    assert_true(shell_int(o, "metrics_lines") > 50);
    json_decref(o);
    expect("proof --overfit-batch --set train.steps=20 --prove-resume 2", 0, "2 kills in ", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_run),
        cmocka_unit_test(result_as_json),
        cmocka_unit_test(finished_runs_continue),
        cmocka_unit_test(resume_modes),
        cmocka_unit_test(differences_are_announced),
        cmocka_unit_test(frozen_parameters),
        cmocka_unit_test(best_is_kept),
        cmocka_unit_test(lost_metrics),
        cmocka_unit_test(config_refused),
        cmocka_unit_test(data_refused),
        cmocka_unit_test(weights_refused),
        cmocka_unit_test(damaged_checkpoints),
        cmocka_unit_test(diverging_run),
        cmocka_unit_test(accumulation),
        cmocka_unit_test(overfitting_one_batch),
        cmocka_unit_test(same_bits),
        cmocka_unit_test(tells),
        cmocka_unit_test(short_epochs),
        cmocka_unit_test(several_directories),
        cmocka_unit_test(checked_before_the_first_step),
        cmocka_unit_test(short_runs_have_stages),
        cmocka_unit_test(proves_resume),
    };
    return cmocka_run_group_tests(tests, begin, shell_end);
}
