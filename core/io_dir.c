/* Directories, names and locks. */
#include "core/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/io_sys.h"
#include "core/mem.h"

/* ---- names ----------------------------------------------------------------------------------- */

const char *gq_sys_basename(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *gq_sys_dirname(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return gq_strdup(".");
    return slash == path ? gq_strdup("/") : gq_strndup(path, (size_t)(slash - path));
}

char *gq_path(const char *dir, const char *name)
{
    size_t d = strlen(dir), n = strlen(name), slash = d && dir[d - 1] != '/';
    char  *path = gq_malloc(d + slash + n + 1, 1);
    if (!path)
        return NULL;
    memcpy(path, dir, d);
    if (slash)
        path[d] = '/';
    memcpy(path + d + slash, name, n + 1);
    return path;
}

bool gq_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool gq_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool gq_file_age(const char *path, uint64_t *bytes, int64_t *changed)
{
    struct stat st;
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    *bytes = (uint64_t)st.st_size;
    *changed = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return true;
}

/* ---- changes --------------------------------------------------------------------------------- */

gq_status gq_sync_dir(const char *path, gq_error *err)
{
    gq_status s = GQ_OK;
    int       fd = gq_sys_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return gq_sys_fail_write(err, path, "open directory");
    /* EINVAL: a file system that cannot sync directories has nothing to lose by it */
    if (fsync(fd) != 0 && errno != EINVAL)
        s = gq_sys_fail_write(err, path, "sync directory");
    close(fd);
    return s;
}

gq_status gq_mkdirs(const char *path, gq_error *err)
{
    char     *p = gq_strdup(path);
    gq_status s = GQ_OK;

    if (!p)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to create it", path);
    for (char *at = p; s == GQ_OK && *at;) {
        at += strspn(at, "/");
        at += strcspn(at, "/");
        char rest = *at;
        *at = '\0';
        if (mkdir(p, 0777) == 0) {
            char *parent = gq_sys_dirname(p);
            s = parent ? gq_sync_dir(parent, err) : gq_fail(err, GQ_ENOMEM, "%s: no memory", p);
            gq_free(parent);
        } else if (errno == EEXIST) {
            if (!gq_is_dir(p))
                s = gq_fail(err, GQ_EDISK, "%s: exists and is not a directory", p);
        } else {
            s = gq_sys_fail_write(err, p, "create directory");
        }
        *at = rest;
    }
    gq_free(p);
    return s;
}

gq_status gq_rename(const char *from, const char *to, gq_error *err)
{
    char     *a = gq_sys_dirname(from), *b = gq_sys_dirname(to);
    gq_status s = GQ_OK;

    if (!a || !b)
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory to rename it", from);
    else if (rename(from, to) != 0)
        s = gq_sys_fail_write(err, to, "rename to this name");
    if (s == GQ_OK)
        s = gq_sync_dir(b, err);
    if (s == GQ_OK && strcmp(a, b) != 0)
        s = gq_sync_dir(a, err);
    gq_free(a);
    gq_free(b);
    return s;
}

/* Removes what is in the directory `fd`; takes fd over. Returns 0 or -1 with errno. */
static int empty_dir(int fd)
{
    DIR           *d = fdopendir(fd);
    struct dirent *e;
    int            failed = 0;

    if (!d) {
        close(fd);
        return -1;
    }
    while (!failed && (errno = 0, e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, e->d_name, 0) == 0 || errno == ENOENT)
            continue;
        if (errno != EISDIR && errno != EPERM) {
            failed = errno;
            break;
        }
        int sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub < 0 || empty_dir(sub) != 0 || unlinkat(fd, e->d_name, AT_REMOVEDIR) != 0)
            failed = errno;
    }
    if (!failed)
        failed = errno;
    closedir(d);
    errno = failed;
    return failed ? -1 : 0;
}

gq_status gq_remove_tree(const char *path, gq_error *err)
{
    int fd;
    if (unlink(path) == 0 || errno == ENOENT)    /* a file or a symlink; a directory says EISDIR */
        return GQ_OK;
    if (errno != EISDIR && errno != EPERM)
        return gq_sys_fail_write(err, path, "remove");
    fd = gq_sys_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd < 0 || empty_dir(fd) != 0 || rmdir(path) != 0)
        return gq_sys_fail_write(err, path, "remove");
    return GQ_OK;
}

