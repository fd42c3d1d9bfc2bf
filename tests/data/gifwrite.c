/* Animations written by gifwrite.c read back exactly: by giflib's own whole-file reader and by our
 * decoder. */
#include "support.h"

#include <gif_lib.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/gif.h"
#include "data/gifwrite.h"

typedef struct clip {
    gq_gif_anim anim;
    uint8_t    *frames;
    uint8_t     palette[256][3];
} clip;

static void make_clip(clip *c, uint32_t w, uint32_t h, uint32_t n, uint32_t colors, uint32_t delay,
                      uint64_t seed)
{
    size_t total = (size_t)w * h * n;
    c->frames = gq_malloc(total, 1);
    uint64_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < total; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        /* runs of eight on half of the rows: both short and long LZW strings occur */
        c->frames[i] = (i / w) % 2 && i % 8 ? c->frames[i - 1] : (uint8_t)((state >> 40) % colors);
    }
    for (uint32_t k = 0; k < colors; k++)
        for (int j = 0; j < 3; j++)
            c->palette[k][j] = (uint8_t)(k * (uint32_t)(7 + 31 * j) + (uint32_t)j);
    c->anim = (gq_gif_anim){ w, h, n, c->frames, colors, (const uint8_t(*)[3])c->palette, delay };
}

static void check_with_decoder(const clip *c, const gq_bytes *bytes)
{
    gq_error       err = { 0 };
    gq_gif        *gif;
    const uint8_t *rgba;
    gq_gif_frame   info;
    assert_ok(gq_gif_open(bytes->data, bytes->size, "clip", NULL, &gif, &err), &err);
    for (uint32_t f = 0; f < c->anim.nframes; f++) {
        assert_ok(gq_gif_next(gif, &rgba, &info, &err), &err);
        assert_non_null(rgba);
        assert_int_equal(info.index, f);
        assert_int_equal(info.delay_cs, c->anim.delay_cs);
        size_t n = (size_t)c->anim.width * c->anim.height;
        for (size_t i = 0; i < n; i++) {
            const uint8_t *want = c->palette[c->frames[f * n + i]];
            if (memcmp(rgba + 4 * i, want, 3) || rgba[4 * i + 3] != 255)
                fail_msg("frame %u pixel %zu differs", f, i);
        }
    }
    assert_ok(gq_gif_next(gif, &rgba, &info, &err), &err);
    assert_null(rgba);
    assert_int_equal(gq_gif_flags(gif), 0);
    assert_int_equal(gq_gif_loop(gif), 0);
    gq_gif_close(gif);
}

typedef struct cursor { const uint8_t *at, *end; } cursor;

static int cursor_read(GifFileType *gif, GifByteType *out, int count)
{
    cursor *c = gif->UserData;
    int     n = c->end - c->at < count ? (int)(c->end - c->at) : count;
    memcpy(out, c->at, (size_t)n);
    c->at += n;
    return n;
}

static void check_with_giflib(const clip *c, const gq_bytes *bytes)
{
    cursor       at = { bytes->data, bytes->data + bytes->size };
    GifFileType *gif = DGifOpen(&at, cursor_read, NULL);
    assert_non_null(gif);
    assert_int_equal(DGifSlurp(gif), GIF_OK);
    assert_int_equal(gif->ImageCount, c->anim.nframes);
    size_t n = (size_t)c->anim.width * c->anim.height;
    for (uint32_t f = 0; f < c->anim.nframes; f++)
        assert_memory_equal(gif->SavedImages[f].RasterBits, c->frames + f * n, n);
    for (uint32_t k = 0; k < c->anim.ncolors; k++)
        assert_memory_equal(&gif->SColorMap->Colors[k], c->palette[k], 3);
    DGifCloseFile(gif, NULL);
}

