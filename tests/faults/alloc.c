/* R8: every allocation of every program fails, once or from then on. Each time the program ends
 * with exit code 6 and a message, or succeeds; it does not crash or leak, and what was on disk
 * before is still good.
 *
 * The programs run as they are, with a library preloaded that refuses the n-th call (preload/). In
 * the sanitized build the verdict of the sanitizers is part of the exit code. The short mode takes
 * an even sample of the calls, the long mode all of them up to a limit a program.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "faults/preload/alloc.h"
#include "faults/report.h"
#include "little.h"

static struct alloc_rig *rig;           /* shared with the program that runs                      */
static char              rig_path[512];

typedef struct subject {
    const char *name;
    const char *before;                 /* shell: makes what the command needs; NULL: nothing     */
    const char *command;                /* no shell: words between blanks, ~ is a blank in a word */
    const char *kept;                   /* shell: 0 when nothing was lost; NULL: it only reads    */
    const char *again;                  /* shell: 0 when the same command then finishes the work  */
    bool        timed;                  /* its output tells times and sizes, so it differs        */
} subject;

#define SAME_RUN                                                                                   \
    "cmp -s t/checkpoints/step-00000004/weights.safetensors "                                      \
    "run/checkpoints/step-00000004/weights.safetensors"
#define TRAIN "gifqa-train --config run/config.yaml --run-dir t -q"
#define BUILD                                                                                      \
    "gifqa-prep build world/test.tsv --gifs world/gif -o made -t world/words.txt --config run/"    \
    "config.yaml"
#define CLIP "--config run/config.yaml --weights random:1 --tokenizer train/tokenizer"

static const subject subjects[] = {
    {"prep build", "rm -rf made", BUILD, NULL,
     BUILD " && cmp -s made/shard-00000.h5 fine/shard-00000.h5", true},
    {"prep verify", NULL, "gifqa-prep verify test", NULL, NULL, false},
    {"prep verify SHARD", NULL, "gifqa-prep verify test/shard-00000.h5", NULL, NULL, false},
    {"prep stats", NULL, "gifqa-prep stats test", NULL, NULL, false},
    {"prep head", NULL, "gifqa-prep head test", NULL, NULL, false},
    {"prep frames", "rm -rf png", "gifqa-prep frames world/gif/test-000000.gif -o png", NULL, NULL,
     false},
    {"prep tokenize", NULL, "gifqa-prep tokenize -t train/tokenizer world/words.txt", NULL, NULL,
     false},
    {"train", "rm -rf t", TRAIN, NULL, TRAIN " && " SAME_RUN, true},
    {"train, resumed", "rm -rf t && cp -r half t", TRAIN,
     "cmp -s t/checkpoints/step-00000002/weights.safetensors "
     "half/checkpoints/step-00000002/weights.safetensors",
     TRAIN " && " SAME_RUN, true},
    {"eval", NULL, "gifqa-eval run test --threads 1 -o p.jsonl", NULL, NULL, true},
    {"eval --verify", NULL, "gifqa-eval --verify run/predictions.jsonl", NULL, NULL, false},
    {"ask", NULL, "gifqa-ask run world/gif/test-000000.gif where~is~it? --threads 1 --json", NULL,
     NULL, true},
    {"keyframes", NULL,
     "gifqa-keyframes world/gif/test-000000.gif where? -o strip.png --threads 1 " CLIP, NULL, NULL,
     true},
    {"export", "rm -rf e", "gifqa-export run -o e", NULL,
     "test -e e || gifqa-export run -o e && gifqa-eval e test --train train -n 2 --no-baselines",
     false},
    {"ckpt ls", NULL, "gifqa-ckpt ls run", NULL, NULL, false},
    {"ckpt verify", NULL, "gifqa-ckpt verify run", NULL, NULL, false},
    {"ckpt diff", NULL, "gifqa-ckpt diff run run", NULL, NULL, false},
    {"doctor", NULL, "gifqa-doctor --quick .", NULL, NULL, true},
};
enum { SUBJECTS = sizeof subjects / sizeof *subjects };

/* ---- one program under the rig --------------------------------------------------------------- */

