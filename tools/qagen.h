/* qagen.h - the commands of gifqa-qagen. */
#ifndef GIFQA_TOOLS_QAGEN_H
#define GIFQA_TOOLS_QAGEN_H

#include "data/qagen/cap.h"
#include "data/qagen/captions.h"
#include "data/qagen/chunk.h"
#include "tools/cli.h"

int gq_qagen_train_tagger(int argc, char **argv);
int gq_qagen_eval_tagger(int argc, char **argv);
int gq_qagen_captions(int argc, char **argv);
int gq_qagen_triples(int argc, char **argv);

/* The tagger at `path`, or, NULL, the one that came with gifqa: ../share/gifqa/english.tagger from
 * the program's directory. */
gq_status gq_qagen_tagger(const char *path, gq_tagger **out, gq_error *err);

/* That tagger, the caller's, in a chunker; GQ_EUSAGE in a build without WordNet. */
gq_status gq_qagen_chunker(const char *path, gq_chunker *chunker, gq_tagger **out, gq_error *err);

/* Captions at `from` to a table at `to`, with a summary on stdout; no answer has more than `share`
 * of its template. split: only captions of this one; NULL all. */
gq_status gq_qagen_write(const gq_chunker *chunker, const char *from, const char *to, double share,
                         const char *split, gq_error *err);

/* ---- qagen_write.c --------------------------------------------------------------------------- */

/* Calls take() for each caption of a file (split NULL: of all splits), until it fails or a signal
 * asked to stop. */
typedef gq_status (*gq_qagen_take)(void *ctx, const gq_captions_row *row, gq_error *err);
gq_status gq_qagen_each(const char *path, const char *split, gq_qagen_take take, void *ctx,
                        gq_error *err);
gq_status gq_qagen_stopped(gq_error *err);                   /* GQ_ESTOPPED with its text         */

/* What was made, a row for each of the n names with questions, and the sums. */
void gq_qagen_counts(const char *title, const char *const *name, const gq_cap_count *count, size_t n,
                     size_t captions, size_t silent, size_t too_long, double seconds);

/* ---- qagen_t5.c ------------------------------------------------------------------------------ */

typedef struct gq_qagen_t5_options {    /* as a person gives them; NULL, 0: not given             */
    const char *model, *tokenizer, *form, *device;
    int64_t     batch, beams, max_new, threads;
    gq_cli_list set;                    /* overrides of section engine                            */
} gq_qagen_t5_options;

typedef struct gq_qagen_t5 gq_qagen_t5;

gq_status gq_qagen_t5_open(gq_qagen_t5_options *o, gq_qagen_t5 **out, gq_error *err);
void      gq_qagen_t5_close(gq_qagen_t5 *q);                 /* NULL allowed                      */
/* As gq_qagen_write(); share is that of an answer among those of its kind. */
gq_status gq_qagen_t5_write(gq_qagen_t5 *q, const gq_chunker *chunker, const char *from,
                            const char *to, double share, const char *split, gq_error *err);
/* Prints prompt, text and what is made of it for each candidate of a caption. */
gq_status gq_qagen_t5_show(gq_qagen_t5 *q, const gq_caption *c, gq_error *err);

#endif
