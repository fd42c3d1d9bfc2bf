/* train/checkpoint.c: every file operation of a small run killed, failed and shortened in turn;
 * forged manifests, rotation, a full disk. Damage: tests/faults/corruption.c. */
#include "train/checkpoint.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include "core/io.h"
#include "core/mem.h"
#include "faults.h"
#include "support.h"

static const char *run;                 /* the run directory, fresh for each test                 */

static int make_run(void **state)
{
    static char path[64];
    (void)state;
    snprintf(path, sizeof path, "%s", gq_scratch());
    run = path;
    return 0;
}

static int drop_run(void **state)
{
    (void)state;
    return gq_remove_tree(run, NULL) == GQ_OK ? 0 : -1;
}

static const char *in_run(const char *name)
{
    static char paths[4][256];
    static int  next;
    char       *p = paths[next++ & 3];
    snprintf(p, sizeof paths[0], "%s/checkpoints/%s", run, name);
    return p;
}

/* ---- a small run ----------------------------------------------------------------------------- */

/* File `name` of a step: contents are a function of both, so they can be checked afterwards. */
static void contents(uint64_t step, const char *name, char out[64])
{
    snprintf(out, 64, "%s of step %llu\n", name, (unsigned long long)step);
}

static const char *const names[] = {"optim.safetensors", "state.json", "weights.safetensors"};

static gq_status save(const char *dir, uint64_t step, gq_error *err)
{
    gq_ckpt  *c;
    char      text[64];
    gq_status s = gq_ckpt_begin(dir, step, 300, &c, err);
    for (int i = 0; s == GQ_OK && i < 3; i++) {
        char *path = gq_path(gq_ckpt_dir(c), names[i]);
        contents(step, names[i], text);
        s = path ? gq_write_file(path, text, strlen(text), err) : GQ_ENOMEM;
        gq_free(path);
        if (s != GQ_OK)
            gq_ckpt_abort(c);
    }
    return s == GQ_OK ? gq_ckpt_commit(c, NULL, err) : s;
}

static void must_save(uint64_t step)
{
    gq_error err = {0};
    assert_ok(save(run, step, &err), &err);
}

static void check_contents(const char *path, uint64_t step)
{
    char     text[64];
    gq_bytes b;
    gq_error err = {0};
    for (int i = 0; i < 3; i++) {
        char *file = gq_path(path, names[i]);
        contents(step, names[i], text);
        assert_ok(gq_read_file(file, 64, &b, &err), &err);
        assert_string_equal((char *)b.data, text);
        gq_bytes_free(&b);
        gq_free(file);
    }
}

static void expect_steps(const char *want)
{
    char      have[256] = "";
    uint64_t *steps;
    size_t    n;
    gq_error  err = {0};
    assert_ok(gq_ckpt_list(run, &steps, &n, &err), &err);
    for (size_t i = 0; i < n; i++)
        snprintf(have + strlen(have), sizeof have - strlen(have), "%s%llu", i ? " " : "",
                 (unsigned long long)steps[i]);
    gq_free(steps);
    assert_string_equal(have, want);
}

static size_t count_names(const char *prefix)
{
    char   **list;
    size_t   n, hits = 0;
    gq_error err = {0};
    assert_ok(gq_list_dir(in_run(""), &list, &n, &err), &err);
    for (size_t i = 0; i < n; i++) {
        hits += strncmp(list[i], prefix, strlen(prefix)) == 0;
        gq_free(list[i]);
    }
    gq_free(list);
    return hits;
}

/* ---- writing and finding --------------------------------------------------------------------- */

