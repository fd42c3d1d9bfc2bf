/* gif.c - the records of a GIF through giflib (never its whole-file reader), the rules for damage,
 * the limits. */
#include "data/gif.h"

#include <string.h>
#include <time.h>

#include "core/mem.h"
#include "data/gif_parts.h"

typedef struct control {           /* a graphics control extension, for the image that follows it */
    int32_t delay_cs;                   /* 1/100 s, -1: none                                      */
    int16_t transparent;                /* palette index, -1: none                                */
    uint8_t disposal;                   /* 0..7                                                   */
} control;

static const control no_control = { .delay_cs = -1, .transparent = -1 };

struct gq_gif {
    const uint8_t *data;                /* [size], the caller's                                   */
    size_t         size, pos;           /* bytes; pos: what giflib has read                       */
    char          *name;                /* owned                                                  */
    gq_gif_limits  limits;
    GifFileType   *lib;                 /* owned                                                  */
    uint32_t       width, height;       /* screen, pixels                                         */
    int32_t        loop;                /* -1: none seen                                          */
    unsigned       flags;               /* GQ_GIF_*                                               */
    uint32_t       frames;              /* given so far                                           */
    bool           ended;
    control        next;                /* for the next image                                     */
    uint64_t       pixels;              /* decoded so far                                         */
    int64_t        nanoseconds;         /* CPU time used so far                                   */
    gq_error       failed;              /* the error that ended this reader                       */
    gq_canvas      canvas;
    uint8_t       *index;               /* [room] indices of the current frame, owned             */
    size_t         room;
    gq_lzw         lzw;
};

gq_gif_limits gq_gif_limits_default(void)
{
    return (gq_gif_limits){.max_bytes = 64u << 20,
                           .max_side = 4096,
                           .max_pixels_total = 256u << 20,
                           .max_frames = 4096,
                           .max_seconds = 5.0};
}

static int read_bytes(GifFileType *lib, GifByteType *out, int count)
{
    gq_gif *g = lib->UserData;
    size_t  n = g->size - g->pos < (size_t)count ? g->size - g->pos : (size_t)count;
    memcpy(out, g->data + g->pos, n);
    g->pos += n;
    return (int)n;
}

static int64_t cpu_nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* ---- opening --------------------------------------------------------------------------------- */

static gq_status check_screen(gq_gif *g, gq_error *err)
{
    static const char *const raise = "raise data.limits.side to read it";
    if (!g->width || !g->height)
        return gq_fail(err, GQ_EINPUT, "%s: the screen has %ux%u pixels, nothing can be shown",
                       g->name, g->width, g->height);
    if (g->width > g->limits.max_side || g->height > g->limits.max_side)
        return gq_fail(err, GQ_EINPUT,
                       "%s: the screen has %ux%u pixels, the limit is %u a side; %s", g->name,
                       g->width, g->height, g->limits.max_side, raise);
    return GQ_OK;
}

/* Screen and global colours are all there. */
static bool has_header(const uint8_t *data, size_t size)
{
    return size >= 13 && size >= 13 + (data[10] & 0x80 ? (size_t)6 << (data[10] & 7) : 0);
}

static gq_status open_records(gq_gif *g, gq_error *err)
{
    if (g->size > g->limits.max_bytes)
        return gq_fail(err, GQ_EINPUT,
                       "%s: %zu bytes, the limit is %llu; raise data.limits.bytes to read it",
                       g->name, g->size, (unsigned long long)g->limits.max_bytes);
    if (g->size < 6 || memcmp(g->data, "GIF8", 4) != 0)
        return gq_fail(err, GQ_EINPUT, "%s: not a GIF: it does not begin with GIF87a or GIF89a",
                       g->name);
    int code = 0;
    g->lib = DGifOpen(g, read_bytes, &code);
    /* giflib calls it a missing screen when it has no memory for the colours */
    if (!g->lib && (code == D_GIF_ERR_NOT_ENOUGH_MEM || has_header(g->data, g->size)))
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a GIF reader", g->name);
    if (!g->lib)
        return gq_fail(err, GQ_EINPUT, "%s: ends within its header (%zu bytes)", g->name, g->size);
    g->width = (uint32_t)g->lib->SWidth;
    g->height = (uint32_t)g->lib->SHeight;
    return check_screen(g, err);
}

gq_status gq_gif_open(const uint8_t *data, size_t size, const char *name,
                      const gq_gif_limits *limits, gq_gif **out, gq_error *err)
{
    *out = NULL;
    gq_gif *g = gq_calloc(1, sizeof *g);
    if (!g || !(g->name = gq_strdup(name ? name : "GIF"))) {
        gq_free(g);
        return gq_fail(err, GQ_ENOMEM, "no memory for a GIF reader");
    }
    g->data = data;
    g->size = size;
    g->limits = limits ? *limits : gq_gif_limits_default();
    g->loop = -1;
    g->next = no_control;
    gq_status status = open_records(g, err);
    if (status)
        gq_gif_close(g);
    else
        *out = g;
    return status;
}

