/* bleu.h - BLEU from its counts, in the variants that published numbers use.
 *
 * Counting and scoring are separate: the counts of sentences add up to those of a corpus, and a bootstrap sample
 * is a sum of counts. Texts are token strings (words.h): tokens separated by white space, the caller chooses how.
 *
 *   p_n = clipped matches / n-grams of the hypothesis,  BP = c >= r ? 1 : exp(1 - r / c),
 *   BLEU-N = BP * exp(1/N * sum ln p_n),  r = length of the closest reference, the shorter one on ties.
 *
 * The variants differ only in what they do about p_n = 0; answers of one to three words have no 4-grams, so their
 * unsmoothed BLEU-4 is 0 even when all are right.
 */
#ifndef GIFQA_TRAIN_BLEU_H
#define GIFQA_TRAIN_BLEU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

enum { GQ_BLEU_ORDER = 4 };

typedef struct gq_bleu {
    int64_t match[GQ_BLEU_ORDER];       /* clipped n-gram matches, [n - 1]                        */
    int64_t total[GQ_BLEU_ORDER];       /* n-grams of the hypotheses                              */
    int64_t empty[GQ_BLEU_ORDER];      /* hypotheses without any n-gram: NLTK counts one for each */
    int64_t hyp_len, ref_len;           /* tokens; ref_len of the closest references              */
} gq_bleu;

/* Counts of one hypothesis against its references (at least one). Fails only without memory. */
gq_status gq_bleu_count(const char *hyp, const char *const *refs, size_t n_refs, gq_bleu *out,
                        gq_error *err);
void gq_bleu_add(gq_bleu *sum, const gq_bleu *one);

/* NLTK corpus_bleu / sentence_bleu with uniform weights over orders 1..order, in 0..1. Methods: 0 none (a zero
 * precision becomes the smallest double), 1 add 0.1 to a zero numerator, 2 (m + 1) / (t + 1) from order 2 on,
 * 3 geometric 1 / (2^k t). */
double gq_bleu_nltk(const gq_bleu *b, int order, int method);

typedef enum gq_smooth { GQ_SMOOTH_NONE, GQ_SMOOTH_FLOOR, GQ_SMOOTH_ADD, GQ_SMOOTH_EXP } gq_smooth;

/* sacreBLEU, orders 1..4, in 0..100. `value` is used by FLOOR (its default is 0.1) and ADD (1). With `effective`
 * only the orders that the hypothesis is long enough for are averaged (for single sentences). */
double gq_bleu_sacre(const gq_bleu *b, gq_smooth smooth, double value, bool effective);

/* The signature of gq_bleu_sacre(b, GQ_SMOOTH_EXP, 0, effective) on gq_words_bleu() tokens. */
const char *gq_bleu_signature(bool effective);

/* COCO caption BLEU-order, in 0..1. */
double gq_bleu_coco(const gq_bleu *b, int order);

#endif
