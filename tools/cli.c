#include "tools/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/text.h"
#include "data/jsonfile.h"

enum { USAGE = 2, DISK = 6 };         /* exit codes */

/* ---- the beginning and the end ----------------------------------------------------------------------- */

void gq_cli_begin(void)
{
    /* an unopened 0, 1 or 2 would be taken by the next file and overwritten by a message */
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd ? O_WRONLY : O_RDONLY) != fd)
            _exit(DISK);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);           /* a file size limit is an error of write(2), not a death */
}

int gq_cli_end(const char *program, int code)
{
    bool failed = ferror(stdout);
    int  reason = errno;

    if (fflush(stdout) != 0) {
        failed = true;
        reason = errno;
    }
    if (fclose(stdout) != 0 && !failed) {
        failed = true;
        reason = errno;
    }
    if (!failed || reason == EPIPE)
        return code;
    fprintf(stderr, "%s: cannot write to standard output: %s\n", program, strerror(reason));
    return code == 0 ? DISK : code;
}

/* ---- asked to stop ------------------------------------------------------------------------------------- */

volatile sig_atomic_t gq_cli_stop;
static const char    *announcement;

static void on_signal(int number)
{
    int     reason = errno;
    ssize_t done;

    if (gq_cli_stop)                    /* asked twice: end at once, what was saved is intact */
        _Exit(128 + number);
    gq_cli_stop = 1;
    done = write(STDERR_FILENO, announcement, strlen(announcement));
    (void)done;                         /* a stop that cannot be announced is a stop all the same */
    errno = reason;
}

void gq_cli_listen(const char *announce)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, was;

    announcement = announce;
    sigemptyset(&a.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i] != SIGHUP || sigaction(SIGHUP, NULL, &was) != 0 || was.sa_handler != SIG_IGN)
            sigaction(numbers[i], &a, NULL);
}

void gq_cli_rung(gq_cli_list *overrides)
{
    static char item[64];
    const char *rung = getenv("GIFQA_CPU");
    if (!rung || !*rung || overrides->n == GQ_CLI_LIST_MAX)
        return;
    snprintf(item, sizeof item, "engine.cpu=%s", rung);
    overrides->item[overrides->n++] = item;
}

void gq_cli_device(gq_cli_list *overrides, const char *device)
{
    static char item[64];
    if (!device || overrides->n == GQ_CLI_LIST_MAX)
        return;
    snprintf(item, sizeof item, "engine.device=%s", device);
    overrides->item[overrides->n++] = item;
}

bool gq_cli_tty(FILE *f)
{
    const char *term = getenv("TERM");
    return isatty(fileno(f)) && term && *term && strcmp(term, "dumb") != 0;
}

bool gq_cli_color(FILE *f)
{
    const char *no = getenv("NO_COLOR");
    return gq_cli_tty(f) && !(no && *no);
}

/* ---- messages ------------------------------------------------------------------------------------------ */

/* "program: text" on stderr, every further line indented; control characters escaped */
static void message(const char *program, const char *word, const char *text)
{
    bool color = *word && gq_cli_color(stderr);

    fprintf(stderr, "%s: %s%s%s", program, color ? "\033[31m" : "", word, color ? "\033[0m" : "");
    for (;;) {
        size_t n = strcspn(text, "\n");
        char   buf[4 * sizeof((gq_error *)0)->text];
        fprintf(stderr, "%s\n", gq_printable(text, n, buf, sizeof buf));
        text += n;
        if (!*text++)
            return;
        fprintf(stderr, "  ");
    }
}

int gq_cli_fail(const char *program, const gq_error *err, bool json)
{
    int         code = gq_exit_code(err->code);
    const char *text = *err->text ? err->text : gq_status_text(err->code);

    if (code == 0)
        return 0;
    message(program, "", text);
    if (json) {
        gq_json_watch();
        json_t *o =
            json_pack("{s:b, s:i, s:o}", "ok", 0, "exit", code, "error", gq_cli_string(text));
        gq_cli_json(o, NULL);
    }
    return code;
}

int gq_cli_usage(const char *program, const char *fmt, ...)
{
    char    text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    message(program, "", text);
    fprintf(stderr, "%s --help shows the options\n", program);
    return USAGE;
}

void gq_cli_warn(const char *program, const char *fmt, ...)
{
    char    text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    message(program, "warning: ", text);
}

json_t *gq_cli_string(const char *text)
{
    size_t  n = strlen(text), room = 4 * n + 8;
    json_t *s = json_stringn(text, n);             /* NULL when it is not UTF-8 */
    char   *safe;

    if (s)
        return s;
    safe = gq_malloc(room, 1);
    if (!safe)
        return NULL;
    s = json_string(gq_printable(text, n, safe, room));
    gq_free(safe);
    return s;
}

