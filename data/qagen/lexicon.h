/* lexicon.h - classes of the words of captions: WordNet's, and lists where WordNet's first sense is
 * not what captions mean. Words are lower case, as they stand in the caption. */
#ifndef GIFQA_DATA_QAGEN_LEXICON_H
#define GIFQA_DATA_QAGEN_LEXICON_H

#include <stdbool.h>

/* Is the word in a list of words, each between blanks? */
bool gq_word_among(const char *word, const char *list);

bool gq_word_is_color(const char *word);
bool gq_word_is_living(const char *noun);      /* also groups of people and animals               */
bool gq_word_is_human(const char *noun);       /* living, and "who" asks for it                   */
bool gq_word_is_clothing(const char *noun);
bool gq_word_is_place(const char *noun);       /* a thing something can be in, on, near           */
bool gq_word_is_time(const char *noun);
bool gq_word_is_picture(const char *noun);     /* what is in it is meant, not itself              */
/* A verb in this form, by WordNet; base form into out[GQ_WN_WORD]. */
bool gq_word_is_verb(const char *word, char *base);

#endif
