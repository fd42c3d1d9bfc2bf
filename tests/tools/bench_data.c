/* gifqa-bench gif, image, tokenize, load on small input: what they print is there and counts what
 * was given. Nothing here asserts how fast anything is. */
#include "shell.h"

#include "data/shard.h"

#include <math.h>

static int make(void **state)
{
    (void)state;
    shell_begin("gifqa-bench");
    shell_put("words.txt", "<pad>\n<end>\n<unk>\ncat\ndog\n.\n");
    shell_put("text.txt", "cat dog.\ndog bird\n\ncat\n");
    return 0;
}

static json_t *run(const char *command)
{
    shell_expect(command, 0, "\"ok\":true", NULL);
    return shell_json();
}

static void positive(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_number(v) || !isfinite(json_number_value(v)) || json_number_value(v) <= 0)
        fail_msg("'%s' is no positive number", key);
}

/* A way of doing it: `rounds` times, ordered as they should be. */
static void a_series(const json_t *o, const char *key, size_t rounds)
{
    const json_t *way = json_object_get(o, key);
    positive(way, "per_s");
    positive(way, "min_s");
    positive(way, "median_s");
    assert_true(json_number_value(json_object_get(way, "min_s")) <=
                json_number_value(json_object_get(way, "median_s")));
    assert_int_equal(json_array_size(json_object_get(way, "seconds")), rounds);
}

static void help(void **state)
{
    (void)state;
    need_program();
    shell_help("gifqa-bench gif");
    shell_help("gifqa-bench image");
    shell_help("gifqa-bench tokenize");
    shell_help("gifqa-bench load");
    shell_help("gifqa-bench shards");
}

static void pictures(void **state)
{
    json_t   *o;
    long long frames;
    (void)state;
    need_program();

    shell_expect("gifqa-prep world --preset micro --train 2 --val 0 --test 0 --novel 0 -o world", 0,
                 "", "");
    o = run("gifqa-bench gif world/gif --rounds 3 --json");
    assert_int_equal(shell_int(o, "files"), 2);
    frames = shell_int(o, "frames");
    assert_true(frames > 2);
    a_series(o, "rgba", 3);
    a_series(o, "rgba_copied", 3);
    a_series(o, "rgb", 3);
    json_decref(o);
    o = run("gifqa-bench image world/gif --rounds 2 --json");
    assert_int_equal(shell_int(o, "frames"), frames);
    a_series(o, "resize", 2);
    a_series(o, "all", 2);
    json_decref(o);
    shell_expect("gifqa-bench gif world/gif --rounds 1", 0, "| rgba_copied |", NULL);
}

static void tokens(void **state)
{
    json_t *o;
    (void)state;
    need_program();

    o = run("gifqa-bench tokenize --tokenizer words.txt --rounds 1 --json text.txt");
    assert_int_equal(shell_int(o, "bytes"), 23);
    assert_int_equal(shell_int(o, "tokens"), 6);
    assert_int_equal(shell_int(o, "line_tokens"), 6);
    a_series(o, "whole", 1);
    a_series(o, "lines", 1);
    json_decref(o);
}

static void samples(void **state)
{
    static const char *const ways[] = {"--what frames --codec gzip", "--what frames --threads 3",
                                       "--what frames --codec row-delta+zstd",
                                       "--what features", "--what features --f32"};
    (void)state;
    need_program();
    for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
        char    command[200];
        json_t *o;
        if (strstr(ways[k], "zstd") && gq_shard_codec_lack(GQ_CODEC_DELTA_ZSTD))
            continue;
        snprintf(command, sizeof command,
                 "gifqa-bench load %s --keyframes 1 --gifs 3 --batch 2 --rounds 2 --scratch . "
                 "--json",
                 ways[k]);
        o = run(command);
        positive(o, "samples_per_s");
        assert_int_equal(json_array_size(json_object_get(o, "rounds")), 2);
        json_decref(o);
    }
    shell_expect("ls", 0, "", NULL);
    assert_null(strstr(shell.out, "gifqa-bench"));      /* the scratch directory is gone          */
}

/* Every step of it, small; it checks itself. */
static void shards(void **state)
{
    json_t *o, *steps, *one;
    const char *name;
    (void)state;
    need_program();
    o = run("gifqa-bench shards --gifs 200 --shard-mib 1 --codec gzip --scratch . --json");
    assert_int_equal(shell_int(o, "gifs"), 200);
    assert_int_equal(shell_int(o, "shards"), 16);        /* of 13 GIFs */
    assert_int_equal(shell_int(o, "continued"), 7);      /* the 100th was in the eighth */
    steps = json_object_get(o, "steps");
    assert_int_equal(json_object_size(steps), 8);
    json_object_foreach(steps, name, one)
        positive(one, "peak_mib");
    json_decref(o);
    shell_expect("gifqa-bench shards --gifs 3 --scratch .", 2, NULL, "a smaller --shard-mib");
    shell_expect("gifqa-bench shards --codec zip", 2, NULL, "none, gzip");
    shell_expect("ls", 0, "", NULL);
    assert_null(strstr(shell.out, "gifqa-bench"));
}

static void wrong_use(void **state)
{
    (void)state;
    need_program();
    shell_expect("gifqa-bench gif", 2, NULL, "");
    shell_expect("gifqa-bench gif none.gif", 4, NULL, "none.gif");
    shell_expect("gifqa-bench gif .", 4, NULL, "no GIF there");
    shell_expect("gifqa-bench image words.txt", 4, NULL, "words.txt");
    shell_expect("gifqa-bench tokenize text.txt", 2, NULL, "--tokenizer is missing");
    shell_expect("gifqa-bench tokenize --tokenizer none text.txt", 5, NULL, "none");
    shell_expect("gifqa-bench tokenize --tokenizer words.txt none.txt", 4, NULL, "none.txt");
    shell_expect("gifqa-bench load --what pixels", 2, NULL, "pixels");
    shell_expect("gifqa-bench load --codec zip", 2, NULL, "zip");
    shell_expect("gifqa-bench load --scratch none", 6, NULL, "none/gifqa-bench");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help),    cmocka_unit_test(pictures), cmocka_unit_test(tokens),
        cmocka_unit_test(samples), cmocka_unit_test(shards),   cmocka_unit_test(wrong_use),
    };
    return cmocka_run_group_tests(tests, make, shell_end);
}
