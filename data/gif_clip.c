/* gif_clip.c - a GIF file into memory, chosen frames of it as plain RGB. */
#include <sys/stat.h>

#include "core/mem.h"
#include "data/gif.h"
#include "data/pixels.h"

gq_status gq_gif_read(const char *path, uint64_t max_bytes, gq_bytes *out, gq_error *err)
{
    struct stat st;

    *out = (gq_bytes){0};
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size > max_bytes)
        return gq_fail(err, GQ_EINPUT,
                       "%s: %lld bytes, the limit is %llu; raise data.limits.bytes to read it",
                       path, (long long)st.st_size, (unsigned long long)max_bytes);
    return gq_read_file(path, max_bytes, out, err);
}

void gq_gif_over(const uint8_t *rgba, size_t pixels, const uint8_t matte[3], uint8_t *rgb)
{
    gq_pixels_over(rgba, pixels, matte, rgb);
}

void gq_gif_clip_free(gq_gif_clip *clip)
{
    gq_free(clip->rgb);
    gq_free(clip->delay_cs);
    *clip = (gq_gif_clip){ 0 };
}

/* Puts the wanted frames into the arrays of `clip`; `wanted` NULL means 0, 1, 2, ... */
static gq_status fill_clip(gq_gif *g, const char *name, const uint32_t *wanted,
                           const uint8_t matte[3], gq_gif_clip *clip, gq_error *err)
{
    size_t         pixels = (size_t)clip->width * clip->height;
    const uint8_t *rgba = NULL;
    gq_gif_frame   info = { 0 };
    uint32_t       given = 0;           /* frames decoded so far                                  */
    for (uint32_t k = 0; k < clip->nframes; k++) {
        uint32_t index = wanted ? wanted[k] : k;
        if (k && wanted && index < wanted[k - 1])
            return gq_fail(err, GQ_EUSAGE, "%s: frame %u is asked for after frame %u", name, index,
                           wanted[k - 1]);
        while (given <= index) {
            gq_status status = gq_gif_next(g, &rgba, &info, err);
            if (status)
                return status;
            if (!rgba)
                return gq_fail(err, GQ_EINPUT, "%s: frame %u is asked for, the file has %u", name,
                               index, given);
            given++;
        }
        gq_gif_over(rgba, pixels, matte, clip->rgb + k * pixels * 3);
        clip->delay_cs[k] = info.delay_cs;
    }
    clip->flags = gq_gif_flags(g);
    return GQ_OK;
}

static gq_status alloc_clip(const char *name, size_t max_bytes, gq_gif_clip *clip, gq_error *err)
{
    size_t bytes;
    if (!gq_mul_size((size_t)clip->width * clip->height * 3, clip->nframes, &bytes) ||
        bytes > max_bytes)
        return gq_fail(
            err, GQ_EINPUT,
            "%s: %u frames of %ux%u pixels need more than the %zu bytes allowed here; ask"
            " for fewer frames",
            name, clip->nframes, clip->width, clip->height, max_bytes);
    clip->rgb = gq_malloc(bytes, 1);
    clip->delay_cs = gq_calloc(clip->nframes, sizeof *clip->delay_cs);
    if (!clip->rgb || !clip->delay_cs)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for %u frames of %ux%u pixels", name,
                       clip->nframes, clip->width, clip->height);
    return GQ_OK;
}

gq_status gq_gif_load_rgb(const uint8_t *data, size_t size, const char *name,
                          const gq_gif_limits *limits, const uint32_t *wanted, size_t nwanted,
                          const uint8_t matte[3], size_t max_bytes, gq_gif_clip *out, gq_error *err)
{
    static const uint8_t black[3] = { 0, 0, 0 };
    gq_gif              *g;
    *out = (gq_gif_clip){ 0 };
    name = name ? name : "GIF";
    if (wanted && nwanted > UINT32_MAX)
        return gq_fail(err, GQ_EUSAGE, "%s: %zu frames are asked for", name, nwanted);
    if (!wanted) {
        gq_gif_summary all;
        gq_status      counted = gq_gif_count(data, size, name, limits, &all, err);
        if (counted)
            return counted;
        nwanted = all.frames;
    }
    gq_status status = gq_gif_open(data, size, name, limits, &g, err);
    if (status)
        return status;
    out->width = gq_gif_width(g);
    out->height = gq_gif_height(g);
    out->nframes = (uint32_t)nwanted;
    status = alloc_clip(name, max_bytes, out, err);
    if (!status)
        status = fill_clip(g, name, wanted, matte ? matte : black, out, err);
    gq_gif_close(g);
    if (status)
        gq_gif_clip_free(out);
    return status;
}
