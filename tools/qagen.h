/* qagen.h - the commands of gifqa-qagen. */
#ifndef GIFQA_TOOLS_QAGEN_H
#define GIFQA_TOOLS_QAGEN_H

#include "data/qagen/chunk.h"

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

#endif
