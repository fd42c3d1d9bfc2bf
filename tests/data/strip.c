/* The strip picture: every promise that can be read back from its pixels, extreme shapes, and the
 * small drawing functions underneath. Frames are plain colours, so a place in the picture says
 * which frame is there. */
#include "support.h"

#include "core/mem.h"
#include "data/gifwrite.h"
#include "data/strip.h"

typedef struct scene {
    gq_bytes         gif;
    gq_clipcut       cut;
    gq_clipcut_pick  pick[GQ_CLIPCUT_MAX];
    double          *frame_distance, *group_distance, *seconds;
    gq_strip         strip;
} scene;

/* Frame f is grey 8 + f % 240; the distance of frame and group i is 1 + i / 1000. */
static void stage(scene *s, uint32_t n, uint32_t w, uint32_t h, int64_t group, const int64_t *pick,
                  int64_t k)
{
    uint8_t  palette[256][3], *frames = malloc((size_t)n * w * h);
    gq_error err = {0};

    memset(s, 0, sizeof *s);
    for (int i = 0; i < 256; i++)
        memset(palette[i], i, 3);
    for (uint32_t f = 0; f < n; f++)
        memset(frames + (size_t)f * w * h, 8 + (int)(f % 240), (size_t)w * h);
    assert_ok(gq_gif_encode(&(gq_gif_anim){w, h, n, frames, 256, (const uint8_t(*)[3])palette, 10},
                            &s->gif, &err),
              &err);
    free(frames);
    s->frame_distance = malloc(n * sizeof(double));
    s->group_distance = malloc(n * sizeof(double));
    s->seconds = malloc((n + 1) * sizeof(double));
    for (uint32_t i = 0; i <= n; i++) {
        s->seconds[i] = i / 10.0;
        if (i < n)
            s->frame_distance[i] = s->group_distance[i] = 1 + i / 1000.0;
    }
    for (int64_t i = 0; i < k; i++)
        s->pick[i] = (gq_clipcut_pick){pick[i], pick[i] / group, s->frame_distance[pick[i]],
                                       s->group_distance[pick[i] / group]};
    s->cut = (gq_clipcut){k, n, (n - 1) / group + 1, s->pick, s->frame_distance, s->group_distance};
    s->strip = (gq_strip){"what is it?", &s->cut, group, s->seconds};
}

static void strike(scene *s)
{
    gq_bytes_free(&s->gif);
    free(s->frame_distance);
    free(s->group_distance);
    free(s->seconds);
}

static gq_picture drawn(const scene *s)
{
    gq_picture p;
    gq_error   err = {0};
    assert_ok(gq_strip_draw(&s->strip, s->gif.data, s->gif.size, "a/b.gif", NULL, &p, &err), &err);
    return p;
}

static const uint8_t *at(const gq_picture *p, uint32_t x, uint32_t y)
{
    assert_true(x < p->width && y < p->height);
    return p->rgb + 3 * ((size_t)y * p->width + x);
}

static bool grey(const uint8_t *c, int level)
{
    return c[0] == level && c[1] == level && c[2] == level;
}
static bool orange(const uint8_t *c)
{
    return c[0] > 200 && c[1] < 120 && c[2] < 80;
}

/* Longest run of pixels of a row for which `is` holds. */
static int64_t longest(const gq_picture *p, uint32_t y, bool (*is)(const uint8_t *))
{
    int64_t run = 0, best = 0;
    for (uint32_t x = 0; x < p->width; x++) {
        run = is(at(p, x, y)) ? run + 1 : 0;
        best = run > best ? run : best;
    }
    return best;
}

static void shows_each_chosen_frame_once_a_place(void **state)
{
    scene      s;
    gq_picture p;
    int        seen[3] = {0};
    (void)state;

    stage(&s, 40, 60, 45, 3, (int64_t[]){2, 7, 39}, 3);
    p = drawn(&s);
    for (uint32_t x = 0; x < p.width; x++)              /* a row through the pictures */
        for (int i = 0; i < 3; i++)
            seen[i] += grey(at(&p, x, 150), 8 + (int)s.pick[i].frame);
    for (int i = 0; i < 3; i++)
        assert_int_equal(seen[i], 267);                 /* 60 x 45 at 200 pixels height */
    assert_true(grey(at(&p, 21 + 100, 150), 10));       /* in order of time, from the left */
    assert_true(grey(at(&p, p.width - 21 - 100, 150), 47));
    gq_free(p.rgb);
    strike(&s);
}

