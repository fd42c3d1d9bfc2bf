/* The decoder against truth tables that three other decoders agree on, hand-made files for every rule of
 * composition, and hostile files: bombs, cuts at every byte, mutations. */
#include "support.h"

#include <time.h>

#include "core/io.h"
#include "core/mem.h"
#include "core/philox.h"
#include "data/gif.h"

/* ---- truth tables ---------------------------------------------------------------------------------- */

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
        int got = sscanf(line, "%*u %u %u %u %u %u %d %u %u %d %*u %*s %64s %64s %*s %7s", &t->x, &t->y, &t->w,
                         &t->h, &t->disposal, &t->transparent, &t->interlaced, &t->local, &t->delay, t->rgba0,
                         t->on_black, t->agree);
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

/* Decodes one file and compares all frames whose truth has at least `letters` decoders behind it. */
static void compare_file(const char *path, const truth *rows, size_t nrows, size_t letters, tally *sum)
{
    gq_bytes       bytes;
    gq_error       err = { 0 };
    gq_gif        *gif = NULL;
    const uint8_t *rgba;
    gq_gif_frame   info;
    gq_gif_limits  limits = gq_gif_limits_default();
    limits.max_seconds = 0;             /* sanitizers are slow                                            */
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
            print_message("%s frame %u: %s, want %s (%s)\n", path, frames - 1, got, t->rgba0, t->agree);
            sum->wrong++;
        }
        if (info.x != t->x || info.y != t->y || info.w != t->w || info.h != t->h || info.disposal != t->disposal
            || info.transparent != t->transparent || info.interlaced != t->interlaced || info.local_colors != t->local
            || info.delay_cs != t->delay)
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

static tally compare_folder(const char *gifs, const char *truths, const char *prefix, size_t letters)
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
    print_message("%s: %u files, %u frames, %u compared, %u errors\n", gifs, sum.files, sum.frames, sum.compared,
                  sum.errors);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_have_every_frame_of_the_truth),
        cmocka_unit_test(odd_files_agree_or_end_in_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
