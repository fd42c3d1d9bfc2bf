/* train_prove.c - the headline promise, shown to a user on his own configuration: kill it whenever you like. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/io.h"
#include "core/mem.h"
#include "core/philox.h"
#include "tools/train.h"
#include "train/checkpoint.h"

typedef struct outcome {
    int kills, runs;                    /* done in all; runs that were killed                     */
    int lines;                          /* of metrics.jsonl                                       */
} outcome;

typedef struct proof { const char *program, *self, *config; const gq_cli_list *set; } proof;

static pid_t start(const proof *p, const char *run_dir)
{
    char  *argv[2 * GQ_CLI_LIST_MAX + 8];
    int    n = 0;
    pid_t  pid;

    argv[n++] = (char *)p->self;
    argv[n++] = "--config";
    argv[n++] = (char *)p->config;
    argv[n++] = "--run-dir";
    argv[n++] = (char *)run_dir;
    argv[n++] = "--quiet";
    for (size_t i = 0; i < p->set->n; i++) {
        argv[n++] = "--set";
        argv[n++] = (char *)p->set->item[i];
    }
    argv[n] = NULL;
    pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout))
            _exit(1);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    return pid;
}

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int finish(pid_t pid)
{
    int status = 0;
    return pid < 0 || waitpid(pid, &status, 0) < 0 ? 1 : code_of(status);
}

