/* Shards: what is written comes back, damage is found, hostile HDF5 is refused, killed writers leave nothing. */
#include "support.h"

#include <fcntl.h>
#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/io.h"
#include "core/mem.h"
#include "core/philox.h"
#include "data/shard.h"

enum { T = 3, S = 5, N = 2, D = 7, GIFS = 40 };

static gq_shard_meta meta_of(bool frames, bool tokens, bool bf16, gq_shard_codec codec)
{
    gq_shard_meta m = {.keyframes = T, .size = frames ? S : 0, .tokens = tokens ? N : 0, .width = tokens ? D : 0,
                       .bf16 = bf16, .codec = codec, .seed = 77, .sampler = "uniform", .tokenizer = "words"};
    gq_shard_type_add(&m, "colour");
    gq_shard_type_add(&m, "direction");
    return m;
}

static uint8_t pixel(int gif, int k) { return (uint8_t)(gq_philox_at(1, (uint64_t)k, GQ_RNG_TEST, (uint32_t)gif) % 7); }

/* Exact in bfloat16 too: 8 significant bits. */
static float feature(int gif, int k)
{
    return (float)((int)(gq_philox_at(2, (uint64_t)k, GQ_RNG_TEST, (uint32_t)gif) % 255) - 127) / 32;
}

static gq_status add(gq_shard_writer *w, const gq_shard_meta *m, int g, gq_error *err)
{
    uint8_t      frames[T * S * S * 3];
    float        tokens[T * N * D];
    int32_t      idx[T] = {0, g + 1, g + 1}, ids[2] = {g, g + 1}, at;
    uint16_t     delay[T] = {(uint16_t)g, 65535, 7};
    char         name[32], question[48];
    gq_shard_gif gif = {.name = name, .n_frames = g + 2, .width = (uint16_t)(g + 1), .height = 9, .flags = (uint32_t)g,
                        .frame_idx = idx, .delay_cs = delay};
    gq_status    s;
    snprintf(name, sizeof name, "gif-%d.gif", g);
    gq_sha256(name, strlen(name), gif.sha256);
    for (int k = 0; k < T * S * S * 3; k++)
        frames[k] = pixel(g, k);
    for (int k = 0; k < T * N * D; k++)
        tokens[k] = feature(g, k);
    if ((s = gq_shard_add_gif(w, &gif, m->size ? frames : NULL, m->tokens ? tokens : NULL, &at, err)) != GQ_OK)
        return s;
    for (int q = 0; s == GQ_OK && q < g % 3; q++) {              /* 0, 1 or 2 questions a GIF               */
        gq_qa qa = {.gif = at, .type = q, .question = question, .answer = q ? "" : "r\xC3\xB6t", .q_ids = ids,
                    .a_ids = ids, .nq = q + 1, .na = 1 - q};
        snprintf(question, sizeof question, "question %d of %d?", q, g);
        s = gq_shard_add_qa(w, &qa, err);
    }
    return s;
}

/* A dataset of `shards` shards with GIFS GIFs together. */
static void build(const char *dir, const gq_shard_meta *m, int shards)
{
    gq_error    err = {0};
    gq_manifest manifest = {.complete = true};
    for (int k = 0, g = 0; k < shards; k++) {
        gq_shard_writer *w;
        gq_shard_entry   e;
        assert_ok(gq_shard_writer_open(dir, k, m, &w, &err), &err);
        for (int to = GIFS * (k + 1) / shards; g < to; g++)
            assert_ok(add(w, m, g, &err), &err);
        assert_ok(gq_shard_writer_close(w, &e, &err), &err);
        assert_ok(gq_manifest_add(&manifest, &e, &err), &err);
    }
    assert_ok(gq_manifest_save(dir, &manifest, &err), &err);
    gq_manifest_free(&manifest);
}

