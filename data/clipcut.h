/* clipcut.h - CLIP-Cut: which k frames of an animation to look at for a question, by exact search.
 *
 * Frames 0..n-1 and the question come as CLIP embeddings (data/ knows no models: who calls has
 * computed them). `group` consecutive frames are scored together, because neighbouring frames are
 * near duplicates and the k nearest single frames tend to be one shot; the last group may be
 * smaller. With `normalize` every embedding is divided by its L2 norm first and so is a group's
 * vector (one of length zero, from frames that cancel, stays zero). Distances are L2, not squared.
 *
 * The list of candidates: of each group the frame that is itself nearest to the question, nearest
 * group first; behind them all other frames, nearest first. Equal distances: the lower index.
 *
 * What is chosen, by mode:
 *   clip     the first k of the list
 *   uniform  the middles of k equal parts of the animation (gq_frames_evenly()); the embeddings are
 *            measured, and refused when damaged, but decide nothing, and `apart` is not read
 *   mix      the middles of floor(k/2) equal parts first, each frame once, then from the list what
 *            is not chosen yet until there are k: with k = 1 this is clip
 * With `apart` a > 1 no two frames are chosen whose numbers differ by less than a (temporal
 * non-maximum suppression): a candidate nearer in time to a chosen frame is passed over. If the
 * list ends before there are k, a is halved, rounding down, and the list is gone through again,
 * until at a = 1 every frame left is taken. So k frames always come, those first that keep the full
 * distance. The middles of mix are chosen before and keep their places whatever a is.
 * With fewer frames than k the last one in time is repeated; uniform repeats evenly. The result is
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

enum { GQ_CLIPCUT_MAX = 1024 };         /* largest k, group and apart */

typedef enum gq_clipcut_reduce {        /* a group's vector from its frames */
    GQ_CLIPCUT_MEAN,
    GQ_CLIPCUT_MAXIMUM,                 /* element by element */
    GQ_CLIPCUT_FIRST,                   /* its first frame */
} gq_clipcut_reduce;

typedef enum gq_clipcut_mode {
    GQ_CLIPCUT_CLIP,
    GQ_CLIPCUT_UNIFORM,
    GQ_CLIPCUT_MIX,
} gq_clipcut_mode;

typedef struct gq_clipcut_opts {
    int64_t           k;                /* frames to choose, 1..GQ_CLIPCUT_MAX */
    int64_t           group;            /* consecutive frames scored together, 1..GQ_CLIPCUT_MAX */
    bool              normalize;        /* unit vectors before the distance */
    gq_clipcut_reduce reduce;
    gq_clipcut_mode   mode;
    int64_t           apart;            /* frames, 0..GQ_CLIPCUT_MAX; 0 and 1: any distance */
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
/* The vectors of the groups alone: out [groups, dim], rounded to float. k, mode and apart are
 * not read. */
gq_status gq_clipcut_vectors(const float *frames, int64_t n, int64_t dim, const gq_clipcut_opts *o,
                             float *out, gq_error *err);
/* The frame in the middle of one of `parts` equal parts of n frames; part from 0. */
static inline int64_t gq_clipcut_middle(int64_t n, int64_t part, int64_t parts)
{
    return (2 * part + 1) * n / (2 * parts);
}

/* The text to compare frames with: the question, or, with a description of the animation (NULL:
 * none), both with a space between. A description tends to contain the answer (in TGIF-QA's FrameQA
 * 99.3 % do), so this is an ablation, no setting for question answering. gq_free(); NULL: no
 * memory. */
char     *gq_clipcut_text(const char *question, const char *description);

#endif
