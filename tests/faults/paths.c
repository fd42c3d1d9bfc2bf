/* R13: names from strangers, and links planted in the place of what is to be written. Nothing
 * outside the chosen directory is read or written, and control characters reach no output. */
#include "rig.h"

enum { NAMES = 20, LONG_NAME = 5000 };

static const char secret[] = "a file outside of everything\n";

static void plant_secret(void)
{
    rig_remove("outside");
    assert_int_equal(mkdir(rig_path("outside"), 0777), 0);
    rig_put("outside/secret", secret);
    assert_int_equal(rig_run(NULL, "cp world/gif/test-000000.gif outside/x.gif"), 0);
}

/* "outside" holds the secret and the GIF, unchanged, and nothing else. */
static void check_outside(const char *what)
{
    char   **name;
    size_t   n;
    gq_error err = {0};

    assert_ok(gq_list_dir(rig_path("outside"), &name, &n, &err), &err);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(name[i], "secret") && strcmp(name[i], "x.gif"))
            fail_msg("%s: outside/%s was written", what, name[i]);
        gq_free(name[i]);
    }
    gq_free(name);
    if (n != 2 || strcmp(rig_text("outside/secret"), secret) != 0)
        fail_msg("%s: outside was changed", what);
}

/* No byte below a blank but tabs and line ends, and no DEL. */
static void check_output(const char *what, const char *file)
{
    for (const char *c = rig_text(file); *c; c++)
        if (((unsigned char)*c < ' ' && *c != '\n' && *c != '\t') || *c == 0x7f)
            fail_msg("%s: %s has byte %02x", what, file, (unsigned char)*c);
}

/* ---- names in tables ------------------------------------------------------------------------- */

/* Each leads to a GIF outside, or would be spelled to a terminal. */
static const char *attack(int i)
{
    static char text[LONG_NAME + 1200];
    static const char *const names[NAMES] = {
        "../outside/x.gif", "../outside/x", "a/../../outside/x.gif", "./../outside/x.gif",
        "..//outside/x.gif", ".././outside/x.gif", "../world/../outside/x.gif", "link.gif/../x",
        "//etc/passwd", "../../../../../../../../etc/passwd", "..", ".", "", "/",
        "%2e%2e/outside/x.gif", "..\\outside\\x.gif", "\x1b[2Jx.gif", "x\x07\x08.gif", "x\x7f.gif",
        "\xe2\x80\xae" "fig.x",
    };
    if (i < NAMES)
        return names[i];
    if (i == NAMES) {
        snprintf(text, sizeof text, "%s", rig_path("outside/x.gif"));
    } else {
        memset(text, 'a', LONG_NAME);
        snprintf(text + LONG_NAME, 1200, "/../../outside/x.gif");
    }
    return text;
}
enum { ATTACKS = NAMES + 2 };

static void put_table(const char *name)
{
    static char text[LONG_NAME + 2000];
    snprintf(text, sizeof text, "gif\tquestion\tanswer\ttype\n%s\twhat is it?\tred\tcolor\n"
                                "test-000001.gif\twhat is it?\tred\tcolor\n", name);
    rig_put("attack.tsv", text);
}

static void names_in_tables(void **state)
{
    static const char build[] = "gifqa-prep build attack.tsv --gifs world/gif --config t.yaml "
                                "--set data.max_bad=5 -o out/built";
    long refused = 0;
    (void)state;
    need_rig();

    for (int i = 0; i < ATTACKS; i++) {
        plant_secret();
        rig_remove("out");
        put_table(attack(i));
        assert_int_equal(mkdir(rig_path("out"), 0777), 0);
        int code = rig_run(NULL, "%s", build);
        if (code != 0 && code != 4)
            fail_msg("name %d: exit %d: %s", i, code, rig_text("child.err"));
        check_outside(attack(i));
        check_output("a name in a table", "child.err");
        check_output("a name in a table", "out/built/rejects.tsv");
        if (code == 0) {                /* one GIF was good; the other must not be in the shard */
            assert_int_equal(rig_run(NULL, "gifqa-prep stats out/built --json"), 0);
            assert_non_null(strstr(rig_text("child.out"), "\"gifs\":1"));
        }
        refused++;
    }
    rig_report(&(rig_result){.rig = "R13", .what = "names of GIFs in tables", .injected = refused,
                             .survived = refused, .note = "0 escapes"});
}

/* A folder of GIFs may hold links, those are the user's; a table cannot make new ones. NUL and line
 * ends in the names of JSON lines. */
static void names_in_json(void **state)
{
    static const char *const names[] = {
        "test-000000.gif\\u0000../../outside/x.gif", "..\\/outside\\/x.gif", "a\\nb.gif",
        "\\u001b[2Jx.gif", "\\ud800.gif", "x\\rREJECTED.gif",
    };
    enum { N = sizeof names / sizeof *names };
    (void)state;
    need_rig();

    for (int i = 0; i < N; i++) {
        char line[512];
        plant_secret();
        rig_remove("out");
        assert_int_equal(mkdir(rig_path("out"), 0777), 0);
        snprintf(line, sizeof line,
                 "{\"gif\": \"%s\", \"question\": \"what?\", \"answer\": \"red\", \"type\": "
                 "\"color\"}\n{\"gif\": \"test-000001.gif\", \"question\": \"what?\", \"answer\": "
                 "\"red\", \"type\": \"color\"}\n",
                 names[i]);
        rig_put("attack.jsonl", line);
        int code = rig_run(NULL, "gifqa-prep build attack.jsonl --gifs world/gif --config t.yaml "
                                 "--set data.max_bad=5 -o out/built");
        if (code != 0 && code != 4)
            fail_msg("%s: exit %d: %s", names[i], code, rig_text("child.err"));
        check_outside(names[i]);
        check_output(names[i], "child.err");
        check_output(names[i], "out/built/rejects.tsv");
    }
    rig_report(&(rig_result){.rig = "R13", .what = "names of GIFs in JSON lines", .injected = N,
                             .survived = N, .note = "0 escapes"});
}

