/* clip_dir.h - the sizes of a published CLIP, read from the config.json beside its weights.
 *
 * The result is a list of configuration overrides ("clip.width=768"), so that one place, the
 * configuration, says what is possible. Keys that the file leaves out have the values of
 * transformers' CLIPConfig, which are those of ViT-B/32.
 */
#ifndef GIFQA_TRAIN_CLIP_DIR_H
#define GIFQA_TRAIN_CLIP_DIR_H

#include "core/status.h"

enum { GQ_CLIP_SIZES = 16 };            /* overrides, "clip.preset=custom" first */

typedef struct gq_clip_sizes {
    int  n;                             /* 0: the directory has no config.json */
    char key[GQ_CLIP_SIZES][64];        /* "section.key=value" */
} gq_clip_sizes;

/* dir: a directory with config.json. GQ_EWEIGHTS when the file is no CLIP's or is broken. */
gq_status gq_clip_dir_sizes(const char *dir, gq_clip_sizes *out, gq_error *err);

#endif
