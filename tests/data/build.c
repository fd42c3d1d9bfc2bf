/* Building datasets: the toy world through real GIF files bit for bit; rejects; stopping,
 * killing and continuing. */
#include "support.h"

#include <jansson.h>
#include <signal.h>
#include <sys/wait.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/build.h"
#include "data/gifwrite.h"
#include "data/world.h"

static char         root[256];
static gq_tokenizer *words;

static const char *in_root(const char *name)
{
    static char path[64][320];                   /* each name once, so that options may keep them */
    int         k = 0;
    while (path[k][0] && strcmp(path[k] + strlen(root) + 1, name) != 0)
        k++;
    snprintf(path[k], sizeof path[k], "%s/%s", root, name);
    return path[k];
}

static void put(const char *name, const char *text)
{
    gq_error err = {0};
    assert_ok(gq_write_file(in_root(name), text, strlen(text), &err), &err);
}

/* A GIF of n frames; frame t is all of colour t + shift. */
static void put_gif(const char *name, uint32_t n, int shift)
{
    static uint8_t frames[64 * 4 * 6], palette[256][3];
    gq_error       err = {0};
    for (int k = 0; k < 256; k++)
        memset(palette[k], k, 3);
    for (uint32_t t = 0; t < n; t++)
        memset(frames + t * 24, (int)t + shift, 24);
    assert_ok(
        gq_gif_write(in_root(name), 6, 4, frames, n, (const uint8_t(*)[3])palette, 256, 7, &err),
        &err);
}

static int setup(void **state)
{
    (void)state;
    gq_error       err = {0};
    gq_world_files world = {.spec = {.seed = 6}, .count = {60, 0, 0, 0}};
    snprintf(root, sizeof root, "%s", gq_scratch());
    assert_ok(gq_world_write(in_root("world"), &world, NULL, NULL, NULL, &err), &err);
    assert_ok(gq_tokenizer_open(in_root("world/words.txt"), &words, &err), &err);
    assert_ok(gq_mkdirs(in_root("gifs/sub"), &err), &err);
    put_gif("gifs/a.gif", 5, 10);
    put_gif("gifs/b.gif", 1, 20);
    put_gif("gifs/sub/c.gif", 40, 30);
    put_gif("gifs/d.gif", 3, 40);
    put("gifs/broken.gif", "GIF89a");
    put("outside.gif", "GIF89a");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gq_error err = {0};
    gq_tokenizer_close(words);
    assert_ok(gq_remove_tree(root, &err), &err);
    return 0;
}

static gq_build_opts opts_for(const char *table, const char *gifs, const char *out)
{
    return (gq_build_opts){.table = table,
                           .gifs = gifs,
                           .out = out,
                           .keyframes = 4,
                           .size = 4,
                           .filter = GQ_NEAREST,
                           .store_frames = true,
                           .tokenizer = words,
                           .template = "{q}",
                           .answer_prefix = "",
                           .max_question = 64,
                           .max_answer = 31,
                           .max_bad = 100};
}

static gq_build_opts world_opts(const char *out)
{
    gq_build_opts o = opts_for(in_root("world/train.tsv"), in_root("world/gif"), out);
    o.keyframes = GQ_WORLD_FRAMES;
    o.size = GQ_WORLD_SIZE;
    o.shard_bytes = 25 * 3 * GQ_WORLD_PIXELS;    /* 25 GIFs a shard */
    return o;
}

static void clean(const char *name)
{
    gq_error err = {0};
    assert_ok(gq_remove_tree(in_root(name), &err), &err);
}

