/* chunk_private.h - what those who read chunks share. */
#ifndef GIFQA_DATA_QAGEN_CHUNK_PRIVATE_H
#define GIFQA_DATA_QAGEN_CHUNK_PRIVATE_H

#include "data/qagen/chunk.h"

void gq__repair(gq_caption *c);         /* tags, from those of the tagger                         */
bool gq__is_noun(gq_pos p);
bool gq__is_verb(gq_pos p);
bool gq__is_be(const char *word);

/* Of chunk k; behind the last one nothing is true. */
bool        gq__is_kind(const gq_caption *c, size_t k, gq_chunk_kind kind);
const char *gq__first(const gq_caption *c, size_t k);        /* its first word, or ""             */
/* A word in no chunk that is in the list (gq_word_among). */
bool gq__is_other(const gq_caption *c, size_t k, const char *list);
/* A group whose first word is finite: "is waving", "waves", "can wave". */
bool gq__is_finite(const gq_caption *c, size_t k);

#endif