/* ---- names in manifests ---------------------------------------------------------------------- */

/* The lists that say which files a data set or an export has. */
static void names_in_manifests(void **state)
{
    static const char verify[] = "gifqa-prep verify out", ask[] = "gifqa-ask out x.gif what?";
    static const struct { const char *from, *file, *was, *now, *command; } lists[] = {
        {"train", "MANIFEST.json", "shard-00000.h5", "../test/shard-00000.h5", verify},
        {"train", "MANIFEST.json", "shard-00000.h5", "/etc/passwd", verify},
        {"train", "MANIFEST.json", "shard-00000.h5", "shard-00000.h5\\u0000", verify},
        {"exported", "gifqa.json", "config.yaml", "../outside/secret", ask},
        {"exported", "gifqa.json", "config.yaml", "/etc/passwd", ask},
        {"run/checkpoints/step-00000004", "MANIFEST.json", "state.json", "../x.json", NULL},
        {"run/checkpoints/step-00000004", "MANIFEST.json", "state.json", "/etc/passwd", NULL},
    };
    enum { N = sizeof lists / sizeof *lists };
    gq_error err = {0};
    (void)state;
    need_rig();

    little_train("run", NULL);
    rig_must("gifqa-export run -o exported");
    rig_must("cp world/gif/test-000000.gif x.gif");
    for (int i = 0; i < N; i++) {
        char        name[600], text[1 << 13], *at;
        const char *old;
        rig_remove("out");
        plant_secret();
        assert_int_equal(rig_run(NULL, "cp -r %s out", lists[i].from), 0);
        snprintf(name, sizeof name, "out/%s", lists[i].file);
        old = rig_text(name);
        at = strstr(old, lists[i].was);
        assert_non_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - old), old, lists[i].now,
                 at + strlen(lists[i].was));
        rig_put(name, text);
        if (lists[i].command) {
            int code = rig_run(NULL, "%s", lists[i].command);
            if (code != 4 && code != 5)
                fail_msg("%s: exit %d: %s", lists[i].now, code, rig_text("child.err"));
            check_output(lists[i].now, "child.err");
            assert_null(strstr(rig_text("child.err"), secret));
        } else {
            assert_int_not_equal(gq_ckpt_verify(rig_path("out"), NULL, &err), GQ_OK);
            gq_error_clear(&err);
        }
        check_outside(lists[i].now);
    }
    rig_report(&(rig_result){.rig = "R13", .what = "names of files in manifests", .injected = N,
                             .survived = N, .note = "0 escapes"});
}

/* ---- links ----------------------------------------------------------------------------------- */

/* A link in the place of what a program is about to write. */
static void planted_links(void **state)
{
    static const char train[] =
        "gifqa-train --config t.yaml --quiet --set train.steps=2 --run-dir out";
    static const char build[] =
        "gifqa-prep build world/train.tsv --gifs world/gif --config t.yaml -o out";
    static const struct { const char *at, *to, *command; } links[] = {
        {"out/metrics.jsonl", "../outside/secret", train},
        {"out/log.txt", "../outside/secret", train},
        {"out/predictions.jsonl", "../outside/secret", train},
        {"out/config.yaml", "../outside/secret", train},
        {"out/run.lock", "../outside/secret", train},
        {"out/tokenizer", "../outside", train},
        {"out/checkpoints", "../outside", train},
        {"out/frozen.safetensors", "../outside/secret", train},
        {"out/metrics.jsonl", "../outside/new", train},
        {"out/shard-00000.h5", "../outside/secret", build},
        {"out/shard-00000.h5.part", "../outside/secret", build},
        {"out/MANIFEST.json", "../outside/secret", build},
        {"out/rejects.tsv", "../outside/secret", build},
        {"out/.lock", "../outside/secret", build},
        {"out/tokenizer", "../outside", build},
        {"out", "outside", "gifqa-export run -o out"},
    };
    enum { N = sizeof links / sizeof *links };
    long refused = 0;
    (void)state;
    need_rig();

    for (int i = 0; i < N; i++) {
        rig_remove("out");
        plant_secret();
        if (strchr(links[i].at, '/'))
            assert_int_equal(mkdir(rig_path("out"), 0777), 0);
        assert_int_equal(symlink(links[i].to, rig_path("%s", links[i].at)), 0);
        int code = rig_run(NULL, "%s", links[i].command);
        if (code < 0 || code == 1)
            fail_msg("%s: exit %d: %s", links[i].at, code, rig_text("child.err"));
        check_outside(links[i].at);
        refused += code != 0;
    }
    char note[64];
    snprintf(note, sizeof note, "0 escapes; %ld refused, the others replaced", refused);
    rig_report(&(rig_result){.rig = "R13", .what = "links in the place of files to be written",
                             .injected = N, .survived = N, .note = note});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_in_tables),
        cmocka_unit_test(names_in_json),
        cmocka_unit_test(names_in_manifests),
        cmocka_unit_test(planted_links),
    };
    return cmocka_run_group_tests_name("faults/paths", tests, rig_begin, rig_done);
}
