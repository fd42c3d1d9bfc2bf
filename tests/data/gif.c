/* The decoder against truth tables that three other decoders agree on, and every rule of
 * composition on hand-made files. Hostile files are in gif_hostile.c. */
#include "support.h"

#include "core/io.h"
#include "core/mem.h"
#include "data/gif.h"
#include "gif_maker.h"

/* ---- truth tables ---------------------------------------------------------------------------- */

typedef struct truth {
    unsigned x, y, w, h, disposal, interlaced, local;
    int      transparent, delay;
    char     rgba0[65], on_black[65], agree[8];
} truth;

static size_t read_truth(const char *path, truth *rows, size_t room)
{
    FILE  *file = fopen(path, "r");
    char   line[1024];
    size_t n = 0;
    if (!file)
        return 0;
    while (n < room && fgets(line, sizeof line, file)) {
        truth *t = &rows[n];
        if (line[0] == '#')
            continue;
        int got = sscanf(line, "%*u %u %u %u %u %u %d %u %u %d %*u %*s %64s %64s %*s %7s", &t->x,
                         &t->y, &t->w, &t->h, &t->disposal, &t->transparent, &t->interlaced,
                         &t->local, &t->delay, t->rgba0, t->on_black, t->agree);
        if (got != 12)
            fail_msg("%s: line %zu does not parse (%d)", path, n + 1, got);
        n++;
    }
    fclose(file);
    return n;
}

static void hash(const void *data, size_t bytes, char out[65])
{
    uint8_t digest[32];
    gq_sha256(data, bytes, digest);
    gq_hex(digest, 32, out);
}

typedef struct tally { unsigned files, frames, compared, wrong, errors; } tally;

/* Decodes one file and compares all frames whose truth has at least `letters` decoders behind
 * it. */
static void compare_file(const char *path, const truth *rows, size_t nrows, size_t letters,
                         tally *sum)
{
    gq_bytes       bytes;
    gq_error       err = { 0 };
    gq_gif        *gif = NULL;
    const uint8_t *rgba;
    gq_gif_frame   info;
    gq_gif_limits  limits = gq_gif_limits_default();
    limits.max_seconds = 0;             /* sanitizers are slow                                    */
    assert_ok(gq_read_file(path, 64 << 20, &bytes, &err), &err);
    gq_status status = gq_gif_open(bytes.data, bytes.size, path, &limits, &gif, &err);
    uint32_t  frames = 0;
    sum->files++;
    while (!status && !(status = gq_gif_next(gif, &rgba, &info, &err)) && rgba) {
        size_t pixels = (size_t)gq_gif_width(gif) * gq_gif_height(gif);
        frames++;
        if (frames > nrows || strlen(rows[frames - 1].agree) < letters)
            continue;
        const truth *t = &rows[frames - 1];
        char         got[65];
        hash(rgba, pixels * 4, got);
        sum->compared++;
        if (strcmp(got, t->rgba0)) {
            print_message("%s frame %u: %s, want %s (%s)\n", path, frames - 1, got, t->rgba0,
                          t->agree);
            sum->wrong++;
        }
        if (info.x != t->x || info.y != t->y || info.w != t->w || info.h != t->h ||
            info.disposal != t->disposal || info.transparent != t->transparent ||
            info.interlaced != t->interlaced || info.local_colors != t->local ||
            info.delay_cs != t->delay)
            fail_msg("%s frame %u: its description differs from the truth", path, frames - 1);
    }
    sum->frames += frames;
    if (status) {
        assert_int_equal(status, GQ_EINPUT);
        assert_non_null(strstr(err.text, path));
        sum->errors++;
    } else {
        gq_gif_summary count;
        assert_ok(gq_gif_count(bytes.data, bytes.size, path, &limits, &count, &err), &err);
        if (count.frames != frames)
            fail_msg("%s: %u frames counted, %u decoded", path, count.frames, frames);
        assert_int_equal(count.loop, gq_gif_loop(gif));
    }
    gq_gif_close(gif);
    gq_bytes_free(&bytes);
}

