/* gifqa-prep index and search as a user meets them: GIFs and a tiny CLIP in, lines out, and what
 * can be wrong. */
#include "shell.h"

#include "data/gifwrite.h"
#include "data/tok_fixture.h"

#define CLIP " --config tiny.yaml --weights random:1 --tokenizer vocab"
#define SEARCH "gifqa-prep search 'what is it?' -i index.bin"

static int begin(void **state)
{
    static const char yaml[] =
        "clip: {preset: custom, image_size: 16, patch: 8, width: 24, layers: 2, heads: 2, "
        "text_width: 16,\n"
        "       text_layers: 2, text_heads: 2, vocab: 600, context: 24, proj: 12}\n";
    static uint8_t    frames[5][20 * 30];
    char              path[1024];
    gq_error          err = {0};
    int               code = shell_begin("gifqa-prep");
    (void)state;

    shell_put("tiny.yaml", yaml);
    shell_path("vocab", path);
    assert_ok(gq_mkdirs(path, &err), &err);
    fix_write(path, FIX_CLIP);
    shell_path("gifs", path);
    assert_ok(gq_mkdirs(path, &err), &err);
    shell_put("gifs/readme.txt", "not looked at");
    shell_put("gifs/text.gif", "this is no GIF");
    for (int g = 0; g < 6; g++) {
        uint8_t palette[5][3];
        char    name[32];
        for (int f = 0; f < 5; f++) {
            memset(frames[f], f, sizeof frames[f]);
            for (int i = 0; i < 3; i++)
                palette[f][i] = (uint8_t)(f * (53 + 30 * i) + g * (91 - 20 * i));
        }
        snprintf(name, sizeof name, "gifs/g%d.gif", g);
        shell_path(name, path);
        assert_ok(
            gq_gif_write(path, 30, 20, frames[0], 5, (const uint8_t(*)[3])palette, 5, 7, &err),
            &err);
    }
    setenv("XDG_CACHE_HOME", shell.dir, 1);
    return code;
}

static void help_and_usage(void **state)
{
    (void)state;
    need_program();
    shell_help("gifqa-prep index");
    shell_help("gifqa-prep search");
    shell_expect("gifqa-prep index gifs", 2, NULL, "-o FILE is missing");
    shell_expect("gifqa-prep search x", 2, NULL, "-i INDEX is missing");
    shell_expect("gifqa-prep search ' ' -i index.bin", 2, NULL, "the text is empty");
    shell_expect("gifqa-prep index gifs -o index.bin", 5, NULL, "no CLIP: give --weights DIR");
}

/* The distances are those that gifqa-keyframes computes of the same frames. */
static void finds_the_nearest_frame_of_each_gif(void **state)
{
    json_t *o, *hit, *cut;
    size_t  i;
    double  last = 0;
    (void)state;

    need_program();
    shell_expect("gifqa-prep index gifs -o index.bin --float" CLIP, 0,
                 "index.bin: 6 GIFs, 30 frames\n", "text.gif");
    shell_expect(SEARCH CLIP " -k 3", 0, ".gif\t", "random weights");
    shell_expect(SEARCH CLIP " --json", 0, "", "");
    o = shell_json();
    assert_int_equal(shell_int(o, "rows"), 30);
    assert_int_equal(json_array_size(json_object_get(o, "hits")), 6);
    json_array_foreach(json_object_get(o, "hits"), i, hit) {
        char    command[256];
        json_t *all;
        double  distance = json_number_value(json_object_get(hit, "distance"));
        size_t  frame = (size_t)shell_int(hit, "frame"), f;
        assert_true(distance >= last);
        last = distance;
        snprintf(command, sizeof command,
                 "gifqa-keyframes gifs/%s 'what is it?' --json" CLIP,
                 json_string_value(json_object_get(hit, "gif")));
        shell_expect(command, 0, "", "");
        cut = shell_json();
        all = json_object_get(json_object_get(cut, "all"), "frame_distances");
        assert_int_equal(json_array_size(all), 5);
        /* the squared distance is a float below 4 */
        assert_true(fabs(json_number_value(json_array_get(all, frame)) - distance) < 1e-5);
        for (f = 0; f < 5; f++)
            assert_true(json_number_value(json_array_get(all, f)) > distance - 1e-5);
        json_decref(cut);
    }
    json_decref(o);
}

/* Embeddings kept in shards give the index that the GIFs give, to the byte, without CLIP; GIFs
 * stored more than once are in it once. */
static void shards_give_the_same_index(void **state)
{
    static const char *const ways[] = {"", " --sampler clipcut --codec gzip", " --features clip"};
    (void)state;
    need_program();
    shell_put("q.tsv", "gif\tquestion\tanswer\ttype\n"
                       "g0.gif\twhat is it?\tcat\ta\ng1.gif\twhat?\tcat\ta\n"
                       "g1.gif\ta red dog\tcat\ta\ng1.gif\ttwo\tcat\ta\ng2.gif\twho?\tcat\ta\n"
                       "g3.gif\twho?\tcat\ta\ng4.gif\twho?\tcat\ta\ng5.gif\twho?\tcat\ta\n");
    shell_expect("gifqa-prep index gifs -o gifs.bin --float" CLIP, 0, "6 GIFs, 30 frames",
                 "text.gif");
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char command[512];
        snprintf(command, sizeof command,
                 "rm -rf set; gifqa-prep build q.tsv --gifs gifs -o set -k 2 --all-frames%s "
                 "--config tiny.yaml --weights random:1 --set model.tokenizer.clip=vocab "
                 "--set gpt2.vocab=64",
                 ways[i]);
        shell_expect(command, 0, "8 questions", "");
        shell_expect("gifqa-prep stats set --json", 0, "\"pooled\":12", "");
        shell_expect("gifqa-prep index set -o set.bin --float", 0, "set.bin: 6 GIFs, 30 frames",
                     "");
        shell_expect("cmp gifs.bin set.bin", 0, "", "");
    }
    shell_expect("rm -rf set; gifqa-prep build q.tsv --gifs gifs -o set -k 2 --config tiny.yaml "
                 "--set gpt2.vocab=64", 0, "8 questions", "");
    shell_expect("gifqa-prep index set -o none.bin", 4, NULL, "build it with --all-frames");
}

static void what_is_wrong_has_its_exit_code(void **state)
{
    (void)state;
    need_program();
    shell_expect("gifqa-prep index gifs -o index.bin --json" CLIP, 0, "\"bad\":1", "");
    shell_expect(SEARCH " --config tiny.yaml --weights random:2 --tokenizer vocab", 4, NULL,
                 "made with another CLIP");
    shell_expect("mkdir none; gifqa-prep index none -o none.bin" CLIP, 4, NULL, "no GIFs");
    shell_expect("head -c 700 index.bin > cut.bin; mv cut.bin index.bin; " SEARCH CLIP, 4, NULL,
                 "cut short or damaged");
    shell_expect("gifqa-prep search x -i tiny.yaml" CLIP, 4, NULL,
                 "no index of frames");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_and_usage),
        cmocka_unit_test(finds_the_nearest_frame_of_each_gif),
        cmocka_unit_test(shards_give_the_same_index),
        cmocka_unit_test(what_is_wrong_has_its_exit_code),
    };
    return cmocka_run_group_tests_name("search", tests, begin, shell_end);
}
