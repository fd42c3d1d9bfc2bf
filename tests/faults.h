/* faults.h - a rig that lets the n-th file operation of a process fail or kill it, or cuts all
 * writes short.
 *
 * The test program defines the system's functions itself, so every call of the library lands here
 * first. Only one source file of a program may include this. While fault.armed is set, each write,
 * writev, fsync, close, rename, mkdir, unlink, unlinkat and rmdir is counted; number fault.at has
 * the fault (kill, ENOSPC, EIO; LIE: the write reports success and writes nothing). In the modes
 * EINTR and SHORT every second write is interrupted, every write takes half. The rig also watches
 * the order that survives a power cut: fault.open_renames counts renames whose directory was not
 * synced yet, fault.unsynced files renamed or closed with unsynced data and renames that did not
 * wait for the one before.
 */
#ifndef GIFQA_TESTS_FAULTS_H
#define GIFQA_TESTS_FAULTS_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum fault_mode {
    FAULT_NONE, FAULT_KILL, FAULT_ENOSPC, FAULT_EIO, FAULT_LIE, FAULT_EINTR, FAULT_SHORT,
};

static struct {
    bool            armed;
    enum fault_mode mode;
    long            at;                 /* number of the operation that has the fault, from 1     */
    bool            lasting;            /* and all later ones                                     */
    long            count;              /* operations so far                                      */
    bool            dirty[1024];        /* by fd: written since its last fsync                    */
    int             unsynced;           /* what a power cut could undo, see above                 */
    int             open_renames;       /* renames since the last fsync of a directory            */
} fault;

/* Counts an operation; true: it is to fail with errno. */
static bool fault_here(void)
{
    if (!fault.armed)
        return false;
    fault.count++;
    if (!fault.at || fault.count < fault.at || (fault.count > fault.at && !fault.lasting))
        return false;
    if (fault.mode == FAULT_KILL)
        kill(getpid(), SIGKILL);
    errno = fault.mode == FAULT_EIO ? EIO : ENOSPC;
    return fault.mode == FAULT_ENOSPC || fault.mode == FAULT_EIO;
}

ssize_t write(int fd, const void *data, size_t n)
{
    if (fault_here())
        return -1;
    if (fault.armed && fault.mode == FAULT_EINTR &&
        fault.count % 2) { /* the next try gets through */
        errno = EINTR;
        return -1;
    }
    if (fault.armed && fault.mode == FAULT_SHORT && n > 1)
        n /= 2;
    if (fault.armed && fd >= 0 && fd < 1024)
        fault.dirty[fd] = true;
    if (fault.armed && fault.mode == FAULT_LIE && fault.count == fault.at)
        return (ssize_t)n;
    return syscall(SYS_write, fd, data, n);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    if (fault_here())
        return -1;
    if (fault.armed && fault.mode == FAULT_EINTR && fault.count % 2) {
        errno = EINTR;
        return -1;
    }
    if (fault.armed && fault.mode == FAULT_SHORT && v[0].iov_len > 1)
        return syscall(SYS_write, fd, v[0].iov_base, v[0].iov_len / 2);
    return syscall(SYS_writev, fd, v, n);
}

int fsync(int fd)
{
    struct stat st;
    if (fault_here())
        return -1;
    if (fault.armed && fd >= 0 && fd < 1024) {
        fault.dirty[fd] = false;
        if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
            fault.open_renames = 0;
        return 0;                                /* the page cache survives a kill: no waiting */
    }
    return (int)syscall(SYS_fsync, fd);
}

int close(int fd)
{
    if (fault_here()) {                     /* as Linux does: the descriptor is gone all the same */
        syscall(SYS_close, fd);
        return -1;
    }
    if (fault.armed && fd >= 0 && fd < 1024 && fault.dirty[fd]) {
        fault.dirty[fd] = false;
        fault.unsynced++;
    }
    return (int)syscall(SYS_close, fd);
}

int rename(const char *from, const char *to)
{
    if (fault_here())
        return -1;
    for (int fd = 0; fault.armed && fd < 1024; fd++)
        fault.unsynced += fault.dirty[fd];
    fault.unsynced += fault.open_renames;        /* one after the other, or a cut may swap them */
    fault.open_renames += fault.armed;
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int mkdir(const char *path, mode_t mode)
{
    return fault_here() ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int unlink(const char *path)
{
    return fault_here() ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int unlinkat(int fd, const char *path, int flags)
{
    return fault_here() ? -1 : (int)syscall(SYS_unlinkat, fd, path, flags);
}

int rmdir(const char *path)
{
    return fault_here() ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

#endif
