/* shard_codec.h - packing and unpacking of one row (a GIF's frames or features) of a shard; private
 * to data/shard*.c.
 *
 * A row is packed by the filters of its row set (gq_h5_pack), whole and by itself: deflate as a
 * zlib stream; zstd as one frame that tells its size and ends with a checksum of what was packed;
 * shuffle as HDF5 does it, first bytes of all numbers first; the row delta subtracts from each byte
 * the one `stride` bytes before it.
 *
 * Invariants: the size of an unpacked row is known beforehand, from attributes whose checksum was
 * compared, and nothing is written beyond it, whatever the packed bytes say: a stream that holds
 * more, less, or is followed by anything is refused. After gq__packer_new() nothing is allocated
 * but by libzstd, with the first row. One thread a packer.
 */
#ifndef GIFQA_DATA_SHARD_CODEC_H
#define GIFQA_DATA_SHARD_CODEC_H

#include "data/shard.h"
#include "data/shard_h5.h"

typedef struct gq_row_form {
    gq_h5_pack pack;
    size_t     bytes;                   /* of a row, unpacked                                     */
    size_t     element;                 /* bytes of a number                                      */
    size_t     stride;                  /* bytes, of the row delta                                */
} gq_row_form;

/* How a codec packs rows of numbers of this size. */
gq_h5_pack  gq__codec_pack(gq_shard_codec codec, size_t element);
/* Is a row set stored like this what the codec of its shard says? gzip was once without shuffle. */
bool        gq__codec_allows(gq_shard_codec codec, size_t element, gq_h5_pack pack);
/* Who can read such rows, for people with other tools. */
const char *gq__codec_note(gq_h5_pack pack);
/* Most bytes of a packed row; 0: this build cannot unpack it. */
size_t      gq__codec_bound(const gq_row_form *form);

typedef struct gq_packer gq_packer;

/* For rows of these forms. packs: it will pack; else unpack. *out NULL without an error: none of
 * them is packed. */
gq_status gq__packer_new(const gq_row_form *const *form, int forms, bool packs, gq_packer **out,
                         gq_error *err);
void      gq__packer_free(gq_packer *p);                     /* NULL allowed                      */
/* *stored lies in p until its next use. */
gq_status gq__pack(gq_packer *p, const gq_row_form *form, const void *row, const void **stored,
                   size_t *bytes, const char *path, gq_error *err);
/* NULL, or why the stored bytes are no such row. */
const char *gq__unpack(gq_packer *p, const gq_row_form *form, const void *stored, size_t bytes,
                       void *row);

#endif
