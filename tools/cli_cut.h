/* cli_cut.h - options of the programs that choose frames by CLIP-Cut (data/clipcut.h).
 *
 * A gq_cli_cut starts as GQ_CLI_CUT. Its settings replace those of a configuration file, and of --set.
 */
#ifndef GIFQA_TOOLS_CLI_CUT_H
#define GIFQA_TOOLS_CLI_CUT_H

#include "data/clipcut.h"
#include "tools/cli.h"
#include "train/config.h"

typedef struct gq_cli_cut {
    const char *mode;                   /* NULL: as configured */
    int64_t     apart;                  /* -1: as configured */
    char        text[2][40];            /* KEY=VALUE, made here */
} gq_cli_cut;

#define GQ_CLI_CUT ((gq_cli_cut){.apart = -1})

/* Rows of an option table; c is a gq_cli_cut in static memory. One row of the help stands for them
 * and for --description, which each program has in its own way. */
#define GQ_CLI_CUT_OPTIONS(c)                                                                      \
    {"mode", 0, GQ_CLI_TEXT, &(c).mode, "HOW",                                                     \
     "clip, uniform or mix; --apart N: frames between; --description", 0, 0},                      \
    {"apart", 0, GQ_CLI_INT, &(c).apart, "N", NULL, 0, GQ_CLIPCUT_MAX}

bool gq_cli_cut_given(const gq_cli_cut *c);
/* Adds what was given to the overrides of a configuration; GQ_EUSAGE: a word that is no mode, or a
 * full list. */
gq_status   gq_cli_cut_set(gq_cli_cut *c, gq_cli_list *set, gq_error *err);
const char *gq_cli_cut_mode(gq_cfg_cutmode mode);
/* What has to be said where frames are compared with a description. */
void        gq_cli_cut_warn(const char *program);

#endif