static void bars_say_how_near(void **state)
{
    scene      s;
    gq_picture p;
    int64_t    rows = 0, nearest = 0, farthest = 0;
    (void)state;

    stage(&s, 30, 60, 60, 1, (int64_t[]){0, 29}, 2);    /* the nearest and the farthest of all */
    p = drawn(&s);
    for (uint32_t y = 250; y < 320; y++) {
        int64_t run = longest(&p, y, orange);
        if (run == 0)
            continue;
        rows++;
        nearest = run > nearest ? run : nearest;
    }
    assert_int_equal(nearest, 200);                     /* as wide as its picture */
    assert_int_equal(rows, 5);
    for (uint32_t x = 20 + 200 + 7; x < p.width; x++)   /* the other, on the right, has a stump */
        farthest += orange(at(&p, x, 288));
    assert_int_equal(farthest, 3);
    gq_free(p.rgb);
    strike(&s);
}

static void the_timeline_marks_chosen_groups(void **state)
{
    scene      s;
    gq_picture p;
    uint32_t   base, chosen = 0, left = UINT32_MAX;
    (void)state;

    stage(&s, 48, 60, 60, 4, (int64_t[]){21}, 1);       /* group 5 of 12 */
    p = drawn(&s);
    base = p.height - 20 - 46 - 2; /* just above the line: stumps reach it too */
    for (uint32_t x = 0; x < p.width; x++)
        if (orange(at(&p, x, base))) {
            chosen++;
            left = x < left ? x : left;
        }
    assert_true(chosen >= 38 && chosen <= 40);          /* a twelfth of 480 pixels less the gap */
    assert_true(left >= 20 + 200 - 1 && left <= 20 + 200 + 1);
    gq_free(p.rgb);
    strike(&s);
}

static void the_same_input_gives_the_same_picture(void **state)
{
    scene      s;
    gq_picture a, b;
    (void)state;
    stage(&s, 20, 31, 17, 3, (int64_t[]){1, 4, 4, 19}, 4);
    a = drawn(&s);
    b = drawn(&s);
    assert_int_equal(a.width, b.width);
    assert_int_equal(a.height, b.height);
    assert_memory_equal(a.rgb, b.rgb, (size_t)a.width * a.height * 3);
    gq_free(a.rgb);
    gq_free(b.rgb);
    strike(&s);
}

static void extreme_shapes_stay_pictures(void **state)
{
    static const struct { uint32_t n, w, h; int64_t group, k; } shape[] = {
        {1, 1, 1, 3, 1},    {1, 1, 1, 3, 1024},   {2, 3000, 1, 1, 2},  {2, 1, 3000, 1, 13},
        {4000, 1, 1, 1, 3}, {5, 7, 300, 1024, 5}, {70, 300, 7, 2, 65},
    };
    static int64_t pick[GQ_CLIPCUT_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        scene      s;
        gq_picture p;
        for (int64_t j = 0; j < shape[i].k; j++)
            pick[j] = j < shape[i].n ? j : shape[i].n - 1;
        stage(&s, shape[i].n, shape[i].w, shape[i].h, shape[i].group, pick, shape[i].k);
        s.strip.title = "a question that is much longer than the picture is wide, which is why it "
                        "ends early: \xff \xe7\x8c\xab and more, and more, and more, and more, "
                        "and more, and more, and more, and more, and more, and more, and more";
        p = drawn(&s);
        assert_true(p.width >= 520 && p.width <= 1700);
        assert_true(p.height < 20000);
        gq_free(p.rgb);
        strike(&s);
    }
}

static void refuses_a_frame_that_is_not_there(void **state)
{
    scene      s;
    gq_picture p;
    gq_error   err = {0};
    (void)state;
    stage(&s, 6, 10, 10, 3, (int64_t[]){2, 5}, 2);
    s.pick[1].frame = 6;
    assert_fails(gq_strip_draw(&s.strip, s.gif.data, s.gif.size, "a/b.gif", NULL, &p, &err),
                 GQ_EINPUT, &err, "a/b.gif: there is no frame 6");
    assert_null(p.rgb);
    assert_fails(gq_strip_draw(&s.strip, s.gif.data, 5, "a/b.gif", NULL, &p, &err), GQ_EINPUT, &err,
                 "a/b.gif");
    strike(&s);
}

