/* build.h - from a table and a folder of GIFs to shards.
 *
 * The table is read whole; its GIFs are taken in the order of their first row. Each is read, its
 * frames chosen, decoded, resized and, if wanted, turned into features; then it goes into a shard
 * with its questions. Who chooses frames by question (CLIP-Cut) or computes features gives
 * callbacks: this room knows no models. A GIF whose questions get different frames is stored once
 * for each choice.
 *
 * Order of the callbacks: all on the calling thread, never two at once. For each GIF, in the order
 * of the table: choose(), if given, for each of its rows in their order; features() once for each
 * set of frames that is stored, right after they were decoded, with choose() between the row that
 * first chose them and the next row; all_frames(), if given, before the first features() of the
 * GIF. A choice made before is not stored, nor turned into features,
 * again. progress() comes between GIFs. Finished shards are skipped when a build continues: nothing
 * is called for their GIFs, so a result must depend on the arguments alone.
 *
 * A set of texts has neither pixels nor features: context(), which gives the text that a GIF's
 * questions are about (NULL: there is none, the GIF is bad), makes one. No GIF is read, the folder of
 * GIFs, frames and features are not looked at. For models that read text, T5.
 *
 * Bad rows and bad GIFs are skipped and listed in <out>/rejects.tsv (file, line, reason); more than
 * max_bad of them (bad rows plus bad GIFs) are an error. Nothing is ever half there: a shard
 * appears when it is whole, the manifest is marked complete at the end. Stopped or killed, the same
 * call continues after the last finished shard and gives the same bytes as if it had never stopped;
 * another table or other options in the same directory are refused once it has a shard. A build
 * that can use no GIF leaves nothing but the list of rejects.
 */
#ifndef GIFQA_DATA_BUILD_H
#define GIFQA_DATA_BUILD_H

#include "core/threads.h"
#include "data/gif.h"
#include "data/image.h"
#include "data/progress.h"
#include "data/shard.h"
#include "data/tokenizer.h"

typedef struct gq_gif_file {            /* what a chooser gets                                    */
    const char    *name;                /* path, for messages                                     */
    const uint8_t *data;                /* the file                                               */
    size_t         size;
    uint32_t       frames;              /* frames in it                                           */
} gq_gif_file;

/* Writes k frame numbers, ascending (repeats allowed), for one question. GQ_EINPUT: nothing fits,
 * the row is skipped. */
typedef gq_status (*gq_choose_fn)(void *ctx, const gq_gif_file *gif, const char *question,
                                  int32_t k, int32_t *frame, gq_error *err);
/* frames u8 [T,S,S,3] to tokens f32 [T,N,D]. */
typedef gq_status (*gq_features_fn)(void *ctx, const uint8_t *frames, float *tokens, gq_error *err);

/* GQ_EINPUT: the GIF is bad. *vectors: f32 [*n, P], one of each frame of the GIF, P as the options say; they stay the
 * callback's and are read before its next call. */
typedef gq_status (*gq_pooled_fn)(void *ctx, const gq_gif_file *gif, const float **vectors,
                                  int32_t *n, gq_error *err);

typedef struct gq_build_opts {
    const char         *table, *gifs, *out;      /* a file, a directory (NULL: texts), a directory */
    int32_t             keyframes;      /* T                                                      */
    int32_t             size;           /* S, pixels                                              */
    gq_filter           filter;         /* of the resize                                          */
    uint8_t             matte[3];       /* RGB under transparent pixels                           */
    gq_gif_limits       limits;         /* zero: the defaults                                     */
    bool                store_frames;   /* keep the pixels in the shard                           */
    gq_shard_codec      codec;
    uint64_t            shard_bytes;    /* of pixels and features in a shard; 0: 1 GiB            */
    const gq_tokenizer *tokenizer;
    const char         *template;       /* {q} is the question; {c} its context                   */
    const char       *(*context)(void *ctx, const char *gif);     /* see above; NULL: not a set of texts */
    const char         *contexts_sha256;       /* of all contexts, in hex: another, another set   */
    const char         *answer_prefix;  /* before the answer                                      */
    int32_t             max_question;   /* tokens; longer ones lose their start                   */
    int32_t             max_answer;     /* tokens; longer ones lose their end                     */
    uint32_t            max_bad;
    const char         *source;         /* corpus and licence, "" unknown                         */
    gq_pool            *pool;        /* decodes GIFs in parallel when nothing chooses; NULL: here */
    gq_choose_fn        choose;         /* NULL: T frames spread evenly                           */
    const char         *chooser;        /* its name and settings, stored as `sampler`             */
    bool                described;      /* choose() gets gq_clipcut_text() of a question and
                                         * its column description, which must be there; samples
                                         * stay without it; `chooser` has to say so               */
    gq_features_fn      features;       /* NULL: none                                             */
    const char         *tower;          /* what computes them, stored as `features`               */
    int32_t             tokens, width;  /* N, D                                                   */
    gq_pooled_fn        all_frames;     /* vectors of all frames; NULL: none                      */
    int32_t             pooled;         /* P                                                      */
    char                pooled_tower[33];        /* hash of what computes them                    */
    bool                bf16;           /* how features and vectors are stored                    */
    void               *ctx;            /* of choose, features and all_frames                     */
    gq_progress_fn      progress;       /* items: GIFs                                            */
    void               *progress_ctx;
} gq_build_opts;

typedef struct gq_build_report {
    uint32_t shards, gifs, questions;   /* in the dataset                                         */
    uint32_t bad_rows, bad_gifs;        /* listed in rejects.tsv                                  */
    uint32_t cut_questions, cut_answers; /* beyond max_question, max_answer; in the dataset    */
    uint32_t continued;                 /* shards that were there already                         */
    bool     already;                   /* all of it was: nothing was done                        */
    uint64_t bytes;                     /* of all shards                                          */
    double   seconds;
} gq_build_report;

/* Also on failure *report says how far it came (may be NULL). Leaves the tokenizer in
 * <out>/tokenizer. */
gq_status gq_build(const gq_build_opts *o, gq_build_report *report, gq_error *err);

/* T of n frames: the middles of T equal parts of the animation. */
void gq_frames_evenly(uint32_t n, int32_t t, int32_t *frame);

#endif