static void nap(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

/* Waits for the run; *first_s: how long it took to its first line of metrics. */
static int watch(pid_t pid, const char *run_dir, double *first_s)
{
    char  *path = gq_path(run_dir, "metrics.jsonl");
    double start_s = gq_now();
    int    status = 0;
    pid_t  done = 0;

    *first_s = 0;
    while (pid > 0 && path && *first_s == 0 && (done = waitpid(pid, &status, WNOHANG)) == 0) {
        gq_map m;
        if (gq_map_open(path, &m, NULL) == GQ_OK) {
            if (m.size > 0)
                *first_s = gq_now() - start_s;
            gq_map_close(&m);
        }
        nap(0.002);
    }
    gq_free(path);
    return done == pid && done > 0 ? code_of(status) : finish(pid);
}

/* Cuts the fields that are times or memory out of a metrics line, in place. */
static void drop_times(char *line)
{
    static const char *const keys[] = {
        ",\"samples_per_s\":", ",\"gflops\":", ",\"data_wait_s\":", ",\"rss_mib\":"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char *at = strstr(line, keys[i]), *end;
        if (!at)
            continue;
        end = at + strlen(keys[i]);
        end += strcspn(end, ",}");
        memmove(at, end, strlen(end) + 1);
    }
}

static gq_status read_text(const char *dir, const char *name, gq_bytes *out, gq_error *err)
{
    char     *path = gq_path(dir, name);
    gq_status s = path ? gq_read_file(path, (size_t)1 << 36, out, err)
                       : gq_fail(err, GQ_ENOMEM, "out of memory");
    gq_free(path);
    return s;
}

static gq_status same_metrics(const char *a, const char *b, int *lines, gq_error *err)
{
    gq_bytes  x = {0}, y = {0};
    char     *p, *q, *sp, *sq;
    gq_status s = read_text(a, "metrics.jsonl", &x, err);

    if (s == GQ_OK)
        s = read_text(b, "metrics.jsonl", &y, err);
    if (s == GQ_OK) {
        p = strtok_r((char *)x.data, "\n", &sp);
        q = strtok_r((char *)y.data, "\n", &sq);
        for (*lines = 0; s == GQ_OK && p && q; ++*lines) {
            drop_times(p);
            drop_times(q);
            if (strcmp(p, q) != 0)
                s = gq_fail(err, GQ_EBUG, "line %d of metrics.jsonl differs:\n  %s\n  %s",
                            *lines + 1, p, q);
            p = strtok_r(NULL, "\n", &sp);
            q = strtok_r(NULL, "\n", &sq);
        }
        if (s == GQ_OK && (p || q))
            s = gq_fail(err, GQ_EBUG, "metrics.jsonl has more lines in one run than in the other");
    }
    gq_bytes_free(&x);
    gq_bytes_free(&y);
    return s;
}

static gq_status same_weights(const char *a, const char *b, gq_error *err)
{
    static const char *const files[] = {"weights.safetensors", "optim.safetensors", "state.json"};
    gq_ckpt_found fa = {0}, fb = {0};
    gq_status     s = gq_ckpt_find(a, false, &fa, err);

    if (s == GQ_OK)
        s = gq_ckpt_find(b, false, &fb, err);
    if (s == GQ_OK && (!fa.path || !fb.path || fa.step != fb.step))
        s = gq_fail(err, GQ_EBUG, "the runs end at different steps");
    for (size_t i = 0; s == GQ_OK && i < 2;
         i++) { /* state.json holds metrics_bytes, which times change  */
        gq_bytes x = {0}, y = {0};
        if ((s = read_text(fa.path, files[i], &x, err)) == GQ_OK &&
            (s = read_text(fb.path, files[i], &y, err)) == GQ_OK &&
            (x.size != y.size || memcmp(x.data, y.data, x.size) != 0))
            s = gq_fail(err, GQ_EBUG, "%s differs", files[i]);
        gq_bytes_free(&x);
        gq_bytes_free(&y);
    }
    gq_free(fa.path);
    gq_free(fb.path);
    return s;
}

typedef struct pace {
    double   start_s, life_s;           /* to the first step; mean time of a life after that      */
    uint64_t seed;                      /* of the moments                                         */
} pace;

/* One run of many lives: kills and restarts until `kills` are done in all, then lets it finish. It may finish sooner,
 * when its lives were long ones. */
static gq_status torment(const proof *p, const char *dir, const pace *at, int kills, int *done,
                         gq_error *err)
{
    for (;;) {
        pid_t pid = start(p, dir);
        int   code;
        if (*done < kills && pid > 0) {
            nap(gq_u01(gq_philox_at(at->seed, (uint64_t)*done, GQ_RNG_TEST, 0)) *
                (at->start_s + 2 * at->life_s));
            kill(pid, SIGKILL);
        }
        code = finish(pid);
        if (code == 0)
            return GQ_OK;
        if (code != -SIGKILL)
            return gq_fail(err, GQ_EBUG, "the run ended with exit code %d after %d kills", code,
                           *done);
        ++*done;
    }
}

/* Runs of many lives, each compared with the straight one, until all kills are done. */
static gq_status torment_all(const proof *p, const char *straight, const char *killed,
                             const pace *at, int kills, outcome *o, gq_error *err)
{
    gq_status s = GQ_OK;

    while (s == GQ_OK && o->kills < kills) {
        o->runs++;
        s = gq_remove_tree(killed, err);
        if (s == GQ_OK)
            s = torment(p, killed, at, kills, &o->kills, err);
        if (s == GQ_OK)
            s = same_metrics(straight, killed, &o->lines, err);
        if (s == GQ_OK)
            s = same_weights(straight, killed, err);
    }
    return s;
}

static int tell(const char *program, gq_status s, const outcome *o, bool json, gq_error *err)
{
    if (s == GQ_OK && json)
        s = gq_cli_json(json_pack("{s:b, s:i, s:i, s:i, s:b}", "ok", 1, "kills", o->kills, "runs",
                                  o->runs, "metrics_lines", o->lines, "identical", 1),
                        err);
    else if (s == GQ_OK)
        printf("%d kills in %d run%s: %d metric lines, the final weights and both moments are the "
               "same to the bit\n",
               o->kills, o->runs, o->runs > 1 ? "s" : "", o->lines);
    return s == GQ_OK ? 0 : gq_cli_fail(program, err, json);
}

int gq_prove_resume(const char *program, const char *self, const char *config,
                    const gq_cli_list *set, const char *run_dir, const char *kills_text, bool json)
{
    proof     p = {program, self, config, set};
    outcome   o = {0};
    pace      at = {.seed = (uint64_t)time(NULL)};
    char     *straight, *killed, *end;
    long      kills = strtol(kills_text, &end, 10);
    double    begin_s;
    int       code;
    gq_error  err = {0};
    gq_status s = GQ_OK;

    if (*end || kills < 1 || kills > 1000000)
        return gq_cli_usage(program, "--prove-resume wants a number of kills, not '%s'",
                            kills_text);
    straight = gq_path(run_dir, "straight");
    killed = gq_path(run_dir, "killed");
    if (!straight || !killed || gq_mkdirs(run_dir, &err) != GQ_OK ||
        gq_remove_tree(straight, &err) != GQ_OK)
        s = gq_fail(&err, GQ_EDISK, "%s: cannot be prepared", run_dir);
    begin_s = gq_now();
    if (s == GQ_OK && (code = watch(start(&p, straight), straight, &at.start_s)) != 0)
        s = gq_fail(&err, GQ_EBUG,
                    "the uninterrupted run ended with exit code %d: run it alone to see why", code);
    at.life_s = fmax(gq_now() - begin_s - at.start_s, 0.01) / (double)kills;
    if (s == GQ_OK)
        s = torment_all(&p, straight, killed, &at, (int)kills, &o, &err);
    gq_free(straight);
    gq_free(killed);
    return tell(program, s, &o, json, &err);
}
