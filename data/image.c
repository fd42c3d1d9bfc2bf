/* image.c - Pillow's 8-bit resampling, only for the rows and columns that the crop keeps.
 *
 * The weights are doubles turned into fixed point with 22 fraction bits; a fused multiply-add
 * anywhere in fill_weights() could move one by a unit, so this file relies on -ffp-contract=off.
 */
#include "data/image.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "core/mem.h"
#include "data/pixels.h"

const float gq_clip_mean[3] = { 0.48145466f, 0.4578275f, 0.40821073f };
const float gq_clip_std[3] = { 0.26862954f, 0.26130258f, 0.27577711f };

typedef struct axis {                   /* one direction of one resize                            */
    uint32_t  in, out;                  /* lengths, pixels; in 0: nothing cached                  */
    uint32_t  first, count;             /* the part of the output that is wanted                  */
    gq_filter filter;
    uint32_t  taps;                     /* room per output pixel                                  */
    uint32_t *start, *used;             /* [count] first input pixel, number of inputs; owned     */
    int32_t  *weight;                   /* [count, taps] fixed point, owned; unused for NEAREST   */
} axis;

struct gq_resizer {
    axis     x, y;
    uint8_t *scratch;                   /* [room] of one resize, owned                            */
    size_t   room;                      /* bytes                                                  */
};

/* ---- weights --------------------------------------------------------------------------------- */

static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static int32_t to_fixed(double w)
{
    return (int32_t)((w < 0 ? -0.5 : 0.5) + w * (1 << GQ_PIXELS_FRACTION));
}

/* Weights of output pixel `index` into row k of the table; `w` is scratch for `taps` doubles. */
static void fill_weights(axis *a, uint32_t k, uint32_t index, double *w)
{
    double scale = (double)a->in / a->out, widen = scale < 1.0 ? 1.0 : scale, support = 2.0 * widen;
    double center = (index + 0.5) * scale, sum = 0.0, shrink = 1.0 / widen;
    int    lo = (int)(center - support + 0.5), hi = (int)(center + support + 0.5);
    if (lo < 0)
        lo = 0;
    if (hi > (int)a->in)
        hi = (int)a->in;
    for (int i = 0; i < hi - lo; i++) {
        w[i] = cubic((i + lo - center + 0.5) * shrink);
        sum += w[i];
    }
    for (int i = 0; i < hi - lo; i++)
        a->weight[(size_t)k * a->taps + (size_t)i] = to_fixed(sum != 0.0 ? w[i] / sum : w[i]);
    a->start[k] = (uint32_t)lo;
    a->used[k] = (uint32_t)(hi - lo);
}

/* Pillow walks the output and adds the scale each time; for exact ratios that is floor((x + 0.5) *
 * scale). */
static void fill_nearest(axis *a)
{
    double scale = (double)a->in / a->out, at = scale * 0.5;
    for (uint32_t x = 0; x < a->first + a->count; x++, at += scale) {
        uint32_t from = (uint32_t)at < a->in ? (uint32_t)at : a->in - 1;
        if (x >= a->first)
            a->start[x - a->first] = from;
    }
}

static void axis_free(axis *a)
{
    gq_free(a->start);
    gq_free(a->used);
    gq_free(a->weight);
    *a = (axis){ 0 };
}

/* Makes *a the table for these lengths, keeping it when it already is. */
static gq_status axis_prepare(axis *a, uint32_t in, uint32_t out, uint32_t first, uint32_t count,
                              gq_filter filter, gq_error *err)
{
    if (a->in == in && a->out == out && a->first == first && a->count == count &&
        a->filter == filter)
        return GQ_OK;
    axis_free(a);
    double widen = in > out ? (double)in / out : 1.0;
    *a = (axis){ .out = out, .first = first, .count = count, .filter = filter,
                 .taps = (uint32_t)ceil(2.0 * widen) * 2 + 1 };
    double *scratch = gq_malloc(a->taps, sizeof *scratch);
    size_t  weights;
    a->start = gq_malloc(count, sizeof *a->start);
    a->used = gq_malloc(count, sizeof *a->used);
    if (gq_mul_size(a->taps, filter == GQ_BICUBIC ? count : 1, &weights))
        a->weight = gq_malloc(weights, sizeof *a->weight);
    if (!scratch || !a->start || !a->used || !a->weight) {
        gq_free(scratch);
        axis_free(a);
        return gq_fail(err, GQ_ENOMEM, "no memory for a resize from %u to %u pixels", in, out);
    }
    a->in = in;
    if (filter == GQ_NEAREST)
        fill_nearest(a);
    else
        for (uint32_t k = 0; k < count; k++)
            fill_weights(a, k, first + k, scratch);
    gq_free(scratch);
    return GQ_OK;
}

