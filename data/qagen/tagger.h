/* tagger.h - parts of speech by an averaged perceptron.
 *
 * A sentence is tagged from left to right; each word takes the tag for which the weights of its
 * features add up to most. Features are hashes (32 bits) of the word, its ends, its neighbours, the
 * tags in front of it and what WordNet knows of the words. Letters count as lower case.
 *
 * Invariants: integers only, so the same treebank gives the same model and the same model the same
 * tags on every machine. A tagger is read-only once it is there: any number of threads may use one.
 *
 * The file, little-endian: "GQTAGGER", u32 version, u32 1 when WordNet was in use, u32 tags, u32
 * features, u32 weights, u32 bytes of names; the names of the tags, each with its NUL; per feature
 * u32 hash (ascending) and u32 end of its weights; per weight i16 value; per weight u8 tag; at the
 * end XXH3-128 of all before it.
 */
#ifndef GIFQA_DATA_QAGEN_TAGGER_H
#define GIFQA_DATA_QAGEN_TAGGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "data/qagen/conllu.h"

enum {
    GQ_TAGS     = 64,                   /* at most                                                */
    GQ_TAG_NAME = 15,                   /* bytes of a tag's name, at most                         */
};

typedef struct gq_tagger gq_tagger;

/* GQ_EWEIGHTS when the file is missing, damaged, of another version, or needs WordNet and this
 * build has none. */
gq_status gq_tagger_load(const char *path, gq_tagger **out, gq_error *err);
/* From memory, with `name` for messages; nothing of `data` is kept. */
gq_status gq_tagger_read(const void *data, size_t bytes, const char *name, gq_tagger **out,
                         gq_error *err);
gq_status gq_tagger_save(const gq_tagger *t, const char *path, gq_error *err);
void      gq_tagger_free(gq_tagger *t);                      /* NULL allowed                      */

int         gq_tagger_tags(const gq_tagger *t);
const char *gq_tagger_name(const gq_tagger *t, int tag);
int         gq_tagger_tag(const gq_tagger *t, const char *name);         /* -1: it has none such  */
size_t      gq_tagger_weights(const gq_tagger *t);

/* tag[k] of word[k], n words of a sentence. */
void gq_tagger_run(const gq_tagger *t, const char *const *word, size_t n, uint8_t *tag);

/* ---- training and measuring ------------------------------------------------------------------ */

typedef struct gq_tagger_plan {
    int  epochs;                        /* passes over the treebank                               */
    int  prune;                         /* weights nearer to zero than this are left out, in
                                           thousandths of the largest                             */
    bool fold;                          /* NNP is NN and NNPS is NNS: captions have no names      */
} gq_tagger_plan;

typedef struct gq_tagger_score {
    uint64_t words, right;
    uint64_t confused[GQ_TAGS][GQ_TAGS];          /* [true tag][given tag]; diagonal: right      */
    uint64_t strange;                   /* words whose tag the model does not have: wrong         */
} gq_tagger_score;

/* After each pass; may be NULL. A status other than GQ_OK ends training with it. */
typedef gq_status (*gq_tagger_epoch_fn)(void *ctx, int epoch, uint64_t words, uint64_t wrong,
                                        gq_error *err);
/* The tags are XPOS. GQ_EINPUT when a word has none. */
gq_status gq_tagger_train(const gq_treebank *bank, const gq_tagger_plan *plan,
                          gq_tagger_epoch_fn each, void *ctx, gq_tagger **out, gq_error *err);
void      gq_tagger_measure(const gq_tagger *t, const gq_treebank *bank, bool fold,
                            gq_tagger_score *out);

#endif
