/* shard.h - prepared data on disk: GIFs as keyframes and/or cached features, with their questions
 * and answers.
 *
 * A dataset is a directory: shard-00000.h5, shard-00001.h5, ... and MANIFEST.json, which names them
 * with size and SHA-256 and comes last. A shard (format "gifqa-shard", version 1) is an HDF5 file:
 *
 *   attributes of /     what gq_shard_meta holds, n_gif, n_qa; attrs_xxh64 covers them all
 *   /gif/frames         u8   [G, T, S, S, 3]   chunks of whole GIFs; one a chunk when packed
 *                                              (when size > 0)
 *   /gif/tokens         f32 or bf16 [G, T, N, D]   likewise (when tokens > 0)
 *   /gif/pooled         f32 or bf16 [B, 64, P] a vector of every frame of every GIF, one after the
 *                                              other, zeros at the end (when pooled > 0)
 *   /gif/pooled_at i64 [G], pooled_n i32 [G]   first vector of a GIF, and how many; GIFs that are
 *                                              stored more than once share them
 *   /gif/frames_xxh64, tokens_xxh64 u64 [G], pooled_xxh64 u64 [B]   of a row's bytes as stored;
 *                                              attribute "stored" of the three: who can read them
 *   /gif/frame_idx      i32 [G, T]    which frames of the GIF were kept, in time order
 *   /gif/delay_cs       u16 [G, T]    their delays, 1/100 s
 *   /gif/n_frames       i32 [G]       /gif/wh  u16 [G, 2]  pixels     /gif/flags  u32 [G]
 *   /gif/sha256         u8 [G, 32]    of the GIF file     /gif/name, name_off  u8 flat, i64 [G+1]
 *   /qa/gif i32 [Q], /qa/type i32 [Q], /qa/q_tok i32 flat, q_off i64 [Q+1], a_tok, a_off,
 *   /qa/q_text u8 flat (UTF-8), q_text_off i64 [Q+1], a_text, a_text_off
 *
 * Memory of an open dataset, bytes: a GIF 52 + 6 T and its name, 24 for frames and 24 for tokens,
 * 12 and 24 for each 64 vectors of all frames; a question 48, 4 an id, its texts. Pixels and
 * features stay in the file.
 *
 * A set of texts has neither frames nor tokens: its GIFs are names that questions share, T is 1 and says
 * nothing.
 *
 * Invariants: a shard appears under its name only after it was written, synced, read back and
 * compared, and never changes afterwards. Everything in it is covered by a checksum: the arrays and
 * attributes are checked when it is opened, a GIF's pixels or features each time they are read.
 * libhdf5 trusts its own structures (a flipped bit there crashes it), so the manifest also holds a
 * checksum of all other bytes, which is compared before libhdf5 sees a file. An open dataset is
 * never written again; any number of threads may read it, each with its own gq_shard_cursor. Errors
 * name file, dataset and row.
 */
#ifndef GIFQA_DATA_SHARD_H
#define GIFQA_DATA_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#define GQ_SHARD_FORMAT  "gifqa-shard"
#define GQ_SHARD_VERSION 1

enum { GQ_SHARD_TYPES = 64, GQ_SHARD_TYPE_NAME = 32, GQ_SHARD_EXTENTS = 64 };

typedef enum gq_shard_codec {           /* how a GIF's frames or features are packed              */
    GQ_CODEC_NONE,                      /* as they are                                            */
    GQ_CODEC_GZIP,                      /* bytes of numbers apart (HDF5's shuffle), then deflate  */
    GQ_CODEC_DELTA_ZSTD, /* frames: each byte minus that one row up, features: shuffle; then zstd */
    GQ_CODECS
} gq_shard_codec;

extern const char *const gq_shard_codec_name[GQ_CODECS];     /* none, gzip, row-delta+zstd        */
extern const char *const gq_shard_codec_names;               /* all of them, for messages         */
bool gq_shard_codec_find(const char *name, gq_shard_codec *codec);      /* false: no such name    */
/* Finding a packed GIF takes libhdf5 time in proportion to their number: most GIFs of a shard. */
uint32_t gq_shard_most_gifs(gq_shard_codec codec);
/* Is the library that packs and unpacks it part of this build? NULL, or what to do about it. */
const char *gq_shard_codec_lack(gq_shard_codec codec);