static void save_and_find(void **state)
{
    gq_ckpt_found    f;
    gq_ckpt_manifest m;
    gq_bytes         b;
    gq_error         err = {0};
    (void)state;

    assert_ok(gq_ckpt_find(run, true, &f, &err), &err);      /* nothing there is no error */
    assert_null(f.path);
    assert_true(f.step == GQ_CKPT_NONE);
    must_save(12);
    must_save(3);
    assert_ok(gq_ckpt_find(run, true, &f, &err), &err);
    assert_int_equal(f.step, 12);
    assert_int_equal(f.broken, 0);
    assert_string_equal(f.path, in_run("step-00000012"));
    check_contents(f.path, 12);
    assert_ok(gq_ckpt_verify(f.path, &m, &err), &err);
    assert_int_equal(m.step, 12);
    assert_int_equal(m.count, 3);
    assert_string_equal(m.file[1].name, "state.json");
    gq_free(f.path);
    assert_ok(gq_read_file(in_run("LATEST"), 64, &b, &err), &err);
    assert_string_equal((char *)b.data, "step-00000003\n");
    gq_bytes_free(&b);
    assert_int_equal(count_names("."), 0);
    must_save(12);                                           /* replaces its namesake */
    expect_steps("3 12");
    assert_int_equal(count_names("."), 0);
    must_save(123456789012ull);                              /* order is by number, not by text */
    expect_steps("3 12 123456789012");
}

static void same_state_same_bytes(void **state)
{
    gq_bytes a, b;
    gq_error err = {0};
    (void)state;
    must_save(5);
    assert_ok(gq_read_file(in_run("step-00000005/MANIFEST.json"), 1 << 16, &a, &err), &err);
    must_save(5);
    assert_ok(gq_read_file(in_run("step-00000005/MANIFEST.json"), 1 << 16, &b, &err), &err);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    gq_bytes_free(&a);
    gq_bytes_free(&b);
}

static void broken_ones_are_passed_over(void **state)
{
    gq_ckpt_found f;
    gq_error      err = {0};
    (void)state;
    for (uint64_t step = 1; step <= 4; step++)
        must_save(step);
    assert_ok(gq_write_file(in_run("step-00000004/state.json"), "x", 1, &err), &err);
    assert_ok(gq_remove_tree(in_run("step-00000003/optim.safetensors"), &err), &err);
    assert_ok(gq_rename(in_run("step-00000001"), in_run("step-00000009"), &err), &err);

    assert_ok(gq_ckpt_find(run, false, &f, &err), &err);     /* a reader changes nothing */
    assert_int_equal(f.step, 2);
    assert_int_equal(f.broken, 3);
    gq_free(f.path);
    expect_steps("2 3 4 9");

    assert_ok(gq_ckpt_find(run, true, &f, &err), &err);
    assert_int_equal(f.step, 2);
    assert_int_equal(f.broken, 3);
    gq_free(f.path);
    assert_non_null(strstr(f.notes,
                           "step-00000004/state.json: 1 bytes, the manifest says 21; renamed to "
                           ".bad-step-00000004"));
    assert_non_null(
        strstr(f.notes, "step-00000003/optim.safetensors: is missing; renamed to .bad-"));
    assert_non_null(
        strstr(f.notes, "step-00000009: holds step 1: it was renamed; renamed to .bad-"));
    expect_steps("2");
    must_save(4);
    assert_ok(gq_remove_tree(in_run("step-00000004/MANIFEST.json"), &err), &err);
    assert_ok(gq_ckpt_find(run, true, &f, &err), &err);      /* a second one of that name */
    gq_free(f.path);
    assert_non_null(strstr(f.notes, "renamed to .bad-step-00000004-2"));
    assert_true(gq_is_dir(in_run(".bad-step-00000004")) &&
                gq_is_dir(in_run(".bad-step-00000004-2")));
}

