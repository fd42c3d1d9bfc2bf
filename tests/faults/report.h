/* report.h - what a fault rig found: one line of JSON in $GIFQA_RIG_REPORT, one sentence on stdout.
 *
 * Two variables of the environment, read by test programs only:
 *   GIFQA_LONG=1           the long mode: the amounts that RELIABILITY.md publishes; unset: seconds
 *   GIFQA_RIG_REPORT=FILE  rig_report() appends its line there
 * Lines are flat objects with their keys in a fixed order, written by one write(2), so that test
 * programs beside each other can share the file and awk can read it.
 */
#ifndef GIFQA_TESTS_FAULTS_REPORT_H
#define GIFQA_TESTS_FAULTS_REPORT_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct rig_result {
    const char *rig;                    /* "R1", as the list of rigs in RELIABILITY.md has it     */
    const char *what;                   /* what was done, in a few words                          */
    long        injected;               /* faults that took place                                 */
    long        survived;               /* after which every promise held                         */
    long        failed;
    long        not_run;                /* planned, but not possible here                         */
    double      seconds;
    const char *command;                /* that repeats it; NULL: this program in this mode       */
    const char *note;                   /* NULL: none                                             */
} rig_result;

static inline bool rig_long(void)
{
    const char *v = getenv("GIFQA_LONG");
    return v && strcmp(v, "1") == 0;
}

/* Seconds of the monotonic clock, to be subtracted from each other. */
static inline double rig_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* `text` as a JSON string at the end of line[]; control characters become blanks. */
static inline void rig__string(char *line, size_t size, const char *text)
{
    size_t n = strlen(line);
    line[n++] = '"';
    for (; text && *text && n + 4 < size; text++) {
        if (*text == '"' || *text == '\\')
            line[n++] = '\\';
        line[n++] = (unsigned char)*text < ' ' ? ' ' : *text;
    }
    line[n++] = '"';
    line[n] = 0;
}

static inline void rig__text(char *line, size_t size, const char *text)
{
    snprintf(line + strlen(line), size - strlen(line), "%s", text);
}

/* "GIFQA_LONG=1 build/dev/tests/NAME": this program, by its place below the project. */
static inline void rig__command(char *out, size_t size)
{
    char        self[1024];
    ssize_t     n = readlink("/proc/self/exe", self, sizeof self - 1);
    const char *from;
    self[n > 0 ? n : 0] = 0;
    from = strstr(self, "/build/");
    snprintf(out, size, "%s%s", rig_long() ? "GIFQA_LONG=1 " : "", from ? from + 1 : self);
}

/* Never fails the test: a report that cannot be written says so and is missed by its reader. */
static inline void rig_report(const rig_result *r)
{
    char        line[4096] = "{\"rig\":", numbers[256], command[1200];
    const char *path = getenv("GIFQA_RIG_REPORT");

    printf("%s: %s: %ld injected, %ld survived, %ld failed, %ld not run, %.1f s%s%s\n", r->rig,
           r->what, r->injected, r->survived, r->failed, r->not_run, r->seconds,
           r->note ? "; " : "", r->note ? r->note : "");
    fflush(stdout);
    if (!path || !*path)
        return;
    rig__command(command, sizeof command);
    rig__string(line, sizeof line, r->rig);
    rig__text(line, sizeof line, ",\"what\":");
    rig__string(line, sizeof line, r->what);
    snprintf(numbers, sizeof numbers,
             ",\"injected\":%ld,\"survived\":%ld,\"failed\":%ld,\"not_run\":%ld,\"seconds\":%.1f",
             r->injected, r->survived, r->failed, r->not_run, r->seconds);
    rig__text(line, sizeof line, numbers);
    rig__text(line, sizeof line, ",\"command\":");
    rig__string(line, sizeof line, r->command ? r->command : command);
    rig__text(line, sizeof line, ",\"note\":");
    rig__string(line, sizeof line, r->note);
    rig__text(line, sizeof line, "}\n");

    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line))
        printf("%s: cannot write the report\n", path);
    if (fd >= 0)
        close(fd);
}

#endif
