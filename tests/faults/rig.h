/* rig.h - what the rigs that run the real programs share: a scratch directory with data, children
 * and the shim that makes their file operations fail, and what a run must look like afterwards.
 *
 * The programs are those of this build, or of $GIFQA_RIG_BIN (a directory), so that the rigs of a
 * sanitized build can drive fast children. One test program includes it once.
 *
 *   DIR/world            toy GIFs and tables
 *   DIR/train, DIR/test  shards of them
 *   DIR/t.yaml           a model of some thousand parameters
 */
#ifndef GIFQA_TESTS_FAULTS_RIG_H
#define GIFQA_TESTS_FAULTS_RIG_H

#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/mem.h"
#include "core/philox.h"
#include "faults/report.h"
#include "little.h"
#include "runs.h"
#include "tools/train_yaml.h"
#include "train/checkpoint.h"

enum { RIG_HUNG = -1000, RIG_PATIENCE_S = 60 };

/* "<scratch>/<formatted>"; eight buffers in rotation. */
static inline const char *rig_path(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static inline const char *rig_path(const char *fmt, ...)
{
    static char paths[8][1024];
    static int  next;
    char       *path = paths[next++ & 7];
    int         n = snprintf(path, sizeof paths[0], "%s/", little_dir);
    va_list     ap;

    va_start(ap, fmt);
    vsnprintf(path + n, sizeof paths[0] - (size_t)n, fmt, ap);
    va_end(ap);
    return path;
}

/* Uniform in 0..1, number `at` of the stream `stream`: the same in every run of the rig. */
static inline double rig_u01(uint64_t stream, uint64_t at)
{
    return gq_u01(gq_philox_at(stream, at, GQ_RNG_TEST, 0));
}

static inline void rig_nap(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

/* ---- children -------------------------------------------------------------------------------- */

static inline const char *rig_program(const char *name)
{
    static char path[1100];
    const char *dir = getenv("GIFQA_RIG_BIN");
    if (strncmp(name, "gifqa-", 6) != 0)
        return name;
    snprintf(path, sizeof path, "%s/%s", dir && *dir ? dir : GQ_BIN_DIR, name);
    return path;
}

/* The words of `text` between blanks, in place. */
static inline int rig__words(char *text, char **word, int most)
{
    int n = 0;
    for (char *save = NULL, *w = strtok_r(text, " ", &save); w && n < most - 1;
         w = strtok_r(NULL, " ", &save))
        word[n++] = w;
    word[n] = NULL;
    return n;
}

/* Starts a command, words between blanks, in the scratch directory; "gifqa-..." are the programs
 * under test. env: "NAME=VALUE NAME=VALUE" or NULL. Its outputs go to DIR/<tag>.out and .err. It
 * dies with the rig. */
static inline pid_t rig_vstart(const char *tag, const char *env, const char *fmt, va_list ap)
{
    char        text[4096], more[1024] = "", *argv[128], *set[16];
    const char *out = rig_path("%s.out", tag), *err = rig_path("%s.err", tag);
    pid_t       pid, parent = getpid();

    assert_true(vsnprintf(text, sizeof text, fmt, ap) < (int)sizeof text);
    rig__words(text, argv, 128);
    snprintf(more, sizeof more, "%s", env ? env : "");
    rig__words(more, set, 16);
    pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || chdir(little_dir) != 0)
        _exit(126);
    for (int i = 0; set[i]; i++)
        putenv(set[i]);
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(open(out, O_WRONLY | O_CREAT | O_TRUNC, 0666), 1);
    dup2(open(err, O_WRONLY | O_CREAT | O_TRUNC, 0666), 2);
    for (int fd = 3; fd < 16; fd++)
        close(fd);
    execvp(rig_program(argv[0]), argv);
    _exit(127);
}

static inline pid_t rig_start(const char *tag, const char *env, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static inline pid_t rig_start(const char *tag, const char *env, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    pid_t pid = rig_vstart(tag, env, fmt, ap);
    va_end(ap);
    return pid;
}

/* Its exit code; -N when signal N ended it; RIG_HUNG when it had to be killed after RIG_PATIENCE_S.
 */
static inline int rig_end(pid_t pid)
{
    int           status = 0, fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool          hung = fd >= 0 && poll(&p, 1, RIG_PATIENCE_S * 1000) == 0;

    if (hung)
        kill(pid, SIGKILL);
    if (fd >= 0)
        close(fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return hung ? RIG_HUNG : WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static inline int rig_run(const char *env, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static inline int rig_run(const char *env, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    pid_t pid = rig_vstart("child", env, fmt, ap);
    va_end(ap);
    return rig_end(pid);
}

/* The beginning of a file in the scratch directory; "" when it is absent. One buffer. */
static inline const char *rig_text(const char *name)
{
    static char text[1 << 16];
    int         fd = open(rig_path("%s", name), O_RDONLY);
    ssize_t     n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return text;
}

static inline void rig_must(const char *command)
{
    int code = rig_run(NULL, "%s", command);
    if (code != 0)
        fail_msg("%s: exit %d: %s", command, code, rig_text("child.err"));
}

static inline void rig_remove(const char *name)
{
    gq_error err = {0};
    assert_ok(gq_remove_tree(rig_path("%s", name), &err), &err);
}

static inline void rig_put(const char *name, const char *text)
{
    gq_error err = {0};
    assert_ok(gq_write_file(rig_path("%s", name), text, strlen(text), &err), &err);
}

/* ---- afterwards ------------------------------------------------------------------------------ */

static char rig__left[1024];

static inline int rig__leftover(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    const char *name = path + at->base;
    (void)st;
    (void)kind;
    if (strncmp(name, ".tmp-", 5) && strncmp(name, ".trash-", 7) && strncmp(name, ".old-", 5) &&
        strncmp(name, ".bad-", 5) && !strstr(name, ".part"))
        return 0;
    snprintf(rig__left, sizeof rig__left, "%s", path);
    return 1;
}

/* A temporary or broken file below DIR/<name>, or NULL. */
static inline const char *rig_leftover(const char *name)
{
    return nftw(rig_path("%s", name), rig__leftover, 16, FTW_PHYS) == 1 ? rig__left : NULL;
}

/* What differs between two directories, apart from lock files and times in logs; NULL: nothing. */
static inline const char *rig_trees_differ(const char *a, const char *b)
{
    return rig_run(NULL, "diff -r -x .lock -x run.lock -x log.txt %s %s", a, b) == 0
               ? NULL
               : rig_text("child.out");
}

/* The newest checkpoint of DIR/<run>, 0 when there is none; *broken: those that do not verify. */
static inline uint64_t rig_newest(const char *run, int *broken)
{
    gq_ckpt_found f;
    gq_error      err = {0};
    assert_ok(gq_ckpt_find(rig_path("%s", run), false, &f, &err), &err);
    *broken = f.broken;
    uint64_t step = f.path ? f.step : 0;
    gq_free(f.path);
    return step;
}

/* The last step in DIR/<run>/metrics.jsonl, whole lines only. */
static inline uint64_t rig_last_step(const char *run)
{
    gq_bytes    b;
    gq_error    err = {0};
    uint64_t    step = 0;
    const char *at;

    if (gq_read_file(rig_path("%s/metrics.jsonl", run), 1 << 26, &b, &err) != GQ_OK)
        return 0;
    for (at = (const char *)b.data; strchr(at, '\n'); at = strchr(at, '\n') + 1)
        if (strncmp(at, "{\"step\":", 8) == 0)
            step = strtoull(at + 8, NULL, 10);
    gq_bytes_free(&b);
    return step;
}

/* ---- the scratch directory ------------------------------------------------------------------- */

static bool rig_absent;                 /* the programs are not built: all tests skip             */
#define need_rig() do { if (rig_absent) skip(); } while (0)

static inline int rig_begin(void **state)
{
    static const char *const needed[] = {"gifqa-train", "gifqa-prep", "gifqa-export", "gifqa-ask",
                                         "gifqa-eval"};
    char leaks[256];
    (void)state;
    if (access("/dev/shm", W_OK) == 0)  /* thousands of files: not on a slow disk */
        setenv("TMPDIR", "/dev/shm", 0);
    setenv("ASAN_OPTIONS",
           "detect_leaks=1:allocator_may_return_null=1:verify_asan_link_order=0", 1);
    rig_absent = false;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        rig_absent |= access(rig_program(needed[i]), X_OK) != 0;
    if (rig_absent)
        print_message("skipped: not all programs are built\n");
    snprintf(little_dir, sizeof little_dir, "%s", gq_scratch());
    if (rig_absent)
        return 0;
    rig_put("known.lsan", "leak:libhdf5\n");     /* it forgets a file whose close(2) failed */
    snprintf(leaks, sizeof leaks, "suppressions=%s:print_suppressions=0", rig_path("known.lsan"));
    setenv("LSAN_OPTIONS", leaks, 1);
    little_world();
    little_shards("train");
    little_shards("test");
    rig_put("t.yaml", yaml);
    return 0;
}

static inline int rig_done(void **state)
{
    return little_drop(state);
}

/* ---- the shim -------------------------------------------------------------------------------- */

/* LD_PRELOAD and what it is to do, for rig_start(); see shim.c. */
static inline const char *rig_shim(const char *what)
{
    static char env[1024];
    snprintf(env, sizeof env, "LD_PRELOAD=%s GIFQA_SHIM=%s GIFQA_SHIM_LOG=%s", GQ_SHIM, what,
             rig_path("shim.log"));
    unlink(rig_path("shim.log"));
    return env;
}

#endif