/* ---- passes ---------------------------------------------------------------------------------- */

/* Input rows that the vertical pass reads. */
static void rows_needed(const axis *y, bool vertical, uint32_t *lo, uint32_t *hi)
{
    *lo = y->first;
    *hi = y->first + y->count;
    if (vertical) {
        *lo = y->start[0];
        *hi = y->start[y->count - 1] + y->used[y->count - 1];
    }
}

static gq_status grow(gq_resizer *r, size_t bytes, gq_error *err)
{
    if (bytes <= r->room)
        return GQ_OK;
    gq_free(r->scratch);
    r->scratch = gq_calloc(bytes, 1);
    r->room = r->scratch ? bytes : 0;
    return r->scratch
               ? GQ_OK
               : gq_fail(err, GQ_ENOMEM, "no memory to resize an image (%zu bytes)", bytes);
}

/* Input columns that the horizontal pass reads. */
static uint32_t columns_needed(const axis *x)
{
    return x->start[x->count - 1] + x->used[x->count - 1] - x->start[0];
}

/* Rows [height, in, 3], `stride` bytes apart, to [height, count, 3]. A weight belongs to a column,
 * so a vector takes one column of many rows: each block of rows is laid on its side for that. */
static void horizontal_pass(const axis *x, const uint8_t *rgb, size_t stride, uint32_t height,
                            uint8_t *turned, uint8_t *out)
{
    const gq_weights w = {x->count, x->taps, x->start, x->used, x->weight};
    size_t           span = (size_t)columns_needed(x) * 3, n = (size_t)x->count * 3;
    uint8_t         *done = turned + span * GQ_PIXELS_LANES;
    for (uint32_t y = 0; y < height; y += GQ_PIXELS_LANES) {
        uint32_t rows = height - y < GQ_PIXELS_LANES ? height - y : GQ_PIXELS_LANES;
        gq_pixels_turn(rgb + y * stride + (size_t)x->start[0] * 3, stride, rows, span, turned,
                       GQ_PIXELS_LANES);
        gq_pixels_blend_columns(turned, &w, x->start[0], done);
        gq_pixels_turn(done, GQ_PIXELS_LANES, n, rows, out + y * n, n);
    }
}

/* The wanted part of a bicubic resize; a direction whose length stays is only cut. */
static gq_status run_bicubic(gq_resizer *r, const uint8_t *rgb, uint8_t *out, gq_error *err)
{
    const axis *x = &r->x, *y = &r->y;
    bool        horizontal = x->in != x->out, vertical = y->in != y->out;
    size_t      n = (size_t)x->count * 3, stride = (size_t)x->in * 3;
    uint32_t    lo, hi;
    rows_needed(y, vertical, &lo, &hi);
    size_t between = vertical ? (size_t)(hi - lo) * n : 0,
           block = horizontal ? ((size_t)columns_needed(x) * 3 + n) * GQ_PIXELS_LANES : 0;
    if (grow(r, between + block, err))
        return GQ_ENOMEM;
    uint8_t *rows = vertical ? r->scratch : out;
    if (horizontal)
        horizontal_pass(x, rgb + lo * stride, stride, hi - lo, r->scratch + between, rows);
    for (uint32_t k = lo; !horizontal && k < hi; k++)
        memcpy(rows + (k - lo) * n, rgb + k * stride + (size_t)x->first * 3, n);
    for (uint32_t k = 0; vertical && k < y->count; k++)
        gq_pixels_blend_row(rows + (y->start[k] - lo) * n, y->weight + (size_t)k * y->taps,
                            y->used[k], n, out + k * n);
    return GQ_OK;
}

static void run_nearest(const gq_resizer *r, const uint8_t *rgb, uint8_t *out)
{
    const axis *x = &r->x, *y = &r->y;
    for (uint32_t j = 0; j < y->count; j++) {
        const uint8_t *row = rgb + (size_t)y->start[j] * x->in * 3;
        for (uint32_t i = 0; i < x->count; i++, out += 3)
            memcpy(out, row + (size_t)x->start[i] * 3, 3);
    }
}

