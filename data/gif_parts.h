/* gif_parts.h - private to gif*.c: the LZW decoder and the canvas under the reader.
 *
 * Both work on memory that the reader sized and checked; neither allocates more than its comment
 * says.
 */
#ifndef GIFQA_DATA_GIF_PARTS_H
#define GIFQA_DATA_GIF_PARTS_H

#include <gif_lib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

/* ---- LZW ------------------------------------------------------------------------------------- */

#define GQ_LZW_SLACK 8                  /* bytes that may be written behind the last pixel        */

typedef enum gq_lzw_end {
    GQ_LZW_FULL,                        /* every pixel is there                                   */
    GQ_LZW_SHORT,                       /* the end code came first                                */
    GQ_LZW_NO_MORE,                     /* the last block came first, and is read                 */
    GQ_LZW_INVALID,                     /* a code that no string has                              */
    GQ_LZW_CUT,                         /* the file ends inside the data                          */
} gq_lzw_end;

typedef struct gq_lzw {
    struct { uint32_t at, len; } string[4096];      /* where in the output a code's string stands */
} gq_lzw;

/* Decodes up to `want` indices (< 2^32) of the image whose header giflib has just read into out
 * [want + slack]. Reads data blocks through giflib until the pixels are complete; later blocks are
 * left unread, unless the result is GQ_LZW_NO_MORE. */
gq_lzw_end gq_lzw_decode(gq_lzw *z, GifFileType *gif, uint8_t *out, size_t want, size_t *got);

/* ---- canvas ---------------------------------------------------------------------------------- */

typedef struct gq_rect {
    uint32_t x, y, w, h;                /* pixels                                                 */
} gq_rect;

typedef struct gq_canvas {
    uint32_t  width, height;            /* pixels                                                 */
    uint32_t *rgba;                     /* [height, width], bytes R G B A, owned                  */
    uint32_t *saved;              /* [last.h, last.w] what the last frame covered, owned, or NULL */
    size_t    saved_room;               /* pixels allocated for it                                */
    gq_rect   last;                     /* rectangle of the last frame within the canvas          */
    uint8_t   dispose;                  /* what to do with it before the next one: 0..7           */
    uint32_t  background;               /* what disposal 2 leaves there                           */
    bool      used;                     /* a frame was drawn                                      */
} gq_canvas;

typedef struct gq_patch {               /* one decoded frame                                      */
    gq_rect        rect;                /* as the file gives it                                   */
    const uint8_t *index;       /* [rect.h, rect.w] in the order of the file, owned by the reader */
    size_t         have;                /* indices that were decoded, from the first              */
    bool           interlaced;
    uint8_t        dispose;             /* 0..7                                                   */
    uint32_t       color[256];          /* bytes R G B 255, or 0: draws nothing                   */
    int            transparent;         /* an index whose colour is 0, -1: none known             */
    uint32_t       background;          /* under the first frame and where disposal 2 clears it   */
} gq_patch;

gq_status gq_canvas_init(gq_canvas *c, uint32_t width, uint32_t height, gq_error *err);
/* disposes the last one first */
gq_status gq_canvas_draw(gq_canvas *c, const gq_patch *p, gq_error *err);
void      gq_canvas_free(gq_canvas *c);
gq_rect   gq_rect_clip(gq_rect r, uint32_t width, uint32_t height);          /* empty: w = h = 0  */

#endif
