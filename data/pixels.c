/* pixels.c - loops that compilers turn into vector instructions: fixed numbers of lanes, no calls.
 *
 * GQ_CLONES has the compiler make each function once per instruction set; the loader of the program
 * picks. Where that is not to be had, the functions are compiled once.
 */
#include "data/pixels.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
#define GQ_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define GQ_CLONES
#endif
#define GQ_INTO_CLONES static inline __attribute__((always_inline))

enum { LANES = GQ_PIXELS_LANES, TILE = 16 };

/* ---- weighted sums --------------------------------------------------------------------------- */

GQ_INTO_CLONES uint8_t clip8(int32_t sum)
{
    int32_t v = sum >> GQ_PIXELS_FRACTION;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* `lanes` is a constant wherever this is used, so the sums stay in registers. */
GQ_INTO_CLONES void blend(const uint8_t *restrict from, size_t stride,
                          const int32_t *restrict weight, uint32_t used, int lanes,
                          uint8_t *restrict out)
{
    int32_t sum[LANES];
    for (int j = 0; j < lanes; j++)
        sum[j] = 1 << (GQ_PIXELS_FRACTION - 1);
    for (uint32_t i = 0; i < used; i++, from += stride) {
        int32_t w = weight[i];
        for (int j = 0; j < lanes; j++)
            sum[j] += from[j] * w;
    }
    for (int j = 0; j < lanes; j++)
        out[j] = clip8(sum[j]);
}

/* The last step overlaps the one before: what is computed twice comes out the same. */
GQ_CLONES void gq_pixels_blend_row(const uint8_t *restrict rows, const int32_t *restrict weight,
                                   uint32_t used, size_t n, uint8_t *restrict out)
{
    size_t x = 0;
    for (; n >= LANES && x < n; x += LANES) {
        if (x > n - LANES)
            x = n - LANES;
        blend(rows + x, n, weight, used, LANES, out + x);
    }
    for (; x < n; x++)
        blend(rows + x, n, weight, used, 1, out + x);
}

GQ_CLONES void gq_pixels_blend_columns(const uint8_t *restrict columns, const gq_weights *w,
                                       uint32_t first, uint8_t *restrict out)
{
    enum { PIXEL = 3 * LANES };
    for (uint32_t k = 0; k < w->count; k++, out += PIXEL)
        for (int c = 0; c < 3; c++)
            blend(columns + (size_t)(w->start[k] - first) * PIXEL + c * LANES, PIXEL,
                  w->weight + (size_t)k * w->taps, w->used[k], LANES, out + c * LANES);
}

/* ---- turning --------------------------------------------------------------------------------- */

typedef uint8_t u8x16 __attribute__((vector_size(16)));

/* 16 x 16 bytes: four rounds, each of which interleaves the first half of the rows with the
 * second; unrolled, so that the rows stay in registers. */
GQ_INTO_CLONES void turn_tile(const uint8_t *restrict from, size_t from_stride,
                              uint8_t *restrict to, size_t to_stride)
{
    u8x16 row[5][TILE];
#pragma GCC unroll 16
    for (int r = 0; r < TILE; r++)
        memcpy(&row[0][r], from + (size_t)r * from_stride, TILE);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
#pragma GCC unroll 8
        for (int r = 0; r < TILE / 2; r++) {
            u8x16 a = row[k][r], b = row[k][r + TILE / 2];
            row[k + 1][2 * r] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5,
                                                        21, 6, 22, 7, 23);
            row[k + 1][2 * r + 1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12,
                                                            28, 13, 29, 14, 30, 15, 31);
        }
#pragma GCC unroll 16
    for (int r = 0; r < TILE; r++)
        memcpy(to + (size_t)r * to_stride, &row[4][r], TILE);
}

GQ_CLONES void gq_pixels_turn(const uint8_t *restrict from, size_t from_stride, size_t rows,
                              size_t cols, uint8_t *restrict to, size_t to_stride)
{
    size_t whole_rows = rows - rows % TILE, whole_cols = cols - cols % TILE;
    for (size_t r = 0; r < whole_rows; r += TILE)
        for (size_t c = 0; c < whole_cols; c += TILE)
            turn_tile(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = r < whole_rows ? whole_cols : 0; c < cols; c++)
            to[c * to_stride + r] = from[r * from_stride + c];
}

/* ---- colours --------------------------------------------------------------------------------- */

/* Frames of a clip are mostly "as before": eight transparent pixels in a row are one comparison. */
void gq_pixels_draw(uint32_t *restrict to, const uint8_t *restrict index, const uint32_t color[256],
                    int transparent, size_t n)
{
    const uint64_t nothing = (uint64_t)(transparent & 255) * 0x0101010101010101u;
    size_t         x = 0;
    for (; x + 8 <= n; x += 8) {
        uint64_t eight;
        memcpy(&eight, index + x, sizeof eight);
        if (transparent >= 0 && eight == nothing)
            continue;
        for (int k = 0; k < 8; k++) {
            uint32_t pixel = color[index[x + (size_t)k]];
            to[x + (size_t)k] = pixel ? pixel : to[x + (size_t)k];
        }
    }
    for (; x < n; x++)
        to[x] = color[index[x]] ? color[index[x]] : to[x];
}

typedef uint32_t u32x4 __attribute__((vector_size(16)));

/* Four pixels; writes 16 bytes, of which 12 are theirs. */
GQ_INTO_CLONES void over_four(const uint8_t *restrict rgba, u32x4 matte, uint8_t *restrict rgb)
{
    u32x4 v, nothing;
    u8x16 bytes;
    memcpy(&v, rgba, sizeof v);
    nothing = (u32x4)((v >> 24) == 0);
    v = (v & ~nothing) | (matte & nothing);
    bytes = __builtin_shufflevector((u8x16)v, (u8x16)v, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3,
                                    7, 11, 15);
    memcpy(rgb, &bytes, sizeof bytes);
}

GQ_CLONES void gq_pixels_over(const uint8_t *restrict rgba, size_t pixels, const uint8_t matte[3],
                              uint8_t *restrict rgb)
{
    uint32_t one = matte[0] | (uint32_t)matte[1] << 8 | (uint32_t)matte[2] << 16;
    u32x4    four = {one, one, one, one};
    size_t   i = 0;
    for (; i + 6 <= pixels; i += 4)     /* two pixels more: the 16 bytes stay within rgb          */
        over_four(rgba + 4 * i, four, rgb + 3 * i);
    for (; i < pixels; i++)
        memcpy(rgb + 3 * i, rgba[4 * i + 3] ? rgba + 4 * i : matte, 3);
}
