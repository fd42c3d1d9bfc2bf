/* cli_cache.h - options of the programs that keep embeddings of GIFs from run to run.
 *
 * The directory is that of --cache, else $XDG_CACHE_HOME/gifqa, else $HOME/.cache/gifqa; with none
 * of them, or with --no-cache, there is no directory. A gq_cli_cache starts as GQ_CLI_CACHE.
 */
#ifndef GIFQA_TOOLS_CLI_CACHE_H
#define GIFQA_TOOLS_CLI_CACHE_H

#include "tools/cli.h"
#include "train/retrieve.h"

typedef struct gq_cli_cache {
    const char *dir;                    /* of --cache */
    bool        none;
    int64_t     mib;                    /* most the directory may hold */
} gq_cli_cache;

#define GQ_CLI_CACHE ((gq_cli_cache){.mib = GQ_CACHE_MIB})

/* Rows of an option table; c is a gq_cli_cache in static memory. */
#define GQ_CLI_CACHE_OPTIONS(c)                                                                    \
    {"cache", 0, GQ_CLI_TEXT, &(c).dir, "DIR",                                                     \
     "keeps CLIP's view of GIFs (default: ~/.cache/gifqa)", 0, 0},                                 \
    {"no-cache", 0, GQ_CLI_FLAG, &(c).none, NULL, "keep nothing, look at all frames again", 0, 0}, \
    {"cache-mib", 0, GQ_CLI_INT, &(c).mib, "N", "most it may hold (default 256)", 1, 1 << 20}

/* The directory, in static memory; NULL: none. */
const char *gq_cli_cache_dir(const gq_cli_cache *c);
uint64_t    gq_cli_cache_bytes(const gq_cli_cache *c);
/* "computed", "memory", "disk" */
const char *gq_cli_origin(gq_origin from);
/* Says on stderr why the directory could not be used, if so. */
void        gq_cli_cache_warn(const char *program, const char *note);

#endif
