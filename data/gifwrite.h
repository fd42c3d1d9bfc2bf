/* gifwrite.h - writes animated GIFs from indexed frames: the toy world's way to real files, and the
 * tests'.
 *
 * Invariants: the input is our own data, never something read from a file (giflib's encoder is not
 * hardened), and is still checked: sizes, palette, every index. Every frame covers the whole
 * screen, disposal 1, no transparency, endless loop; the same input gives the same bytes.
 * Ownership: *out is released with gq_bytes_free().
 */
#ifndef GIFQA_DATA_GIFWRITE_H
#define GIFQA_DATA_GIFWRITE_H

#include <stdint.h>

#include "core/io.h"
#include "core/status.h"

typedef struct gq_gif_anim {
    uint32_t       width, height;       /* pixels, 1..65535 each                                  */
    uint32_t       nframes;             /* >= 1                                                   */
    const uint8_t *frames;              /* palette indices [nframes, height, width]               */
    uint32_t       ncolors;             /* 1..256                                                 */
    const uint8_t (*palette)[3];        /* RGB [ncolors, 3]                                       */
    uint32_t       delay_cs;            /* 1/100 s per frame, <= 65535                            */
} gq_gif_anim;

gq_status gq_gif_encode(const gq_gif_anim *anim, gq_bytes *out, gq_error *err);

/* The same into a file that appears complete or not at all. */
gq_status gq_gif_write(const char *path, uint32_t width, uint32_t height, const uint8_t *frames,
                       uint32_t nframes, const uint8_t (*palette)[3], uint32_t ncolors,
                       uint32_t delay_cs, gq_error *err);

#endif
