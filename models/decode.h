/* decode.h - choosing tokens: greedy and beam search over the logits of whatever model, and the caches
 * that follow the beams.
 *
 * Semantics are those of transformers' generate(): greedy takes the lowest id on ties and stops at
 * the end token; beam search keeps the 2*beams best continuations a step, a hypothesis ends when
 * the end token is among the best `beams`, finished ones score sum of log probabilities /
 * length^length_penalty. Only new tokens are counted.
 */
#ifndef GIFQA_MODELS_DECODE_H
#define GIFQA_MODELS_DECODE_H

#include <stdbool.h>

#include "core/engine.h"

typedef enum gq_early { GQ_EARLY_FALSE, GQ_EARLY_TRUE, GQ_EARLY_NEVER } gq_early;

typedef struct gq_decode_opts {
    int      max_new;                   /* tokens, the end token included                         */
    int      min_new;                   /* tokens before the end token may come; 0: none          */
    int      no_repeat;                 /* no run of so many new tokens comes twice; 0: may       */
    int      beams;                     /* 1: greedy                                              */
    double   length_penalty;
    bool     legacy_length;             /* lengths include the prompt (old transformers)          */
    gq_early early;
    int32_t  end_id;
    int      tokens;                    /* ids from here on are never chosen: rows of the head
                                           that no token of the tokenizer stands for; 0: none     */
    int      bucket;                    /* prompts are padded up to a multiple of this            */
} gq_decode_opts;

typedef struct gq_answer {
    int32_t *ids;                       /* [max_new], caller's memory; without the end token      */
    int      n;
    bool     ended;                     /* the end token came                                     */
    double   logprob;                   /* sum over the tokens, the end token included            */
} gq_answer;

/* ---- for the models that decode ---------------------------------------------------------------- */

/* One batch of prompts being answered. Logits of the last run are in `row`: after the prompts `lead` rows a
 * prompt, of which the first counts; after a step `beams` rows a prompt. */
typedef struct gq_decoding {
    const gq_decode_opts *o;
    gq_engine *engine;
    int      batch;                     /* prompts of a full batch; rows = batch * beams          */
    int      lead;
    int      vocab;                     /* logits of a row                                        */
    int32_t  start;                     /* token in front of all new ones that counts for no_repeat; -1: none */
    float   *row;                       /* [rows * vocab]                                         */
    int32_t *token;                     /* [rows]: chosen, fed by the next step                   */
    const int *prompt;                  /* [batch] lengths, for legacy_length                     */
    char    *cache, *spare;             /* [layers][rows][row_bytes]; [rows][row_bytes], NULL without beams */
    int      layers;
    size_t   row_bytes;
    gq_status (*step)(void *ctx, int step, gq_error *err);   /* feeds token[] as new token `step` (from 0) */
    void    *ctx;
} gq_decoding;

/* Answers the first `count` prompts of the batch; answer[].ids are the caller's. */
gq_status gq_decode(const gq_decoding *d, int count, gq_answer *answer, gq_error *err);

/* Would `token` after start, ids[0,n) end a run of `length` tokens that is there already? start -1: there is
 * none. length 0: never. */
bool gq_decode_repeats(int32_t start, const int32_t *ids, int n, int length, int32_t token);

#endif
