/* Files that want to hurt: bombs, cuts at every byte, mutations, lost memory. Run under sanitizers
 * these tests say more than their assertions: no access outside, no leak, no hang. */
#include "support.h"

#include "core/io.h"
#include "core/mem.h"
#include "data/gif.h"
#include "data/gifwrite.h"
#include "gif_maker.h"

static const uint8_t colors[4][3] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 255}};

/* A file with all that the decoder has a branch for: disposals, interlace, local palette, frames
 * beyond the screen. */
static made small_file(void)
{
    made m = made_screen(6, 5, 1, colors, 4);
    made_bytes(&m, "!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0", 19);
    m.delay = 5;
    made_image(&m, &(made_frame){ 0, 0, 6, 5, 1, -1, 0, "rrrrrrggggggbbbbbbwwwwwwrgbwrg" }, 2);
    made_image(&m, &(made_frame){ 1, 1, 3, 3, 3, 3, 0, "wgwgbgwgw" }, 2);
    made_bytes(&m, "!\xfe\x05hello\0", 9);
    made_local_palette(&m, colors, 2);
    made_image(&m, &(made_frame){ 4, 0, 4, 9, 2, 0, 1, "rgrggrgrrgrggrgrrgrggrgrrgrggrgrrgrg" }, 2);
    made_image(&m, &(made_frame){ 0, 4, 6, 1, 0, -1, 0, "bbbbbb" }, 2);
    made_end(&m);
    return m;
}

typedef struct outcome {
    gq_status status;
    uint32_t  frames;
    unsigned  flags;
    uint32_t  width, height;
    bool      complete[16];             /* of the first frames                                    */
    uint8_t   pixels[16][6 * 5 * 4];    /* of the first frames, if the screen is 6x5              */
} outcome;

/* Decodes everything; checks what must hold for any bytes whatever. */
static outcome decode(const uint8_t *data, size_t size)
{
    outcome        o = { 0 };
    gq_gif        *gif = NULL;
    gq_error       err = { 0 };
    const uint8_t *rgba;
    gq_gif_frame   info;
    gq_gif_limits  limits = gq_gif_limits_default();
    uint8_t       *exact = gq_malloc(size, 1);        /* so that reading one byte too far is seen */
    memcpy(exact, data, size);
    limits.max_side = 512;            /* keeps mutated screens small enough for thousands of runs */
    limits.max_pixels_total = 1 << 20;
    o.status = gq_gif_open(exact, size, "hostile", &limits, &gif, &err);
    while (!o.status && !(o.status = gq_gif_next(gif, &rgba, &info, &err)) && rgba) {
        o.width = gq_gif_width(gif);
        o.height = gq_gif_height(gif);
        if (o.frames < 16 && o.width == 6 && o.height == 5) {
            o.complete[o.frames] = info.complete;
            memcpy(o.pixels[o.frames], rgba, 6 * 5 * 4);
        }
        assert_int_equal(info.index, o.frames);
        o.frames++;
        for (size_t i = 0; i < (size_t)o.width * o.height; i++)
            if (rgba[4 * i + 3] != 255 &&
                (rgba[4 * i] | rgba[4 * i + 1] | rgba[4 * i + 2] | rgba[4 * i + 3]))
                fail_msg("a pixel is neither opaque nor all zero");
    }
    if (o.status) {
        if (o.status != GQ_EINPUT || !strstr(err.text, "hostile") || strlen(err.text) < 20)
            fail_msg("status %d: '%s'", (int)o.status, err.text);
        if (gif) {
            gq_error again = { 0 };
            assert_int_equal(gq_gif_next(gif, &rgba, &info, &again), o.status);
            assert_string_equal(again.text, err.text);
        }
    } else {
        gq_gif_summary sum;
        o.flags = gq_gif_flags(gif);
        assert_true(o.frames > 0);
        assert_ok(gq_gif_count(exact, size, "hostile", &limits, &sum, &err), &err);
        assert_int_equal(sum.frames, o.frames);
        assert_int_equal(sum.loop, gq_gif_loop(gif));
    }
    gq_gif_close(gif);
    gq_free(exact);
    return o;
}