static void check_content(const gq_dataset *d, const gq_shard_meta *m)
{
    gq_error         err = {0};
    gq_shard_cursor *c;
    uint8_t          frames[T * S * S * 3];
    float            tokens[T * N * D];
    int64_t          qa_at = 0;
    assert_int_equal(gq_dataset_gifs(d), GIFS);
    assert_ok(gq_shard_cursor_new(d, &c, &err), &err);
    for (int g = 0; g < GIFS; g++) {
        gq_shard_gif gif;
        gq_dataset_gif(d, g, &gif);
        char name[32];
        snprintf(name, sizeof name, "gif-%d.gif", g);
        assert_string_equal(gif.name, name);
        assert_int_equal(gif.n_frames, g + 2);
        assert_int_equal(gif.width, g + 1);
        assert_int_equal(gif.flags, g);
        assert_int_equal(gif.frame_idx[2], g + 1);
        assert_int_equal(gif.delay_cs[0] + gif.delay_cs[1], g + 65535);
        uint64_t before = gq_mem_count();
        if (m->size) {
            assert_ok(gq_dataset_frames(d, c, g, frames, &err), &err);
            for (int k = 0; k < T * S * S * 3; k++)
                assert_int_equal(frames[k], pixel(g, k));
        }
        if (m->tokens) {
            assert_ok(gq_dataset_tokens(d, c, g, tokens, &err), &err);
            for (int k = 0; k < T * N * D; k++)
                assert_true(tokens[k] == feature(g, k));
        }
        assert_int_equal(gq_mem_count(), before);
        for (int q = 0; q < g % 3; q++, qa_at++) {
            gq_qa qa;
            char  text[48];
            gq_dataset_qa(d, qa_at, &qa);
            snprintf(text, sizeof text, "question %d of %d?", q, g);
            assert_string_equal(qa.question, text);
            assert_string_equal(qa.answer, q ? "" : "r\xC3\xB6t");
            assert_int_equal(qa.gif, g);
            assert_int_equal(qa.type, q);
            assert_int_equal(qa.nq, q + 1);
            assert_int_equal(qa.na, 1 - q);
            assert_int_equal(qa.q_ids[q], g + q);
        }
    }
    assert_int_equal(gq_dataset_count(d), qa_at);
    if (!m->size)
        assert_fails(gq_dataset_frames(d, c, 0, frames, &err), GQ_EINPUT, &err, "holds no frames");
    gq_shard_cursor_free(c);
}