/* ---- looking --------------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

gq_status gq_list_dir(const char *path, char ***names, size_t *count, gq_error *err)
{
    DIR           *d = opendir(path);
    struct dirent *e;
    size_t         room = 16, n = 0;
    char         **list = d ? gq_malloc(room, sizeof *list) : NULL;
    gq_status      s = GQ_OK;

    *names = NULL;
    *count = 0;
    if (!d)
        return gq_sys_fail_read(err, path, "list directory");
    while ((errno = 0, e = list ? readdir(d) : NULL)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (n == room) {
            char **grown = gq_realloc(list, room * 2, sizeof *list);
            if (!grown)
                break;
            list = grown;
            room *= 2;
        }
        if (!(list[n] = gq_strdup(e->d_name)))
            break;
        n++;
    }
    if (!list || e)
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory to list it", path);
    else if (errno)
        s = gq_sys_fail_read(err, path, "list directory");
    closedir(d);
    if (s != GQ_OK) {
        while (n)
            gq_free(list[--n]);
        gq_free(list);
        return s;
    }
    qsort(list, n, sizeof *list, by_bytes);
    *names = list;
    *count = n;
    return GQ_OK;
}

gq_status gq_free_space(const char *path, uint64_t *bytes, gq_error *err)
{
    struct statvfs v;
    int            r;
    do
        r = statvfs(path, &v);
    while (r != 0 && errno == EINTR);
    if (r != 0)
        return gq_sys_fail_read(err, path, "ask for free space");
    if (__builtin_mul_overflow((uint64_t)v.f_bavail, (uint64_t)v.f_frsize, bytes))
        *bytes = UINT64_MAX;
    return GQ_OK;
}

/* ---- locks ----------------------------------------------------------------------------------- */

struct gq_lock { int fd; };

/* What the holder wrote about itself; text from a file, so control characters do not pass. */
static void read_holder(int fd, char *text, size_t room)
{
    ssize_t n = pread(fd, text, room - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    if (!*text)
        snprintf(text, room, "a process that has not said its name yet");
}

static gq_status write_holder(int fd, const char *path, gq_error *err)
{
    char   host[256] = "unknown", when[32], text[512];
    size_t done;

    gethostname(host, sizeof host - 1);
    host[sizeof host - 1] = '\0';
    gq_timestamp(when);
    snprintf(text, sizeof text, "host %s, pid %ld, since %s\n", host, (long)getpid(), when);
    if (ftruncate(fd, 0) != 0 || gq_sys_write_all(fd, text, strlen(text), &done) != 0)
        return gq_sys_fail_write(err, path, "write lock file");
    return GQ_OK;
}

gq_status gq_lock_take(const char *path, gq_lock **out, gq_error *err)
{
    gq_lock  *l = gq_malloc(1, sizeof *l);
    char      holder[512];
    gq_status s = GQ_OK;
    int       r = -1;

    *out = NULL;
    if (!l)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to lock it", path);
    l->fd = gq_sys_open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0666);
    if (l->fd < 0) {
        s = gq_sys_fail_write(err, path, "open lock file");
        gq_free(l);
        return s;
    }
    do
        r = flock(l->fd, LOCK_EX | LOCK_NB);
    while (r != 0 && errno == EINTR);
    if (r != 0 && errno == EWOULDBLOCK) {
        read_holder(l->fd, holder, sizeof holder);
        s = gq_fail(err, GQ_EBUSY, "%s: in use by %s; wait for it or choose another directory",
                    path, holder);
    } else if (r != 0) {
        s = gq_sys_fail_write(err, path, "lock");
    } else {
        s = write_holder(l->fd, path, err);
    }
    if (s != GQ_OK) {
        close(l->fd);
        gq_free(l);
        return s;
    }
    *out = l;
    return GQ_OK;
}

void gq_lock_release(gq_lock *l)
{
    if (!l)
        return;
    /* The file stays: removing it would let two processes hold locks on two files of one name. */
    close(l->fd);
    gq_free(l);
}
