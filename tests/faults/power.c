/* R3: power cuts. The operations of a program are recorded; after each of them, the states that a
 * disk may hold are built, with what was not synced dropped, half there, zeroed or kept, and
 * unsynced names there or not. From each the same command must end with the same bytes, and a
 * checkpoint that was finished must be in it. This is what shows a missing fsync. */
#include <inttypes.h>

#include "power.h"

typedef struct subject { const char *what, *command, *made, *twin; int step; } subject;

static const subject subjects[] = {
    {"saves and rotations",
     "gifqa-train --config t.yaml --quiet --set train.steps=6 --set train.eval_every=4 --set "
     "train.keep_last=1 --set clip.train=false --run-dir out/run",
     "out/run", "trained/run", 6},
    {"gifqa-prep build",
     "gifqa-prep build world/train.tsv --gifs world/gif --config t.yaml -o out/built", "out",
     "built", 0},
    {"gifqa-export", "gifqa-export run -o out/exported", "out", "exported", 0},
};

static const struct { power_names names; power_data data; const char *what; } cuts[] = {
    {POWER_NAMES_SYNCED, POWER_DROPPED, "unsynced names and data dropped"},
    {POWER_NAMES_SYNCED, POWER_HALF, "unsynced names dropped, data half there"},
    {POWER_NAMES_ALL, POWER_DROPPED, "unsynced data dropped"},
    {POWER_NAMES_ALL, POWER_ZEROED, "unsynced data zeroed"},
    {POWER_NAMES_ALL, POWER_HALF, "unsynced data half there"},
    {POWER_NAMES_ALL, POWER_KEPT, "nothing lost"},
};
enum { CUTS = sizeof cuts / sizeof *cuts, STATES = 8192, SHORT_STATES = 20, SAVE_EVERY = 2 };

static struct { uint64_t hash[STATES]; int n; } seen;

static bool is_new(uint64_t hash)
{
    for (int i = 0; i < seen.n; i++)
        if (seen.hash[i] == hash)
            return false;
    assert_true(seen.n < STATES);
    seen.hash[seen.n++] = hash;
    return true;
}

/* The step whose checkpoint is certainly finished: that of the step after it was logged. */
static uint64_t finished_step(const power_op *o, uint64_t before)
{
    uint64_t step = 0;
    if (!strcmp(o->name, "write") && strstr(o->path, "metrics.jsonl") && o->bytes > 10 &&
        sscanf((const char *)o->data, "{\"step\":%" SCNu64, &step) == 1 && step > 0)
        return (step - 1) / SAVE_EVERY * SAVE_EVERY;
    return before;
}

/* What differs from the result of a run without a cut, or NULL. */
static const char *compare(const subject *s)
{
    const char *why;

    if (!s->step)
        return rig_trees_differ(s->twin, s->made);
    why = runs_differ(rig_path("%s", s->twin), rig_path("%s", s->made), s->step);
    if (!why && !runs_same_file(rig_path("%s", s->twin), rig_path("%s", s->made),
                                "predictions.jsonl"))
        why = "predictions.jsonl differs";
    return why;
}

static const char *recover(const subject *s)
{
    const char *why;
    int         code = rig_run(NULL, "%s", s->command);

    if (code != 0 && (code != 2 || !strstr(rig_text("child.err"), "is not empty")))
        return rig_text("child.err");
    why = compare(s);
    return why ? why : rig_leftover("out");
}

/* One state; `whole`: also lets the program continue from it. */
static const char *check(const subject *s, const power *p, int cut, uint64_t finished, bool whole)
{
    static char why[256];
    uint64_t    step;
    int         broken;

    rig_remove("out");
    assert_int_equal(mkdir(rig_path("out"), 0777), 0);
    power_render(p, 0, cuts[cut].names, cuts[cut].data, rig_path("out"), 0);
    if (s->step && gq_is_dir(rig_path("%s", s->made))) {
        step = rig_newest(s->made, &broken);
        if (broken)
            return "a checkpoint is there and does not verify";
        if (step < finished) {
            snprintf(why, sizeof why, "step %d was finished and the newest checkpoint is of %d",
                     (int)finished, (int)step);
            return why;
        }
    } else if (finished) {
        return "the run directory is gone";
    }
    return whole ? recover(s) : NULL;
}

