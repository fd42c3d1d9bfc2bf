/* captions.h - files of captions: a GIF and a sentence in each row.
 *
 *   gif_name TAB description   with a header that names the columns, in any order, others between;
 *                              gif is gif_name, sentence is description. What gifqa-prep import
 *                              tgif writes is such a file
 *   URL TAB sentence           without one, as TGIF is published; the GIF is called by the last
 *                              part of its URL, without ".gif"
 * The first line decides. A row that cannot be read is GQ_EINPUT with file, line and reason.
 */
#ifndef GIFQA_DATA_QAGEN_CAPTIONS_H
#define GIFQA_DATA_QAGEN_CAPTIONS_H

#include "data/table.h"

typedef struct gq_captions gq_captions;

typedef struct gq_captions_row {
    uint64_t    line;                   /* 1-based                                                */
    const char *gif, *text;             /* valid until the next call; gif NULL: no more rows      */
    const char *split;                  /* of the column of this name; "" without                */
} gq_captions_row;

gq_status gq_captions_open(const char *path, gq_captions **out, gq_error *err);
gq_status gq_captions_next(gq_captions *c, gq_captions_row *row, gq_error *err);
void      gq_captions_close(gq_captions *c);                 /* NULL allowed                      */

#endif