static tally compare_folder(const char *gifs, const char *truths, const char *prefix,
                            size_t letters)
{
    static truth rows[4096];
    char       **names;
    size_t       count;
    gq_error     err = { 0 };
    tally        sum = { 0 };
    assert_ok(gq_list_dir(gifs, &names, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        char   path[1400], table[1400];
        size_t len = strlen(names[i]);
        if (len > 4 && !strcmp(names[i] + len - 4, ".gif")) {
            snprintf(path, sizeof path, "%s/%s", gifs, names[i]);
            snprintf(table, sizeof table, "%s/%s%s.tsv", truths, prefix, names[i]);
            compare_file(path, rows, read_truth(table, rows, 4096), letters, &sum);
        }
        gq_free(names[i]);
    }
    gq_free(names);
    print_message("%s: %u files, %u frames, %u compared, %u errors\n", gifs, sum.files, sum.frames,
                  sum.compared, sum.errors);
    return sum;
}

static void good_files_have_every_frame_of_the_truth(void **state)
{
    (void)state;
    const char *gifs = need_shared("data/gif/good");
    const char *truths = need_shared("data/gif/truth/good");
    tally       sum = compare_folder(gifs, truths, "", 0);
    assert_true(sum.files > 0);
    assert_int_equal(sum.errors, 0);
    assert_int_equal(sum.wrong, 0);
    assert_int_equal(sum.compared, sum.frames);
}

static void odd_files_agree_or_end_in_an_error(void **state)
{
    (void)state;
    const char *gifs = need_shared("data/gif/odd");
    const char *truths = need_shared("data/gif/truth/odd");
    tally       sum = compare_folder(gifs, truths, "", 2);
    assert_int_equal(sum.wrong, 0);
    assert_true(sum.compared > 0);
    sum = compare_folder(need_shared("data/gif/odd/pygif"), truths, "pygif__", 2);
    assert_int_equal(sum.wrong, 0);
    assert_true(sum.compared > 0);
}

/* ---- rules of composition -------------------------------------------------------------------- */

static const uint8_t colors[8][3] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 255},
                                     {1, 2, 3},   {4, 5, 6},   {7, 8, 9},   {10, 11, 12}};

/* A canvas as text: r g b w for the first four colours, digits for the others, '.' for
 * transparent. */
static void read_canvas(const uint8_t *rgba, size_t pixels, char *text)
{
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *p = rgba + 4 * i;
        text[i] = '?';
        if (p[3] == 0 && !p[0] && !p[1] && !p[2])
            text[i] = '.';
        for (int k = 0; k < 8; k++)
            if (p[3] == 255 && !memcmp(p, colors[k], 3))
                text[i] = "rgbw4567"[k];
    }
    text[pixels] = 0;
}

typedef struct scene {
    const char *what;
    uint32_t    w, h;                   /* screen                                                 */
    uint8_t     background;             /* palette index                                          */
    made_frame  frames[4];              /* w = 0 ends the list                                    */
    const char *canvas[4];
} scene;