static void cleaning(void **state)
{
    gq_error err = {0};
    int      n;
    (void)state;
    assert_ok(gq_ckpt_clean(run, &err), &err);               /* nothing there yet */
    for (uint64_t step = 1; step <= 3; step++)
        must_save(step);
    assert_ok(gq_mkdirs(in_run(".tmp-4-1/sub"), &err), &err);
    assert_ok(gq_write_file(in_run(".tmp-LATEST-77"), "x", 1, &err), &err);
    assert_ok(gq_mkdirs(in_run(".trash-rotated-1"), &err), &err);
    assert_ok(gq_rename(in_run("step-00000003"), in_run(".old-00000003"), &err), &err);
    assert_ok(gq_mkdirs(in_run(".old-00000002"), &err), &err);
    assert_ok(gq_mkdirs(in_run("step-2"), &err), &err);      /* not a name of ours */
    assert_ok(gq_ckpt_clean(run, &err), &err);
    expect_steps("1 2 3");                                   /* 3 came back, 2's old one went */
    check_contents(in_run("step-00000002"), 2);
    check_contents(in_run("step-00000003"), 3);
    assert_int_equal(count_names("."), 0);
    assert_ok(gq_ckpt_set_aside(run, 1, &n, &err), &err);
    assert_int_equal(n, 2);
    expect_steps("1");
    check_contents(in_run(".aside-step-00000003"), 3);
}

/* ---- rotation -------------------------------------------------------------------------------- */

static void rotation(void **state)
{
    gq_error err = {0};
    (void)state;
    for (uint64_t step = 10; step <= 60; step += 10)
        must_save(step);
    assert_ok(gq_ckpt_rotate(run, 3, 20, 60, &err), &err);
    expect_steps("20 40 50 60");
    assert_ok(gq_ckpt_rotate(run, 0, GQ_CKPT_NONE, 60, &err), &err);
    expect_steps("60");                                      /* the newest always stays */
    assert_int_equal(count_names("."), 0);
    must_save(70);
    must_save(80);
    assert_ok(gq_write_file(in_run("step-00000080/state.json"), "x", 1, &err), &err);
    assert_ok(gq_ckpt_rotate(run, 1, GQ_CKPT_NONE, GQ_CKPT_NONE, &err), &err);
    expect_steps("70 80");                          /* 80 is broken: the newest healthy one stays */
    assert_ok(gq_write_file(in_run("step-00000070/state.json"), "x", 1, &err), &err);
    assert_fails(gq_ckpt_rotate(run, 1, GQ_CKPT_NONE, GQ_CKPT_NONE, &err), GQ_EWEIGHTS, &err,
                 "none is removed");
    expect_steps("70 80");
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* A manifest whose checksum is right but whose contents a stranger chose. */
static void forged_manifests(void **state)
{
    static const struct { const char *text, *needle;
    } forged[] = {
        {"{\"format\": \"gifqa-checkpoint\", \"version\": 2, \"step\": 1, \"files\": [],\n",
         "format version 2"},
        {"{\"format\": \"other\", \"version\": 1, \"step\": 1, \"files\": [],\n",
         "is not the manifest"},
        {"{\"format\": \"gifqa-checkpoint\", \"version\": 1, \"files\": [],\n",
         "is not the manifest"},
        {"{\"format\": \"gifqa-checkpoint\", \"version\": 1, \"step\": 1, \"files\": [{\"name\": "
         "\"../x\"}],\n",
         "plain name"},
        {"{\"format\": \"gifqa-checkpoint\", \"version\": 1, \"step\": 1, \"files\": [{\"name\": "
         "\"x\"}],\n",
         "SHA-256"},
        {"[\n", "an object '{' expected"},
    };
    gq_error err = {0};
    (void)state;
    must_save(1);
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        uint8_t hash[32];
        char    hex[65], text[512];
        gq_sha256(forged[i].text, strlen(forged[i].text), hash);
        gq_hex(hash, 32, hex);
        snprintf(text, sizeof text, "%s\"manifest_sha256\": \"%s\"}\n", forged[i].text, hex);
        gq_error_clear(&err);
        assert_ok(gq_write_file(in_run("step-00000001/MANIFEST.json"), text, strlen(text), &err),
                  &err);
        assert_fails(gq_ckpt_verify(in_run("step-00000001"), NULL, &err), GQ_EWEIGHTS, &err,
                     forged[i].needle);
    }
}

/* ---- a full disk ----------------------------------------------------------------------------- */

