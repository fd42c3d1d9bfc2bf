/* The loader: the order is the pure function it promises, whatever the threads do; damage stops
 * or is replaced. */
#include "support.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/loader.h"

enum { T = 2, S = 4, PIXELS = T * S * S * 3, GIFS = 97, TYPES = 4 };

static const char *data_dir;
static int         questions, of_type[TYPES];

static int questions_of(int gif) { return 1 + gif % 3; }
static int type_of(int gif, int q) { return gif % 11 == 0 ? 3 : (gif + q) % 3; }

static int make_data(void **state)
{
    (void)state;
    gq_error         err = {0};
    gq_shard_meta    m = {.keyframes = T, .size = S, .codec = GQ_CODEC_GZIP};
    gq_manifest      manifest = {.complete = true};
    gq_shard_writer *w = NULL;
    gq_shard_entry   e;
    data_dir = strdup(gq_scratch());
    for (int k = 0; k < TYPES; k++)
        gq_shard_type_add(&m, (char[]){(char)('a' + k), 0});
    for (int g = 0; g < GIFS; g++) {
        uint8_t      frames[PIXELS];
        int32_t      idx[T] = {0, 1}, at;
        uint16_t     delay[T] = {1, 2};
        char         name[16];
        gq_shard_gif gif = {.name = name, .n_frames = 2, .frame_idx = idx, .delay_cs = delay};
        snprintf(name, sizeof name, "%d", g);
        memset(frames, g, sizeof frames);
        if (g % 50 == 0)
            assert_ok(gq_shard_writer_open(data_dir, g / 50, &m, &w, &err), &err);
        assert_ok(gq_shard_add_gif(w, &gif, frames, NULL, &at, &err), &err);
        for (int q = 0; q < questions_of(g); q++, questions++) {
            gq_qa qa = {.gif = at, .type = type_of(g, q), .question = name, .answer = "x"};
            of_type[qa.type]++;
            assert_ok(gq_shard_add_qa(w, &qa, &err), &err);
        }
        if (g % 50 == 49 || g == GIFS - 1) {
            assert_ok(gq_shard_writer_close(w, &e, &err), &err);
            assert_ok(gq_manifest_add(&manifest, &e, &err), &err);
        }
    }
    assert_ok(gq_manifest_save(data_dir, &manifest, &err), &err);
    gq_manifest_free(&manifest);
    return 0;
}

static int drop_data(void **state)
{
    (void)state;
    gq_error err = {0};
    assert_ok(gq_remove_tree(data_dir, &err), &err);
    free((void *)(uintptr_t)data_dir);
    return 0;
}

static gq_dataset *open_data(void)
{
    gq_dataset *d;
    gq_error    err = {0};
    assert_ok(gq_dataset_open(data_dir, &d, &err), &err);
    return d;
}

static gq_loader *open_loader(const gq_dataset *d, const gq_loader_opts *o)
{
    gq_loader *l;
    gq_error   err = {0};
    assert_ok(gq_loader_open(d, o, &l, &err), &err);
    return l;
}

/* Takes `n` samples, checks that pixels and texts belong to the question, and writes the
 * question numbers. */
static int take(gq_loader *l, int n, int64_t *index)
{
    int      got = 0;
    gq_error err = {0};
    while (got < n) {
        gq_batch b;
        assert_ok(gq_loader_next(l, &b, &err), &err);
        if (!b.count)
            break;
        for (int k = 0; k < b.count && got < n; k++) {
            int gif = b.qa[k].gif;
            assert_int_equal(atoi(b.qa[k].question), gif);
            for (int p = 0; p < PIXELS; p++)
                assert_int_equal(b.frames[(size_t)k * PIXELS + (size_t)p], gif);
            index[got++] = b.index[k];
        }
        gq_loader_release(l);
    }
    return got;
}

