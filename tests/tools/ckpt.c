/* gifqa-ckpt as a user meets it: output, JSON, exit codes. */
#include <jansson.h>
#include <sys/wait.h>

#include "core/io.h"
#include "core/mem.h"
#include "core/safetensors.h"
#include "support.h"
#include "train/checkpoint.h"

static const char *dir;
static char        out[65536];          /* stdout and stderr of the last call                     */

/* Runs gifqa-ckpt; $D in the arguments is the scratch directory. */
static int ckpt(const char *args)
{
    char   command[1024];
    size_t n;
    snprintf(command, sizeof command, "D=%s; %s/gifqa-ckpt %s 2>&1", dir, GQ_BIN_DIR, args);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    n = fread(out, 1, sizeof out - 1, f);
    out[n] = '\0';
    int status = pclose(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect(const char *args, int code, const char *needle)
{
    int got = ckpt(args);
    if (got != code || !strstr(out, needle))
        fail_msg("gifqa-ckpt %s: exit %d, want %d; '%s' is not in:\n%s", args, got, code, needle,
                 out);
}

static void put(const char *path, float value)
{
    gq_st_tensor  t[2] = {{.name = "a", .dtype = GQ_ST_F32, .rank = 1, .shape = {2}},
                          {.name = "b", .dtype = GQ_ST_F32, .rank = 0}};
    float         v[2] = {value, 3};
    gq_st_writer *w;
    gq_error      err = {0};
    assert_ok(gq_st_writer_open(path, t, 2, NULL, 0, &w, &err), &err);
    assert_ok(gq_st_put(w, "a", v, sizeof v, &err), &err);
    assert_ok(gq_st_put(w, "b", v + 1, sizeof v[1], &err), &err);
    assert_ok(gq_st_commit(w, &err), &err);
}

static void save(const char *run, uint64_t step, float value, const char *note)
{
    char     path[256];
    gq_ckpt *c;
    gq_error err = {0};
    snprintf(path, sizeof path, "%s/%s", dir, run);
    assert_ok(gq_ckpt_begin(path, step, 1000, &c, &err), &err);
    snprintf(path, sizeof path, "%s/weights.safetensors", gq_ckpt_dir(c));
    put(path, value);
    snprintf(path, sizeof path, "%s/state.json", gq_ckpt_dir(c));
    assert_ok(gq_write_file(path, note, strlen(note), &err), &err);
    assert_ok(gq_ckpt_commit(c, NULL, &err), &err);
}

static void break_file(const char *name)
{
    char     path[256];
    gq_error err = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_ok(gq_write_file(path, "?", 1, &err), &err);
}

static int make(void **state)
{
    static char path[64];
    (void)state;
    snprintf(path, sizeof path, "%s", gq_scratch());
    dir = path;
    save("one", 5, 1, "{}");
    save("one", 10, 2, "{}");
    save("two", 10, 2, "{}");
    save("three", 10, 2.5f, "{ }");
    return 0;
}

static int drop(void **state)
{
    (void)state;
    return gq_remove_tree(dir, NULL) == GQ_OK ? 0 : -1;
}

static void listing(void **state)
{
    (void)state;
    expect("ls $D/one", 0, "step-00000005");
    expect("ls $D/one", 0, "2 files  complete");
    expect("ls $D/one/checkpoints/step-00000010", 0, "weights.safetensors");
    expect("verify $D/one", 0, "step-00000010  ");
    expect("verify $D/one", 0, "verified");
    expect("ls $D/none", 5, "is not the directory of a run or a checkpoint");
    expect("ls $D", 5, "holds neither");
    expect("ls --json $D/one", 0, "{\"ok\"");
    json_t *o = json_loads(out, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(o, "checkpoints")), 2);
    json_t *row = json_array_get(json_object_get(o, "checkpoints"), 1);
    assert_int_equal(json_integer_value(json_object_get(row, "step")), 10);
    assert_int_equal(json_integer_value(json_object_get(row, "files")), 2);
    json_decref(o);
}

static void differences(void **state)
{
    (void)state;
    expect("diff $D/one $D/two", 0, "equal: 2 tensors, the same bits");
    expect("diff $D/one $D/three", 5,
           "weights.safetensors: a: 1 of 2 elements differ, first at 0, max |a-b| 0.5\n");
    expect("diff $D/one $D/three", 5, "state.json: other bytes");
    expect("diff $D/one $D/three", 5,
           "different: 1 of 2 tensors and 1 other files, max |a-b| 0.5, first: state.json");
    expect("diff $D/one/checkpoints/step-00000005 $D/one", 5,
           "1 of 2 tensors and 0 other files, max |a-b| 1,");
    expect("diff --limit 0 $D/one $D/three", 5, "... and 1 tensors more");
    expect("diff $D/one $D/two/checkpoints/step-00000010/weights.safetensors", 0,
           "equal: 2 tensors");
    expect("diff $D/one $D/nothing.safetensors", 5, "nothing.safetensors");
    expect("diff --json $D/one $D/three", 5, "\"equal\":false");
    json_t *o = json_loads(out, 0, NULL);
    assert_true(json_real_value(json_object_get(o, "max_abs")) == 0.5);
    assert_int_equal(json_array_size(json_object_get(o, "differences")), 2);
    json_decref(o);
    expect("diff --json $D/one $D/nothing", 5, "\"error\"");
}

static void broken(void **state)
{
    (void)state;
    save("bad", 1, 1, "{}");
    save("bad", 2, 2, "{}");
    break_file("bad/checkpoints/step-00000002/state.json");
    expect("ls $D/bad", 0, "step-00000002");
    expect("verify $D/bad", 5, "step-00000002  BROKEN  ");
    expect("verify $D/bad", 5, "state.json: 1 bytes, the manifest says 2");
    expect("verify --json $D/bad", 5, "\"ok\":false");
    expect("diff $D/bad $D/bad/checkpoints/step-00000001", 0, "equal"); /* the newest healthy one */
    break_file("bad/checkpoints/step-00000001/state.json");
    expect("diff $D/bad $D/one", 5, "has no healthy checkpoint");
    break_file("bad/checkpoints/step-00000002/MANIFEST.json");
    expect("ls $D/bad", 5, "its checksum does not hold");
}

static void usage(void **state)
{
    (void)state;
    expect("", 2, "a command is missing");
    expect("verifi x", 2, "did you mean 'verify'?");
    expect("diff one", 2, "an argument is missing");
    expect("ls --jsn x", 2, "--json");
    expect("--version", 0, "gifqa-ckpt ");
    static const char *const helps[] = {"--help", "ls --help", "verify --help", "diff --help"};
    for (int i = 0; i < 4; i++) {
        int lines = 0;
        expect(helps[i], 0, "Examples:");
        for (const char *c = out; *c; c++)
            lines += *c == '\n';
        assert_true(lines <= 24);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listing),
        cmocka_unit_test(differences),
        cmocka_unit_test(broken),
        cmocka_unit_test(usage),
    };
    return cmocka_run_group_tests_name("tools/gifqa-ckpt", tests, make, drop);
}
