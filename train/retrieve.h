/* retrieve.h - CLIP-Cut on real input: a GIF and a question in, the frames nearest to the question
 * out.
 *
 * A retriever is both CLIP towers, a tokenizer and the recorded passes it has needed so far. It
 * walks a GIF once, 32 frames at a time, and keeps embeddings only, so memory hardly depends on the
 * number of frames; pixels of chosen frames are decoded again (a thousandth of the time of the
 * vision tower). A frame's states do not depend on which frames share its batch; its embedding may
 * by a rounding, because products of few rows take another path, so it is the same bits whenever
 * the same GIF is walked. Frames are read over black: alpha-0 pixels are 0,0,0.
 *
 * Ownership: opened from a configuration it owns engine and weights; shared, it uses those of a
 * net, which must outlive it. What functions return in structs is the caller's and has its own free
 * function. One thread at a time.
 */
#ifndef GIFQA_TRAIN_RETRIEVE_H
#define GIFQA_TRAIN_RETRIEVE_H

#include "data/clipcut.h"
#include "data/gif.h"
#include "models/clip.h"
#include "models/hf.h"
#include "train/config.h"
#include "train/net.h"

typedef struct gq_retriever gq_retriever;

typedef struct gq_retrieve_seconds {    /* wall clock; calls add to what is there */
    double decode;                      /* GIF bytes to RGB */
    double preprocess;                  /* resize and crop */
    double vision;                      /* CLIP on pixels */
    double text;                        /* tokenizer and CLIP on the question */
    double select;                      /* distances and choice */
    double recall;                      /* finding, reading and keeping embeddings of known GIFs */
} gq_retrieve_seconds;

/* Sections clip, image, clipcut, data.limits, engine and
 * model.{init,seed,weights.clip,tokenizer.clip} of c. Without model.tokenizer.clip the tokenizer is
 * looked for beside the weights. With clip.text false there is no tokenizer and no question, but
 * features. GQ_EWEIGHTS names what is missing. report may be NULL. */
gq_status gq_retriever_open(const gq_config *c, gq_retriever **out, gq_load_report *report,
                            gq_error *err);
gq_status gq_retriever_share(gq_net *net, gq_retriever **out, gq_error *err);
void      gq_retriever_close(gq_retriever *r);               /* NULL allowed */

const gq_clip_config *gq_retriever_clip(const gq_retriever *r);
gq_gif_limits gq_retriever_limits(const gq_config *c); /* data.limits as the decoder takes them */

typedef struct gq_gif_bytes {           /* a GIF in memory, borrowed */
    const uint8_t *data;
    size_t         size;                /* bytes */
    const char    *name;                /* for error texts */
} gq_gif_bytes;

typedef struct gq_frame_set {           /* every frame of one GIF: gq_frame_set_free() */
    int64_t  n, dim;                    /* frames; numbers of an embedding */
    uint32_t width, height;             /* pixels */
    unsigned flags;                     /* gq_gif_flags() */
    int32_t *delay_cs;                  /* [n] 1/100 s, raw; -1: none */
    float   *embed;                     /* [n, dim], not normalised; NULL without clip.proj */
    float   *feature;                   /* [n, tokens, width] the states of clip.feature, or NULL */
} gq_frame_set;

/* Embeds every frame. Features of all frames are kept too while they need no more than
 * feature_bytes (0: none). */
gq_status gq_retriever_frames(gq_retriever *r, const gq_gif_bytes *gif, size_t feature_bytes,
                              gq_frame_set *out, gq_retrieve_seconds *seconds, gq_error *err);
void      gq_frame_set_free(gq_frame_set *f);

/* ---- GIFs seen before ---- */

typedef enum gq_origin { GQ_COMPUTED, GQ_FROM_MEMORY, GQ_FROM_DISK } gq_origin;

enum { GQ_CACHE_MIB = 256 };            /* a limit that suits people */

/* Embeddings are kept in dir, too (NULL: in memory only, which is so without this call), for other
 * processes and other days: one small file a GIF, `most` bytes in all, the oldest are removed. Keys
 * are hashes of the GIF's bytes, of the vision tower's weights, and of all else that the numbers
 * depend on, so what comes from there is what would be computed, to the bit. Call it before the
 * first question. */
gq_status gq_retriever_cache(gq_retriever *r, const char *dir, uint64_t most, gq_error *err);
/* Why dir could not be used last, "" when it could: the work is done all the same. */
const char *gq_retriever_note(const gq_retriever *r);

/* As gq_retriever_frames() without features, for the price of a hash when the GIF is known: the
 * last 16 are kept in memory. *out stays the retriever's and is good until the next call. */
gq_status gq_retriever_recall(gq_retriever *r, const gq_gif_bytes *gif, const gq_frame_set **out,
                              gq_origin *from, gq_retrieve_seconds *seconds, gq_error *err);

/* Hash of all that makes an embedding out of a GIF's pixels: weights, sizes, preprocessing. Vectors
 * of one such tower can be compared with each other and with its questions. */
gq_status gq_retriever_tower(gq_retriever *r, uint8_t tower[16], gq_error *err);

/* embed [clip.proj]. *cut (may be NULL): the question had more than clip.context tokens and lost
 * its end. */
gq_status gq_retriever_question(gq_retriever *r, const char *question, float *embed, bool *cut,
                                gq_retrieve_seconds *seconds, gq_error *err);

/* CLIP-Cut with the options of section clipcut. */
gq_status gq_retriever_select(gq_retriever *r, const gq_frame_set *f, const float *question,
                              gq_clipcut *out, gq_retrieve_seconds *seconds, gq_error *err);

/* What a model reads of frames frame[k] (ascending, repeats allowed): pixels u8 [k,S,S,3] and
 * features float [k,tokens,width]; either may be NULL. Features come from f (may be NULL) when it
 * kept them. */
gq_status gq_retriever_fetch(gq_retriever *r, const gq_gif_bytes *gif, const gq_frame_set *f,
                             const int64_t *frame, int64_t k, uint8_t *pixels, float *features,
                             gq_retrieve_seconds *seconds, gq_error *err);

/* What a model reads of n pictures as stored: pixels u8 [n,S,S,3], preprocessed, to features float
 * [n,tokens,width]. Needs no GIF. */
gq_status gq_retriever_features(gq_retriever *r, const uint8_t *pixels, int64_t n, float *features,
                                gq_retrieve_seconds *seconds, gq_error *err);

#endif