static void epochs_are_permutations(void **state)
{
    (void)state;
    gq_dataset    *d = open_data();
    gq_loader_opts o = {.batch = 7, .seed = 3, .shuffle = true, .frames = true};
    gq_loader     *l = open_loader(d, &o);
    int64_t       *index = gq_malloc(3 * (size_t)questions, sizeof *index);
    int            same = 0;
    assert_int_equal(take(l, 3 * questions, index), 3 * questions);
    for (int e = 0; e < 3; e++) {
        char *seen = gq_calloc((size_t)questions, 1);
        for (int i = 0; i < questions; i++) {
            assert_int_equal(seen[index[e * questions + i]]++, 0);
            same += e && index[i] == index[e * questions + i];
        }
        gq_free(seen);
    }
    assert_true(same < 20);                      /* two epochs agree in about one place each */
    gq_free(index);
    gq_loader_close(l);
    gq_dataset_close(d);
}

static void order_is_kept_without_shuffling_and_ends(void **state)
{
    (void)state;
    gq_dataset    *d = open_data();
    gq_loader_opts o = {.batch = 10, .frames = true, .stop = (uint64_t)questions};
    gq_loader     *l = open_loader(d, &o);
    int64_t       *index = gq_malloc((size_t)questions + 10, sizeof *index);
    gq_batch       b;
    gq_error       err = {0};
    assert_int_equal(take(l, questions + 10, index), questions);
    for (int i = 0; i < questions; i++)
        assert_int_equal(index[i], i);
    for (int k = 0; k < 3; k++) {                /* the end stays the end */
        assert_ok(gq_loader_next(l, &b, &err), &err);
        assert_int_equal(b.count, 0);
        gq_loader_release(l);
    }
    assert_ok(gq_loader_seek(l, (uint64_t)questions - 3, &err), &err);
    assert_int_equal(take(l, 10, index), 3);
    gq_free(index);
    gq_loader_close(l);
    gq_dataset_close(d);
}

static const gq_loader_stage stages[] = {
    {.first = 0, .weight = {3, 1}}, {.first = 100, .weight = {1, 2, 0, 5}}, {.first = 260}};

static void stages_mix_types_exactly(void **state)
{
    (void)state;
    gq_dataset    *d = open_data();
    gq_loader_opts o = {
        .batch = 4, .seed = 5, .shuffle = true, .frames = true, .stages = 3, .stage = stages};
    gq_loader     *l = open_loader(d, &o);
    int64_t        index[260];
    int            seen[TYPES] = {0};
    gq_qa          qa;
    assert_int_equal(take(l, 260, index), 260);
    for (int block = 0; block < 100; block += 4) {
        int n[TYPES] = {0};
        for (int i = block; i < block + 4; i++) {
            gq_dataset_qa(d, index[i], &qa);
            n[qa.type]++;
        }
        assert_true(n[0] == 3 && n[1] == 1);
    }
    for (int block = 100; block < 260; block += 8) {
        int n[TYPES] = {0};
        for (int i = block; i < block + 8; i++) {
            gq_dataset_qa(d, index[i], &qa);
            n[qa.type]++;
        }
        assert_true(n[0] == 1 && n[1] == 2 && n[2] == 0 && n[3] == 5);
    }
    /* within a type, after each block, no question was drawn twice more than another: type 3 has
     * few of them */
    char *times = gq_calloc((size_t)questions, 1);
    for (int i = 100; i < 260; i++) {
        gq_dataset_qa(d, index[i], &qa);
        seen[qa.type]++;
        times[index[i]]++;
        for (int q = 0; (i - 100) % 8 == 7 && q < questions; q++) {
            gq_dataset_qa(d, q, &qa);
            int all = seen[qa.type] / of_type[qa.type];
            assert_in_range(times[q], all, all + (seen[qa.type] % of_type[qa.type] != 0));
        }
    }
    assert_true(seen[3] > 2 * of_type[3]);
    gq_free(times);
    gq_loader_close(l);
    gq_dataset_close(d);
}

