/* Reads every byte of a dataset, or of a shard from a stranger.
 *
 * A shard that its manifest names has matched its checksums before libhdf5 sees it. One without
 * a manifest could be made to crash libhdf5, whose record is long: it is read in a helper
 * process with limits, and only the verdict comes back.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/shard_private.h"

#ifdef __SANITIZE_ADDRESS__             /* gcc says it so */
#define UNDER_ASAN
#elif defined __has_feature
#if __has_feature(address_sanitizer)    /* clang so */
#define UNDER_ASAN
#endif
#endif

static gq_status verify_file(const char *path, gq_shard **shard, uint64_t *gifs,
                             uint64_t *questions, gq_error *err)
{
    gq_status st = gq_shard_open(path, NULL, shard, err);
    if (st != GQ_OK)
        return st;
    *gifs += (uint64_t)(*shard)->gifs;
    *questions += (uint64_t)(*shard)->questions;
    return gq_shard_rows(*shard, err);
}

/* The whole file against the manifest; this also sees what nothing reads, such as unused bytes. */
static gq_status verify_entry(const char *path, const gq_shard_entry *e, gq_error *err)
{
    uint8_t   hash[32];
    char      hex[65];
    uint64_t  bytes;
    gq_status s = gq_sha256_file(path, &bytes, hash, err);
    if (s != GQ_OK)
        return s;
    gq_hex(hash, sizeof hash, hex);
    if (bytes != e->bytes || strcmp(hex, e->sha256) != 0)
        return gq_fail(
            err, GQ_EINPUT,
            "%s: differs from the manifest (SHA-256 %.12s..., expected %.12s...); build it again",
            path, hex, e->sha256);
    return GQ_OK;
}

/* ---- a file that nothing vouches for --------------------------------------------------------- */

typedef struct verdict {                /* what the helper process says */
    uint64_t gifs, questions;
    gq_error err;
} verdict;

static void limit(int what, rlim_t most)
{
    struct rlimit l = {most, most};
    setrlimit(what, &l);
}

/* In the helper: no core file, no output, a bound on everything; then libhdf5 may do its worst. */
static void judge(const char *path, int fd)
{
    verdict v = {0};
    int     null = open("/dev/null", O_RDWR);
    for (int k = 0; null >= 0 && k <= 2; k++)
        dup2(null, k);
    prctl(PR_SET_PDEATHSIG, SIGKILL);            /* nobody waits for a verdict that nobody reads */
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
    limit(RLIMIT_CPU, 60);
#ifndef UNDER_ASAN                               /* whose shadow memory counts */
    limit(RLIMIT_AS, (rlim_t)8 << 30);
#endif
    alarm(300);
    gq_shard *shard = NULL;
    verify_file(path, &shard, &v.gifs, &v.questions, &v.err);
    gq_shard_free(shard);
    _exit(write(fd, &v, sizeof v) == (ssize_t)sizeof v ? 0 : 1);
}

static bool hear(int fd, verdict *v)
{
    size_t n = 0;
    while (n < sizeof *v) {
        ssize_t got = read(fd, (char *)v + n, sizeof *v - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        n += (size_t)got;
    }
    v->err.text[sizeof v->err.text - 1] = 0;
    return true;
}

static gq_status verify_apart(const char *path, uint64_t *gifs, uint64_t *questions, gq_error *err)
{
    verdict v = {0};
    int     fd[2], status = 0;
    pid_t   child = pipe2(fd, O_CLOEXEC) == 0 ? fork() : -1;
    if (child < 0)
        return gq_fail(err, GQ_ENOMEM, "%s: no helper process to look at it: %s", path,
                       strerror(errno));
    if (child == 0)
        judge(path, fd[1]);
    close(fd[1]);
    bool heard = hear(fd[0], &v);
    close(fd[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (!heard)
        return gq_fail(
            err, GQ_EINPUT,
            "%s: libhdf5 crashes on this file, or takes more than 8 GiB or a minute: refused "
            "(in a helper process)",
            path);
    *gifs = v.gifs;
    *questions = v.questions;
    return v.err.code == GQ_OK ? GQ_OK : gq_fail(err, v.err.code, "%s", v.err.text);
}

/* ---- a whole dataset ------------------------------------------------------------------------- */

/* One shard, and whether it fits to the first, whose meta comes from shard 0. */
static gq_status verify_part(const char *dir, const gq_manifest *m, int k, gq_shard_meta *first,
                             uint64_t *gifs, uint64_t *questions, gq_error *err)
{
    gq_shard *shard = NULL;
    char     *path = gq_path(dir, m->shard[k].file);
    gq_status s = path ? verify_entry(path, &m->shard[k], err)
                       : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", dir);
    if (s == GQ_OK)
        s = verify_file(path, &shard, gifs, questions, err);
    if (s == GQ_OK)
        s = gq_shard_check_entry(shard, &m->shard[k], err);
    if (s == GQ_OK && k == 0)
        *first = shard->meta;
    else if (s == GQ_OK)
        s = gq_shard_check_same(first, m->shard[0].file, shard, err);
    gq_shard_free(shard);
    gq_free(path);
    return s;
}

/* One shard at a time, so that it takes no more memory for many. */
static gq_status verify_dir(const char *dir, uint64_t *gifs, uint64_t *questions, gq_error *err)
{
    gq_manifest   m;
    gq_shard_meta first;
    gq_status     s = gq_manifest_load(dir, &m, err);
    if (s != GQ_OK)
        return s;
    for (int k = 0; s == GQ_OK && k < m.count; k++)
        s = verify_part(dir, &m, k, &first, gifs, questions, err);
    if (s == GQ_OK)
        s = gq_manifest_check(&m, dir, err);
    gq_manifest_free(&m);
    return s;
}

gq_status gq_shard_verify(const char *path, uint64_t *gifs, uint64_t *questions, gq_error *err)
{
    *gifs = *questions = 0;
    return gq_is_dir(path) ? verify_dir(path, gifs, questions, err)
                           : verify_apart(path, gifs, questions, err);
}
