#include "data/clipcut.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

typedef struct ranked { double distance; int64_t index; } ranked;

/* A total order, so any sort gives the one answer. */
static int nearer(const void *a, const void *b)
{
    const ranked *x = a, *y = b;

    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int earlier(const void *a, const void *b)
{
    const gq_clipcut_pick *x = a, *y = b;
    return x->frame < y->frame ? -1 : x->frame > y->frame;
}

/* ---- vectors --------------------------------------------------------------------------------- */

static double length(const double *x, int64_t dim)
{
    double sum = 0.0;
    for (int64_t d = 0; d < dim; d++)
        sum += x[d] * x[d];
    return sqrt(sum);
}

static void scale_to_one(double *x, int64_t dim, double by)
{
    for (int64_t d = 0; d < dim; d++)
        x[d] /= by;
}

static double l2(const double *a, const double *b, int64_t dim)
{
    double sum = 0.0;
    for (int64_t d = 0; d < dim; d++)
        sum += (a[d] - b[d]) * (a[d] - b[d]);
    return sqrt(sum);
}

/* One embedding as doubles, of length one if wanted; frame -1 is the question. */
static gq_status take(const float *src, int64_t dim, bool normalize, int64_t frame, double *dst,
                      gq_error *err)
{
    double norm;
    char   who[48] = "the question";

    if (frame >= 0)
        snprintf(who, sizeof who, "frame %lld", (long long)frame);
    for (int64_t d = 0; d < dim; d++) {
        if (!isfinite(src[d]))
            return gq_fail(err, GQ_ENUMERIC,
                           "%s: element %lld of its CLIP embedding is %f; the CLIP weights are "
                           "damaged or of another model",
                           who, (long long)d, (double)src[d]);
        dst[d] = (double)src[d];
    }
    norm = length(dst, dim);
    if (normalize && norm == 0.0)
        return gq_fail(err, GQ_ENUMERIC,
                       "%s: its CLIP embedding is all zero and has no direction; the CLIP weights "
                       "are damaged or of another model",
                       who);
    if (normalize)
        scale_to_one(dst, dim, norm);
    return GQ_OK;
}

/* Folds member `nth` (from 0) of a group into the group's vector. */
static void fold(double *group, const double *x, int64_t dim, int64_t nth, gq_clipcut_reduce how)
{
    if (nth == 0)
        memcpy(group, x, (size_t)dim * sizeof *x);
    else if (how == GQ_CLIPCUT_MEAN)
        for (int64_t d = 0; d < dim; d++)
            group[d] += x[d];
    else if (how == GQ_CLIPCUT_MAXIMUM)
        for (int64_t d = 0; d < dim; d++)
            group[d] = x[d] > group[d] ? x[d] : group[d];
}

static void finish_group(double *group, int64_t dim, int64_t members, const gq_clipcut_opts *o)
{
    double norm;

    if (o->reduce == GQ_CLIPCUT_MEAN)
        scale_to_one(group, dim, (double)members);
    norm = length(group, dim);
    if (o->normalize && norm > 0.0)
        scale_to_one(group, dim, norm);
}

/* ---- search ---------------------------------------------------------------------------------- */

/* All distances in one pass over the frames; vec [3, dim] is scratch: question, frame, group. */
static gq_status measure(const float *frames, int64_t dim, const float *question,
                         const gq_clipcut_opts *o, double *vec, gq_clipcut *c, gq_error *err)
{
    double   *q = vec, *x = vec + dim, *group = vec + 2 * dim;
    gq_status s = take(question, dim, o->normalize, -1, q, err);

    for (int64_t f = 0; s == GQ_OK && f < c->frames; f++) {
        int64_t nth = f % o->group;
        s = take(frames + f * dim, dim, o->normalize, f, x, err);
        if (s != GQ_OK)
            break;
        c->frame_distance[f] = l2(x, q, dim);
        fold(group, x, dim, nth, o->reduce);
        if (nth == o->group - 1 || f == c->frames - 1) {
            finish_group(group, dim, nth + 1, o);
            c->group_distance[f / o->group] = l2(group, q, dim);
        }
    }
    return s;
}

static void rank(const double *distance, int64_t n, ranked *order)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = (ranked){distance[i], i};
    qsort(order, (size_t)n, sizeof *order, nearer);
}

