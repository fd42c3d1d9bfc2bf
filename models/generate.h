/* generate.h - answers token by token: prefill of [visual][question], then one row a step over a
 * key/value cache. How tokens are chosen: decode.h. No dropout, no masking: inference sees every
 * visual token.
 *
 * A generator owns its caches ([rows,cap,2C] a layer) and tapes: it allocates when it is made and
 * when a longer prompt than any before arrives. Its engine and parameters outlive it.
 */
#ifndef GIFQA_MODELS_GENERATE_H
#define GIFQA_MODELS_GENERATE_H

#include "models/decode.h"
#include "models/stllm.h"

typedef struct gq_prompt {
    const void    *vision;              /* u8 [k,S,S,3] or float [k,E,V]; NULL when the model has no visual side */
    const int32_t *ids;                 /* question                                               */
    int            n;                   /* >= 1                                                   */
} gq_prompt;

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