static void the_world_comes_back_bit_for_bit(void **state)
{
    (void)state;
    gq_error         err = {0};
    gq_build_report  r;
    gq_build_opts    o = world_opts(in_root("out"));
    gq_dataset      *d;
    gq_shard_cursor *c;
    gq_world_spec    spec = {.seed = 6};
    uint8_t          want[3 * GQ_WORLD_PIXELS], got[3 * GQ_WORLD_PIXELS];
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_int_equal(r.shards, 3);
    assert_int_equal(r.gifs, 60);
    assert_int_equal(r.questions, 60);
    assert_int_equal(r.bad_rows + r.bad_gifs, 0);
    assert_ok(gq_dataset_open(in_root("out"), &d, &err), &err);
    assert_ok(gq_shard_cursor_new(d, &c, &err), &err);
    for (int64_t i = 0; i < 60; i++) {
        gq_world_clip clip;
        gq_qa         qa;
        gq_shard_gif  gif;
        char         *text;
        assert_ok(gq_world_sample(&spec, GQ_WORLD_TRAIN, (uint64_t)i, &clip, &err), &err);
        gq_world_rgb(&clip, want);
        gq_dataset_qa(d, i, &qa);
        assert_ok(gq_dataset_frames(d, c, qa.gif, got, &err), &err);
        assert_memory_equal(got, want, sizeof want);
        assert_string_equal(qa.question, clip.question);
        assert_string_equal(qa.answer, clip.answer);
        assert_string_equal(gq_dataset_type_name(d, qa.type), gq_world_kind_name(clip.kind));
        assert_int_equal(qa.na, 1);
        assert_ok(gq_tokenizer_decode(words, qa.a_ids, 1, 0, &text, NULL, &err), &err);
        assert_string_equal(text, clip.answer);
        gq_free(text);
        gq_dataset_gif(d, qa.gif, &gif);
        assert_int_equal(gif.n_frames, GQ_WORLD_FRAMES);
        assert_int_equal(gif.width, 96);
        assert_int_equal(gif.flags, 0);
        assert_int_equal(gif.frame_idx[7], 7);
    }
    assert_string_equal(gq_dataset_meta(d)->prompt, "{q}");
    gq_shard_cursor_free(c);
    gq_dataset_close(d);
    assert_true(gq_is_file(in_root("out/tokenizer/words.txt")));
    assert_ok(gq_build(&o, &r, &err), &err);                 /* again: nothing to do */
    assert_int_equal(r.continued, 3);
    assert_int_equal(r.questions, 60);
    o.size = 6;
    assert_fails(gq_build(&o, &r, &err), GQ_EINPUT, &err, "holds another dataset");
    clean("out");
}

static void frames_are_spread_evenly(void **state)
{
    (void)state;
    static const struct { uint32_t n; int32_t t, want[5];
    } cases[] = {{8, 4, {1, 3, 5, 7}}, {5, 5, {0, 1, 2, 3, 4}}, {1, 3, {0, 0, 0}},
                 {2, 4, {0, 0, 1, 1}}, {100, 3, {16, 50, 83}},  {3, 1, {1}}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        int32_t got[5];
        gq_frames_evenly(cases[k].n, cases[k].t, got);
        assert_memory_equal(got, cases[k].want, sizeof *got * (size_t)cases[k].t);
    }
}

static const char mixed[] =
    "gif,question,answer,type\n"
    "a.gif,what color is the square?,red,colour\n"
    "missing.gif,what?,red,colour\n"
    "a,what shape is the red object?,circle,object\n"
    "broken.gif,what?,red,colour\n"
    "broken.gif,which?,red,colour\n"
    ",what?,red,colour\n"
    "../outside.gif,what?,red,colour\n"
    "sub/../../outside.gif,what?,red,colour\n"
    "/etc/passwd,what?,red,colour\n"
    "sub/c.gif,how many times does the square hide?,one two three,count\n"
    "b.gif,where is the cross?,up,\n"
    "a.gif,where is the square?,left,where\n"
    "bad\x01name.gif,what?,red,colour\n";

static void assert_listed(const char *needle)
{
    gq_error err = {0};
    gq_bytes list;
    assert_ok(gq_read_file(in_root("out/rejects.tsv"), 1 << 20, &list, &err), &err);
    if (!strstr((char *)list.data, needle))
        fail_msg("'%s' is not in\n%s", needle, (char *)list.data);
    gq_bytes_free(&list);
}

