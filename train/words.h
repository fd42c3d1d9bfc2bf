/* words.h - the forms of an answer that the metrics compare.
 *
 * Text is UTF-8; bytes that are no valid UTF-8 pass through unchanged and count as letters. White space is what
 * Python's str.split() splits at (the references are Python programs). Lower case maps one code point to one
 * (U+0130 to two), so a Greek final sigma is not special.
 *
 * Every function that returns char * gives a new NUL-terminated string that the caller frees with gq_free(), or
 * NULL when there is no memory. Token strings have single spaces between the tokens and none at the ends.
 */
#ifndef GIFQA_TRAIN_WORDS_H
#define GIFQA_TRAIN_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* The next token at *p: sets *word and its length in bytes and moves *p behind it; false at the end. */
bool gq_words_next(const char **p, const char **word, size_t *bytes);

char *gq_words_lower(const char *s);

/* Strict form: ends stripped, cut at the first newline or <|endoftext|>, lower case, white space collapsed. */
char *gq_words_strict(const char *s);

/* SQuAD form: lower case, ASCII punctuation deleted, the words a/an/the deleted, white space collapsed. */
char *gq_words_squad(const char *s);

/* sacreBLEU's tokenisation "13a" (mteval-v13a); the case is kept. */
char *gq_words_13a(const char *s);

/* 13a tokens of the lower-cased text: what corpus and sentence BLEU of this project count. */
char *gq_words_bleu(const char *s);

/* The same without tokens that are punctuation only: stands for the PTB tokens of COCO's scripts. */
char *gq_words_coco(const char *s);

#endif
