/* image.h - what stands between a decoded frame and a model: resize the short side, crop the
 * centre, normalise.
 *
 * Bytes are exactly Pillow's (Image.resize with BICUBIC or NEAREST on RGB; horizontal pass first,
 * as in every Pillow before 13, which swaps the passes for some shapes) followed by the crop of
 * Hugging Face's CLIPImageProcessor: long side = size * long / short rounded down, crop origin
 * (length - size) / 2 rounded down.
 *
 * Invariants: images are RGB, 8 bit, [height, width, 3] without padding; sides are
 * 1..GQ_IMAGE_MAX_SIDE and checked. A gq_resizer caches the weight tables of the last pair of sizes
 * and its scratch memory: one per thread, good for all frames of a clip. Results never depend on
 * what a resizer did before.
 */
#ifndef GIFQA_DATA_IMAGE_H
#define GIFQA_DATA_IMAGE_H

#include <stdint.h>

#include "core/status.h"

#define GQ_IMAGE_MAX_SIDE 65535u

typedef enum gq_filter {
    GQ_BICUBIC,                         /* a = -0.5, widened when shrinking: CLIP's               */
    GQ_NEAREST,                         /* undoes an integer enlargement exactly                  */
} gq_filter;

typedef struct gq_resizer gq_resizer;

gq_status gq_resizer_new(gq_resizer **out, gq_error *err);
void      gq_resizer_free(gq_resizer *r);                    /* NULL allowed                      */

/* Short side to `size`, then the centre: out [size, size, 3]. */
gq_status gq_resizer_preprocess(gq_resizer *r, const uint8_t *rgb, uint32_t w, uint32_t h,
                                uint32_t size, gq_filter filter, uint8_t *out, gq_error *err);
/* Whole image to another size: out [out_h, out_w, 3]. */
gq_status gq_resizer_resize(gq_resizer *r, const uint8_t *rgb, uint32_t w, uint32_t h,
                            uint32_t out_w, uint32_t out_h, gq_filter filter, uint8_t *out,
                            gq_error *err);

/* The first of these for a single image. */
gq_status gq_image_preprocess(const uint8_t *rgb, uint32_t w, uint32_t h, uint32_t size,
                              gq_filter filter, uint8_t *out, gq_error *err);

/* The size that the short-side rule gives, before the crop. */
void gq_image_short_side(uint32_t w, uint32_t h, uint32_t size, uint32_t *out_w, uint32_t *out_h);

/* (x / 255 - mean) / std into planes: out [3, size, size]; float32 in Hugging Face's order of
 * operations. */
void gq_image_normalize(const uint8_t *rgb, uint32_t size, const float mean[3], const float std[3],
                        float *out);

extern const float gq_clip_mean[3];     /* 0.48145466 0.4578275  0.40821073                       */
extern const float gq_clip_std[3];      /* 0.26862954 0.26130258 0.27577711                       */

#endif