static void bad_rows_and_gifs_are_listed(void **state)
{
    (void)state;
    static const char *const want[] = {
        "file\tline\treason\n",
        "mixed.csv\t7\tgif is empty\n",
        "missing.gif\t3\t",
        "broken.gif\t5\t",
        "broken.gif\t6\t",
        "../outside.gif\t8\t../outside.gif: leads out of the folder",
        "sub/../../outside.gif\t9\t",
        "/etc/passwd\t10\t",
        "\\x01name.gif\t14\tthe name of the GIF has control characters"};
    gq_error        err = {0};
    gq_build_report r;
    gq_bytes        list;
    gq_dataset     *d;
    gq_qa           qa;
    gq_shard_gif    gif;
    put("mixed.csv", mixed);
    gq_build_opts o = opts_for(in_root("mixed.csv"), in_root("gifs"), in_root("out"));
    o.max_bad = 7;                               /* 1 row, 6 GIFs */
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_int_equal(r.bad_rows, 1);
    assert_int_equal(r.bad_gifs, 6);
    assert_int_equal(r.gifs, 4);                 /* "a" is a.gif under another name */
    assert_int_equal(r.questions, 5);
    assert_ok(gq_read_file(in_root("out/rejects.tsv"), 1 << 20, &list, &err), &err);
    int lines = 0;
    for (uint8_t *p = list.data; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 9);
    gq_bytes_free(&list);
    for (size_t k = 0; k < sizeof want / sizeof *want; k++)
        assert_listed(want[k]);
    assert_ok(gq_dataset_open(in_root("out"), &d, &err), &err);
    gq_dataset_qa(d, 1, &qa);                    /* rows follow their GIF */
    assert_string_equal(qa.question, "where is the square?");
    gq_dataset_gif(d, 3, &gif);
    assert_string_equal(gif.name, "b.gif");
    assert_int_equal(gif.flags, GQ_SHARD_REPEATED);
    assert_int_equal(gif.delay_cs[0], 7);
    gq_dataset_qa(d, 4, &qa);
    assert_string_equal(gq_dataset_type_name(d, qa.type), "all");
    gq_dataset_close(d);
    clean("out");
    o.max_bad = 6;
    assert_fails(gq_build(&o, &r, &err), GQ_EINPUT, &err,
                 "7 bad rows and GIFs, more than data.max_bad = 6");
    gq_error_clear(&err);
    assert_fails(gq_dataset_open(in_root("out"), &d, &err), GQ_EINPUT, &err, "not finished");
    clean("out");
    o.max_bad = 0;
    assert_fails(gq_build(&o, &r, &err), GQ_EINPUT, &err, "1 bad rows");
    o.max_bad = 7;               /* no shard was finished: free for other options */
    o.size = 6;
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_int_equal(r.gifs, 4);
    clean("out");
}

static void nothing_that_can_be_used(void **state)
{
    (void)state;
    gq_error        err = {0};
    gq_build_report r;
    put("none.tsv", "gif\tquestion\tanswer\nmissing\tq?\ta\n");
    gq_build_opts o = opts_for(in_root("none.tsv"), in_root("gifs"), in_root("out"));
    o.max_bad = 5;
    assert_fails(gq_build(&o, &r, &err), GQ_EINPUT, &err, "none of its 1 GIFs");
    clean("out");
    put("none.tsv", "gif\tquestion\tanswer\na\tq?\ta\n");
    o.limits = gq_gif_limits_default();
    o.limits.max_bytes = 20;
    assert_fails(gq_build(&o, &r, &err), GQ_EINPUT, &err, "none of its 1 GIFs");
    assert_listed("the limit is 20; raise data.limits.bytes");
    assert_false(gq_is_file(in_root("out/MANIFEST.json")));
    assert_false(gq_is_dir(in_root("out/tokenizer")));
    o.limits = gq_gif_limits_default();          /* corrected: the directory is free */
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_int_equal(r.gifs, 1);
    clean("out");
    put("none.tsv", "gif\tquestion\tanswer\n");
    assert_fails(gq_build(&o, &r, &err), GQ_EINPUT, &err, "no usable row (0 bad ones)");
    put("none.tsv", "gif\tquestion\tanswer\n\n\tq?\ta\na\tq?\n");
    assert_fails(gq_build(&o, &r, &err), GQ_EINPUT, &err,
                 "no usable row (2 bad ones; the first, line 3: gif is empty)");
    clean("out");
}

