/* gifqa-prep as a user meets it: frames, tokenize, world, and a table's road to shards; exit codes
 * and messages for what can be wrong. */
#include "shell.h"

#include <png.h>

#include "data/gifwrite.h"
#include "data/shard.h"
#include "data/tokenizer.h"
#include "data/world.h"

static int begin(void **state)
{
    (void)state;
    return shell_begin("gifqa-prep");
}

/* ---- material ----------------------------------------------------------------------------- */

enum { W = 5, H = 3, N = 4, COLORS = 4 };
static const uint8_t palette[COLORS][3] = {{1, 2, 3}, {250, 0, 10}, {0, 128, 255}, {77, 78, 79}};

static int index_of(int f, int i)       /* palette index of pixel i of frame f */
{
    return (f * 5 + i * i + i / W) % COLORS;
}

/* N frames whose pixels are known: RGBA into rgba when it is not NULL. */
static void make_gif(const char *name, uint8_t *rgba)
{
    uint8_t  index[N * W * H];
    char     path[1024];
    gq_error err = {0};

    shell_path(name, path);
    for (int i = 0; i < N * W * H; i++) {
        index[i] = (uint8_t)index_of(i / (W * H), i % (W * H));
        if (rgba) {
            memcpy(rgba + 4 * i, palette[index[i]], 3);
            rgba[4 * i + 3] = 255;
        }
    }
    assert_ok(gq_gif_write(path, W, H, index, N, palette, COLORS, 7, &err), &err);
}

static void cut_file(const char *from, const char *to, size_t bytes)
{
    char     path[1024];
    gq_bytes b;
    gq_error err = {0};

    shell_path(from, path);
    assert_ok(gq_read_file(path, 1 << 20, &b, &err), &err);
    shell_path(to, path);
    assert_true(bytes < b.size);
    assert_ok(gq_write_file(path, b.data, bytes, &err), &err);
    gq_bytes_free(&b);
}

static size_t file_size(const char *name)
{
    char     path[1024];
    uint64_t bytes;
    uint8_t  hash[32];
    gq_error err = {0};

    shell_path(name, path);
    assert_ok(gq_sha256_file(path, &bytes, hash, &err), &err);
    return (size_t)bytes;
}

static void same_as_file(const char *name, const void *want, size_t bytes)
{
    char     path[1024];
    gq_bytes b;
    gq_error err = {0};

    shell_path(name, path);
    assert_ok(gq_read_file(path, 1 << 20, &b, &err), &err);
    assert_int_equal(b.size, bytes);
    assert_memory_equal(b.data, want, bytes);
    gq_bytes_free(&b);
}

/* ---- the door ----------------------------------------------------------------------------- */

static void usage(void **state)
{
    (void)state;
    need_program();
    shell_expect("gifqa-prep", 2, NULL, "a command is missing");
    shell_expect("gifqa-prep biuld", 2, NULL, "did you mean 'build'?");
    shell_expect("gifqa-prep frames", 2, NULL, "a GIF is missing");
    shell_expect("gifqa-prep frames --raw - --json x.gif", 2, NULL, "both want standard output");
    shell_expect("gifqa-prep frames x.gif --ot d", 2, NULL, "did you mean '--out'?");
    shell_expect("gifqa-prep tokenize", 2, NULL, "--tokenizer DIR|FILE is missing");
    shell_expect("gifqa-prep tokenize -t x --frame --no-frame", 2, NULL, "exclude each other");
    shell_expect("gifqa-prep world", 2, NULL, "-o DIR is missing");
    shell_expect("gifqa-prep world -o d --preset mirco", 2, NULL, "'mirco'");
    shell_expect("gifqa-prep world -o d --train -1", 2, NULL, "--train: '-1'");
    shell_expect("gifqa-prep build", 2, NULL, "TABLE is missing");
    shell_expect("gifqa-prep build t.tsv -o d", 2, NULL, "--gifs DIR is missing");
    shell_expect("gifqa-prep build t.tsv --gifs d", 2, NULL, "-o DIR is missing");
    shell_expect("gifqa-prep build t.tsv -g d -o e --codec zip", 2, NULL, "none, gzip");
    shell_expect("gifqa-prep build t.tsv -g d -o e --sampler x", 2, NULL, "uniform, clipcut");
    shell_expect("gifqa-prep build t.tsv -g d -o e --description", 2, NULL, "--sampler clipcut");
    shell_expect("gifqa-prep build t.tsv -g d -o e --features x", 2, NULL, "none, clip, both");
    shell_expect("gifqa-prep verify", 2, NULL, "arguments are missing");
    shell_expect("gifqa-prep head d -n 0", 2, NULL, "from 1 to");
    shell_expect("gifqa-prep --version", 0, "gifqa-prep " GIFQA_VERSION "\n", NULL);
}

