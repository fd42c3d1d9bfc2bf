/* gifqa-ask, gifqa-eval and gifqa-export as a user meets them: output, JSON, exit codes. */
#include <jansson.h>
#include <sys/wait.h>

#include "core/mem.h"
#include "data/table.h"
#include "little.h"
#include "train/benchmark.h"

static char out[1 << 18], errors[1 << 14]; /* of the last program */

static void slurp(const char *path, char *to, size_t room)
{
    gq_bytes b;
    gq_error err = {0};
    assert_ok(gq_read_file(path, room - 1, &b, &err), &err);
    memcpy(to, b.data, b.size + 1);
    gq_bytes_free(&b);
}

/* Runs "gifqa-<args>" in the scratch directory; returns its exit code. */
static int program(const char *args)
{
    char command[2048];
    int  status;

    snprintf(command, sizeof command,
             "cd %s && XDG_CACHE_HOME=$PWD/cache %s/gifqa-%s >%s/out 2>%s/err", little_dir,
             GQ_BIN_DIR, args, little_dir, little_dir);
    status = system(command);
    assert_true(WIFEXITED(status));
    slurp(little("out"), out, sizeof out);
    slurp(little("err"), errors, sizeof errors);
    return WEXITSTATUS(status);
}

static void expect(const char *args, int code, const char *needle)
{
    int got = program(args);
    if (got != code || !strstr(code ? errors : out, needle))
        fail_msg("gifqa-%s: exit %d, want %d; '%s' is not in:\n%s%s", args, got, code, needle, out,
                 errors);
}

/* The object on the last line of stdout; the caller's. */
static json_t *object(const char *args, int code)
{
    char *end, *line;
    int   got = program(args);

    if (got != code)
        fail_msg("gifqa-%s: exit %d, want %d:\n%s%s", args, got, code, out, errors);
    end = strrchr(out, '\n');
    assert_non_null(end);
    *end = 0;
    line = strrchr(out, '\n');
    json_t *o = json_loads(line ? line + 1 : out, 0, NULL);
    if (!json_is_object(o))
        fail_msg("gifqa-%s: no object on the last line: %s", args, line ? line + 1 : out);
    assert_int_equal(json_is_true(json_object_get(o, "ok")), code == 0);
    return o;
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

/* ---- ask ------------------------------------------------------------------------------------- */

static void asking(void **state)
{
    json_t  *o;
    gq_bytes b;
    gq_error err = {0};
    (void)state;

    expect("ask run world/gif/test-000000.gif 'where is the circle?'", 0, "confidence  0.");
    expect("ask run world/gif/test-000000.gif 'where is the circle?' --evenly", 0,
           "frames      1 4 6  of 8, evenly");
    o = object("ask run world/gif/test-000000.gif 'where is the circle?' --json --beams 2", 0);
    assert_true(number(o, "confidence") > 0 && number(o, "confidence") <= 1);
    assert_int_equal(json_array_size(json_object_get(o, "frames")), 3);
    assert_int_equal(json_array_size(json_object_get(o, "distances")), 3);
    assert_string_equal(json_string_value(json_object_get(o, "chosen_by")), "clipcut");
    assert_true(number(json_object_get(o, "seconds"), "decode") > 0);
    json_decref(o);
    o = object("ask run world/gif/test-000000.gif 'where is the circle?' --json --mode mix --apart 2 "
               "--description 'a circle'", 0);
    assert_string_equal(json_string_value(json_object_get(json_object_get(o, "clipcut"), "mode")),
                        "mix");
    assert_true(number(json_object_get(o, "clipcut"), "apart") == 2);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(o, "clipcut"), "description")),
        "a circle");
    json_decref(o);
    expect("ask run world/gif/test-000000.gif 'where is the circle?' --mode uniform", 0,
           "frames      1 4 6  of 8, evenly spread (CLIP-Cut)");
    expect("ask run world/gif/test-000000.gif 'where?' --weights random:1 --vocabulary world "
           "--mode uniform", 0, "frames      1 4 6  of 8, evenly spread (CLIP-Cut)");
    expect("ask run world/gif/test-000000.gif 'where?' --evenly --mode mix", 2, "--evenly");
    expect("ask run world/gif/test-000000.gif 'where?' --mode best", 2, "'best'");
    expect("ask run world/gif/test-000000.gif 'where?' --set clip.text=false --description x", 2,
           "taken evenly here");
    assert_ok(gq_read_file(little("world/gif/test-000000.gif"), 1 << 20, &b, &err), &err);
    assert_ok(gq_write_file(little("short.gif"), b.data, 30, &err), &err);
    gq_bytes_free(&b);
    expect("ask run short.gif 'where?'", 4, "short.gif");
    expect("ask run nothing.gif 'where?'", 4, "nothing.gif");
    expect("ask nothing world/gif/test-000000.gif 'where?'", 5,
           "nothing: there is no such directory");
    expect("ask run world/gif/test-000000.gif 'where?' --weights random:1 --evenly", 0,
           "confidence");
    expect("ask run world/gif/test-000000.gif 'where?' --weights nothing", 5,
           "nothing: there is no such CLIP");
    expect("ask run world/gif/test-000000.gif ' '", 2, "the question is empty");
    expect("ask run world/gif/test-000000.gif where is it", 2, "put the question in quotes");
    expect("ask run world/gif 'where?'", 4, "world/gif: is a directory");
    expect("ask world/gif/test-000000.gif run 'where?'", 4, "RUN comes first");
    expect("ask . world/gif/test-000000.gif 'where?'", 5, "did you mean ./run?");
    expect("ask run world/gif/test-000000.gif", 2, "an argument is missing");
    expect("ask run x.gif where --beam 2", 2, "--beams");
    expect("ask run world/gif/test-000000.gif 'where?' --set decode.beems=2", 3, "decode.beams");
    o = object("ask run short.gif 'where?' --json", 4);
    assert_non_null(strstr(json_string_value(json_object_get(o, "error")), "short.gif"));
    json_decref(o);
}

