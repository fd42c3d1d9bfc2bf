/* ask.h - a GIF and a question in, an answer out.
 *
 * Which frames the model sees, data.frames of them in time order:
 *   CLIP-Cut   when there is a CLIP with a text tower: the model's own (clip.text: true) or one given for the purpose
 *   evenly     else, or when asked for: the middles of as many equal parts of the animation, the rule by which
 *              gifqa-prep chooses when nothing else does; a GIF of exactly data.frames frames gives them all
 * Frames are read over black, resized by section image of the model's configuration, and go through its CLIP.
 *
 * Ownership: an asker borrows its session, which must outlive it; recorded passes and caches are kept from question
 * to question, and so are the embeddings of the last GIFs: another question about one of them is cheap. A reply is the caller's: gq_reply_free(). One thread at a time.
 */
#ifndef GIFQA_TRAIN_ASK_H
#define GIFQA_TRAIN_ASK_H

#include "train/retrieve.h"
#include "train/session.h"

typedef struct gq_ask_opts {
    int         beams;                  /* 0: decode.beams                                        */
    bool        evenly;                 /* no CLIP-Cut                                            */
    const char *clip;             /* CLIP for CLIP-Cut: directory, file, "random:SEED"; NULL: own */
    const char *vocabulary;          /* its vocabulary; NULL: as configured or beside the weights */
    const char *cache;                  /* directory for CLIP-Cut's embeddings of GIFs, see
                                           gq_retriever_cache(); NULL: they are kept in memory only */
    uint64_t    cache_bytes;            /* most it may hold                                       */
    const char *description;            /* of the GIF: CLIP-Cut compares frames with it and the question,
                                           see gq_clipcut_text(); NULL: with the question alone. The
                                           language model reads the question alone. Without CLIP-Cut:
                                           GQ_EUSAGE                                              */
} gq_ask_opts;

typedef struct gq_ask_seconds {         /* wall clock                                             */
    double decode;                      /* GIF bytes to pixels                                    */
    double preprocess;                  /* resize and crop                                        */
    double retrieve;            /* CLIP-Cut: both towers or the cache, and the choice; 0: evenly  */
    double text;                        /* of it the question's part and the choice               */
    double vision;                  /* CLIP, Q-Former and the question through the language model */
    double answer;                      /* the tokens after the first                             */
} gq_ask_seconds;

typedef struct gq_reply {
    char          *answer;              /* UTF-8                                                  */
    double         confidence;      /* product of the token probabilities, exp(sum of their logs) */
    bool           ended;              /* the end token came; false: cut at decode.max_new_tokens */
    int            tokens;              /* generated, the end token not counted                   */
    bool           cut;                 /* the question was longer than the model takes           */
    bool           retrieved;           /* CLIP-Cut chose the frames                              */
    gq_origin      origin;              /* of the embeddings it compared                          */
    int            k;                   /* frames seen                                            */
    int32_t       *frame;               /* [k] ascending, from 0                                  */
    double        *distance;            /* [k] L2 to the question, NAN when taken evenly          */
    uint32_t       frames, width, height;        /* of the GIF                                    */
    unsigned       flags;               /* gq_gif_flags()                                         */
    gq_ask_seconds seconds;
} gq_reply;

typedef struct gq_asker gq_asker;

gq_status gq_asker_open(gq_session *s, const gq_ask_opts *o, gq_asker **out, gq_error *err);   /* o: NULL, defaults */
void      gq_asker_close(gq_asker *a);                       /* NULL allowed                      */
const char *gq_asker_note(const gq_asker *a);     /* what is wrong with the cache; "" nothing     */
gq_status gq_asker_ask(gq_asker *a, const gq_gif_bytes *gif, const char *question, gq_reply *out, gq_error *err);
void      gq_reply_free(gq_reply *r);

#endif
