/* png.h - still pictures out: RGB or RGBA, 8 bit, as PNG.
 *
 * Invariants: the pixels are [height, width, channels] without padding; the same pixels give the
 * same bytes on one libpng/zlib. Libpng's non-local jumps stay inside libpng (its simplified
 * interface). Ownership: *out is released with gq_bytes_free().
 */
#ifndef GIFQA_DATA_PNG_H
#define GIFQA_DATA_PNG_H

#include <stdint.h>

#include "core/io.h"
#include "core/status.h"

/* channels: 3 (RGB) or 4 (RGBA, not premultiplied). */
gq_status gq_png_encode(const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels,
                        gq_bytes *out, gq_error *err);

/* The same into a file that appears complete or not at all. */
gq_status gq_png_write(const char *path, const uint8_t *pixels, uint32_t width, uint32_t height,
                       uint32_t channels, gq_error *err);

#endif
