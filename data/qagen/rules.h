/* rules.h - questions and answers from a caption, by rules over its chunks.
 *
 * The rules, S the subject, V the verb, REST what follows it:
 *   subj       who/what is V-ing REST?  who/what V-s REST?           S
 *   verb       what is S doing?  what does S do?                     V-ing REST, V REST
 *   obj        what/who is S V-ing?  what/who does S V?              the object
 *   loc        where is S V-ing?  where does S V?                    the phrase of a place
 *              where is S?                                           the one behind S
 *   pp-obj     what/who is S V-ing at?                               the noun phrase
 *   number     how many N are V-ing REST?  how many N is S V-ing?    two
 *   color      what is the color of the N?                           black and white
 *              what color is S wearing?                              of "S in black"
 *   wear       what is S wearing?  also of another person            a hat
 *   while      what is S doing while V-ing REST?                     the second V-ing REST; the
 *                                                                    first of "while V-ing REST"
 *   after, before   what does S do after V-ing REST?                 V REST
 * They are asked of every clause: the first, those that "and" or "while" join to it, and "V-ing
 * REST" or "who V REST" behind a subject; a second verb of the same subject gives its own subj,
 * obj, loc and pp-obj. Later parts of a caption with "him" or "it" give none, nor do those about
 * one of two men. No question contains the words of its answer (colors apart), none comes twice.
 * A subject with "a" gets "the" where the question presupposes it. Captions with modal verbs,
 * without a subject, or with verbs WordNet does not know give no questions (colors may remain).
 *
 * Nothing here allocates; the same caption gives the same questions.
 */
#ifndef GIFQA_DATA_QAGEN_RULES_H
#define GIFQA_DATA_QAGEN_RULES_H

#include "data/qagen/candidates.h"

/*   name         in the table  kind of question                                                  */
#define GQ_RULE_LIST(X)                                                                            \
 X(SUBJ,   "subj",   "subject")  X(VERB,   "verb",   "verb")      X(OBJ,    "obj",    "object")    \
 X(LOC,    "loc",    "location") X(PP_OBJ, "pp-obj", "object")    X(NUMBER, "number", "number")    \
 X(COLOR,  "color",  "color")    X(WEAR,   "wear",   "object")    X(WHILE,  "while",  "transition")\
 X(AFTER,  "after",  "transition") X(BEFORE, "before", "transition")

typedef enum gq_rule {
#define GQ_RULE_ENUM(name, text, type) GQ_RULE_##name,
    GQ_RULE_LIST(GQ_RULE_ENUM)
#undef GQ_RULE_ENUM
    GQ_RULES
} gq_rule;

enum { GQ_RULE_QUESTION = 512, GQ_RULE_ANSWER = 256, GQ_RULE_MOST = 32 };

typedef struct gq_generated {
    gq_rule     rule;
    const char *candidate;              /* category of the answer: living, noun, verb, phrase,
                                           color, number                                          */
    char        question[GQ_RULE_QUESTION];
    char        answer[GQ_RULE_ANSWER];
} gq_generated;

const char *gq_rule_name(gq_rule r);
const char *gq_rule_type(gq_rule r);

/* How many, in out[GQ_RULE_MOST]. *why: NULL, or why the verb gave nothing. */
size_t gq_rules(const gq_caption *c, gq_generated *out, const char **why);

#endif