static void round_trips(void **state)
{
    (void)state;
    static const struct { uint32_t w, h, n, colors, delay; } cases[] = {
        {1, 1, 1, 1, 0},   {2, 3, 4, 2, 5},     {12, 12, 16, 21, 10}, {7, 1, 3, 3, 65535},
        {1, 9, 2, 256, 1}, {97, 61, 5, 255, 7}, {300, 40, 2, 17, 4},  {96, 96, 12, 4, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clip     c;
        gq_bytes bytes, again;
        gq_error err = { 0 };
        make_clip(&c, cases[i].w, cases[i].h, cases[i].n, cases[i].colors, cases[i].delay, i);
        assert_ok(gq_gif_encode(&c.anim, &bytes, &err), &err);
        check_with_giflib(&c, &bytes);
        check_with_decoder(&c, &bytes);
        assert_ok(gq_gif_encode(&c.anim, &again, &err), &err);
        assert_int_equal(bytes.size, again.size);
        assert_memory_equal(bytes.data, again.data, bytes.size);
        gq_bytes_free(&bytes);
        gq_bytes_free(&again);
        gq_free(c.frames);
    }
}

static void written_file_is_the_encoded_bytes(void **state)
{
    (void)state;
    clip        c;
    gq_bytes    want, got;
    gq_error    err = { 0 };
    char        path[128];
    const char *dir = gq_scratch();
    make_clip(&c, 12, 12, 8, 9, 10, 99);
    snprintf(path, sizeof path, "%s/clip.gif", dir);
    assert_ok(gq_gif_write(path, 12, 12, c.frames, 8, (const uint8_t(*)[3])c.palette, 9, 10, &err),
              &err);
    assert_ok(gq_gif_encode(&c.anim, &want, &err), &err);
    assert_ok(gq_read_file(path, 1 << 20, &got, &err), &err);
    assert_int_equal(want.size, got.size);
    assert_memory_equal(want.data, got.data, want.size);
    gq_bytes_free(&want);
    gq_bytes_free(&got);
    assert_fails(gq_gif_write("/nonexistent-dir/x.gif", 12, 12, c.frames, 8,
                              (const uint8_t(*)[3])c.palette, 9, 10, &err),
                 err.code, &err, "/nonexistent-dir");
    assert_true(err.code != GQ_OK);
    assert_ok(gq_remove_tree(dir, &err), &err);
    gq_free(c.frames);
}

static void wrong_input_is_refused(void **state)
{
    (void)state;
    static const uint8_t pixels[4] = { 0, 1, 2, 1 };
    static const uint8_t palette[3][3] = { { 0 }, { 1 }, { 2 } };
    gq_gif_anim          good = { 2, 2, 1, pixels, 3, palette, 4 };
    gq_bytes             out;
    gq_error             err = { 0 };
    gq_gif_anim          a = good;
    a.ncolors = 2;
    assert_fails(gq_gif_encode(&a, &out, &err), GQ_EUSAGE, &err, "frame 0 uses colour 2");
    a = good;
    a.ncolors = 257;
    assert_fails(gq_gif_encode(&a, &out, &err), GQ_EUSAGE, &err, "257");
    a = good;
    a.width = 0;
    assert_fails(gq_gif_encode(&a, &out, &err), GQ_EUSAGE, &err, "0x2");
    a = good;
    a.height = 65536;
    assert_fails(gq_gif_encode(&a, &out, &err), GQ_EUSAGE, &err, "2x65536");
    a = good;
    a.nframes = 0;
    assert_fails(gq_gif_encode(&a, &out, &err), GQ_EUSAGE, &err, "at least one frame");
    a = good;
    a.delay_cs = 65536;
    assert_fails(gq_gif_encode(&a, &out, &err), GQ_EUSAGE, &err, "65536");
}

static void lost_memory_is_an_error(void **state)
{
    (void)state;
    clip c;
    make_clip(&c, 40, 40, 6, 200, 3, 5);
    for (uint64_t n = 1;; n++) {
        gq_bytes out;
        gq_error err = { 0 };
        gq_mem_fail_at(n, false);
        gq_status status = gq_gif_encode(&c.anim, &out, &err);
        gq_mem_fail_at(0, false);
        if (!status) {
            gq_bytes_free(&out);
            assert_true(n > 2);
            break;
        }
        assert_int_equal(status, GQ_ENOMEM);
        assert_null(out.data);
    }
    gq_free(c.frames);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(written_file_is_the_encoded_bytes),
        cmocka_unit_test(wrong_input_is_refused),
        cmocka_unit_test(lost_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