static void no_room(void **state)
{
    gq_ckpt *c;
    gq_error err = {0};
    (void)state;
    must_save(1);
    assert_fails(gq_ckpt_begin(run, 2, UINT64_MAX / 3, &c, &err), GQ_EDISK, &err,
                 "bytes needed (twice its size)");
    assert_null(c);
    assert_int_equal(count_names(".tmp-"), 0);
    expect_steps("1");
}

static void file_size_limit(void **state)
{
    gq_error err = {0};
    (void)state;
    must_save(1);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit small = {4096, 4096};
        gq_ckpt      *c;
        static char   big[100000];
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &small);
        if (gq_ckpt_begin(run, 2, 10, &c, &err) != GQ_OK)
            _exit(1);
        char *path = gq_path(gq_ckpt_dir(c), "weights.safetensors");
        if (gq_write_file(path, big, sizeof big, &err) != GQ_EDISK ||
            !strstr(err.text, "ulimit -f"))
            _exit(2);
        gq_ckpt_abort(c);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    expect_steps("1");
    assert_int_equal(count_names("."), 0);
    check_contents(in_run("step-00000001"), 1);
}

/* Every allocation of a save, a rotation and a search fails in turn: nothing is lost. */
static void no_memory(void **state)
{
    gq_ckpt_found f = {0};
    gq_error      err;
    long          failures = 0;
    (void)state;
    must_save(1);
    for (uint64_t n = 1, done = 0; !done; n++) {
        gq_error_clear(&err);
        gq_mem_fail_at(n, false);
        gq_status s = save(run, 2, &err);
        if (s == GQ_OK)
            s = gq_ckpt_rotate(run, 2, 1, GQ_CKPT_NONE, &err);
        if (s == GQ_OK)
            s = gq_ckpt_find(run, true, &f, &err);
        done = s == GQ_OK && (gq_mem_fail_at(0, false), true) && n > 200;
        gq_mem_fail_at(0, false);
        gq_free(f.path);
        f.path = NULL;
        if (s != GQ_OK)
            assert_int_equal(s, GQ_ENOMEM);
        failures += s != GQ_OK;
        assert_int_equal(count_names(".tmp-") + count_names(".bad-"), 0);
        check_contents(in_run("step-00000001"), 1);
    }
    assert_true(failures > 30);
    gq_error_clear(&err);
    assert_ok(gq_ckpt_find(run, true, &f, &err), &err);
    assert_int_equal(f.step, 2);
    gq_free(f.path);
}

/* ---- every operation ------------------------------------------------------------------------- */

enum { LAST = 2 };

/* What a run does, with the fault armed: saves, rotates, replaces one; each finished step goes
 * into the pipe. 0: finished; 1: reported a proper error; 2: the order of syncs and renames would
 * not survive a power cut; 3: the error says nothing. */
static int small_run(int pipe_fd, enum fault_mode mode, long at, bool lasting)
{
    gq_error err = {0};
    bool     failing = mode == FAULT_ENOSPC || mode == FAULT_EIO;    /* LATEST may fail, unsynced */
    memset(&fault, 0, sizeof fault);
    fault.mode = mode;
    fault.at = at;
    fault.lasting = lasting;
    fault.armed = true;
    int code = gq_ckpt_clean(run, &err) == GQ_OK ? 0 : 1;
    for (uint64_t step = 1; code == 0 && step <= LAST; step++) {
        uint64_t twice = step == 2 ? 2 : 1;                  /* step 2 replaces itself */
        for (uint64_t k = 0; code == 0 && k < twice; k++) {
            if (save(run, step, &err) != GQ_OK)
                code = 1;
            else if (!failing && (fault.unsynced || fault.open_renames))
                code = 2;
        }
        if (code == 0)
            syscall(SYS_write, pipe_fd, &step, sizeof step);
        if (code == 0 && gq_ckpt_rotate(run, 1, GQ_CKPT_NONE, step, &err) != GQ_OK)
            code = 1;
    }
    fault.armed = false;
    return code == 1 && (!err.text[0] || gq_exit_code(err.code) != 6) ? 3 : code;
}

