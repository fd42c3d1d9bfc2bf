/* pairs.h - questions and answers gathered from whoever makes them, balanced, and written as the
 * table that gifqa-prep build reads: gif, question, answer, type, template, candidate, generator.
 *
 * Pairs stay in the order in which they came. Texts of a pair are copied but for the names (type,
 * template, candidate), which outlive the pairs.
 */
#ifndef GIFQA_DATA_QAGEN_PAIRS_H
#define GIFQA_DATA_QAGEN_PAIRS_H

#include "data/qagen/cap.h"

typedef struct gq_pair {
    const char *gif, *question, *answer;
    const char *type;                   /* the kind of question                                   */
    const char *template;               /* the rule, or the form of the prompt                    */
    const char *candidate;              /* the kind of answer                                     */
    uint32_t    group;                  /* which pairs gq_pairs_balance() counts together         */
} gq_pair;

typedef struct gq_pairs gq_pairs;

/* generator: "rules", "t5"; outlives the pairs. */
gq_status gq_pairs_new(const char *generator, gq_pairs **out, gq_error *err);
void      gq_pairs_free(gq_pairs *p);                        /* NULL allowed                      */
gq_status gq_pairs_add(gq_pairs *p, const gq_pair *pair, gq_error *err);
size_t    gq_pairs_count(const gq_pairs *p);
gq_pair   gq_pairs_at(const gq_pairs *p, size_t k);          /* valid until the next one is added */
/* Behind "a", "an", "the": answers that differ in these alone are one answer. */
const char *gq_pairs_answer(const char *answer);
/* Do the words of the answer, its article apart, stand in the question? Both lower case. */
bool gq_pairs_told(const char *question, const char *answer);
/* Decides which pairs are written (all of them before): gq_cap() for each group, 0 to groups - 1.
 * count: [groups]. */
gq_status gq_pairs_balance(gq_pairs *p, double share, uint32_t groups, gq_cap_count *count,
                           gq_error *err);
gq_status gq_pairs_write(const gq_pairs *p, const char *path, gq_error *err);

#endif
