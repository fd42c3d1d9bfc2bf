/* choose.h - how likely a model finds given answers to a question of a dataset.
 *
 * The log-probability of an answer is the sum over its tokens and the end token, each given the GIF,
 * the question and the tokens before it: what training minimises, not divided by the length.
 *
 * Ownership: a chooser borrows net, dataset and tokenizer. One thread at a time.
 */
#ifndef GIFQA_TRAIN_CHOOSE_H
#define GIFQA_TRAIN_CHOOSE_H

#include "data/shard.h"
#include "data/tokenizer.h"
#include "train/net.h"

enum { GQ_CHOOSE_MAX = 16 };            /* answers at once                                        */

typedef struct gq_chooser gq_chooser;

gq_status gq_chooser_new(gq_net *n, const gq_dataset *d, const gq_tokenizer *tok, gq_chooser **out,
                         gq_error *err);
void      gq_chooser_free(gq_chooser *c);                    /* NULL allowed                      */
/* logprob, tokens: [n]; tokens counts the end token. Answers lose their end beyond
 * prompt.max_answer_tokens, as in a build. */
gq_status gq_chooser_score(gq_chooser *c, int64_t question, const char *const *answer, int n,
                           double *logprob, int *tokens, gq_error *err);

#endif
