/* chunk_private.h - what chunk.c and repair.c share. */
#ifndef GIFQA_DATA_QAGEN_CHUNK_PRIVATE_H
#define GIFQA_DATA_QAGEN_CHUNK_PRIVATE_H

#include "data/qagen/chunk.h"

void gq__repair(gq_caption *c);         /* tags, from those of the tagger                         */
bool gq__is_noun(gq_pos p);
bool gq__is_verb(gq_pos p);
bool gq__is_be(const char *word);

#endif
