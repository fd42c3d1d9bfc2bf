/* neural.h - questions from a language model that was taught to ask: a candidate of a caption
 * becomes a prompt, what the model writes becomes a question with the candidate as its answer.
 *
 * What a prompt looks like is the checkpoint's affair: a form has it as a text with places to fill,
 * and how to decode. Those of published T5 checkpoints are known by name; another one is read from
 * a JSON file. The model itself is a callback (T5, or whatever writes text for text), so nothing
 * here knows of tensors.
 *
 *   gq_neural_form_named("qg-ap", &form) or gq_neural_form_load(path, &form, err)
 *   gq_pairs_new("t5", &pairs, err)
 *   gq_asker_new(&form, &model, pairs, &asker, err)
 *   for each caption: gq_asker_caption(asker, gif, &caption, err)
 *   gq_asker_finish(asker, err), gq_pairs_balance() of GQ_CATEGORIES groups, gq_pairs_write()
 *
 * Letters of prompts and questions are lower case, as captions are here.
 */
#ifndef GIFQA_DATA_QAGEN_NEURAL_H
#define GIFQA_DATA_QAGEN_NEURAL_H

#include "data/qagen/candidates.h"
#include "data/qagen/pairs.h"

enum {
    GQ_NEURAL_PROMPT   = 8192,          /* bytes of a filled prompt, with the NUL                 */
    GQ_NEURAL_TEXT     = 1024,          /* ... of what the model writes                           */
    GQ_NEURAL_QUESTION = 512,
};

/* ---- forms ----------------------------------------------------------------------------------- */

typedef struct gq_neural_form {
    char   name[32];                    /* "template" of its questions in the table               */
    char   prompt[512];                 /* {answer}; {context} the caption, {left} and {right}
                                           what stands in it before and behind the answer. Without
                                           the end token, which follows every prompt once         */
    char   prefix[64];                  /* what the model writes before its question              */
    int    beams;                       /* 1: greedy                                              */
    int    max_length;                  /* tokens that are written, the end token included        */
    double length_penalty;
    int    no_repeat_ngram;             /* none of so many tokens comes twice; 0: any may         */
} gq_neural_form;

/* The known forms: k counts from 0; NULL behind the last one. The first is the default. */
const gq_neural_form *gq_neural_form_known(size_t k);
/* False: none has this name. */
bool gq_neural_form_named(const char *name, gq_neural_form *out);
/* A JSON object with keys called as the members, or "like": the name of a known form that has what
 * is not given. Unknown keys are errors, so that none is misspelt. GQ_EINPUT with file and reason;
 * so is a prompt with other places, or one that shows the model no answer or no caption. */
gq_status gq_neural_form_load(const char *path, gq_neural_form *out, gq_error *err);

/* The prompt of one candidate; false: it has no room in out[GQ_NEURAL_PROMPT]. */
bool gq_neural_prompt(const gq_neural_form *f, const gq_caption *c, const gq_candidate *answer,
                      char *out);

/* ---- what comes back ------------------------------------------------------------------------- */

typedef enum gq_neural_fate {
    GQ_NEURAL_GOOD,
    GQ_NEURAL_EMPTY,                    /* nothing behind the prefix                              */
    GQ_NEURAL_NO_QUESTION,              /* no "?", or a single word before it                     */
    GQ_NEURAL_LONG,                     /* more than GQ_NEURAL_QUESTION bytes                     */
    GQ_NEURAL_TOLD,                     /* the answer's words stand in it, its article apart      */
    GQ_NEURAL_AGAIN,                    /* an earlier candidate of the caption has this question  */
    GQ_NEURAL_FATES
} gq_neural_fate;

const char *gq_neural_fate_name(gq_neural_fate f);
/* The question in what the model wrote: without prefix and white space around it, up to its "?". */
gq_neural_fate gq_neural_clean(const gq_neural_form *f, const char *written, const char *answer,
                               char out[GQ_NEURAL_QUESTION]);

/* ---- many of them ---------------------------------------------------------------------------- */

typedef struct gq_neural_model {
    /* Writes text[k][GQ_NEURAL_TEXT] for prompt[k], n at most `batch`; lengths of the prompts are
     * near each other. An error ends the work with it. */
    gq_status (*generate)(void *ctx, const char *const *prompt, size_t n, char *const *text,
                          gq_error *err);
    size_t (*length)(void *ctx, const char *prompt);        /* tokens; NULL: bytes count          */
    void  *ctx;
    size_t batch;                       /* >= 1                                                   */
    size_t window;                      /* prompts among which batches are formed by length       */
} gq_neural_model;

typedef struct gq_asker_count {
    size_t prompts, batches;
    size_t fate[GQ_NEURAL_FATES];       /* of what the model wrote                                */
    size_t too_long;                    /* candidates without room for their prompt               */
} gq_asker_count;

typedef struct gq_asker gq_asker;

/* Form, model and pairs outlive the asker. Pairs come in the order of captions and candidates
 * whatever the batches were; their group is the candidate's category. */
gq_status gq_asker_new(const gq_neural_form *f, const gq_neural_model *m, gq_pairs *to,
                       gq_asker **out, gq_error *err);
void      gq_asker_free(gq_asker *a);                        /* NULL allowed                      */
/* All candidates of a caption; the model is called when the window is full. */
gq_status gq_asker_caption(gq_asker *a, const char *gif, const gq_caption *c, gq_error *err);
gq_status gq_asker_finish(gq_asker *a, gq_error *err);       /* what waits in the window          */
const gq_asker_count *gq_asker_counts(const gq_asker *a);

#endif
