/* One GIF of a build: file, frames, pixels. Runs on any thread, one gq_worked each. */
#include <string.h>

#include "core/mem.h"
#include "data/build_private.h"
#include "data/clipcut.h"

static const size_t max_clip = 1u << 30;         /* bytes of the chosen frames before the resize */

void gq_frames_evenly(uint32_t n, int32_t t, int32_t *frame)
{
    for (int32_t k = 0; k < t; k++)
        frame[k] = (int32_t)gq_clipcut_middle(n, k, t);
}

gq_status gq_worked_init(gq_worked *w, const gq_build_opts *o, gq_error *err)
{
    size_t t = (size_t)o->keyframes, s = (size_t)o->size;
    memset(w, 0, sizeof *w);
    w->choice.frame = gq_malloc(t, sizeof *w->choice.frame);
    w->choice.delay_cs = gq_malloc(t, sizeof *w->choice.delay_cs);
    w->choice.pixels = gq_malloc(t, 3 * s * s);
    if (!w->choice.frame || !w->choice.delay_cs || !w->choice.pixels) {
        gq_worked_free(w);
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for %zu frames of %zux%zu pixels", o->out, t,
                       s, s);
    }
    gq_status st = gq_resizer_new(&w->resizer, err);
    if (st != GQ_OK)
        gq_worked_free(w);
    return st;
}

void gq_worked_free(gq_worked *w)
{
    gq_resizer_free(w->resizer);
    gq_bytes_free(&w->bytes);
    gq_free(w->choice.frame);
    gq_free(w->choice.delay_cs);
    gq_free(w->choice.pixels);
    memset(w, 0, sizeof *w);
}

/* Names come from strangers: nothing outside the folder, ever. */
static bool stays_inside(const char *name)
{
    if (*name == '/')
        return false;
    for (const char *p = name; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || !p[2]))
            return false;
    }
    return true;
}

static bool has_control(const char *name)
{
    for (; *name; name++)
        if ((unsigned char)*name < 0x20 || *name == 0x7F)
            return true;
    return false;
}

/* "<gifs>/<name>", or with ".gif" when only that is there. */
static char *find_file(const gq_build_opts *o, const char *name)
{
    char *path = gq_path(o->gifs, name);
    if (!path || gq_is_file(path))
        return path;
    size_t n = strlen(path);
    char  *more = gq_realloc(path, n + 5, 1);
    if (!more) {
        gq_free(path);
        return NULL;
    }
    memcpy(more + n, ".gif", 5);
    if (!gq_is_file(more))
        more[n] = 0;                             /* the message shall show the name as it was */
    return more;
}

gq_status gq_worked_open(gq_worked *w, const gq_build_opts *o, const char *name, gq_error *err)
{
    gq_gif_summary sum;
    gq_bytes_free(&w->bytes);
    if (has_control(name))
        return gq_fail(err, GQ_EINPUT, "the name of the GIF has control characters");
    if (!stays_inside(name))
        return gq_fail(err, GQ_EINPUT, "%s: leads out of the folder of GIFs: refused", name);
    char *path = find_file(o, name);
    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", name);
    gq_status s = gq_gif_read(path, o->limits.max_bytes, &w->bytes, err);
    if (s == GQ_OK)
        s = gq_gif_count(w->bytes.data, w->bytes.size, path, &o->limits, &sum, err);
    gq_free(path);
    if (s != GQ_OK)
        return s;
    gq_sha256(w->bytes.data, w->bytes.size, w->sha256);
    w->frames = sum.frames;
    w->width = sum.width;
    w->height = sum.height;
    w->flags = sum.flags;
    return GQ_OK;
}

gq_status gq_worked_text(gq_worked *w, const gq_build_opts *o, const char *name, gq_error *err)
{
    if (has_control(name))
        return gq_fail(err, GQ_EINPUT, "the name of the GIF has control characters");
    if (!o->context(o->ctx, name))
        return gq_fail(err, GQ_EINPUT, "%s: has no context", name);
    w->frames = 1;
    w->choice.frame[0] = w->choice.delay_cs[0] = 0;
    return GQ_OK;
}

gq_status gq_worked_decode(gq_worked *w, const gq_build_opts *o, const char *name, gq_error *err)
{
    size_t      t = (size_t)o->keyframes, side = (size_t)o->size;
    gq_gif_clip clip;
    gq_status   s =
        gq_gif_load_rgb(w->bytes.data, w->bytes.size, name, &o->limits,
                        (const uint32_t *)w->choice.frame, t, o->matte, max_clip, &clip, err);
    if (s != GQ_OK)
        return s;
    for (size_t k = 0; s == GQ_OK && k < t; k++) {
        int32_t delay = clip.delay_cs[k];
        w->choice.delay_cs[k] = (uint16_t)(delay > 0 ? delay : 0);
        s = gq_resizer_preprocess(w->resizer, clip.rgb + k * 3 * clip.width * clip.height,
                                  clip.width, clip.height, (uint32_t)side, o->filter,
                                  w->choice.pixels + k * 3 * side * side, err);
    }
    w->flags |= clip.flags;
    gq_gif_clip_free(&clip);
    for (size_t k = 1; k < t; k++)
        if (w->choice.frame[k] == w->choice.frame[k - 1])
            w->flags |= GQ_SHARD_REPEATED;
    return s;
}