/* The second question about a GIF does not look at its frames; the answers are the same. */
static void asking_again(void **state)
{
    static const struct {
        const char *options, *origin;
    } cases[] = {{"--no-cache", "computed"}, {"--cache seen", "computed"}, {"--cache seen", "disk"},
                 {"--cache seen --threads 2", "disk"}};
    static const char *const same[] = {"answer", "confidence", "frames", "distances", "tokens"};
    json_t *first = NULL, *o;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char command[256];
        snprintf(command, sizeof command,
                 "ask run world/gif/test-000001.gif 'where is the square?' --json %s",
                 cases[i].options);
        o = object(command, 0);
        assert_string_equal(json_string_value(json_object_get(o, "embeddings")), cases[i].origin);
        for (size_t k = 0; first && k < sizeof same / sizeof *same; k++)
            assert_true(json_equal(json_object_get(o, same[k]), json_object_get(first, same[k])));
        if (first)
            json_decref(o);
        else
            first = o;
    }
    json_decref(first);
    o = object("ask run world/gif/test-000001.gif 'where is the square?' --json --evenly", 0);
    assert_true(json_is_null(json_object_get(o, "embeddings")));
    json_decref(o);
}

/* ---- eval ------------------------------------------------------------------------------------ */

static void spoil_line(const char *from, const char *to, const char *what, const char *with)
{
    gq_bytes b;
    gq_error err = {0};
    char    *at;

    assert_ok(gq_read_file(little(from), 1 << 20, &b, &err), &err);
    at = strstr((char *)b.data, what);
    assert_non_null(at);
    memcpy(at, with, strlen(with));
    assert_ok(gq_write_file(little(to), b.data, b.size, &err), &err);
    gq_bytes_free(&b);
}

static void drop_line(const char *from, const char *to)
{
    gq_bytes b;
    gq_error err = {0};
    size_t   n;

    assert_ok(gq_read_file(little(from), 1 << 20, &b, &err), &err);
    n = strcspn((char *)b.data, "\n") + 1;
    assert_ok(gq_write_file(little(to), b.data + n, b.size - n, &err), &err);
    gq_bytes_free(&b);
}

/* Counts in the predictions what the table should say. */
static void count_right(const char *file, const char *view, int *right, int *all)
{
    static char text[1 << 18];
    char       *save = NULL;

    slurp(little(file), text, sizeof text);
    *right = *all = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t     *o = json_loads(line, 0, NULL);
        const char *v = json_string_value(json_object_get(o, "view"));
        if (v && strcmp(v, view) == 0) {
            (*all)++;
            *right += strcmp(json_string_value(json_object_get(o, "answer")),
                             json_string_value(json_object_get(o, "prediction"))) == 0;
        }
        json_decref(o);
    }
}

static double exact(const json_t *o, const char *table)
{
    const json_t *rows = json_object_get(json_object_get(o, "tables"), table);
    return json_number_value(
        json_array_get(json_object_get(json_array_get(rows, 0), "exact_match"), 0));
}

