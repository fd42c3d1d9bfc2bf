/* io.h - the file and process seam. All file access of the library goes through here (libpng,
 * giflib and libyaml read from memory that this module loaded; libhdf5 is fenced in data/shard.c).
 *
 * Invariants: short reads and writes and EINTR are invisible to callers; every return code of the
 * system is checked, including close and fsync; a failed fsync means the file is lost and is never
 * retried. Writes that must survive go through gq_atomic_*: temporary file in the same directory,
 * write, fsync, read back and compare, close, rename, fsync of the directory. Nothing here prints.
 * Paths are bytes; error texts quote them.
 */
#ifndef GIFQA_CORE_IO_H
#define GIFQA_CORE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/status.h"

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct gq_bytes {
    uint8_t *data;                      /* owned: gq_bytes_free(); one NUL follows the last byte  */
    size_t   size;                      /* bytes, without that NUL                                */
} gq_bytes;

/* Whole file into memory; GQ_EINPUT when missing, not a regular file or larger than `limit` bytes.
 */
gq_status gq_read_file(const char *path, size_t limit, gq_bytes *out, gq_error *err);
/* The same through zlib: gzip data is inflated (limit holds for the inflated size), other data is
 * taken as it is. */
gq_status gq_read_gz(const char *path, size_t limit, gq_bytes *out, gq_error *err);
void      gq_bytes_free(gq_bytes *b);

typedef struct gq_map {                 /* read-only memory map of a regular file                 */
    const uint8_t *data;
    size_t         size;
} gq_map;
gq_status gq_map_open(const char *path, gq_map *out, gq_error *err);
/* Bytes of a map that were read and will not be soon: their pages stop counting as memory of this
 * process. */
void      gq_map_forget(const void *data, size_t bytes);
void      gq_map_close(gq_map *m);

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct gq_file gq_file;         /* buffered writer of a file that appears only on commit  */

/* Opens "<dir>/.tmp-<name>-<pid>" for writing; `path` itself is untouched until gq_atomic_commit().
 */
gq_status gq_atomic_open(const char *path, gq_file **out, gq_error *err);
gq_status gq_file_write(gq_file *f, const void *data, size_t bytes, gq_error *err);
gq_status gq_file_printf(gq_file *f, gq_error *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
uint64_t  gq_file_tell(const gq_file *f);                    /* bytes written so far              */
gq_status gq_atomic_commit(gq_file *f, gq_error *err);       /* sync, close, rename, sync directory; frees f */
void      gq_atomic_abort(gq_file *f);                /* removes the temporary file; NULL allowed */
gq_status gq_write_file(const char *path, const void *data, size_t bytes, gq_error *err);  /* all of it  */
/* Many small files at once: written, not synced, visible while they grow. A marker file that
 * vouches for them is written last, after gq_sync_all() has put everything of that file system on
 * disk. */
gq_status gq_write_unsynced(const char *path, const void *data, size_t bytes, gq_error *err);
gq_status gq_sync_all(const char *dir, gq_error *err);

/* An append-only text log (metrics.jsonl, log.txt): each gq_append_line is one write(2). On open, a
 * last line without newline (torn by a kill) is cut off; gq_append_truncate keeps the first `bytes`
 * bytes. */
typedef struct gq_append gq_append;
gq_status gq_append_open(const char *path, gq_append **out, gq_error *err);
gq_status gq_append_line(gq_append *a, const char *line, gq_error *err);     /* adds the newline  */
gq_status gq_append_truncate(gq_append *a, uint64_t bytes, gq_error *err);
gq_status gq_append_sync(gq_append *a, gq_error *err);      /* before anything refers to its size */
uint64_t  gq_append_size(const gq_append *a);
gq_status gq_append_close(gq_append *a, gq_error *err);      /* syncs; NULL allowed               */

/* ---- directories, names, locks --------------------------------------------------------------- */

gq_status gq_mkdirs(const char *path, gq_error *err);        /* like mkdir -p, mode 0777 & ~umask */
gq_status gq_sync_dir(const char *path, gq_error *err);
gq_status gq_rename(const char *from, const char *to, gq_error *err); /* then syncs the directory */
gq_status gq_remove_tree(const char *path, gq_error *err);   /* no symlink is followed; missing is fine  */
gq_status gq_list_dir(const char *path, char ***names, size_t *count, gq_error *err);  /* sorted by byte order;
                                                                gq_free each name and the array          */
bool      gq_is_dir(const char *path);
bool      gq_is_file(const char *path);
/* Size and time of the last change (nanoseconds since 1970) of a regular file; false: there is none. */
bool      gq_file_age(const char *path, uint64_t *bytes, int64_t *changed);
gq_status gq_free_space(const char *path, uint64_t *bytes, gq_error *err);   /* for this user     */
char     *gq_path(const char *dir, const char *name);        /* "dir/name", owned by the caller; NULL: memory */

typedef struct gq_lock gq_lock;  /* flock on a file; the kernel releases it when the process dies */
/* GQ_EBUSY with host, pid and start time of the holder when taken. */
gq_status gq_lock_take(const char *path, gq_lock **out, gq_error *err);
void      gq_lock_release(gq_lock *l);                       /* NULL allowed                      */

/* ---- hashes ---------------------------------------------------------------------------------- */

void     gq_sha256(const void *data, size_t bytes, uint8_t out[32]);
/* Of a whole file, read in pieces, so that a failing disk is an error and not a signal. *bytes:
 * what was read. */
gq_status gq_sha256_file(const char *path, uint64_t *bytes, uint8_t out[32], gq_error *err);
void     gq_hex(const uint8_t *data, size_t bytes, char *out);             /* 2 * bytes + 1 chars */
uint64_t gq_xxh64(const void *data, size_t bytes);           /* XXH3 64 bit, seed 0               */
/* XXH3 of 128 bits, seed 0, in its canonical (big-endian) form; against accidents, not against
 * people, at the speed of memory. */
void     gq_xxh128(const void *data, size_t bytes, uint8_t out[16]);
gq_status gq_xxh128_file(const char *path, uint64_t *bytes, uint8_t out[16], gq_error *err);

/* ---- time ------------------------------------------------------------------------------------ */

double gq_now(void);                                         /* seconds, monotonic clock          */
void   gq_timestamp(char out[32]);                         /* "2025-01-31T12:00:00Z", labels only */
uint64_t gq_rss_peak(void);                               /* bytes, this process, high-water mark */

#endif