/* What `gifqa-prep stats` and `head` show. */
static void datasets_describe_themselves(void **state)
{
    (void)state;
    gq_error err = {0};
    char    *text;
    put("mixed.csv", mixed);
    gq_build_opts o = opts_for(in_root("mixed.csv"), in_root("gifs"), in_root("out"));
    assert_ok(gq_build(&o, NULL, &err), &err);
    assert_ok(gq_shard_stats(in_root("out"), &text, &err), &err);
    json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    gq_free(text);
    assert_non_null(j);
    assert_int_equal(json_integer_value(json_object_get(j, "gifs")), 4);
    assert_int_equal(json_integer_value(json_object_get(j, "questions")), 5);
    assert_int_equal(json_integer_value(json_object_get(j, "keyframes")), 4);
    assert_string_equal(json_string_value(json_object_get(j, "prompt")), "{q}");
    json_t *type = json_object_get(json_object_get(j, "types"), "count"), *top;
    assert_int_equal(json_integer_value(json_object_get(type, "questions")), 1);
    assert_non_null(top = json_object_get(type, "most_frequent"));
    assert_int_equal(json_integer_value(json_object_get(top, "one two three")), 1);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(j, "answer_tokens"), "max")), 3);
    json_decref(j);

    assert_ok(gq_shard_head(in_root("out"), 2, &text, &err), &err);
    char *newline = strchr(text, '\n');
    assert_non_null(newline);
    assert_string_equal(strchr(newline + 1, '\n'), "\n");   /* two lines */
    *newline = 0;
    j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    gq_free(text);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(j, "gif")), "a.gif");
    assert_string_equal(json_string_value(json_object_get(j, "answer")), "red");
    assert_int_equal(json_array_size(json_object_get(j, "keyframes")), 4);
    assert_int_equal(json_array_size(json_object_get(j, "answer_ids")), 1);
    json_decref(j);
    clean("out");
}

