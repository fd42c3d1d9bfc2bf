/* shim.c - preloaded into a program: its n-th file operation kills it, fails, is cut short or is
 * interrupted, or sends it a signal; or all of them are recorded.
 *
 *   GIFQA_SHIM=MODE:N         kill, ENOSPC, EIO, short, EINTR, and the signals TERM, INT, HUP, USR1
 *                             and TERM2 ... (sent twice): at operation N, from 1; or "record:0"
 *   GIFQA_SHIM_LOG=FILE       one line for each operation, appended:
 *                                 N OPERATION FD OFFSET BYTES PATH PATH2 RESULT
 *                             "-" for what an operation does not have; "record" puts the bytes
 *                             written behind the line. The line of the fault ends in "fault".
 *
 * Operations are open, write, pwrite, writev, fsync, rename, unlink, close, mkdir, rmdir,
 * ftruncate, posix_fallocate and syncfs, on paths that are relative: what a program was given and
 * not what the system has. Syncs return at once: the page cache survives what is done here.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FDS = 1024, LOG_FD = 900, PATH = 160 };

static struct {
    char        mode[16];
    long        at;
    int         error, signal;          /* of this mode, or 0                                     */
    bool        twice, record;
    int         log;
    atomic_long count;
    char        path[FDS][PATH];        /* of descriptors that count, cut; else ""                */
} shim = {.log = -1};

typedef struct op { const char *name, *path, *path2; int fd; long offset, bytes; } op;
enum { GO, FAIL, CUT };

static void read_mode(const char *what)
{
    static const struct { const char *name; int number; } signals[] = {
        {"TERM", SIGTERM}, {"INT", SIGINT}, {"HUP", SIGHUP}, {"USR1", SIGUSR1}};
    size_t n = strcspn(what, ":");

    if (n >= sizeof shim.mode || !what[n])
        return;
    memcpy(shim.mode, what, n);
    shim.at = atol(what + n + 1);
    shim.record = !strcmp(shim.mode, "record");
    shim.error = !strcmp(shim.mode, "ENOSPC") ? ENOSPC
                 : !strcmp(shim.mode, "EIO")  ? EIO
                 : !strcmp(shim.mode, "EINTR") ? EINTR
                                               : 0;
    for (int i = 0; i < 4; i++) {
        size_t m = strlen(signals[i].name);
        if (strncmp(shim.mode, signals[i].name, m) == 0) {
            shim.signal = signals[i].number;
            shim.twice = shim.mode[m] == '2';
        }
    }
}

__attribute__((constructor)) static void begin(void)
{
    const char *what = getenv("GIFQA_SHIM"), *log = getenv("GIFQA_SHIM_LOG");
    int         fd = log ? (int)syscall(SYS_openat, AT_FDCWD, log,
                                        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)
                         : -1;

    if (fd >= 0) {
        shim.log = fcntl(fd, F_DUPFD_CLOEXEC, LOG_FD);
        syscall(SYS_close, fd);
    }
    if (what)
        read_mode(what);
}

static void tell(const op *o, long n, const char *result)
{
    const char *path = o->path ? o->path : o->fd >= 0 && o->fd < FDS ? shim.path[o->fd] : "";
    char        line[1200];
    int         len = snprintf(line, sizeof line, "%ld %s %d %ld %ld %s %s %s\n", n, o->name, o->fd,
                               o->offset, o->bytes, *path ? path : "-", o->path2 ? o->path2 : "-",
                               result);
    if (shim.log >= 0)
        syscall(SYS_write, shim.log, line, len < (int)sizeof line ? len : (int)sizeof line - 1);
}