static void help(void **state)
{
    static const char *const commands[] = {"", " build", " verify", " stats", " head", " frames",
                                           " tokenize", " world", " import", " convert"};
    char text[64];

    (void)state;
    need_program();
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        snprintf(text, sizeof text, "gifqa-prep%s", commands[i]);
        shell_help(text);
    }
}

static void full_stdout(void **state)
{
    (void)state;
    need_program();
    make_gif("full.gif", NULL);
    shell_put("words.txt", "<pad>\n<end>\n<unk>\na\n");
    shell_expect("gifqa-prep frames full.gif >/dev/full", 6, NULL, "No space left on device");
    shell_expect("gifqa-prep frames full.gif --raw /dev/full", 6, NULL, "/dev/full: cannot write");
    shell_expect("test -c /dev/full && gifqa-prep frames full.gif --raw - >/dev/full", 6, NULL,
                 "No space left on device");
    shell_expect("echo a | gifqa-prep tokenize -t words.txt >/dev/full", 6, NULL,
                 "No space left on device");
    shell_expect("gifqa-prep build --example >/dev/full", 6, NULL, "No space left on device");
    shell_expect("yes a | gifqa-prep tokenize -t words.txt | head -n 1", 0, "[3]\n", NULL);
}

/* ---- frames ------------------------------------------------------------------------------- */

static void frames_raw(void **state)
{
    uint8_t want[N * W * H * 4];

    (void)state;
    need_program();
    make_gif("raw.gif", want);
    shell_expect("gifqa-prep frames raw.gif --raw all.rgba", 0, NULL, NULL);
    same_as_file("all.rgba", want, sizeof want);
    shell_expect("gifqa-prep frames raw.gif --raw - >piped.rgba", 0, NULL, NULL);
    same_as_file("piped.rgba", want, sizeof want);
    shell_expect("gifqa-prep frames --raw raw.gif >alone.rgba", 0, NULL, NULL);
    same_as_file("alone.rgba", want, sizeof want);
}

static void frames_png(void **state)
{
    uint8_t want[N * W * H * 4], got[W * H * 4];

    (void)state;
    need_program();
    make_gif("png.gif", want);
    shell_expect("gifqa-prep frames png.gif -o pngs/here", 0, "4 frames of 5x3 in pngs/here", NULL);
    for (int f = 0; f < N; f++) {
        png_image image = {.version = PNG_IMAGE_VERSION};
        char      path[1024];
        shell_path("pngs/here/frame-000", path);
        snprintf(path + strlen(path), 16, "%d.png", f);
        assert_true(png_image_begin_read_from_file(&image, path));
        assert_int_equal(image.width, W);
        assert_int_equal(image.height, H);
        image.format = PNG_FORMAT_RGBA;
        assert_true(png_image_finish_read(&image, NULL, got, 0, NULL));
        assert_memory_equal(got, want + f * W * H * 4, sizeof got);
    }
    shell_expect("ls -A pngs/here | wc -l", 0, "4\n", NULL);
}

static void frames_listed(void **state)
{
    json_t *o, *list, *f;

    (void)state;
    need_program();
    make_gif("list.gif", NULL);
    shell_expect("gifqa-prep frames list.gif", 0, "    3  delay    7  5x3  rect 0,0 5x3\n", NULL);
    shell_expect("gifqa-prep frames list.gif --json", 0, "", NULL);
    o = shell_json();
    list = json_object_get(o, "frames");
    assert_int_equal(json_array_size(list), N);
    f = json_array_get(list, 2);
    assert_int_equal(shell_int(f, "index"), 2);
    assert_int_equal(shell_int(f, "delay"), 7);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(f, "size"), 0)), W);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(f, "size"), 1)), H);
    assert_int_equal(shell_int(o, "width"), W);
    assert_int_equal(shell_int(o, "loop"), 0);
    json_decref(o);
}