static void threads_rings_and_seeks_change_nothing(void **state)
{
    (void)state;
    enum { N = 400 };
    gq_dataset    *d = open_data();
    gq_loader_opts o = {.batch = 6,
                        .threads = 1,
                        .ring = 1,
                        .seed = 9,
                        .shuffle = true,
                        .frames = true,
                        .stages = 3,
                        .stage = stages};
    int64_t        want[N], got[N];
    gq_loader     *l = open_loader(d, &o);
    gq_error       err = {0};
    assert_int_equal(take(l, N, want), N);
    for (int i = 0; i < N; i++)
        assert_int_equal(gq_loader_index(l, (uint64_t)i), want[i]);
    for (int at = 0; at < N; at += 37) {         /* a resumed run */
        assert_ok(gq_loader_seek(l, (uint64_t)at, &err), &err);
        uint64_t before = gq_mem_count();
        assert_int_equal(take(l, N - at, got), N - at);
        assert_int_equal(gq_mem_count(), before);
        assert_memory_equal(got, want + at, sizeof *got * (size_t)(N - at));
    }
    gq_loader_close(l);
    for (int threads = 2; threads < 6; threads++) {
        o.threads = threads;
        o.ring = 1 + 2 * threads;
        l = open_loader(d, &o);
        assert_int_equal(take(l, N, got), N);
        assert_memory_equal(got, want, sizeof want);
        gq_loader_close(l);
    }
    o.world = 3;
    for (o.rank = 0; o.rank < 3; o.rank++) {     /* ranks share the same sequence */
        l = open_loader(d, &o);
        assert_int_equal(take(l, N / 3, got), N / 3);
        for (int i = 0; i < N / 3; i++)
            assert_int_equal(got[i], want[3 * i + o.rank]);
        gq_loader_close(l);
    }
    gq_dataset_close(d);
}

static void waiting_is_measured(void **state)
{
    (void)state;
    gq_dataset    *d = open_data();
    gq_loader_opts o = {.batch = 3, .shuffle = true, .frames = true};
    gq_loader     *l = open_loader(d, &o);
    gq_batch       b;
    gq_error       err = {0};
    double         start = gq_now();
    for (int k = 0; k < 50; k++) {
        assert_ok(gq_loader_next(l, &b, &err), &err);
        gq_loader_release(l);
    }
    assert_true(gq_loader_wait_seconds(l) >= 0 && gq_loader_wait_seconds(l) <= gq_now() - start);
    usleep(50000);                               /* the ring is full now */
    double before = gq_loader_wait_seconds(l);
    assert_ok(gq_loader_next(l, &b, &err), &err);
    assert_true(gq_loader_wait_seconds(l) - before < 0.02);
    gq_loader_close(l);                          /* with a batch out */
    gq_dataset_close(d);
}

/* Flips one byte of GIF 60's chunk, in a file that is open already (the checks at opening would
 * find it): searched among the bytes that begin a zlib stream, 0x78. */
static void damage(const gq_dataset *d, bool undo)
{
    static off_t     at;
    char             path[128];
    gq_bytes         file;
    gq_error         err = {0};
    gq_shard_cursor *c;
    uint8_t          frames[PIXELS], good = 0x78, bad = 0x79;
    snprintf(path, sizeof path, "%s/shard-00001.h5", data_dir);
    int fd = open(path, O_RDWR);
    if (undo)
        assert_int_equal(pwrite(fd, &good, 1, at), 1);
    assert_ok(gq_shard_cursor_new(d, &c, &err), &err);
    assert_ok(gq_read_file(path, 1 << 24, &file, &err), &err);
    for (at = undo ? at : 0; !undo; at++) {
        assert_true((size_t)at < file.size);
        if (file.data[at] != good)
            continue;
        assert_int_equal(pwrite(fd, &bad, 1, at), 1);
        if (gq_dataset_frames(d, c, 60, frames, &err) != GQ_OK)
            break;
        assert_int_equal(pwrite(fd, &good, 1, at), 1);
    }
    gq_bytes_free(&file);
    gq_shard_cursor_free(c);
    assert_int_equal(close(fd), 0);
}

