/* tagger_private.h - what tagger.c, tagger_file.c and tagger_train.c share. */
#ifndef GIFQA_DATA_QAGEN_TAGGER_PRIVATE_H
#define GIFQA_DATA_QAGEN_TAGGER_PRIVATE_H

#include "data/qagen/tagger.h"

enum {
    GQ__FEATURES = 40,                  /* of one word, at most                                   */
    GQ__NO_TAG   = GQ_TAGS,             /* in front of a sentence                                 */
};

typedef struct gq__tag_row {            /* a feature                                              */
    uint32_t hash;
    uint32_t end;                       /* of its weights; they begin where the row before ends   */
} gq__tag_row;

typedef struct gq__tag_weight { int16_t value; uint16_t tag; } gq__tag_weight;
typedef struct gq__tag_slot { uint32_t hash, from, to; } gq__tag_slot;      /* to 0: empty        */

struct gq_tagger {
    int          tags;
    bool         wordnet;
    char         name[GQ_TAGS][GQ_TAG_NAME + 1];
    uint32_t     rows, weights;
    gq__tag_row *row;                   /* [rows] ascending by hash                               */
    gq__tag_weight *weight;             /* [weights]                                              */
    gq__tag_slot *slot;                 /* [slots] the rows for look-up by open addressing        */
    uint32_t     slots;                 /* a power of two                                         */
};

/* What is known of a word before any tag is; five of them, two on each side, are a window. */
typedef struct gq__tag_word {
    uint32_t word;                      /* hash of its letters                                    */
    uint32_t end[4];                    /* of its last 1, 2, 3 and 4 bytes                        */
    uint32_t begin[3];                  /* of its first 1, 2 and 3 bytes                          */
    uint32_t shape;                     /* digits, hyphens, other marks                           */
    uint32_t parts;                     /* what WordNet knows of it                               */
    unsigned noun;                      /* the class of its first sense as a noun                 */
} gq__tag_word;

void gq__tag_look(const char *word, gq__tag_word *out);      /* NULL: outside of the sentence     */
/* Hashes of the features of at[2] in its window at[0..4]; how many. */
int  gq__tag_features(const gq__tag_word at[5], int before, int before_that,
                      uint32_t out[GQ__FEATURES]);
/* Slots from rows. GQ_ENOMEM. */
gq_status gq__tagger_index(gq_tagger *t, gq_error *err);

#endif
