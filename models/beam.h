/* beam.h - beam search over one prompt: candidates, hypotheses, stopping. No model in here: logits
 * in, tokens out. */
#ifndef GIFQA_MODELS_BEAM_H
#define GIFQA_MODELS_BEAM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct gq_beam_opts {
    int     beams, max_new, min_new;    /* no end token among the first min_new */
    int     no_repeat;                  /* gq_decode_opts */
    int32_t start;                      /* gq_decoding */
    int     vocab, stride;              /* ids to choose from; logits from one row to the next */
    int32_t end_id;
    double  length_penalty;
    bool    legacy_length;           /* hypothesis length counts the prompt and not the end token */
    int     early;                 /* 0 false, 1 true, 2 never: as early_stopping of transformers */
} gq_beam_opts;

typedef struct gq_beam gq_beam;

gq_beam *gq_beam_new(const gq_beam_opts *o, int prompt_length);      /* NULL: no memory           */
void     gq_beam_free(gq_beam *b);                                   /* NULL allowed              */
/* One step: logits [beams,stride] (the first step: one row). token[beams] and parent[beams]
 * (0..beams-1) are what to feed next. Returns false when the search is over. */
bool     gq_beam_step(gq_beam *b, const float *logits, int32_t *token, int *parent);
/* The best hypothesis, without the end token. */
void     gq_beam_best(const gq_beam *b, int32_t *ids, int *n, bool *ended, double *logprob);

#endif