static const scene scenes[] = {
    {"frames without disposal stay", 3, 2, 0,
     {{0, 0, 3, 2, 0, 7, 0, "rrrrrr"}, {1, 0, 2, 1, 1, 7, 0, "gb"}, {0, 1, 1, 1, 4, 7, 0, "w"}},
     {"rrrrrr", "rgbrrr", "rgbwrr"}},
    {"disposal 2 clears only the frame's rectangle", 3, 2, 3,
     {{0, 0, 3, 2, 1, 7, 0, "rrrrrr"}, {1, 0, 1, 2, 2, 7, 0, "gg"}, {0, 0, 1, 1, 0, 7, 0, "b"}},
     {"rrrrrr", "rgrrgr", "b.rr.r"}},
    {"disposal 3 restores", 3, 2, 0,
     {{0, 0, 3, 2, 1, 7, 0, "rrrbbb"},
      {1, 0, 2, 2, 3, 7, 0, "gggg"},
      {0, 1, 1, 1, 3, 7, 0, "w"},
      {2, 0, 1, 1, 0, 7, 0, "w"}},
     {"rrrbbb", "rggbgg", "rrrwbb", "rrwbbb"}},
    {"disposal 3 on the first frame restores nothing", 2, 1, 0,
     {{0, 0, 2, 1, 3, 7, 0, "rr"}, {1, 0, 1, 1, 0, 7, 0, "g"}},
     {"rr", ".g"}},
    {"a transparent index leaves what is there", 3, 1, 0,
     {{0, 0, 3, 1, 0, 0, 0, "gbr"}, {0, 0, 3, 1, 0, 1, 0, "grr"}},
     {"gb.", "grr"}},
    {"parts beyond the screen are cut off", 2, 2, 0,
     {{0, 0, 2, 2, 0, 7, 0, "rrrr"},
      {1, 1, 3, 2, 2, 7, 0, "gbwbbb"},
      {5, 0, 1, 1, 0, 7, 0, "w"},
      {0, 5, 2, 1, 3, 7, 0, "ww"}},
     {"rrrr", "rrrg", "rrr.", "rrr."}},
    {"frames wider than the screen keep their rows apart", 2, 2, 0,
     {{0, 0, 3, 2, 0, 7, 0, "rgbbgr"}},
     {"rgbg"}},
    {"an opaque first frame lies on the background colour", 3, 1, 1,
     {{1, 0, 1, 1, 2, -1, 0, "r"}, {2, 0, 1, 1, 0, 7, 0, "b"}},
     {"grg", "ggb"}},
    {"a first frame with a transparent index lies on nothing", 3, 1, 1,
     {{1, 0, 1, 1, 2, 7, 0, "r"}, {2, 0, 1, 1, 0, 7, 0, "b"}},
     {".r.", "..b"}},
    {"interlaced rows", 1, 11, 0, {{0, 0, 1, 11, 0, 7, 1, "rgbw4561rgb"}}, {"rgbw456grgb"}},
    {"an interlaced frame cut off by the screen", 2, 3, 0,
     {{1, 0, 2, 6, 0, 7, 1, "rgbw456rgbw4"}},
     {".r.b.4"}},
};

static void composition_follows_its_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        const scene   *s = &scenes[i];
        made           m = made_screen(s->w, s->h, s->background, colors, 8);
        gq_gif        *gif;
        gq_error       err = { 0 };
        const uint8_t *rgba;
        gq_gif_frame   info;
        size_t         n = 0;
        char           got[64];
        while (n < 4 && s->frames[n].w)
            made_image(&m, &s->frames[n++], 3);
        made_end(&m);
        assert_ok(gq_gif_open(m.data, m.size, s->what, NULL, &gif, &err), &err);
        for (size_t f = 0; f < n; f++) {
            assert_ok(gq_gif_next(gif, &rgba, &info, &err), &err);
            assert_non_null(rgba);
            read_canvas(rgba, (size_t)s->w * s->h, got);
            if (strcmp(got, s->canvas[f]))
                fail_msg("%s, frame %zu: %s, want %s", s->what, f, got, s->canvas[f]);
        }
        assert_ok(gq_gif_next(gif, &rgba, &info, &err), &err);
        assert_null(rgba);
        assert_int_equal(gq_gif_flags(gif), 0);
        gq_gif_close(gif);
    }
}

static const uint8_t *only_canvas(gq_gif **gif, const made *m, unsigned flags)
{
    gq_error       err = { 0 };
    gq_gif_frame   info;
    const uint8_t *rgba, *none;
    static uint8_t copy[64];
    assert_ok(gq_gif_open(m->data, m->size, "made", NULL, gif, &err), &err);
    assert_ok(gq_gif_next(*gif, &rgba, &info, &err), &err);
    assert_non_null(rgba);
    memcpy(copy, rgba, (size_t)gq_gif_width(*gif) * gq_gif_height(*gif) * 4);
    assert_ok(gq_gif_next(*gif, &none, &info, &err), &err);
    assert_null(none);
    assert_int_equal(gq_gif_flags(*gif), flags);
    return copy;
}

