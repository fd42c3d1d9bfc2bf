/* metrics.h - the scores of a set of answers: per question type, with intervals, and the baselines beside them.
 *
 * A scorer takes (type, predicted answer, right answers) one by one, keeps a fixed number of bytes for each, and
 * gives a table: one row for all answers and one for each type in byte order of its name. Scores are in 0..1,
 * except sacreBLEU's, which is in 0..100 as everywhere. The order of the answers changes nothing but the
 * random intervals; those are a function of the seed, the order and the answers alone.
 *
 * A tally counts the answers of the training set and gives the baselines: its most frequent answer, and chance
 * (one over the number of different answers of the type).
 */
#ifndef GIFQA_TRAIN_METRICS_H
#define GIFQA_TRAIN_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

/* ---- single answers -------------------------------------------------------------------------------- */

typedef struct gq_match {
    bool   exact;                       /* equal in strict form (words.h)                         */
    bool   normalised;                  /* equal in SQuAD form                                    */
    double f1;                          /* of the bags of SQuAD-form words; both empty: 1         */
} gq_match;

/* The best of each over the references. */
gq_status gq_match_answer(const char *answer, const char *const *refs, size_t n_refs, gq_match *out,
                          gq_error *err);

/* ---- tables ---------------------------------------------------------------------------------------- */

typedef enum gq_metric {
    GQ_METRIC_EXACT,                    /* share of answers equal in strict form                  */
    GQ_METRIC_NORMALISED,               /* share of answers equal in SQuAD form                   */
    GQ_METRIC_F1,                       /* mean token F1                                          */
    GQ_METRIC_BLEU1,                    /* corpus BLEU-1 and -2, NLTK definition, unsmoothed      */
    GQ_METRIC_BLEU2,
    GQ_METRIC_SENTENCE,              /* mean sentence BLEU, sacreBLEU with effective order, / 100 */
    GQ_METRIC_SACRE,                    /* corpus sacreBLEU, 0..100, gq_bleu_signature(false)     */
    GQ_METRICS
} gq_metric;

const char *gq_metric_name(gq_metric m);                     /* "exact_match", ..., "sacrebleu"   */

typedef struct gq_score_row {
    const char *type;                   /* "" for all answers; owned by the table                 */
    size_t      n;                      /* answers                                                */
    double      value[GQ_METRICS];
    double      low[GQ_METRICS];     /* percentile bootstrap interval; equal to value without one */
    double      high[GQ_METRICS];
} gq_score_row;

typedef struct gq_score_table {
    gq_score_row *rows;                 /* [n_rows], the row of all answers first; n_rows >= 1    */
    size_t        n_rows;
} gq_score_table;

typedef struct gq_scorer gq_scorer;

gq_scorer *gq_scorer_new(void);                              /* NULL: no memory                   */
void       gq_scorer_free(gq_scorer *s);                     /* NULL allowed                      */

/* Copies what it needs. type may be "" or NULL: counted in the row of all answers only. */
gq_status gq_scorer_add(gq_scorer *s, const char *type, const char *answer, const char *const *refs,
                        size_t n_refs, gq_error *err);

/* resamples = 0: no intervals. `confidence` is the mass inside, as 0.95. Without answers all values are NAN. */
gq_status gq_scorer_table(const gq_scorer *s, uint64_t seed, uint32_t resamples, double confidence,
                          gq_score_table *out, gq_error *err);
void      gq_score_table_free(gq_score_table *t);

/* ---- baselines ------------------------------------------------------------------------------------- */

typedef struct gq_tally gq_tally;

gq_tally *gq_tally_new(void);                                /* NULL: no memory                   */
void      gq_tally_free(gq_tally *t);                        /* NULL allowed                      */
gq_status gq_tally_add(gq_tally *t, const char *type, const char *answer, gq_error *err);

/* The most frequent answer in strict form (the first in byte order on ties) among those of `type`, or of the whole
 * tally with NULL; "" for a type that never came. Valid until the next call with this tally. */
const char *gq_tally_majority(const gq_tally *t, const char *type);

/* Probability of guessing right: 1 / different answers of `type` (NULL: of all); 0 for one that never came. */
double gq_tally_chance(const gq_tally *t, const char *type);

#endif
