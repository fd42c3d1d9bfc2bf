/* Shards: what is written comes back, also to another reader; lists of files; no memory. */
#include "shard_made.h"

#include <hdf5.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "python.h"

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
    for (int v = 0; v < 4 * GQ_CODECS; v++) {
        gq_shard_meta m = meta_of(v != 1, v != 0, v & 2, (gq_shard_codec)(v / 4));
        if (gq_shard_codec_lack(m.codec))
            continue;
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

/* bfloat16 rounding of the writer: to nearest, ties to even; checked against the definition by
 * bits. */
static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    static const struct { uint32_t in, out;
    } cases[] = {{0x3F800000, 0x3F800000}, {0x3F807FFF, 0x3F800000}, {0x3F808000, 0x3F800000},
                 {0x3F808001, 0x3F810000}, {0x3F818000, 0x3F820000}, {0x3F817FFF, 0x3F810000},
                 {0xBF818000, 0xBF820000}, {0x7F7FFFFF, 0x7F800000}, {0x7F800000, 0x7F800000},
                 {0x7F800001, 0x7FC00000}, {0x00000001, 0x00000000}, {0x80000000, 0x80000000},
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
    assert_fails(gq_shard_writer_open(dir, 0, &bad, &w, &err), GQ_EUSAGE, &err,
                 "neither pixels nor features");
    bad.size = 4096;
    bad.keyframes = 4096;
    assert_fails(gq_shard_writer_open(dir, 0, &bad, &w, &err), GQ_EUSAGE, &err, "1 GiB");
    assert_fails(gq_shard_writer_open("/nowhere", 0, &m, &w, &err), GQ_EDISK, &err,
                 "/nowhere/shard-00000.h5.part");
    gq_error_clear(&err);
    assert_ok(gq_shard_writer_open(dir, 0, &m, &w, &err), &err);
    assert_fails(gq_shard_add_gif(w, &gif, frames, NULL, &at, &err), GQ_EUSAGE, &err,
                 "not in order");
    assert_fails(gq_shard_add_gif(w, &gif, NULL, NULL, &at, &err), GQ_EUSAGE, &err,
                 "without frames");
    assert_fails(gq_shard_add_qa(w, &qa, &err), GQ_EUSAGE, &err, "GIF 0");
    gq_shard_writer_abort(w);
    gq_error_clear(&err);
    assert_ok(gq_shard_writer_open(dir, 0, &m, &w, &err), &err);
    assert_fails(gq_shard_writer_close(w, &e, &err), GQ_EINPUT, &err, "0 GIFs");
    assert_int_equal(rmdir(dir), 0);             /* neither .part nor shard */
}

/* ---- another reader -------------------------------------------------------------------------- */

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
        snprintf(want, sizeof want, "%s 0 %d %d %d 65535 7 %d %d 9 %d %.8s %d %.6f", name, g + 1,
                 g + 1, g, g + 2, g + 1, g, hex, pixels, features);
        expect_line(f, want);
    }
    for (int g = 0; g < GIFS; g++)
        for (int q = 0; q < g % 3; q++) {
            if (q)
                snprintf(want, sizeof want, "%d 1 question 1 of %d?  %d %d /", g, g, g, g + 1);
            else
                snprintf(want, sizeof want, "%d 0 question 0 of %d? r\xC3\xB6t %d / %d", g, g, g,
                         g);
            expect_line(f, want);
        }
    assert_int_equal(fgetc(f), EOF);
}

static void h5py_reads_the_same(void **state)
{
    (void)state;
    const char *python = need_h5py();
    for (int v = 0; v < 4 * GQ_CODECS; v++) {
        gq_shard_meta m = meta_of(v % 4 != 1, v % 4 != 0, v % 4 == 2, (gq_shard_codec)(v / 4));
        if (gq_shard_codec_lack(m.codec))
            continue;
        const char   *dir = gq_scratch();
        gq_error      err = {0};
        char          want[128];
        build(dir, &m, 1);
        FILE *f = read_with_h5py(python, dir);
        snprintf(want, sizeof want, "%s %d %d %d %d %d %d colour direction",
                 gq_shard_codec_name[m.codec], T, m.size, m.tokens, m.width, GIFS, 39);
        expect_line(f, want);
        expect_content(f, &m);
        assert_int_equal(pclose(f), 0);
        assert_ok(gq_remove_tree(dir, &err), &err);
    }
}

/* ---- several files ------------------------------------------------------------------------- */

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
    assert_fails(gq_dataset_open(file, &d, &err), GQ_EINPUT, &err,
                 "is not a directory with shards; make one with gifqa-prep build");
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

/* ---- no memory ------------------------------------------------------------------------------- */

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    bool          zstd = !gq_shard_codec_lack(GQ_CODEC_DELTA_ZSTD);
    gq_shard_meta m = meta_of(true, true, true, zstd ? GQ_CODEC_DELTA_ZSTD : GQ_CODEC_GZIP);
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
        cmocka_unit_test(what_is_written_comes_back),
        cmocka_unit_test(rows_fill_many_chunks),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(wrong_calls_are_refused),
        cmocka_unit_test(h5py_reads_the_same),
        cmocka_unit_test(lists_and_files_are_opened),
        cmocka_unit_test(unfinished_datasets_are_refused),
        cmocka_unit_test(every_failed_allocation_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
