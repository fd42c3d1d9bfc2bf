#include "data/strip.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "data/image.h"

/* pixels */
enum {
    MARGIN = 20, GAP = 14, WIDEST = 1600, NARROWEST = 520,
    TILE_LEAST = 156,                   /* a caption needs that much */
    HEAD = 58, CAPTION = 64, CHART = 84, AXIS = 46,
};

static const gq_color paper = {250, 250, 247}, ink = {30, 34, 42}, muted = {122, 128, 138},
                      track = {230, 231, 233}, bar = {174, 184, 199}, accent = {222, 87, 42},
                      frame_edge = {208, 210, 214};

typedef struct layout {
    int64_t  picture_w, picture_h;      /* one frame as drawn */
    int64_t  tile_w, per_row, rows;
    int64_t  width, height;             /* of the whole */
} layout;

typedef struct span { double near, far; } span;     /* least and greatest distance */

static span span_of(const double *distance, int64_t n)
{
    span s = {distance[0], distance[0]};
    for (int64_t i = 1; i < n; i++) {
        s.near = fmin(s.near, distance[i]);
        s.far = fmax(s.far, distance[i]);
    }
    return s;
}

/* 1 for the nearest, 0 for the farthest */
static double nearness(span s, double distance)
{
    return s.far > s.near ? (s.far - distance) / (s.far - s.near) : 1.0;
}

static layout plan(int64_t k, uint32_t w, uint32_t h)
{
    layout  l;
    int64_t side = k <= 12 ? 200 : k <= 64 ? 130 : 80, most = 2 * side;

    l.picture_h = side;
    l.picture_w = ((int64_t)w * side + h / 2) / h;
    if (l.picture_w > most) {
        l.picture_w = most;
        l.picture_h = (most * h + w / 2) / w;
    }
    l.picture_w = l.picture_w ? l.picture_w : 1;
    l.picture_h = l.picture_h ? l.picture_h : 1;
    l.tile_w = l.picture_w > TILE_LEAST ? l.picture_w : TILE_LEAST;
    l.per_row = (WIDEST + GAP) / (l.tile_w + GAP);
    l.per_row = k < l.per_row ? k : l.per_row;
    l.rows = (k - 1) / l.per_row + 1;
    l.width = 2 * MARGIN + l.per_row * (l.tile_w + GAP) - GAP;
    l.width = l.width > NARROWEST ? l.width : NARROWEST;
    l.height = 2 * MARGIN + HEAD + l.rows * (l.picture_h + CAPTION) + CHART + AXIS;
    return l;
}

/* ---- chosen frames --------------------------------------------------------------------------- */

static void tile_place(const layout *l, int64_t i, int64_t *x, int64_t *y)
{
    *x = MARGIN + i % l->per_row * (l->tile_w + GAP);
    *y = MARGIN + HEAD + i / l->per_row * (l->picture_h + CAPTION);
}

static void paste(gq_picture *p, const layout *l, int64_t i, const uint8_t *rgb)
{
    int64_t x, y;

    tile_place(l, i, &x, &y);
    x += (l->tile_w - l->picture_w) / 2;
    gq_draw_box(p, x - 1, y - 1, l->picture_w + 2, l->picture_h + 2, frame_edge);
    for (int64_t row = 0; row < l->picture_h; row++)
        memcpy(p->rgb + 3 * ((size_t)(y + row) * p->width + (size_t)x),
               rgb + 3 * (size_t)(row * l->picture_w), 3 * (size_t)l->picture_w);
}

static void right_text(gq_picture *p, int64_t right, int64_t y, int scale, gq_color c,
                       const char *text)
{
    gq_draw_text(p, right - gq_text_width(text, scale), y, scale, c, text);
}

