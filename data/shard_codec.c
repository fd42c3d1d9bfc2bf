#include "data/shard_codec.h"

#include <string.h>
#include <zlib.h>
#ifdef GIFQA_HAVE_ZSTD
#include <zstd.h>
#endif

#include "core/mem.h"

enum { LEVEL = 1 };                     /* of deflate and zstd: packing must not hold up a build */

const char *const gq_shard_codec_name[GQ_CODECS] = {"none", "gzip", "row-delta+zstd"};
const char *const gq_shard_codec_names = "none, gzip, row-delta+zstd";

struct gq_packer {
    uint8_t *packed;                    /* [packed_room], a packed row; NULL: it unpacks */
    size_t   packed_room;
    uint8_t *mixed;                     /* [largest row] between two filters; NULL: not needed */
    z_stream z;
    bool     z_ready;
#ifdef GIFQA_HAVE_ZSTD
    ZSTD_CCtx *zc;
    ZSTD_DCtx *zd;
#endif
};

/* ---- codecs ---------------------------------------------------------------------------------- */

bool gq_shard_codec_find(const char *name, gq_shard_codec *codec)
{
    for (int k = 0; k < GQ_CODECS; k++)
        if (strcmp(name, gq_shard_codec_name[k]) == 0) {
            *codec = (gq_shard_codec)k;
            return true;
        }
    return false;
}

uint32_t gq_shard_most_gifs(gq_shard_codec codec) { return codec == GQ_CODEC_NONE ? 65536 : 4096; }

const char *gq_shard_codec_lack(gq_shard_codec codec)
{
#ifdef GIFQA_HAVE_ZSTD
    (void)codec;
    return NULL;
#else
    return codec == GQ_CODEC_DELTA_ZSTD
               ? "this gifqa was built without libzstd, which codec row-delta+zstd needs: install "
                 "it (Debian: libzstd-dev) and build again, or use none or gzip"
               : NULL;
#endif
}

static bool shuffles(gq_h5_pack p) { return p == GQ_H5_SHUFFLE_DEFLATE || p == GQ_H5_SHUFFLE_ZSTD; }
static bool is_zstd(gq_h5_pack p) { return p == GQ_H5_SHUFFLE_ZSTD || p == GQ_H5_DELTA_ZSTD; }
static bool is_deflate(gq_h5_pack p) { return p == GQ_H5_DEFLATE || p == GQ_H5_SHUFFLE_DEFLATE; }

/* Deltas of features are no smaller than features: experiments/bench/tables/codec.md. */
gq_h5_pack gq__codec_pack(gq_shard_codec codec, size_t element)
{
    if (codec == GQ_CODEC_NONE)
        return GQ_H5_PLAIN;
    if (codec == GQ_CODEC_GZIP)
        return element > 1 ? GQ_H5_SHUFFLE_DEFLATE : GQ_H5_DEFLATE;
    return element > 1 ? GQ_H5_SHUFFLE_ZSTD : GQ_H5_DELTA_ZSTD;
}

bool gq__codec_allows(gq_shard_codec codec, size_t element, gq_h5_pack pack)
{
    return pack == gq__codec_pack(codec, element) ||
           (codec == GQ_CODEC_GZIP && pack == GQ_H5_DEFLATE);
}

const char *gq__codec_note(gq_h5_pack pack)
{
    static const char *const note[GQ_H5_PACKS] = {
        [GQ_H5_PLAIN] = "as it is; any HDF5 tool reads it",
        [GQ_H5_DEFLATE] = "deflate; any HDF5 tool reads it",
        [GQ_H5_SHUFFLE_DEFLATE] = "shuffle, deflate; any HDF5 tool reads it",
        [GQ_H5_SHUFFLE_ZSTD] = "shuffle, zstd; an HDF5 tool with the registered filter 32015 "
                               "reads it, others after gifqa-prep convert --codec none",
        [GQ_H5_DELTA_ZSTD] = "each byte minus the one `stride` bytes before it (private filter "
                             "407, its parameter is the stride), then zstd (32015); HDF5 tools "
                             "cannot read it: gifqa-prep convert --codec none",
    };
    return note[pack];
}

size_t gq__codec_bound(const gq_row_form *f)
{
    if (is_deflate(f->pack))
        return compressBound(f->bytes);
#ifdef GIFQA_HAVE_ZSTD
    if (is_zstd(f->pack))
        return ZSTD_compressBound(f->bytes);
#endif
    return f->pack == GQ_H5_PLAIN ? f->bytes : 0;
}