static void evaluating(void **state)
{
    json_t *o, *again;
    int     right, all;
    (void)state;

    o = object("eval run test --baselines -o p.jsonl --json", 0);
    assert_int_equal(number(o, "n"), LITTLE_TEST);
    assert_int_equal(json_object_size(json_object_get(o, "tables")), 5);
    count_right("p.jsonl", "other_gif", &right, &all);
    assert_int_equal(all, LITTLE_TEST);
    assert_true(exact(o, "other_gif") == (double)right / all);
    count_right("p.jsonl", "true", &right, &all);
    assert_true(number(o, "accuracy") == (double)right / all &&
                exact(o, "true") == (double)right / all);
    assert_true(number(o, "chance_all") > 0.1 && number(o, "chance_all") < 0.6);
    assert_true(number(o, "ppl") > 1 && json_string_value(json_object_get(o, "signature")) != NULL);
    expect("eval --verify p.jsonl", 0, "verified: every number");
    again = object("eval --verify p.jsonl --json", 0);
    assert_true(json_is_true(json_object_get(again, "verified")));
    assert_true(json_equal(json_object_get(o, "tables"), json_object_get(again, "tables")));
    json_decref(again);
    json_decref(o);
    drop_line("p.jsonl", "q.jsonl");
    expect("eval --verify q.jsonl", 4, "is not what the answers give");
    spoil_line("p.jsonl", "q.jsonl", "\"exact_match\":[0", "\"exact_match\":[1");
    expect("eval --verify q.jsonl", 4, "is not what the answers give");
    expect("eval --verify run/predictions.jsonl", 0, "the file has no summary");
    expect("eval run test --samples 5 --no-baselines", 0, "5 questions, greedy");
    assert_null(strstr(out, "majority"));
    expect(
        "eval run", 0,
        "second lines: 95 % bootstrap intervals, 1000 resamples"); /* data.val of the run */
    assert_non_null(strstr(out, "chance"));
}

/* The toy questions as if they were TGIF-QA's: every third is a choice of five, the right one
 * first, the others of a number are counts, else frameqa. `skip`: leaves the first row out. */
static void write_benchmark(const char *name, bool skip)
{
    gq_table *t;
    gq_row    row;
    gq_error  err = {0};
    gq_file  *f;
    int       n = 0;

    assert_ok(gq_table_open(little("world/test.tsv"), NULL, NULL, &t, &err), &err);
    assert_ok(gq_atomic_open(little(name), &f, &err), &err);
    assert_ok(gq_file_printf(f, &err, "gif\tquestion\tanswer\ttype\ta1\ta2\ta3\ta4\ta5\t"
                                      "choice\n"), &err);
    for (;; n++) {
        assert_ok(gq_table_next(t, &row, &err), &err);
        if (!row.gif)
            break;
        bool choice = n % 3 == 0, count = !choice && gq_bench_number(row.answer) >= 0;
        if (skip && !n)
            continue;
        assert_ok(gq_table_put(f, (const char *[]){row.gif, row.question, row.answer,
                                                   choice  ? "action"
                                                   : count ? "count"
                                                           : "frameqa-object",
                                                   choice ? row.answer : "", choice ? "<unk>" : "",
                                                   choice ? "<unk> <unk>" : "",
                                                   choice ? "<pad>" : "", choice ? "the" : "",
                                                   choice ? "0" : ""},
                               10, &err), &err);
    }
    assert_int_equal(n, LITTLE_TEST);
    gq_table_close(t);
    assert_ok(gq_atomic_commit(f, &err), &err);
}

