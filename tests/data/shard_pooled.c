/* Vectors of all frames in a shard: what is written comes back, for GIFs of any length, across
 * blocks and shards; GIFs stored twice share them; damage and lies are refused. */
#include "support.h"

#include <fcntl.h>
#include <hdf5.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/convert.h"
#include "data/shard.h"
#include "python.h"

enum { P = 5, GIFS = 60, MOST = 200 };

/* How many vectors a GIF has; every seventh is another choice of the same file. */
static bool    is_same(int g) { return g % 7 == 6; }
static int32_t count_of(int g) { return is_same(g) ? count_of(g - 1) : 1 + g * 37 % MOST; }

static float value(int g, int i)        /* exact in bfloat16 */
{
    return (float)((is_same(g) ? g - 1 : g) * 3 + i % 61) / 8;
}

static void build(const char *dir, gq_shard_codec codec, bool bf16, int shards)
{
    gq_shard_meta m = {.keyframes = 1, .size = 2, .pooled = P, .bf16 = bf16, .codec = codec};
    gq_manifest   list = {.complete = true};
    gq_error      err = {0};
    snprintf(m.pooled_tower, sizeof m.pooled_tower, "0123456789abcdef0123456789abcdef");
    gq_shard_type_add(&m, "colour");
    for (int k = 0; k < shards; k++) {
        gq_shard_writer *w;
        gq_shard_entry   e;
        assert_ok(gq_shard_writer_open(dir, k, &m, &w, &err), &err);
        for (int g = GIFS * k / shards; g < GIFS * (k + 1) / shards; g++) {
            float        all[MOST * P];
            uint8_t      frame[12] = {(uint8_t)g};
            int32_t      idx = 0, at;
            uint16_t     delay = 1;
            bool         again = is_same(g) && g > GIFS * k / shards;
            gq_shard_gif gif = {.name = "x.gif", .n_frames = 1, .frame_idx = &idx,
                                .delay_cs = &delay, .pooled = again ? NULL : all,
                                .pooled_n = again ? GQ_SHARD_POOLED_SAME : count_of(g)};
            gq_qa        qa = {.question = "?", .answer = "a"};
            for (int i = 0; i < count_of(g) * P; i++)
                all[i] = value(g, i);
            assert_ok(gq_shard_add_gif(w, &gif, frame, NULL, &at, &err), &err);
            qa.gif = at;
            assert_ok(gq_shard_add_qa(w, &qa, &err), &err);
        }
        assert_ok(gq_shard_writer_close(w, &e, &err), &err);
        assert_ok(gq_manifest_add(&list, &e, &err), &err);
    }
    assert_ok(gq_manifest_save(dir, &list, &err), &err);
    gq_manifest_free(&list);
}

static void check(const char *dir)
{
    gq_dataset      *d;
    gq_shard_cursor *c;
    gq_error         err = {0};
    float            all[MOST * P + 1];
    assert_ok(gq_dataset_open(dir, &d, &err), &err);
    assert_int_equal(gq_dataset_meta(d)->pooled, P);
    assert_string_equal(gq_dataset_meta(d)->pooled_tower, "0123456789abcdef0123456789abcdef");
    assert_ok(gq_shard_cursor_new(d, &c, &err), &err);
    for (int g = 0; g < GIFS; g++) {
        gq_shard_gif gif;
        gq_dataset_gif(d, g, &gif);
        assert_int_equal(gif.pooled_n, count_of(g));
        all[count_of(g) * P] = -1;
        uint64_t before = gq_mem_count();
        assert_ok(gq_dataset_pooled(d, c, g, all, &err), &err);
        assert_int_equal(gq_mem_count(), before);
        for (int i = 0; i < count_of(g) * P; i++)
            assert_true(all[i] == value(g, i));
        assert_true(all[count_of(g) * P] == -1);
    }
    gq_shard_cursor_free(c);
    gq_dataset_close(d);
}

static void what_is_written_comes_back(void **state)
{
    (void)state;
    for (int v = 0; v < 2 * GQ_CODECS && !gq_shard_codec_lack((gq_shard_codec)(v / 2)); v++) {
        const char *dir = gq_scratch();
        char        other[96];
        gq_error    err = {0};
        uint64_t    gifs, questions;
        build(dir, (gq_shard_codec)(v / 2), v % 2, 1 + v % 3);
        check(dir);
        assert_ok(gq_shard_verify(dir, &gifs, &questions, &err), &err);
        snprintf(other, sizeof other, "%s/other", dir);
        assert_ok(gq_convert(dir, other, GQ_CODEC_GZIP, NULL, NULL, NULL, &err), &err);
        check(other);
        assert_ok(gq_remove_tree(dir, &err), &err);
    }
}