/* Screen 65535 x 65535 in 35 bytes; and a file that would need 4 GiB of pixels. */
static void put_bomb(const char *name)
{
    static const uint8_t bomb[] = {'G', 'I', 'F', '8', '9', 'a', 255, 255, 255, 255, 0x80, 0, 0,
                                   0, 0, 0, 255, 255, 255, 0x2c, 0, 0, 0, 0, 255, 255, 255, 255,
                                   0, 2, 2, 0x44, 1, 0, 0x3b};
    char     path[1024];
    gq_error err = {0};

    shell_path(name, path);
    assert_ok(gq_write_file(path, bomb, sizeof bomb, &err), &err);
}

static void frames_of_bad_files(void **state)
{
    (void)state;
    need_program();
    make_gif("whole.gif", NULL);
    shell_put("text.gif", "this is no GIF at all, it says so itself");
    put_bomb("bomb.gif");
    cut_file("whole.gif", "head.gif", 9);
    cut_file("whole.gif", "cut.gif", file_size("whole.gif") - 9);
    shell_expect("gifqa-prep frames absent.gif", 4, NULL, "absent.gif: ");
    shell_expect("gifqa-prep frames .", 4, NULL, ".: ");
    shell_expect("gifqa-prep frames text.gif", 4, NULL, "text.gif: ");
    shell_expect("gifqa-prep frames head.gif", 4, NULL, "head.gif: ");
    shell_expect("gifqa-prep frames cut.gif", 0, "    2  delay", "cut.gif: the file is truncated");
    assert_null(strstr(shell.out, "    3  delay"));
    shell_expect("gifqa-prep frames bomb.gif", 4, NULL, "raise data.limits.side");
    shell_expect("gifqa-prep frames bomb.gif --json", 4, "\"exit\":4", "bomb.gif");
    shell_expect("gifqa-prep frames whole.gif --set data.limits.bytes=20", 4, NULL,
                 "raise data.limits.bytes");
    shell_expect("gifqa-prep frames whole.gif --set data.limits.pixels=40", 4, "",
                 "raise data.limits.pixels");
    shell_expect("gifqa-prep frames whole.gif --set data.limits.frames=2", 0, "    1  delay",
                 "data.limits.frames");
    shell_expect("gifqa-prep frames whole.gif --set data.limits.byte=2", 3, NULL,
                 "did you mean 'data.limits.bytes'?");
    shell_expect("gifqa-prep frames whole.gif -o text.gif/x", 6, "", "text.gif");
    shell_expect("gifqa-prep frames whole.gif --raw nowhere/x", 6, "", "nowhere");
}

/* ---- tokenize ----------------------------------------------------------------------------- */

static void tokens_of_words(void **state)
{
    (void)state;
    need_program();
    shell_put("words.txt", "<pad>\n<end>\n<unk>\na\ncat\n?\n");
    shell_put("lines", "A cat?\n\n dog a\r\ncat <end>");
    shell_expect("gifqa-prep tokenize -t words.txt lines", 0, "", NULL);
    assert_string_equal(shell.out, "[3,4,5]\n[]\n[2,3]\n[4,2]\n");
    shell_expect("gifqa-prep tokenize --tokenizer=words.txt <lines", 0, "", NULL);
    assert_string_equal(shell.out, "[3,4,5]\n[]\n[2,3]\n[4,2]\n");
    shell_expect("gifqa-prep tokenize -t words.txt --frame --special lines", 0, "", NULL);
    assert_string_equal(shell.out, "[3,4,5,1]\n[1]\n[2,3,1]\n[4,1,1]\n");
    shell_expect("gifqa-prep tokenize -t words.txt --whole lines", 0, "", NULL);
    assert_string_equal(shell.out, "[3,4,5,2,3,4,2]\n");
    shell_expect("gifqa-prep tokenize -t words.txt --whole </dev/null", 0, "", NULL);
    assert_string_equal(shell.out, "[]\n");
    shell_expect("gifqa-prep tokenize -t words.txt </dev/null", 0, NULL, NULL);
    shell_expect("gifqa-prep tokenize -t absent <lines", 5, NULL, "absent");
    shell_put("broken.txt", "<pad>\n<unk>\n");
    shell_expect("gifqa-prep tokenize -t broken.txt <lines", 5, NULL, "broken.txt");
    shell_expect("gifqa-prep tokenize -t words.txt absent", 4, NULL, "absent: cannot open");
    shell_expect("head -c 1100000 /dev/zero | gifqa-prep tokenize -t words.txt", 4, NULL,
                 "standard input:1: longer than 1 MiB");
}