/* A small run, in a child if it is to be killed. *last: the newest step it finished. */
static int run_once(enum fault_mode mode, long at, bool lasting, uint64_t *last)
{
    int      fds[2], code;
    uint64_t word;
    assert_int_equal(pipe(fds), 0);
    if (mode == FAULT_KILL) {
        pid_t child = fork();
        if (child == 0)
            _exit(small_run(fds[1], mode, at, lasting));
        assert_int_equal(waitpid(child, &code, 0), child);
        code = WIFSIGNALED(code) ? -WTERMSIG(code) : WEXITSTATUS(code);
    } else {
        code = small_run(fds[1], mode, at, lasting);
    }
    close(fds[1]);
    *last = 0;
    while (read(fds[0], &word, sizeof word) == sizeof word)
        *last = word;
    close(fds[0]);
    return code;
}

/* After any fault: the newest finished step, or a newer one, is there, whole; and the next start
 * tidies up. */
static void check_after(uint64_t last, enum fault_mode mode, long at)
{
    gq_ckpt_found f;
    gq_error      err = {0};
    char          what[64];
    snprintf(what, sizeof what, "mode %d at operation %ld", (int)mode, at);
    if (gq_ckpt_find(run, true, &f, &err) != GQ_OK)
        fail_msg("%s: %s", what, err.text);
    if (f.broken)
        fail_msg("%s: %s", what, f.notes);
    if (last && (!f.path || f.step < last))
        fail_msg("%s: step %llu was finished and is gone", what, (unsigned long long)last);
    if (f.path)
        check_contents(f.path, f.step);
    gq_free(f.path);
    if (gq_is_dir(in_run("")) && count_names(".") != 0)
        fail_msg("%s: leftovers after cleaning", what);
    assert_ok(gq_remove_tree(in_run(""), &err), &err);
}

static void every_operation(void **state)
{
    static const struct { enum fault_mode mode; bool lasting; } modes[] = {
        {FAULT_KILL, false}, {FAULT_ENOSPC, false}, {FAULT_EIO, false}, {FAULT_EIO, true},
        {FAULT_LIE, false},
    };
    uint64_t last;
    long     cases = 0;
    (void)state;
    assert_int_equal(run_once(FAULT_NONE, 0, false, &last), 0);
    assert_int_equal(last, LAST);
    long count = fault.count;
    assert_true(count > 50);
    check_after(last, FAULT_NONE, 0);
    int before = dup(0);                                     /* the lowest free descriptor */
    close(before);
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
        for (long at = 1; at <= count; at++, cases++) {
            enum fault_mode mode = modes[m].mode;
            int             code = run_once(mode, at, modes[m].lasting, &last);
            if (mode == FAULT_KILL ? code != -SIGKILL : code != 0 && code != 1)
                fail_msg("mode %d at operation %ld: the run ended with %d", (int)mode, at, code);
            check_after(last, mode, at);
        }
    print_message("%ld operations in a run, %ld faults, all recovered\n", count, cases);
    for (enum fault_mode mode = FAULT_EINTR; mode <= FAULT_SHORT; mode++) {  /* must be invisible */
        assert_int_equal(run_once(mode, 0, true, &last), 0);
        assert_int_equal(last, LAST);
        check_after(last, mode, 0);
    }
    int after = dup(0);                                      /* no fault path lost one */
    close(after);
    assert_int_equal(after, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_RUN(test) cmocka_unit_test_setup_teardown(test, make_run, drop_run)
        WITH_RUN(save_and_find),
        WITH_RUN(same_state_same_bytes),
        WITH_RUN(broken_ones_are_passed_over),
        WITH_RUN(cleaning),
        WITH_RUN(rotation),
        WITH_RUN(forged_manifests),
        WITH_RUN(no_room),
        WITH_RUN(file_size_limit),
        WITH_RUN(no_memory), WITH_RUN(every_operation),
    };
    if (access("/dev/shm", W_OK) == 0)           /* thousands of files: not on a slow disk */
        setenv("TMPDIR", "/dev/shm", 0);
    return cmocka_run_group_tests_name("train/checkpoint", tests, NULL, NULL);
}
