/* fuzz_gif.c - any bytes as a GIF: the streaming decoder with composition, the walk without pixels,
 * the loader, within small limits; and what was decoded survives our own encoder. */
#include "fuzz.h"

#include "core/mem.h"
#include "data/gif.h"
#include "data/gifwrite.h"

enum { SIDE = 400, FRAMES = 24, PIXELS = 1 << 19, CLIP = 16 << 20 };

static const gq_gif_limits limits = {.max_bytes = 1 << 20,
                                     .max_side = SIDE,
                                     .max_pixels_total = PIXELS,
                                     .max_frames = FRAMES};

typedef struct seen {                   /* by the streaming decoder                               */
    gq_status status;
    uint32_t  width, height, frames;
    uint64_t  delay_cs;
    int32_t   loop;
    unsigned  flags;
    uint8_t  *rgb;                      /* [frames, height, width, 3] over black, owned           */
} seen;

static void check_canvas(const uint32_t *rgba, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        must(rgba[i] == 0 || rgba[i] >> 24 == 255, "pixel %zu is %08x", i, rgba[i]);
}

static void check_info(const gq_gif_frame *f, uint32_t index)
{
    must(f->index == index && f->index < FRAMES, "frame %u as number %u", f->index, index);
    must(f->w && f->h && f->disposal < 8, "%u x %u, disposal %u", f->w, f->h, f->disposal);
    must(f->transparent >= -1 && f->transparent < 256, "%d", f->transparent);
    must(f->delay_cs >= -1 && f->delay_cs <= 65535, "%d", f->delay_cs);
    must(f->local_colors <= 256, "%u", f->local_colors);
}

static void keep(seen *s, const uint8_t *rgba)
{
    static const uint8_t black[3];
    size_t               pixels = (size_t)s->width * s->height;
    s->rgb = gq_realloc(s->rgb, s->frames + 1, pixels * 3);
    must(s->rgb, "memory");
    gq_gif_over(rgba, pixels, black, s->rgb + s->frames * pixels * 3);
    s->frames++;
}

static seen stream(const uint8_t *data, size_t size)
{
    seen          s = {0};
    gq_gif       *g;
    gq_gif_frame  info;
    gq_error      err = {0}, again = {0};
    const uint8_t *rgba;

    s.status = gq_gif_open(data, size, "x.gif", &limits, &g, &err);
    if (s.status != GQ_OK) {
        must(!g, "a reader in spite of '%s'", err.text);
        fz_refused(s.status, &err, GQ_EINPUT);
        return s;
    }
    s.width = gq_gif_width(g);
    s.height = gq_gif_height(g);
    must(s.width && s.width <= SIDE && s.height && s.height <= SIDE, "%u x %u", s.width, s.height);
    while ((s.status = gq_gif_next(g, &rgba, &info, &err)) == GQ_OK && rgba) {
        check_info(&info, s.frames);
        check_canvas((const uint32_t *)rgba, (size_t)s.width * s.height);
        keep(&s, rgba);
        s.delay_cs += info.delay_cs > 0 ? (uint64_t)info.delay_cs : 0;
    }
    if (s.status != GQ_OK)
        fz_refused(s.status, &err, GQ_EINPUT);
    must(gq_gif_next(g, &rgba, &info, &again) == s.status && !rgba, "the end came twice otherwise");
    must(!strcmp(again.text, err.text), "'%s', then '%s'", err.text, again.text);
    must(s.frames <= FRAMES, "%u frames", s.frames);
    must(s.status != GQ_OK || s.frames, "neither an error nor a frame");
    s.loop = gq_gif_loop(g);
    s.flags = gq_gif_flags(g);
    gq_gif_close(g);
    return s;
}

/* Counting sees what decoding sees, but for what only pixels show. */
static void check_count(const uint8_t *data, size_t size, const seen *s)
{
    gq_gif_summary sum;
    gq_error       err = {0};
    gq_status      status = gq_gif_count(data, size, "x.gif", &limits, &sum, &err);

    if (status != GQ_OK)
        fz_refused(status, &err, GQ_EINPUT);
    must(s->status != GQ_OK || status == GQ_OK, "counting fails: %s", err.text);
    if (s->status != GQ_OK || status != GQ_OK)
        return;
    must(sum.frames == s->frames, "counted %u, decoded %u", sum.frames, s->frames);
    must(sum.width == s->width && sum.height == s->height, "%u x %u", sum.width, sum.height);
    must(sum.delay_cs == s->delay_cs && sum.loop == s->loop, "delays %llu, %llu; loops %d, %d",
         (unsigned long long)sum.delay_cs, (unsigned long long)s->delay_cs, sum.loop, s->loop);
    must(!(sum.flags & ~s->flags), "flags %u, decoding has %u", sum.flags, s->flags);
}

