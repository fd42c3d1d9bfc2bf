/* R11: NaN and infinity in the result of every op, forward and backward, in the first, a middle and
 * the last step. The run ends in that step with exit code 7 and names the op; the step is not
 * applied, no checkpoint holds a value that is not finite, and the run can be continued.
 *
 * The hook is the linker's: gq_backend_cpu() gives a copy of the real table whose kernels spoil
 * what one of them wrote. The search for the first bad value runs the kernels again, so the same
 * call of the same tape is spoilt again.
 */
#include "core/mem.h"
#include "core/safetensors.h"
#include "faults/report.h"
#include "kernels/kernels.h"
#include "little.h"
#include "train/checkpoint.h"

enum { STEPS = 4, FORWARD = 0, BACKWARD = 1 };

/* ---- the hook -------------------------------------------------------------------------------- */

static struct {
    int64_t        step;                /* in which a value is spoilt, -1: none                   */
    long           at;                  /* which kernel call of that step, from 0                 */
    float          value;
    uint32_t       now;                 /* step of the last call                                  */
    long           calls;               /* of this step so far                                    */
    long           most;                /* of step 0                                              */
    const gq_call *call;                /* the spoilt one, NULL: not yet                          */
    int            phase, op;
} hook;

static gq_backend        hooked;
static const gq_backend *real_backend;

static void fill(const gq_buf *b)
{
    for (int64_t i = 0, n = gq_size(b); b->p && b->dtype == GQ_F32 && i < n; i++)
        ((float *)b->p)[i] = hook.value;
}

static void spoil(const gq_call *c, int phase)
{
    for (int k = 0; phase == FORWARD && k < GQ_MAX_OUT; k++)
        fill(&c->out[k]);
    for (int k = 0; phase == BACKWARD && k < GQ_MAX_IN; k++)
        fill(&c->din[k]);
}

static void run_kernel(const gq_call *c, int op, int phase)
{
    const gq_op_kernels *k = &real_backend->ops[op];
    (phase == FORWARD ? k->fwd : k->bwd)(c);
    if (c->step->step != hook.now) {
        hook.now = c->step->step;
        hook.calls = 0;
    }
    if (!hook.call && hook.now == hook.step && hook.calls == hook.at) {
        hook.call = c;
        hook.phase = phase;
        hook.op = op;
    }
    if (hook.call == c && hook.phase == phase)
        spoil(c, phase);
    hook.calls++;
    if (hook.now == 0)
        hook.most = hook.calls;
}

#define HOOK(id, name, lo, hi, out, save, flags, doc)                                              \
    static void fwd_##id(const gq_call *c) { run_kernel(c, GQ_OP_##id, FORWARD); }                 \
    static void bwd_##id(const gq_call *c) { run_kernel(c, GQ_OP_##id, BACKWARD); }
GQ_OPS(HOOK)

static const char *const op_names[] = {
#define NAME(id, name, lo, hi, out, save, flags, doc) name,
    GQ_OPS(NAME)
};

