/* clipcut.h - CLIP-Cut: which k frames of an animation lie nearest to a question, by exact search.
 *
 * Frames 0..n-1 and the question come as CLIP embeddings (data/ knows no models: who calls has
 * computed them). `group` consecutive frames are scored together, because neighbouring frames are
 * near duplicates and the k nearest single frames tend to be one shot; the last group may be
 * smaller. With `normalize` every embedding is divided by its L2 norm first and so is a group's
 * vector (one of length zero, from frames that cancel, stays zero). Distances are L2, not squared.
 *
 * What is chosen: the k groups nearest to the question, and of each of them the frame that is
 * itself nearest. With fewer groups than k the nearest frames not chosen yet follow; with fewer
 * frames than k the last one in time is repeated. Equal distances: the lower index. The result is
 * in time order.
 *
 * Invariants: float input, sums in double in index order, no threads: the same input gives the same
 * bits everywhere. A number that is not finite is GQ_ENUMERIC and names its frame. Ownership: a
 * gq_clipcut is the caller's, gq_clipcut_free() releases what is in it.
 */
#ifndef GIFQA_DATA_CLIPCUT_H
#define GIFQA_DATA_CLIPCUT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

enum { GQ_CLIPCUT_MAX = 1024 };         /* largest k and group */

typedef enum gq_clipcut_reduce {        /* a group's vector from its frames */
    GQ_CLIPCUT_MEAN,
    GQ_CLIPCUT_MAXIMUM,                 /* element by element */
    GQ_CLIPCUT_FIRST,                   /* its first frame */
} gq_clipcut_reduce;

typedef struct gq_clipcut_opts {
    int64_t           k;                /* frames to choose, 1..GQ_CLIPCUT_MAX */
    int64_t           group;            /* consecutive frames scored together, 1..GQ_CLIPCUT_MAX */
    bool              normalize;        /* unit vectors before the distance */
    gq_clipcut_reduce reduce;
} gq_clipcut_opts;

#define GQ_CLIPCUT_DEFAULT(frames) \
    ((gq_clipcut_opts){.k = (frames), .group = 3, .normalize = true, .reduce = GQ_CLIPCUT_MEAN})

typedef struct gq_clipcut_pick {
    int64_t frame, group;               /* indices from 0 */
    double  distance;                   /* L2, frame to question */
    double  group_distance;             /* L2, the group's vector to the question */
} gq_clipcut_pick;

typedef struct gq_clipcut {
    int64_t          k, frames, groups; /* how many of each */
    gq_clipcut_pick *pick;              /* [k], frame ascending */
    double          *frame_distance;    /* [frames] L2 */
    double          *group_distance;    /* [groups] L2 */
} gq_clipcut;

/* frames [n, dim], question [dim]. */
gq_status gq_clipcut_select(const float *frames, int64_t n, int64_t dim, const float *question,
                            const gq_clipcut_opts *o, gq_clipcut *out, gq_error *err);
void      gq_clipcut_free(gq_clipcut *c);
/* The vectors of the groups alone: out [groups, dim], rounded to float. k is not read. */
gq_status gq_clipcut_vectors(const float *frames, int64_t n, int64_t dim, const gq_clipcut_opts *o,
                             float *out, gq_error *err);

#endif
