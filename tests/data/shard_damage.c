/* Shards that are half written, missing or something else: refused, never left behind. Damaged and
 * hostile ones: tests/faults/corruption.c and hdf5.c. */
#include "shard_made.h"

#include <fcntl.h>
#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- damage ---------------------------------------------------------------------------------- */

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
        _exit(failed);                           /* no leak check: libhdf5 keeps its part */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(rmdir(dir), 0);             /* nothing is left */
}

static void a_missing_one_is_named(void **state)
{
    (void)state;
    gq_shard_meta m = meta_of(true, true, true, GQ_CODEC_GZIP);
    const char   *dir = gq_scratch();
    gq_error      err = {0};
    char          path[128];
    build(dir, &m, 1);
    snprintf(path, sizeof path, "%s/shard-00000.h5", dir);
    assert_int_equal(unlink(path), 0);
    assert_fails(read_all(dir, &err), GQ_EINPUT, &err, "shard-00000.h5");
    gq_error_clear(&err);
    assert_ok(gq_remove_tree(dir, &err), &err);
    assert_fails(read_all(dir, &err), GQ_EINPUT, &err, "gifqa-prep build");
}

/* Where a row of gif/<set> lies in the file, packed. */
static void find_chunk(const char *path, const char *set, hsize_t row, haddr_t *at, hsize_t *bytes)
{
    hid_t    f = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), d = H5Dopen2(f, set, H5P_DEFAULT);
    hsize_t  place[5] = {row};
    unsigned mask;
    assert_true(H5Dget_chunk_info_by_coord(d, place, &mask, at, bytes) >= 0);
    H5Dclose(d);
    H5Fclose(f);
}

/* Damage in a packed row costs that row: the error names file, row set, row and GIF, and all others
 * are read as they were. */
static void a_damaged_chunk_costs_its_row(void **state)
{
    enum { ROW = 5 };
    static const char *const sets[] = {"gif/frames", "gif/tokens"};
    (void)state;
    for (int v = 0; v < 4 && !gq_shard_codec_lack((gq_shard_codec)(1 + v / 2)); v++) {
        gq_shard_meta    m = meta_of(true, true, true, (gq_shard_codec)(1 + v / 2));
        const char      *dir = gq_scratch(), *set = sets[v % 2];
        gq_error         err = {0};
        gq_dataset      *d;
        gq_shard_cursor *c;
        haddr_t          at;
        hsize_t          bytes;
        uint8_t          frames[T * S * S * 3], bad;
        float            tokens[T * N * D];
        uint64_t         a, b;
        char             path[128];
        build(dir, &m, 1);
        snprintf(path, sizeof path, "%s/shard-00000.h5", dir);
        find_chunk(path, set, ROW, &at, &bytes);
        int fd = open(path, O_RDWR);
        assert_int_equal(pread(fd, &bad, 1, (off_t)(at + bytes / 2)), 1);
        bad ^= 4;
        assert_int_equal(pwrite(fd, &bad, 1, (off_t)(at + bytes / 2)), 1);
        close(fd);
        assert_ok(gq_dataset_open(dir, &d, &err), &err);
        assert_ok(gq_shard_cursor_new(d, &c, &err), &err);
        for (int g = 0; g < GIFS; g++) {
            gq_status s = v % 2 ? gq_dataset_tokens(d, c, g, tokens, &err)
                                : gq_dataset_frames(d, c, g, frames, &err);
            assert_int_equal(s, g == ROW ? GQ_EINPUT : GQ_OK);
            for (int k = 0; g != ROW && k < (v % 2 ? T * N * D : T * S * S * 3); k++)
                assert_true(v % 2 ? tokens[k] == feature(g, k) : frames[k] == pixel(g, k));
        }
        assert_non_null(strstr(err.text, path));
        assert_non_null(strstr(err.text, set));
        assert_non_null(strstr(err.text, "row 5 (gif-5.gif)"));
        gq_shard_cursor_free(c);
        gq_dataset_close(d);
        gq_error_clear(&err);
        assert_fails(gq_shard_verify(path, &a, &b, &err), GQ_EINPUT, &err, "row 5 (gif-5.gif)");
        gq_error_clear(&err);
        assert_ok(gq_remove_tree(dir, &err), &err);
    }
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
        if (gq_is_file(path)) { /* finished before the signal: then it is whole */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_leaves_no_shard),
        cmocka_unit_test(a_missing_one_is_named),
        cmocka_unit_test(a_damaged_chunk_costs_its_row),
        cmocka_unit_test(killed_writers_leave_no_shard),
        cmocka_unit_test(other_files_are_no_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
