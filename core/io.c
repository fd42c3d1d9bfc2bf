/* Reading, hashes, time and the errno texts of the file seam. */
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The interface of version 1, deprecated in 3: the newer one allocates for every hash, so a hash
 * could fail, and its one-call form does so without a word. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <xxhash.h>
#include <zlib.h>

#include "core/io_sys.h"
#include "core/mem.h"

/* ---- errno ----------------------------------------------------------------------------------- */

static const char *remedy(int e)
{
    switch (e) {
    case ENOSPC: return "; free some space or choose another directory";
    case EDQUOT: return "; the disk quota is used up";
    case EFBIG:  return "; the limit on file sizes (ulimit -f) or of the file system is reached";
    case EROFS:  return "; choose a writable directory";
    case EACCES: return "; check owner and mode";
    case EMFILE: return "; raise the limit on open files (ulimit -n)";
    default:     return "";
    }
}

gq_status gq_sys_fail_read(gq_error *err, const char *path, const char *what)
{
    int       e = errno;
    gq_status code = e == ENOMEM ? GQ_ENOMEM
                     : e == EIO || e == EMFILE || e == ENFILE ? GQ_EDISK : GQ_EINPUT;
    char      text[128];
    return gq_fail(err, code, "%s: cannot %s: %s%s", path, what, strerror_r(e, text, sizeof text),
                   remedy(e));
}

gq_status gq_sys_fail_write(gq_error *err, const char *path, const char *what)
{
    int      e = errno;
    char     text[128], room[64] = "";
    uint64_t left;

    if (e == ENOMEM)
        return gq_fail(err, GQ_ENOMEM, "%s: cannot %s: out of memory", path, what);
    if (e == ENOSPC || e == EDQUOT) {
        char *dir = gq_sys_dirname(path);
        if (dir && gq_free_space(dir, &left, NULL) == GQ_OK)
            snprintf(room, sizeof room, " (%llu bytes free)", (unsigned long long)left);
        gq_free(dir);
    }
    return gq_fail(err, GQ_EDISK, "%s: cannot %s: %s%s%s", path, what,
                   strerror_r(e, text, sizeof text), room, remedy(e));
}

