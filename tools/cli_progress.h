/* cli_progress.h - how far a long command is, on stderr. */
#ifndef GIFQA_TOOLS_CLI_PROGRESS_H
#define GIFQA_TOOLS_CLI_PROGRESS_H

#include "data/progress.h"
#include "tools/cli.h"

typedef struct gq_cli_progress {        /* value: what and unit set, the rest zero                */
    const char *what;                   /* "gifqa-prep build"                                     */
    const char *unit;                   /* "GIFs"                                                 */
    double      last_s;                 /* of the last plain line, monotonic clock                */
    bool        drawn;                  /* the terminal holds an unfinished line                  */
} gq_cli_progress;

/* gq_progress_fn with a gq_cli_progress: rate and ETA on stderr, one changing line on a terminal,
 * elsewhere a plain line every ten seconds. False once a signal asked to stop. */
bool gq_cli_progress_show(void *progress, const gq_progress *p);
/* Before other text goes to stderr. */
void gq_cli_progress_end(gq_cli_progress *progress);

#endif