/* Counts an operation and says what is to happen to it; errno is set for FAIL. */
static int before(const op *o)
{
    long n = atomic_fetch_add(&shim.count, 1) + 1;
    bool here = n == shim.at && *shim.mode && !shim.record;

    if (shim.record)
        return GO;                      /* told when its result is known */
    tell(o, n, here ? "fault" : "ok");
    if (!here)
        return GO;
    if (!strcmp(shim.mode, "kill"))
        kill(getpid(), SIGKILL);
    for (int i = 0; shim.signal && i < 1 + shim.twice; i++)
        kill(getpid(), shim.signal);
    errno = shim.error;
    return shim.error ? FAIL : !strcmp(shim.mode, "short") ? CUT : GO;
}

/* Recorded are operations that took place. */
static void after(const op *o, const struct iovec *v, int parts, long done)
{
    int keep = errno;
    if (shim.record && done >= 0) {
        op now = *o;
        now.bytes = parts ? done : o->bytes;
        tell(&now, atomic_load(&shim.count), "ok");
        for (int i = 0; i < parts && done > 0; i++) {
            long part = (long)v[i].iov_len < done ? (long)v[i].iov_len : done;
            syscall(SYS_write, shim.log, v[i].iov_base, part);
            done -= part;
        }
    }
    errno = keep;
}

static bool relative(const char *path)
{
    return *path && *path != '/';
}

static bool ours(int fd)
{
    return fd >= 0 && fd < FDS && *shim.path[fd];
}

static void name(int fd, const char *path)
{
    if (fd >= 0 && fd < FDS)
        snprintf(shim.path[fd], PATH, "%.*s", PATH - 1, path);
}

/* Where a path below directory `dir` lies. */
static const char *place(int dir, const char *path, char out[2 * PATH])
{
    snprintf(out, 2 * PATH, "%s%s%s", dir == AT_FDCWD ? "" : shim.path[dir],
             dir == AT_FDCWD ? "" : "/", path);
    return out;
}

/* ---- open, close ----------------------------------------------------------------------------- */

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    op   o = {.name = flags & O_DIRECTORY              ? "opendir"
                      : (flags & O_ACCMODE) == O_RDONLY ? "openread"
                      : flags & O_TRUNC                 ? "create"
                                                        : "openwrite",
              .fd = -1};
    char full[2 * PATH];
    int  fd;

    if (!relative(path) || (dir != AT_FDCWD && !ours(dir))) {
        fd = (int)syscall(SYS_openat, dir, path, flags, mode);
        name(fd, "");                   /* closedir() closes without telling */
        return fd;
    }
    o.path = place(dir, path, full);
    if (before(&o) == FAIL)
        return -1;
    fd = (int)syscall(SYS_openat, dir, path, flags, mode);
    name(fd, full);
    o.bytes = fd;                       /* of a recorded open: its descriptor */
    after(&o, NULL, 0, fd);
    return fd;
}

#define OPEN(dir, path, flags)                                                                     \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                       \
        va_list ap;                                                                                \
        va_start(ap, flags);                                                                       \
        mode = va_arg(ap, mode_t);                                                                 \
        va_end(ap);                                                                                \
    }                                                                                              \
    return open_at(dir, path, flags, mode)
int open(const char *path, int flags, ...) { OPEN(AT_FDCWD, path, flags); }
int open64(const char *path, int flags, ...) { OPEN(AT_FDCWD, path, flags); }
int openat(int dir, const char *path, int flags, ...) { OPEN(dir, path, flags); }
int openat64(int dir, const char *path, int flags, ...) { OPEN(dir, path, flags); }

int close(int fd)
{
    op  o = {.name = "close", .fd = fd};
    int r, what = GO;

    if (ours(fd)) {
        what = before(&o);
        name(fd, "");
    }
    int keep = errno;
    r = (int)syscall(SYS_close, fd);    /* as Linux does: the descriptor is gone all the same */
    if (what == FAIL) {
        errno = keep;
        return -1;
    }
    return r;
}

/* ---- data ------------------------------------------------------------------------------------ */