/* Real GIFs with the published questions, at CLIP's size: all of them are used. */
static void real_gifs_become_a_dataset(void **state)
{
    (void)state;
    const char      *table = need_shared("data/gif/tgif_resources_qa.tsv");
    const char      *gifs = need_shared("data/gif/good");
    gq_error         err = {0};
    gq_build_report  r;
    gq_dataset      *d;
    gq_shard_cursor *c;
    uint64_t         g, q;
    gq_build_opts    o = opts_for(table, gifs, in_root("out"));
    o.keyframes = 3;
    o.size = 224;
    o.filter = GQ_BICUBIC;
    o.codec = GQ_CODEC_GZIP;
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_int_equal(r.bad_gifs + r.bad_rows, 0);
    assert_true(r.gifs > 2);
    assert_ok(gq_shard_verify(in_root("out"), &g, &q, &err), &err);
    assert_int_equal(g, r.gifs);
    assert_int_equal(q, r.questions);
    assert_ok(gq_dataset_open(in_root("out"), &d, &err), &err);
    assert_ok(gq_shard_cursor_new(d, &c, &err), &err);
    uint8_t *got = gq_malloc(3 * 224 * 224, 9), *want = gq_malloc(3 * 224, 224);
    for (int64_t k = 0; k < gq_dataset_gifs(d); k++) { /* against each step by hand */
        gq_shard_gif gif;
        gq_bytes     bytes;
        gq_gif_clip  clip;
        gq_dataset_gif(d, k, &gif);
        char *path = gq_path(gifs, gif.name);
        assert_ok(gq_read_file(path, 1 << 26, &bytes, &err), &err);
        uint32_t middle = (uint32_t)gif.frame_idx[1];
        assert_int_equal(middle, gif.n_frames / 2);
        assert_ok(gq_gif_load_rgb(bytes.data, bytes.size, path, NULL, &middle, 1, NULL, 1 << 28,
                                  &clip, &err),
                  &err);
        assert_ok(gq_image_preprocess(clip.rgb, clip.width, clip.height, 224, GQ_BICUBIC, want,
                                      &err),
                  &err);
        assert_ok(gq_dataset_frames(d, c, k, got, &err), &err);
        assert_memory_equal(got + 3 * 224 * 224, want, 3 * 224 * 224);
        gq_gif_clip_free(&clip);
        gq_bytes_free(&bytes);
        gq_free(path);
    }
    gq_free(got);
    gq_free(want);
    gq_shard_cursor_free(c);
    gq_dataset_close(d);
    clean("out");
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    gq_error       err = {0};
    gq_dataset    *d;
    gq_qa          qa;
    gq_tokenizer  *t = words;
    int32_t        ids[16];
    size_t         n;
    put("long.tsv", "gif\tquestion\tanswer\na.gif\twhat color is the square?\tone two three\n"
                    "a.gif\twhat color is the cross?\tone\na.gif\twhat?\tone\n");
    gq_build_report r;
    gq_build_opts   o = opts_for(in_root("long.tsv"), in_root("gifs"), in_root("out"));
    o.template = "how {q} which way";
    o.answer_prefix = "first ";
    o.max_question = 5;
    o.max_answer = 2;
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_int_equal(r.cut_questions, 2);
    assert_int_equal(r.cut_answers, 1);
    assert_false(r.already);
    assert_ok(gq_build(&o, &r, &err), &err);     /* remembered */
    assert_int_equal(r.cut_questions, 2);
    assert_int_equal(r.cut_answers, 1);
    assert_true(r.already);
    assert_ok(gq_dataset_open(in_root("out"), &d, &err), &err);
    gq_dataset_qa(d, 0, &qa);
    assert_string_equal(qa.question, "what color is the square?");
    assert_string_equal(qa.answer, "one two three");
    assert_ok(gq_tokenizer_encode(t, "the square? which way", 21, 0, ids, 16, &n, &err), &err);
    assert_int_equal(n, 5);
    assert_int_equal(qa.nq, 5);
    assert_memory_equal(qa.q_ids, ids, 5 * sizeof *ids);
    assert_ok(gq_tokenizer_encode(t, "first one", 9, 0, ids, 16, &n, &err), &err);
    assert_int_equal(qa.na, 2);
    assert_memory_equal(qa.a_ids, ids, 2 * sizeof *ids);
    gq_dataset_close(d);
    clean("out");
}

/* ---- callbacks ------------------------------------------------------------------------------- */

/* "first ..." gets frames 0 0 1 1, "last ..." the last ones; "bad ..." is refused. */
static gq_status choose(void *ctx, const gq_gif_file *gif, const char *question, int32_t k,
                        int32_t *frame, gq_error *err)
{
    ++*(int *)ctx;
    if (strncmp(question, "bad", 3) == 0)
        return gq_fail(err, GQ_EINPUT, "%s: no frame fits", gif->name);
    for (int32_t j = 0; j < k; j++)
        frame[j] = question[0] == 'f' ? j / 2 : (int32_t)gif->frames - 1;
    return GQ_OK;
}

static gq_status features(void *ctx, const uint8_t *frames, float *tokens, gq_error *err)
{
    (void)ctx;
    (void)err;
    for (int t = 0; t < 4; t++)
        for (int k = 0; k < 6; k++)
            tokens[t * 6 + k] = (float)frames[t * 48] + (float)k;
    return GQ_OK;
}

