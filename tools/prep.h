/* prep.h - private to gifqa-prep: its commands and what they share.
 *
 * Invariants: a command parses its own options and returns an exit code; it owns what it opens.
 * Commands that run long catch what gq_cli_listen() does (a second signal ends the process at once),
 * poll gq_prep_stopping() and end with 75.
 */
#ifndef GIFQA_TOOLS_PREP_H
#define GIFQA_TOOLS_PREP_H

#include "core/io.h"
#include "data/gif.h"
#include "tools/cli_progress.h"
#include "train/config.h"

int gq_prep_build(int argc, char **argv);
int gq_prep_convert(int argc, char **argv);
int gq_prep_verify(int argc, char **argv);
int gq_prep_stats(int argc, char **argv);
int gq_prep_head(int argc, char **argv);
int gq_prep_frames(int argc, char **argv);
int gq_prep_tokenize(int argc, char **argv);
int gq_prep_world(int argc, char **argv);
int gq_prep_import(int argc, char **argv);
int gq_prep_fetch(int argc, char **argv);
int gq_prep_index(int argc, char **argv);
int gq_prep_search(int argc, char **argv);

/* ---- prep_common.c --------------------------------------------------------------------------- */

void gq_prep_catch_signals(void);
bool gq_prep_stopping(void);

/* The configuration of a command; *out is released with gq_free(). path NULL: defaults. */
gq_status gq_prep_config(const char *path, const gq_cli_list *sets, gq_config **out, gq_error *err);

typedef struct gq_prep_clip_options {   /* as a person gives them; NULL: not given              */
    const char  *config, *weights, *device;
    const char  *more;                  /* "section.key=value"                                  */
    gq_cli_list *sets;                  /* the rung of $GIFQA_CPU is added to them              */
} gq_prep_clip_options;

/* The same with the CLIP that --weights names; needs: GQ_EWEIGHTS when nothing names one. */
gq_status gq_prep_clip_config(const gq_prep_clip_options *from, bool needs, gq_config **out,
                              gq_error *err);

/* Names of the flags of gq_gif_flags(), as a JSON array. */
json_t *gq_prep_gif_flags(unsigned flags);
/* Warns about each flag that is set; `name` is the file. */
void    gq_prep_warn_flags(const char *program, const char *name, unsigned flags);

#endif