int gq_sys_open(const char *path, int flags, mode_t mode)
{
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Opens a regular file. O_NONBLOCK so that a FIFO in its place cannot hang us. */
static gq_status open_regular(const char *path, int *fd, struct stat *st, gq_error *err)
{
    *fd = gq_sys_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (*fd < 0)
        return gq_sys_fail_read(err, path, "open");
    if (fstat(*fd, st) != 0) {
        gq_sys_fail_read(err, path, "read its size");
    } else if (!S_ISREG(st->st_mode)) {
        gq_fail(err, GQ_EINPUT, "%s: %s, a regular file is needed", path,
                S_ISDIR(st->st_mode) ? "is a directory" : "is not a regular file");
    } else {
        return GQ_OK;
    }
    close(*fd);
    return GQ_EINPUT;
}

static gq_status too_large(gq_error *err, const char *path, const char *kind, size_t limit)
{
    return gq_fail(err, GQ_EINPUT, "%s: %slarger than the limit of %zu bytes", path, kind, limit);
}

enum {
    READ_MOST = 1 << 30,                /* bytes asked of one read(2)                             */
    READ_PIECE = 1 << 18,               /* bytes hashed at a time                                 */
};

/* Reads to the end of the file, whatever its size claims (it may grow, or be 0 as in /proc). */
static gq_status read_to_end(int fd, const char *path, size_t limit, gq_bytes *out, gq_error *err)
{
    size_t room = out->size;
    out->size = 0;
    for (;;) {
        ssize_t n;
        if (out->size == room) {
            uint8_t probe;
            do
                n = read(fd, &probe, 1);
            while (n < 0 && errno == EINTR);
            if (n == 0)
                return GQ_OK;
            if (n < 0)
                return gq_sys_fail_read(err, path, "read");
            if (room >= limit)
                return too_large(err, path, "", limit);
            room = room < 4096 ? 4096 : room > limit / 2 ? limit : room * 2;
            if (room > limit)
                room = limit;
            uint8_t *grown = gq_realloc(out->data, room + 1, 1);
            if (!grown)
                return gq_fail(err, GQ_ENOMEM, "%s: no memory for %zu bytes", path, room);
            out->data = grown;
            out->data[out->size++] = probe;
            continue;
        }
        size_t ask = room - out->size < READ_MOST ? room - out->size : READ_MOST;
        n = read(fd, out->data + out->size, ask);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return gq_sys_fail_read(err, path, "read");
        if (n == 0)
            return GQ_OK;
        out->size += (size_t)n;
    }
}

gq_status gq_read_file(const char *path, size_t limit, gq_bytes *out, gq_error *err)
{
    struct stat st;
    int         fd;
    gq_status   s;

    *out = (gq_bytes){0};
    if (limit > SIZE_MAX - 1)
        limit = SIZE_MAX - 1;
    if ((s = open_regular(path, &fd, &st, err)) != GQ_OK)
        return s;
    if ((uint64_t)st.st_size > limit) {
        s = gq_fail(err, GQ_EINPUT, "%s: %lld bytes, larger than the limit of %zu bytes", path,
                    (long long)st.st_size, limit);
    } else {
        out->size = (size_t)st.st_size;
        out->data = gq_malloc(out->size + 1, 1);
        s = out->data ? read_to_end(fd, path, limit, out, err)
                      : gq_fail(err, GQ_ENOMEM, "%s: no memory for %zu bytes", path, out->size);
    }
    close(fd);
    if (s != GQ_OK) {
        gq_bytes_free(out);
        return s;
    }
    out->data[out->size] = 0;
    return GQ_OK;
}

void gq_bytes_free(gq_bytes *b)
{
    gq_free(b->data);
    *b = (gq_bytes){0};
}

/* ---- gzip ------------------------------------------------------------------------------------ */

static bool is_gzip(const uint8_t *p, size_t n) { return n >= 2 && p[0] == 0x1f && p[1] == 0x8b; }

static bool all_zero(const uint8_t *p, size_t n)
{
    while (n && *p == 0)
        p++, n--;
    return n == 0;
}

static gq_status grow_for_inflate(const char *path, size_t limit, size_t *room, gq_bytes *out,
                                  gq_error *err)
{
    if (*room >= limit)
        return too_large(err, path, "inflated, it is ", limit);
    *room = *room > limit / 2 ? limit : *room * 2;
    uint8_t *grown = gq_realloc(out->data, *room + 1, 1);
    if (!grown)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for %zu inflated bytes", path, *room);
    out->data = grown;
    return GQ_OK;
}

/* One or more gzip members, followed by nothing or zero padding. */
static gq_status inflate_members(z_stream *z, const char *path, const gq_bytes *in, size_t limit,
                                 gq_bytes *out, gq_error *err)
{
    size_t    used = 0, room = in->size < 4096 ? 4096 : in->size;
    gq_status s;

    if (room > limit)
        room = limit;
    if (!(out->data = gq_malloc(room + 1, 1)))
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for %zu bytes", path, room);
    for (;;) {
        uInt ask, give = in->size - used > UINT_MAX ? UINT_MAX : (uInt)(in->size - used);
        /* at the limit the byte kept for the NUL is room to notice that the stream goes on */
        size_t left = room - out->size + (room == limit ? 1 : 0);
        ask = left > UINT_MAX ? UINT_MAX : (uInt)left;
        z->next_in = (Bytef *)(uintptr_t)(in->data + used);
        z->avail_in = give;
        z->next_out = out->data + out->size;
        z->avail_out = ask;
        int r = inflate(z, Z_NO_FLUSH);
        used += give - z->avail_in;
        out->size += ask - z->avail_out;
        if (out->size > limit)
            return too_large(err, path, "inflated, it is ", limit);
        if (r == Z_STREAM_END) {
            if (all_zero(in->data + used, in->size - used))
                return GQ_OK;
            if (!is_gzip(in->data + used, in->size - used))
                return gq_fail(err, GQ_EINPUT, "%s: byte %zu: data after gzip", path, used);
            inflateReset(z);
        } else if (r == Z_MEM_ERROR) {
            return gq_fail(err, GQ_ENOMEM, "%s: no memory to inflate", path);
        } else if (r != Z_OK && r != Z_BUF_ERROR) {
            return gq_fail(err, GQ_EINPUT, "%s: byte %zu: damaged gzip data (%s)", path, used,
                           z->msg ? z->msg : "invalid");
        } else if (out->size == room) {
            if ((s = grow_for_inflate(path, limit, &room, out, err)) != GQ_OK)
                return s;
        } else if (used == in->size) {
            return gq_fail(err, GQ_EINPUT, "%s: gzip data ends early at byte %zu", path, used);
        }
    }
}

gq_status gq_read_gz(const char *path, size_t limit, gq_bytes *out, gq_error *err)
{
    gq_bytes  in;
    z_stream  z = {0};
    gq_status s;

    *out = (gq_bytes){0};
    if (limit > SIZE_MAX / 2)
        limit = SIZE_MAX / 2;
    /* incompressible data grows by less than a thousandth and a header */
    if ((s = gq_read_file(path, limit + limit / 1000 + 4096, &in, err)) != GQ_OK)
        return s;
    if (!is_gzip(in.data, in.size)) {
        if (in.size > limit) {
            gq_bytes_free(&in);
            return too_large(err, path, "", limit);
        }
        *out = in;
        return GQ_OK;
    }
    if (inflateInit2(&z, 15 + 16) != Z_OK) {
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory to inflate", path);
    } else {
        s = inflate_members(&z, path, &in, limit, out, err);
        inflateEnd(&z);
    }
    gq_bytes_free(&in);
    if (s != GQ_OK)
        gq_bytes_free(out);
    else
        out->data[out->size] = 0;
    return s;
}

/* ---- maps ------------------------------------------------------------------------------------ */

gq_status gq_map_open(const char *path, gq_map *out, gq_error *err)
{
    static const uint8_t nothing;
    struct stat          st;
    int                  fd;
    gq_status            s;

    *out = (gq_map){0};
    if ((s = open_regular(path, &fd, &st, err)) != GQ_OK)
        return s;
    if (st.st_size == 0) {                       /* mmap refuses zero bytes */
        out->data = &nothing;
    } else if ((uint64_t)st.st_size > SIZE_MAX) {
        s = gq_fail(err, GQ_EINPUT, "%s: too large to map", path);
    } else {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            s = gq_sys_fail_read(err, path, "map");
        else
            *out = (gq_map){p, (size_t)st.st_size};
    }
    close(fd);
    return s;
}

void gq_map_forget(const void *data, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)data & ~(page - 1);
    /* advice: when it is not taken nothing is lost but memory, and the pages come back when read */
    (void)madvise((void *)first, (uintptr_t)data + bytes - first, MADV_DONTNEED);
}