static void h5py_reads_the_same(void **state)
{
    const char *python = need_h5py();
    (void)state;
    for (int v = 0; v < 2 * GQ_CODECS && !gq_shard_codec_lack((gq_shard_codec)(v / 2)); v++) {
        const char *dir = gq_scratch();
        char        want[256];
        gq_error    err = {0};
        build(dir, (gq_shard_codec)(v / 2), v % 2, 1);
        FILE *f = read_with_h5py(python, dir);
        snprintf(want, sizeof want, "%s 1 2 0 0 %d %d colour", gq_shard_codec_name[v / 2], GIFS,
                 GIFS);
        expect_line(f, want);
        for (int g = 0; g < GIFS; g++) {
            double sum = 0;
            for (int i = 0; i < count_of(g) * P; i++)
                sum += (double)value(g, i);
            snprintf(want, sizeof want, "x.gif 0 1 1 0 0 0 00000000 %d 0.000000 %d %.6f", g,
                     count_of(g), sum);
            expect_line(f, want);
        }
        while (fgets(want, sizeof want, f))
            continue;
        assert_int_equal(pclose(f), 0);
        assert_ok(gq_remove_tree(dir, &err), &err);
    }
}

static void wrong_calls_are_refused(void **state)
{
    gq_shard_meta    m = {.keyframes = 1, .size = 2, .pooled = P};
    const char      *dir = gq_scratch();
    uint8_t          frame[12] = {0};
    int32_t          idx = 0, at;
    uint16_t         delay = 1;
    gq_shard_gif     gif = {.name = "x.gif", .n_frames = 1, .frame_idx = &idx, .delay_cs = &delay};
    gq_shard_writer *w;
    gq_error         err = {0};
    (void)state;
    gq_shard_type_add(&m, "colour");
    assert_ok(gq_shard_writer_open(dir, 0, &m, &w, &err), &err);
    assert_fails(gq_shard_add_gif(w, &gif, frame, NULL, &at, &err), GQ_EUSAGE, &err, "0 vectors");
    gif.pooled_n = GQ_SHARD_POOLED_SAME;         /* as which? */
    assert_fails(gq_shard_add_gif(w, &gif, frame, NULL, &at, &err), GQ_EUSAGE, &err, "-1 vectors");
    gq_shard_writer_abort(w);
    m.pooled = 1 << 20;
    assert_fails(gq_shard_writer_open(dir, 0, &m, &w, &err), GQ_EUSAGE, &err, "1048576");
    gq_error_clear(&err);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

/* The first number of gif/<name> becomes another, and its checksum right again. */
static void lie(const char *path, const char *name, hid_t type, void *number, size_t bytes)
{
    uint8_t  data[GIFS * 8];
    uint64_t hash;
    hid_t    f = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), d = H5Dopen2(f, name, H5P_DEFAULT);
    assert_true(H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    memcpy(data, number, bytes);
    hash = gq_xxh64(data, GIFS * bytes);
    assert_true(H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    hid_t a = H5Aopen(d, "xxh64", H5P_DEFAULT);
    assert_true(H5Awrite(a, H5T_STD_U64LE, &hash) >= 0);
    H5Aclose(a);
    H5Dclose(d);
    H5Fclose(f);
}

static void lies_are_refused(void **state)
{
    static int64_t places[] = {-1, 1, INT64_MAX, 1ll << 40};
    static int32_t counts[] = {0, -3, INT32_MAX};
    (void)state;
    for (int k = 0; k < 7; k++) {
        const char *dir = gq_scratch();
        char        path[96];
        gq_error    err = {0};
        uint64_t    gifs, questions;
        snprintf(path, sizeof path, "%s/shard-00000.h5", dir);
        build(dir, GQ_CODEC_GZIP, true, 1);
        if (k < 4)
            lie(path, "gif/pooled_at", H5T_STD_I64LE, &places[k], 8);
        else
            lie(path, "gif/pooled_n", H5T_STD_I32LE, &counts[k - 4], 4);
        assert_fails(gq_shard_verify(path, &gifs, &questions, &err), GQ_EINPUT, &err, "gif/pooled");
        gq_error_clear(&err);
        assert_ok(gq_remove_tree(dir, &err), &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_comes_back),
        cmocka_unit_test(h5py_reads_the_same),
        cmocka_unit_test(wrong_calls_are_refused),
        cmocka_unit_test(lies_are_refused),
    };
    return cmocka_run_group_tests_name("data/shard_pooled", tests, NULL, NULL);
}
