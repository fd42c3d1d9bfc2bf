/* build_private.h - the three parts of a build: the list of work, one GIF, the shards. Private to
 * data/build*.c. */
#ifndef GIFQA_DATA_BUILD_PRIVATE_H
#define GIFQA_DATA_BUILD_PRIVATE_H

#include "core/io.h"
#include "data/build.h"
#include "data/names.h"

/* ---- build_list.c: the table, grouped by GIF ------------------------------------------------- */

typedef struct gq_item_row {            /* offsets into gq_items.texts                            */
    uint64_t line;
    size_t   question, answer;
    size_t   choice;                    /* what the chooser gets: question, perhaps description   */
    int32_t  type;
    uint32_t next;                      /* row of the same GIF, UINT32_MAX: none                  */
} gq_item_row;

typedef struct gq_item { size_t name; uint32_t first, last, rows; } gq_item;

typedef struct gq_items {
    gq_texts     texts;                 /* names, questions, answers                              */
    gq_item_row *row;                   /* [rows]                                                 */
    uint32_t     rows, row_room;
    gq_item     *item;                 /* [items], one per GIF name, in order of first appearance */
    uint32_t     items, item_room;
    gq_names    *names;                 /* of the GIFs, with the number of the item + 1           */
    uint8_t      table_sha256[32];
    uint32_t     bad_rows;
} gq_items;

/* Bad rows go to `rejects` (NULL: only counted). Adds the types to meta. */
gq_status gq_items_read(const gq_build_opts *o, gq_shard_meta *meta, gq_append *rejects,
                        gq_items *out, gq_error *err);
void      gq_items_free(gq_items *l);

/* One line of rejects.tsv. */
gq_status gq_reject(gq_append *rejects, const char *file, uint64_t line, const char *reason,
                    gq_error *err);

/* ---- build_gif.c: one GIF -------------------------------------------------------------------- */

typedef struct gq_choice {              /* one set of frames                                      */
    int32_t  *frame;                    /* [T]                                                    */
    uint16_t *delay_cs;                 /* [T]                                                    */
    uint8_t  *pixels;                   /* [T,S,S,3]                                              */
} gq_choice;

typedef struct gq_worked {              /* a GIF as read; buffers are kept for the next one       */
    gq_resizer *resizer;
    gq_bytes    bytes;
    uint8_t     sha256[32];
    uint32_t    frames, width, height, flags;
    gq_choice   choice;
    gq_error    err;                    /* why it is bad                                          */
} gq_worked;

gq_status gq_worked_init(gq_worked *w, const gq_build_opts *o, gq_error *err);
void      gq_worked_free(gq_worked *w);
/* Reads the file and its frame count. */
gq_status gq_worked_open(gq_worked *w, const gq_build_opts *o, const char *name, gq_error *err);
/* Of a set of texts: there must be a context; no file is read. */
gq_status gq_worked_text(gq_worked *w, const gq_build_opts *o, const char *name, gq_error *err);
/* Decodes the frames of w->choice.frame into w->choice.pixels. */
gq_status gq_worked_decode(gq_worked *w, const gq_build_opts *o, const char *name, gq_error *err);

#endif
