/* Options, help, messages and the end of stdout. Whole programs are played in child processes. */
#include "support.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "tools/cli.h"

static bool        flag;
static const char *text;
static int64_t     count;
static double      rate;
static gq_cli_list sets, rest;

static const gq_cli_option options[] = {
    {"json", 0, GQ_CLI_FLAG, &flag, NULL, "result as one JSON object", 0, 0},
    {"out", 'o', GQ_CLI_TEXT, &text, "FILE", "where the result goes", 0, 0},
    {"frames", 'k', GQ_CLI_INT, &count, "N", "frames to choose", 1, 100},
    {"rate", 0, GQ_CLI_REAL, &rate, "R", "a rate", 0, 0},
    {"set", 0, GQ_CLI_LIST, &sets, "KEY=VALUE", "change one key of the configuration", 0, 0},
    {"secret", 0, GQ_CLI_FLAG, &flag, NULL, NULL, 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-test",
    .summary = "a program for this test",
    .usage = "[options] RUN GIF",
    .examples = "gifqa-test runs/nano cat.gif\ngifqa-test -k 3 runs/nano cat.gif",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .least = 1,
    .most = 2,
    .notes = "Exit codes: 0 done, 2 usage.",
};

typedef struct child { int code; char out[8192], err[8192]; } child;

static void slurp(FILE *f, char *into, size_t size)
{
    size_t n;
    rewind(f);
    n = fread(into, 1, size - 1, f);
    into[n] = 0;
    fclose(f);
}

/* Runs `body` in a child with its own stdout (or `out_path`) and stderr. */
static child play(int (*body)(void *), void *ctx, const char *out_path)
{
    child  c = {0};
    FILE  *out = tmpfile(), *err = tmpfile();
    int    status;
    pid_t  pid;

    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = out_path ? open(out_path, O_WRONLY) : fileno(out);
        dup2(fd, 1);
        dup2(fileno(err), 2);
        _exit(body(ctx));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    c.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    slurp(out, c.out, sizeof c.out);
    slurp(err, c.err, sizeof c.err);
    return c;
}

static int parse_and_end(void *argv)
{
    char **v = argv;
    int    n = 0, code;
    while (v[n])
        n++;
    code = gq_cli_parse(&program, n, v, &rest);
    return gq_cli_end(program.name, code == GQ_CLI_GO ? 100 : code);
}

#define PLAY(...) play(parse_and_end, (char *[]){"gifqa-test", __VA_ARGS__, NULL}, NULL)

static int here(char **argv)
{
    int n = 0;
    flag = false;
    text = NULL;
    count = -1;
    rate = -1;
    sets.n = 0;
    while (argv[n])
        n++;
    return gq_cli_parse(&program, n, argv, &rest);
}
#define HERE(...) here((char *[]){"gifqa-test", __VA_ARGS__, NULL})

static void options_are_read(void **state)
{
    (void)state;
    assert_int_equal(HERE("--json", "-o", "x.png", "--frames=7", "run", "--set", "a=b", "--rate",
                          "-2.5", "--set=c=d=e"),
                     GQ_CLI_GO);
    assert_true(flag);
    assert_string_equal(text, "x.png");
    assert_int_equal(count, 7);
    assert_true(rate == -2.5);
    assert_int_equal(sets.n, 2);
    assert_string_equal(sets.item[0], "a=b");
    assert_string_equal(sets.item[1], "c=d=e");
    assert_int_equal(rest.n, 1);
    assert_int_equal(HERE("-k3", "--out=", "--", "--json", "-"), GQ_CLI_GO);
    assert_int_equal(count, 3);
    assert_string_equal(text, "");
    assert_false(flag);
    assert_int_equal(rest.n, 2);
    assert_string_equal(rest.item[0], "--json");
    assert_string_equal(rest.item[1], "-");
    assert_int_equal(HERE("-", "--frames", "1", "--frames", "2"),
                     GQ_CLI_GO); /* the last one counts */
    assert_int_equal(count, 2);
}

static void wrong_usage_is_2(void **state)
{
    static const struct { const char *arg[4]; const char *needle; } bad[] = {
        {{"--fraems", "3"}, "unknown option '--fraems'; did you mean '--frames'?"},
        {{"--frame=3"}, "did you mean '--frames'?"},
        {{"--zzzzzzz"}, "unknown option '--zzzzzzz'\n"},
        {{"-x"}, "unknown option '-x'"},
        {{"--a\x1b[2J"}, "unknown option '--a\\x1b[2J'"},
        {{"--frames"}, "--frames needs a value: --frames N"},
        {{"--frames", "0", "r"}, "'0' is not an integer from 1 to 100"},
        {{"--frames", "3x", "r"}, "'3x' is not an integer"},
        {{"--frames", "99999999999999999999", "r"}, "is not an integer"},
        {{"--rate", "nan", "r"}, "'nan' is not a number"},
        {{"--rate=", "r"}, "'' is not a number"},
        {{"--json=1", "r"}, "--json takes no value"},
        {{"--json"}, "arguments are missing: usage: gifqa-test [options] RUN GIF"},
        {{"a", "b", "c"}, "one argument too many: 'c'"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *argv[6] = {"gifqa-test"};
        for (int j = 0; j < 4; j++)
            argv[j + 1] = (char *)(uintptr_t)bad[i].arg[j];
        child c = play(parse_and_end, argv, NULL);
        if (c.code != 2 || *c.out || !strstr(c.err, bad[i].needle) ||
            !strstr(c.err, "gifqa-test --help"))
            fail_msg("case %zu: exit %d, '%s'", i, c.code, c.err);
    }
}

static void help_fits_a_screen(void **state)
{
    child c = PLAY("run", "--help", "--nonsense");
    int   lines = 0;
    (void)state;
    assert_int_equal(c.code, 0);
    assert_string_equal(c.err, "");
    for (char *p = c.out; *p; p++)
        lines += *p == '\n';
    assert_true(lines <= 24);
    assert_non_null(strstr(c.out, "Examples:\n  gifqa-test runs/nano cat.gif\n  gifqa-test -k 3"));
    assert_true(strstr(c.out, "Examples:") < strstr(c.out, "Usage: gifqa-test [options] RUN GIF"));
    assert_non_null(strstr(c.out, "  -k, --frames N     frames to choose\n"));
    assert_null(strstr(c.out, "secret"));
    c = PLAY("--version");
    assert_int_equal(c.code, 0);
    assert_string_equal(c.out, "gifqa-test " GIFQA_VERSION "\n");
}

static int command_ok(int argc, char **argv)
{
    printf("%s %d\n", argv[0], argc);
    return 0;
}

static int dispatching(void *argv)
{
    static const gq_cli_command commands[] = {{"build", "makes shards", command_ok},
                                              {"verify", "checks them", command_ok}};
    char **v = argv;
    int    n = 0;
    while (v[n])
        n++;
    return gq_cli_end(program.name, gq_cli_dispatch(&program, commands, 2, n, v));
}

static void commands(void **state)
{
    child c = play(dispatching, (char *[]){"p", "build", "x", NULL}, NULL);
    (void)state;
    assert_int_equal(c.code, 0);
    assert_string_equal(c.out, "build 2\n");
    c = play(dispatching, (char *[]){"p", "biuld", NULL}, NULL);
    assert_int_equal(c.code, 2);
    assert_non_null(strstr(c.err, "unknown command 'biuld'; did you mean 'build'?"));
    c = play(dispatching, (char *[]){"p", NULL}, NULL);
    assert_int_equal(c.code, 2);
    c = play(dispatching, (char *[]){"p", "--halp", NULL}, NULL);
    assert_int_equal(c.code, 2);
    c = play(dispatching, (char *[]){"p", "--help", NULL}, NULL);
    assert_int_equal(c.code, 0);
    assert_non_null(strstr(c.out, "  verify     checks them\n"));
}

static int failing(void *ctx)
{
    gq_error err = {.code = *(gq_status *)ctx};
    snprintf(err.text, sizeof err.text, "a\x1b[31m.yaml:1:2: \"bad\"\nsecond \xff line");
    return gq_cli_end("p", gq_cli_fail("p", &err, true));
}

static void failures_speak_twice(void **state)
{
    static const struct { gq_status status; int code;
    } codes[] = {{GQ_EBUG, 1},     {GQ_EUSAGE, 2}, {GQ_ECONFIG, 3},  {GQ_EINPUT, 4},
                 {GQ_EWEIGHTS, 5}, {GQ_ENOMEM, 6}, {GQ_EDISK, 6},    {GQ_ENUMERIC, 7},
                 {GQ_ERANK, 8},    {GQ_EBUSY, 9},  {GQ_ESTOPPED, 75}};
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        gq_status s = codes[i].status;
        child     c = play(failing, &s, NULL);
        assert_int_equal(c.code, codes[i].code);
        assert_string_equal(c.err, "p: a\\x1b[31m.yaml:1:2: \"bad\"\n  second \\xff line\n");
        json_t *o = json_loads(c.out, 0, NULL);
        assert_non_null(o);
        assert_int_equal(json_integer_value(json_object_get(o, "exit")), codes[i].code);
        assert_true(json_is_false(json_object_get(o, "ok")));
        assert_non_null(
            strstr(json_string_value(json_object_get(o, "error")), "second \\xff line"));
        json_decref(o);
    }
}

static int writing(void *bytes)
{
    gq_cli_begin();
    for (size_t i = 0; i < *(size_t *)bytes; i++)
        putchar('x');
    return gq_cli_end("p", 0);
}

static void full_disk_is_6(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 1000000; n *= 1000) {      /* found at the close, found while writing */
        child c = play(writing, &n, "/dev/full");
        assert_int_equal(c.code, 6);
        assert_string_equal(c.err, "p: cannot write to standard output: No space left on device\n");
    }
    size_t none = 0;
    assert_int_equal(play(writing, &none, "/dev/full").code, 0);
}