static int64_t best_of_group(const gq_clipcut *c, int64_t group, int64_t size)
{
    int64_t best = group * size, end = best + size < c->frames ? best + size : c->frames;

    for (int64_t f = best + 1; f < end; f++)
        if (c->frame_distance[f] < c->frame_distance[best])
            best = f;
    return best;
}

/* ---- choice ---------------------------------------------------------------------------------- */

typedef struct picker {
    gq_clipcut *c;
    int64_t     group, n;               /* frames of a group; frames chosen, in c->pick */
    ranked     *order;                  /* scratch [frames] */
    int64_t    *candidate;              /* [frames] the list, as far as it is known */
    int64_t     candidates;
    uint8_t    *close;                  /* [frames] too near in time to a chosen one */
} picker;

/* Marks what lies less than `apart` frames from frame f. */
static void suppress(picker *p, int64_t f, int64_t apart)
{
    int64_t from = f - apart + 1 > 0 ? f - apart + 1 : 0;
    int64_t end = f + apart < p->c->frames ? f + apart : p->c->frames;

    memset(p->close + from, 1, (size_t)(end - from));
}

static void take_frame(picker *p, int64_t f)
{
    p->c->pick[p->n++].frame = f;
}

/* The middles of equal parts, each frame once. */
static void take_middles(picker *p, int64_t parts)
{
    for (int64_t i = 0; i < parts; i++) {
        int64_t f = gq_clipcut_middle(p->c->frames, i, parts);
        if (!p->n || p->c->pick[p->n - 1].frame != f)
            take_frame(p, f);
    }
}

static void list_groups(picker *p)
{
    rank(p->c->group_distance, p->c->groups, p->order);
    for (int64_t g = 0; g < p->c->groups; g++)
        p->candidate[p->candidates++] = best_of_group(p->c, p->order[g].index, p->group);
}

/* The others, behind the best of each group: often nobody asks for them. */
static void list_frames(picker *p)
{
    rank(p->c->frame_distance, p->c->frames, p->order);
    for (int64_t i = 0; i < p->c->frames; i++) {
        int64_t f = p->order[i].index;
        if (best_of_group(p->c, f / p->group, p->group) != f)
            p->candidate[p->candidates++] = f;
    }
}

/* Through the list, taking what is at least `apart` frames from everything chosen. */
static void take_apart(picker *p, int64_t apart)
{
    memset(p->close, 0, (size_t)p->c->frames);
    for (int64_t i = 0; i < p->n; i++)
        suppress(p, p->c->pick[i].frame, apart);
    for (int64_t i = 0; i < p->c->frames && p->n < p->c->k; i++) {
        if (i == p->candidates)
            list_frames(p);
        if (!p->close[p->candidate[i]]) {
            suppress(p, p->candidate[i], apart);
            take_frame(p, p->candidate[i]);
        }
    }
}

static void choose(picker *p, const gq_clipcut_opts *o)
{
    gq_clipcut *c = p->c;
    int64_t     wanted = c->k < c->frames ? c->k : c->frames;

    if (o->mode == GQ_CLIPCUT_MIX)
        take_middles(p, c->k / 2);
    list_groups(p);
    for (int64_t apart = o->apart > 1 ? o->apart : 1; p->n < wanted; apart /= 2)
        take_apart(p, apart);
    qsort(c->pick, (size_t)p->n, sizeof *c->pick, earlier);
    for (int64_t i = p->n; i < c->k; i++)
        c->pick[i] = c->pick[i - 1];
}

static void choose_evenly(gq_clipcut *c)
{
    for (int64_t i = 0; i < c->k; i++)
        c->pick[i].frame = gq_clipcut_middle(c->frames, i, c->k);
}

static void describe(gq_clipcut *c, int64_t group)
{
    for (int64_t i = 0; i < c->k; i++) {
        gq_clipcut_pick *p = &c->pick[i];
        p->group = p->frame / group;
        p->distance = c->frame_distance[p->frame];
        p->group_distance = c->group_distance[p->group];
    }
}

