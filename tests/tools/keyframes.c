/* gifqa-keyframes as a user meets it, end to end: a GIF, a question and a tiny CLIP in, table, JSON
 * and strip out; and the exit code with its message for everything that can be wrong. */
#include "data/tok_fixture.h"

#include <png.h>
#include <sys/wait.h>

#include "data/gifwrite.h"

static const char *dir;
static char        out[1 << 16], errors[1 << 13];   /* of the last call */

static void slurp(const char *name, char *into, size_t size)
{
    char  path[256];
    FILE *f;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "r");
    assert_non_null(f);
    into[fread(into, 1, size - 1, f)] = 0;
    fclose(f);
}

/* Runs the program in the scratch directory; $K stands for the options of the tiny model. */
static int keyframes(const char *args)
{
    char command[2048];
    int  status;

    snprintf(command, sizeof command,
             "cd %s; K='--config tiny.yaml --weights random:1 --tokenizer vocab'; >out 2>err "
             "XDG_CACHE_HOME=$PWD/cache %s/gifqa-keyframes %s",
             dir, GQ_BIN_DIR, args);
    status = system(command);
    assert_true(WIFEXITED(status));
    slurp("out", out, sizeof out);
    slurp("err", errors, sizeof errors);
    return WEXITSTATUS(status);
}

static void expect(const char *args, int code, const char *in_out, const char *in_errors)
{
    int got = keyframes(args);
    if (got != code || !strstr(out, in_out) || !strstr(errors, in_errors))
        fail_msg("gifqa-keyframes %s: exit %d, want %d; want '%s' in:\n%s\nand '%s' in:\n%s", args,
                 got, code, in_out, out, in_errors, errors);
}

static json_t *last_object(void)
{
    char   *end = out + strlen(out), *start;
    json_t *o;

    assert_true(end > out && end[-1] == '\n');
    end[-1] = 0;
    start = strrchr(out, '\n');
    o = json_loads(start ? start + 1 : out, 0, NULL);
    assert_non_null(o);
    return o;
}

/* 14 frames of one colour each, the colours far apart, two of them the same */
static int make(void **state)
{
    static const char yaml[] =
        "clip: {preset: custom, image_size: 16, patch: 8, width: 24, layers: 2, heads: 2, "
        "text_width: 16,\n"
        "       text_layers: 2, text_heads: 2, vocab: 600, context: 24, proj: 12}\n";
    static uint8_t    frames[14][20 * 30];
    uint8_t           palette[14][3];
    char              path[256];
    gq_error          err = {0};
    (void)state;

    dir = strdup(gq_scratch());
    fix_text(dir, "tiny.yaml", yaml);
    fix_text(dir, "broken.yaml", "clip: {presett: custom}\n");
    fix_text(dir, "text.gif", "this is no GIF, it only says so");
    snprintf(path, sizeof path, "%s/vocab", dir);
    assert_int_equal(mkdir(path, 0777), 0);
    fix_write(path, FIX_CLIP);
    for (int f = 0; f < 14; f++) {
        memset(frames[f], f == 9 ? 2 : f, sizeof frames[f]);
        memcpy(palette[f],
               (uint8_t[]){(uint8_t)(f * 53), (uint8_t)(255 - f * 91), (uint8_t)(f * 17)}, 3);
    }
    snprintf(path, sizeof path, "%s/cat.gif", dir);
    assert_ok(gq_gif_write(path, 30, 20, frames[0], 14, (const uint8_t(*)[3])palette, 14, 7, &err),
              &err);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    gq_remove_tree(dir, NULL);
    free((char *)dir);
    return 0;
}

/* ---- results --------------------------------------------------------------------------------- */

static void the_table_names_frames(void **state)
{
    (void)state;
    expect("$K cat.gif 'what is it?'", 0,
           "cat.gif: 14 frames of 30 x 20, 5 groups of 3\nwhat is it?\n",
           "random weights: the choice means nothing");
    assert_true(strstr(errors, "decode") != NULL);
    int lines = 0;
    for (const char *p = out; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 3 + 3);
}

/* Numbers of a list: as many as asked, finite, not falling if they should rise. */
static void check_list(const json_t *o, const char *key, size_t n, bool rises)
{
    json_t *list = json_object_get(o, key);
    assert_int_equal(json_array_size(list), n);
    for (size_t i = 0; i < n; i++) {
        double v = json_number_value(json_array_get(list, i));
        assert_true(json_is_number(json_array_get(list, i)) && v >= 0 && v < 100);
        assert_true(!rises || i == 0 || v >= json_number_value(json_array_get(list, i - 1)));
    }
}