typedef struct gq_shard_meta {
    int32_t        keyframes;           /* T, frames kept of each GIF, >= 1                       */
    int32_t        size;                /* S, pixels a side; 0: frames are not stored             */
    int32_t        tokens, width;       /* N, D of the cached features; 0, 0: none                */
    int32_t        pooled;              /* P of the vectors of all frames; 0: none                */
    bool           bf16;                /* features are stored as bfloat16, not float32           */
    gq_shard_codec codec;               /* of frames, tokens and vectors                          */
    uint64_t       seed;                /* of whatever chance took part                           */
    int32_t        ntypes;              /* question types                                         */
    char           types[GQ_SHARD_TYPES][GQ_SHARD_TYPE_NAME];
    char           source[128];         /* corpus and licence                                     */
    char           sampler[128];        /* how the T frames were chosen                           */
    char           preprocess[64];      /* how a frame became S x S                               */
    char           matte[32];           /* what transparent pixels became                         */
    char           features[128];       /* which tower made the tokens                            */
    char           pooled_tower[33];    /* hash of what made the vectors of all frames            */
    char           prompt[256];         /* template around the question {q} and its context {c}   */
    char           answer_prefix[256];  /* put before each answer                                 */
    char           tokenizer[16];       /* kind: gpt2, clip, words, unigram                       */
    char           tokenizer_sha256[65];
    char           created[32];         /* label only                                             */
} gq_shard_meta;

size_t gq_shard_frame_bytes(const gq_shard_meta *m);        /* of one GIF's frames: T * S * S * 3 */
size_t gq_shard_token_count(const gq_shard_meta *m);         /* of one GIF's tokens: T * N * D    */
/* Index of a type's name; -1: none. Adding: the index, or -1 when the list is full or the name too
 * long. */
int    gq_shard_type(const gq_shard_meta *m, const char *name);
int    gq_shard_type_add(gq_shard_meta *m, const char *name);

typedef struct gq_shard_gif {           /* one GIF beside its pixels                              */
    const char     *name;               /* as the table calls it                                  */
    uint8_t         sha256[32];         /* of the file                                            */
    int32_t         n_frames;           /* in the file                                            */
    uint16_t        width, height;      /* of the screen, pixels                                  */
    uint32_t        flags;              /* gq_gif_flags() and GQ_SHARD_REPEATED                   */
    const int32_t  *frame_idx;          /* [T], 0-based, ascending                                */
    const uint16_t *delay_cs;           /* [T], 1/100 s                                           */
    int32_t         pooled_n;           /* vectors of all frames; or GQ_SHARD_POOLED_SAME         */
    const float    *pooled;             /* writing: [pooled_n, P]                                 */
    int64_t         pooled_at;          /* reading: equal for GIFs of a shard that share them     */
} gq_shard_gif;

enum { GQ_SHARD_POOLED_SAME = -1 };     /* writing: those of the GIF before                       */
enum { GQ_SHARD_REPEATED = 1 << 16 };   /* flag: fewer frames than T, so some were taken twice    */

typedef struct gq_qa {                  /* one question                                           */
    int32_t        gif, type;           /* gif: of the dataset (writer: of the shard)             */
    const char    *question, *answer;   /* UTF-8                                                  */
    const int32_t *q_ids, *a_ids;       /* [nq], [na]                                             */
    int32_t        nq, na;
} gq_qa;

/* ---- writing one shard ----------------------------------------------------------------------- */

typedef struct gq_shard_entry {         /* a finished shard, as MANIFEST.json lists it            */
    char     file[32];                  /* "shard-00017.h5"                                       */
    char     sha256[65];
    uint64_t bytes;
    uint32_t gifs, questions;
    uint32_t next;                      /* GIF of the table with which the next shard begins      */
    uint32_t rejects;                   /* rows and GIFs refused while it was built               */
    uint32_t cut_questions, cut_answers; /* that had more tokens than were allowed             */
    uint64_t rejects_bytes;             /* size of rejects.tsv when it was finished               */
    uint64_t structure;                 /* hash of the bytes of the extents                       */
    int32_t  extents;                   /* parts of the file that hold more than chunks           */
    struct { uint64_t at, bytes; } extent[GQ_SHARD_EXTENTS];
} gq_shard_entry;

typedef struct gq_shard_writer gq_shard_writer;

/* Writes "<dir>/shard-<number>.h5.part"; dir must exist. */
gq_status gq_shard_writer_open(const char *dir, int number, const gq_shard_meta *meta,
                               gq_shard_writer **out, gq_error *err);
