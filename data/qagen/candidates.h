/* candidates.h - the answers a caption can give: living entities, nouns, verbs, prepositional
 * phrases, colours.
 *
 *   living   a noun phrase whose head is a person, an animal or a group of them
 *   noun     any other noun phrase with a noun
 *   verb     the verb of a group of verbs, with its particle; not be, have, do as auxiliaries
 *   phrase   preposition and noun phrase, with "of" phrases and coordinated nouns behind it
 *   color    color words, "black and white" as one
 * "of" phrases that say what something is made of join their nouns: "a group of men" is one living
 * entity. Candidates come in the order of their words, categories in the order above.
 */
#ifndef GIFQA_DATA_QAGEN_CANDIDATES_H
#define GIFQA_DATA_QAGEN_CANDIDATES_H

#include "data/qagen/chunk.h"

typedef enum gq_category {
    GQ_LIVING, GQ_NOUN, GQ_VERB, GQ_PHRASE, GQ_COLOR, GQ_CATEGORIES
} gq_category;

typedef struct gq_candidate {
    gq_category category;
    uint8_t     from, to;               /* words [from, to) of the caption                        */
    uint8_t     head;                   /* its noun or verb; the preposition; the first color     */
} gq_candidate;

enum { GQ_CANDIDATES = 3 * GQ_WORDS };

const char *gq_category_name(gq_category c);
/* How many, in out[GQ_CANDIDATES]. */
size_t gq_candidates(const gq_caption *c, gq_candidate *out);
/* The last chunk of the noun phrase that begins with chunk k: over "of" phrases of it. */
size_t gq_phrase_end(const gq_caption *c, size_t k);

#endif
