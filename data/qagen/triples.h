/* triples.h - who does what to whom: subject, predicate, object of every verb of a caption.
 *
 *   a man in a hat and a woman sit on a couch and hold cups .
 *   man, sit on, couch    woman, sit on, couch    man, hold, cups    woman, hold, cups
 *
 * Subjects and objects are noun phrases without their article, with "of" phrases and possessors. A
 * predicate is the base of a verb with its particle, "not" before a negated one; verbs that follow
 * each other are one ("try to open", "start dancing"). A preposition behind a verb makes a further
 * predicate, "sit on". Conjunctions multiply: every subject with every object. A passive with "by"
 * is turned around, another one is "be dressed in". Participles and relative clauses belong to the
 * noun phrase before them, "he" and "she" are the person they can mean. The object is "" where a
 * verb has none. What a phrase behind a preposition belongs to is not known from chunks: it goes to
 * the verb, except for clothes behind a person ("kisses a girl in a hat").
 *
 * Nothing here allocates; the same caption gives the same triples, in the order of its verbs.
 */
#ifndef GIFQA_DATA_QAGEN_TRIPLES_H
#define GIFQA_DATA_QAGEN_TRIPLES_H

#include "data/qagen/chunk.h"

enum { GQ_TRIPLES = 64, GQ_TRIPLE_TEXT = 256 };

typedef struct gq_triple {
    char subject[GQ_TRIPLE_TEXT], predicate[GQ_TRIPLE_TEXT], object[GQ_TRIPLE_TEXT];
} gq_triple;

/* How many, in out[GQ_TRIPLES]; more, and those with longer texts, are left out. */
size_t gq_triples(const gq_caption *c, gq_triple *out);

#endif