/* ---- drawing --------------------------------------------------------------------------------- */

static int count(const gq_picture *p)
{
    int n = 0;
    for (size_t i = 0; i < (size_t)p->width * p->height; i++)
        n += p->rgb[3 * i] == 9;
    return n;
}

static void boxes_and_text_are_cut_at_the_edge(void **state)
{
    static uint8_t pixels[20 * 10 * 3];
    gq_picture     p = {20, 10, pixels};
    gq_color       c = {9, 9, 9};
    (void)state;

    gq_draw_box(&p, -5, -5, 7, 8, c);
    assert_int_equal(count(&p), 2 * 3);
    gq_draw_box(&p, 18, 9, 100, 100, c);
    assert_int_equal(count(&p), 2 * 3 + 2);
    gq_draw_box(&p, 30, 0, 5, 5, c);
    gq_draw_box(&p, 5, 5, 0, 5, c);
    gq_draw_box(&p, 5, 5, -3, 5, c);
    assert_int_equal(count(&p), 2 * 3 + 2);
    memset(pixels, 0, sizeof pixels);
    gq_draw_text(&p, 0, 0, 1, c, "|");
    assert_int_equal(count(&p), 7);
    gq_draw_text(&p, -3, -3, 4, c, "Wide text beyond every edge");
    memset(pixels, 0, sizeof pixels);
    gq_draw_text(&p, 0, 0, 1, c, "\xe7\x8c\xab");       /* one box of 5 x 7 */
    assert_int_equal(count(&p), 2 * 5 + 2 * 7 - 4);
}

/* Each printable character but the space has a shape of its own; letters stand on the same line. */
static void every_character_is_drawn(void **state)
{
    static uint8_t seen[127][5 * 8 * 3];
    gq_color       c = {9, 9, 9};
    (void)state;

    for (int ch = 33; ch < 127; ch++) {
        gq_picture p = {5, 8, seen[ch]};
        gq_draw_text(&p, 0, 0, 1, c, (char[]){(char)ch, 0});
        assert_true(count(&p) >= 3);
        for (int other = 33; other < ch; other++)
            assert_memory_not_equal(seen[ch], seen[other], sizeof seen[ch]);
        if ((ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9')) {
            bool foot = false;
            for (int x = 0; x < 5; x++) {
                foot |= seen[ch][3 * (6 * 5 + x)] == 9;
                assert_true(seen[ch][3 * (7 * 5 + x)] == 0);
            }
            assert_true(foot);
        }
    }
}

static void text_is_measured_and_cut(void **state)
{
    static const struct { int64_t width; const char *want; } cases[] = {
        {200, "hello \xc3\xa9t\xc3\xa9"},
        {53, "hello \xc3\xa9t\xc3\xa9"},
        {52, "hello .."},
        {47, "hello .."},
        {46, "hello.."},
        {17, "h.."},
        {11, ".."},
        {10, ""},
        {0, ""},
    };
    (void)state;

    assert_int_equal(gq_text_width("", 3), 0);
    assert_int_equal(gq_text_width("ab", 1), 11);
    assert_int_equal(gq_text_width("ab", 2), 22);
    assert_int_equal(gq_text_width("\xc3\xa9", 1), 5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32] = "hello \xc3\xa9t\xc3\xa9";
        gq_text_fit(text, 1, cases[i].width);
        assert_string_equal(text, cases[i].want);
        assert_true(gq_text_width(text, 1) <= cases[i].width);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_each_chosen_frame_once_a_place),
        cmocka_unit_test(bars_say_how_near),
        cmocka_unit_test(the_timeline_marks_chosen_groups),
        cmocka_unit_test(the_same_input_gives_the_same_picture),
        cmocka_unit_test(extreme_shapes_stay_pictures),
        cmocka_unit_test(refuses_a_frame_that_is_not_there),
        cmocka_unit_test(boxes_and_text_are_cut_at_the_edge),
        cmocka_unit_test(every_character_is_drawn),
        cmocka_unit_test(text_is_measured_and_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