static void caption(gq_picture *p, const gq_strip *s, const layout *l, int64_t i, span all)
{
    const gq_clipcut_pick *pick = &s->cut->pick[i];
    int64_t                x, y;
    char                   text[64];

    tile_place(l, i, &x, &y);
    y += l->picture_h + 8;
    gq_draw_box(p, x, y, l->tile_w, 5, track);
    gq_draw_box(p, x, y, 3 + llround((double)(l->tile_w - 3) * nearness(all, pick->distance)), 5,
                accent);
    snprintf(text, sizeof text, "%lld", (long long)pick->frame);
    gq_draw_text(p, x, y + 13, 2, ink, text);
    snprintf(text, sizeof text, "%.2fs", s->seconds[pick->frame]);
    right_text(p, x + l->tile_w, y + 13, 2, muted, text);
    snprintf(text, sizeof text, "distance %.4f", pick->distance);
    gq_draw_text(p, x, y + 33, 1, muted, text);
    snprintf(text, sizeof text, "group %lld", (long long)pick->group);
    right_text(p, x + l->tile_w, y + 33, 1, muted, text);
}

/* Decodes up to the last chosen frame, pastes every chosen one. small: [picture_h,picture_w,3]. */
static gq_status paste_all(gq_picture *p, const gq_strip *s, const layout *l, gq_gif *gif,
                           gq_resizer *resizer, const char *name, uint8_t *rgb, uint8_t *small,
                           gq_error *err)
{
    static const uint8_t matte[3] = {0, 0, 0};      /* what the vision tower saw */
    uint32_t             w = gq_gif_width(gif), h = gq_gif_height(gif);
    gq_filter            filter = l->picture_h >= 3 * (int64_t)h ? GQ_NEAREST : GQ_BICUBIC;
    const uint8_t       *rgba = NULL;
    gq_gif_frame         info;
    int64_t              at = -1;
    gq_status            st = GQ_OK;

    for (int64_t i = 0; st == GQ_OK && i < s->cut->k; i++) {
        for (; st == GQ_OK && at < s->cut->pick[i].frame; at++) {
            st = gq_gif_next(gif, &rgba, &info, err);
            if (st == GQ_OK && !rgba)
                st = gq_fail(err, GQ_EINPUT, "%s: there is no frame %lld", name, (long long)at + 1);
        }
        if (st != GQ_OK)
            break;
        gq_gif_over(rgba, (size_t)w * h, matte, rgb);
        st = gq_resizer_resize(resizer, rgb, w, h, (uint32_t)l->picture_w, (uint32_t)l->picture_h,
                               filter, small, err);
        if (st == GQ_OK)
            paste(p, l, i, small);
    }
    return st;
}

static gq_status draw_frames(gq_picture *p, const gq_strip *s, const layout *l, gq_gif *gif,
                             const char *name, gq_error *err)
{
    span        all = span_of(s->cut->frame_distance, s->cut->frames);
    gq_resizer *resizer = NULL;
    uint8_t    *rgb = gq_malloc((size_t)gq_gif_width(gif) * gq_gif_height(gif), 3);
    uint8_t    *small = gq_malloc((size_t)l->picture_w * (size_t)l->picture_h, 3);
    gq_status   st = gq_resizer_new(&resizer, err);

    if (st == GQ_OK && (!rgb || !small))
        st = gq_fail(err, GQ_ENOMEM, "out of memory for a frame");
    if (st == GQ_OK)
        st = paste_all(p, s, l, gif, resizer, name, rgb, small, err);
    for (int64_t i = 0; st == GQ_OK && i < s->cut->k; i++)
        caption(p, s, l, i, all);
    gq_resizer_free(resizer);
    gq_free(rgb);
    gq_free(small);
    return st;
}

/* ---- timeline -------------------------------------------------------------------------------- */

static int64_t at_frame(const gq_strip *s, const layout *l, double frame)
{
    return MARGIN + llround((double)(l->width - 2 * MARGIN) * frame / (double)s->cut->frames);
}