static ssize_t put(const char *what, int fd, const struct iovec *v, int parts, long offset)
{
    struct iovec cut;
    op           o = {.name = what, .fd = fd, .offset = offset};
    ssize_t      done;
    int          fate;

    for (int i = 0; i < parts; i++)
        o.bytes += (long)v[i].iov_len;
    if (!ours(fd))
        return offset < 0 ? syscall(SYS_writev, fd, v, parts)
                          : syscall(SYS_pwrite64, fd, v->iov_base, v->iov_len, offset);
    fate = before(&o);
    if (fate == FAIL)
        return -1;
    if (fate == CUT) {
        cut = (struct iovec){v->iov_base, v->iov_len > 1 ? v->iov_len / 2 : v->iov_len};
        v = &cut;
        parts = 1;
    }
    done = offset < 0 ? syscall(SYS_writev, fd, v, parts)
                      : syscall(SYS_pwrite64, fd, v->iov_base, v->iov_len, offset);
    after(&o, v, parts, done);
    return done;
}

ssize_t write(int fd, const void *data, size_t n)
{
    struct iovec v = {(void *)data, n};
    return put("write", fd, &v, 1, -1);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    return put("write", fd, v, n, -1);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t offset)
{
    struct iovec v = {(void *)data, n};
    return put("pwrite", fd, &v, 1, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t offset)
{
    return pwrite(fd, data, n, offset);
}

/* What takes a descriptor and returns 0 or -1. */
static int on_fd(const char *what, int fd, long number, long bytes)
{
    op  o = {.name = what, .fd = fd, .bytes = bytes};
    int r;

    if (ours(fd) && before(&o) == FAIL)
        return -1;
    r = number == SYS_fsync ? 0 : (int)syscall(number, fd, bytes);
    if (ours(fd))
        after(&o, NULL, 0, r);
    return r;
}

int fsync(int fd) { return on_fd("fsync", fd, SYS_fsync, 0); }
int fdatasync(int fd) { return on_fd("fsync", fd, SYS_fsync, 0); }
int syncfs(int fd) { return on_fd("syncfs", fd, SYS_fsync, 0); }
int ftruncate(int fd, off_t size) { return on_fd("ftruncate", fd, SYS_ftruncate, size); }
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int posix_fallocate(int fd, off_t offset, off_t size)
{
    op o = {.name = "fallocate", .fd = fd, .offset = offset, .bytes = size};
    if (ours(fd) && before(&o) == FAIL)
        return errno;
    return syscall(SYS_fallocate, fd, 0, offset, size) == 0 ? 0 : errno;
}

/* ---- names ----------------------------------------------------------------------------------- */

int rename(const char *from, const char *to)
{
    op  o = {.name = "rename", .path = from, .path2 = to, .fd = -1};
    int r;

    if (relative(from) && before(&o) == FAIL)
        return -1;
    r = (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    if (relative(from))
        after(&o, NULL, 0, r);
    return r;
}

static int on_path(const char *what, int dir, const char *path, long number, long flags)
{
    op   o = {.name = what, .fd = -1};
    bool mine = relative(path) && (dir == AT_FDCWD || ours(dir));
    char full[2 * PATH];
    int  r;

    if (mine)
        o.path = place(dir, path, full);
    if (mine && before(&o) == FAIL)
        return -1;
    r = (int)syscall(number, dir, path, flags);
    if (mine)
        after(&o, NULL, 0, r);
    return r;
}

int mkdir(const char *path, mode_t mode)
{
    return on_path("mkdir", AT_FDCWD, path, SYS_mkdirat, mode);
}

int unlink(const char *path) { return on_path("unlink", AT_FDCWD, path, SYS_unlinkat, 0); }
int rmdir(const char *path)
{
    return on_path("rmdir", AT_FDCWD, path, SYS_unlinkat, AT_REMOVEDIR);
}

int unlinkat(int dir, const char *path, int flags)
{
    return on_path(flags & AT_REMOVEDIR ? "rmdir" : "unlink", dir, path, SYS_unlinkat, flags);
}