static void palettes(void **state)
{
    (void)state;
    static const uint8_t grey[12] = { 0, 0, 0, 255, 1, 1, 1, 255, 2, 2, 2, 255 };
    static const uint8_t global[12] = { 255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 0, 0 };
    static const uint8_t local[12] = { 1, 2, 3, 255, 4, 5, 6, 255, 7, 8, 9, 255 };
    const made_frame     rgb = { 0, 0, 3, 1, 0, 7, 0, "rgb" };
    gq_gif              *gif;
    made                 m = made_screen(3, 1, 0, NULL, 0);
    made_image(&m, &rgb, 3);
    made_end(&m);
    assert_memory_equal(only_canvas(&gif, &m, GQ_GIF_NO_PALETTE), grey, 12);
    gq_gif_close(gif);
    m = made_screen(3, 1, 0, colors, 2);                   /* index 2 is not in it: draws nothing */
    made_image(&m, &rgb, 3);
    made_end(&m);
    assert_memory_equal(only_canvas(&gif, &m, 0), global, 12);
    gq_gif_close(gif);
    m = made_screen(3, 1, 0, colors, 2);
    made_local_palette(&m, colors + 4, 4);
    made_image(&m, &rgb, 3);
    made_end(&m);
    assert_memory_equal(only_canvas(&gif, &m, 0), local, 12);
    gq_gif_close(gif);
}

static void timing_loop_and_odd_blocks(void **state)
{
    (void)state;
    static const int32_t delays[3] = { 7, -1, 65535 };
    gq_gif_summary       sum;
    gq_error             err = { 0 };
    gq_gif              *gif;
    const uint8_t       *rgba;
    gq_gif_frame         info;
    made                 m = made_screen(2, 1, 0, colors, 8);
    made_bytes(&m, "!\xff\x0bNETSCAPE2.0\x03\x01\x2c\x01\0", 19);        /* loop 300              */
    made_bytes(&m, "!\xfe\x03" "abc\x01z\0", 9);                         /* comment of two blocks */
    made_bytes(&m, "!\xf9\x02\x08\x01\0", 6);                            /* too short: no control */
    m.delay = 7;
    made_image(&m, &(made_frame){ 0, 0, 2, 1, 0, 7, 0, "rg" }, 3);
    made_bytes(&m, "\0\0\0", 3);                                           /* surplus terminators */
    m.control = false;
    made_image(&m, &(made_frame){ 0, 0, 1, 1, 0, -1, 0, "b" }, 3);
    made_image(&m, &(made_frame){ 0, 0, 0, 1, 0, -1, 0, "" }, 3);         /* no pixels: no frame  */
    m.control = true;
    m.delay = 65535;
    made_image(&m, &(made_frame){ 1, 0, 1, 1, 2, 3, 0, "b" }, 3);
    made_end(&m);
    made_bytes(&m, "after the trailer", 17);
    assert_ok(gq_gif_count(m.data, m.size, "made", NULL, &sum, &err), &err);
    assert_int_equal(sum.frames, 3);
    assert_int_equal(sum.delay_cs, 65542);
    assert_int_equal(sum.loop, 300);
    assert_int_equal(sum.flags, 0);
    assert_int_equal(sum.width, 2);
    assert_int_equal(sum.height, 1);
    assert_ok(gq_gif_open(m.data, m.size, "made", NULL, &gif, &err), &err);
    for (uint32_t f = 0; f < 3; f++) {
        assert_ok(gq_gif_next(gif, &rgba, &info, &err), &err);
        assert_int_equal(info.index, f);
        assert_int_equal(info.delay_cs, delays[f]);
    }
    assert_int_equal(info.disposal, 2);
    assert_int_equal(info.transparent, 3);
    assert_int_equal(gq_gif_loop(gif), 300);
    gq_gif_close(gif);
}

/* Plain codes only and no clear code: the string table fills up, codes stay 12 bits wide and
 * nothing is added. */