void gq_gif_close(gq_gif *g)
{
    if (!g)
        return;
    if (g->lib)
        DGifCloseFile(g->lib, NULL);
    gq_canvas_free(&g->canvas);
    gq_free(g->index);
    gq_free(g->name);
    gq_free(g);
}

uint32_t gq_gif_width(const gq_gif *g) { return g->width; }
uint32_t gq_gif_height(const gq_gif *g) { return g->height; }
unsigned gq_gif_flags(const gq_gif *g) { return g->flags; }
int32_t  gq_gif_loop(const gq_gif *g) { return g->loop; }

/* ---- extensions ------------------------------------------------------------------------------ */

static void take_control(gq_gif *g, const uint8_t *block)
{
    if (block[0] < 4)                   /* too short to mean anything                             */
        return;
    g->next.disposal = (block[1] >> 2) & 7;
    g->next.delay_cs = block[2] | block[3] << 8;
    g->next.transparent = (int16_t)(block[1] & 1 ? block[4] : -1);
}

static bool names_loop(const uint8_t *block)
{
    return block[0] == 11 &&
           (!memcmp(block + 1, "NETSCAPE2.0", 11) || !memcmp(block + 1, "ANIMEXTS1.0", 11));
}

/* False: the file ends inside the extension. */
static bool read_extension(gq_gif *g)
{
    int          code = 0;
    GifByteType *block = NULL;
    if (DGifGetExtension(g->lib, &code, &block) != GIF_OK)
        return false;
    bool loop = block && code == APPLICATION_EXT_FUNC_CODE && names_loop(block);
    if (block && code == GRAPHICS_EXT_FUNC_CODE)
        take_control(g, block);
    while (block) {
        if (DGifGetExtensionNext(g->lib, &block) != GIF_OK)
            return false;
        if (loop && block && block[0] >= 3 && block[1] == 1)
            g->loop = block[2] | block[3] << 8;
    }
    return true;
}

/* ---- images ---------------------------------------------------------------------------------- */

typedef enum step {                     /* what reading one record led to                         */
    STEP_MORE,                          /* nothing to show yet                                    */
    STEP_FRAME,
    STEP_END,
    STEP_FAILED,
} step;

static step stop_with(gq_gif *g, unsigned flag)
{
    g->flags |= flag;
    g->ended = true;
    return STEP_END;
}

static void describe(const gq_gif *g, gq_gif_frame *info)
{
    const GifImageDesc *d = &g->lib->Image;
    *info = (gq_gif_frame){
        .index = g->frames,
        .delay_cs = g->next.delay_cs,
        .x = (uint32_t)d->Left,
        .y = (uint32_t)d->Top,
        .w = (uint32_t)d->Width,
        .h = (uint32_t)d->Height,
        .disposal = g->next.disposal,
        .transparent = g->next.transparent,
        .interlaced = d->Interlace,
        .complete = true,
        .local_colors = (uint16_t)(d->ColorMap ? d->ColorMap->ColorCount : 0),
    };
}

/* The colours that this frame's indices draw; see gq_patch. */
static void fill_colors(gq_gif *g, uint32_t color[256])
{
    const ColorMapObject *map = g->lib->Image.ColorMap ? g->lib->Image.ColorMap : g->lib->SColorMap;
    if (!map)
        g->flags |= GQ_GIF_NO_PALETTE;
    for (int i = 0; i < 256; i++) {
        uint8_t c[4] = { (uint8_t)i, (uint8_t)i, (uint8_t)i, 255 };
        if (map && i < map->ColorCount)
            memcpy(c, (uint8_t[3]){map->Colors[i].Red, map->Colors[i].Green, map->Colors[i].Blue},
                   3);
        memcpy(&color[i], c, sizeof c);
        if ((map && i >= map->ColorCount) || i == g->next.transparent)
            color[i] = 0;
    }
}

/* Frames with a transparent index lie on nothing. Those without lie on the screen's background
 * colour: browsers ignore it, but wherever this shows, most decoders do not. */
static uint32_t background(const gq_gif *g)
{
    const ColorMapObject *map = g->lib->SColorMap;
    int                   index = g->lib->SBackGroundColor;
    uint32_t              pixel = 0;
    if (g->next.transparent < 0 && map && index < map->ColorCount)
        memcpy(&pixel,
               (uint8_t[4]){map->Colors[index].Red, map->Colors[index].Green,
                            map->Colors[index].Blue, 255},
               sizeof pixel);
    return pixel;
}

/* Pixels of the current image that can be seen or stand before one: rows below the screen are never
 * decoded. */
