/* clause.h - the first clause of a caption, as far as questions need it: who, verb, what follows.
 *
 *   a man in a hat  is waving   his hand        and smiling .
 *   subject..before verb        rest..end       second (same subject)
 *
 * Indices are of chunks, ranges half open. Nothing allocates.
 */
#ifndef GIFQA_DATA_QAGEN_CLAUSE_H
#define GIFQA_DATA_QAGEN_CLAUSE_H

#include "data/qagen/chunk.h"
#include "data/qagen/wordnet.h"

typedef enum gq_verb_form {
    GQ_PROGRESSIVE,                     /* is waving; without "is" in captions that have no verb  */
    GQ_PASSIVE,                         /* is kissed                                              */
    GQ_COPULA,                          /* is (on a horse)                                        */
    GQ_PRESENT,                         /* waves, wave                                            */
    GQ_PAST,                            /* waved                                                  */
} gq_verb_form;

typedef struct gq_clause_verb {
    size_t       chunk;                 /* the group; 0: there is none (a subject stands first)   */
    size_t       end;                   /* what belongs to it ends before this chunk              */
    gq_verb_form form;
    char         base[GQ_WN_WORD];
} gq_clause_verb;

typedef struct gq_clause {
    size_t         last;                /* last chunk of the subject itself: "a group of men"     */
    bool           bare;                /* modifiers behind it are too long or too odd to repeat  */
    bool           plural, human;
    const char    *be;                  /* "is", "are", "was", "were"                             */
    gq_clause_verb verb, second;        /* second: same subject, joined by and, a comma, then     */
    bool           then;                /* "then" stands before the second                        */
} gq_clause;

/* NULL, or why nothing is made of the caption. */
const char *gq_clause_read(const gq_caption *c, gq_clause *out);

#endif
