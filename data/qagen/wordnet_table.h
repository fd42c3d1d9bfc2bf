/* wordnet_table.h - the tables that data/qagen/wordnet/make.c writes when gifqa is built; for
 * wordnet.c alone. */
#ifndef GIFQA_DATA_QAGEN_WORDNET_TABLE_H
#define GIFQA_DATA_QAGEN_WORDNET_TABLE_H

#include <stddef.h>
#include <stdint.h>

enum { GQ__WORDNET_SLOTS = 1 << 18 };

static inline uint32_t gq__wordnet_hash(const char *word)
{
    uint32_t h = 2166136261u;           /* FNV-1a                                                 */
    for (; *word; word++)
        h = (h ^ (uint8_t)*word) * 16777619u;
    return h ^ (h >> 15);
}

typedef struct gq__wordnet_row {
    uint32_t at;                        /* of the word in the text                                */
    uint8_t  parts;                     /* GQ_WN_NOUN | ...                                       */
    uint8_t  noun;                      /* lexicographer file of its first sense, two flags       */
} gq__wordnet_row;

typedef struct gq__wordnet_pair { const char *form, *lemma; } gq__wordnet_pair;

extern const char             gq__wordnet_text[];
extern const gq__wordnet_row  gq__wordnet_rows[];
extern const size_t           gq__wordnet_words;
extern const uint32_t         gq__wordnet_slots[];         /* row + 1 by hash, 0: empty       */
extern const gq__wordnet_pair gq__wordnet_nouns[], gq__wordnet_verbs[];
extern const size_t           gq__wordnet_nouns_pairs, gq__wordnet_verbs_pairs;

#endif
