/* train.h - the parts of gifqa-train. */
#ifndef GIFQA_TOOLS_TRAIN_H
#define GIFQA_TOOLS_TRAIN_H

#include "tools/cli.h"

/* Trains once without interruption and once with `kills` SIGKILLs at random moments (both below `run_dir`), then
 * compares metrics and final weights bit for bit. Returns the exit code: 0 the same, 1 not. */
int gq_prove_resume(const char *program, const char *self, const char *config, const gq_cli_list *set, const char *run_dir,
                    const char *kills, bool json);

#endif
