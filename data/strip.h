/* strip.h - a picture of what CLIP-Cut chose: the chosen frames side by side, each with its score,
 * above a timeline of all groups.
 *
 * Nearness, the length of a bar, runs from the farthest (a stump) to the nearest frame or group of
 * this GIF: it compares within one picture only; the numbers are the L2 distances. A pure function
 * of its arguments. Ownership: the pixels of *out are released with gq_free().
 */
#ifndef GIFQA_DATA_STRIP_H
#define GIFQA_DATA_STRIP_H

#include "core/status.h"
#include "data/clipcut.h"
#include "data/font.h"
#include "data/gif.h"

typedef struct gq_strip {
    const char       *title;            /* the question */
    const gq_clipcut *cut;
    int64_t           group;            /* frames of a group */
    const double     *seconds; /* [cut->frames + 1] when each frame appears; the last: the end */
} gq_strip;

/* The frames are decoded again from the GIF the choice was made on, one at a time. */
gq_status gq_strip_draw(const gq_strip *s, const uint8_t *gif, size_t size, const char *name,
                        const gq_gif_limits *limits, gq_picture *out, gq_error *err);

#endif