static void damage_stops_or_is_replaced(void **state)
{
    (void)state;
    gq_loader_opts o = {.batch = 5, .frames = true, .threads = 3, .stop = (uint64_t)questions};
    int64_t       *index = gq_malloc((size_t)questions, sizeof *index);
    gq_batch       b;
    gq_error       err = {0};
    int            given = 0, q60 = 0;
    for (int g = 0; g < 60; g++)
        q60 += questions_of(g);
    gq_dataset *d = open_data();
    damage(d, false);
    gq_loader  *l = open_loader(d, &o);
    for (gq_status s; (s = gq_loader_next(l, &b, &err)) == GQ_OK; given += b.count)
        gq_loader_release(l);
    assert_int_equal(given, q60 / 5 * 5);        /* every batch before the damage, none after */
    assert_int_equal(err.code, GQ_EINPUT);
    assert_non_null(strstr(err.text, "shard-00001.h5"));
    assert_non_null(strstr(err.text, "row 10 (60)"));
    assert_fails(gq_loader_next(l, &b, &err), GQ_EINPUT, &err, "checksum");
    gq_loader_close(l);

    o.max_bad = 3; /* GIF 60 has one question: it is read once an epoch */
    l = open_loader(d, &o);
    assert_int_equal(take(l, questions, index), questions);
    assert_int_equal(gq_loader_bad(l), questions_of(60));
    for (int i = 0; i < questions; i++) {
        gq_qa want, got;
        gq_dataset_qa(d, i, &want);
        gq_dataset_qa(d, index[i], &got);
        if (want.gif == 60)
            assert_true(got.gif != 60 && got.type == want.type);
        else
            assert_int_equal(index[i], i);
    }
    gq_loader_close(l);
    o.max_bad = 2;
    o.stop = 0;
    l = open_loader(d, &o);
    gq_error_clear(&err);
    while (gq_loader_next(l, &b, &err) == GQ_OK)
        gq_loader_release(l);
    assert_int_equal(err.code, GQ_EINPUT);
    assert_non_null(strstr(err.text, "more than data.max_bad = 2"));
    gq_loader_close(l);
    damage(d, true);
    gq_dataset_close(d);
    gq_free(index);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    gq_dataset     *d = open_data();
    gq_loader      *l;
    gq_error        err;
    gq_loader_stage bad = {.weight = {[9] = 1}};
    gq_loader_opts  o = {.batch = 0, .shuffle = true};
    assert_fails(gq_loader_open(d, &o, &l, &err), GQ_EUSAGE, &err, "batch 0");
    o.batch = 4;
    o.tokens = true;
    assert_fails(gq_loader_open(d, &o, &l, &err), GQ_EINPUT, &err, "no features");
    o.tokens = false;
    o.stages = 1;
    o.stage = &bad;
    assert_fails(gq_loader_open(d, &o, &l, &err), GQ_ECONFIG, &err, "no question of type");
    bad = (gq_loader_stage){.first = 5};
    assert_fails(gq_loader_open(d, &o, &l, &err), GQ_EUSAGE, &err, "begins at 5");
    bad = (gq_loader_stage){.weight = {1}};
    o.shuffle = false;
    assert_fails(gq_loader_open(d, &o, &l, &err), GQ_EUSAGE, &err, "needs shuffling");
    o.world = 2;
    o.rank = 2;
    assert_fails(gq_loader_open(d, &o, &l, &err), GQ_EUSAGE, &err, "rank 2 of 2");
    gq_dataset_close(d);
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    gq_dataset    *d = open_data();
    gq_loader_opts o = {.batch = 4, .shuffle = true, .frames = true, .stages = 3, .stage = stages};
    gq_loader     *l;
    gq_error       err = {0};
    gq_status      s = GQ_ENOMEM;
    for (uint64_t n = 1; s != GQ_OK; n++) {
        gq_error_clear(&err);
        gq_mem_fail_at(n, true);
        s = gq_loader_open(d, &o, &l, &err);
        gq_mem_fail_at(0, false);
        assert_true(s == GQ_OK || s == GQ_ENOMEM);
        assert_true(n < 200);
    }
    gq_loader_close(l);
    gq_dataset_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epochs_are_permutations),
        cmocka_unit_test(order_is_kept_without_shuffling_and_ends),
        cmocka_unit_test(stages_mix_types_exactly),
        cmocka_unit_test(threads_rings_and_seeks_change_nothing),
        cmocka_unit_test(waiting_is_measured),
        cmocka_unit_test(damage_stops_or_is_replaced),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(every_failed_allocation_is_clean),
    };
    return cmocka_run_group_tests(tests, make_data, drop_data);
}