/* Every published line without a line feed in it, through the program. */
static void golden(const char *file, const char *vocabulary)
{
    FILE   *f = fopen(file, "r"), *lines, *out;
    char   *line = NULL, *got = NULL, path[1024], command[2048];
    size_t  cap = 0, got_cap = 0, n = 0;

    assert_non_null(f);
    shell_path("golden", path);
    lines = fopen(path, "w");
    assert_non_null(lines);
    while (getline(&line, &cap, f) > 0) {
        json_t     *row = json_loads(line, JSON_ALLOW_NUL, NULL);
        const char *text = json_string_value(json_object_get(row, "text"));
        if (!strchr(text, '\n'))
            fprintf(lines, "%s\n", text);
        json_decref(row);
    }
    fclose(lines);
    snprintf(command, sizeof command, "gifqa-prep tokenize -t %s golden >ids", vocabulary);
    shell_expect(command, 0, NULL, NULL);
    shell_path("ids", path);
    out = fopen(path, "r");
    assert_non_null(out);
    rewind(f);
    while (getline(&line, &cap, f) > 0) {
        json_t *row = json_loads(line, JSON_ALLOW_NUL, NULL), *ids;
        if (!strchr(json_string_value(json_object_get(row, "text")), '\n')) {
            assert_true(getline(&got, &got_cap, out) > 0);
            ids = json_loads(got, 0, NULL);
            if (!json_equal(ids, json_object_get(row, "ids")))
                fail_msg("%s: ids are %s", line, got);
            json_decref(ids);
            n++;
        }
        json_decref(row);
    }
    assert_true(getline(&got, &got_cap, out) < 0);
    assert_true(n > 590);
    free(line);
    free(got);
    fclose(f);
    fclose(out);
}

static void golden_gpt2(void **state)
{
    (void)state;
    need_program();
    golden(need_shared("data/tok/golden_gpt2.jsonl"), need_shared("data/tok/gpt2"));
}

static void golden_clip(void **state)
{
    (void)state;
    need_program();
    golden(need_shared("data/tok/golden_clip.jsonl"), need_shared("data/tok/clip"));
}

/* ---- world -------------------------------------------------------------------------------- */

#define WORLD "gifqa-prep world --preset micro --train 60 --val 20 --test 30 --novel 10 "

/* One small world in "w" for all tests. */
static void need_world(void)
{
    static bool done;
    if (!done)
        shell_expect(WORLD "-o w", 0, "", "");
    done = true;
}

static void world(void **state)
{
    static const int want[] = {60, 20, 30, 10};
    json_t          *o, *kinds, *kind;
    const char      *name;

    (void)state;
    need_program();
    shell_expect(WORLD "-o w --json", 0, "", "120/120 clips");
    o = shell_json();
    for (int s = 0; s < GQ_WORLD_SPLITS; s++) {
        long long samples = 0;
        kinds = json_object_get(o, gq_world_split_name((gq_world_split)s));
        assert_int_equal(json_object_size(kinds), GQ_WORLD_KINDS);
        json_object_foreach(kinds, name, kind) {
            samples += shell_int(kind, "samples");
            assert_int_equal(shell_int(kind, "in_train"), 0);
            assert_true(shell_int(kind, "distinct") <= shell_int(kind, "samples"));
        }
        assert_int_equal(samples, want[s]);
    }
    json_decref(o);
    shell_expect("ls w/gif | wc -l; tail -n +2 w/test.tsv | wc -l", 0, "120\n30\n", NULL);
    shell_expect("gifqa-prep frames w/gif/test-000003.gif", 0, "    7  delay   12  96x96", NULL);
    shell_expect("stat -c %Y.%i w/gif/* >before; " WORLD "-o w; "
                 "stat -c %Y.%i w/gif/* | cmp - before", 0, "transition", NULL);
    shell_expect(WORLD "-o w --seed 2", 4, NULL, "belongs to another world");
    shell_expect(WORLD "-o w/train.tsv", 6, NULL, "train.tsv");
}

static void world_stopped(void **state)
{
    (void)state;
    need_program();
    shell_expect("gifqa-prep world -o big --train 3000 --val 0 --test 0 --novel 0 & "
                 "while [ ! -e big/gif/train-000002.gif ]; do sleep 0.01; done; "
                 "kill -TERM $!; wait $!", 75, NULL, "stopped");
    shell_expect("ls big", 0, "gif", NULL);
    assert_null(strstr(shell.out, "world.json"));
}

