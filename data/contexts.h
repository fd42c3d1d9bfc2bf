/* contexts.h - the texts in which answers are to be found, by GIF: its captions, one after the other.
 *
 * A caption file (data/qagen/captions.h) may have several captions of a GIF; its context is all of
 * them in their order, each ended by a full stop if it has no end of its own, a space between. The
 * text is kept in memory.
 */
#ifndef GIFQA_DATA_CONTEXTS_H
#define GIFQA_DATA_CONTEXTS_H

#include <stdint.h>

#include "core/status.h"

typedef struct gq_contexts gq_contexts;

/* GQ_EINPUT with file, line and reason for a row that cannot be read, or a file without one. */
gq_status   gq_contexts_open(const char *path, gq_contexts **out, gq_error *err);
void        gq_contexts_close(gq_contexts *c);               /* NULL allowed                      */
/* The context of a GIF, named with or without ".gif"; NULL: the file has none. Lives as long as c. */
const char *gq_contexts_find(const gq_contexts *c, const char *gif);
uint32_t    gq_contexts_gifs(const gq_contexts *c);
const char *gq_contexts_text(const gq_contexts *c, uint32_t i);          /* the i-th of so many   */
/* SHA-256 of all rows, in hex: what a data set was made from. */
const char *gq_contexts_sha256(const gq_contexts *c);

#endif
