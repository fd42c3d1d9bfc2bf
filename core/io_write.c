/* Writers: files that appear whole or not at all, and append-only logs. */
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <xxhash.h>

#include "core/io_sys.h"
#include "core/mem.h"

int gq_sys_write_all(int fd, const void *data, size_t bytes, size_t *done)
{
    *done = 0;
    while (*done < bytes) {
        size_t  ask = bytes - *done < (1u << 30) ? bytes - *done : 1u << 30;
        ssize_t n = write(fd, (const uint8_t *)data + *done, ask);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = EIO;
            return -1;
        }
        *done += (size_t)n;
    }
    return 0;
}

/* ---- atomic files ---------------------------------------------------------------------------- */

enum { BUFFER = 1 << 16 };

struct gq_file {
    int           fd;
    gq_status     failed;               /* the file is lost, later calls repeat it                */
    uint64_t      size;                 /* bytes given to gq_file_write                           */
    size_t        fill;                 /* bytes waiting in buffer                                */
    XXH3_state_t *sum;                  /* hash of all bytes given to gq_file_write               */
    char         *path, *tmp, *dir;     /* final name, temporary name, directory of both          */
    uint8_t       buffer[BUFFER];
};

static void file_free(gq_file *f)
{
    XXH3_freeState(f->sum);
    gq_free(f->path);
    gq_free(f->tmp);
    gq_free(f->dir);
    gq_free(f);
}

gq_status gq_atomic_open(const char *path, gq_file **out, gq_error *err)
{
    gq_file *f = gq_calloc(1, sizeof *f);
    size_t   room = strlen(path) + 64;

    *out = NULL;
    if (f) {
        f->path = gq_strdup(path);
        f->dir = gq_sys_dirname(path);
        f->tmp = gq_malloc(room, 1);
        f->sum = XXH3_createState();
    }
    if (!f || !f->path || !f->dir || !f->tmp || !f->sum) {
        if (f)
            file_free(f);
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to open it for writing", path);
    }
    snprintf(f->tmp, room, "%s/.tmp-%s-%ld", f->dir, gq_sys_basename(path), (long)getpid());
    XXH3_64bits_reset(f->sum);
    f->fd = gq_sys_open(f->tmp, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666);
    if (f->fd < 0) {
        gq_status s = gq_sys_fail_write(err, f->tmp, "create");
        file_free(f);
        return s;
    }
    *out = f;
    return GQ_OK;
}

static gq_status file_flush(gq_file *f, gq_error *err)
{
    size_t done;
    if (gq_sys_write_all(f->fd, f->buffer, f->fill, &done) != 0)
        f->failed = gq_sys_fail_write(err, f->path, "write");
    f->fill = 0;
    return f->failed;
}

gq_status gq_file_write(gq_file *f, const void *data, size_t bytes, gq_error *err)
{
    size_t done;
    if (f->failed)
        return gq_fail(err, f->failed, "%s: an earlier write failed", f->path);
    f->size += bytes;
    XXH3_64bits_update(f->sum, data, bytes);
    if (bytes > BUFFER - f->fill && file_flush(f, err) != GQ_OK)
        return f->failed;
    if (bytes >= BUFFER) {
        if (gq_sys_write_all(f->fd, data, bytes, &done) != 0)
            f->failed = gq_sys_fail_write(err, f->path, "write");
        return f->failed;
    }
    if (bytes)
        memcpy(f->buffer + f->fill, data, bytes);
    f->fill += bytes;
    return GQ_OK;
}

