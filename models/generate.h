/* generate.h - answers token by token: prefill of [visual][question], then one row a step over a
 * key/value cache.
 *
 * Semantics are those of transformers' generate(): greedy takes the lowest id on ties and stops at
 * the end token; beam search keeps the 2*beams best continuations a step, a hypothesis ends when
 * the end token is among the best `beams`, finished ones score sum of log probabilities /
 * length^length_penalty. Only new tokens are counted. No dropout, no masking: inference sees every
 * visual token.
 *
 * A generator owns its caches ([rows,cap,2C] a layer) and tapes: it allocates when it is made and
 * when a longer prompt than any before arrives. Its engine and parameters outlive it.
 */
#ifndef GIFQA_MODELS_GENERATE_H
#define GIFQA_MODELS_GENERATE_H

#include "models/stllm.h"

typedef enum gq_early { GQ_EARLY_FALSE, GQ_EARLY_TRUE, GQ_EARLY_NEVER } gq_early;

typedef struct gq_decode_opts {
    int      max_new;                   /* tokens, the end token included                         */
    int      min_new;                   /* tokens before the end token may come; 0: none          */
    int      beams;                     /* 1: greedy                                              */
    double   length_penalty;
    bool     legacy_length;             /* lengths include the prompt (old transformers)          */
    gq_early early;
    int32_t  end_id;
    int      tokens;                    /* ids from here on are never chosen: rows of the head
                                           that no token of the tokenizer stands for; 0: none     */
    int      bucket;                    /* prompts are padded up to a multiple of this            */
} gq_decode_opts;

typedef struct gq_prompt {
    const void    *vision;              /* u8 [k,S,S,3] or float [k,E,V]; NULL when the model has no visual side */
    const int32_t *ids;                 /* question                                               */
    int            n;                   /* >= 1                                                   */
} gq_prompt;

typedef struct gq_answer {
    int32_t *ids;                       /* [max_new], caller's memory; without the end token      */
    int      n;
    bool     ended;                     /* the end token came                                     */
    double   logprob;                   /* sum over the tokens, the end token included            */
} gq_answer;

typedef struct gq_generator gq_generator;

/* frames: k per prompt, 0: text only (GPT-2 alone). live: prompts bring pixels. */
gq_status gq_generator_new(gq_engine *e, gq_params *p, const gq_stllm_config *c, int batch, int frames, bool live,
                           const gq_decode_opts *o, gq_generator **out, gq_error *err);
void      gq_generator_free(gq_generator *g);                /* NULL allowed                      */

/* Answers up to `batch` prompts. Seconds spent are added to vision, prefill, decode when not NULL.
 */
gq_status gq_generate(gq_generator *g, const gq_prompt *prompt, int count, gq_answer *answer, double seconds[2],
                      gq_error *err);

#endif
