/* benchmark.h - TGIF-QA's own measures, over a table that gifqa-prep import tgif-qa wrote.
 *
 *   frameqa              share of answers equal in strict form (words.h), in all and for each sort
 *   action, transition   share of questions where the right one of five choices is taken
 *   count                mean squared error, twice: `raw` against the answer as it is (0, 2 to 10),
 *                        and `bounded` as the published code does it: the prediction brought into
 *                        1..10, the answer at least 1
 * What has no number counts as 0 and is counted.
 *
 * The baselines give one answer to all questions of a kind, learned from the rows of a table: the
 * same functions score them and a model.
 */
#ifndef GIFQA_TRAIN_BENCHMARK_H
#define GIFQA_TRAIN_BENCHMARK_H

#include <stdbool.h>

#include "data/import.h"

/* ---- the table ------------------------------------------------------------------------------- */

typedef struct gq_bench_row {
    gq_tgifqa_kind kind;
    int            sort;                /* of frameqa: gq_tgifqa_frame_type()                     */
    int            number;              /* of count: the answer; of choices: the right one, 0..4  */
    const char    *gif, *question, *answer;
    const char    *choice[GQ_IMPORT_CHOICES];    /* NULL but for action and transition            */
} gq_bench_row;

typedef struct gq_benchmark gq_benchmark;

/* GQ_EINPUT with file and line when it is no such table. */
gq_status gq_benchmark_open(const char *path, gq_benchmark **out, gq_error *err);
void      gq_benchmark_close(gq_benchmark *b);               /* NULL allowed                      */
size_t    gq_benchmark_rows(const gq_benchmark *b);
const gq_bench_row *gq_benchmark_row(const gq_benchmark *b, size_t i);
/* The row of a question as shards have it (the first of equal ones); NULL: none. */
const gq_bench_row *gq_benchmark_find(const gq_benchmark *b, const char *gif, const char *question,
                                      const char *answer);

/* ---- measures -------------------------------------------------------------------------------- */

typedef struct gq_bench_count {         /* of count                                               */
    size_t n, numberless;
    double raw, bounded;                /* sums of squares                                        */
} gq_bench_count;

typedef struct gq_bench_score {         /* value: zeroed                                          */
    struct { size_t n, right; } frame[GQ_TGIFQA_FRAMES];
    struct { size_t n, right; } choice[2];       /* action, transition                            */
    gq_bench_count count;
} gq_bench_score;

/* The number that a text says, in digits or as a word to ten; -1: none. */
int       gq_bench_number(const char *text);
void      gq_bench_add_count(gq_bench_count *c, int predicted, int answer);  /* -1: no number     */
/* An answer in words to a question of frameqa or count; others are passed over. */
gq_status gq_bench_add(gq_bench_score *s, const gq_bench_row *row, const char *text, gq_error *err);
/* The choice taken of an action or transition. */
void      gq_bench_add_choice(gq_bench_score *s, const gq_bench_row *row, int taken);

/* ---- baselines ------------------------------------------------------------------------------- */

enum { GQ_BENCH_CONSTANTS = 3 };        /* the most frequent count, the most frequent but 0, the
                                           whole number nearest to the mean                       */
typedef struct gq_bench_baselines {
    size_t         asked[GQ_TGIFQA_KINDS], learned[GQ_TGIFQA_KINDS];     /* rows of both tables  */
    gq_bench_score one;                 /* the most frequent answer of the sort, count, position  */
    size_t         one_for_all;         /* frameqa questions right by the most frequent answer of
                                           all of frameqa                                         */
    char           answer[GQ_TGIFQA_FRAMES + 1][64];         /* of the sorts, and of all          */
    int            position[2];         /* of action, transition                                  */
    int            constant[GQ_BENCH_CONSTANTS];
    gq_bench_count counts[GQ_BENCH_CONSTANTS];
} gq_bench_baselines;

/* Learns from `from`, answers `test`; they may be one. Ties: the lower number, the first in byte
 * order. A kind that `from` has no row of is not answered. */
gq_status gq_bench_baseline(const gq_benchmark *from, const gq_benchmark *test,
                            gq_bench_baselines *out, gq_error *err);

#endif
