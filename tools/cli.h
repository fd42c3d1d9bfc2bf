/* cli.h - what all programs share: options, help within a screen, messages, and an honest end of stdout.
 *
 * Invariants: results go to stdout, everything else to stderr; with --json the last line of stdout is one object, also
 * for failures. Exit codes are those of core/status.h. Option values and positional arguments point into argv. Text
 * that comes from files or strangers reaches a terminal only with its control characters escaped. A program is
 *
 *     int main(int argc, char **argv)
 *     {
 *         gq_cli_begin();
 *         int code = gq_cli_parse(&program, argc, argv, &rest);
 *         if (code == GQ_CLI_GO) code = run(...);
 *         return gq_cli_end(program.name, code);
 *     }
 */
#ifndef GIFQA_TOOLS_CLI_H
#define GIFQA_TOOLS_CLI_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/status.h"

enum { GQ_CLI_GO = -1, GQ_CLI_LIST_MAX = 128 };

typedef enum gq_cli_type {
    GQ_CLI_FLAG,                        /* bool *                                                 */
    GQ_CLI_TEXT,                        /* const char **                                          */
    GQ_CLI_INT,                         /* int64_t *, lo..hi unless both are 0                    */
    GQ_CLI_REAL,                        /* double *, lo..hi unless both are 0                     */
    GQ_CLI_LIST,                        /* gq_cli_list *, may be repeated                         */
} gq_cli_type;

typedef struct gq_cli_list {
    size_t      n;                      /* values                                                 */
    const char *item[GQ_CLI_LIST_MAX];
} gq_cli_list;

typedef struct gq_cli_option {
    const char *name;                   /* without dashes                                         */
    char        alias;                  /* 'k' for -k; 0: none                                    */
    gq_cli_type type;
    void       *to;                     /* by type; keeps its value when the option is absent     */
    const char *arg;                    /* "N", "DIR"; NULL for a flag                            */
    const char *help;                   /* one short line; NULL: works but is not shown           */
    double      lo, hi;                 /* inclusive                                              */
} gq_cli_option;

typedef struct gq_cli_program {
    const char          *name;          /* "gifqa-ask" or "gifqa-prep build"                      */
    const char          *summary;       /* one line, no full stop                                 */
    const char          *usage;         /* "[options] RUN GIF QUESTION"                           */
    const char          *examples;      /* lines without indent, '\n' between them                */
    const gq_cli_option *options;
    size_t               n_options;
    size_t               least, most;   /* positional arguments                                   */
    const char          *notes;         /* last lines of the help; NULL: none                     */
} gq_cli_program;

/* First call of main: closed standard descriptors become /dev/null, a closed pipe an error and not a signal. */
void gq_cli_begin(void);
/* Reads argv[1..]. GQ_CLI_GO, or the exit code to end with: 0 after --help or --version, 2 after wrong usage. */
int  gq_cli_parse(const gq_cli_program *p, int argc, char **argv, gq_cli_list *positional);
/* Closes stdout; a failed write makes code 0 to 6 with a message, a reader who left early is no failure. */
int  gq_cli_end(const char *program, int code);

typedef struct gq_cli_command {
    const char *name;                   /* "build"                                                */
    const char *summary;                /* one short line                                         */
    int       (*run)(int argc, char **argv);     /* argv[0] is the command's name                 */
} gq_cli_command;
/* Runs the command that argv[1] names; --help lists them. Returns its code, or 2. Call between begin and end. */
int gq_cli_dispatch(const gq_cli_program *p, const gq_cli_command *commands, size_t n, int argc, char **argv);

/* Prints an error to stderr, with `json` also {"ok":false,"exit":N,"error":...} to stdout; returns the exit code. */
int  gq_cli_fail(const char *program, const gq_error *err, bool json);
/* Wrong usage found after parsing: message, hint at --help; returns 2. */
int  gq_cli_usage(const char *program, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void gq_cli_warn(const char *program, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One compact line on stdout; takes the object. GQ_ENOMEM when it is NULL or cannot be printed. */
gq_status gq_cli_json(json_t *object, gq_error *err);
/* A JSON string of any bytes: invalid UTF-8 and control characters are escaped. */
json_t *gq_cli_string(const char *text);
/* Text from a stranger: escaped when f is a terminal, as it is otherwise. */
void gq_cli_show(FILE *f, const char *text);

/* From now on SIGINT, SIGTERM, SIGHUP and SIGUSR1 ask the program to stop: the first sets
 * gq_cli_stop and writes `announce` to stderr, the next ends the process with 128 + its number. A
 * SIGHUP that was ignored (nohup) stays ignored. */
void gq_cli_listen(const char *announce);
extern volatile sig_atomic_t gq_cli_stop;

/* $GIFQA_CPU (scalar, avx2, avx512, avx512bf16) as one more override "engine.cpu=..." after the user's own, so that
 * tests can force a rung of the CPU kernels on any program. The list then holds static memory. */
void gq_cli_rung(gq_cli_list *overrides);

/* --device as one more override "engine.device=..."; NULL: none. The list then holds static memory. */
void gq_cli_device(gq_cli_list *overrides, const char *device);
#define GQ_CLI_DEVICE(to)                                                                          \
    {"device", 0, GQ_CLI_TEXT, &(to), "NAME", "auto, cpu, cuda, cuda:1 (default: engine.device)", 0, 0}

bool gq_cli_tty(FILE *f);               /* a terminal that understands carriage return            */
bool gq_cli_color(FILE *f);             /* a terminal, and NO_COLOR is not set                    */

#endif