static void what_is_written_comes_back(void **state)
{
    (void)state;
    for (int v = 0; v < 8; v++) {
        gq_shard_meta m = meta_of(v != 1, v != 0, v & 2, v & 4 ? GQ_CODEC_GZIP : GQ_CODEC_NONE);
        const char   *dir = gq_scratch();
        gq_error      err = {0};
        gq_dataset   *d;
        uint64_t      gifs, questions;
        if (!m.tokens)
            m.bf16 = false;
        build(dir, &m, 1 + v % 3);
        assert_ok(gq_dataset_open(dir, &d, &err), &err);
        const gq_shard_meta *got = gq_dataset_meta(d);
        assert_int_equal(got->seed, 77);
        assert_int_equal(got->codec, m.codec);
        assert_int_equal(got->bf16, m.bf16);
        assert_string_equal(got->sampler, "uniform");
        assert_string_equal(gq_dataset_type_name(d, 1), "direction");
        check_content(d, &m);
        assert_int_equal(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
        gq_dataset_close(d);
        assert_ok(gq_shard_verify(dir, &gifs, &questions, &err), &err);
        assert_int_equal(gifs, GIFS);
        assert_ok(gq_remove_tree(dir, &err), &err);
    }
}

/* Plain rows share chunks: several whole ones and a last one that is not full. */
static void rows_fill_many_chunks(void **state)
{
    (void)state;
    enum { MANY = 3001 };
    gq_shard_meta    m = meta_of(true, true, false, GQ_CODEC_NONE);
    const char      *dir = gq_scratch();
    gq_error         err = {0};
    gq_shard_writer *w;
    gq_shard_entry   e;
    gq_dataset      *d;
    gq_shard_cursor *c;
    uint8_t          frames[T * S * S * 3];
    float            tokens[T * N * D];
    assert_ok(gq_shard_writer_open(dir, 0, &m, &w, &err), &err);
    for (int g = 0; g < MANY; g++)
        assert_ok(add(w, &m, g, &err), &err);
    assert_ok(gq_shard_writer_close(w, &e, &err), &err);
    gq_manifest manifest = {.complete = true, .count = 1, .shard = &e};
    assert_ok(gq_manifest_save(dir, &manifest, &err), &err);
    assert_ok(gq_dataset_open(dir, &d, &err), &err);
    assert_ok(gq_shard_cursor_new(d, &c, &err), &err);
    for (int g = 0; g < MANY; g += 1 + g % 13) {
        assert_ok(gq_dataset_frames(d, c, g, frames, &err), &err);
        assert_ok(gq_dataset_tokens(d, c, g, tokens, &err), &err);
        for (int k = 0; k < T * S * S * 3; k++)
            assert_int_equal(frames[k], pixel(g, k));
        for (int k = 0; k < T * N * D; k++)
            assert_true(tokens[k] == feature(g, k));
    }
    gq_shard_cursor_free(c);
    gq_dataset_close(d);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

/* bfloat16 rounding of the writer: to nearest, ties to even; checked against the definition by bits. */
static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    static const struct { uint32_t in, out; } cases[] = {
        {0x3F800000, 0x3F800000}, {0x3F807FFF, 0x3F800000}, {0x3F808000, 0x3F800000}, {0x3F808001, 0x3F810000},
        {0x3F818000, 0x3F820000}, {0x3F817FFF, 0x3F810000}, {0xBF818000, 0xBF820000}, {0x7F7FFFFF, 0x7F800000},
        {0x7F800000, 0x7F800000}, {0x7F800001, 0x7FC00000}, {0x00000001, 0x00000000}, {0x80000000, 0x80000000},
        {0xFFC12345, 0xFFC10000}};
    gq_shard_meta    m = meta_of(false, true, true, GQ_CODEC_NONE);
    const char      *dir = gq_scratch();
    gq_error         err = {0};
    gq_shard_writer *w;
    gq_shard_entry   e;
    gq_dataset      *d;
    gq_shard_cursor *c;
    int32_t          idx[1] = {0}, at;
    uint16_t         delay[1] = {0};
    gq_shard_gif     gif = {.name = "x", .n_frames = 1, .frame_idx = idx, .delay_cs = delay};
    float            v[13];
    m.keyframes = m.tokens = 1;
    m.width = 13;
    for (int k = 0; k < 13; k++)
        memcpy(&v[k], &cases[k].in, 4);
    assert_ok(gq_shard_writer_open(dir, 0, &m, &w, &err), &err);
    assert_ok(gq_shard_add_gif(w, &gif, NULL, v, &at, &err), &err);
    assert_ok(gq_shard_writer_close(w, &e, &err), &err);
    gq_manifest manifest = {.complete = true, .count = 1, .shard = &e};
    assert_ok(gq_manifest_save(dir, &manifest, &err), &err);
    assert_ok(gq_dataset_open(dir, &d, &err), &err);
    assert_ok(gq_shard_cursor_new(d, &c, &err), &err);
    assert_ok(gq_dataset_tokens(d, c, 0, v, &err), &err);
    for (int k = 0; k < 13; k++) {
        uint32_t u;
        memcpy(&u, &v[k], 4);
        assert_int_equal(u, cases[k].out);
    }
    gq_shard_cursor_free(c);
    gq_dataset_close(d);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

static void wrong_calls_are_refused(void **state)
{
    (void)state;
    gq_shard_meta    m = meta_of(true, false, false, GQ_CODEC_NONE), bad = m;
    const char      *dir = gq_scratch();
    gq_error         err = {0};
    gq_shard_writer *w;
    gq_shard_entry   e;
    int32_t          idx[T] = {2, 1, 0}, at;
    uint16_t         delay[T] = {0};
    uint8_t          frames[T * S * S * 3] = {0};
    gq_shard_gif     gif = {.name = "x", .n_frames = 3, .frame_idx = idx, .delay_cs = delay};
    gq_qa            qa = {.gif = 0, .type = 0, .question = "?", .answer = "a"};

    bad.size = 0;
    assert_fails(gq_shard_writer_open(dir, 0, &bad, &w, &err), GQ_EUSAGE, &err, "neither frames nor features");
    bad.size = 4096;
    bad.keyframes = 4096;
    assert_fails(gq_shard_writer_open(dir, 0, &bad, &w, &err), GQ_EUSAGE, &err, "1 GiB");
    assert_fails(gq_shard_writer_open("/nowhere", 0, &m, &w, &err), GQ_EDISK, &err, "/nowhere/shard-00000.h5.part");
    gq_error_clear(&err);
    assert_ok(gq_shard_writer_open(dir, 0, &m, &w, &err), &err);
    assert_fails(gq_shard_add_gif(w, &gif, frames, NULL, &at, &err), GQ_EUSAGE, &err, "not in order");
    assert_fails(gq_shard_add_gif(w, &gif, NULL, NULL, &at, &err), GQ_EUSAGE, &err, "without frames");
    assert_fails(gq_shard_add_qa(w, &qa, &err), GQ_EUSAGE, &err, "GIF 0");
    gq_shard_writer_abort(w);
    gq_error_clear(&err);
    assert_ok(gq_shard_writer_open(dir, 0, &m, &w, &err), &err);
    assert_fails(gq_shard_writer_close(w, &e, &err), GQ_EINPUT, &err, "0 GIFs");
    assert_int_equal(rmdir(dir), 0);             /* neither .part nor shard                                 */
}

/* ---- another reader ------------------------------------------------------------------------------------ */

/* $GIFQA_PYTHON or python3, when it has h5py. */
static const char *python_with_h5py(void)
{
    static char command[512];
    const char *python = getenv("GIFQA_PYTHON");
    snprintf(command, sizeof command, "%s -c 'import h5py' 2>/dev/null", python ? python : "python3");
    if (system(command) != 0)
        return NULL;
    return python ? python : "python3";
}

static void expect_line(FILE *f, const char *want)
{
    char got[512];
    assert_non_null(fgets(got, sizeof got, f));
    got[strcspn(got, "\n")] = 0;
    assert_string_equal(got, want);
}

/* What tests/reference/shard.py should say about the shard that add() filled. */
static void expect_content(FILE *f, const gq_shard_meta *m)
{
    char want[512];
    for (int g = 0; g < GIFS; g++) {
        char    name[32], hex[65];
        uint8_t hash[32];
        int     pixels = 0;
        double  features = 0;
        snprintf(name, sizeof name, "gif-%d.gif", g);
        gq_sha256(name, strlen(name), hash);
        gq_hex(hash, 32, hex);
        for (int k = 0; m->size && k < T * S * S * 3; k++)
            pixels += pixel(g, k);
        for (int k = 0; m->tokens && k < T * N * D; k++)
            features += (double)feature(g, k);
        snprintf(want, sizeof want, "%s 0 %d %d %d 65535 7 %d %d 9 %d %.8s %d %.6f", name, g + 1, g + 1, g, g + 2, g + 1, g,
                 hex, pixels, features);
        expect_line(f, want);
    }
    for (int g = 0; g < GIFS; g++)
        for (int q = 0; q < g % 3; q++) {
            if (q)
                snprintf(want, sizeof want, "%d 1 question 1 of %d?  %d %d /", g, g, g, g + 1);
            else
                snprintf(want, sizeof want, "%d 0 question 0 of %d? r\xC3\xB6t %d / %d", g, g, g, g);
            expect_line(f, want);
        }
    assert_int_equal(fgetc(f), EOF);
}

static void h5py_reads_the_same(void **state)
{
    (void)state;
    const char *python = python_with_h5py();
    if (!python) {
        print_message("skipped: no Python with h5py (set GIFQA_PYTHON)\n");
        skip();
    }
    for (int v = 0; v < 3; v++) {
        gq_shard_meta m = meta_of(v != 1, v != 0, v == 2, v == 2 ? GQ_CODEC_GZIP : GQ_CODEC_NONE);
        const char   *dir = gq_scratch();
        gq_error      err = {0};
        char          command[1024], want[128];
        build(dir, &m, 1);
        snprintf(command, sizeof command, "PYTHONIOENCODING=utf-8 LD_PRELOAD= %s %s/tests/reference/shard.py %s/shard-00000.h5",
                 python, GQ_SOURCE_DIR, dir);
        FILE *f = popen(command, "r");
        assert_non_null(f);
        snprintf(want, sizeof want, "%s %d %d %d %d %d %d colour direction", v == 2 ? "gzip" : "none", T, m.size, m.tokens,
                 m.width, GIFS, 39);
        expect_line(f, want);
        expect_content(f, &m);
        assert_int_equal(pclose(f), 0);
        assert_ok(gq_remove_tree(dir, &err), &err);
    }
}

/* ---- damage -------------------------------------------------------------------------------------------- */

/* Opens and reads all of it. */
static gq_status read_all(const char *dir, gq_error *err)
{
    gq_dataset      *d = NULL;
    gq_shard_cursor *c = NULL;
    uint8_t          frames[T * S * S * 3];
    float            tokens[T * N * D];
    gq_status        s = gq_dataset_open(dir, &d, err);
    if (s == GQ_OK)
        s = gq_shard_cursor_new(d, &c, err);
    for (int64_t g = 0; s == GQ_OK && g < gq_dataset_gifs(d); g++)
        if ((s = gq_dataset_frames(d, c, g, frames, err)) == GQ_OK)
            s = gq_dataset_tokens(d, c, g, tokens, err);
    gq_shard_cursor_free(c);
    gq_dataset_close(d);
    return s;
}

/* Every flipped bit is an error that names the file, before libhdf5 can stumble over it, or is found when its chunk is
 * read. Places: libhdf5's own structures at the front, then a sample of the whole file. */
static void every_flipped_bit_is_detected(void **state)
{
    (void)state;
    gq_shard_meta m = meta_of(true, true, false, GQ_CODEC_NONE);
    const char   *dir = gq_scratch();
    gq_error      err = {0};
    gq_bytes      file;
    char          path[128];
    build(dir, &m, 1);
    snprintf(path, sizeof path, "%s/shard-00000.h5", dir);
    assert_ok(gq_read_file(path, 1 << 24, &file, &err), &err);
    int fd = open(path, O_RDWR);
    for (size_t k = 0; k < 600; k++) {
        size_t  at = k < 200 ? k * 11 : (size_t)gq_philox_at(3, k, GQ_RNG_TEST, 0) % file.size;
        uint8_t bad = file.data[at] ^ (uint8_t)(1u << k % 8);
        assert_int_equal(pwrite(fd, &bad, 1, (off_t)at), 1);
        gq_error_clear(&err);
        assert_fails(read_all(dir, &err), GQ_EINPUT, &err, "shard-00000.h5");
        gq_error_clear(&err);
        uint64_t a, b;
        assert_fails(gq_shard_verify(dir, &a, &b, &err), GQ_EINPUT, &err, "shard-00000.h5");
        assert_int_equal(pwrite(fd, &file.data[at], 1, (off_t)at), 1);
    }
    close(fd);
    gq_error_clear(&err);
    assert_ok(read_all(dir, &err), &err);
    gq_bytes_free(&file);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

/* Without a manifest libhdf5 sees the damage. It may crash on it, in its helper; this process goes on with an error. */
static void strangers_cannot_crash_us(void **state)
{
    (void)state;
    gq_shard_meta m = meta_of(true, false, false, GQ_CODEC_NONE);
    const char   *dir = gq_scratch();
    gq_error      err = {0};
    gq_bytes      file;
    uint64_t      gifs, questions;
    char          path[128];
    int           refused = 0, crashed = 0;
    build(dir, &m, 1);
    snprintf(path, sizeof path, "%s/shard-00000.h5", dir);
    assert_ok(gq_shard_verify(path, &gifs, &questions, &err), &err);
    assert_int_equal(gifs, GIFS);
    assert_int_equal(questions, 39);
    assert_ok(gq_read_file(path, 1 << 24, &file, &err), &err);
    int fd = open(path, O_RDWR);
    for (size_t k = 0; k < 60; k++) {
        size_t  at = k * 22;
        uint8_t bad = file.data[at] ^ (uint8_t)(1u << k % 8);
        assert_int_equal(pwrite(fd, &bad, 1, (off_t)at), 1);
        gq_error_clear(&err);
        gq_status s = gq_shard_verify(path, &gifs, &questions, &err);
        assert_true(s == GQ_OK || s == GQ_EINPUT);
        refused += s != GQ_OK;
        crashed += s != GQ_OK && strstr(err.text, "crashes on this file");
        assert_true(s == GQ_OK || strstr(err.text, "shard-00000.h5"));
        assert_int_equal(pwrite(fd, &file.data[at], 1, (off_t)at), 1);
    }
    print_message("60 flips in libhdf5's structures: %d refused, of those %d by a crash of the helper\n", refused, crashed);
    assert_true(refused > 5);
    close(fd);
    gq_bytes_free(&file);
    gq_error_clear(&err);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

/* What a full disk does to libhdf5; in a child, because libhdf5 keeps what it could not write. */
static int fill_disk(const char *dir)
{
    gq_shard_meta m = meta_of(true, true, false, GQ_CODEC_NONE);
    struct rlimit was;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    for (rlim_t size = 0; size < 900000; size += 90000) {
        gq_error         err = {0};
        struct rlimit    small = {size, was.rlim_max};
        gq_shard_writer *w;
        gq_shard_entry   e;
        setrlimit(RLIMIT_FSIZE, &small);
        gq_status s = gq_shard_writer_open(dir, 0, &m, &w, &err);
        if (s == GQ_OK) {
            for (int g = 0; s == GQ_OK && g < 1200; g++)
                s = add(w, &m, g, &err);
            if (s == GQ_OK)
                s = gq_shard_writer_close(w, &e, &err);
            else
                gq_shard_writer_abort(w);
        }
        setrlimit(RLIMIT_FSIZE, &was);
        if (s != GQ_EDISK || !strstr(err.text, "shard-00000.h5.part")) {
            print_message("limit %llu: %d %s\n", (unsigned long long)size, (int)s, err.text);
            return 1;
        }
    }
    return 0;
}

static void a_full_disk_leaves_no_shard(void **state)
{
    (void)state;
    const char *dir = gq_scratch();
    int         status;
    pid_t       child = fork();
    if (child == 0) {
        int failed = fill_disk(dir);
        _exit(failed);                           /* no leak check: libhdf5 keeps its part                  */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(rmdir(dir), 0);             /* nothing is left                                         */
}

static void truncation_is_detected(void **state)
{
    (void)state;
    gq_shard_meta m = meta_of(true, true, true, GQ_CODEC_GZIP);
    const char   *dir = gq_scratch();
    gq_error      err = {0};
    struct stat   st;
    char          path[128];
    build(dir, &m, 1);
    snprintf(path, sizeof path, "%s/shard-00000.h5", dir);
    assert_int_equal(stat(path, &st), 0);
    for (off_t cut = st.st_size - 1, step = 0; step < 40; step++, cut -= st.st_size / 40) {
        assert_int_equal(truncate(path, cut > 0 ? cut : 0), 0);
        assert_fails(read_all(dir, &err), GQ_EINPUT, &err, "shard-00000.h5");
    }
    assert_int_equal(unlink(path), 0);
    assert_fails(read_all(dir, &err), GQ_EINPUT, &err, "shard-00000.h5");
    gq_error_clear(&err);
    assert_ok(gq_remove_tree(dir, &err), &err);
    assert_fails(read_all(dir, &err), GQ_EINPUT, &err, "gifqa-prep build");
}

/* Several paths are one dataset; a single file is checked against the manifest beside it. */
static void lists_and_files_are_opened(void **state)
{
    (void)state;
    gq_shard_meta m = meta_of(true, true, false, GQ_CODEC_NONE), other = m;
    const char   *a = strdup(gq_scratch()), *b = gq_scratch(), *paths[2] = {a, b};
    gq_error      err = {0};
    gq_dataset   *d;
    gq_shard_gif  gif;
    char          file[128];
    build(a, &m, 2);
    build(b, &m, 1);
    assert_ok(gq_dataset_open_list(paths, 2, &d, &err), &err);
    assert_int_equal(gq_dataset_gifs(d), 2 * GIFS);
    gq_dataset_gif(d, GIFS + 7, &gif);
    assert_string_equal(gif.name, "gif-7.gif");
    gq_dataset_close(d);
    snprintf(file, sizeof file, "%s/shard-00001.h5", a);
    assert_ok(gq_dataset_open(file, &d, &err), &err);
    assert_int_equal(gq_dataset_gifs(d), GIFS / 2);
    gq_dataset_close(d);
    assert_int_equal(truncate(file, 100000), 0);
    assert_fails(gq_dataset_open(file, &d, &err), GQ_EINPUT, &err, "the manifest says");
    gq_error_clear(&err);
    snprintf(file, sizeof file, "%s/MANIFEST.json", a);
    assert_int_equal(unlink(file), 0);
    snprintf(file, sizeof file, "%s/shard-00000.h5", a);
    assert_fails(gq_dataset_open(file, &d, &err), GQ_EINPUT, &err, "no MANIFEST.json beside it");
    gq_error_clear(&err);
    assert_ok(gq_remove_tree(a, &err), &err);
    other.ntypes = 1;
    gq_shard_type_add(&other, "other");
    assert_int_equal(mkdir(a, 0777), 0);
    build(a, &other, 1);
    assert_fails(gq_dataset_open_list(paths, 2, &d, &err), GQ_EINPUT, &err, "other question types");
    gq_error_clear(&err);
    assert_ok(gq_remove_tree(a, &err), &err);
    assert_ok(gq_remove_tree(b, &err), &err);
    free((void *)(uintptr_t)a);
}

static void unfinished_datasets_are_refused(void **state)
{
    (void)state;
    gq_shard_meta m = meta_of(true, true, false, GQ_CODEC_NONE);
    const char   *dir = gq_scratch();
    gq_error      err = {0};
    gq_manifest   manifest;
    char          path[128];
    build(dir, &m, 2);
    assert_ok(gq_manifest_load(dir, &manifest, &err), &err);
    assert_int_equal(manifest.count, 2);
    manifest.complete = false;
    assert_ok(gq_manifest_save(dir, &manifest, &err), &err);
    assert_fails(read_all(dir, &err), GQ_EINPUT, &err, "not finished");
    gq_error_clear(&err);
    manifest.complete = true;
    manifest.count = 0;
    assert_ok(gq_manifest_save(dir, &manifest, &err), &err);
    assert_fails(read_all(dir, &err), GQ_EINPUT, &err, "no shards");
    gq_error_clear(&err);
    manifest.count = 2;
    snprintf(manifest.shard[1].file, sizeof manifest.shard[1].file, "../shard-00001.h5");
    assert_ok(gq_manifest_save(dir, &manifest, &err), &err);
    assert_fails(read_all(dir, &err), GQ_EINPUT, &err, "shard 1 of the list");
    gq_manifest_free(&manifest);
    snprintf(path, sizeof path, "%s/MANIFEST.json", dir);
    gq_error_clear(&err);
    assert_ok(gq_write_file(path, "{\"format\":1}", 12, &err), &err);
    assert_fails(read_all(dir, &err), GQ_EINPUT, &err, "MANIFEST.json");
    gq_error_clear(&err);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

/* A writer killed at any moment leaves no shard under its name. */
static void killed_writers_leave_no_shard(void **state)
{
    (void)state;
    gq_shard_meta m = meta_of(true, true, false, GQ_CODEC_NONE);
    const char   *dir = gq_scratch();
    gq_error      err = {0};
    char          path[128];
    int           unfinished = 0;
    snprintf(path, sizeof path, "%s/shard-00000.h5", dir);
    for (int round = 0; round < 12; round++) {
        pid_t child = fork();
        if (child == 0) {
            gq_shard_writer *w;
            gq_shard_entry   e;
            if (gq_shard_writer_open(dir, 0, &m, &w, &err) != GQ_OK)
                _exit(1);
            for (int g = 0; g < 400; g++)
                if (add(w, &m, g, &err) != GQ_OK)
                    _exit(1);
            _exit(gq_shard_writer_close(w, &e, &err) != GQ_OK);
        }
        usleep((useconds_t)(500 + 2500 * round));
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (gq_is_file(path)) {                          /* finished before the signal: then it is whole      */
            uint64_t gifs, questions;
            assert_ok(gq_shard_verify(path, &gifs, &questions, &err), &err);
            assert_int_equal(gifs, 400);
            assert_int_equal(unlink(path), 0);
        } else {
            unfinished++;
        }
    }
    assert_true(unfinished > 0);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

/* ---- hostile HDF5 --------------------------------------------------------------------------------------- */

static hid_t u8_set(hid_t at, const char *name, int rank, const hsize_t *dim, hid_t list)
{
    hid_t space = H5Screate_simple(rank, dim, NULL);
    hid_t set = H5Dcreate2(at, name, H5T_STD_U8LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    H5Sclose(space);
    return set;
}

/* Replaces /gif/frames, or another dataset, of a good shard by something evil. */
static void spoil(const char *path, int how)
{
    hid_t   f = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), gif = H5Gopen2(f, "gif", H5P_DEFAULT), set = -1;
    hid_t   list = H5Pcreate(H5P_DATASET_CREATE), space, source;
    hsize_t dim[5] = {GIFS, T, S, S, 3}, chunk[5] = {1, T, S, S, 3}, flat = GIFS * 32;
    assert_true(f >= 0 && gif >= 0 && list >= 0);
    H5Ldelete(gif, how == 1 ? "sha256" : "frames", H5P_DEFAULT);
    switch (how) {
    case 0:                                              /* external link to another file                     */
        H5Lcreate_external("/etc/passwd.h5", "/gif/frames", gif, "frames", H5P_DEFAULT, H5P_DEFAULT);
        break;
    case 1:                                              /* external storage of a small array                 */
        H5Pset_external(list, "/etc/hostname", 0, flat);
        set = u8_set(gif, "sha256", 2, (hsize_t[]){GIFS, 32}, list);
        break;
    case 2:                                              /* virtual dataset                                   */
        space = H5Screate_simple(5, dim, NULL);
        source = H5Screate_simple(5, dim, NULL);
        H5Pset_virtual(list, space, "/etc/other.h5", "/x", source);
        set = u8_set(gif, "frames", 5, dim, list);
        H5Sclose(space);
        H5Sclose(source);
        break;
    case 3:                                              /* shape bomb: declared, never written               */
        H5Pset_chunk(list, 5, chunk);
        set = u8_set(gif, "frames", 5, dim, list);
        break;
    case 4:                                              /* soft link within the file                         */
        H5Lcreate_soft("/gif/sha256", gif, "frames", H5P_DEFAULT, H5P_DEFAULT);
        break;
    case 5:                                              /* a filter that is not deflate                      */
        H5Pset_chunk(list, 5, chunk);
        H5Pset_fletcher32(list);
        set = u8_set(gif, "frames", 5, dim, list);
        break;
    case 6:                                              /* many GIFs packed together                         */
        chunk[0] = 8;
        H5Pset_chunk(list, 5, chunk);
        H5Pset_deflate(list, 1);
        set = u8_set(gif, "frames", 5, dim, list);
        break;
    case 7:                                              /* other rank                                        */
        H5Pset_chunk(list, 1, &flat);
        set = u8_set(gif, "frames", 1, &flat, list);
        break;
    case 8:                                              /* not a dataset at all                              */
        set = H5Gcreate2(gif, "frames", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        break;
    default:                                             /* a bomb of zeros behind deflate                    */
        dim[0] = chunk[0] = 1;
        H5Pset_chunk(list, 5, chunk);
        H5Pset_deflate(list, 9);
        dim[0] = GIFS;
        set = u8_set(gif, "frames", 5, dim, list);
    }
    if (set >= 0)
        H5Oclose(set);
    H5Pclose(list);
    H5Gclose(gif);
    H5Fclose(f);
}

static void hostile_files_are_refused(void **state)
{
    (void)state;
    static const char *const why[] = {"only hard links", "external storage", "virtual dataset", "are stored: refused",
                                      "only hard links", "filter other than deflate", "several of them packed", "dimensions",
                                      "cannot open it", "row 0 is not in the file"};
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    for (int how = 0; how < (int)(sizeof why / sizeof *why); how++) {
        gq_shard_meta m = meta_of(true, false, false, GQ_CODEC_NONE);
        const char   *dir = gq_scratch();
        gq_error      err = {0};
        uint64_t      gifs, questions;
        char          path[128];
        build(dir, &m, 1);
        snprintf(path, sizeof path, "%s/shard-00000.h5", dir);
        spoil(path, how);
        assert_fails(gq_shard_verify(path, &gifs, &questions, &err), GQ_EINPUT, &err, why[how]);
        assert_non_null(strstr(err.text, how == 1 ? "gif/sha256" : "gif/frames"));
        assert_int_equal(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
        gq_error_clear(&err);
        assert_ok(gq_remove_tree(dir, &err), &err);
    }
}

static void other_files_are_no_shards(void **state)
{
    (void)state;
    const char *dir = gq_scratch();
    gq_error    err = {0};
    uint64_t    a, b;
    char        path[128];
    snprintf(path, sizeof path, "%s/x.h5", dir);
    assert_fails(gq_shard_verify(path, &a, &b, &err), GQ_EINPUT, &err, "x.h5");
    gq_error_clear(&err);
    assert_ok(gq_write_file(path, "not hdf5", 8, &err), &err);
    assert_fails(gq_shard_verify(path, &a, &b, &err), GQ_EINPUT, &err, "not a readable HDF5 file");
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(f);
    assert_fails(gq_shard_verify(path, &a, &b, &err), GQ_EINPUT, &err, "'format' is missing");
    gq_error_clear(&err);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

/* ---- no memory ------------------------------------------------------------------------------------------ */

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    gq_shard_meta m = meta_of(true, true, true, GQ_CODEC_GZIP);
    const char   *dir = gq_scratch();
    gq_error      err = {0};
    gq_status     s = GQ_ENOMEM;
    build(dir, &m, 2);
    for (uint64_t n = 1; s != GQ_OK; n++) {
        gq_error_clear(&err);
        gq_mem_fail_at(n, n & 1);
        s = read_all(dir, &err);
        gq_mem_fail_at(0, false);
        if (s != GQ_OK && s != GQ_ENOMEM)
            fail_msg("allocation %llu: %d %s", (unsigned long long)n, (int)s, err.text);
        assert_true(n < 500);
    }
    gq_error_clear(&err);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_comes_back),      cmocka_unit_test(rows_fill_many_chunks),
          cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(wrong_calls_are_refused),         cmocka_unit_test(every_flipped_bit_is_detected),
        cmocka_unit_test(h5py_reads_the_same),
        cmocka_unit_test(strangers_cannot_crash_us),       cmocka_unit_test(a_full_disk_leaves_no_shard),
        cmocka_unit_test(truncation_is_detected), cmocka_unit_test(lists_and_files_are_opened),
                cmocka_unit_test(unfinished_datasets_are_refused),
        cmocka_unit_test(killed_writers_leave_no_shard),   cmocka_unit_test(hostile_files_are_refused),
        cmocka_unit_test(other_files_are_no_shards),       cmocka_unit_test(every_failed_allocation_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
