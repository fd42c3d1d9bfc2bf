/* eval.h - the parts of gifqa-eval: a report of tables, its pictures (text, JSON), and its recomputation from a file.
 *
 * A predictions file has one object a line: answers as gq_prediction_write() writes them, the views one after another,
 * and at the end {"summary": {...}} with every number of the tables and what the baselines need, so that the file alone
 * is enough to compute them again. Private to gifqa-eval.
 */
#ifndef GIFQA_TOOLS_EVAL_H
#define GIFQA_TOOLS_EVAL_H

#include <jansson.h>

#include "train/benchmark.h"
#include "train/evaluate.h"

typedef enum eval_sheet {               /* the first four are gq_view                             */
    EVAL_TRUE, EVAL_OTHER, EVAL_SHUFFLED, EVAL_ONE,
    EVAL_MAJORITY,                   /* the most frequent answer of the type in the training data */
    EVAL_SHEETS
} eval_sheet;

typedef struct eval_report {
    bool           have[EVAL_SHEETS];
    gq_score_table table[EVAL_SHEETS];
    json_t        *chance;              /* {type: probability of guessing right}, NULL: unknown   */
    json_t        *majority;            /* {type: answer}, NULL: unknown                          */
    uint64_t       seed;                /* of the bootstrap                                       */
    uint32_t       resamples;
    bool           compared;            /* verify: there was a summary, and it is the same        */
} eval_report;

const char *eval_sheet_name(eval_sheet s);                   /* "true", ..., "majority"           */
void        eval_report_free(eval_report *r);

/* Counts the majority answer of `type` against the reference. */
gq_status   eval_add_majority(const eval_report *r, gq_scorer *scorer, const char *type, const char *reference,
                              gq_error *err);

void        eval_print(const eval_report *r);                /* both tables, to stdout            */
/* {"seed","resamples","confidence","signature","tables","chance","majority"}; NULL: no memory */
json_t     *eval_summary(const eval_report *r);

/* The report of a predictions file; GQ_EINPUT when a number is not the one its summary has. */
gq_status   eval_verify(const char *path, eval_report *out, gq_error *err);

/* ---- TGIF-QA's own measures: eval_benchmark.c ------------------------------------------------ */

typedef struct eval_bench {             /* value: zeroed                                          */
    const char        *table_path, *from_path;   /* borrowed                                      */
    gq_benchmark      *table;           /* what is asked                                          */
    gq_benchmark      *from;            /* where the baselines come from; NULL: table             */
    gq_bench_baselines baselines;
    bool               have_model;
    gq_bench_score     model;           /* choices: the likeliest as a whole                      */
    gq_bench_score     per_token;       /* choices alone: the likeliest by the mean of its tokens */
    size_t             answered;
} eval_bench;

/* from NULL: the table itself. Computes the baselines. */
gq_status eval_bench_open(eval_bench *b, const char *table, const char *from, gq_error *err);
void      eval_bench_close(eval_bench *b);
/* Scores an answer to a question of d that the table has. */
gq_status eval_bench_answer(eval_bench *b, const gq_dataset *d, const gq_answered *a, gq_error *err);
/* Lets the model choose, in the first `questions` of d. */
gq_status eval_bench_choose(eval_bench *b, gq_net *n, const gq_dataset *d, const gq_tokenizer *tok,
                            int64_t questions, gq_error *err);
void      eval_bench_print(const eval_bench *b);
json_t   *eval_bench_json(const eval_bench *b);

#endif