/* ---- build -------------------------------------------------------------------------------- */

#define NANO "--set clip.preset=custom --set clip.image_size=12 --set clip.patch=4 " \
    "--set clip.width=16 --set clip.layers=2 --set clip.heads=2 --set clip.text_width=16 " \
    "--set clip.text_layers=1 --set clip.text_heads=2 --set clip.vocab=64 " \
    "--set clip.context=16 --set clip.proj=8 --set data.frames=4 "

static void build_the_world(void **state)
{
    char    want[512] = "", cells[4][96];
    json_t *o;
    FILE   *f;
    char    path[1024];

    (void)state;
    need_program();
    need_world();
    shell_expect("gifqa-prep build w/test.tsv --gifs w/gif -o d/test -t w " NANO
                 "--set prompt.template={q} --json", 0, "", "30/30 GIFs");
    o = shell_json();
    assert_int_equal(shell_int(o, "gifs"), 30);
    assert_int_equal(shell_int(o, "questions"), 30);
    assert_int_equal(shell_int(o, "bad_rows") + shell_int(o, "bad_gifs"), 0);
    json_decref(o);
    shell_expect("gifqa-prep verify d/test", 0, "whole: 30 GIFs, 30 questions", NULL);
    shell_path("w/test.tsv", path);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(want, sizeof want, f));
    assert_non_null(fgets(want, sizeof want, f));
    fclose(f);
    assert_int_equal(sscanf(want, "%95[^\t]\t%95[^\t]\t%95[^\t]\t%95[^\n]", cells[0], cells[1],
                            cells[2], cells[3]), 4);
    shell_expect("gifqa-prep head d/test -n 1 --json", 0, "", NULL);
    o = shell_json();
    static const char *const keys[] = {"gif", "question", "answer", "type"};
    for (int i = 0; i < 4; i++)
        assert_string_equal(json_string_value(json_object_get(o, keys[i])), cells[i]);
    assert_int_equal(json_array_size(json_object_get(o, "keyframes")), 4);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(o, "keyframes"), 1)), 3);
    json_decref(o);
    shell_expect("gifqa-prep head d/test -n 2", 0, cells[1], NULL);
    shell_expect("gifqa-prep stats d/test", 0, "4 frames of 12x12 pixels, codec none", NULL);
    shell_expect("gifqa-prep stats d/test --json", 0, "\"tokenizer\":\"words\"", NULL);
    shell_expect("gifqa-prep build w/test.tsv --gifs w/gif -o d/test -t w " NANO
                 "--set prompt.template={q}", 0, "1 shard was already there", NULL);
    shell_expect("gifqa-prep build w/test.tsv --gifs w/gif -o d/test -t w " NANO, 4, NULL,
                 "holds another dataset");
}

/* What needs no plain HDF5 may be packed, and comes back. */
static void packed_otherwise(void **state)
{
    (void)state;
    need_program();
    need_world();
    shell_expect("gifqa-prep build w/val.tsv --gifs w/gif -o d/plain -t w " NANO, 0, "d/plain: 20 GIFs",
                 "");
    for (int k = GQ_CODEC_GZIP; k < GQ_CODECS && !gq_shard_codec_lack((gq_shard_codec)k); k++) {
        char command[256];
        snprintf(command, sizeof command, "gifqa-prep convert d/plain -o d/packed%d --codec %s", k,
                 gq_shard_codec_name[k]);
        shell_expect(command, 0, gq_shard_codec_name[k], "");
        snprintf(command, sizeof command, "gifqa-prep verify d/packed%d", k);
        shell_expect(command, 0, "whole: 20 GIFs", "");
        snprintf(command, sizeof command, "gifqa-prep stats d/packed%d", k);
        shell_expect(command, 0, gq_shard_codec_name[k], "");
        snprintf(command, sizeof command, "gifqa-prep convert d/packed%d -o d/back%d --json", k, k);
        shell_expect(command, 0, "\"codec\":\"none\"", "");
        snprintf(command, sizeof command, "cmp d/plain/shard-00000.h5 d/back%d/shard-00000.h5", k);
        shell_expect(command, 0, "", "");
    }
    shell_expect("gifqa-prep convert d/plain", 2, NULL, "-o DIR is missing");
    shell_expect("gifqa-prep convert d/plain -o d/x --codec lz4", 2, NULL, "row-delta+zstd");
    shell_expect("gifqa-prep convert absent -o d/x", 4, NULL, "absent");
}

