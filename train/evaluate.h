/* evaluate.h - answers to the questions of a dataset, and what they are worth.
 *
 * Answers are generated (greedy or beam, decode.*) from the visual tokens and the question. The controls change what
 * the model sees and nothing else: another GIF's tokens (question only), the frames in another order, one frame
 * repeated; a T5, which sees nothing, has none of them. The teacher-forced LM loss of the same questions is measured beside it.
 */
#ifndef GIFQA_TRAIN_EVALUATE_H
#define GIFQA_TRAIN_EVALUATE_H

#include <signal.h>

#include "core/io.h"
#include "data/shard.h"
#include "data/tokenizer.h"
#include "models/generate.h"
#include "train/metrics.h"
#include "train/net.h"

typedef enum gq_view { GQ_VIEW_TRUE, GQ_VIEW_OTHER, GQ_VIEW_SHUFFLED, GQ_VIEW_ONE } gq_view;
const char *gq_view_name(gq_view v);                         /* "true", "other_gif", ...          */

typedef struct gq_answered {            /* one question and what became of it                     */
    int64_t     index;                  /* in the dataset                                         */
    gq_view     view;
    const char *type, *question, *reference, *prediction;
    double      confidence;             /* product of the token probabilities                     */
} gq_answered;

/* One object a line in predictions.jsonl. */
gq_status gq_prediction_write(gq_append *file, const gq_answered *a, gq_error *err);

typedef struct gq_evaluate_opts {
    int64_t    samples;                 /* at most; 0 all. The first ones of the dataset          */
    gq_view    view;
    bool       loss;                    /* also the teacher-forced loss                           */
    uint32_t   resamples;               /* bootstrap; 0 none                                      */
    gq_status (*answered)(void *ctx, const gq_answered *a, gq_error *err);   /* each answer, in order; or NULL */
    void      *ctx;
    volatile sig_atomic_t *stop;        /* non-zero ends early with GQ_ESTOPPED; or NULL          */
} gq_evaluate_opts;

typedef struct gq_evaluation {
    gq_score_table table;               /* first row: all answers                                 */
    double         lm_loss, ppl, token_accuracy;             /* NAN unless asked for              */
    int64_t        n;
    double         seconds;
} gq_evaluation;

gq_status gq_evaluate(gq_net *n, const gq_dataset *d, const gq_tokenizer *tok, const gq_evaluate_opts *o,
                      gq_evaluation *out, gq_error *err);
void      gq_evaluation_free(gq_evaluation *e);

/* How answers are decoded: decode.* of the configuration, end token and ids of the tokenizer. */
gq_decode_opts gq_decode_of(const gq_config *c, const gq_tokenizer *tok);

/* The model's data as the dataset stores it: pixels (live) or cached features; GQ_ECONFIG when they do not fit. */
gq_status gq_data_fits(const gq_config *c, const gq_dataset *d, bool *live, gq_error *err);

/* The tokenizer of a run: its file's copy in RUN/tokenizer, or the one named by the config, checked against the data. */
gq_status gq_run_tokenizer(const gq_config *c, const char *run_dir, const gq_shard_meta *meta, gq_tokenizer **out,
                           gq_error *err);

#endif
