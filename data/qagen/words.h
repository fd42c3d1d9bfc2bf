/* words.h - a caption as words, in the manner of the treebanks: marks stand alone, "don't" is "do"
 * "n't", "man's" is "man" "'s".
 *
 * TGIF-QA's captions come in words already, TGIF's as people typed them; both give the same.
 * Letters become lower case (ASCII; others stay). Words point into the struct: it must not move.
 */
#ifndef GIFQA_DATA_QAGEN_WORDS_H
#define GIFQA_DATA_QAGEN_WORDS_H

#include <stdbool.h>
#include <stddef.h>

enum { GQ_WORDS = 128, GQ_WORDS_TEXT = 2048 };

typedef struct gq_words {
    size_t      n;
    const char *word[GQ_WORDS];
    bool        glued[GQ_WORDS];        /* nothing stood between it and the word before           */
    char        text[GQ_WORDS_TEXT];
} gq_words;

/* False: more than GQ_WORDS words, or GQ_WORDS_TEXT bytes with their ends. */
bool gq_words_split(const char *caption, gq_words *out);

#endif
