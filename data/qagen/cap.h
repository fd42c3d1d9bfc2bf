/* cap.h - which questions to keep so that no answer is most of its template.
 *
 * Captions are full of "two" and "a man"; a model that learns from them as they come learns to say
 * so. Of each template the questions of an answer are kept up to a limit, the largest for which no
 * answer has more than `share` of what is kept; where there are too few answers for that, each is
 * kept once. Which ones: those whose GIF has the fewest, so that it keeps some, and among these by
 * a random order that depends on the row's number alone.
 */
#ifndef GIFQA_DATA_QAGEN_CAP_H
#define GIFQA_DATA_QAGEN_CAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef struct gq_cap_row {
    uint32_t    template;
    const char *answer;
    uint32_t    siblings;               /* rows of the same GIF, this one included                */
} gq_cap_row;

typedef struct gq_cap_count {           /* of one template                                        */
    size_t made, kept;                  /* rows                                                   */
    size_t answers;                     /* different ones                                         */
    size_t most, most_kept;             /* rows of the most frequent answer, before and after     */
} gq_cap_count;

/* keep: [n]; count: [templates], templates are 0 to templates - 1. share: 0 < share <= 1. */
gq_status gq_cap(const gq_cap_row *row, size_t n, double share, uint32_t templates, bool *keep,
                 gq_cap_count *count, gq_error *err);

#endif