static void a_full_table_stays_as_it_is(void **state)
{
    (void)state;
    static const uint32_t side = 75;    /* 5,625 codes                                            */
    gq_gif              *gif;
    gq_error             err = { 0 };
    const uint8_t       *rgba;
    gq_gif_frame         info;
    static made          m;
    made_coder           c = { .acc = 0 };
    uint32_t             strings = 6;   /* codes that exist                                       */
    int                  width = 3;
    m = made_screen(side, side, 0, colors, 4);
    made_bytes(&m, ",\0\0\0\0\x4b\0\x4b\0\0\x02", 11);
    for (uint32_t i = 0; i < side * side; i++) {
        made_code(&m, &c, i * i % 7 % 4, width);
        if (i && strings < 4096 && ++strings == 1u << width && width < 12)
            width++;
    }
    made_code(&m, &c, 5, width);
    made_code(&m, &c, 0, 7);
    made_bytes(&m, c.block, (size_t)c.block[0] + 1);
    made_bytes(&m, "\0;", 2);
    assert_ok(gq_gif_open(m.data, m.size, "full", NULL, &gif, &err), &err);
    assert_ok(gq_gif_next(gif, &rgba, &info, &err), &err);
    assert_non_null(rgba);
    assert_true(info.complete);
    for (uint32_t i = 0; i < side * side; i++)
        assert_memory_equal(rgba + 4 * i, colors[i * i % 7 % 4], 3);
    gq_gif_close(gif);
}

static void chosen_frames_over_a_matte(void **state)
{
    (void)state;
    static const uint8_t  matte[3] = { 9, 8, 7 };
    static const uint32_t wanted[3] = { 0, 2, 2 }, wrong[2] = { 1, 0 }, absent[1] = { 3 };
    static const uint8_t  want[18] = {255, 0, 0,   9,   8, 7, 255, 0, 0,
                                      0,   0, 255, 255, 0, 0, 0,   0, 255};
    gq_gif_clip           clip;
    gq_error              err = { 0 };
    made                  m = made_screen(2, 1, 0, colors, 8);
    m.delay = 3;
    made_image(&m, &(made_frame){ 0, 0, 1, 1, 0, 7, 0, "r" }, 3);
    made_image(&m, &(made_frame){ 1, 0, 1, 1, 0, 7, 0, "g" }, 3);
    made_image(&m, &(made_frame){ 1, 0, 1, 1, 0, 7, 0, "b" }, 3);
    made_end(&m);
    assert_ok(gq_gif_load_rgb(m.data, m.size, "made", NULL, wanted, 3, matte, 18, &clip, &err),
              &err);
    assert_int_equal(clip.nframes, 3);
    assert_memory_equal(clip.rgb, want, 18);
    assert_int_equal(clip.delay_cs[2], 3);
    gq_gif_clip_free(&clip);
    assert_ok(gq_gif_load_rgb(m.data, m.size, "made", NULL, NULL, 0, NULL, 18, &clip, &err), &err);
    assert_int_equal(clip.nframes, 3);
    assert_int_equal(clip.rgb[3], 0);
    assert_int_equal(clip.rgb[10], 255);
    gq_gif_clip_free(&clip);
    assert_fails(gq_gif_load_rgb(m.data, m.size, "made", NULL, wanted, 3, matte, 17, &clip, &err),
                 GQ_EINPUT, &err, "17 bytes");
    assert_fails(gq_gif_load_rgb(m.data, m.size, "made", NULL, absent, 1, matte, 99, &clip, &err),
                 GQ_EINPUT, &err, "frame 3 is asked for, the file has 3");
    assert_fails(gq_gif_load_rgb(m.data, m.size, "made", NULL, wrong, 2, matte, 99, &clip, &err),
                 GQ_EUSAGE, &err, "after frame 1");
    assert_null(clip.rgb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(composition_follows_its_rules),
        cmocka_unit_test(palettes),
        cmocka_unit_test(timing_loop_and_odd_blocks),
        cmocka_unit_test(a_full_table_stays_as_it_is),
        cmocka_unit_test(chosen_frames_over_a_matte),
        cmocka_unit_test(good_files_have_every_frame_of_the_truth),
        cmocka_unit_test(odd_files_agree_or_end_in_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
