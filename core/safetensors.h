/* safetensors.h - tensors in files: a strict reader over a memory map and a streaming writer.
 *
 * Format: u64 little-endian header length, that many bytes of JSON, then the data block; no holes,
 * no overlap, no bytes after it. Files come from strangers, so everything is checked when a file is
 * opened: header at most 100 MB and starting with '{', names unique, types known, at most 8
 * dimensions, sizes computed with overflow checks and equal to the offsets, which cover the data
 * block exactly. Afterwards every tensor's bytes lie inside the map. Values are not looked at.
 * Every refusal is GQ_EWEIGHTS and names file, tensor and reason.
 *
 * Ownership: tensors, names and data belong to the gq_safetensors and live until it is closed. Data
 * is where the file has it and may be unaligned: copy it with gq_st_read_*() or memcpy.
 */
#ifndef GIFQA_CORE_SAFETENSORS_H
#define GIFQA_CORE_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "core/bf16.h"
#include "core/status.h"

/*   name       bytes                                                                             */
#define GQ_ST_DTYPES(X) \
 X(F64, 8) X(F32, 4) X(F16, 2) X(BF16, 2) X(I64, 8) X(I32, 4) X(I16, 2) X(I8, 1) \
 X(U64, 8) X(U32, 4) X(U16, 2) X(U8, 1) X(BOOL, 1)

typedef enum gq_st_dtype {
#define GQ_ST_ENUM(name, bytes) GQ_ST_##name,
    GQ_ST_DTYPES(GQ_ST_ENUM)
#undef GQ_ST_ENUM
    GQ_ST_DTYPE_COUNT
} gq_st_dtype;

enum { GQ_ST_MAX_RANK = 8, GQ_ST_MAX_HEADER = 100000000 };

typedef struct gq_st_tensor {
    const char *name;                   /* UTF-8                                                  */
    gq_st_dtype dtype;
    int         rank;                   /* 0: a scalar                                            */
    uint64_t    shape[GQ_ST_MAX_RANK];
    uint64_t    count;                  /* elements; 1 for a scalar, may be 0                     */
    const void *data;                   /* little-endian, row-major, maybe unaligned              */
    size_t      bytes;                  /* count * size of the type                               */
    const char *file;                   /* path of the file it lies in                            */
} gq_st_tensor;

const char *gq_st_dtype_name(gq_st_dtype dtype);             /* "BF16"                            */
size_t      gq_st_dtype_size(gq_st_dtype dtype);             /* bytes                             */

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct gq_safetensors gq_safetensors;

/* path: a .safetensors file, a *.index.json with a weight_map (sharded), or a directory that
 * holds model.safetensors or else model.safetensors.index.json. Shards lie beside their index,
 * never elsewhere. */
gq_status gq_safetensors_open(const char *path, gq_safetensors **out, gq_error *err);
void      gq_safetensors_close(gq_safetensors *st);          /* NULL allowed                      */

size_t              gq_st_count(const gq_safetensors *st);
const gq_st_tensor *gq_st_at(const gq_safetensors *st, size_t i); /* order of files, then of data */
const gq_st_tensor *gq_st_find(const gq_safetensors *st,
                               const char           *name); /* NULL: no such tensor */
/* Value of a key of __metadata__ (of the first file that has it), or NULL. */
const char         *gq_st_metadata(const gq_safetensors *st, const char *key);

/* Elements first..first+n-1 of t as a tensor of one dimension; they must be there. */
gq_st_tensor gq_st_slice(const gq_st_tensor *t, uint64_t first, uint64_t n);

/* All elements as float or double. F64, F32, F16 and BF16 are converted (F64 to float rounds);
 * other types are GQ_EWEIGHTS. dst has room for t->count elements. */
gq_status gq_st_read_f32(const gq_st_tensor *t, float *dst, gq_error *err);
gq_status gq_st_read_f64(const gq_st_tensor *t, double *dst, gq_error *err);

float gq_f16_to_f32(uint16_t half);                          /* exact, NaN payloads kept          */

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct gq_st_writer gq_st_writer;
typedef struct gq_st_meta { const char *key, *value; } gq_st_meta;

/* Declares everything first: tensors (name, dtype, rank, shape; the rest is ignored) in the
 * order of their data, and metadata. Then gq_st_put() in the same order, then gq_st_commit().
 * The same calls give the same bytes. The header is padded with spaces to a multiple of 8; the
 * file appears on commit only (core/io.h). Declarations are copied. */
gq_status gq_st_writer_open(const char *path, const gq_st_tensor *tensors, size_t count,
                            const gq_st_meta *meta, size_t meta_count, gq_st_writer **out,
                            gq_error *err);
/* The next bytes of tensor `name`, which must be the one whose turn it is; several calls may
 * fill one tensor. */
gq_status gq_st_put(gq_st_writer *w, const char *name, const void *data, size_t bytes,
                    gq_error *err);
gq_status gq_st_commit(gq_st_writer *w, gq_error *err);      /* frees w, also when it fails       */
void      gq_st_abort(gq_st_writer *w);                      /* NULL allowed                      */
uint64_t  gq_st_file_size(const gq_st_writer *w);            /* bytes the finished file will have */

#endif