static void a_flipped_byte(void **state)
{
    char path[1024];
    FILE *f;
    int   c;

    (void)state;
    need_program();
    need_world();
    shell_expect("gifqa-prep build w/val.tsv --gifs w/gif -o d/flip -t w --codec gzip " NANO, 0,
                 "d/flip: 20 GIFs", "");
    shell_path("d/flip/shard-00000.h5", path);
    f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)file_size("d/flip/shard-00000.h5") / 2, SEEK_SET), 0);
    c = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
    fputc(c ^ 16, f);
    fclose(f);
    shell_expect("gifqa-prep verify d/flip", 4, NULL, "shard-00000.h5");
    shell_expect("gifqa-prep verify absent", 4, NULL, "absent");
    shell_expect("gifqa-prep stats absent --json", 4, "\"ok\":false", "absent");
    shell_expect("gifqa-prep head absent", 4, NULL, "absent");
    shell_expect("gifqa-prep stats w", 4, NULL,
                 "w: is not a directory with shards (it has no MANIFEST.json)");
}

static const char bad_table[] = "gif\tquestion\tanswer\ttype\n"
                                "good.gif\twhat is it?\ta cat\tobject\n"
                                "good.gif\tonly three\tfields\n"
                                "absent.gif\twhat is it?\ta dog\tobject\n"
                                "text.gif\twhat is it?\ttext\tobject\n"
                                "good.gif\t\tno question\tobject\n"
                                "good.gif\twho is it?\tthe cat\tperson\n";

static void bad_rows_and_gifs(void **state)
{
    char text[4096];

    (void)state;
    need_program();
    shell_expect("mkdir -p gifs", 0, NULL, NULL);
    make_gif("gifs/good.gif", NULL);
    shell_put("gifs/text.gif", "not a GIF");
    shell_put("bad.tsv", bad_table);
    shell_expect("gifqa-prep build bad.tsv -g gifs -o d/bad " NANO, 0,
                 "d/bad: 1 GIFs, 2 questions, 1 shard", "2 bad rows and 2 bad GIFs");
    shell_expect("gifqa-prep build bad.tsv -g gifs -o d/bad " NANO, 0, "already there",
                 "already built; d/bad/rejects.tsv lists 4 rows refused then; remove d/bad to");
    assert_null(strstr(shell.err, "absent.gif"));
    shell_slurp("d/bad/rejects.tsv", text, sizeof text);
    assert_non_null(strstr(text, "bad.tsv\t3\t"));
    assert_non_null(strstr(text, "absent.gif\t4\t"));
    assert_non_null(strstr(text, "text.gif\t5\t"));
    assert_non_null(strstr(text, "bad.tsv\t6\t"));
    shell_expect("gifqa-prep build bad.tsv -g gifs -o d/bad3 --set data.max_bad=3 " NANO, 4, NULL,
                 "data.max_bad = 3");
    shell_expect("gifqa-prep build bad.tsv -g gifs -o d/bad4 --set data.max_bad=4 " NANO, 0, "",
                 "");
    shell_expect("gifqa-prep build --example >example.tsv", 0, NULL, NULL);
    shell_expect("gifqa-prep build example.tsv -g gifs -o d/none " NANO, 4, NULL, "cat.gif\t2\t");
    shell_expect("gifqa-prep build absent.tsv -g gifs -o d/a " NANO, 4, NULL, "absent.tsv");
    shell_expect("gifqa-prep build bad.tsv -g absent -o d/a " NANO, 4, NULL, "absent: ");
    shell_expect("gifqa-prep build bad.tsv -g gifs -o d/a --config absent.yaml", 3, NULL,
                 "absent.yaml");
    shell_expect("gifqa-prep build bad.tsv -g gifs -o d/a -t absent", 5, NULL, "absent");
    shell_expect("gifqa-prep build bad.tsv -g gifs -o d/a --features clip", 5, NULL, "--weights");
    shell_expect("gifqa-prep build bad.tsv -g gifs -o d/a --features clip --weights absent", 5,
                 NULL, "absent");
}