static void questions_may_choose_frames(void **state)
{
    (void)state;
    gq_error         err = {0};
    gq_build_report  r;
    gq_dataset      *d;
    gq_shard_cursor *c;
    gq_qa            qa;
    float            tokens[4 * 6];
    int              calls = 0;
    put("choose.tsv",
        "gif\tquestion\tanswer\na.gif\tfirst?\tred\na.gif\tlast?\tred\na.gif\tfirst what?\tred\n"
        "a.gif\tbad?\tred\nd.gif\tlast?\tred\n");
    gq_build_opts o = opts_for(in_root("choose.tsv"), in_root("gifs"), in_root("out"));
    o.store_frames = false;
    o.choose = choose;
    o.chooser = "test chooser";
    o.features = features;
    o.tower = "test tower";
    o.tokens = 2;
    o.width = 3;
    o.bf16 = true;
    o.ctx = &calls;
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_int_equal(calls, 5);
    assert_int_equal(r.gifs, 3);                 /* a twice, d once */
    assert_int_equal(r.questions, 4);
    assert_int_equal(r.bad_rows, 1);
    assert_ok(gq_dataset_open(in_root("out"), &d, &err), &err);
    assert_string_equal(gq_dataset_meta(d)->sampler, "test chooser");
    assert_string_equal(gq_dataset_meta(d)->features, "test tower");
    assert_int_equal(gq_dataset_meta(d)->size, 0);
    assert_ok(gq_shard_cursor_new(d, &c, &err), &err);
    static const int gif_of[] = {0, 1, 0, 2}, first[] = {10, 14, 10, 42},
                     third[] = {11, 14, 11, 42};
    for (int i = 0; i < 4; i++) {
        gq_dataset_qa(d, i, &qa);
        assert_int_equal(qa.gif, gif_of[i]);
        assert_ok(gq_dataset_tokens(d, c, qa.gif, tokens, &err), &err);
        for (int k = 0; k < 6; k++) {
            assert_true(tokens[k] == (float)(first[i] + k));
            assert_true(tokens[2 * 6 + k] == (float)(third[i] + k));
        }
    }
    gq_shard_cursor_free(c);
    gq_dataset_close(d);
    clean("out");
}

/* "last ..." by the question alone; the description says otherwise. */
static gq_status by_description(void *ctx, const gq_gif_file *gif, const char *question, int32_t k,
                                int32_t *frame, gq_error *err)
{
    (void)ctx;
    (void)err;
    for (int32_t j = 0; j < k; j++)
        frame[j] = strcmp(question, "last? a dog runs") == 0 ? 1 : (int32_t)gif->frames - 1;
    return GQ_OK;
}

/* It reaches the choice, not the sample; a row without one is a bad row. */
static void a_description_only_chooses(void **state)
{
    (void)state;
    gq_error        err = {0};
    gq_build_report r;
    gq_dataset     *d;
    gq_shard_gif    gif;
    gq_qa           qa;
    put("tell.tsv", "gif\tquestion\tdescription\tanswer\na.gif\tlast?\ta dog runs\tred\n"
                    "a.gif\tlast?\t\tred\n");
    put("silent.tsv", "gif\tquestion\tanswer\na.gif\tlast?\tred\n");
    gq_build_opts o = opts_for(in_root("tell.tsv"), in_root("gifs"), in_root("out"));
    o.choose = by_description;
    o.chooser = "test chooser with description";
    o.described = true;
    o.max_bad = 1;
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_int_equal(r.questions, 1);
    assert_listed("tell.tsv\t3\tdescription is empty");
    assert_ok(gq_dataset_open(in_root("out"), &d, &err), &err);
    gq_dataset_qa(d, 0, &qa);
    assert_string_equal(qa.question, "last?");
    gq_dataset_gif(d, qa.gif, &gif);
    assert_int_equal(gif.frame_idx[0], 1);
    gq_dataset_close(d);
    o.described = false;
    o.chooser = "test chooser";
    assert_fails(gq_build(&o, &r, &err), GQ_EINPUT, &err, "holds another dataset");
    clean("out");
    gq_error_clear(&err);
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_int_equal(r.questions, 2);
    assert_ok(gq_dataset_open(in_root("out"), &d, &err), &err);
    gq_dataset_gif(d, 0, &gif);
    assert_int_equal(gif.frame_idx[0], (int)gif.n_frames - 1);
    gq_dataset_close(d);
    clean("out");
    o = opts_for(in_root("silent.tsv"), in_root("gifs"), in_root("out"));
    o.choose = by_description;
    o.chooser = "test chooser with description";
    o.described = true;
    gq_error_clear(&err);
    assert_fails(gq_build(&o, &r, &err), GQ_EINPUT, &err, "no column 'description'");
    clean("out");
}

