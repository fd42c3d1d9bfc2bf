/* t5_generate.h - text from text with T5: the encoder runs once a batch, its keys and values are kept, and the
 * decoder adds a token a step. How tokens are chosen: decode.h.
 *
 * A generator owns its caches and tapes: it allocates when it is made and when a longer source than any before
 * arrives. Its engine and parameters outlive it. Sources of like length belong in one batch: shorter ones are padded.
 */
#ifndef GIFQA_MODELS_T5_GENERATE_H
#define GIFQA_MODELS_T5_GENERATE_H

#include "models/decode.h"
#include "models/t5.h"

typedef struct gq_source { const int32_t *ids; int n; } gq_source;       /* with the end token; n >= 1  */

typedef struct gq_t5_generator gq_t5_generator;

/* o->bucket: sources are padded up to a multiple of it. */
gq_status gq_t5_generator_new(gq_engine *e, gq_params *p, const gq_t5_config *c, int batch, const gq_decode_opts *o,
                              gq_t5_generator **out, gq_error *err);
void      gq_t5_generator_free(gq_t5_generator *g);          /* NULL allowed                      */

/* Answers up to `batch` sources. Seconds spent are added to encoding, decoding when not NULL. */
gq_status gq_t5_generate(gq_t5_generator *g, const gq_source *source, int count, gq_answer *answer, double seconds[2],
                         gq_error *err);

#endif