const gq_backend *__real_gq_backend_cpu(const char *rung);
const gq_backend *__wrap_gq_backend_cpu(const char *rung);
const gq_backend *__wrap_gq_backend_cpu(const char *rung)
{
    real_backend = __real_gq_backend_cpu(rung);
    if (!real_backend)
        return NULL;
    hooked = *real_backend;
#define TAKE(id, name, lo, hi, out, save, flags, doc)                                              \
    hooked.ops[GQ_OP_##id].fwd = real_backend->ops[GQ_OP_##id].fwd ? fwd_##id : NULL;              \
    hooked.ops[GQ_OP_##id].bwd = real_backend->ops[GQ_OP_##id].bwd ? bwd_##id : NULL;
    GQ_OPS(TAKE)
    return &hooked;
}

/* ---- runs ------------------------------------------------------------------------------------ */

static gq_status train(const char *name, gq_error *err)
{
    static gq_config c;
    const char      *set[LITTLE_KEYS + 8];
    char             train_set[300], val[300], vocabulary[300], run[300];
    size_t           n = LITTLE_KEYS;
    gq_train_opts    o = {.run_dir = run};
    gq_train_result  result;

    memcpy(set, little_keys, sizeof little_keys);
    snprintf(train_set, sizeof train_set, "data.train=%s/train", little_dir);
    snprintf(val, sizeof val, "data.val=%s/test", little_dir);
    snprintf(vocabulary, sizeof vocabulary, "model.tokenizer.clip=%s/train/tokenizer", little_dir);
    snprintf(run, sizeof run, "%s/%s", little_dir, name);
    set[n++] = train_set;
    set[n++] = val;
    set[n++] = vocabulary;
    set[n++] = "mvm.prob=1";                     /* the same kernels in every step */
    set[n++] = "train.save_every=1";
    set[n++] = "train.eval_every=4";
    set[n++] = "train.keep_last=2";
    assert_ok(gq_config_load(NULL, set, n, &c, NULL, err), err);
    hook.call = NULL;
    hook.calls = 0;
    hook.now = UINT32_MAX;
    return gq_train(&c, &o, &result, err);
}

static bool all_finite(const char *file)
{
    gq_safetensors *st;
    gq_error        err = {0};
    gq_bytes        b;
    bool            fine = true;

    assert_ok(gq_read_file(file, 1 << 26, &b, &err), &err);
    assert_ok(gq_safetensors_open(file, &st, &err), &err);
    gq_safetensors_close(st);
    uint64_t header;
    memcpy(&header, b.data, 8);
    for (size_t at = 8 + (size_t)header; at + 4 <= b.size; at += 4) {
        float x;
        memcpy(&x, b.data + at, 4);
        fine &= isfinite(x) != 0;
    }
    gq_bytes_free(&b);
    return fine;
}

/* The newest checkpoint of the run is healthy and finite; its step, or -1 without one. */
static int64_t newest(const char *name)
{
    static const char *const files[] = {"weights.safetensors", "optim.safetensors"};
    gq_ckpt_found            f = {0};
    gq_error                 err = {0};
    int64_t                  step;

    assert_ok(gq_ckpt_find(little(name), false, &f, &err), &err);
    assert_int_equal(f.broken, 0);
    step = f.path ? (int64_t)f.step : -1;
    for (int i = 0; f.path && i < 2; i++) {
        char *path = gq_path(f.path, files[i]);
        if (!all_finite(path))
            step = -2;
        gq_free(path);
    }
    gq_free(f.path);
    return step;
}

static bool same_weights(const char *a, const char *b)
{
    char     name[128];
    gq_bytes x, y;
    gq_error err = {0};
    bool     same;

    snprintf(name, sizeof name, "%s/checkpoints/step-%08d/weights.safetensors", a, STEPS);
    assert_ok(gq_read_file(little(name), 1 << 26, &x, &err), &err);
    snprintf(name, sizeof name, "%s/checkpoints/step-%08d/weights.safetensors", b, STEPS);
    assert_ok(gq_read_file(little(name), 1 << 26, &y, &err), &err);
    same = x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
    gq_bytes_free(&x);
    gq_bytes_free(&y);
    return same;
}

/* ---- the rig --------------------------------------------------------------------------------- */

static struct { long injected, stopped, without_effect, named, failed; } sum;

static bool names_the_op(const char *text)
{
    char want[64];
    snprintf(want, sizeof want, "%s of %s ", hook.phase == BACKWARD ? "backward" : "output",
             op_names[hook.op]);
    return strstr(text, want) != NULL;
}

static void fault(const char *why, const char *text)
{
    sum.failed++;
    print_message("step %d, call %ld (%s, %s): %s: %s\n", (int)hook.step, hook.at,
                  hook.call ? op_names[hook.op] : "none",
                  hook.phase == BACKWARD ? "backward" : "forward", why, text);
}

/* One run with call `at` of `step` spoilt; again: see that the run continues afterwards. */
static void inject(int step, long at, float value, bool again)
{
    gq_error  err = {0};
    char      where[32];
    gq_status s;
    int64_t   left;

    gq_remove_tree(little("t"), NULL);
    hook.step = step;
    hook.at = at;
    hook.value = value;
    s = train("t", &err);
    if (!hook.call)
        return;
    sum.injected++;
    if (s == GQ_OK) {                            /* then the value was used by nothing */
        if (same_weights("t", "straight"))
            sum.without_effect++;
        else
            fault("other weights, and no word of it", "");
        return;
    }
    snprintf(where, sizeof where, "step %d: ", step);
    left = newest("t");
    if (s != GQ_ENUMERIC || gq_exit_code(s) != 7 || strncmp(err.text, where, strlen(where)) != 0)
        fault("not found in its step", err.text);
    else if (left != (step ? step : -1))
        fault("the newest checkpoint is not that of the step before", err.text);
    else
        sum.stopped++;
    if (names_the_op(err.text))
        sum.named++;
    else
        print_message("step %d, call %ld: '%s' is not the %s of %s\n", step, at, err.text,
                      hook.phase == BACKWARD ? "backward" : "output", op_names[hook.op]);
    hook.step = -1;
    gq_error_clear(&err);
    if (again && (train("t", &err) != GQ_OK || !same_weights("t", "straight")))
        fault("does not continue to the same weights", err.text);
}

static void every_op(void **state)
{
    static const int steps[] = {0, 2, STEPS - 1};
    double           start = rig_now();
    gq_error         err = {0};
    char             note[256];
    long             calls;
    (void)state;

    hook.step = -1;
    assert_ok(train("straight", &err), &err);
    calls = hook.most;
    assert_true(calls > 50);
    for (long at = 0, k = 0; at < calls; at += rig_long() ? 1 : calls / 16)
        for (int i = 0; i < 3; i++, k++)
            for (int inf = 0; inf < 2; inf++)
                if (rig_long() || (k + inf) % 2 == 0)
                    inject(steps[i], at, inf ? INFINITY : NAN, k % 16 == 5);
    snprintf(note, sizeof note,
             "%ld kernel calls a step; %ld ended in their step, %ld were used by nothing; the op "
             "was named in %.1f %%",
             calls, sum.stopped, sum.without_effect,
             100.0 * (double)sum.named / (double)(sum.injected - sum.without_effect));
    rig_report(&(rig_result){.rig = "R11",
                             .what = "NaN and infinity in the result of every op",
                             .injected = sum.injected,
                             .survived = sum.stopped + sum.without_effect,
                             .failed = sum.failed,
                             .seconds = rig_now() - start,
                             .note = note});
    assert_int_equal(sum.failed, 0);
    assert_true(sum.stopped > sum.injected / 2);
    assert_true(20 * sum.named >= 19 * (sum.injected - sum.without_effect));
}

static int begin(void **state)
{
    (void)state;
    snprintf(little_dir, sizeof little_dir, "%s", gq_scratch());
    little_world();
    little_shards("train");
    little_shards("test");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_op)};
    return cmocka_run_group_tests_name("faults/numbers", tests, begin, little_drop);
}
