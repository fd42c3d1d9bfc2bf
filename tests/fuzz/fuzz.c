/* fuzz.c - see fuzz.h */
#include "fuzz.h"

#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

#include "core/io.h"

void fz_fail(const char *file, int line, const char *what, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "%s:%d: does not hold: %s: ", file, line, what);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    abort();
}

void fz_refused(gq_status s, const gq_error *err, gq_status want)
{
    must(s == want && err->code == want && err->text[0], "status %d, error %d '%s', expected %d",
         (int)s, (int)err->code, err->text, (int)want);
}

static char dir[128];

static void remove_dir(void) { gq_remove_tree(dir, NULL); }

const char *fz_dir(void)
{
    const char *tmp = getenv("TMPDIR");
    if (dir[0])
        return dir;
    if (!tmp || strlen(tmp) > 90)
        tmp = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(dir, sizeof dir, "%s/gifqa-fuzz-XXXXXX", tmp);
    must(mkdtemp(dir), "no directory %s", dir);
    atexit(remove_dir);
    return dir;
}

const char *fz_path(const char *name)
{
    static char path[4][512];
    static int  next;
    char       *p = path[next++ & 3];
    must(snprintf(p, sizeof path[0], "%s/%s", fz_dir(), name) < (int)sizeof path[0], "%s", name);
    return p;
}

const char *fz_put(const char *name, const void *data, size_t size)
{
    const char *path = fz_path(name);
    int         fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0, "%s", path);
    return path;
}

const char *fz_shared(const char *name)
{
    static char path[1024];
    const char *root = getenv("GIFQA_SHARED");
    snprintf(path, sizeof path, "%s/%s", root ? root : GQ_SOURCE_DIR "/../shared", name);
    return access(path, R_OK) == 0 ? path : NULL;
}
