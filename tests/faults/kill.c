/* R1: real programs, killed at random moments and started again until they are done, end with the
 * bytes of a run that nobody disturbed. */
#include "rig.h"

enum { SAVE_EVERY = 3, STEPS = 60, LIVES = 6 };      /* LIVES: kills per run, about               */

#define TRAIN "gifqa-train --config t.yaml --quiet --set train.steps=60 --set train.save_every=3 " \
              "--set train.eval_every=10 --run-dir "

/* ---- a training run -------------------------------------------------------------------------- */

typedef struct look {                   /* at a run directory from outside                        */
    uint64_t logged, saved;             /* last step in the metrics, newest checkpoint            */
    off_t    bytes;                     /* of the metrics                                         */
    int      broken;                    /* checkpoints that do not verify                         */
    bool     writing;                   /* something temporary is there                           */
} look;

static look look_at(const char *run)
{
    struct stat st;
    look        l = {.logged = rig_last_step(run)};
    l.saved = rig_newest(run, &l.broken);
    l.bytes = stat(rig_path("%s/metrics.jsonl", run), &st) == 0 ? st.st_size : 0;
    l.writing = rig_leftover(run) != NULL;
    return l;
}

typedef struct tally {
    long     kills, runs, torn;
    long     starting, stepping, evaluating, saving;         /* where the kills met it            */
    uint64_t redone, most;              /* steps to be done again: sum, largest                   */
} tally;

static void count(tally *t, const look *was, const look *is)
{
    uint64_t redo = is->logged > is->saved ? is->logged - is->saved : 0;

    t->kills++;
    t->torn += is->broken;
    t->redone += redo;
    t->most = redo > t->most ? redo : t->most;
    if (is->writing)
        t->saving++;
    else if (is->bytes == was->bytes || (is->saved == was->saved && is->logged == is->saved))
        t->starting++;
    else if (is->logged % 10 == 0 && is->logged != is->saved)
        t->evaluating++;
    else
        t->stepping++;
}

static off_t log_size(void)
{
    struct stat st;
    return stat(rig_path("killed/log.txt"), &st) == 0 ? st.st_size : 0;
}

/* Sleeps until the moment of kill number `n`: one in three is met while it starts, the others at a
 * random moment after its first words in the log, which come when it has opened everything. */
static void wait_for_moment(pid_t pid, long n, double start_s, double life_s, off_t log_was)
{
    double    u = rig_u01(1, (uint64_t)n), begin = rig_now();
    siginfo_t gone = {0};

    if (n % 3 == 0) {
        rig_nap(u * start_s);
        return;
    }
    while (log_size() == log_was && rig_now() - begin < RIG_PATIENCE_S && gone.si_pid == 0 &&
           waitid(P_PID, (id_t)pid, &gone, WEXITED | WNOHANG | WNOWAIT) == 0)
        rig_nap(0.0005);
    rig_nap(u * 2 * life_s);
}

/* One run of many lives. */
static void torment_run(double start_s, double life_s, long kills, tally *t)
{
    look was = {0};

    rig_remove("killed");
    for (;;) {
        off_t log_was = log_size();
        pid_t pid = rig_start("child", NULL, TRAIN "killed");
        int   code;
        if (t->kills < kills) {
            wait_for_moment(pid, t->kills, start_s, life_s, log_was);
            kill(pid, SIGKILL);
        }
        code = rig_end(pid);
        if (code == 0)
            return;
        if (code != -SIGKILL)
            fail_msg("after %ld kills: exit %d: %s", t->kills, code, rig_text("child.err"));
        look is = look_at("killed");
        count(t, &was, &is);
        was = is;
    }
}

/* To the first line of the metrics, and to the end. */
static double time_run(const char *command, const char *first, double *start_s)
{
    double begin = rig_now();
    pid_t  pid = rig_start("child", NULL, "%s", command);
    struct stat st;

    while (first && (stat(rig_path("%s", first), &st) != 0 || st.st_size == 0) &&
           rig_now() - begin < RIG_PATIENCE_S)
        rig_nap(0.001);
    if (start_s)
        *start_s = rig_now() - begin;
    if (rig_end(pid) != 0)
        fail_msg("%s: %s", command, rig_text("child.err"));
    return rig_now() - begin;
}