static gq_status pick(gq_clipcut *c, const gq_clipcut_opts *o, gq_error *err)
{
    size_t    n = (size_t)c->frames;
    picker    p = {.c = c, .group = o->group};
    gq_status s = GQ_OK;

    if (o->mode == GQ_CLIPCUT_UNIFORM) {
        choose_evenly(c);
    } else {
        p.order = gq_malloc(n, sizeof *p.order);
        p.candidate = gq_malloc(n, sizeof *p.candidate);
        p.close = gq_malloc(n, sizeof *p.close);
        if (p.order && p.candidate && p.close)
            choose(&p, o);
        else
            s = gq_fail(err, GQ_ENOMEM, "out of memory for the choice among %lld frames",
                        (long long)c->frames);
    }
    gq_free(p.order);
    gq_free(p.candidate);
    gq_free(p.close);
    describe(c, o->group);
    return s;
}

static gq_status check(int64_t n, int64_t dim, const gq_clipcut_opts *o, gq_error *err)
{
    if (n < 1 || dim < 1)
        return gq_fail(err, GQ_EINPUT,
                       "CLIP-Cut: %lld frames of %lld numbers: there must be at least one of each",
                       (long long)n, (long long)dim);
    if (o->k < 1 || o->k > GQ_CLIPCUT_MAX)
        return gq_fail(err, GQ_EUSAGE, "CLIP-Cut: %lld frames wanted; 1 to %d can be chosen",
                       (long long)o->k, GQ_CLIPCUT_MAX);
    if (o->group < 1 || o->group > GQ_CLIPCUT_MAX)
        return gq_fail(err, GQ_EUSAGE, "CLIP-Cut: groups of %lld frames; 1 to %d are possible",
                       (long long)o->group, GQ_CLIPCUT_MAX);
    if (o->apart < 0 || o->apart > GQ_CLIPCUT_MAX)
        return gq_fail(err, GQ_EUSAGE, "CLIP-Cut: frames %lld apart; 0 to %d are possible",
                       (long long)o->apart, GQ_CLIPCUT_MAX);
    return GQ_OK;
}

gq_status gq_clipcut_select(const float *frames, int64_t n, int64_t dim, const float *question,
                            const gq_clipcut_opts *o, gq_clipcut *out, gq_error *err)
{
    gq_clipcut c = {.k = o->k, .frames = n};
    double    *vec = NULL;
    gq_status  s = check(n, dim, o, err);

    memset(out, 0, sizeof *out);
    if (s != GQ_OK)
        return s;
    c.groups = (n - 1) / o->group + 1;
    c.pick = gq_calloc((size_t)c.k, sizeof *c.pick);
    c.frame_distance = gq_calloc((size_t)n, sizeof *c.frame_distance);
    c.group_distance = gq_calloc((size_t)c.groups, sizeof *c.group_distance);
    vec = gq_malloc((size_t)dim, 3 * sizeof *vec);
    if (!c.pick || !c.frame_distance || !c.group_distance || !vec)
        s = gq_fail(err, GQ_ENOMEM, "out of memory for the distances of %lld frames", (long long)n);
    if (s == GQ_OK)
        s = measure(frames, dim, question, o, vec, &c, err);
    if (s == GQ_OK)
        s = pick(&c, o, err);
    if (s == GQ_OK)
        *out = c;
    else
        gq_clipcut_free(&c);
    gq_free(vec);
    return s;
}

gq_status gq_clipcut_vectors(const float *frames, int64_t n, int64_t dim, const gq_clipcut_opts *o,
                             float *out, gq_error *err)
{
    double   *x = gq_malloc((size_t)dim, 2 * sizeof *x), *group = x ? x + dim : NULL;
    gq_status s = x ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory for vectors of frames");

    for (int64_t f = 0; s == GQ_OK && f < n; f++) {
        int64_t nth = f % o->group;
        s = take(frames + f * dim, dim, o->normalize, f, x, err);
        if (s != GQ_OK)
            break;
        fold(group, x, dim, nth, o->reduce);
        if (nth == o->group - 1 || f == n - 1) {
            finish_group(group, dim, nth + 1, o);
            for (int64_t d = 0; d < dim; d++)
                *out++ = (float)group[d];
        }
    }
    gq_free(x);
    return s;
}

void gq_clipcut_free(gq_clipcut *c)
{
    gq_free(c->pick);
    gq_free(c->frame_distance);
    gq_free(c->group_distance);
    memset(c, 0, sizeof *c);
}

char *gq_clipcut_text(const char *question, const char *description)
{
    size_t room = strlen(question) + (description ? 1 + strlen(description) : 0) + 1;
    char  *text = gq_malloc(room, 1);

    if (text)
        snprintf(text, room, "%s%s%s", question, description ? " " : "",
                 description ? description : "");
    return text;
}
