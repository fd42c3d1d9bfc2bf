/* qagen.h - the commands of gifqa-qagen. */
#ifndef GIFQA_TOOLS_QAGEN_H
#define GIFQA_TOOLS_QAGEN_H

#include "data/qagen/tagger.h"

int gq_qagen_train_tagger(int argc, char **argv);
int gq_qagen_eval_tagger(int argc, char **argv);
int gq_qagen_captions(int argc, char **argv);

/* The tagger at `path`, or, NULL, the one that came with gifqa: ../share/gifqa/english.tagger from
 * the program's directory. */
gq_status gq_qagen_tagger(const char *path, gq_tagger **out, gq_error *err);

#endif