void gq_map_close(gq_map *m)
{
    if (m->size)
        munmap((void *)(uintptr_t)m->data, m->size);
    *m = (gq_map){0};
}

/* ---- hashes ---------------------------------------------------------------------------------- */

void gq_sha256(const void *data, size_t bytes, uint8_t out[32])
{
    SHA256_CTX ctx;
    SHA256_Init(&ctx);
    SHA256_Update(&ctx, data, bytes);
    SHA256_Final(out, &ctx);
}

/* Takes the next bytes of a file; false: it failed. */
typedef bool (*feed_fn)(void *ctx, const void *data, size_t bytes);

/* A whole file in pieces to `feed`; `what` names the hash. */
static gq_status feed_file(const char *path, feed_fn feed, void *ctx, const char *what,
                           uint64_t *bytes, gq_error *err)
{
    struct stat st;
    int         fd;
    uint8_t    *buffer;
    ssize_t     n;
    gq_status   s = open_regular(path, &fd, &st, err);

    *bytes = 0;
    if (s != GQ_OK)
        return s;
    buffer = gq_malloc(READ_PIECE, 1);
    if (!buffer)
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory for its %s", path, what);
    while (s == GQ_OK && (n = read(fd, buffer, READ_PIECE)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            s = gq_sys_fail_read(err, path, "read");
        else if (!feed(ctx, buffer, (size_t)n))
            s = gq_fail(err, GQ_EBUG, "%s: %s failed", path, what);
        else
            *bytes += (uint64_t)n;
    }
    gq_free(buffer);
    close(fd);
    return s;
}

static bool feed_sha256(void *ctx, const void *data, size_t bytes)
{
    return SHA256_Update(ctx, data, bytes) == 1;
}

gq_status gq_sha256_file(const char *path, uint64_t *bytes, uint8_t out[32], gq_error *err)
{
    SHA256_CTX ctx;
    SHA256_Init(&ctx);
    gq_status s = feed_file(path, feed_sha256, &ctx, "SHA-256", bytes, err);
    SHA256_Final(out, &ctx);
    return s;
}

static bool feed_xxh128(void *ctx, const void *data, size_t bytes)
{
    return XXH3_128bits_update(ctx, data, bytes) == XXH_OK;
}

static void put_xxh128(XXH128_hash_t hash, uint8_t out[16])
{
    XXH128_canonical_t c;

    XXH128_canonicalFromHash(&c, hash);
    memcpy(out, c.digest, 16);
}

gq_status gq_xxh128_file(const char *path, uint64_t *bytes, uint8_t out[16], gq_error *err)
{
    XXH3_state_t *ctx = XXH3_createState();
    gq_status     s;

    *bytes = 0;
    if (!ctx || XXH3_128bits_reset(ctx) != XXH_OK)
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory for its XXH3", path);
    else
        s = feed_file(path, feed_xxh128, ctx, "XXH3", bytes, err);
    if (s == GQ_OK)
        put_xxh128(XXH3_128bits_digest(ctx), out);
    XXH3_freeState(ctx);
    return s;
}

void gq_xxh128(const void *data, size_t bytes, uint8_t out[16])
{
    put_xxh128(XXH3_128bits(data, bytes), out);
}

void gq_hex(const uint8_t *data, size_t bytes, char *out)
{
    for (size_t i = 0; i < bytes; i++) {
        out[2 * i] = "0123456789abcdef"[data[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[data[i] & 15];
    }
    out[2 * bytes] = '\0';
}

uint64_t gq_xxh64(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

/* ---- time ------------------------------------------------------------------------------------ */

double gq_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void gq_timestamp(char out[32])
{
    time_t    now = time(NULL);
    struct tm tm = {0};
    gmtime_r(&now, &tm);
    if (strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        out[0] = '\0';
}

uint64_t gq_rss_peak(void)
{
    /* VmHWM is ours alone; ru_maxrss also remembers the program that called exec */
    char        text[4096];
    int         fd = gq_sys_open("/proc/self/status", O_RDONLY, 0);
    ssize_t     n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    const char *at;

    if (fd >= 0)
        close(fd);
    if (n > 0) {
        text[n] = '\0';
        if ((at = strstr(text, "VmHWM:")))
            return strtoull(at + 6, NULL, 10) * 1024;
    }
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (uint64_t)u.ru_maxrss * 1024 : 0;
}