/* The last frame alone, twice, and what is no frame. */
static void check_chosen(const uint8_t *data, size_t size, const seen *s)
{
    const uint32_t last = s->frames - 1, twice[] = {last, last}, none[] = {last, last + 1},
                   back[] = {last, 0};
    const size_t   frame = (size_t)s->width * s->height * 3;
    const uint8_t *pixels = s->rgb + last * frame;
    gq_gif_clip    clip;
    gq_error       err = {0};
    gq_status      status = gq_gif_load_rgb(data, size, NULL, &limits, twice, 2, NULL, CLIP, &clip,
                                            &err);
    must(status == GQ_OK && clip.nframes == 2, "the last frame: %s", err.text);
    must(!memcmp(clip.rgb, pixels, frame) && !memcmp(clip.rgb + frame, pixels, frame), "pixels");
    must(clip.delay_cs[0] == clip.delay_cs[1], "%d, %d", clip.delay_cs[0], clip.delay_cs[1]);
    gq_gif_clip_free(&clip);

    status = gq_gif_load_rgb(data, size, "x.gif", &limits, none, 2, NULL, CLIP, &clip, &err);
    must(!clip.rgb, "pixels of no frame");
    fz_refused(status, &err, GQ_EINPUT);
    err = (gq_error){0};
    status = gq_gif_load_rgb(data, size, "x.gif", &limits, back, 2, NULL, CLIP, &clip, &err);
    must(status == (last ? GQ_EUSAGE : GQ_OK), "frames in falling order: %d", (int)status);
    gq_gif_clip_free(&clip);
}

static void check_load(const uint8_t *data, size_t size, const seen *s)
{
    gq_gif_clip clip;
    gq_error    err = {0};
    size_t      bytes = (size_t)s->frames * s->width * s->height * 3;
    gq_status   status = gq_gif_load_rgb(data, size, "x.gif", &limits, NULL, 0, NULL, CLIP, &clip,
                                         &err);
    must(status == (bytes <= CLIP ? GQ_OK : GQ_EINPUT), "%zu bytes: %s", bytes, err.text);
    if (status == GQ_OK)
        must(clip.nframes == s->frames && !memcmp(clip.rgb, s->rgb, bytes), "loaded otherwise");
    gq_gif_clip_free(&clip);
    check_chosen(data, size, s);

    err = (gq_error){0};
    status = gq_gif_load_rgb(data, size, "x.gif", &limits, NULL, 0, NULL, bytes - 1, &clip, &err);
    fz_refused(status, &err, GQ_EINPUT);
}

/* As a file: whole, or refused for its size. */
static void check_file(const uint8_t *data, size_t size)
{
    const char *path = fz_put("x.gif", data, size);
    gq_bytes    file;
    gq_error    err = {0};
    must(gq_gif_read(path, size, &file, &err) == GQ_OK && file.size == size, "%s", err.text);
    must(!size || !memcmp(file.data, data, size), "other bytes");
    gq_bytes_free(&file);
    if (size)
        fz_refused(gq_gif_read(path, size - 1, &file, &err), &err, GQ_EINPUT);
}

/* One frame as indices; false: more than 256 colours. */
static bool index_frame(const uint8_t *rgb, size_t pixels, uint8_t *index, uint8_t palette[256][3],
                        uint32_t *colors)
{
    *colors = 0;
    for (size_t i = 0; i < pixels; i++) {
        uint32_t c = i && !memcmp(rgb + 3 * i, rgb + 3 * i - 3, 3) ? index[i - 1] : 0;
        while (c < *colors && memcmp(palette[c], rgb + 3 * i, 3) != 0)
            c++;
        if (c == 256)
            return false;
        if (c == *colors)
            memcpy(palette[(*colors)++], rgb + 3 * i, 3);
        index[i] = (uint8_t)c;
    }
    return true;
}

/* Encoding the last frame and decoding it gives its pixels. */
static void check_encoder(const seen *s)
{
    size_t         pixels = (size_t)s->width * s->height;
    const uint8_t *rgb = s->rgb + (s->frames - 1) * pixels * 3;
    uint8_t       *index = gq_malloc(pixels, 1), palette[256][3];
    uint32_t       colors;
    gq_error       err = {0};
    must(index, "memory");
    if (pixels <= 4096 && index_frame(rgb, pixels, index, palette, &colors)) {
        gq_gif_anim anim = {s->width, s->height, 1, index, colors, (const uint8_t(*)[3])palette, 7};
        gq_bytes    file;
        must(gq_gif_encode(&anim, &file, &err) == GQ_OK, "%s", err.text);
        seen back = stream(file.data, file.size);
        must(back.status == GQ_OK && back.frames == 1 && back.width == s->width &&
                 back.height == s->height && back.delay_cs == 7 && !back.flags && back.loop == 0,
             "%u frames, flags %u, loop %d", back.frames, back.flags, back.loop);
        must(!memcmp(back.rgb, rgb, pixels * 3), "pixels changed");
        gq_free(back.rgb);
        gq_bytes_free(&file);
    }
    gq_free(index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    seen s = stream(data, size);
    check_count(data, size, &s);
    if (s.status == GQ_OK) {
        check_load(data, size, &s);
        check_encoder(&s);
    }
    check_file(data, size);
    gq_free(s.rgb);
    return 0;
}