/* ---- entries --------------------------------------------------------------------------------- */

typedef struct window {                 /* wanted part of the resized image, pixels               */
    uint32_t left, top, w, h;
} window;

static gq_status resize_part(gq_resizer *r, const uint8_t *rgb, uint32_t w, uint32_t h,
                             uint32_t out_w, uint32_t out_h, window part, gq_filter filter,
                             uint8_t *out, gq_error *err)
{
    gq_status status = axis_prepare(&r->x, w, out_w, part.left, part.w, filter, err);
    if (!status)
        status = axis_prepare(&r->y, h, out_h, part.top, part.h, filter, err);
    if (!status && filter == GQ_BICUBIC)
        status = run_bicubic(r, rgb, out, err);
    else if (!status)
        run_nearest(r, rgb, out);
    return status;
}

static gq_status check_sides(uint32_t w, uint32_t h, gq_error *err)
{
    if (!w || !h || w > GQ_IMAGE_MAX_SIDE || h > GQ_IMAGE_MAX_SIDE)
        return gq_fail(err, GQ_EUSAGE,
                       "an image of %ux%u pixels cannot be resized: each side is 1..%u", w, h,
                       GQ_IMAGE_MAX_SIDE);
    return GQ_OK;
}

void gq_image_short_side(uint32_t w, uint32_t h, uint32_t size, uint32_t *out_w, uint32_t *out_h)
{
    *out_w = w <= h ? size : (uint32_t)((uint64_t)size * w / h);
    *out_h = w <= h ? (uint32_t)((uint64_t)size * h / w) : size;
}

gq_status gq_resizer_preprocess(gq_resizer *r, const uint8_t *rgb, uint32_t w, uint32_t h,
                                uint32_t size, gq_filter filter, uint8_t *out, gq_error *err)
{
    gq_status status = check_sides(w, h, err);
    if (!status)
        status = check_sides(size, size, err);
    if (status)
        return status;
    uint32_t out_w, out_h;
    gq_image_short_side(w, h, size, &out_w, &out_h);
    if (out_w > INT32_MAX / 2 || out_h > INT32_MAX / 2)
        return gq_fail(err, GQ_EUSAGE, "an image of %ux%u pixels is too thin to be resized to %u",
                       w, h, size);
    window part = { (out_w - size) / 2, (out_h - size) / 2, size, size };
    return resize_part(r, rgb, w, h, out_w, out_h, part, filter, out, err);
}

gq_status gq_resizer_resize(gq_resizer *r, const uint8_t *rgb, uint32_t w, uint32_t h,
                            uint32_t out_w, uint32_t out_h, gq_filter filter, uint8_t *out,
                            gq_error *err)
{
    gq_status status = check_sides(w, h, err);
    if (!status)
        status = check_sides(out_w, out_h, err);
    if (status)
        return status;
    return resize_part(r, rgb, w, h, out_w, out_h, (window){0, 0, out_w, out_h}, filter, out, err);
}

gq_status gq_resizer_new(gq_resizer **out, gq_error *err)
{
    *out = gq_calloc(1, sizeof **out);
    return *out ? GQ_OK : gq_fail(err, GQ_ENOMEM, "no memory for an image resizer");
}

void gq_resizer_free(gq_resizer *r)
{
    if (!r)
        return;
    axis_free(&r->x);
    axis_free(&r->y);
    gq_free(r->scratch);
    gq_free(r);
}

gq_status gq_image_preprocess(const uint8_t *rgb, uint32_t w, uint32_t h, uint32_t size,
                              gq_filter filter, uint8_t *out, gq_error *err)
{
    gq_resizer *r;
    gq_status   status = gq_resizer_new(&r, err);
    if (!status)
        status = gq_resizer_preprocess(r, rgb, w, h, size, filter, out, err);
    gq_resizer_free(r);
    return status;
}

/* A byte has 256 values: each channel's are looked up. */
void gq_image_normalize(const uint8_t *rgb, uint32_t size, const float mean[3], const float std[3],
                        float *out)
{
    size_t plane = (size_t)size * size;
    float  value[3][256];
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++)
            value[c][v] = ((float)(v * (1.0 / 255.0)) - mean[c]) / std[c];
    for (size_t i = 0; i < plane; i++, rgb += 3) {
        out[i] = value[0][rgb[0]];
        out[plane + i] = value[1][rgb[1]];
        out[2 * plane + i] = value[2][rgb[2]];
    }
}