gq_status gq_file_printf(gq_file *f, gq_error *err, const char *fmt, ...)
{
    char      small[1024], *text = small;
    va_list   ap;
    int       n;
    gq_status s;

    va_start(ap, fmt);
    n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0)
        return gq_fail(err, GQ_EBUG, "%s: text cannot be formatted", f->path);
    if ((size_t)n >= sizeof small) {
        if (!(text = gq_malloc((size_t)n + 1, 1)))
            return f->failed = gq_fail(err, GQ_ENOMEM, "%s: no memory for %d bytes", f->path, n);
        va_start(ap, fmt);
        vsnprintf(text, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    s = gq_file_write(f, text, (size_t)n, err);
    if (text != small)
        gq_free(text);
    return s;
}

uint64_t gq_file_tell(const gq_file *f)
{
    return f->size;
}

void gq_atomic_abort(gq_file *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        close(f->fd);
    unlink(f->tmp);
    file_free(f);
}

/* What the file gives back must be what was written: a close or sync that returns success proves
 * nothing on some file systems. The buffer is free by now. */
static gq_status read_back(gq_file *f, gq_error *err)
{
    uint64_t at = 0, want = XXH3_64bits_digest(f->sum);
    XXH3_64bits_reset(f->sum);
    for (;;) {
        ssize_t n = pread(f->fd, f->buffer, BUFFER, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return gq_sys_fail_write(err, f->path, "read back");
        if (n == 0)
            break;
        XXH3_64bits_update(f->sum, f->buffer, (size_t)n);
        at += (uint64_t)n;
    }
    if (at == f->size && XXH3_64bits_digest(f->sum) == want)
        return GQ_OK;
    return gq_fail(err, GQ_EDISK, "%s: reads back differently from what was written (%llu of %llu "
                   "bytes): the disk or the memory is failing", f->path, (unsigned long long)at,
                   (unsigned long long)f->size);
}

gq_status gq_atomic_commit(gq_file *f, gq_error *err)
{
    gq_status s = f->failed ? gq_fail(err, f->failed, "%s: an earlier write failed", f->path)
                            : file_flush(f, err);
    if (s == GQ_OK && fsync(f->fd) != 0)         /* never retried: the pages may be gone */
        s = gq_sys_fail_write(err, f->path, "sync");
    if (s == GQ_OK)
        s = read_back(f, err);
    if (s == GQ_OK) {
        int fd = f->fd;
        f->fd = -1;
        if (close(fd) != 0 && errno != EINTR)
            s = gq_sys_fail_write(err, f->path, "close");
    }
    if (s == GQ_OK && rename(f->tmp, f->path) != 0)
        s = gq_sys_fail_write(err, f->path, "replace");
    if (s != GQ_OK) {
        gq_atomic_abort(f);
        return s;
    }
    s = gq_sync_dir(f->dir, err);
    file_free(f);
    return s;
}

gq_status gq_write_file(const char *path, const void *data, size_t bytes, gq_error *err)
{
    gq_file  *f;
    gq_status s = gq_atomic_open(path, &f, err);
    if (s != GQ_OK)
        return s;
    if ((s = gq_file_write(f, data, bytes, err)) != GQ_OK) {
        gq_atomic_abort(f);
        return s;
    }
    return gq_atomic_commit(f, err);
}

gq_status gq_write_unsynced(const char *path, const void *data, size_t bytes, gq_error *err)
{
    size_t    done;
    gq_status s = GQ_OK;
    int       fd = gq_sys_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0)
        return gq_sys_fail_write(err, path, "create");
    if (gq_sys_write_all(fd, data, bytes, &done) != 0)
        s = gq_sys_fail_write(err, path, "write");
    if (close(fd) != 0 && s == GQ_OK)
        s = gq_sys_fail_write(err, path, "close");
    return s;
}

gq_status gq_sync_all(const char *dir, gq_error *err)
{
    gq_status s = GQ_OK;
    int       fd = gq_sys_open(dir, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return gq_sys_fail_write(err, dir, "open directory");
    if (syncfs(fd) != 0)
        s = gq_sys_fail_write(err, dir, "sync file system");
    close(fd);
    return s;
}

/* ---- append-only logs ------------------------------------------------------------------------ */

struct gq_append {
    int      fd;
    uint64_t size;                      /* bytes of whole lines in the file */
    char    *path;
};

/* Size of the file up to and with its last newline. */
static gq_status whole_lines(int fd, uint64_t size, uint64_t *keep, const char *path, gq_error *err)
{
    char block[4096];
    while (size) {
        size_t   want = size < sizeof block ? (size_t)size : sizeof block;
        uint64_t from = size - want;
        ssize_t  n = pread(fd, block, want, (off_t)from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return gq_sys_fail_read(err, path, "read");
        if (n == 0)                              /* cut by somebody else meanwhile */
            break;
        const char *newline = memrchr(block, '\n', (size_t)n);
        if (newline) {
            *keep = from + (uint64_t)(newline - block) + 1;
            return GQ_OK;
        }
        size = from;
    }
    *keep = 0;
    return GQ_OK;
}

static gq_status append_cut(gq_append *a, uint64_t bytes, gq_error *err)
{
    int r;
    do
        r = ftruncate(a->fd, (off_t)bytes);
    while (r != 0 && errno == EINTR);
    if (r != 0)
        return gq_sys_fail_write(err, a->path, "truncate");
    a->size = bytes;
    return GQ_OK;
}

static gq_status append_repair(gq_append *a, gq_error *err)
{
    struct stat st;
    uint64_t    keep;
    gq_status   s;

    if (fstat(a->fd, &st) != 0)
        return gq_sys_fail_read(err, a->path, "read its size");
    if (!S_ISREG(st.st_mode))
        return gq_fail(err, GQ_EINPUT, "%s: is not a regular file", a->path);
    if ((s = whole_lines(a->fd, (uint64_t)st.st_size, &keep, a->path, err)) != GQ_OK)
        return s;
    a->size = keep;
    return keep < (uint64_t)st.st_size ? append_cut(a, keep, err) : GQ_OK;
}

static void append_free(gq_append *a)
{
    if (a->fd >= 0)
        close(a->fd);
    gq_free(a->path);
    gq_free(a);
}

gq_status gq_append_open(const char *path, gq_append **out, gq_error *err)
{
    gq_append *a = gq_calloc(1, sizeof *a);
    gq_status  s;

    *out = NULL;
    if (a)
        a->path = gq_strdup(path);
    if (!a || !a->path) {
        gq_free(a);
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to open it", path);
    }
    a->fd = gq_sys_open(path, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW,
                        0666);
    s = a->fd >= 0 ? append_repair(a, err)
        : errno == ELOOP
            ? gq_fail(err, GQ_EINPUT, "%s: is a symbolic link, a regular file is needed", path)
            : gq_sys_fail_write(err, path, "open for appending");
    if (s != GQ_OK) {
        append_free(a);
        return s;
    }
    *out = a;
    return GQ_OK;
}

gq_status gq_append_line(gq_append *a, const char *line, gq_error *err)
{
    size_t       len = strlen(line), done = 0;
    char         newline = '\n';
    struct iovec v[2] = {{(void *)(uintptr_t)line, len}, {&newline, 1}};
    ssize_t      n;
    int          bad = 0;

    do                                           /* one call: lines of two writers cannot mix */
        n = writev(a->fd, v, 2);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        bad = 1;
    } else if ((size_t)n < len + 1) {            /* short: the disk is nearly full; try the rest */
        size_t got = (size_t)n;
        bad = got < len && gq_sys_write_all(a->fd, line + got, len - got, &done) != 0;
        bad = bad || gq_sys_write_all(a->fd, &newline, 1, &done) != 0;
    }
    if (bad) {
        gq_status s = gq_sys_fail_write(err, a->path, "append");
        if (n > 0)                               /* leave no torn line; else open repairs it */
            append_cut(a, a->size, NULL);
        return s;
    }
    a->size += len + 1;
    return GQ_OK;
}

gq_status gq_append_truncate(gq_append *a, uint64_t bytes, gq_error *err)
{
    if (bytes > a->size)
        return gq_fail(err, GQ_EINPUT, "%s: %llu bytes, cannot keep %llu: lines missing", a->path,
                       (unsigned long long)a->size, (unsigned long long)bytes);
    return append_cut(a, bytes, err);
}

uint64_t gq_append_size(const gq_append *a)
{
    return a->size;
}

gq_status gq_append_sync(gq_append *a, gq_error *err)
{
    return fsync(a->fd) == 0 ? GQ_OK : gq_sys_fail_write(err, a->path, "sync");
}

gq_status gq_append_close(gq_append *a, gq_error *err)
{
    if (!a)
        return GQ_OK;
    gq_status s = gq_append_sync(a, err);
    int       fd = a->fd;
    a->fd = -1;
    if (close(fd) != 0 && errno != EINTR && s == GQ_OK)
        s = gq_sys_fail_write(err, a->path, "close");
    append_free(a);
    return s;
}
