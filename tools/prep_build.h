/* prep_build.h - private to gifqa-prep build: where its vocabulary and its CLIP come from. */
#ifndef GIFQA_TOOLS_PREP_BUILD_H
#define GIFQA_TOOLS_PREP_BUILD_H

#include "data/build.h"
#include "data/contexts.h"
#include "data/tokenizer.h"
#include "tools/prep.h"

typedef struct gq_prep_words_report {
    uint32_t words;                     /* different ones, of the table and of the prompt       */
    uint32_t lost;                      /* of them, those that the vocabulary has no row for    */
    uint64_t lost_answers;              /* answers of the table with one of those               */
} gq_prep_words_report;

/* A tokenizer of three special tokens and the words of a table, of its contexts (NULL: none) and of the
 * prompt, the most frequent ones up to gpt2.vocab or t5.vocab in all. `out` is the data set's
 * directory, which exists; nothing stays there. */
gq_status gq_prep_words(const char *table, const gq_contexts *contexts, const char *out, const gq_config *c,
                        gq_tokenizer **tok, gq_prep_words_report *report, gq_error *err);

typedef struct gq_prep_clip gq_prep_clip;   /* CLIP as chooser and as source of features       */

/* choose: CLIP-Cut, described by o->described as well; else the build spreads frames evenly. Sets
 * ctx of o, with `choose` also choose and chooser, with `features` also features, tower, tokens and
 * width, with `vectors` what stores an embedding of every frame; o must not outlive *out. */
gq_status gq_prep_clip_open(const gq_config *c, bool choose, bool features, bool vectors,
                            gq_build_opts *o, gq_prep_clip **out, gq_error *err);
void      gq_prep_clip_close(gq_prep_clip *p);  /* NULL allowed                                 */

#endif
