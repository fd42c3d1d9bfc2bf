/* Converting: to every codec and back the numbers, texts and order are the same, to the bit; killed
 * anywhere it continues; other data sets are left alone. */
#include "shard_made.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "data/convert.h"

static char *named(const char *dir, const char *name)
{
    static char path[16][160];
    static int  next;
    char       *p = path[next++ & 15];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

/* A hash of everything that a reader sees, in its order. */
static uint64_t digest(const char *dir)
{
    gq_dataset      *d;
    gq_shard_cursor *c;
    gq_error         err = {0};
    uint8_t          frames[T * S * S * 3];
    float            tokens[T * N * D];
    uint64_t         sum = 1;
    assert_ok(gq_dataset_open(dir, &d, &err), &err);
    assert_ok(gq_shard_cursor_new(d, &c, &err), &err);
    for (int64_t g = 0; g < gq_dataset_gifs(d); g++) {
        gq_shard_gif gif;
        gq_dataset_gif(d, g, &gif);
        assert_ok(gq_dataset_frames(d, c, g, frames, &err), &err);
        assert_ok(gq_dataset_tokens(d, c, g, tokens, &err), &err);
        sum = 31 * sum + gq_xxh64(frames, sizeof frames) + gq_xxh64(tokens, sizeof tokens) +
              gq_xxh64(gif.sha256, 32) + gq_xxh64(gif.name, strlen(gif.name)) + gif.flags +
              gif.width + gif.delay_cs[0] + (uint64_t)gif.frame_idx[2] + (uint64_t)gif.n_frames;
    }
    for (int64_t i = 0; i < gq_dataset_count(d); i++) {
        gq_qa qa;
        gq_dataset_qa(d, i, &qa);
        sum = 31 * sum + (uint64_t)qa.gif + (uint64_t)qa.type +
              gq_xxh64(qa.question, strlen(qa.question)) + gq_xxh64(qa.answer, strlen(qa.answer)) +
              gq_xxh64(qa.q_ids, (size_t)qa.nq * 4) + gq_xxh64(qa.a_ids, (size_t)qa.na * 4);
    }
    gq_shard_cursor_free(c);
    gq_dataset_close(d);
    return sum;
}

static gq_shard_codec codec_of(const char *dir)
{
    gq_dataset    *d;
    gq_error       err = {0};
    gq_shard_codec c;
    assert_ok(gq_dataset_open(dir, &d, &err), &err);
    c = gq_dataset_meta(d)->codec;
    gq_dataset_close(d);
    return c;
}

static void there_and_back(void **state)
{
    (void)state;
    for (int k = 0; k < GQ_CODECS && !gq_shard_codec_lack((gq_shard_codec)k); k++) {
        gq_shard_meta     m = meta_of(true, true, k != 1, GQ_CODEC_NONE);
        const char       *dir = gq_scratch(), *from = named(dir, "from"), *to = named(dir, "to"),
                         *back = named(dir, "back");
        gq_error          err = {0};
        gq_convert_report r;
        uint64_t          gifs, questions;
        assert_int_equal(mkdir(from, 0777), 0);
        build(from, &m, 3);
        assert_ok(gq_write_file(named(from, "rejects.tsv"), "a\n", 2, &err), &err);
        assert_ok(gq_convert(from, to, (gq_shard_codec)k, NULL, NULL, &r, &err), &err);
        assert_int_equal(r.shards, 3);
        assert_int_equal(r.gifs, GIFS);
        assert_int_equal(codec_of(to), k);
        assert_int_equal(digest(to), digest(from));
        assert_ok(gq_shard_verify(to, &gifs, &questions, &err), &err);
        assert_true(gq_is_file(named(to, "rejects.tsv")));
        assert_ok(gq_convert(to, back, GQ_CODEC_NONE, NULL, NULL, NULL, &err), &err);
        assert_int_equal(digest(back), digest(from));
        assert_ok(gq_convert(from, to, (gq_shard_codec)k, NULL, NULL, &r, &err), &err);
        assert_int_equal(r.continued, 3);        /* nothing is done twice */
        assert_fails(gq_convert(back, to, GQ_CODEC_NONE, NULL, NULL, NULL, &err), GQ_EINPUT, &err,
                     "holds another dataset");
        gq_error_clear(&err);
        assert_fails(gq_convert(from, from, GQ_CODEC_GZIP, NULL, NULL, NULL, &err), GQ_EINPUT, &err,
                     "holds another dataset");
        gq_error_clear(&err);
        assert_ok(gq_remove_tree(dir, &err), &err);
    }
}

/* More GIFs than a packed shard takes become several of them. */
static void large_shards_are_divided(void **state)
{
    (void)state;
    gq_shard_meta     m = meta_of(true, true, true, GQ_CODEC_NONE);
    int               many = (int)gq_shard_most_gifs(GQ_CODEC_GZIP) + 3;
    const char       *dir = gq_scratch(), *from = named(dir, "from"), *to = named(dir, "to");
    gq_error          err = {0};
    gq_convert_report r;
    gq_shard_writer  *w;
    gq_shard_entry    e;
    assert_int_equal(mkdir(from, 0777), 0);
    assert_ok(gq_shard_writer_open(from, 0, &m, &w, &err), &err);
    for (int g = 0; g < many; g++)
        assert_ok(add(w, &m, g, &err), &err);
    assert_ok(gq_shard_writer_close(w, &e, &err), &err);
    e.cut_questions = 5;                         /* more than the last part has */
    gq_manifest list = {.complete = true, .count = 1, .shard = &e};
    assert_ok(gq_manifest_save(from, &list, &err), &err);
    assert_ok(gq_convert(from, to, GQ_CODEC_GZIP, NULL, NULL, &r, &err), &err);
    assert_int_equal(r.shards, 2);
    assert_int_equal(digest(to), digest(from));
    assert_ok(gq_remove_tree(dir, &err), &err);
}

static bool stop_at(void *ctx, const gq_progress *p)
{
    return p->done < *(uint64_t *)ctx;
}

static void it_continues(void **state)
{
    (void)state;
    gq_shard_meta     m = meta_of(true, true, true, GQ_CODEC_GZIP);
    const char       *dir = gq_scratch(), *from = named(dir, "from"), *to = named(dir, "to"),
                     *once = named(dir, "once");
    gq_error          err = {0};
    gq_convert_report r;
    uint64_t          at = 1;
    gq_bytes          a, b;
    assert_int_equal(mkdir(from, 0777), 0);
    build(from, &m, 4);
    assert_fails(gq_convert(from, to, GQ_CODEC_NONE, stop_at, &at, &r, &err), GQ_ESTOPPED, &err,
                 "run it again");
    gq_error_clear(&err);
    for (int round = 0; round < 8; round++) {
        pid_t child = fork();
        if (child == 0)
            _exit(gq_convert(from, to, GQ_CODEC_NONE, NULL, NULL, NULL, &err) != GQ_OK);
        usleep((useconds_t)(1000 + 4000 * round));
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
    }
    assert_ok(gq_convert(from, to, GQ_CODEC_NONE, NULL, NULL, &r, &err), &err);
    assert_ok(gq_convert(from, once, GQ_CODEC_NONE, NULL, NULL, NULL, &err), &err);
    for (int k = 0; k < 4; k++) {
        char name[32];
        snprintf(name, sizeof name, "shard-%05d.h5", k);
        assert_ok(gq_read_file(named(to, name), 1 << 24, &a, &err), &err);
        assert_ok(gq_read_file(named(once, name), 1 << 24, &b, &err), &err);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.data, b.data, a.size);
        gq_bytes_free(&a);
        gq_bytes_free(&b);
    }
    assert_ok(gq_remove_tree(dir, &err), &err);
}

static void damage_stops_it(void **state)
{
    (void)state;
    gq_shard_meta m = meta_of(true, true, true, GQ_CODEC_GZIP);
    const char   *dir = gq_scratch(), *from = named(dir, "from"), *to = named(dir, "to");
    gq_error      err = {0};
    assert_int_equal(mkdir(from, 0777), 0);
    build(from, &m, 2);
    assert_int_equal(truncate(named(from, "shard-00001.h5"), 9000), 0);
    assert_fails(gq_convert(from, to, GQ_CODEC_NONE, NULL, NULL, NULL, &err), GQ_EINPUT, &err,
                 "shard-00001.h5");
    gq_error_clear(&err);
    assert_fails(gq_dataset_open(to, &(gq_dataset *){NULL}, &err), GQ_EINPUT, &err, "not finished");
    gq_error_clear(&err);
    assert_fails(gq_convert("/nowhere", to, GQ_CODEC_NONE, NULL, NULL, NULL, &err), GQ_EINPUT, &err,
                 "/nowhere");
    gq_error_clear(&err);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(large_shards_are_divided),
        cmocka_unit_test(it_continues),
        cmocka_unit_test(damage_stops_it),
    };
    return cmocka_run_group_tests_name("data/convert", tests, NULL, NULL);
}