static void random_kills_of_training(void **state)
{
    long        kills = rig_long() ? 1000 : 50;
    double      begin = rig_now(), start_s, all_s, first_s;
    tally       t = {0};
    const char *why;
    char        note[256];
    (void)state;
    need_rig();

    first_s = time_run(TRAIN "straight", "straight/metrics.jsonl", &start_s);
    rig_remove("straight");             /* the second time is warm */
    all_s = fmin(first_s, time_run(TRAIN "straight", "straight/metrics.jsonl", &start_s));
    while (t.kills < kills) {
        t.runs++;
        torment_run(start_s, (all_s - start_s) / LIVES, kills, &t);
        why = runs_differ(rig_path("straight"), rig_path("killed"), STEPS);
        if (!why && (why = rig_trees_differ("straight/tokenizer", "killed/tokenizer")) == NULL &&
            !runs_same_file(rig_path("straight"), rig_path("killed"), "predictions.jsonl"))
            why = "predictions.jsonl differs";
        if (!why)
            why = rig_leftover("killed");
        if (why)
            fail_msg("run %ld, %ld kills: %s", t.runs, t.kills, why);
    }
    assert_int_equal(t.torn, 0);
    assert_true(t.most <= SAVE_EVERY);
    assert_true(!rig_long() || (t.starting && t.stepping && t.evaluating && t.saving));
    snprintf(note, sizeof note,
             "met while starting %ld, stepping %ld, evaluating %ld, saving %ld; steps redone: mean "
             "%.1f, max %d; torn files %ld; %ld runs",
             t.starting, t.stepping, t.evaluating, t.saving, (double)t.redone / (double)t.kills,
             (int)t.most, t.torn, t.runs);
    rig_report(&(rig_result){.rig = "R1", .what = "random kills of a training run",
                             .injected = t.kills, .survived = t.kills,
                             .seconds = rig_now() - begin, .note = note});
}

/* ---- programs that begin again --------------------------------------------------------------- */

/* Kills `command`, which makes `killed`, until it gets through, `kills` times in all. */
static void kill_and_compare(const char *what, const char *command, const char *straight,
                             long kills, double all_s)
{
    double begin = rig_now();
    long   done = 0, runs = 0;
    char   note[64];

    while (done < kills) {
        int code;
        rig_remove("killed");
        runs++;
        do {
            pid_t pid = rig_start("child", NULL, "%s", command);
            if (done < kills) {
                rig_nap(rig_u01(2, (uint64_t)done) * all_s);
                kill(pid, SIGKILL);
            }
            code = rig_end(pid);
            done += code == -SIGKILL;
        } while (code == -SIGKILL);
        /* an export that was killed after its last rename is whole, and never written over */
        if (code != 0 && (code != 2 || !strstr(rig_text("child.err"), "is not empty")))
            fail_msg("%s, after %ld kills: exit %d: %s", what, done, code, rig_text("child.err"));
        const char *why = rig_trees_differ(straight, "killed");
        if (!why)
            why = rig_leftover("");
        if (why)
            fail_msg("%s, after %ld kills: %s", what, done, why);
    }
    snprintf(note, sizeof note, "%ld runs", runs);
    rig_report(&(rig_result){.rig = "R1", .what = what, .injected = done, .survived = done,
                             .seconds = rig_now() - begin, .note = note});
}

/* The long mode has two shards of 4,096 GIFs at most: a build that continues after the first. */
static void random_kills_of_a_build(void **state)
{
    static const char build[] = "gifqa-prep build many/train.tsv --gifs many/gif --tokenizer "
                                "world/words.txt --config t.yaml --codec gzip -o ";
    char              command[512];
    double            all_s;
    (void)state;
    need_rig();

    snprintf(command, sizeof command,
             "gifqa-prep world --preset micro --scale 1 --train %d --val 1 --test 1 --novel 1 -o "
             "many",
             rig_long() ? 5000 : 300);
    rig_must(command);
    snprintf(command, sizeof command, "%sbuilt", build);
    all_s = time_run(command, NULL, NULL);
    snprintf(command, sizeof command, "%skilled", build);
    kill_and_compare("random kills of gifqa-prep build", command, "built", rig_long() ? 60 : 10,
                     all_s);
}

static void random_kills_of_an_export(void **state)
{
    double all_s;
    (void)state;
    need_rig();

    little_train("run", NULL);
    all_s = time_run("gifqa-export run -o exported", NULL, NULL);
    rig_remove("exported");             /* the second time is warm */
    all_s = fmin(all_s, time_run("gifqa-export run -o exported", NULL, NULL));
    kill_and_compare("random kills of gifqa-export", "gifqa-export run -o killed", "exported",
                     rig_long() ? 200 : 20, all_s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_kills_of_training),
        cmocka_unit_test(random_kills_of_a_build),
        cmocka_unit_test(random_kills_of_an_export),
    };
    return cmocka_run_group_tests_name("faults/kill", tests, rig_begin, rig_done);
}