/* ---- stopping -------------------------------------------------------------------------------- */

/* Hash of everything a build leaves behind. */
static uint64_t hash_of(const char *dir)
{
    char   **name;
    size_t   n;
    uint64_t h = 0;
    gq_error err = {0};
    assert_ok(gq_list_dir(dir, &name, &n, &err), &err);
    for (size_t k = 0; k < n; k++) {
        char    *path = gq_path(dir, name[k]);
        gq_bytes b;
        if (strcmp(name[k], ".lock") != 0 && gq_is_file(path)) {
            assert_ok(gq_read_file(path, 1 << 26, &b, &err), &err);
            uint64_t v[3] = {h, gq_xxh64(name[k], strlen(name[k])), gq_xxh64(b.data, b.size)};
            h = gq_xxh64(v, sizeof v);
            gq_bytes_free(&b);
        }
        gq_free(path);
        gq_free(name[k]);
    }
    gq_free(name);
    return h;
}

typedef struct stopper { uint64_t after, done, calls; } stopper;

static bool stop_after(void *ctx, const gq_progress *p)
{
    stopper *s = ctx;
    s->done = p->done;
    return ++s->calls <= s->after;
}

/* The world's table with some bad lines in it. */
static void put_flawed_table(void)
{
    gq_bytes table;
    gq_error err = {0};
    char     text[16384] = "";
    size_t   n = 0, line = 0;
    assert_ok(gq_read_file(in_root("world/train.tsv"), 1 << 20, &table, &err), &err);
    for (char *p = (char *)table.data; *p; p++) {
        text[n++] = *p;
        if (*p == '\n' && ++line % 9 == 0)
            n += (size_t)snprintf(text + n, sizeof text - n,
                                  line % 2 ? "gone-%zu\tq?\ta\tcolour\n" : "\tq%zu?\ta\tb\n", line);
    }
    text[n] = 0;
    gq_bytes_free(&table);
    put("flawed.tsv", text);
}

static void stopped_and_killed_builds_continue(void **state)
{
    (void)state;
    gq_error        err = {0};
    gq_build_report r;
    int             stopped = 0, killed = 0;
    put_flawed_table();
    gq_build_opts o = world_opts(in_root("out"));
    o.table = in_root("flawed.tsv");
    o.shard_bytes = 7 * 3 * GQ_WORLD_PIXELS;
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_int_equal(r.shards, 9);
    assert_int_equal(r.bad_rows, 3);
    assert_int_equal(r.bad_gifs, 3);
    uint64_t want = hash_of(in_root("out"));
    gq_pool *pool;
    assert_ok(gq_pool_new(3, &pool, &err), &err);            /* threads change nothing */
    clean("out");
    o.pool = pool;
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_true(hash_of(in_root("out")) == want);
    gq_pool_free(pool);
    o.pool = NULL;
    clean("out");

    stopper s = {.after = 0};
    o.progress = stop_after;
    o.progress_ctx = &s;
    assert_fails(gq_build(&o, &r, &err), GQ_ESTOPPED, &err, "run it again");
    stopped++;
    o.progress = NULL;
    gq_error_clear(&err);
    for (int round = 0; round < 40; round++) {
        pid_t child = fork();
        if (child == 0)
            _exit(gq_build(&o, &r, &err) == GQ_OK ? 0 : 1);
        usleep(3000 + 4000 * (useconds_t)(round % 10));
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        killed += WIFSIGNALED(status);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            assert_true(hash_of(in_root("out")) == want);
            clean("out");
        }
    }
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_true(hash_of(in_root("out")) == want);
    assert_true(killed > 10);
    assert_int_equal(r.bad_rows, 3);
    assert_int_equal(r.bad_gifs, 3);
    assert_int_equal(r.questions, 60);
    clean("out");
}

