/* pixels.h - private to gif*.c and image.c: their loops over pixels, compiled for several
 * instruction sets from one source and chosen when the program is loaded. Integers only: the
 * results are the same on every machine.
 *
 * The functions trust their callers with sizes; `restrict` pointers never overlap.
 */
#ifndef GIFQA_DATA_PIXELS_H
#define GIFQA_DATA_PIXELS_H

#include <stddef.h>
#include <stdint.h>

/* ---- weighted sums, as Pillow's 8-bit resampling has them ------------------------------------ */

#define GQ_PIXELS_FRACTION 22           /* bits of a weight: 32 - 8 for the pixel - 2 to be safe  */
#define GQ_PIXELS_LANES    64           /* rows that one step of the horizontal pass takes        */

typedef struct gq_weights {             /* of one output place after the other                    */
    uint32_t        count, taps;        /* places; room for weights of each                       */
    const uint32_t *start, *used;       /* [count] first input, number of inputs                  */
    const int32_t  *weight;             /* [count, taps] fixed point; sums of |w| stay below 2^23 */
} gq_weights;

/* Rows [used, n] weighted into one row of n bytes, rounded and clipped. */
void gq_pixels_blend_row(const uint8_t *restrict rows, const int32_t *restrict weight,
                         uint32_t used, size_t n, uint8_t *restrict out);
/* The same along a picture that lies on its side, RGB pixels [input, 3, GQ_PIXELS_LANES], the first
 * of them number `first`: out [count, 3, GQ_PIXELS_LANES]. */
void gq_pixels_blend_columns(const uint8_t *restrict columns, const gq_weights *w, uint32_t first,
                             uint8_t *restrict out);
/* to[c * to_stride + r] = from[r * from_stride + c] for r < rows, c < cols. */
void gq_pixels_turn(const uint8_t *restrict from, size_t from_stride, size_t rows, size_t cols,
                    uint8_t *restrict to, size_t to_stride);

/* ---- colours --------------------------------------------------------------------------------- */

/* to[i] = color[index[i]] where that is not 0; `transparent` is an index whose colour is 0, -1:
 * none known. */
void gq_pixels_draw(uint32_t *restrict to, const uint8_t *restrict index, const uint32_t color[256],
                    int transparent, size_t n);
/* RGBA, alpha 0 or not, over an opaque colour. */
void gq_pixels_over(const uint8_t *restrict rgba, size_t pixels, const uint8_t matte[3],
                    uint8_t *restrict rgb);

#endif