/* ---- filters --------------------------------------------------------------------------------- */

static void shuffle(const uint8_t *from, uint8_t *to, size_t bytes, size_t element)
{
    size_t n = bytes / element;
    for (size_t k = 0; k < element; k++)
        for (size_t i = 0; i < n; i++)
            to[k * n + i] = from[i * element + k];
}

static void unshuffle(const uint8_t *from, uint8_t *to, size_t bytes, size_t element)
{
    size_t n = bytes / element;
    if (element == 2)                            /* bfloat16, which is what training reads */
        for (size_t i = 0; i < n; i++) {
            to[2 * i] = from[i];
            to[2 * i + 1] = from[n + i];
        }
    else
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < element; k++)
                to[i * element + k] = from[k * n + i];
}

static void row_delta(const uint8_t *from, uint8_t *to, size_t bytes, size_t stride)
{
    size_t first = stride < bytes ? stride : bytes;
    memcpy(to, from, first);
    for (size_t i = first; i < bytes; i++)
        to[i] = (uint8_t)(from[i] - from[i - stride]);
}

/* Sums eight bytes at a time: the top bits apart, so that nothing is carried to a neighbour. */
static void undo_row_delta(uint8_t *row, size_t bytes, size_t stride)
{
    const uint64_t low = 0x7f7f7f7f7f7f7f7full;
    for (size_t at = stride; at < bytes; at += stride) {
        uint8_t *to = row + at, *from = to - stride;
        size_t   n = bytes - at < stride ? bytes - at : stride, i = 0;
        for (; i + 8 <= n; i += 8) {
            uint64_t a, b;
            memcpy(&a, to + i, 8);
            memcpy(&b, from + i, 8);
            a = ((a & low) + (b & low)) ^ ((a ^ b) & ~low);
            memcpy(to + i, &a, 8);
        }
        for (; i < n; i++)
            to[i] = (uint8_t)(to[i] + from[i]);
    }
}

/* ---- packers --------------------------------------------------------------------------------- */

static void *zlib_alloc(void *opaque, unsigned n, unsigned size)
{
    (void)opaque;
    return gq_malloc(n, size);
}

static void zlib_free(void *opaque, void *p)
{
    (void)opaque;
    gq_free(p);
}

/* libzstd allocates by itself, with the first row and then no more: contexts are used again, and
 * whole rows need no window. */
static bool open_zstd(gq_packer *p)
{
#ifdef GIFQA_HAVE_ZSTD
    if (!p->packed)
        return (p->zd = ZSTD_createDCtx());
    return (p->zc = ZSTD_createCCtx()) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(p->zc, ZSTD_c_compressionLevel, LEVEL)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(p->zc, ZSTD_c_checksumFlag, 1));
#else
    (void)p;
    return false;
#endif
}

static bool open_streams(gq_packer *p, bool zlib, bool zstd)
{
    if (zlib) {
        p->z.zalloc = zlib_alloc;
        p->z.zfree = zlib_free;
        p->z_ready = (p->packed ? deflateInit(&p->z, LEVEL) : inflateInit(&p->z)) == Z_OK;
    }
    return (!zlib || p->z_ready) && (!zstd || open_zstd(p));
}

gq_status gq__packer_new(const gq_row_form *const *form, int forms, bool packs, gq_packer **out,
                         gq_error *err)
{
    bool   zlib = false, zstd = false, mixes = false;
    size_t row = 0, room = 0;
    *out = NULL;
    for (int k = 0; k < forms; k++) {
        const gq_row_form *f = form[k];
        zlib = zlib || is_deflate(f->pack);
        zstd = zstd || is_zstd(f->pack);
        mixes = mixes || shuffles(f->pack) || (packs && f->pack == GQ_H5_DELTA_ZSTD);
        row = f->bytes > row ? f->bytes : row;
        room = gq__codec_bound(f) > room ? gq__codec_bound(f) : room;
    }
    if (!zlib && !zstd)
        return GQ_OK;
    gq_packer *p = gq_calloc(1, sizeof *p);
    if (p) {
        p->packed_room = room;
        p->packed = packs ? gq_malloc(room, 1) : NULL;
        p->mixed = mixes ? gq_malloc(row, 1) : NULL;
    }
    if (!p || (packs && !p->packed) || (mixes && !p->mixed) || !open_streams(p, zlib, zstd)) {
        gq__packer_free(p);
        return gq_fail(err, GQ_ENOMEM, "no memory to %s rows of %zu bytes",
                       packs ? "pack" : "unpack", row);
    }
    *out = p;
    return GQ_OK;
}

