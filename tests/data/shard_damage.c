/* Shards that are damaged, hostile or half written: found, refused, never crashed on, never left
 * behind. */
#include "shard_made.h"

#include <fcntl.h>
#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- damage ---------------------------------------------------------------------------------- */

/* Every flipped bit is an error that names the file, before libhdf5 can stumble over it, or is
 * found when its chunk is read. Places: libhdf5's own structures at the front, then a sample of
 * the whole file. */
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

/* Without a manifest libhdf5 sees the damage. It may crash on it, in its helper; this process
 * goes on with an error. */
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
    print_message(
        "60 flips in libhdf5's structures: %d refused, of those %d by a crash of the helper\n",
        refused, crashed);
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
        _exit(failed);                           /* no leak check: libhdf5 keeps its part */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(rmdir(dir), 0);             /* nothing is left */
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

/* ---- hostile HDF5 ---------------------------------------------------------------------------- */

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
    hid_t f = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), gif = H5Gopen2(f, "gif", H5P_DEFAULT),
          set = -1;
    hid_t   list = H5Pcreate(H5P_DATASET_CREATE), space, source;
    hsize_t dim[5] = {GIFS, T, S, S, 3}, chunk[5] = {1, T, S, S, 3}, flat = GIFS * 32;
    assert_true(f >= 0 && gif >= 0 && list >= 0);
    H5Ldelete(gif, how == 1 ? "sha256" : "frames", H5P_DEFAULT);
    switch (how) {
    case 0:                                              /* external link to another file */
        H5Lcreate_external("/etc/passwd.h5", "/gif/frames", gif, "frames", H5P_DEFAULT,
                           H5P_DEFAULT);
        break;
    case 1:                                              /* external storage of a small array */
        H5Pset_external(list, "/etc/hostname", 0, flat);
        set = u8_set(gif, "sha256", 2, (hsize_t[]){GIFS, 32}, list);
        break;
    case 2:                                              /* virtual dataset */
        space = H5Screate_simple(5, dim, NULL);
        source = H5Screate_simple(5, dim, NULL);
        H5Pset_virtual(list, space, "/etc/other.h5", "/x", source);
        set = u8_set(gif, "frames", 5, dim, list);
        H5Sclose(space);
        H5Sclose(source);
        break;
    case 3:                                              /* shape bomb: declared, never written */
        H5Pset_chunk(list, 5, chunk);
        set = u8_set(gif, "frames", 5, dim, list);
        break;
    case 4:                                              /* soft link within the file */
        H5Lcreate_soft("/gif/sha256", gif, "frames", H5P_DEFAULT, H5P_DEFAULT);
        break;
    case 5:                                              /* a filter that is not deflate */
        H5Pset_chunk(list, 5, chunk);
        H5Pset_fletcher32(list);
        set = u8_set(gif, "frames", 5, dim, list);
        break;
    case 6:                                              /* many GIFs packed together */
        chunk[0] = 8;
        H5Pset_chunk(list, 5, chunk);
        H5Pset_deflate(list, 1);
        set = u8_set(gif, "frames", 5, dim, list);
        break;
    case 7:                                              /* other rank */
        H5Pset_chunk(list, 1, &flat);
        set = u8_set(gif, "frames", 1, &flat, list);
        break;
    case 8:                                              /* not a dataset at all */
        set = H5Gcreate2(gif, "frames", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        break;
    default:                                             /* a bomb of zeros behind deflate */
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
    static const char *const why[] = {"only hard links",        "external storage",
                                      "virtual dataset",        "are stored: refused",
                                      "only hard links",        "filter other than deflate",
                                      "several of them packed", "dimensions",
                                      "cannot open it",         "row 0 is not in the file"};
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_is_detected),
        cmocka_unit_test(strangers_cannot_crash_us),
        cmocka_unit_test(a_full_disk_leaves_no_shard),
        cmocka_unit_test(truncation_is_detected),
        cmocka_unit_test(killed_writers_leave_no_shard),
        cmocka_unit_test(hostile_files_are_refused),
        cmocka_unit_test(other_files_are_no_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
