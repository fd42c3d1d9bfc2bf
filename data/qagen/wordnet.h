/* wordnet.h - what WordNet 3.0 says about single words: parts of speech, the class of a noun, base
 * forms.
 *
 * The tables are made when gifqa is built, from the files of Debian's wordnet-base, and are part of
 * the library. Built without them, every look-up finds nothing: gq_wordnet_present().
 * Words are lower case. Nothing here allocates or fails.
 */
#ifndef GIFQA_DATA_QAGEN_WORDNET_H
#define GIFQA_DATA_QAGEN_WORDNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GQ_WN_NOUN = 1, GQ_WN_VERB = 2, GQ_WN_ADJ = 4, GQ_WN_ADV = 8 };

/* The class of a noun's first sense: WordNet's own numbers, and two flags. */
enum {
    GQ_WN_ACT = 4, GQ_WN_ANIMAL = 5, GQ_WN_ARTIFACT = 6, GQ_WN_BODY = 8, GQ_WN_FOOD = 13,
    GQ_WN_GROUP = 14, GQ_WN_LOCATION = 15, GQ_WN_OBJECT = 17, GQ_WN_PERSON = 18, GQ_WN_PLANT = 20,
    GQ_WN_QUANTITY = 23, GQ_WN_SUBSTANCE = 27, GQ_WN_TIME = 28,
    GQ_WN_CLASS = 63,                   /* mask of the number                                     */
    GQ_WN_LIVING = 64,                  /* a person or an animal, by its hypernyms                */
    GQ_WN_CLOTHING = 128,
};

bool gq_wordnet_present(void);
/* GQ_WN_NOUN | ... of this very form; 0: not in WordNet. *noun (may be NULL): its class, 0 when it
 * is no noun. */
unsigned gq_wordnet_find(const char *word, unsigned *noun);

enum { GQ_WN_WORD = 64 };               /* bytes of a form, with the NUL; longer ones are unknown */
/* The base form of an inflected noun or verb by WordNet's exceptions and rules of detachment, the
 * word itself when it is one already. False: WordNet knows none, and out is the word. */
bool gq_wordnet_noun(const char *word, char out[GQ_WN_WORD]);
bool gq_wordnet_verb(const char *word, char out[GQ_WN_WORD]);

#endif