static void one_builder_at_a_time(void **state)
{
    (void)state;
    gq_error      err = {0};
    gq_lock      *lock;
    gq_build_opts o = world_opts(in_root("out"));
    assert_ok(gq_mkdirs(in_root("out"), &err), &err);
    assert_ok(gq_lock_take(in_root("out/.lock"), &lock, &err), &err);
    assert_fails(gq_build(&o, NULL, &err), GQ_EBUSY, &err, "out/.lock");
    gq_lock_release(lock);
    clean("out");
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    gq_error      err = {0};
    gq_build_opts o = world_opts(in_root("out"));
    o.store_frames = false;
    assert_fails(gq_build(&o, NULL, &err), GQ_EUSAGE, &err, "needs frames or features");
    o = world_opts(in_root("out"));
    o.gifs = in_root("nowhere");
    assert_fails(gq_build(&o, NULL, &err), GQ_EINPUT, &err, "nowhere");
    o = world_opts(in_root("out"));
    o.table = in_root("nowhere.tsv");
    assert_fails(gq_build(&o, NULL, &err), GQ_EINPUT, &err, "nowhere.tsv");
    clean("out");
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    gq_error  err = {0};
    gq_status s = GQ_ENOMEM;
    put("small.tsv", "gif\tquestion\tanswer\na.gif\twhat?\tred\n\tq?\ta\nd.gif\twhat?\tred\n");
    gq_build_opts o = opts_for(in_root("small.tsv"), in_root("gifs"), in_root("out"));
    for (uint64_t n = 1; s != GQ_OK; n += n < 30 ? 1 : 4) {
        gq_error_clear(&err);
        gq_mem_fail_at(n, n % 8 < 4);
        s = gq_build(&o, NULL, &err);
        gq_mem_fail_at(0, false);
        if (s != GQ_OK && s != GQ_ENOMEM)
            fail_msg("allocation %llu: %d %s", (unsigned long long)n, (int)s, err.text);
        assert_true(n < 2000);
        clean("out");
    }
}

/* A GIF whose frames have no vectors is listed; the build goes on, and no shard is opened for it alone. */
static gq_status no_vectors_of_a(void *ctx, const gq_gif_file *gif, const float **vectors, int32_t *n,
                                 gq_error *err)
{
    static const float one[64 * 2] = {1};
    (void)ctx;
    *vectors = one;
    *n = (int32_t)gif->frames;
    return strcmp(gif->name, "a") ? GQ_OK : gq_fail(err, GQ_EINPUT, "no vectors today");
}

static void a_gif_without_vectors_is_left_out(void **state)
{
    gq_build_opts   o;
    gq_build_report r;
    gq_bytes        rejects;
    gq_error        err = {0};

    (void)state;
    put("vectors.tsv", "gif\tquestion\tanswer\nd\twhat?\tcat\na\twhat?\tcat\n");
    o = opts_for(in_root("vectors.tsv"), in_root("gifs"), in_root("vectors"));
    o.all_frames = no_vectors_of_a;
    o.pooled = 2;
    o.shard_bytes = 1;                  /* a GIF a shard */
    snprintf(o.pooled_tower, sizeof o.pooled_tower, "%032d", 1);
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_int_equal(r.gifs, 1);
    assert_int_equal(r.bad_gifs, 1);
    assert_int_equal(r.shards, 1);
    assert_ok(gq_read_file(in_root("vectors/rejects.tsv"), 4096, &rejects, &err), &err);
    assert_non_null(strstr((const char *)rejects.data, "no vectors today"));
    gq_bytes_free(&rejects);
    clean("vectors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_world_comes_back_bit_for_bit),
        cmocka_unit_test(frames_are_spread_evenly),
        cmocka_unit_test(bad_rows_and_gifs_are_listed),
        cmocka_unit_test(nothing_that_can_be_used),
        cmocka_unit_test(datasets_describe_themselves),
        cmocka_unit_test(real_gifs_become_a_dataset),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(questions_may_choose_frames),
        cmocka_unit_test(a_description_only_chooses),
        cmocka_unit_test(stopped_and_killed_builds_continue),
        cmocka_unit_test(one_builder_at_a_time),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(every_failed_allocation_is_clean),
        cmocka_unit_test(a_gif_without_vectors_is_left_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