gq_status gq_cli_json(json_t *object, gq_error *err)
{
    char *text;

    object = gq_json_whole(object);
    text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;

    json_decref(object);
    if (!text)
        return gq_fail(err, GQ_ENOMEM,
                       "cannot write the result as JSON: out of memory, or a number is not finite");
    fputs(text, stdout);                /* a failed write is found by gq_cli_end() */
    fputc('\n', stdout);
    free(text);
    return GQ_OK;
}

void gq_cli_show(FILE *f, const char *text)
{
    size_t n = strlen(text);

    if (!isatty(fileno(f))) {
        fputs(text, f);
        return;
    }
    for (size_t at = 0, step; at < n; at += step) {
        uint32_t code;
        char     buf[24];
        step = gq_utf8_next(text + at, n - at, &code);
        step = step ? step : 1;
        fputs(gq_printable(text + at, step, buf, sizeof buf), f);
    }
}

/* ---- help ------------------------------------------------------------------------------------------------- */

static void print_lines(const char *indent, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        printf("%s%.*s\n", indent, (int)n, text);
        text += n + (text[n] == '\n');
    }
}

/* "-k, --frames N" */
static int spell(const gq_cli_option *o, char *out, size_t size)
{
    char alias[8] = "";
    if (o->alias)
        snprintf(alias, sizeof alias, "-%c, ", o->alias);
    return snprintf(out, size, "%s--%s%s%s", alias, o->name, o->arg ? " " : "",
                    o->arg ? o->arg : "");
}

static void help(const gq_cli_program *p)
{
    static const char both[] = "--help, --version";
    int               width = sizeof both - 1;

    printf("%s: %s\n\nExamples:\n", p->name, p->summary);
    print_lines("  ", p->examples);
    printf("\nUsage: %s %s\n", p->name, p->usage);
    for (size_t i = 0; i < p->n_options; i++) {
        char buf[128];
        int  n = p->options[i].help ? spell(&p->options[i], buf, sizeof buf) : 0;
        width = n > width ? n : width;
    }
    for (size_t i = 0; i < p->n_options; i++) {
        char buf[128];
        if (!p->options[i].help)
            continue;
        spell(&p->options[i], buf, sizeof buf);
        printf("  %-*s  %s\n", width, buf, p->options[i].help);
    }
    printf("  %-*s  %s\n", width, both, "this text; the version");
    if (p->notes)
        print_lines("", p->notes);
}

/* --help and --version, which every program has */
static bool common(const gq_cli_program *p, const char *arg)
{
    if (!strcmp(arg, "--help") || !strcmp(arg, "-h"))
        help(p);
    else if (!strcmp(arg, "--version"))
        printf("%.*s %s\n", (int)strcspn(p->name, " "), p->name, GIFQA_VERSION);
    else
        return false;
    return true;
}

/* ---- options ------------------------------------------------------------------------------------------------ */

static int unknown(const gq_cli_program *p, const char *arg, size_t len)
{
    char        word[GQ_WORD_MAX + 1], buf[100];
    const char *nearest = NULL;
    size_t      least = SIZE_MAX;

    snprintf(word, sizeof word, "%.*s", (int)(len < GQ_WORD_MAX ? len : GQ_WORD_MAX), arg);
    for (size_t i = 0; i < p->n_options; i++) {
        size_t d = gq_edit_distance(word + strspn(word, "-"), p->options[i].name);
        if (d < least) {
            least = d;
            nearest = p->options[i].name;
        }
    }
    if (!nearest || !gq_edit_close(word + strspn(word, "-"), least))
        return gq_cli_usage(p->name, "unknown option '%s'",
                            gq_printable(arg, len, buf, sizeof buf));
    return gq_cli_usage(p->name, "unknown option '%s'; did you mean '--%s'?",
                        gq_printable(arg, len, buf, sizeof buf), nearest);
}

static bool in_range(const gq_cli_option *o, double v)
{
    return (o->lo == 0 && o->hi == 0) || (v >= o->lo && v <= o->hi);
}

static int set_number(const gq_cli_program *p, const gq_cli_option *o, const char *value)
{
    char  *end;
    char   buf[72];
    double real;

    errno = 0;
    if (o->type == GQ_CLI_INT) {
        long long v = strtoll(value, &end, 10);
        real = (double)v;
        if (!errno && end != value && !*end && in_range(o, real)) {
            *(int64_t *)o->to = v;
            return GQ_CLI_GO;
        }
    } else {
        real = strtod(value, &end);
        if (end != value && !*end && isfinite(real) && in_range(o, real)) {
            *(double *)o->to = real;
            return GQ_CLI_GO;
        }
    }
    gq_printable(value, strlen(value), buf, sizeof buf);
    if (o->lo == 0 && o->hi == 0)
        return gq_cli_usage(p->name, "--%s: '%s' is not %s", o->name, buf,
                            o->type == GQ_CLI_INT ? "an integer" : "a number");
    return gq_cli_usage(p->name, "--%s: '%s' is not %s from %.10g to %.10g", o->name, buf,
                        o->type == GQ_CLI_INT ? "an integer" : "a number", o->lo, o->hi);
}

