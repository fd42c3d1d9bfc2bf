/* png.c - PNG through libpng's simplified interface, into memory and from there into an atomic
 * file. */
#include "data/png.h"

#include <png.h>

#include "core/mem.h"

gq_status gq_png_encode(const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels,
                        gq_bytes *out, gq_error *err)
{
    *out = (gq_bytes){ 0 };
    if (channels != 3 && channels != 4)
        return gq_fail(err, GQ_EUSAGE, "a picture has 3 or 4 channels, not %u", channels);
    if (!width || !height || width > 65535 || height > 65535)
        return gq_fail(err, GQ_EUSAGE,
                       "a picture of %ux%u pixels cannot be written: each side is 1..65535", width,
                       height);
    png_image image = { .version = PNG_IMAGE_VERSION, .width = width, .height = height,
                        .format = channels == 4 ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB };
    png_alloc_size_t room = PNG_IMAGE_PNG_SIZE_MAX(image);
    out->data = gq_malloc(room + 1, 1);
    if (!out->data)
        return gq_fail(err, GQ_ENOMEM, "no memory for a PNG of %ux%u pixels", width, height);
    if (!png_image_write_to_memory(&image, out->data, &room, 0, pixels, 0, NULL)) {
        gq_bytes_free(out);
        return gq_fail(err, GQ_ENOMEM, "a PNG of %ux%u pixels could not be made: %s", width, height,
                       image.message);
    }
    out->data[room] = 0;
    out->size = room;
    return GQ_OK;
}

gq_status gq_png_write(const char *path, const uint8_t *pixels, uint32_t width, uint32_t height,
                       uint32_t channels, gq_error *err)
{
    gq_bytes  bytes;
    gq_status status = gq_png_encode(pixels, width, height, channels, &bytes, err);
    if (status)
        return gq_context(err, "%s", path);
    status = gq_write_file(path, bytes.data, bytes.size, err);
    gq_bytes_free(&bytes);
    return status;
}