void gq__packer_free(gq_packer *p)
{
    if (!p)
        return;
    if (p->z_ready && p->packed)
        deflateEnd(&p->z);
    else if (p->z_ready)
        inflateEnd(&p->z);
#ifdef GIFQA_HAVE_ZSTD
    ZSTD_freeCCtx(p->zc);
    ZSTD_freeDCtx(p->zd);
#endif
    gq_free(p->mixed);
    gq_free(p->packed);
    gq_free(p);
}

/* ---- one row --------------------------------------------------------------------------------- */

static bool deflate_row(gq_packer *p, const void *row, size_t bytes, size_t *packed)
{
    if (deflateReset(&p->z) != Z_OK)
        return false;
    p->z.next_in = (Bytef *)(uintptr_t)row;
    p->z.avail_in = (unsigned)bytes;
    p->z.next_out = p->packed;
    p->z.avail_out = (unsigned)p->packed_room;
    bool ok = deflate(&p->z, Z_FINISH) == Z_STREAM_END;
    *packed = p->packed_room - p->z.avail_out;
    return ok;
}

static const char *inflate_row(gq_packer *p, const void *stored, size_t n, void *row, size_t bytes)
{
    if (inflateReset(&p->z) != Z_OK)
        return "zlib is not ready";
    p->z.next_in = (Bytef *)(uintptr_t)stored;
    p->z.avail_in = (unsigned)n;
    p->z.next_out = row;
    p->z.avail_out = (unsigned)bytes;
    return inflate(&p->z, Z_FINISH) == Z_STREAM_END && p->z.avail_out == 0 && p->z.avail_in == 0
               ? NULL
               : "not a zlib stream of its size";
}

static bool zstd_row(gq_packer *p, const void *row, size_t bytes, size_t *packed)
{
#ifdef GIFQA_HAVE_ZSTD
    *packed = ZSTD_compress2(p->zc, p->packed, p->packed_room, row, bytes);
    return !ZSTD_isError(*packed);
#else
    (void)p, (void)row, (void)bytes, (void)packed;
    return false;
#endif
}

static const char *unzstd_row(gq_packer *p, const void *stored, size_t n, void *row, size_t bytes)
{
#ifdef GIFQA_HAVE_ZSTD
    if (ZSTD_getFrameContentSize(stored, n) != bytes ||
        ZSTD_findFrameCompressedSize(stored, n) != n)
        return "not one zstd frame of its size";
    size_t got = ZSTD_decompressDCtx(p->zd, row, bytes, stored, n);
    return ZSTD_isError(got) ? ZSTD_getErrorName(got)
           : got != bytes    ? "not a zstd frame of its size"
                             : NULL;
#else
    (void)p, (void)stored, (void)n, (void)row, (void)bytes;
    return "zstd is not part of this build";
#endif
}

gq_status gq__pack(gq_packer *p, const gq_row_form *f, const void *row, const void **stored,
                   size_t *bytes, const char *path, gq_error *err)
{
    const void *from = row;
    if (shuffles(f->pack))
        shuffle(row, p->mixed, f->bytes, f->element);
    else if (f->pack == GQ_H5_DELTA_ZSTD)
        row_delta(row, p->mixed, f->bytes, f->stride);
    if (f->pack != GQ_H5_DEFLATE)
        from = p->mixed;
    *stored = p->packed;
    bool zstd = is_zstd(f->pack);
    if (zstd ? zstd_row(p, from, f->bytes, bytes) : deflate_row(p, from, f->bytes, bytes))
        return GQ_OK;
    return gq_fail(err, GQ_ENOMEM, "%s: %s has no memory", path, zstd ? "zstd" : "zlib");
}

const char *gq__unpack(gq_packer *p, const gq_row_form *f, const void *stored, size_t n, void *row)
{
    void       *to = shuffles(f->pack) ? p->mixed : row;
    const char *why = is_zstd(f->pack) ? unzstd_row(p, stored, n, to, f->bytes)
                                       : inflate_row(p, stored, n, to, f->bytes);
    if (!why && shuffles(f->pack))
        unshuffle(to, row, f->bytes, f->element);
    else if (!why && f->pack == GQ_H5_DELTA_ZSTD)
        undo_row_delta(row, f->bytes, f->stride);
    return why;
}
