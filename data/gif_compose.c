/* gif_compose.c - the canvas: disposal of the last frame, then the next frame's pixels over it. */
#include <string.h>

#include "core/mem.h"
#include "data/gif_parts.h"
#include "data/pixels.h"

gq_status gq_canvas_init(gq_canvas *c, uint32_t width, uint32_t height, gq_error *err)
{
    *c = (gq_canvas){ .width = width, .height = height };
    size_t pixels;
    if (gq_mul_size(width, height, &pixels))
        c->rgba = gq_calloc(pixels, sizeof *c->rgba);
    return c->rgba
               ? GQ_OK
               : gq_fail(err, GQ_ENOMEM, "no memory for a canvas of %ux%u pixels", width, height);
}

void gq_canvas_free(gq_canvas *c)
{
    gq_free(c->rgba);
    gq_free(c->saved);
    *c = (gq_canvas){ 0 };
}

gq_rect gq_rect_clip(gq_rect r, uint32_t width, uint32_t height)
{
    if (r.x >= width || r.y >= height || !r.w || !r.h)
        return (gq_rect){ 0 };
    if (r.w > width - r.x)
        r.w = width - r.x;
    if (r.h > height - r.y)
        r.h = height - r.y;
    return r;
}

static uint32_t *canvas_row(const gq_canvas *c, gq_rect r, uint32_t row)
{
    return c->rgba + (size_t)(r.y + row) * c->width + r.x;
}

static void fill(uint32_t *to, size_t n, uint32_t color)
{
    for (size_t i = 0; i < n; i++)
        to[i] = color;
}

static void dispose_last(gq_canvas *c)
{
    gq_rect r = c->last;
    if (c->dispose != DISPOSE_BACKGROUND && c->dispose != DISPOSE_PREVIOUS)
        return;
    for (uint32_t y = 0; y < r.h; y++) {
        uint32_t *row = canvas_row(c, r, y);
        if (c->dispose == DISPOSE_PREVIOUS)
            memcpy(row, c->saved + (size_t)y * r.w, r.w * sizeof *row);
        else
            fill(row, r.w, c->background);
    }
}

static gq_status save_rect(gq_canvas *c, gq_rect r, gq_error *err)
{
    size_t pixels = (size_t)r.w * r.h;
    if (pixels > c->saved_room) {
        uint32_t *saved = gq_realloc(c->saved, pixels, sizeof *saved);
        if (!saved)
            return gq_fail(err, GQ_ENOMEM,
                           "no memory to keep %ux%u pixels that a frame will restore", r.w, r.h);
        c->saved = saved;
        c->saved_room = pixels;
    }
    for (uint32_t y = 0; y < r.h; y++)
        memcpy(c->saved + (size_t)y * r.w, canvas_row(c, r, y), r.w * sizeof *c->saved);
    return GQ_OK;
}

/* Row of the picture that the k-th row of an interlaced file is: 0 8 16 .., 4 12 .., 2 6 .., 1 3
 * ... */
static uint32_t interlaced_row(uint32_t k, uint32_t height)
{
    static const uint8_t start[4] = { 0, 4, 2, 1 }, step[4] = { 8, 8, 4, 2 };
    for (int pass = 0; pass < 3; pass++) {
        uint32_t rows =
            height > start[pass] ? (height - start[pass] + step[pass] - 1) / step[pass] : 0;
        if (k < rows)
            return start[pass] + k * step[pass];
        k -= rows;
    }
    return 1 + 2 * k;
}

gq_status gq_canvas_draw(gq_canvas *c, const gq_patch *p, gq_error *err)
{
    if (c->used)
        dispose_last(c);
    else if (p->background)
        fill(c->rgba, (size_t)c->width * c->height, p->background);
    c->used = true;
    c->background = p->background;
    c->last = gq_rect_clip(p->rect, c->width, c->height);
    c->dispose = p->dispose;
    if (p->dispose == DISPOSE_PREVIOUS) {
        gq_status status = save_rect(c, c->last, err);
        if (status)
            return status;
    }
    if (!c->last.w)
        return GQ_OK;
    size_t rows = (p->have + p->rect.w - 1) / p->rect.w;
    for (size_t k = 0; k < rows; k++) {
        uint32_t row = p->interlaced ? interlaced_row((uint32_t)k, p->rect.h) : (uint32_t)k;
        size_t   have = p->have - k * p->rect.w;
        if (row < c->last.h)
            gq_pixels_draw(canvas_row(c, c->last, row), p->index + k * p->rect.w, p->color,
                           p->transparent, have < c->last.w ? have : c->last.w);
    }
    return GQ_OK;
}