static void cuts_keep_the_finished_frames(void **state)
{
    (void)state;
    made     m = small_file();
    outcome  whole = decode(m.data, m.size);
    uint32_t frames = 0;
    assert_int_equal(whole.status, GQ_OK);
    assert_int_equal(whole.frames, 4);
    assert_int_equal(whole.flags, 0);
    for (size_t n = 0; n < m.size; n++) {
        outcome o = decode(m.data, n);
        assert_true(o.frames >= frames);                    /* more bytes never give fewer frames */
        frames = o.frames;
        if (o.status) {
            assert_int_equal(o.frames, 0);
            continue;
        }
        assert_int_equal(o.flags, GQ_GIF_TRUNCATED);
        for (uint32_t f = 0; f < o.frames; f++)
            if (o.complete[f])
                assert_memory_equal(o.pixels[f], whole.pixels[f], sizeof o.pixels[f]);
            else
                assert_int_equal(f, 0);
        if (!o.complete[0])
            assert_int_equal(o.frames, 1);
    }
    assert_int_equal(frames, 4);
}

static uint32_t next_random(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*s >> 33);
}

/* Flips, sets, removes, repeats or inserts bytes in place; returns the new size (room for 64 more
 * is there). */
static size_t mutate(uint8_t *data, size_t size, uint64_t *seed)
{
    for (uint32_t times = 1 + next_random(seed) % 4; times; times--) {
        size_t at = next_random(seed) % size, n = 1 + next_random(seed) % 8;
        if (n > size - at)
            n = size - at;
        switch (next_random(seed) % 5) {
        case 0:
            data[at] ^= (uint8_t)(1u << next_random(seed) % 8);
            break;
        case 1:
            data[at] = (uint8_t)next_random(seed);
            break;
        case 2:
            data[at] = next_random(seed) % 2 ? 255 : 0;
            break;
        case 3:
            if (size > n + 8) {
                memmove(data + at, data + at + n, size - at - n);
                size -= n;
            }
            break;
        default:
            memmove(data + at + n, data + at, size - at);
            size += n;
        }
    }
    return size;
}

static void mutations_of(const uint8_t *data, size_t size, unsigned runs, uint64_t seed)
{
    uint8_t *copy = gq_malloc(size + 64, 1);
    unsigned shown = 0;
    for (unsigned i = 0; i < runs; i++) {
        memcpy(copy, data, size);
        shown += decode(copy, mutate(copy, size, &seed)).status == GQ_OK;
    }
    assert_in_range(shown, runs / 20, runs - 1);             /* both ends of the road were taken  */
    gq_free(copy);
}