/* Without --tokenizer: words of the prompt, the questions and the answers, most frequent first. */
static void words_of_a_table(void **state)
{
    static const char want[] = "<pad>\n<end>\n<unk>\n?\ncat\nthe\nis\n\xc3\xa9t\xc3\xa9\na\n"
                               "answer:\nquestion:\nwhat\nwho\n";
    (void)state;
    need_program();
    shell_expect("mkdir -p gifs", 0, NULL, NULL);
    make_gif("gifs/good.gif", NULL);
    shell_put("t.csv", "gif,question,answer\ngood.gif,\"What IS the cat?\",\"The cat <end>\"\n"
                       "good.gif,who is the cat?,a cat?\ngood.gif,\xc3\x89T\xc3\x89?,e\xcc\x81t"
                       "e\xcc\x81\n");
    shell_expect("gifqa-prep build t.csv -g gifs -o d/words " NANO, 0, 
                 "d/words: 1 GIFs, 3 questions",
                 "the vocabulary is 10 of the 10 words of t.csv and the prompt, and 3 special");
    assert_null(strstr(shell.err, "<unk>"));
    same_as_file("d/words/tokenizer/words.txt", want, sizeof want - 1);
    shell_expect("ls -A d/words", 0, "tokenizer", NULL);
    assert_null(strstr(shell.out, ".tmp"));
    shell_expect("gifqa-prep build t.csv -g gifs -o d/few --set gpt2.vocab=6 " NANO, 0, "",
                 "7 of 10 words do not fit into gpt2.vocab = 6 rows and become <unk>; "
                 "2 answers contain one");
    assert_non_null(strstr(shell.err, "is 3 of the 10 words"));
    same_as_file("d/few/tokenizer/words.txt", "<pad>\n<end>\n<unk>\n?\ncat\nthe\n", 28);
    shell_expect("gifqa-prep build t.csv -g gifs -o d/long -t d/words/tokenizer --json " NANO
                 "--set prompt.template={q} --set prompt.max_question_tokens=4 "
                 "--set prompt.max_answer_tokens=2",
                 0, "\"cut_questions\":2,\"cut_answers\":2,",
                 "2 questions lost their start beyond prompt.max_question_tokens = 4 and 2 answers "
                 "their end beyond prompt.max_answer_tokens = 2");
    shell_expect("gifqa-prep build t.csv -g gifs -o d/o -t d/words/tokenizer --set gpt2.vocab=5 "
                 NANO, 3, NULL, "13 tokens do not fit the 5 rows of gpt2.vocab");
}

/* ---- CLIP in a build ---------------------------------------------------------------------- */

static void clip_features(void **state)
{
    gq_dataset      *even, *both;
    gq_shard_cursor *c;
    gq_error         err = {0};
    char             path[1024];
    enum { T = 4, TOKENS = 10, WIDTH = 16 };
    static uint8_t   a[T * 12 * 12 * 3], b[sizeof a];
    static float     x[T * TOKENS * WIDTH], y[T * TOKENS * WIDTH];

    (void)state;
    need_program();
    need_world();
    shell_expect("gifqa-prep build w/val.tsv -g w/gif -o d/even -t w " NANO, 0, "", "");
    shell_expect("gifqa-prep build w/val.tsv -g w/gif -o d/both -t w --features both "
                 "--weights random:5 " NANO, 0, "d/both: 20 GIFs", "");
    shell_expect("gifqa-prep stats d/both", 0, "features 10x16 a frame", NULL);
    assert_non_null(strstr(shell.out, "width 16 layers 2 hidden[-2], random:5"));
    shell_path("d/even", path);
    assert_ok(gq_dataset_open(path, &even, &err), &err);
    shell_path("d/both", path);
    assert_ok(gq_dataset_open(path, &both, &err), &err);
    assert_int_equal(gq_dataset_meta(both)->tokens, TOKENS);
    assert_int_equal(gq_dataset_meta(both)->width, WIDTH);
    for (int64_t g = 0; g < 20; g++) {
        assert_ok(gq_shard_cursor_new(even, &c, &err), &err);
        assert_ok(gq_dataset_frames(even, c, g, a, &err), &err);
        gq_shard_cursor_free(c);
        assert_ok(gq_shard_cursor_new(both, &c, &err), &err);
        assert_ok(gq_dataset_frames(both, c, g, b, &err), &err);
        assert_ok(gq_dataset_tokens(both, c, g, x, &err), &err);
        gq_shard_cursor_free(c);
        assert_memory_equal(a, b, sizeof a);
        for (size_t i = 0; i < sizeof x / sizeof x[0]; i++)
            assert_true(isfinite(x[i]));
        if (g)
            assert_memory_not_equal(x, y, sizeof x);
        memcpy(y, x, sizeof x);
    }
    gq_dataset_close(even);
    gq_dataset_close(both);
}

