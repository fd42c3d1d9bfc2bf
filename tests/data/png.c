/* PNGs written by png.c read back with libpng's own reader, byte for byte. */
#include "support.h"

#include <png.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/png.h"

static void fill(uint8_t *pixels, size_t n)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        pixels[i] = (uint8_t)(state >> 24);
    }
}

static void pixels_come_back(void **state)
{
    (void)state;
    static const uint32_t sizes[][2] = {{1, 1}, {3, 2}, {17, 31}, {224, 224}, {1, 300}, {300, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (uint32_t channels = 3; channels <= 4; channels++) {
            size_t    n = (size_t)sizes[i][0] * sizes[i][1] * channels;
            uint8_t  *pixels = gq_malloc(n, 1), *back = gq_malloc(n, 1);
            gq_bytes  bytes;
            gq_error  err = { 0 };
            png_image image = { .version = PNG_IMAGE_VERSION };
            fill(pixels, n);
            assert_ok(gq_png_encode(pixels, sizes[i][0], sizes[i][1], channels, &bytes, &err),
                      &err);
            assert_true(png_image_begin_read_from_memory(&image, bytes.data, bytes.size));
            assert_int_equal(image.width, sizes[i][0]);
            assert_int_equal(image.height, sizes[i][1]);
            assert_int_equal(image.format, channels == 4 ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB);
            assert_true(png_image_finish_read(&image, NULL, back, 0, NULL));
            assert_memory_equal(pixels, back, n);
            gq_bytes_free(&bytes);
            gq_free(pixels);
            gq_free(back);
        }
}

static void file_holds_the_encoded_bytes(void **state)
{
    (void)state;
    uint8_t     pixels[5 * 4 * 3];
    gq_bytes    want, got;
    gq_error    err = { 0 };
    char        path[128];
    const char *dir = gq_scratch();
    fill(pixels, sizeof pixels);
    snprintf(path, sizeof path, "%s/picture.png", dir);
    assert_ok(gq_png_write(path, pixels, 5, 4, 3, &err), &err);
    assert_ok(gq_png_encode(pixels, 5, 4, 3, &want, &err), &err);
    assert_ok(gq_read_file(path, 1 << 20, &got, &err), &err);
    assert_int_equal(want.size, got.size);
    assert_memory_equal(want.data, got.data, want.size);
    gq_bytes_free(&want);
    gq_bytes_free(&got);
    assert_ok(gq_remove_tree(dir, &err), &err);
    assert_true(gq_png_write("/nonexistent-dir/x.png", pixels, 5, 4, 3, &err) != GQ_OK);
    assert_non_null(strstr(err.text, "/nonexistent-dir"));
}

static void wrong_input_and_lost_memory_are_errors(void **state)
{
    (void)state;
    uint8_t  pixels[16] = { 0 };
    gq_bytes out;
    gq_error err = { 0 };
    assert_fails(gq_png_encode(pixels, 2, 2, 2, &out, &err), GQ_EUSAGE, &err, "not 2");
    assert_fails(gq_png_encode(pixels, 0, 2, 3, &out, &err), GQ_EUSAGE, &err, "0x2");
    assert_fails(gq_png_encode(pixels, 2, 65536, 3, &out, &err), GQ_EUSAGE, &err, "2x65536");
    gq_mem_fail_at(1, false);
    gq_error_clear(&err);
    assert_int_equal(gq_png_encode(pixels, 2, 2, 3, &out, &err), GQ_ENOMEM);
    gq_mem_fail_at(0, false);
    assert_null(out.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_come_back),
        cmocka_unit_test(file_holds_the_encoded_bytes),
        cmocka_unit_test(wrong_input_and_lost_memory_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