static void mutations_end_well(void **state)
{
    (void)state;
    made     m = small_file();
    gq_bytes bytes;
    gq_error err = { 0 };
    uint8_t  frames[3 * 20 * 30];
    uint64_t seed = 7;
    for (size_t i = 0; i < sizeof frames; i++)
        frames[i] = i % 3 ? frames[i - 1] : (uint8_t)(next_random(&seed) % 4);
    gq_gif_anim anim = { 20, 30, 3, frames, 4, colors, 10 };
    assert_ok(gq_gif_encode(&anim, &bytes, &err), &err);
    mutations_of(m.data, m.size, 4000, 1);
    mutations_of(bytes.data, bytes.size, 2000, 2);
    gq_bytes_free(&bytes);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void a_huge_screen_allocates_nothing(void **state)
{
    (void)state;
    static const uint8_t bomb[35] =
        "GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0"
        "\x02\x01\x44\0;";
    gq_gif        *gif;
    gq_gif_summary sum;
    gq_error       err = { 0 };
    uint64_t       before = gq_mem_count();
    assert_fails(gq_gif_open(bomb, sizeof bomb, "bomb", NULL, &gif, &err), GQ_EINPUT, &err,
                 "data.limits.side");
    assert_non_null(strstr(err.text, "bomb: the screen has 65535x65535 pixels"));
    assert_null(gif);
    assert_true(gq_mem_count() - before <= 2);               /* the reader and its name           */
    assert_fails(gq_gif_count(bomb, sizeof bomb, "bomb", NULL, &sum, &err), GQ_EINPUT, &err,
                 "data.limits.side");
}

static void a_huge_frame_on_a_small_screen(void **state)
{
    (void)state;
    gq_gif        *gif;
    gq_error       err = { 0 };
    const uint8_t *rgba;
    gq_gif_frame   info;
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        made m = made_screen(2, 2, 0, colors, 4);
        made_bytes(&m, ",\0\0\0\0\xff\xff\xff\xff", 9);
        made_bytes(&m, interlaced ? "\x40" : "", 1);
        made_bytes(&m, "\x02\x02\x44\x01\0;", 6);            /* one pixel of it                   */
        assert_ok(gq_gif_open(m.data, m.size, "huge", NULL, &gif, &err), &err);
        if (interlaced) {
            assert_fails(gq_gif_next(gif, &rgba, &info, &err), GQ_EINPUT, &err,
                         "frame 0 has 65535x65535 pixels");
            assert_non_null(strstr(err.text, "data.limits.side"));
        } else {                        /* only the two rows that can be seen are decoded         */
            assert_ok(gq_gif_next(gif, &rgba, &info, &err), &err);
            assert_non_null(rgba);
            assert_false(info.complete);
        }
        gq_gif_close(gif);
    }
}

/* `count` frames of one pixel on a screen of one. */
static uint8_t *many_frames(uint32_t count, size_t *size)
{
    made m = made_screen(1, 1, 0, colors, 4);
    made f = { .control = false };
    made_image(&f, &(made_frame){ 0, 0, 1, 1, 0, -1, 0, "g" }, 2);
    uint8_t *data = gq_malloc(m.size + count * f.size + 1, 1);
    memcpy(data, m.data, m.size);
    for (uint32_t i = 0; i < count; i++)
        memcpy(data + m.size + i * f.size, f.data, f.size);
    *size = m.size + count * f.size + 1;
    data[*size - 1] = ';';
    return data;
}

static void too_many_frames_stop_with_a_note(void **state)
{
    (void)state;
    size_t         size;
    uint8_t       *data = many_frames(200000, &size);
    gq_gif        *gif;
    gq_gif_summary sum;
    gq_error       err = { 0 };
    const uint8_t *rgba;
    gq_gif_frame   info;
    uint32_t       frames = 0;
    assert_ok(gq_gif_count(data, size, "many", NULL, &sum, &err), &err);
    assert_int_equal(sum.frames, 4096);
    assert_int_equal(sum.flags, GQ_GIF_FRAME_LIMIT);
    assert_ok(gq_gif_open(data, size, "many", NULL, &gif, &err), &err);
    for (;;) {
        assert_ok(gq_gif_next(gif, &rgba, &info, &err), &err);
        if (!rgba)
            break;
        frames++;
    }
    assert_int_equal(frames, 4096);
    assert_int_equal(gq_gif_flags(gif), GQ_GIF_FRAME_LIMIT);
    gq_gif_close(gif);
    gq_free(data);
    data = many_frames(4096, &size);                       /* exactly as many as allowed: no note */
    assert_ok(gq_gif_count(data, size, "many", NULL, &sum, &err), &err);
    assert_int_equal(sum.frames, 4096);
    assert_int_equal(sum.flags, 0);
    gq_free(data);
}

static gq_status drain(const uint8_t *data, size_t size, const gq_gif_limits *limits,
                       uint32_t *frames, gq_error *err)
{
    gq_gif        *gif;
    const uint8_t *rgba;
    gq_gif_frame   info;
    gq_status      status = gq_gif_open(data, size, "limited", limits, &gif, err);
    *frames = 0;
    while (!status && !(status = gq_gif_next(gif, &rgba, &info, err)) && rgba)
        ++*frames;
    gq_gif_close(gif);
    return status;
}