static int shell(const char *text)
{
    char line[2048];
    int  status;
    snprintf(line, sizeof line, "cd %s && { %s; } >after.out 2>after.err </dev/null", little_dir,
             text);
    status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void become(const char *command)
{
    static char text[1024], options[512];
    const char *asan = getenv("ASAN_OPTIONS");
    char       *word[32], *save = NULL;
    int         n = 0;
    snprintf(text, sizeof text, "%s", command);
    for (char *w = strtok_r(text, " ", &save); w && n < 31; w = strtok_r(NULL, " ", &save)) {
        for (char *c = w; *c; c++)
            *c = *c == '~' ? ' ' : *c;
        word[n++] = w;
    }
    word[n] = NULL;
    if (chdir(little_dir) != 0)
        _exit(126);
    dup2(open("out", O_WRONLY | O_CREAT | O_TRUNC, 0666), 1);
    dup2(open("err", O_WRONLY | O_CREAT | O_TRUNC, 0666), 2);
    /* the preloaded library comes before the sanitizer's, which would complain */
    snprintf(options, sizeof options, "%s:verify_asan_link_order=0", asan ? asan : "");
    setenv("ASAN_OPTIONS", options, 1);
    setenv("GIFQA_ALLOC_RIG", rig_path, 1);
    setenv("LD_PRELOAD", GQ_PRELOAD_ALLOC, 1);
    execvp(word[0], word);
    _exit(127);
}

/* Runs the command with its `at`-th allocation refused; the exit code, 128 + N for signal N. */
static int run(const char *command, uint64_t at, bool lasting, enum alloc_who who)
{
    int   status;
    pid_t child;
    *rig = (struct alloc_rig){.at = at, .lasting = lasting, .who = who};
    child = fork();
    if (child == 0)
        become(command);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static const char *errors(void)
{
    static char text[8192];
    FILE       *f = fopen(little("err"), "r");
    text[f ? fread(text, 1, sizeof text - 1, f) : 0] = 0;
    if (f)
        fclose(f);
    return text;
}

/* ---- the rig --------------------------------------------------------------------------------- */

static struct {
    long injected, survived, refused;   /* refused: ended with exit code 6                        */
    long calls;                         /* that could have been refused, of all programs          */
} sum;

static bool promise(bool kept, const subject *s, uint64_t at, bool lasting, const char *broken)
{
    if (!kept)
        print_message("%s: allocation %llu%s, called by %s: %s: %s\n", s->name,
                      (unsigned long long)at, lasting ? " and all later" : "", rig->library, broken,
                      errors());
    return kept;
}

/* again: see also that the work can be finished. */
static void inject(const subject *s, uint64_t at, bool lasting, enum alloc_who who, bool again)
{
    char how[64];
    int  code;

    if (s->before && shell(s->before) != 0)
        fail_msg("%s: %s", s->name, s->before);
    code = run(s->command, at, lasting, who);
    if (!rig->failed)                            /* this run made fewer calls than the first */
        return;
    snprintf(how, sizeof how, "exit %d", code);
    sum.injected++;
    sum.refused += code == 6;
    if (promise(code == 0 || (code == 6 && *errors()), s, at, lasting, how) &&
        promise(code != 0 || s->timed || shell("cmp -s out out.good") == 0, s, at, lasting,
                "exit 0 with other output") &&
        promise(!s->kept || shell(s->kept) == 0, s, at, lasting, "something is lost") &&
        promise(!again || !s->again || shell(s->again) == 0, s, at, lasting,
                "the work cannot be finished"))
        sum.survived++;
}

/* An even sample of at most `limit` of the calls, in turn once and lasting; all calls both ways
 * when there are few. */
static void torture(const subject *s, enum alloc_who who, uint64_t limit)
{
    uint64_t calls, n;

    if (s->before && shell(s->before) != 0)
        fail_msg("%s: %s", s->name, s->before);
    if (run(s->command, 0, false, who) != 0 || shell("cp out out.good") != 0)
        fail_msg("%s: fails by itself: %s", s->name, errors());
    calls = rig->count;
    assert_true(calls > 0);
    sum.calls += (long)calls;
    n = 2 * calls < limit ? 2 * calls : limit;
    for (uint64_t k = 0; k < n; k++)
        inject(s, 1 + k * calls / n, k & 1, who, k % 8 == 3);
}

static void every_allocation(void **state)
{
    double   start = rig_now();
    uint64_t own = rig_long() ? 180 : 9, libraries = rig_long() ? 110 : 5;
    char     note[256];
    (void)state;

    for (int k = 0; k < SUBJECTS; k++) {
        torture(&subjects[k], ALLOC_OWN, own);
        torture(&subjects[k], ALLOC_LIBRARIES, libraries);
    }
    snprintf(note, sizeof note,
             "an even sample, both ways (once, lasting), of %ld calls in %d commands; %ld ended "
             "with exit 6, the others succeeded; calls inside libhdf5 are left out",
             sum.calls, (int)SUBJECTS, sum.refused);
    rig_report(&(rig_result){.rig = "R8",
                             .what = "allocation failures in every program",
                             .injected = sum.injected,
                             .survived = sum.survived,
                             .failed = sum.injected - sum.survived,
                             .seconds = rig_now() - start,
                             .note = note});
    assert_true(sum.injected >= 150);
    assert_int_equal(sum.survived, sum.injected);
}

static int begin(void **state)
{
    char path[2048];
    int  fd;

    little_make(state);
    snprintf(path, sizeof path, "%s:%s", GQ_BIN_DIR, getenv("PATH"));
    setenv("PATH", path, 1);
    snprintf(rig_path, sizeof rig_path, "%s/rig", little_dir);
    fd = open(rig_path, O_RDWR | O_CREAT, 0666);
    assert_int_equal(ftruncate(fd, sizeof *rig), 0);
    rig = mmap(NULL, sizeof *rig, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (rig == MAP_FAILED)
        return -1;
    return shell("cp -r run half && rm -rf half/checkpoints/step-00000004 && " BUILD
                 " && mv made fine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation)};
    return cmocka_run_group_tests_name("faults/alloc", tests, begin, little_drop);
}