static void json_holds_everything(void **state)
{
    static const char *const phases[] = {"open",      "decode", "preprocess", "clip_vision",
                                         "clip_text", "select", "draw"};
    json_t                  *o, *all, *frames, *distances;
    (void)state;

    expect("$K cat.gif 'what is it?' -k 4 --json", 0, "", "");
    o = last_object();
    assert_true(json_is_true(json_object_get(o, "ok")));
    assert_string_equal(json_string_value(json_object_get(o, "question")), "what is it?");
    check_list(o, "frames", 4, true);
    check_list(o, "groups", 4, true);
    check_list(o, "distances", 4, false);
    check_list(o, "group_distances", 4, false);
    check_list(o, "times", 4, true);
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        assert_true(json_is_real(json_object_get(json_object_get(o, "seconds"), phases[i])));
    all = json_object_get(o, "all");
    check_list(all, "frame_distances", 14, false);
    check_list(all, "group_distances", 5, false);
    frames = json_object_get(o, "frames");
    distances = json_object_get(all, "frame_distances");
    for (size_t i = 0; i < 4; i++) {
        json_int_t f = json_integer_value(json_array_get(frames, i));
        assert_int_equal(json_integer_value(json_array_get(json_object_get(o, "groups"), i)),
                         f / 3);
        assert_true(json_real_value(json_array_get(distances, (size_t)f)) ==
                    json_real_value(json_array_get(json_object_get(o, "distances"), i)));
        assert_true(fabs(json_real_value(json_array_get(json_object_get(o, "times"), i)) -
                         0.07 * (double)f) < 1e-9);
    }
    /* frames 2 and 9 are the same picture */
    assert_true(json_real_value(json_array_get(distances, 2)) ==
                json_real_value(json_array_get(distances, 9)));
    json_decref(o);
}

static void options_change_what_they_say(void **state)
{
    json_t *one, *two;
    (void)state;

    expect("$K cat.gif 'the ring' -k 2 --json --set clipcut.group=1 --threads 2", 0, "", "");
    one = last_object();
    assert_int_equal(json_integer_value(json_object_get(json_object_get(one, "all"), "groups")),
                     14);
    expect("$K cat.gif 'the ring' -k 2 --json --set clipcut.group=1 --threads 1 --no-cache", 0, "",
           "");
    two = last_object();
    assert_true(json_equal(json_object_get(one, "all"), json_object_get(two, "all")));
    json_decref(two);
    expect("$K cat.gif 'the ring' -k 2 --json --set clipcut.group=1 --weights random:2", 0, "", "");
    two = last_object();
    assert_false(json_equal(json_object_get(one, "all"), json_object_get(two, "all")));
    json_decref(one);
    json_decref(two);
    expect("$K cat.gif 'a question that has far more letters than there are tokens'", 0, "",
           "longer than 24 tokens");
}

static void frames_of(const char *options, int64_t *frame, const char *mode, int64_t apart)
{
    char    command[256];
    json_t *o, *frames;

    snprintf(command, sizeof command, "$K cat.gif 'the ring' --json %s", options);
    expect(command, 0, "", "");
    o = last_object();
    assert_string_equal(json_string_value(json_object_get(o, "mode")), mode);
    assert_int_equal(json_integer_value(json_object_get(o, "apart")), apart);
    frames = json_object_get(o, "frames");
    for (size_t i = 0; i < json_array_size(frames); i++)
        frame[i] = json_integer_value(json_array_get(frames, i));
    json_decref(o);
}