static void record(const subject *s, gq_bytes *log)
{
    gq_error err = {0};
    char     name[64];
    int      code;

    rig_remove("out");
    assert_int_equal(mkdir(rig_path("out"), 0777), 0);
    code = rig_run(rig_shim("record:0"), "%s", s->command);
    if (code != 0)
        fail_msg("%s: exit %d: %s", s->what, code, rig_text("child.err"));
    assert_ok(gq_read_file(rig_path("shim.log"), 1 << 28, log, &err), &err);
    snprintf(name, sizeof name, "%.*s", (int)strcspn(s->twin, "/"), s->twin);
    rig_remove(name);
    assert_int_equal(rename(rig_path("out"), rig_path("%s", name)), 0);
}

static int count_operations(const gq_bytes *log)
{
    power_op       o;
    int            n = 0;
    const uint8_t *at = log->data;
    while (power_next(&at, log->data + log->size, &o))
        n++;
    assert_true(at == log->data + log->size && n > 40);
    return n;
}

static void cut_everywhere(const subject *s)
{
    power         *p = gq_calloc(1, sizeof *p);
    gq_bytes       log;
    power_op       o = {.fd = -1};
    double         begin = rig_now();
    uint64_t       finished = 0;
    long           states = 0, resumed = 0;
    const uint8_t *at;
    char           what[96], note[160];

    assert_non_null(p);
    record(s, &log);
    int all = count_operations(&log), stride = rig_long() ? 1 : 6 * all / 4 / SHORT_STATES + 1;
    seen.n = 0;
    power_begin(p);
    at = log.data;
    while (power_next(&at, log.data + log.size, &o)) {
        power_step(p, &o);
        finished = finished_step(&o, finished);
        for (int c = 0; c < CUTS; c++) {
            if (!is_new(power_render(p, 0, cuts[c].names, cuts[c].data, NULL, 0)))
                continue;
            bool        whole = states++ % stride == 0;
            const char *why = check(s, p, c, s->step ? finished : 0, whole);
            if (why)
                fail_msg("%s, power cut after operation %d of %d, %s %s %s, %s: %s", s->what, p->op,
                         all, o.name, o.path, o.path2, cuts[c].what, why);
            resumed += whole;
        }
    }
    /* what a program has reported as done stays, though rubbish may come back */
    for (int c = 0; c < CUTS; c++) {
        const char *why = check(s, p, c, (uint64_t)s->step, false);
        if (!why && !gq_is_dir(rig_path("%s", s->made)))
            why = "the result is gone";
        if (why || (why = compare(s)))
            fail_msg("%s, power cut after its end, %s: %s", s->what, cuts[c].what, why);
    }
    power_end(p);
    gq_free(p);
    gq_bytes_free(&log);
    snprintf(what, sizeof what, "power cuts in %s", s->what);
    snprintf(note, sizeof note, "%d operations, %ld states; continued from %ld of them", all,
             states, resumed);
    rig_report(&(rig_result){.rig = "R3", .what = what, .injected = states, .survived = states,
                             .seconds = rig_now() - begin, .note = note});
}

static void training(void **state)
{
    (void)state;
    need_rig();
    cut_everywhere(&subjects[0]);
}

static void building(void **state)
{
    (void)state;
    need_rig();
    cut_everywhere(&subjects[1]);
}

static void exporting(void **state)
{
    (void)state;
    need_rig();
    little_train("run", NULL);
    cut_everywhere(&subjects[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training),
        cmocka_unit_test(building),
        cmocka_unit_test(exporting),
    };
    return cmocka_run_group_tests_name("faults/power", tests, rig_begin, rig_done);
}
