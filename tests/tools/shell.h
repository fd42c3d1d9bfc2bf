/* shell.h - the programs as a user meets them: commands run by /bin/sh in a scratch directory, with
 * what they wrote and their exit code. One test program includes it once.
 *
 * GQ_BIN_DIR comes first in the PATH of the commands. shell.out and shell.err hold the beginning of
 * both outputs of the last command.
 */
#ifndef GIFQA_TESTS_TOOLS_SHELL_H
#define GIFQA_TESTS_TOOLS_SHELL_H

#include <jansson.h>
#include <sys/wait.h>

#include "core/io.h"
#include "core/mem.h"
#include "support.h"

static struct {
    char dir[64];                       /* scratch directory                                      */
    char out[1 << 18], err[1 << 16];
} shell;

static inline void shell_path(const char *name, char path[1024])
{
    snprintf(path, 1024, "%s/%s", shell.dir, name);
}

static inline void shell_slurp(const char *name, char *into, size_t size)
{
    char  path[1024];
    FILE *f;
    shell_path(name, path);
    f = fopen(path, "rb");
    assert_non_null(f);
    into[fread(into, 1, size - 1, f)] = 0;
    fclose(f);
}

static inline void shell_put(const char *name, const char *text)
{
    char     path[1024];
    gq_error err = {0};
    shell_path(name, path);
    assert_ok(gq_write_file(path, text, strlen(text), &err), &err);
}

/* The exit code; the shell's own 128 + N for a program that a signal ended. */
static inline int shell_run(const char *command)
{
    char text[4096];
    int  status;

    assert_true(snprintf(text, sizeof text, "cd %s && { %s\n} >.out 2>.err </dev/null", shell.dir,
                         command) < (int)sizeof text);
    status = system(text);
    assert_true(WIFEXITED(status));
    shell_slurp(".out", shell.out, sizeof shell.out);
    shell_slurp(".err", shell.err, sizeof shell.err);
    return WEXITSTATUS(status);
}

/* needles: what stdout and stderr hold; "" matches all, NULL demands that nothing is there. */
static inline void shell_expect(const char *command, int code, const char *in_out,
                                const char *in_err)
{
    int got = shell_run(command);
    if (got != code || (in_out ? !strstr(shell.out, in_out) : *shell.out) ||
        (in_err ? !strstr(shell.err, in_err) : *shell.err))
        fail_msg("%s: exit %d, want %d; want '%s' in:\n%s\nand '%s' in:\n%s", command, got, code,
                 in_out ? in_out : "(nothing)", shell.out, in_err ? in_err : "(nothing)",
                 shell.err);
}

/* The object on the last line of stdout; the caller's. */
static inline json_t *shell_json(void)
{
    char   *end = shell.out + strlen(shell.out), *start;
    json_t *o;

    if (end == shell.out || end[-1] != '\n')
        fail_msg("no line on stdout; stderr: %s", shell.err);
    end[-1] = 0;
    start = strrchr(shell.out, '\n');
    o = json_loads(start ? start + 1 : shell.out, 0, NULL);
    if (!o)
        fail_msg("not JSON: %s", start ? start + 1 : shell.out);
    return o;
}

static inline long long shell_int(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v))
        fail_msg("'%s' is no integer", key);
    return json_integer_value(v);
}

/* Help of a command: exit 0, examples first, at most 24 lines of at most 110 characters. */
static inline void shell_help(const char *command)
{
    char text[256];
    int  lines = 0;

    snprintf(text, sizeof text, "%s --help", command);
    shell_expect(text, 0, "\nExamples:\n", NULL);
    assert_true(strstr(shell.out, "Examples:") < strstr(shell.out, "Usage:"));
    for (char *line = shell.out, *end; (end = strchr(line, '\n')); line = end + 1) {
        lines++;
        if (end - line > 110)
            fail_msg("%s: a line of %d characters: %.*s", text, (int)(end - line),
                     (int)(end - line), line);
    }
    if (lines > 24)
        fail_msg("%s: %d lines", text, lines);
}

/* Group set-up and tear-down: scratch directory and PATH; without the program all tests skip. */
static bool shell_absent;

static inline int shell_begin(const char *program)
{
    char path[1024], *old = getenv("PATH");

    snprintf(path, sizeof path, "%s/%s", GQ_BIN_DIR, program);
    shell_absent = access(path, X_OK) != 0;
    if (shell_absent)
        print_message("skipped: %s is not built\n", path);
    snprintf(path, sizeof path, "%s:%s", GQ_BIN_DIR, old ? old : "/usr/bin:/bin");
    setenv("PATH", path, 1);
    snprintf(shell.dir, sizeof shell.dir, "%s", gq_scratch());
    return 0;
}

static inline int shell_end(void **state)
{
    (void)state;
    gq_remove_tree(shell.dir, NULL);
    return 0;
}

#define need_program() do { if (shell_absent) skip(); } while (0)

#endif
