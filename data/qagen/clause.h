/* clause.h - clauses of a caption, as far as questions need them: who, verb, what follows.
 *
 *   a man in a hat  is waving   his hand        and smiling   while dancing .
 *   subject..behind verb        rest..end       second        beside      (same subject)
 *
 * "this is a man who waves", "there is a man waving": the man is the subject, as if they began
 * there. Indices are of chunks, ranges half open. Nothing allocates.
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
    size_t         first, last;         /* chunks of the subject itself: "a group of men"         */
    size_t         behind;              /* the chunk behind its modifiers                         */
    bool           bare;                /* those are too long or too odd to repeat                */
    bool           plural, human;
    const char    *be;                  /* "is", "are", "was", "were"                             */
    gq_clause_verb verb, second;        /* second: same subject, joined by and, a comma, then     */
    gq_clause_verb beside;              /* same subject, a participle behind "while"              */
    bool           then;                /* "then" stands before the second                        */
} gq_clause;

/* The clause whose subject begins with this chunk. NULL, or why nothing is made of it. */
const char *gq_clause_read(const gq_caption *c, size_t at, gq_clause *out);
/* Where the subject of a clause begins that "and" or "while" joins to this one; 0: none does. */
size_t gq_clause_next(const gq_caption *c, const gq_clause *s);
/* What stands between a subject and its verb as a clause of its own: "a man sitting on a couch
 * waves", "a man who sits on a couch waves". False: nothing such does. */
bool gq_clause_inner(const gq_caption *c, const gq_clause *s, gq_clause *out);

#endif
