/* shard_h5_pack.h - the filters of row sets as HDF5 lists them; private to data/shard_h5*.c, the
 * only files that include <hdf5.h>.
 *
 * libhdf5 never runs these filters here: rows are packed and unpacked by data/shard_codec.c. It
 * only keeps the list, so that other tools know what they read. A list is accepted if it is, filter
 * by filter and with its parameters, one of the enum of data/shard_h5.h.
 */
#ifndef GIFQA_DATA_SHARD_H5_PACK_H
#define GIFQA_DATA_SHARD_H5_PACK_H

#include <hdf5.h>

#include "data/shard_h5.h"

/* Adds the filters to a list for the creation of a dataset. stride: of the row delta, bytes. */
bool gq__h5_set_pack(hid_t list, gq_h5_pack pack, size_t stride);
/* Which filters a dataset has; NULL, or what is wrong with them. element: bytes of one. */
const char *gq__h5_get_pack(hid_t list, size_t element, size_t stride, gq_h5_pack *pack);

#endif