static void every_limit_names_its_key(void **state)
{
    (void)state;
    made          m = small_file();
    gq_error      err = { 0 };
    uint32_t      frames;
    gq_gif_limits limits = gq_gif_limits_default();
    limits.max_bytes = m.size - 1;
    assert_fails(drain(m.data, m.size, &limits, &frames, &err), GQ_EINPUT, &err,
                 "data.limits.bytes");
    limits.max_bytes = m.size;
    limits.max_side = 5;
    assert_fails(drain(m.data, m.size, &limits, &frames, &err), GQ_EINPUT, &err,
                 "data.limits.side");
    limits.max_side = 6;
    limits.max_pixels_total = 30 + 9;
    assert_fails(drain(m.data, m.size, &limits, &frames, &err), GQ_EINPUT, &err,
                 "data.limits.pixels");
    assert_int_equal(frames, 2);
    limits.max_pixels_total = 30 + 9 + 36 + 6;
    limits.max_seconds = 1e-9;
    assert_fails(drain(m.data, m.size, &limits, &frames, &err), GQ_EINPUT, &err,
                 "data.limits.seconds");
    limits.max_seconds = 0;
    limits.max_frames = 4;
    assert_ok(drain(m.data, m.size, &limits, &frames, &err), &err);
    assert_int_equal(frames, 4);
}

static void files_without_a_frame_are_errors(void **state)
{
    (void)state;
    uint32_t frames;
    gq_error err = { 0 };
    assert_fails(drain((const uint8_t *)"", 0, NULL, &frames, &err), GQ_EINPUT, &err, "not a GIF");
    assert_fails(drain((const uint8_t *)"\x89PNG\r\n\x1a\n", 8, NULL, &frames, &err), GQ_EINPUT,
                 &err, "not a GIF");
    assert_fails(drain((const uint8_t *)"GIF89a\1\0", 8, NULL, &frames, &err), GQ_EINPUT, &err,
                 "header");
    made m = made_screen(0, 3, 0, colors, 2);
    assert_fails(drain(m.data, m.size, NULL, &frames, &err), GQ_EINPUT, &err, "0x3");
    m = made_screen(2, 2, 0, colors, 2);
    assert_fails(drain(m.data, m.size, NULL, &frames, &err), GQ_EINPUT, &err, "cut off");
    made_end(&m);
    assert_fails(drain(m.data, m.size, NULL, &frames, &err), GQ_EINPUT, &err, "has no image");
    m.size--;
    made_bytes(&m, "?!", 2);
    assert_fails(drain(m.data, m.size, NULL, &frames, &err), GQ_EINPUT, &err, "is not one");
    m.size -= 2;
    made_bytes(&m, ",\0\0\0\0\2\0\2\0\0\x09\x01\x44\0;", 15);             /* codes of ten bits    */
    assert_fails(drain(m.data, m.size, NULL, &frames, &err), GQ_EINPUT, &err, "is not one");
    m.size -= 5;
    made_bytes(&m, "\x02\x01\x37\0;", 5);                              /* a code without a string */
    assert_fails(drain(m.data, m.size, NULL, &frames, &err), GQ_EINPUT, &err,
                 "invalid from the start");
}

static void lost_memory_is_an_error(void **state)
{
    (void)state;
    made     m = small_file();
    uint32_t frames;
    for (uint64_t n = 1;; n++) {
        gq_error err = { 0 };
        gq_mem_fail_at(n, false);
        gq_status status = drain(m.data, m.size, NULL, &frames, &err);
        gq_mem_fail_at(0, false);
        if (!status) {
            assert_true(n > 4);
            break;
        }
        assert_int_equal(status, GQ_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_keep_the_finished_frames),
        cmocka_unit_test(mutations_end_well),
        cmocka_unit_test(a_huge_screen_allocates_nothing),
        cmocka_unit_test(a_huge_frame_on_a_small_screen),
        cmocka_unit_test(too_many_frames_stop_with_a_note),
        cmocka_unit_test(every_limit_names_its_key),
        cmocka_unit_test(files_without_a_frame_are_errors),
        cmocka_unit_test(lost_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