static int set_option(const gq_cli_program *p, const gq_cli_option *o, const char *value)
{
    switch (o->type) {
    case GQ_CLI_FLAG:
        *(bool *)o->to = true;
        return GQ_CLI_GO;
    case GQ_CLI_TEXT:
        *(const char **)o->to = value;
        return GQ_CLI_GO;
    case GQ_CLI_LIST: {
        gq_cli_list *list = o->to;
        if (list->n == GQ_CLI_LIST_MAX)
            return gq_cli_usage(p->name, "--%s is given more than %d times", o->name,
                                GQ_CLI_LIST_MAX);
        list->item[list->n++] = value;
        return GQ_CLI_GO;
    }
    default:
        return set_number(p, o, value);
    }
}

/* One argument that starts with a dash; *at moves on when the value is the next argument. */
static int take_option(const gq_cli_program *p, int argc, char **argv, int *at)
{
    const char *arg = argv[*at];
    bool        is_long = arg[1] == '-';
    size_t      len = is_long ? strcspn(arg, "=") : 2;
    const char *value = arg[len] ? arg + len + is_long : NULL;      /* --k=3, -k3 */

    for (size_t i = 0; i < p->n_options; i++) {
        const gq_cli_option *o = &p->options[i];
        if (is_long ? strlen(o->name) != len - 2 || memcmp(o->name, arg + 2, len - 2) != 0
                    : o->alias != arg[1])
            continue;
        if (o->type == GQ_CLI_FLAG)
            return value ? gq_cli_usage(p->name, "--%s takes no value", o->name)
                         : set_option(p, o, NULL);
        if (!value && *at + 1 == argc)
            return gq_cli_usage(p->name, "--%s needs a value: --%s %s", o->name, o->name, o->arg);
        return set_option(p, o, value ? value : argv[++*at]);
    }
    return unknown(p, arg, is_long ? len : strlen(arg));
}

int gq_cli_parse(const gq_cli_program *p, int argc, char **argv, gq_cli_list *positional)
{
    bool options = true;

    gq_json_watch();                             /* until gq_cli_json() */
    positional->n = 0;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (options && !strcmp(arg, "--")) {
            options = false;
        } else if (options && common(p, arg)) {
            return 0;
        } else if (options && arg[0] == '-' && arg[1]) {
            int code = take_option(p, argc, argv, &i);
            if (code != GQ_CLI_GO)
                return code;
        } else if (positional->n == p->most || positional->n == GQ_CLI_LIST_MAX) {
            char buf[72];
            return gq_cli_usage(p->name, "one argument too many: '%s'; usage: %s %s",
                                gq_printable(arg, strlen(arg), buf, sizeof buf), p->name, p->usage);
        } else {
            positional->item[positional->n++] = arg;
        }
    }
    if (positional->n < p->least)
        return gq_cli_usage(p->name, "%s: usage: %s %s",
                            positional->n ? "an argument is missing" : "arguments are missing",
                            p->name, p->usage);
    return GQ_CLI_GO;
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

int gq_cli_dispatch(const gq_cli_program *p, const gq_cli_command *commands, size_t n, int argc,
                    char **argv)
{
    const char *nearest = NULL;
    size_t      least = SIZE_MAX;
    char        buf[72];

    if (argc < 2)
        return gq_cli_usage(p->name, "a command is missing");
    if (argv[1][0] == '-') {
        if (!common(p, argv[1]))
            return unknown(p, argv[1], strlen(argv[1]));
        if (strcmp(argv[1], "--version") != 0) {
            printf("Commands (each has its own --help):\n");
            for (size_t i = 0; i < n; i++)
                printf("  %-10s %s\n", commands[i].name, commands[i].summary);
        }
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        size_t d = gq_edit_distance(argv[1], commands[i].name);
        if (d == 0)
            return commands[i].run(argc - 1, argv + 1);
        if (d < least) {
            least = d;
            nearest = commands[i].name;
        }
    }
    gq_printable(argv[1], strlen(argv[1]), buf, sizeof buf);
    if (nearest && gq_edit_close(argv[1], least))
        return gq_cli_usage(p->name, "unknown command '%s'; did you mean '%s'?", buf, nearest);
    return gq_cli_usage(p->name, "unknown command '%s'", buf);
}
