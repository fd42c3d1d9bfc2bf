/* clip_dir.h - a CLIP that a person names: the sizes of a published one, read from the config.json
 * beside its weights, and where the weights come from.
 *
 * The results are lists of configuration overrides ("clip.width=768"), so that one place, the
 * configuration, says what is possible. Keys that the file leaves out have the values of
 * transformers' CLIPConfig, which are those of ViT-B/32.
 */
#ifndef GIFQA_TRAIN_CLIP_DIR_H
#define GIFQA_TRAIN_CLIP_DIR_H

#include "train/config.h"

enum { GQ_CLIP_SIZES = 16, GQ_CLIP_WEIGHTS = 2 };

typedef struct gq_clip_sizes {
    int  n;                             /* 0: the directory has no config.json */
    char key[GQ_CLIP_SIZES][64];        /* "section.key=value", "clip.preset=custom" first */
} gq_clip_sizes;

/* dir: a directory with config.json. GQ_EWEIGHTS when the file is no CLIP's or is broken. */
gq_status gq_clip_dir_sizes(const char *dir, gq_clip_sizes *out, gq_error *err);

typedef struct gq_clip_weights {        /* where a CLIP comes from, as overrides */
    int  n;
    char key[GQ_CLIP_WEIGHTS][GQ_PATH_MAX + 64];
    bool random;
} gq_clip_weights;

/* weights: "random", "random:SEED", or the path of a directory or file, which need not exist. */
void gq_clip_weights_of(const char *weights, gq_clip_weights *out);

#endif