static void clip_cut(void **state)
{
    json_t *o, *frames;

    (void)state;
    need_program();
    need_world();
    shell_expect("gifqa-prep build w/val.tsv -g w/gif -o d/cut -t w --sampler clipcut --features "
                 "clip --bf16 --weights random:5 --set model.tokenizer.clip=w " NANO, 0, "", "");
    shell_expect("gifqa-prep stats d/cut", 0, "clipcut group 3 mean unit, random:5", NULL);
    shell_expect("q=$(sed -n '2s/^[^\t]*\t\\([^\t]*\\)\t.*/\\1/p' w/val.tsv); gifqa-keyframes "
                 "--no-cache w/gif/val-000000.gif \"$q\" -k 4 --weights random:5 --tokenizer w --json " NANO,
                 0, "", "");
    o = shell_json();
    frames = json_incref(json_object_get(o, "frames"));
    json_decref(o);
    shell_expect("gifqa-prep head d/cut -n 1 --json", 0, "", NULL);
    o = shell_json();
    if (json_array_size(frames) != 4)
        fail_msg("%zu frames", json_array_size(frames));
    for (size_t i = 0; i < 4; i++) {
        json_t *f = json_array_get(frames, i);
        assert_int_equal(
            json_integer_value(json_array_get(json_object_get(o, "keyframes"), i)),
            json_is_object(f) ? shell_int(f, "frame") : json_integer_value(f));
    }
    json_decref(o);
    json_decref(frames);
    shell_expect("gifqa-prep build w/val.tsv -g w/gif -o d/cut -t w --sampler clipcut --mode mix "
                 "--features clip --bf16 --weights random:5 --set model.tokenizer.clip=w " NANO,
                 4, "", "holds another dataset");
    shell_expect("sed '1s/$/\tdescription/;2,$s/$/\ta circle moves/' w/val.tsv > w/told.tsv; "
                 "gifqa-prep build w/told.tsv -g w/gif -o d/told -t w --sampler clipcut --mode mix "
                 "--apart 2 --description --weights random:5 --set model.tokenizer.clip=w " NANO,
                 0, "", "99.3 %");
    shell_expect("gifqa-prep stats d/told", 0,
                 "clipcut mix group 3 mean unit apart 2 with description, random:5", NULL);
    shell_expect("gifqa-prep build w/val.tsv -g w/gif -o d/e -t w --sampler clipcut "
                 "--weights random:5 " NANO, 5, NULL, "model.tokenizer.clip");
}

/* A build that is told to stop says so, leaves nothing half there, and continues. */
static void stopped_build(void **state)
{
    (void)state;
    need_program();
    need_world();
    shell_expect("gifqa-prep build w/train.tsv -g w/gif -o d/stop -t w --features clip --weights "
                 "random:1 " NANO "--set clip.width=256 --set clip.heads=8 --set clip.layers=6 & "
                 "while [ ! -e d/stop/MANIFEST.json ]; do sleep 0.01; done; kill -INT $!; wait $!",
                 75, NULL, "");
    shell_expect("gifqa-prep verify d/stop", 4, NULL, "d/stop");
    shell_expect("gifqa-prep build w/train.tsv -g w/gif -o d/stop -t w --features clip --weights "
                 "random:1 " NANO "--set clip.width=256 --set clip.heads=8 --set clip.layers=6",
                 0, "60 GIFs, 60 questions", "");
    shell_expect("gifqa-prep verify d/stop", 0, "whole", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage),            cmocka_unit_test(help),
        cmocka_unit_test(full_stdout),      cmocka_unit_test(frames_raw),
        cmocka_unit_test(frames_png),       cmocka_unit_test(frames_listed),
        cmocka_unit_test(frames_of_bad_files), cmocka_unit_test(tokens_of_words),
        cmocka_unit_test(golden_gpt2),      cmocka_unit_test(golden_clip),
        cmocka_unit_test(world),            cmocka_unit_test(world_stopped),
        cmocka_unit_test(build_the_world),  cmocka_unit_test(a_flipped_byte),
        cmocka_unit_test(packed_otherwise),
        cmocka_unit_test(bad_rows_and_gifs), cmocka_unit_test(words_of_a_table),
        cmocka_unit_test(clip_features),    cmocka_unit_test(clip_cut),
        cmocka_unit_test(stopped_build),
    };
    return cmocka_run_group_tests_name("tools/prep", tests, begin, shell_end);
}
