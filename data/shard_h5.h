/* shard_h5.h - the fence around libhdf5; private to data/shard*.c, and shard_h5*.c alone include
 * <hdf5.h>.
 *
 * Reading follows one safe profile, because shards may come from strangers: plugins off; only the
 * names we ask for are looked at; every link on the way must be a hard link; no virtual layout, no
 * external storage, no user block, no filters but those of gq_h5_pack on row sets; fixed-width
 * little-endian integers and floats only; every size is compared with what is really stored before
 * anything is allocated. Refusals say which.
 *
 * Two kinds of dataset exist. An *array* is contiguous, unfiltered, small, and read whole; its
 * attribute "xxh64" is checked. *Rows* are chunked: with one row per chunk when packed, or
 * plain with as many rows as make a quarter MiB (finding a chunk costs libhdf5 1.10 time in
 * proportion to their number). They are read with pread at the row's address (data/shard_read.c),
 * never through libhdf5, whose global lock would serialise the readers.
 *
 * libhdf5 is used by one thread at a time here: while files are opened and while they are written.
 */
#ifndef GIFQA_DATA_SHARD_H5_H
#define GIFQA_DATA_SHARD_H5_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

enum { GQ_H5_RANK = 6 };                /* dimensions of a dataset, at most                       */

typedef enum gq_h5_type {
    GQ_H5_U8, GQ_H5_U16, GQ_H5_I32, GQ_H5_U32, GQ_H5_I64, GQ_H5_U64, GQ_H5_F32, GQ_H5_BF16,
    GQ_H5_TYPES
} gq_h5_type;

enum { GQ_H5_ROW_DELTA = 407, GQ_H5_ZSTD = 32015 };          /* filters: ours, and as registered  */

typedef enum gq_h5_pack {               /* filters of a row set, in the order of packing          */
    GQ_H5_PLAIN,
    GQ_H5_DEFLATE,                      /* every HDF5 tool reads this                             */
    GQ_H5_SHUFFLE_DEFLATE,              /* and this                                               */
    GQ_H5_SHUFFLE_ZSTD,                 /* those with the registered filter 32015 read this       */
    GQ_H5_DELTA_ZSTD,                   /* and this only who knows our filter 407                 */
    GQ_H5_PACKS
} gq_h5_pack;

typedef struct gq_h5_shape {
    int      rank;
    uint64_t dim[GQ_H5_RANK];
} gq_h5_shape;

typedef struct gq_h5_chunk { uint64_t at, bytes; } gq_h5_chunk;              /* a row in the file */

typedef struct gq_h5 gq_h5;             /* one open file                                          */
typedef struct gq_h5_rows gq_h5_rows;   /* rows being written                                     */

size_t gq_h5_size(gq_h5_type type);     /* bytes of one element                                   */

/* ---- writing: create, put, rows, then finish or abandon -------------------------------------- */

gq_status gq_h5_create(const char *path, gq_h5 **out, gq_error *err);
/* attributes of / */
gq_status gq_h5_put_text(gq_h5 *f, const char *name, const char *text, gq_error *err);
gq_status gq_h5_put_u64(gq_h5 *f, const char *name, uint64_t value, gq_error *err);
/* name: "group/dataset"; the group is made when missing. */
gq_status gq_h5_put_array(gq_h5 *f, const char *name, gq_h5_type type, const gq_h5_shape *shape,
                          const void *data, gq_error *err);
/* row: shape of one row, without the first axis. stride: bytes, of a row delta. */
gq_status gq_h5_rows_begin(gq_h5 *f, const char *name, gq_h5_type type, const gq_h5_shape *row,
                           gq_h5_pack pack, size_t stride, gq_h5_rows **out, gq_error *err);
/* An attribute of the row set. */
gq_status gq_h5_rows_put_text(gq_h5_rows *r, const char *name, const char *text, gq_error *err);
/* row as stored */
gq_status gq_h5_rows_add(gq_h5_rows *r, const void *stored, size_t bytes, gq_error *err);
gq_status gq_h5_rows_end(gq_h5_rows *r, gq_error *err); /* frees r, also on failure; NULL allowed */
/* Flushes, closes, syncs the file to disk. Frees f in any case. A full disk may go unnoticed by
 * libhdf5: the caller reads everything back before it trusts the file. */
gq_status gq_h5_finish(gq_h5 *f, gq_error *err);

/* ---- reading --------------------------------------------------------------------------------- */

gq_status gq_h5_open(const char *path, gq_h5 **out, gq_error *err);
void      gq_h5_close(gq_h5 *f);                            /* NULL allowed; for files being read */
gq_status gq_h5_get_text(gq_h5 *f, const char *name, char *text, size_t size, gq_error *err);
gq_status gq_h5_get_u64(gq_h5 *f, const char *name, uint64_t *value, gq_error *err);
bool      gq_h5_has_attribute(gq_h5 *f, const char *name);
bool      gq_h5_has(gq_h5 *f, const char *name);             /* a link of that name, of any kind  */
/* Whole array, hash checked. want: rank and dimensions, 0 = any; the real ones are written back.
 * *data: gq_free(). */
gq_status gq_h5_get_array(gq_h5 *f, const char *name, gq_h5_type type, gq_h5_shape *want,
                          void **data, gq_error *err);
/* Where each of n rows lies. stride: of a row delta, if it has one. *pack: how they are stored.
 * *chunk: [n], gq_free(). */
gq_status gq_h5_get_rows(gq_h5 *f, const char *name, gq_h5_type type, const gq_h5_shape *row,
                         uint64_t n, size_t stride, gq_h5_pack *pack, gq_h5_chunk **chunk,
                         gq_error *err);

#endif