static gq_status pixels_needed(gq_gif *g, const gq_gif_frame *info, size_t *want, gq_error *err)
{
    gq_rect shown =
        gq_rect_clip((gq_rect){info->x, info->y, info->w, info->h}, g->width, g->height);
    uint64_t rows = info->interlaced && shown.h ? info->h : shown.h, area = rows * info->w;
    uint64_t limit = (uint64_t)g->limits.max_side * g->limits.max_side;
    if (area > limit || area >= UINT32_MAX)
        return gq_fail(
            err, GQ_EINPUT,
            "%s: frame %u has %ux%u pixels, the limit is %llu pixels; raise data.limits.side"
            " to read it",
            g->name, info->index, info->w, info->h, (unsigned long long)limit);
    *want = (size_t)area;
    return GQ_OK;
}

static gq_status grow_index(gq_gif *g, size_t want, gq_error *err)
{
    if (g->room >= want + GQ_LZW_SLACK)
        return GQ_OK;
    gq_free(g->index);
    g->index = gq_malloc(want + GQ_LZW_SLACK, 1);
    g->room = g->index ? want + GQ_LZW_SLACK : 0;
    return g->index
               ? GQ_OK
               : gq_fail(err, GQ_ENOMEM, "%s: no memory for a frame of %zu pixels", g->name, want);
}

/* Skips the rest of the current image's data. False: the file ends first. */
static bool skip_blocks(gq_gif *g)
{
    GifByteType *block = NULL;
    do {
        if (DGifGetCodeNext(g->lib, &block) != GIF_OK)
            return false;
    } while (block);
    return true;
}

/* Decodes the current image into g->index and draws it. */
static step show_image(gq_gif *g, gq_gif_frame *info, gq_error *err)
{
    size_t want = 0, got = 0;
    if (pixels_needed(g, info, &want, err) || grow_index(g, want, err))
        return STEP_FAILED;
    gq_lzw_end end = want ? gq_lzw_decode(&g->lzw, g->lib, g->index, want, &got) : GQ_LZW_FULL;
    g->pixels += got;
    if (g->pixels > g->limits.max_pixels_total) {
        gq_fail(err, GQ_EINPUT,
                "%s: more than %llu pixels up to frame %u; raise data.limits.pixels to read it",
                g->name, (unsigned long long)g->limits.max_pixels_total, info->index);
        return STEP_FAILED;
    }
    if (!got && want && !g->frames && (end == GQ_LZW_CUT || end == GQ_LZW_INVALID)) {
        gq_fail(err, GQ_EINPUT, "%s: the data of the first frame %s; nothing can be shown", g->name,
                end == GQ_LZW_CUT ? "are cut off before its first pixel"
                                  : "are invalid from the start");
        return STEP_FAILED;
    }
    info->complete = end == GQ_LZW_FULL;
    if (end == GQ_LZW_CUT && g->frames)
        return stop_with(g, GQ_GIF_TRUNCATED);
    gq_patch patch = {.rect = {info->x, info->y, info->w, info->h},
                      .index = g->index,
                      .have = got,
                      .interlaced = info->interlaced,
                      .dispose = info->disposal,
                      .transparent = g->next.transparent,
                      .background = background(g)};
    fill_colors(g, patch.color);
    if (gq_canvas_draw(&g->canvas, &patch, err))
        return STEP_FAILED;
    if (end == GQ_LZW_SHORT || end == GQ_LZW_NO_MORE || end == GQ_LZW_INVALID)
        g->flags |= GQ_GIF_DAMAGED;
    if (end == GQ_LZW_CUT || (end != GQ_LZW_NO_MORE && !skip_blocks(g)))
        stop_with(g, GQ_GIF_TRUNCATED);
    return STEP_FRAME;
}

/* The same decision without pixels. Only an image that the file's end cuts has to be decoded, to
 * see whether what is missing is a pixel or just the last block's end. */
static step pass_image(gq_gif *g, const gq_gif_frame *info, gq_error *err)
{
    size_t want = 0, got = 0, start = g->pos;
    if (pixels_needed(g, info, &want, err))
        return STEP_FAILED;
    if (skip_blocks(g))
        return STEP_FRAME;
    stop_with(g, GQ_GIF_TRUNCATED);
    if (!g->frames || !want)
        return STEP_FRAME;
    if (grow_index(g, want, err))
        return STEP_FAILED;
    g->pos = start;
    return gq_lzw_decode(&g->lzw, g->lib, g->index, want, &got) == GQ_LZW_CUT ? STEP_END
                                                                              : STEP_FRAME;
}

