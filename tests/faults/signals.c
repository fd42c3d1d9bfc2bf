/* R4: phases of the programs times signals, once and twice. One asks a program that saves to stop:
 * 75, and the same command continues to the same bytes. The second one ends it at once, with the
 * last checkpoint intact. Programs that save nothing end by the first, and leave nothing half made.
 */
#include "rig.h"

typedef struct phase {
    const char *what, *command, *from;  /* from: what the directory out/ starts as; NULL: empty   */
    const char *op, *path;              /* the signal comes at the `turn`-th operation like this  */
    int         turn, step;             /* step: last of a run; 0: not a run                      */
    bool        saves;
    const char *twin;                   /* of out/ after the command without a signal             */
} phase;

#define TRAIN "gifqa-train --config t.yaml --set train.steps=8 --set train.eval_every=2 --set "    \
              "train.keep_last=1 --run-dir out/run"
#define BUILD "gifqa-prep build world/train.tsv --gifs world/gif --config t.yaml -o out/built"
#define EXPORT "gifqa-export run -o out/exported"
#define ASK "gifqa-ask run world/gif/test-000000.gif what? --evenly"

static const phase phases[] = {
    {"train: configuration", TRAIN, NULL, "openread", "t.yaml", 1, 8, true, "fresh"},
    {"train: opening the run", TRAIN, NULL, "openwrite", "run.lock", 1, 8, true, "fresh"},
    {"train: opening the data", TRAIN, NULL, "openread", "train/shard-", 1, 8, true, "fresh"},
    {"train: a step", TRAIN, NULL, "write", "metrics.jsonl", 1, 8, true, "fresh"},
    {"train: evaluation", TRAIN, NULL, "write", "predictions.jsonl", 3, 8, true, "fresh"},
    {"train: checkpoint", TRAIN, NULL, "create", "/.tmp-optim.safetensors", 2, 8, true, "fresh"},
    {"train: rotation", TRAIN, NULL, "rename", ".trash-", 1, 8, true, "fresh"},
    {"train: loading weights", TRAIN, "half", "openread", "-00000002/weights.safetensors", 2, 8,
     true, "resumed"},
    {"prep build: reading the table", BUILD, NULL, "openread", "train.tsv", 1, 0, true, "built"},
    {"prep build: writing a shard", BUILD, NULL, "openread", "gif/train-", 3, 0, true, "built"},
    {"export: reading", EXPORT, NULL, "openread", "run/config.yaml", 1, 0, false, "exported"},
    {"export: writing", EXPORT, NULL, "create", ".tmp-model.safetensors", 2, 0, false, "exported"},
    {"ask", ASK, NULL, "openread", "test-000000.gif", 1, 0, false, "asked"},
    {"eval", "gifqa-eval run test", NULL, "openread", "test/shard-", 1, 0, false, "evaluated"},
};
enum { PHASES = sizeof phases / sizeof *phases };

static void prepare(const phase *p)
{
    rig_remove("out");
    if (p->from ? rig_run(NULL, "cp -r %s out", p->from) != 0 : mkdir(rig_path("out"), 0777) != 0)
        fail_msg("cannot prepare out/: %s", rig_text("child.err"));
}

/* The number of the operation in the log of a run without signals. */
static int find_operation(const phase *p)
{
    gq_bytes b;
    gq_error err = {0};
    int      turn = 0, found = 0, code;

    prepare(p);
    code = rig_run(rig_shim("none:0"), "%s", p->command);
    if (code != 0)
        fail_msg("%s: exit %d: %s", p->what, code, rig_text("child.err"));
    assert_ok(gq_read_file(rig_path("shim.log"), 1 << 24, &b, &err), &err);
    for (char *line = (char *)b.data, *end; !found && (end = strchr(line, '\n')); line = end + 1) {
        char op[16], path[600];
        int  n;
        *end = 0;
        if (sscanf(line, "%d %15s %*d %*d %*d %599[^\n]", &n, op, path) == 3 &&
            !strcmp(op, p->op) && strstr(path, p->path) && ++turn == p->turn)
            found = n;
    }
    gq_bytes_free(&b);
    if (!found)
        fail_msg("%s: there is no operation %s %s", p->what, p->op, p->path);
    rig_remove(p->twin);
    assert_int_equal(rename(rig_path("out"), rig_path("%s", p->twin)), 0);
    return found;
}