static void benchmarking(void **state)
{
    json_t *o, *b, *model, *most;
    (void)state;

    write_benchmark("b.tsv", false);
    o = object("eval run test --no-baselines --benchmark b.tsv --json", 0);
    b = json_object_get(o, "benchmark");
    model = json_object_get(b, "model");
    assert_int_equal(number(json_object_get(model, "action"), "n"), LITTLE_TEST / 3);
    assert_int_equal(number(json_object_get(model, "frameqa"), "n") +
                         number(json_object_get(model, "count_raw"), "n"),
                     LITTLE_TEST - LITTLE_TEST / 3);
    /* the right one is always the first: the most frequent position is right */
    most = json_object_get(json_object_get(b, "most_frequent"), "action");
    assert_true(number(most, "value") == 1);
    assert_true(number(json_object_get(model, "action"), "value") <= 1);
    json_decref(o);
    expect("eval run test --no-baselines --benchmark b.tsv", 0,
           "choices: the likeliest as a whole");
    expect("eval run test --no-baselines --benchmark b.tsv --samples 2", 0,
           "answered: 2 of the table's 12 questions");
    expect("eval --benchmark b.tsv", 0, "action                  4         1.0000");
    o = object("eval --benchmark b.tsv --most-frequent b.tsv --json", 0);
    assert_null(json_object_get(json_object_get(o, "benchmark"), "model"));
    json_decref(o);
    write_benchmark("less.tsv", true);
    expect("eval run test --no-baselines --benchmark less.tsv", 4, "name the table that");
    expect("eval run test --most-frequent b.tsv", 2, "goes with --benchmark");
    expect("eval --verify p.jsonl --benchmark b.tsv", 2, "the file alone");
    expect("eval --benchmark world/test.tsv", 4, "test.tsv:2: choice is no number");
    expect("eval run test --benchmark nothing.tsv", 4, "nothing.tsv");
}

static void evaluation_refuses(void **state)
{
    (void)state;
    expect("eval run nothing", 4, "nothing");
    expect("eval nothing test", 5, "nothing: there is no such directory");
    expect("eval run test --train nothing", 4, "nothing");
    expect("eval run test --set data.frames=2", 3, "data.frames");
    expect("eval --verify nothing.jsonl", 4, "nothing.jsonl");
    expect("eval --verify world/words.txt", 4, "words.txt: line 1");
    expect("eval run test --verify p.jsonl", 2, "the file alone");
    expect("eval", 2, "missing");
    expect("eval run test --baselines --no-baselines", 2, "exclude");
    expect("eval run test -o /nowhere/p.jsonl", 6, "/nowhere/p.jsonl");
}

/* ---- export ---------------------------------------------------------------------------------- */

static void exporting(void **state)
{
    json_t *a, *b;
    (void)state;

    expect("export run -o e --numbers n.json", 0, "e: step ");
    expect("export run -o e", 2, "is not empty");
    expect("export nothing -o f", 5, "nothing: there is no such directory");
    expect("export run", 2, "-o DIR is needed");
    expect("export run -o f --best --last", 2, "exclude");
    expect("export run -o /dev/null/f", 6, "/dev/null");
    a = object("export run -o f --last --json", 0);
    assert_int_equal(number(a, "step"), LITTLE_STEPS);
    json_decref(a);
    a = object("eval run test --json --last", 0); /* the same model, the same numbers */
    b = object("eval f test --json --train train", 0);
    assert_true(json_equal(json_object_get(a, "tables"), json_object_get(b, "tables")));
    assert_true(number(a, "lm_loss") == number(b, "lm_loss"));
    json_decref(a);
    json_decref(b);
    expect("eval f test", 0, "exact");
    assert_non_null(strstr(errors, "--train")); /* an export knows no training data */
    expect("ask f world/gif/test-000000.gif 'where is the circle?'", 0, "CLIP-Cut");
}

static void help(void **state)
{
    static const char *const programs[] = {"ask", "eval", "export"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char text[64];
        int  lines = 0;
        snprintf(text, sizeof text, "%s --help", programs[i]);
        expect(text, 0, "Examples:");
        for (const char *c = out; *c; c++)
            lines += *c == '\n';
        assert_true(lines <= 24);
        snprintf(text, sizeof text, "%s --version", programs[i]);
        expect(text, 0, GIFQA_VERSION);
    }
}

/* $GIFQA_CPU reaches every program that computes, after the user's own overrides. */
static void forced_rung(void **state)
{
    (void)state;
    setenv("GIFQA_CPU", "abacus", 1);
    expect("ask run world/gif/test-000000.gif 'where?' --set engine.cpu=scalar", 3, "abacus");
    expect("eval run test --no-baselines", 3, "abacus");
    expect("export run -o rung --numbers n.json", 3, "abacus");
    setenv("GIFQA_CPU", "scalar", 1);
    expect("ask run world/gif/test-000000.gif 'where?' --beams 2", 0, "confidence");
    unsetenv("GIFQA_CPU");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asking),
        cmocka_unit_test(asking_again),
        cmocka_unit_test(evaluating),
        cmocka_unit_test(benchmarking),
        cmocka_unit_test(evaluation_refuses),
        cmocka_unit_test(exporting),
        cmocka_unit_test(forced_rung),
        cmocka_unit_test(help),
    };
    return cmocka_run_group_tests_name("tools/inference", tests, little_make, little_drop);
}
