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

/* order: scratch for c->frames entries. */
static void choose(gq_clipcut *c, int64_t group, ranked *order)
{
    int64_t n = 0;

    rank(c->group_distance, c->groups, order);
    for (int64_t g = 0; g < c->groups && n < c->k; g++)
        c->pick[n++].frame = best_of_group(c, order[g].index, group);
    if (n < c->k) {                             /* then every group has given its best frame */
        rank(c->frame_distance, c->frames, order);
        for (int64_t i = 0; i < c->frames && n < c->k; i++)
            if (best_of_group(c, order[i].index / group, group) != order[i].index)
                c->pick[n++].frame = order[i].index;
    }
    qsort(c->pick, (size_t)n, sizeof *c->pick, earlier);
    for (; n < c->k; n++)
        c->pick[n] = c->pick[n - 1];
    for (int64_t i = 0; i < c->k; i++) {
        gq_clipcut_pick *p = &c->pick[i];
        p->group = p->frame / group;
        p->distance = c->frame_distance[p->frame];
        p->group_distance = c->group_distance[p->group];
    }
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
    return GQ_OK;
}

gq_status gq_clipcut_select(const float *frames, int64_t n, int64_t dim, const float *question,
                            const gq_clipcut_opts *o, gq_clipcut *out, gq_error *err)
{
    gq_clipcut c = {.k = o->k, .frames = n};
    double    *vec = NULL;
    ranked    *order = NULL;
    gq_status  s = check(n, dim, o, err);

    memset(out, 0, sizeof *out);
    if (s != GQ_OK)
        return s;
    c.groups = (n - 1) / o->group + 1;
    c.pick = gq_calloc((size_t)c.k, sizeof *c.pick);
    c.frame_distance = gq_calloc((size_t)n, sizeof *c.frame_distance);
    c.group_distance = gq_calloc((size_t)c.groups, sizeof *c.group_distance);
    order = gq_malloc((size_t)n, sizeof *order);
    vec = gq_malloc((size_t)dim, 3 * sizeof *vec);
    if (!c.pick || !c.frame_distance || !c.group_distance || !order || !vec)
        s = gq_fail(err, GQ_ENOMEM, "out of memory for the distances of %lld frames", (long long)n);
    if (s == GQ_OK)
        s = measure(frames, dim, question, o, vec, &c, err);
    if (s == GQ_OK) {
        choose(&c, o->group, order);
        *out = c;
    } else {
        gq_clipcut_free(&c);
    }
    gq_free(order);
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