static const char *check(const phase *p)
{
    char twin[300];
    int  broken = 0, code;

    if (p->step) {
        rig_newest("out/run", &broken);
        if (broken)
            return "a checkpoint does not verify";
    }
    code = rig_run(NULL, "%s", p->command);
    if (code != 0)
        return rig_text("child.err");
    snprintf(twin, sizeof twin, "%s", rig_path("%s/run", p->twin));
    const char *why = p->step ? runs_differ(twin, rig_path("out/run"), p->step)
                              : rig_trees_differ(p->twin, "out");
    return why ? why : rig_leftover("out");
}

/* A stop that says at which step it saved has a checkpoint of that step. */
static bool steps_lost(const char *said)
{
    static const char place[] = "stopped on request at step ";
    const char       *at = strstr(said, place);
    int               broken;
    return at && rig_newest("out/run", &broken) != strtoull(at + sizeof place - 1, NULL, 10);
}

/* Lines written by an evaluation. */
static int predictions(void)
{
    int n = 0;
    for (const char *c = rig_text("out/run/predictions.jsonl"); *c; c++)
        n += *c == '\n';
    return n;
}

static void each_signal(const phase *p, int at, long *sent, long *saved)
{
    static const struct { const char *name; int number; } signals[] = {
        {"TERM", SIGTERM}, {"INT", SIGINT}, {"HUP", SIGHUP}, {"USR1", SIGUSR1}};
    char what[32], said[2048];

    for (int i = 0; i < 8; i++) {
        int         number = signals[i / 2].number, want, code;
        bool        twice = i % 2;
        const char *why;
        prepare(p);
        snprintf(what, sizeof what, "%s%s:%d", signals[i / 2].name, twice ? "2" : "", at);
        code = rig_run(rig_shim(what), "%s", p->command);
        snprintf(said, sizeof said, "%s", rig_text("child.err"));
        want = !p->saves ? -number : twice ? 128 + number : 75;
        if (code != want)
            fail_msg("%s, %s: exit %d instead of %d: %s", p->what, what, code, want, said);
        if (p->saves && (!strstr(said, "once more to stop at once") ||
                         (!twice && !strstr(said, "stopped"))))
            fail_msg("%s, %s: it says %s", p->what, what, said);
        if (want == 75 && !strcmp(p->path, "predictions.jsonl") && predictions() >= LITTLE_TEST)
            fail_msg("%s, %s: the evaluation went on to its end", p->what, what);
        if (want == 75 && p->step && steps_lost(said))
            fail_msg("%s, %s: steps are lost: %s", p->what, what, said);
        *sent += 1 + twice;
        *saved += want == 75;
        if ((why = check(p)))
            fail_msg("%s, after %s: %s", p->what, what, why);
    }
}

static void phases_times_signals(void **state)
{
    double begin = rig_now();
    long   sent = 0, saved = 0, cases = 0;
    char   note[160];
    (void)state;
    need_rig();

    little_train("run", NULL);
    rig_must("gifqa-train --config t.yaml --quiet --set train.steps=2 --set train.eval_every=2 "
             "--set train.keep_last=1 --run-dir half/run");
    for (int i = 0; i < PHASES; i++, cases += 8)
        each_signal(&phases[i], find_operation(&phases[i]), &sent, &saved);
    snprintf(note, sizeof note, "%d phases, 4 signals, once and twice; %ld signals, %ld saved",
             PHASES, sent, saved);
    rig_report(&(rig_result){.rig = "R4", .what = "signals in every phase", .injected = cases,
                             .survived = cases, .seconds = rig_now() - begin, .note = note});
}

/* What nohup started does not end with its terminal. */
static void nohup(void **state)
{
    (void)state;
    need_rig();
    rig_remove("out");
    signal(SIGHUP, SIG_IGN);
    int code = rig_run(rig_shim("HUP:30"), "%s", TRAIN);
    signal(SIGHUP, SIG_DFL);
    assert_int_equal(code, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phases_times_signals),
        cmocka_unit_test(nohup),
    };
    return cmocka_run_group_tests_name("faults/signals", tests, rig_begin, rig_done);
}