/* frames: u8 [T,S,S,3] or NULL when size is 0; tokens: f32 [T,N,D] or NULL when there are none.
 * *index: in this shard. */
gq_status gq_shard_add_gif(gq_shard_writer *w, const gq_shard_gif *gif, const uint8_t *frames,
                           const float *tokens, int32_t *index, gq_error *err);
gq_status gq_shard_add_qa(gq_shard_writer *w, const gq_qa *qa, gq_error *err);
/* Finishes, reads everything back and compares, renames. Frees w in any case; after a failure no
 * shard is there. */
gq_status gq_shard_writer_close(gq_shard_writer *w, gq_shard_entry *entry, gq_error *err);
void      gq_shard_writer_abort(gq_shard_writer *w);      /* removes the .part file; NULL allowed */

/* ---- MANIFEST.json --------------------------------------------------------------------------- */

typedef struct gq_manifest {
    char            build[65];          /* hex hash of what the dataset is made from, "" unknown  */
    bool            complete;           /* all shards are there                                   */
    int             count;
    gq_shard_entry *shard;              /* [count], owned: gq_manifest_free()                     */
} gq_manifest;

gq_status gq_manifest_load(const char *dir, gq_manifest *out, gq_error *err);
gq_status gq_manifest_save(const char *dir, const gq_manifest *m, gq_error *err);
gq_status gq_manifest_add(gq_manifest *m, const gq_shard_entry *e, gq_error *err);
void      gq_manifest_free(gq_manifest *m);

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct gq_dataset gq_dataset;
typedef struct gq_shard_cursor gq_shard_cursor;           /* scratch memory of one reading thread */

/* Opens all shards of complete datasets as one; every array and attribute is checked now. A path is
 * a directory with a manifest, or one shard file that the manifest beside it names. */
gq_status gq_dataset_open_list(const char *const *paths, int n, gq_dataset **out, gq_error *err);
gq_status gq_dataset_open(const char *path, gq_dataset **out, gq_error *err);
void      gq_dataset_close(gq_dataset *d);                   /* NULL allowed                      */

const gq_shard_meta *gq_dataset_meta(const gq_dataset *d);   /* shared by all shards              */
const char *gq_dataset_dir(const gq_dataset *d);             /* the first path, for messages      */
int64_t     gq_dataset_count(const gq_dataset *d);           /* questions                         */
int64_t     gq_dataset_gifs(const gq_dataset *d);
const char *gq_dataset_type_name(const gq_dataset *d, int type);
/* i: 0..count-1. The pointers in *qa live as long as the dataset; texts end with NUL. */
void        gq_dataset_qa(const gq_dataset *d, int64_t i, gq_qa *qa);
void        gq_dataset_gif(const gq_dataset *d, int64_t gif, gq_shard_gif *out);

gq_status   gq_shard_cursor_new(const gq_dataset *d, gq_shard_cursor **out, gq_error *err);
void        gq_shard_cursor_free(gq_shard_cursor *c);        /* NULL allowed                      */
/* u8 [T,S,S,3] of one GIF, checksum checked. GQ_EINPUT when damaged. Allocates nothing. */
gq_status gq_dataset_frames(const gq_dataset *d, gq_shard_cursor *c, int64_t gif, uint8_t *dst,
                            gq_error *err);
/* f32 [T,N,D]; bfloat16 is widened. */
gq_status gq_dataset_tokens(const gq_dataset *d, gq_shard_cursor *c, int64_t gif, float *dst,
                            gq_error *err);
/* f32 [pooled_n, P] of one GIF; bfloat16 is widened. */
gq_status gq_dataset_pooled(const gq_dataset *d, gq_shard_cursor *c, int64_t gif, float *dst,
                            gq_error *err);

/* ---- looking --------------------------------------------------------------------------------- */

/* Every byte of a dataset: sizes, SHA-256, every array, every chunk. Or of one shard file without a
 * manifest, from anywhere: in a helper process with limits, because a hostile file can crash
 * libhdf5. */
gq_status gq_shard_verify(const char *path, uint64_t *gifs, uint64_t *questions, gq_error *err);
/* JSON text, owned by the caller (gq_free): counts, sizes, types with their most frequent answers,
 * lengths. */
gq_status gq_shard_stats(const char *dir, char **json, gq_error *err);
/* The first n questions as JSON, one object a line. */
gq_status gq_shard_head(const char *dir, int n, char **json_lines, gq_error *err);

#endif
