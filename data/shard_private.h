/* shard_private.h - what data/shard_write.c and data/shard_read.c share: attributes and one open
 * shard file. */
#ifndef GIFQA_DATA_SHARD_PRIVATE_H
#define GIFQA_DATA_SHARD_PRIVATE_H

#include "data/shard.h"
#include "data/shard_codec.h"
#include "data/shard_h5.h"

typedef struct gq_strings {             /* texts one after the other                              */
    char    *text;                      /* each ends with NUL (in memory, not in the file)        */
    int64_t *off;                       /* [n + 1], with those NULs counted                       */
} gq_strings;

typedef struct gq_ragged {
    int32_t *value;                     /* flat                                                   */
    int64_t *off;                       /* [n + 1]                                                */
} gq_ragged;

typedef enum gq_set_id {                /* row sets of a shard                                    */
    GQ_SET_FRAMES, GQ_SET_TOKENS,       /* a row a GIF                                            */
    GQ_SET_POOLED,                      /* a row a block of vectors                               */
    GQ_SETS
} gq_set_id;

enum { GQ_SHARD_BLOCK = 64 };           /* vectors of a row of GQ_SET_POOLED                      */

typedef struct gq_rowset {              /* where each row's chunk lies                            */
    int64_t      rows;                  /* 0: none, then all of this is zero                      */
    gq_h5_chunk *chunk;                 /* [rows]                                                 */
    uint64_t    *hash;                  /* [rows], of the bytes as stored                         */
    gq_row_form  form;
    const char  *name;                  /* for messages: "gif/frames"                             */
} gq_rowset;

typedef struct gq_shard {               /* one open file                                          */
    char         *path;
    int           fd;
    uint64_t      bytes;                /* of the file                                            */
    gq_shard_meta meta;
    int64_t       gifs, questions;
    gq_rowset     set[GQ_SETS];
    int64_t      *pooled_at;            /* [gifs] or NULL                                         */
    int32_t      *pooled_n;             /* [gifs] or NULL                                         */
    int32_t      *frame_idx;            /* [gifs, T]                                              */
    uint16_t     *delay_cs;             /* [gifs, T]                                              */
    int32_t      *n_frames;             /* [gifs]                                                 */
    uint16_t     *wh;                   /* [gifs, 2]                                              */
    uint32_t     *flags;                /* [gifs]                                                 */
    uint8_t      *sha256;               /* [gifs, 32]                                             */
    int32_t      *qa_gif, *qa_type;     /* [questions]                                            */
    gq_strings    name, q_text, a_text;
    gq_ragged     q_tok, a_tok;
} gq_shard;

/* entry: what the manifest says, compared before libhdf5 sees the file; NULL: unknown. */
gq_status gq_shard_open(const char *path, const gq_shard_entry *entry, gq_shard **out,
                        gq_error *err);
/* Fills extents and structure of an entry from an open shard. */
gq_status gq_shard_map(const gq_shard *s, gq_shard_entry *e, gq_error *err);
void      gq_shard_free(gq_shard *s);                        /* NULL allowed                      */
/* One row, checked and unpacked into dst [form.bytes]. */
gq_status gq_shard_row(const gq_shard *s, gq_set_id set, int64_t row, gq_shard_cursor *c, void *dst,
                       gq_error *err);
/* The vectors of all frames of a GIF of the shard: f32 [pooled_n, P]. */
gq_status gq_shard_pooled(const gq_shard *s, int64_t gif, gq_shard_cursor *c, float *dst,
                          gq_error *err);
/* All rows, one by one. */
gq_status gq_shard_rows(const gq_shard *s, gq_error *err);
/* bfloat16 as float; may lie in the upper half of dst. */
void gq_shard_widen(const uint16_t *half, float *dst, size_t n);
/* A cursor for rows up to these sizes. */
gq_status gq_shard_cursor_for(const gq_shard *const *shard, int count, gq_shard_cursor **out,
                              gq_error *err);

gq_status gq_shard_put_meta(gq_h5 *f, const gq_shard_meta *m, uint64_t gifs, uint64_t questions,
                            gq_error *err);
gq_status gq_shard_get_meta(gq_h5 *f, const char *path, gq_shard_meta *m, uint64_t *gifs,
                            uint64_t *questions, gq_error *err);
extern const char *const gq_set_name[GQ_SETS], *const gq_set_hash_name[GQ_SETS];
/* How rows of a set look, packed by the codec, and their type and shape; bytes 0: there are
 * none. */
gq_row_form gq_shard_form(const gq_shard_meta *m, gq_set_id set, gq_h5_type *type,
                          gq_h5_shape *shape);
/* Sizes within their limits? `path` for the message. */
gq_status gq_shard_check_meta(const gq_shard_meta *m, const char *path, gq_status code,
                              gq_error *err);

/* Do its GIFs and questions look like those of the shard `first`? */
gq_status gq_shard_check_same(const gq_shard_meta *meta, const char *first, const gq_shard *s,
                              gq_error *err);
/* Does it hold as much as its manifest says? */
gq_status gq_shard_check_entry(const gq_shard *s, const gq_shard_entry *e, gq_error *err);
/* Is the data set finished? */
gq_status gq_manifest_check(const gq_manifest *m, const char *dir, gq_error *err);

/* k-th shard, false: none */
bool gq_dataset_part(const gq_dataset *d, int k, const gq_shard **out);

#endif