static void modes_choose_other_frames(void **state)
{
    int64_t near[3], even[3], far[3], same[3], mix[4];
    json_t *o;
    (void)state;

    frames_of("-k 3", near, "clip", 0);
    frames_of("-k 3 --mode uniform --weights random:9", even, "uniform", 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(even[i], (2 * i + 1) * 14 / 6);
    frames_of("-k 3 --apart 3 --set clipcut.group=1", far, "clip", 3);
    assert_true(far[1] - far[0] >= 3 && far[2] - far[1] >= 3);
    frames_of("-k 3 --set clipcut.apart=2 --apart 3 --set clipcut.group=1", same, "clip", 3);
    assert_memory_equal(far, same, sizeof far);
    frames_of("-k 4 --mode mix", mix, "mix", 0);
    for (int i = 0, middles = 0; i < 4; i++) {
        middles += mix[i] == 14 / 4 || mix[i] == 3 * 14 / 4;
        assert_true(i < 3 || middles == 2);
    }
    expect("$K cat.gif 'the ring' --mode maximum", 2, "",
           "'maximum' is not one of clip, uniform, mix");
    expect("$K cat.gif 'the ring' --mode uniform --apart 3", 3, "", "clipcut.apart");
    expect("$K cat.gif 'the ring' --apart -1", 2, "", "--apart");
    expect("$K cat.gif 'the ring' --json --description 'a ring rolls'", 0, "", "99.3 %");
    o = last_object();
    assert_string_equal(json_string_value(json_object_get(o, "description")), "a ring rolls");
    json_decref(o);
}

static void the_strip_is_a_picture(void **state)
{
    const uint8_t last[3] = {(uint8_t)(13 * 53), (uint8_t)(255 - 13 * 91), 13 * 17};
    png_image     png = {.version = PNG_IMAGE_VERSION};
    char          path[256];
    uint8_t      *rgb;
    int           seen = 0;     /* pixels of the colour of frame 13, which is shown */
    (void)state;

    expect("$K cat.gif 'what is it?' -k 14 -o strip.png", 0, "14 frames", "strip");
    snprintf(path, sizeof path, "%s/strip.png", dir);
    assert_true(png_image_begin_read_from_file(&png, path));
    png.format = PNG_FORMAT_RGB;
    rgb = malloc(PNG_IMAGE_SIZE(png));
    assert_true(png_image_finish_read(&png, NULL, rgb, 0, NULL));
    for (size_t i = 0; i < (size_t)png.width * png.height; i++)
        seen += !memcmp(rgb + 3 * i, last, 3);
    assert_int_equal(seen, 195 * 130);                  /* 30 x 20 at 130 pixels height */
    free(rgb);
}

/* ---- GIFs seen before ------------------------------------------------------------------------ */

/* Where the embeddings came from; *all gets everything that was computed, the caller's. */
static void expect_origin(const char *args, const char *origin, json_t **all)
{
    json_t *o;

    expect(args, 0, "", "");
    o = last_object();
    assert_string_equal(json_string_value(json_object_get(o, "embeddings")), origin);
    assert_int_equal(json_real_value(json_object_get(json_object_get(o, "seconds"),
                                                     "clip_vision")) > 0,
                     strcmp(origin, "computed") == 0);
    json_decref(*all);
    *all = json_incref(json_object_get(o, "all"));
    json_decref(o);
}

static void shell(const char *command)
{
    char text[1024];
    snprintf(text, sizeof text, "cd %s; %s", dir, command);
    assert_int_equal(system(text), 0);
}

static void known_gifs_are_not_looked_at_again(void **state)
{
    json_t *first = NULL, *now = NULL;
    (void)state;

    expect_origin("$K cat.gif 'the ring' --json --no-cache", "computed", &first);
    shell("test ! -e c");
    expect_origin("$K cat.gif 'the ring' --json --cache c", "computed", &now);
    assert_true(json_equal(first, now));
    expect_origin("$K cat.gif 'the ring' --json --cache c", "disk", &now);
    assert_true(json_equal(first, now));
    expect_origin("$K cat.gif 'the ring' --json --cache c --no-cache", "computed", &now);
    shell("cp cat.gif tac.gif; set -- c/*.embeds; test $# = 1; echo x >> \"$1\"");
    expect_origin("$K tac.gif 'the ring' --json --cache c", "computed", &now);
    assert_true(json_equal(first, now));
    expect_origin("$K tac.gif 'the ring' --json --cache c", "disk", &now);
    assert_true(json_equal(first, now));
    expect("$K tac.gif 'the ring' --cache text.gif", 0, "14 frames",
           "the cache is not used (--no-cache does without): text.gif");
    expect("$K cat.gif what --cache-mib 0", 2, "", "--cache-mib");
    json_decref(first);
    json_decref(now);
}

/* $XDG_CACHE_HOME/gifqa, else ~/.cache/gifqa, else nowhere */
static void the_place_of_the_cache(void **state)
{
    char command[1024];
    (void)state;

    shell("rm -rf cache home");
    expect("$K cat.gif 'the ring'", 0, "14 frames", "");
    shell("test -e cache/gifqa");
    snprintf(command, sizeof command,
             "run() { env \"$@\" %s/gifqa-keyframes --config tiny.yaml --weights random:1 "
             "--tokenizer vocab cat.gif ring >/dev/null 2>&1; }; "
             "run -u XDG_CACHE_HOME HOME=$PWD/home && test -e home/.cache/gifqa && rm -r home && "
             "run XDG_CACHE_HOME=relative HOME=$PWD/home && test -e home/.cache/gifqa && "
             "run -u XDG_CACHE_HOME -u HOME && test ! -e relative",
             GQ_BIN_DIR);
    shell(command);
}

/* ---- what is wrong --------------------------------------------------------------------------- */

static void wrong_usage_is_2(void **state)
{
    (void)state;
    expect("", 2, "", "arguments are missing");
    expect("$K cat.gif", 2, "", "GIF QUESTION");
    expect("$K cat.gif '  '", 2, "", "the question is empty");
    expect("$K cat.gif what -k 0", 2, "", "--frames: '0'");
    expect("$K cat.gif what --strap x", 2, "", "did you mean '--strip'");
}

static void wrong_configuration_is_3(void **state)
{
    (void)state;
    expect("--config broken.yaml --weights random:1 --tokenizer vocab cat.gif what", 3, "",
           "broken.yaml:1:");
    expect("--config none.yaml --weights random:1 --tokenizer vocab cat.gif what", 3, "",
           "none.yaml");
    expect("$K --preset vit_b99 cat.gif what", 3, "", "vit_b32");
    expect("$K --set clipcut.grup=1 cat.gif what", 3, "", "clipcut.group");
    expect("--weights random:x --tokenizer vocab cat.gif what", 3, "", "model.seed");
    expect("$K --set clip.text=false cat.gif what", 3, "", "clip.text");
}

static void wrong_gifs_are_4(void **state)
{
    (void)state;
    expect("$K none.gif what", 4, "", "none.gif");
    expect("$K text.gif what", 4, "", "text.gif: not a GIF");
    expect("$K . what", 4, "", "gifqa-keyframes: ");
    expect("$K --set data.limits.bytes=25 cat.gif what", 4, "", "raise data.limits.bytes");
    expect("$K --set data.limits.side=25 cat.gif what", 4, "", "data.limits.side");
    expect("$K --json text.gif what", 4, "{\"ok\":false,\"exit\":4,\"error\":\"text.gif", "");
}

static void missing_weights_are_5(void **state)
{
    (void)state;
    expect("cat.gif what", 5, "", "no CLIP: give --weights DIR with model.safetensors");
    expect("--config tiny.yaml --tokenizer vocab cat.gif what", 5, "", "--weights random:1");
    expect("--weights random:1 --config tiny.yaml cat.gif what", 5, "", "vocab.json");
    expect("--weights random:1 --config tiny.yaml --tokenizer none cat.gif what", 5, "", "none");
    expect("--weights vocab cat.gif what", 5, "", "vocab");
    expect("--weights none.safetensors --tokenizer vocab cat.gif what", 5, "", "none.safetensors");
    expect("--config tiny.yaml --weights " GQ_SOURCE_DIR "/tests/reference/clip_tiny.safetensors "
           "--tokenizer vocab cat.gif what", 5, "", "clip_tiny.safetensors");
}

static void unwritable_results_are_6(void **state)
{
    (void)state;
    expect("$K cat.gif what -o none/strip.png", 6, "",
           "none/strip.png: there is no directory none/");
    assert_null(strstr(errors, "random weights"));      /* found before the work */
    expect("$K cat.gif what >/dev/full", 6, "", "cannot write to standard output");
}

static void help_fits_a_screen(void **state)
{
    size_t lines = 0;
    (void)state;
    expect("--help", 0,
           "Examples:\n  gifqa-keyframes cat.gif \"what is it licking?\" -k 3 -o strip.png", "");
    for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n")) {
        assert_true(strlen(line) <= 90);
        lines++;
    }
    assert_true(lines <= 30);
    expect("--version", 0, "gifqa-keyframes " GIFQA_VERSION, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_names_frames),
        cmocka_unit_test(json_holds_everything),
        cmocka_unit_test(options_change_what_they_say),
        cmocka_unit_test(modes_choose_other_frames),
        cmocka_unit_test(the_strip_is_a_picture),
        cmocka_unit_test(known_gifs_are_not_looked_at_again),
        cmocka_unit_test(the_place_of_the_cache),
        cmocka_unit_test(wrong_usage_is_2),
        cmocka_unit_test(wrong_configuration_is_3),
        cmocka_unit_test(wrong_gifs_are_4),
        cmocka_unit_test(missing_weights_are_5),
        cmocka_unit_test(unwritable_results_are_6),
        cmocka_unit_test(help_fits_a_screen),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
