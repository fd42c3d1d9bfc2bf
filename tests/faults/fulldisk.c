/* R5: disks that fill up: file systems of every size from nothing to twice the need, a limit on
 * file sizes, and outputs that take nothing. The last good checkpoint survives, the message says
 * what is free or needed, the code is 6; with room again the same command ends with the same bytes.
 */
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "rig.h"

typedef struct job { const char *what, *command, *made, *twin; int step; } job;

#define TRAIN "gifqa-train --config t.yaml --quiet --set train.steps=8 --set train.keep_last=2 "   \
              "--set clip.train=false --run-dir "
static const job jobs[] = {
    {"gifqa-train", TRAIN "small/run", "small/run", "trained", 8},
    {"gifqa-prep build", "gifqa-prep build world/train.tsv --gifs world/gif --config t.yaml -o "
     "small/built", "small/built", "built", 0},
    {"gifqa-export", "gifqa-export run -o small/exported", "small/exported", "exported", 0},
};
enum { JOBS = sizeof jobs / sizeof *jobs };

/* ---- a small file system of our own ---------------------------------------------------------- */

static bool put_map(const char *path, const char *text)
{
    int  fd = open(path, O_WRONLY);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* This process moves into a mount namespace of its own, in which it may mount a tmpfs. */
static bool enter_namespace(void)
{
    char map[64];
    int  uid = (int)getuid(), gid = (int)getgid();

    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    put_map("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %d 1", uid);
    if (!put_map("/proc/self/uid_map", map))
        return false;
    snprintf(map, sizeof map, "0 %d 1", gid);
    return put_map("/proc/self/gid_map", map);
}

static bool mount_small(uint64_t bytes, bool again)
{
    char size[64];
    snprintf(size, sizeof size, "size=%llu", (unsigned long long)(bytes < 4096 ? 4096 : bytes));
    return mount("none", rig_path("small"), "tmpfs", again ? MS_REMOUNT : 0, size) == 0;
}

/* ---- one size -------------------------------------------------------------------------------- */

static const char *starve(const job *j, uint64_t bytes, bool *full)
{
    static char why[4096];
    const char *said, *differs;
    uint64_t    saved = 0, last = 0;
    int         code, broken = 0;

    if (!mount_small(bytes, false))
        return "cannot mount";
    code = rig_run(NULL, "%s", j->command);
    said = rig_text("child.err");
    *full = code != 0;
    snprintf(why, sizeof why, "exit %d: %s", code, said);
    if (code != 0 && (code != 6 || !(strstr(said, "free") || strstr(said, "needed"))))
        return why;
    if (code == 6 && strstr(said, "room for the checkpoint") && !strstr(said, "bytes needed"))
        return why;
    if (j->step && (saved = rig_newest(j->made, &broken), broken))
        return "a checkpoint does not verify";
    last = j->step ? rig_last_step(j->made) : 0;
    if (last > saved + 2)               /* one is saved every second step */
        return "the last good checkpoint is gone";
    if (!mount_small(64 << 20, true))
        return "cannot mount again";
    code = rig_run(NULL, "%s", j->command);
    if (code != 0 && !(code == 2 && !*full))         /* an export that is there already */
        return rig_text("child.err");
    differs = j->step ? runs_differ(rig_path("%s", j->twin), rig_path("%s", j->made), j->step)
                      : rig_trees_differ(j->twin, j->made);
    return differs ? differs : rig_leftover("small");
}

/* In a child, whose mounts go with it: 0 survived, 3 survived after a full disk, 1 failed and said
 * why, 77 not possible here. */
static int try_size(const job *j, uint64_t bytes)
{
    pid_t pid = fork();
    int   status;

    if (pid == 0) {
        bool full = false;
        if (!enter_namespace())
            _exit(77);
        const char *why = starve(j, bytes, &full);
        if (why) {
            fprintf(stderr, "%s, %llu bytes: %s\n", j->what, (unsigned long long)bytes, why);
            _exit(1);
        }
        _exit(full ? 3 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static uint64_t tree_bytes;

static int add_file(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)path;
    (void)kind;
    (void)at;
    tree_bytes += ((uint64_t)st->st_size + 4095) / 4096 * 4096;
    return 0;
}

static void every_size(const job *j)
{
    int    sizes = rig_long() ? 64 : 8;
    long   done = 0, full = 0;
    double begin = rig_now();
    char   what[96], note[96];

    snprintf(what, sizeof what, "a disk of every size for %s", j->what);
    rig_must(j->command);
    rig_remove(j->twin);
    assert_int_equal(rename(rig_path("%s", j->made), rig_path("%s", j->twin)), 0);
    tree_bytes = 0;
    nftw(rig_path("%s", j->twin), add_file, 16, FTW_PHYS);
    for (int i = 0; i < sizes; i++) {
        int code = try_size(j, 2 * tree_bytes * (uint64_t)i / (uint64_t)(sizes - 1));
        if (code == 77) {
            print_message("skipped: no namespace with a file system of one's own here\n");
            rig_report(&(rig_result){.rig = "R5", .what = what, .not_run = sizes});
            skip();
        }
        assert_true(code == 0 || code == 3);
        done++;
        full += code == 3;
    }
    snprintf(note, sizeof note, "0 to twice the %llu KiB of the result; full in %ld",
             (unsigned long long)(tree_bytes >> 10), full);
    assert_true(full > 0);
    rig_report(&(rig_result){.rig = "R5", .what = what, .injected = done, .survived = done,
                             .seconds = rig_now() - begin, .note = note});
}

static void every_size_of_disk(void **state)
{
    (void)state;
    need_rig();
    little_train("run", NULL);
    assert_int_equal(mkdir(rig_path("small"), 0777), 0);
    for (int i = 0; i < JOBS; i++)
        every_size(&jobs[i]);
}

/* ---- limits and devices ---------------------------------------------------------------------- */

static void file_size_limits(void **state)
{
    long   done = 0;
    double begin = rig_now();
    (void)state;
    need_rig();

    rig_must(TRAIN "straight");
    /* from 1: the message has to fit too */
    for (int kib = 1; kib <= 64; kib += rig_long() ? 1 : 8, done++) {
        int         broken;
        const char *why;
        rig_remove("limited");
        int code = rig_run(NULL, "prlimit --fsize=%d %s %s", kib * 1024,
                           rig_program("gifqa-train"), TRAIN "limited" + strlen("gifqa-train "));
        if (code != 0 && (code != 6 || !strstr(rig_text("child.err"), "ulimit -f")))
            fail_msg("%d KiB: exit %d: %s", kib, code, rig_text("child.err"));
        assert_true(code == 6 || kib > 4);
        if (gq_is_dir(rig_path("limited"))) {
            rig_newest("limited", &broken);
            assert_int_equal(broken, 0);
        }
        rig_must(TRAIN "limited");
        if ((why = runs_differ(rig_path("straight"), rig_path("limited"), 8)))
            fail_msg("%d KiB: %s", kib, why);
    }
    rig_report(&(rig_result){.rig = "R5", .what = "limits on file sizes", .injected = done,
                             .survived = done, .seconds = rig_now() - begin});
}

/* A full device as standard output, as standard error and as a log. */
static void full_devices(void **state)
{
    char line[1024];
    (void)state;
    need_rig();

    rig_must(TRAIN "quiet");
    snprintf(line, sizeof line, "exec %s %s --json >/dev/full", rig_program("gifqa-train"),
             TRAIN "loud" + strlen("gifqa-train "));
    rig_put("full.sh", line);
    assert_int_equal(rig_run(NULL, "sh full.sh"), 6);
    assert_non_null(strstr(rig_text("child.err"), "cannot write to standard output"));
    assert_null(runs_differ(rig_path("quiet"), rig_path("loud"), 8));
    rig_remove("loud");
    strcpy(strstr(line, " --json"), " 2>/dev/full");
    rig_put("full.sh", line);
    assert_int_equal(rig_run(NULL, "sh full.sh"), 0);
    assert_null(runs_differ(rig_path("quiet"), rig_path("loud"), 8));
    rig_remove("loud");
    assert_int_equal(mkdir(rig_path("loud"), 0777), 0);
    assert_int_equal(symlink("/dev/full", rig_path("loud/log.txt")), 0);
    assert_int_equal(rig_run(NULL, TRAIN "loud"), 4);
    assert_non_null(strstr(rig_text("child.err"), "loud/log.txt"));
    rig_report(&(rig_result){.rig = "R5", .what = "/dev/full as stdout, stderr and log",
                             .injected = 3, .survived = 3});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_of_disk),
        cmocka_unit_test(file_size_limits),
        cmocka_unit_test(full_devices),
    };
    return cmocka_run_group_tests_name("faults/fulldisk", tests, rig_begin, rig_done);
}
