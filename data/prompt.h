/* prompt.h - a question and an answer as token ids: one rule for building shards and for asking.
 *
 * A question fills the template where "{q}" stands, and a text to find the answer in where "{c}"
 * stands. When there are more ids than max_question the start goes, because the end says what is
 * asked; behind "{q}" ... "{c}" it is the end of the context. An answer follows its prefix and loses its end
 * beyond max_answer. Special tokens written in the text are text. Template and prefix are borrowed;
 * a gq_prompt_ids is the caller's: it starts zeroed, its memory is used again by each call,
 * gq_prompt_ids_free() releases it.
 */
#ifndef GIFQA_DATA_PROMPT_H
#define GIFQA_DATA_PROMPT_H

#include "data/tokenizer.h"

enum { GQ_PROMPT_BYTES = 1 << 16 };     /* a filled template is shorter than this                 */

typedef struct gq_prompt_form {
    const char *template;               /* {q} is the question, {c} its context                   */
    const char *answer_prefix;          /* before each answer                                     */
    int32_t     max_question, max_answer;        /* ids                                           */
} gq_prompt_form;

typedef struct gq_prompt_ids {
    int32_t *ids;                       /* [n], inside buffer                                     */
    int32_t  n;
    bool     cut;                       /* there were more                                        */
    int32_t *buffer;                    /* [room]                                                 */
    size_t   room;
} gq_prompt_ids;

/* context: "" where there is none. GQ_EINPUT when the question gives no token or does not fit
 * GQ_PROMPT_BYTES. */
gq_status gq_prompt_question(const gq_prompt_form *f, const gq_tokenizer *t, const char *question,
                             const char *context, gq_prompt_ids *out, gq_error *err);
gq_status gq_prompt_answer(const gq_prompt_form *f, const gq_tokenizer *t, const char *answer,
                           gq_prompt_ids *out, gq_error *err);
void      gq_prompt_ids_free(gq_prompt_ids *p);

/* A generated text without the answer prefix and the spaces before it: a pointer into `text`. */
const char *gq_prompt_strip(const gq_prompt_form *f, const char *text);

#endif