static step read_image(gq_gif *g, bool draw, gq_gif_frame *info, gq_error *err)
{
    if (g->frames == g->limits.max_frames)
        return stop_with(g, GQ_GIF_FRAME_LIMIT);
    g->lib->Error = 0;
    if (DGifGetImageHeader(g->lib) != GIF_OK) {
        if (g->lib->Error == D_GIF_ERR_NOT_ENOUGH_MEM) {
            gq_fail(err, GQ_ENOMEM, "%s: no memory for a palette", g->name);
            return STEP_FAILED;
        }
        return stop_with(g, g->pos == g->size ? GQ_GIF_TRUNCATED : GQ_GIF_DAMAGED);
    }
    describe(g, info);
    step result = STEP_MORE;
    if (info->w && info->h)
        result = draw ? show_image(g, info, err) : pass_image(g, info, err);
    else if (!skip_blocks(g))           /* an image of no pixels is no frame                      */
        return stop_with(g, GQ_GIF_TRUNCATED);
    g->next = no_control;
    g->frames += result == STEP_FRAME;
    return result;
}

/* ---- records --------------------------------------------------------------------------------- */

static step read_record(gq_gif *g, bool draw, gq_gif_frame *info, gq_error *err)
{
    while (g->pos < g->size && g->data[g->pos] == 0)      /* surplus block terminators are common */
        g->pos++;
    if (g->pos == g->size)
        return stop_with(g, GQ_GIF_TRUNCATED);
    GifRecordType type = UNDEFINED_RECORD_TYPE;
    if (DGifGetRecordType(g->lib, &type) != GIF_OK)
        return stop_with(g, GQ_GIF_DAMAGED);
    if (type == IMAGE_DESC_RECORD_TYPE)
        return read_image(g, draw, info, err);
    if (type == EXTENSION_RECORD_TYPE)
        return read_extension(g) ? STEP_MORE : stop_with(g, GQ_GIF_TRUNCATED);
    return stop_with(g, 0);
}

/* Reads records up to the next frame or the end, within the time that is left. */
static step read_frame(gq_gif *g, bool draw, gq_gif_frame *info, gq_error *err)
{
    int64_t start = cpu_nanoseconds();
    step    result = STEP_MORE;
    while (result == STEP_MORE && !g->ended)
        result = read_record(g, draw, info, err);
    g->nanoseconds += cpu_nanoseconds() - start;
    double limit = g->limits.max_seconds;
    if (result == STEP_FRAME && limit > 0 && (double)g->nanoseconds * 1e-9 > limit) {
        gq_fail(
            err, GQ_EINPUT,
            "%s: frame %u is reached after more than %g s of CPU time; raise data.limits.seconds to"
            " read it",
            g->name, info->index, limit);
        return STEP_FAILED;
    }
    if (!g->frames && result != STEP_FAILED) {
        gq_fail(err, GQ_EINPUT, "%s: no frame: %s (byte %zu of %zu)", g->name,
                g->flags & GQ_GIF_TRUNCATED ? "the file is cut off"
                : g->flags & GQ_GIF_DAMAGED ? "what stands where an image should be is not one"
                                            : "the file has no image",
                g->pos, g->size);
        return STEP_FAILED;
    }
    return result;
}

gq_status gq_gif_next(gq_gif *g, const uint8_t **rgba, gq_gif_frame *info, gq_error *err)
{
    *rgba = NULL;
    if (g->failed.code)
        return gq_fail(err, g->failed.code, "%s", g->failed.text);
    if (g->ended)
        return GQ_OK;
    step result = STEP_FAILED;
    if (g->canvas.rgba || !gq_canvas_init(&g->canvas, g->width, g->height, &g->failed))
        result = read_frame(g, true, info, &g->failed);
    if (result == STEP_FAILED)
        return gq_fail(err, g->failed.code, "%s", g->failed.text);
    if (result == STEP_FRAME)
        *rgba = (const uint8_t *)g->canvas.rgba;
    return GQ_OK;
}

gq_status gq_gif_count(const uint8_t *data, size_t size, const char *name,
                       const gq_gif_limits *limits, gq_gif_summary *out, gq_error *err)
{
    gq_gif   *g;
    gq_status status = gq_gif_open(data, size, name, limits, &g, err);
    *out = (gq_gif_summary){ 0 };
    if (status)
        return status;
    gq_gif_frame info = { 0 };
    step         result = STEP_FRAME;
    while (!g->ended && result == STEP_FRAME) {
        result = read_frame(g, false, &info, &g->failed);
        if (result == STEP_FRAME && info.delay_cs > 0)
            out->delay_cs += (uint64_t)info.delay_cs;
    }
    if (result == STEP_FAILED)
        status = gq_fail(err, g->failed.code, "%s", g->failed.text);
    out->width = g->width;
    out->height = g->height;
    out->frames = g->frames;
    out->loop = g->loop;
    out->flags = g->flags;
    gq_gif_close(g);
    return status;
}