static int into_closed_pipe(void *bytes)
{
    int fd[2];
    if (pipe(fd) != 0)
        return 99;
    close(fd[0]);
    dup2(fd[1], 1);
    return writing(bytes);
}

static void closed_pipe_is_quiet(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 1000000; n *= 1000) {
        child c = play(into_closed_pipe, &n, NULL);
        assert_int_equal(c.code, 0);
        assert_string_equal(c.err, "");
    }
}

/* With stdout closed, the first file a program opens must not become its stdout. */
static int without_stdout(void *path)
{
    int fd;
    close(0);
    close(1);
    gq_cli_begin();
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd <= 2)
        return 99;
    printf("into nothing\n");
    return gq_cli_end("p", 0);
}

static void closed_stdio(void **state)
{
    char  path[] = "/tmp/gifqa-cli-XXXXXX", left[8];
    int   fd = mkstemp(path);
    child c = play(without_stdout, path, NULL);
    (void)state;
    assert_int_equal(c.code, 0);
    assert_int_equal(read(fd, left, sizeof left), 0);
    close(fd);
    unlink(path);
}

static void terminals(void **state)
{
    int   master = posix_openpt(O_RDWR | O_NOCTTY);
    FILE *f;
    char  seen[200] = "";
    (void)state;
    if (master < 0 || grantpt(master) || unlockpt(master) || !(f = fopen(ptsname(master), "w"))) {
        print_message("skipped: no pseudo-terminal here\n");
        skip();
    }
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    assert_true(gq_cli_tty(f) && gq_cli_color(f));
    setenv("NO_COLOR", "", 1);
    assert_true(gq_cli_color(f));
    setenv("NO_COLOR", "1", 1);
    assert_true(gq_cli_tty(f) && !gq_cli_color(f));
    setenv("TERM", "dumb", 1);
    assert_false(gq_cli_tty(f));
    gq_cli_show(f, "cat \x1b]0;pwned\x07 \xe2\x80\xae caf\xc3\xa9 \xff");
    fflush(f);
    assert_true(read(master, seen, sizeof seen - 1) > 0);
    assert_string_equal(seen, "cat \\x1b]0;pwned\\x07 \\xe2\\x80\\xae caf\xc3\xa9 \\xff");
    fclose(f);
    close(master);
    f = tmpfile();
    assert_false(gq_cli_tty(f));
    gq_cli_show(f, "\x1b[1m\n");
    slurp(f, seen, sizeof seen);
    assert_string_equal(seen, "\x1b[1m\n");
}

static int printing_json(void *ctx)
{
    gq_error  err = {0};
    gq_status s =
        gq_cli_json(ctx ? json_pack("{s:f, s:o}", "x", 0.1, "s", gq_cli_string(ctx)) : NULL, &err);
    return gq_cli_end("p", gq_exit_code(s));
}

static void json_results(void **state)
{
    child c = play(printing_json, "a\nb", NULL);
    (void)state;
    assert_int_equal(c.code, 0);
    assert_string_equal(c.out, "{\"x\":0.10000000000000001,\"s\":\"a\\nb\"}\n");
    assert_int_equal(play(printing_json, NULL, NULL).code, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_read),
        cmocka_unit_test(wrong_usage_is_2),
        cmocka_unit_test(help_fits_a_screen),
        cmocka_unit_test(commands),
        cmocka_unit_test(failures_speak_twice),
        cmocka_unit_test(full_disk_is_6),
        cmocka_unit_test(closed_pipe_is_quiet),
        cmocka_unit_test(closed_stdio),
        cmocka_unit_test(terminals),
        cmocka_unit_test(json_results),
    };
    return cmocka_run_group_tests_name("tools/cli", tests, NULL, NULL);
}
