/* R7: fifty starts at once on one directory: one owner, the others say who it is and leave with 9;
 * when the owner is killed, the next one wins, and the run it holds is whole. */
#include "rig.h"

enum { STARTS = 50 };

static const char command[] =
    "gifqa-train --config t.yaml --quiet --set train.steps=1000000 --set train.save_every=50 "
    "--set train.eval_every=0 --run-dir held";

typedef struct crowd {
    pid_t  pid[STARTS];
    double start[STARTS];
} crowd;

static void check_loser(int i, pid_t owner, long *unnamed)
{
    char host[256] = "", want[300], name[16];
    snprintf(name, sizeof name, "w%d.err", i);
    const char *said = rig_text(name);

    gethostname(host, sizeof host - 1);
    snprintf(want, sizeof want, "held/run.lock: in use by host %s, pid %ld, since ", host,
             (long)owner);
    if (strstr(said, want))
        return;
    if (!strstr(said, "has not said its name yet"))
        fail_msg("the owner is %ld: %s", (long)owner, said);
    ++*unnamed;
}

/* Waits for all but one; *longest: seconds until a loser had left. */
static int reap(const crowd *c, double *longest)
{
    int  left = STARTS, owner = -1;
    bool gone[STARTS] = {false};

    for (double begin = rig_now(); left > 1 && rig_now() - begin < RIG_PATIENCE_S;) {
        int   status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0) {
            rig_nap(0.001);
            continue;
        }
        for (int i = 0; i < STARTS; i++)
            if (c->pid[i] == pid) {
                gone[i] = true;
                left--;
                *longest = fmax(*longest, rig_now() - c->start[i]);
                if (!WIFEXITED(status) || WEXITSTATUS(status) != 9) {
                    char name[16];
                    snprintf(name, sizeof name, "w%d.err", i);
                    fail_msg("start %d: status %d: %s", i, status, rig_text(name));
                }
            }
    }
    for (int i = 0; i < STARTS; i++)
        if (!gone[i])
            owner = owner < 0 ? i : STARTS;
    if (owner < 0 || owner == STARTS)
        fail_msg("%d of %d starts hold the directory", left, STARTS);
    return owner;
}

static void one_owner(void **state)
{
    int    rounds = rig_long() ? 150 : 2, broken;
    double begin = rig_now(), longest = 0;
    long   unnamed = 0;
    char   note[160], tag[16];
    (void)state;
    need_rig();

    for (int round = 0; round < rounds; round++) {
        crowd c;
        for (int i = 0; i < STARTS; i++) {
            snprintf(tag, sizeof tag, "w%d", i);
            c.start[i] = rig_now();
            c.pid[i] = rig_start(tag, NULL, "%s", command);
        }
        int owner = reap(&c, &longest);
        for (int i = 0; i < STARTS; i++)
            if (i != owner)
                check_loser(i, c.pid[owner], &unnamed);
        rig_nap(0.1 * rig_u01(3, (uint64_t)round));
        kill(c.pid[owner], SIGKILL);
        assert_int_equal(rig_end(c.pid[owner]), -SIGKILL);
        rig_newest("held", &broken);
        assert_int_equal(broken, 0);
    }
    snprintf(note, sizeof note,
             "%d rounds of %d starts, one owner each; the slowest loser left after %.2f s; %ld "
             "losers came before the owner had written its name",
             rounds, STARTS, longest, unnamed);
    rig_report(&(rig_result){.rig = "R7", .what = "starts at once on one directory",
                             .injected = (long)rounds * STARTS, .survived = (long)rounds * STARTS,
                             .seconds = rig_now() - begin, .note = note});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_owner)};
    return cmocka_run_group_tests_name("faults/locks", tests, rig_begin, rig_done);
}
