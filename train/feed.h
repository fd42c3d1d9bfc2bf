/* feed.h - from samples to the inputs of a recorded pass: shapes by bucket, ids, positions, labels, masks.
 *
 * A sample is what the loader delivers: pixels or cached features, question ids and answer ids (without end token). The
 * text of a sample is [question][answer][end]; labels are the answer and the end token; row s predicts the token at
 * s + 1, so the labelled rows run from the last question token to the last answer token.
 *
 * For T5 the question, which holds its context, and the end token are the source; the target is the answer and the
 * end token, and every row of it has a label.
 */
#ifndef GIFQA_TRAIN_FEED_H
#define GIFQA_TRAIN_FEED_H

#include "train/mask.h"
#include "train/net.h"

typedef struct gq_sample {
    const void    *vision;              /* u8 [k,S,S,3] when live, float [k,E,V] when cached      */
    const int32_t *question, *answer;   /* ids                                                    */
    int            nq, na;              /* how many; nq >= 1, na may be 0                         */
    int64_t        index;               /* of the question in its data, for messages              */
} gq_sample;

/* The shape that holds these samples: T padded to prompt.bucket, labelled rows to B * (longest answer + 1), rounded to
 * the answer bucket; kept (drop-mode) padded to a multiple of 16. Masked passes need the flags first. */
void gq_feed_shape(const gq_config *c, const gq_sample *s, int batch, bool live, bool masked, bool train,
                   const uint8_t *keep, gq_stllm_shape *out);
/* Smallest shape that holds question lengths up to nq and answers up to na, by the same rounding. */
int  gq_feed_text(const gq_config *c, int nq, int na);
/* Labelled rows a sample gets when the longest answer of its batch has na tokens. */
int  gq_feed_labels(int na);

typedef struct gq_feed_opts {
    double inv_lm, inv_mvm;             /* 1 / denominators of the whole step                     */
    int    end_id;                      /* the end token; also pads                               */
} gq_feed_opts;

/* Writes all inputs of h. keep: u8 [B,N] flags of masked passes (token granularity), elements: float [B,N,D] for element
 * granularity, else NULL. The number of samples is h->shape.batch. */
void gq_feed(const gq_config *c, const gq_sample *s, const uint8_t *keep, const float *elements, const gq_feed_opts *o,
             gq_stllm_tape *h);
/* The same for a pass of either kind; keep and elements are NULL for T5. */
void gq_feed_pass(const gq_config *c, const gq_sample *s, const uint8_t *keep, const float *elements,
                  const gq_feed_opts *o, gq_pass *p);

#endif