/* One bar a group; the marker of a chosen frame below. */
static void draw_chart(gq_picture *p, const gq_strip *s, const layout *l, int64_t top)
{
    span    all = span_of(s->cut->group_distance, s->cut->groups);
    int64_t wide = (l->width - 2 * MARGIN) / s->cut->groups, gap = wide > 12 ? 2 : wide > 4 ? 1 : 0;

    gq_draw_box(p, MARGIN, top + CHART, l->width - 2 * MARGIN, 1, muted);
    for (int pass = 0; pass < 2; pass++)            /* chosen groups over the others */
        for (int64_t g = 0; g < s->cut->groups; g++) {
            int64_t from = g * s->group,
                    to = from + s->group < s->cut->frames ? from + s->group : s->cut->frames;
            int64_t x = at_frame(s, l, (double)from), w = at_frame(s, l, (double)to) - x - gap;
            int64_t high = 4 + llround((CHART - 4) * nearness(all, s->cut->group_distance[g]));
            bool    chosen = false;
            for (int64_t i = 0; i < s->cut->k; i++)
                chosen |= s->cut->pick[i].group == g;
            if (chosen == pass)
                gq_draw_box(p, x, top + CHART - high, w > 0 ? w : 1, high, chosen ? accent : bar);
        }
    for (int64_t i = 0; i < s->cut->k; i++) {
        int64_t x = at_frame(s, l, (double)s->cut->pick[i].frame + 0.5);
        for (int64_t row = 0; row < 6; row++)
            gq_draw_box(p, x - row, top + CHART + 4 + row, 2 * row + 1, 1, ink);
    }
}

static void draw_axis(gq_picture *p, const gq_strip *s, const layout *l, int64_t top)
{
    span all = span_of(s->cut->group_distance, s->cut->groups);
    char text[128];

    gq_draw_text(p, MARGIN, top + 16, 1, muted, "frame 0, 0.00s");
    snprintf(text, sizeof text, "frame %lld, %.2fs", (long long)s->cut->frames - 1,
             s->seconds[s->cut->frames - 1]);
    if (s->cut->frames > 1)
        right_text(p, l->width - MARGIN, top + 16, 1, muted, text);
    snprintf(text, sizeof text, "groups of %lld: higher is nearer, distances %.4f to %.4f",
             (long long)s->group, all.far, all.near);
    gq_text_fit(text, 1, l->width - 2 * MARGIN);
    gq_draw_text(p, MARGIN, top + 34, 1, muted, text);
}

static void draw_head(gq_picture *p, const gq_strip *s, const layout *l, const char *name)
{
    const char *slash = strrchr(name, '/');
    char        text[512];

    snprintf(text, sizeof text, "%s", s->title);
    gq_text_fit(text, 2, l->width - 2 * MARGIN);
    gq_draw_text(p, MARGIN, MARGIN, 2, ink, text);
    snprintf(text, sizeof text, "%lld frame%s, %lld group%s: %s", (long long)s->cut->frames,
             s->cut->frames == 1 ? "" : "s", (long long)s->cut->groups,
             s->cut->groups == 1 ? "" : "s", slash ? slash + 1 : name);
    gq_text_fit(text, 1, l->width - 2 * MARGIN);
    gq_draw_text(p, MARGIN, MARGIN + 26, 1, muted, text);
}

gq_status gq_strip_draw(const gq_strip *s, const uint8_t *gif, size_t size, const char *name,
                        const gq_gif_limits *limits, gq_picture *out, gq_error *err)
{
    gq_picture p = {0};
    gq_gif    *reader = NULL;
    layout     l;
    int64_t    chart;
    gq_status  st = gq_gif_open(gif, size, name, limits, &reader, err);

    *out = p;
    if (st != GQ_OK)
        return st;
    l = plan(s->cut->k, gq_gif_width(reader), gq_gif_height(reader));
    p = (gq_picture){(uint32_t)l.width, (uint32_t)l.height,
                     gq_malloc((size_t)l.width * (size_t)l.height, 3)};
    if (!p.rgb) {
        gq_gif_close(reader);
        return gq_fail(err, GQ_ENOMEM, "out of memory for a picture of %u x %u pixels", p.width,
                       p.height);
    }
    gq_draw_box(&p, 0, 0, l.width, l.height, paper);
    draw_head(&p, s, &l, name);
    st = draw_frames(&p, s, &l, reader, name, err);
    gq_gif_close(reader);
    if (st != GQ_OK) {
        gq_free(p.rgb);
        return st;
    }
    chart = MARGIN + HEAD + l.rows * (l.picture_h + CAPTION);
    draw_chart(&p, s, &l, chart);
    draw_axis(&p, s, &l, chart + CHART);
    *out = p;
    return GQ_OK;
}
