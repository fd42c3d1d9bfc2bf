/* gifwrite.c - giflib's record-level encoder into a growing memory buffer. */
#include "data/gifwrite.h"

#include <gif_lib.h>
#include <string.h>

#include "core/mem.h"

typedef struct sink {
    uint8_t *data;                      /* owned                                                  */
    size_t   size, room;                /* bytes used, bytes allocated                            */
    bool     failed;                    /* out of memory: giflib only says "write failed"         */
} sink;

static int sink_write(GifFileType *gif, const GifByteType *bytes, int count)
{
    sink  *s = gif->UserData;
    size_t n = (size_t)count;
    if (s->room - s->size < n) {
        size_t   room = s->room * 2 + n + 4096;
        uint8_t *data = gq_realloc(s->data, room, 1);
        if (!data) {
            s->failed = true;
            return 0;
        }
        s->data = data;
        s->room = room;
    }
    memcpy(s->data + s->size, bytes, n);
    s->size += n;
    return count;
}

static gq_status check(const gq_gif_anim *a, gq_error *err)
{
    if (a->width < 1 || a->width > 65535 || a->height < 1 || a->height > 65535)
        return gq_fail(err, GQ_EUSAGE,
                       "a GIF of %ux%u pixels cannot be written: each side is 1..65535", a->width,
                       a->height);
    if (a->ncolors < 1 || a->ncolors > 256)
        return gq_fail(err, GQ_EUSAGE, "a GIF palette has 1..256 colours, not %u", a->ncolors);
    if (a->nframes < 1)
        return gq_fail(err, GQ_EUSAGE, "a GIF needs at least one frame");
    if (a->delay_cs > 65535)
        return gq_fail(err, GQ_EUSAGE, "a GIF frame lasts at most 65535/100 s, not %u/100 s",
                       a->delay_cs);
    size_t per_frame = (size_t)a->width * a->height, total;
    if (!gq_mul_size(per_frame, a->nframes, &total))
        return gq_fail(err, GQ_EUSAGE, "%u frames of %ux%u pixels are too many", a->nframes,
                       a->width, a->height);
    for (size_t i = 0; i < total; i++)
        if (a->frames[i] >= a->ncolors)
            return gq_fail(err, GQ_EUSAGE, "frame %zu uses colour %u, the palette has %u",
                           i / per_frame, a->frames[i], a->ncolors);
    return GQ_OK;
}

static bool put_screen(GifFileType *gif, const gq_gif_anim *a)
{
    GifColorType colors[256] = { { 0, 0, 0 } };
    for (uint32_t i = 0; i < a->ncolors; i++)
        colors[i] = (GifColorType){ a->palette[i][0], a->palette[i][1], a->palette[i][2] };
    int bits = GifBitSize((int)a->ncolors);
    if (bits < 1)
        bits = 1;
    ColorMapObject *map = GifMakeMapObject(1 << bits, colors);
    if (!map)
        return false;
    EGifSetGifVersion(gif, true);
    int done = EGifPutScreenDesc(gif, (int)a->width, (int)a->height, bits, 0, map);
    GifFreeMapObject(map);
    static const uint8_t endless[3] = { 1, 0, 0 };
    return done == GIF_OK && EGifPutExtensionLeader(gif, APPLICATION_EXT_FUNC_CODE) == GIF_OK &&
           EGifPutExtensionBlock(gif, 11, "NETSCAPE2.0") == GIF_OK &&
           EGifPutExtensionBlock(gif, sizeof endless, endless) == GIF_OK &&
           EGifPutExtensionTrailer(gif) == GIF_OK;
}

/* `row`: scratch of one line, because giflib's encoder masks the pixels it is given in place. */
static bool put_frame(GifFileType *gif, const gq_gif_anim *a, uint32_t index, uint8_t *row)
{
    uint8_t control[4] = {DISPOSE_DO_NOT << 2, (uint8_t)a->delay_cs, (uint8_t)(a->delay_cs >> 8),
                          0};
    if (EGifPutExtension(gif, GRAPHICS_EXT_FUNC_CODE, sizeof control, control) != GIF_OK
        || EGifPutImageDesc(gif, 0, 0, (int)a->width, (int)a->height, false, NULL) != GIF_OK)
        return false;
    const uint8_t *pixels = a->frames + (size_t)index * a->width * a->height;
    for (uint32_t y = 0; y < a->height; y++) {
        memcpy(row, pixels + (size_t)y * a->width, a->width);
        if (EGifPutLine(gif, row, (int)a->width) != GIF_OK)
            return false;
    }
    return true;
}

static gq_status encode(const gq_gif_anim *a, sink *s, gq_error *err)
{
    int          code = 0;
    GifFileType *gif = EGifOpen(s, sink_write, &code);
    if (!gif)
        return gq_fail(err, GQ_ENOMEM, "no memory for a GIF encoder");
    uint8_t *row = gq_malloc(a->width, 1);
    bool     good = row && put_screen(gif, a);
    for (uint32_t i = 0; good && i < a->nframes; i++)
        good = put_frame(gif, a, i, row);
    gq_free(row);
    int closed = EGifCloseFile(gif, &code);                  /* frees it, also when it fails      */
    if (!good || closed != GIF_OK || s->failed)
        return gq_fail(err, GQ_ENOMEM, "no memory to write a GIF of %u frames of %ux%u pixels",
                       a->nframes, a->width, a->height);
    return GQ_OK;
}

gq_status gq_gif_encode(const gq_gif_anim *anim, gq_bytes *out, gq_error *err)
{
    *out = (gq_bytes){ 0 };
    gq_status status = check(anim, err);
    if (status)
        return status;
    sink s = { 0 };
    status = encode(anim, &s, err);
    if (!status && !sink_write(&(GifFileType){ .UserData = &s }, (const GifByteType *)"", 1))
        status = gq_fail(err, GQ_ENOMEM, "no memory to finish a GIF");
    if (status) {
        gq_free(s.data);
        return status;
    }
    /* without the NUL that gq_bytes promises */
    *out = (gq_bytes){ .data = s.data, .size = s.size - 1 };
    return GQ_OK;
}

gq_status gq_gif_write(const char *path, uint32_t width, uint32_t height, const uint8_t *frames,
                       uint32_t nframes, const uint8_t (*palette)[3], uint32_t ncolors,
                       uint32_t delay_cs, gq_error *err)
{
    gq_gif_anim anim = { .width = width, .height = height, .nframes = nframes, .frames = frames,
                         .ncolors = ncolors, .palette = palette, .delay_cs = delay_cs };
    gq_bytes  bytes;
    gq_status status = gq_gif_encode(&anim, &bytes, err);
    if (status)
        return gq_context(err, "%s", path);
    status = gq_write_file(path, bytes.data, bytes.size, err);
    gq_bytes_free(&bytes);
    return status;
}
