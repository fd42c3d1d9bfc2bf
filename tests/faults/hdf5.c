/* Hostile HDF5: files that would make libhdf5 read other files, load code or allocate terabytes are
 * refused with the reason, before anything of it happens; a crash inside libhdf5 stays inside the
 * helper process that looks at files of strangers.
 */
#include <fcntl.h>
#include <hdf5.h>
#include <sys/resource.h>

#include "data/shard_made.h"
#include "faults/report.h"

typedef struct spot { hid_t file, gif, list; } spot;                /* a good shard, open         */

static const hsize_t rows[5] = {GIFS, T, S, S, 3}, chunk[5] = {1, T, S, S, 3};

static void replace(hid_t at, const char *name, hid_t type, int rank, const hsize_t *dim,
                    hid_t list)
{
    hid_t space = H5Screate_simple(rank, dim, NULL);
    H5Ldelete(at, name, H5P_DEFAULT);
    hid_t set = H5Dcreate2(at, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    assert_true(set >= 0);
    H5Dclose(set);
    H5Sclose(space);
}

/* ---- the attacks ----------------------------------------------------------------------------- */

static void external_link(spot *s)
{
    H5Ldelete(s->gif, "frames", H5P_DEFAULT);
    H5Lcreate_external("/etc/passwd.h5", "/gif/frames", s->gif, "frames", H5P_DEFAULT, H5P_DEFAULT);
}

static void external_group(spot *s)
{
    H5Ldelete(s->file, "gif", H5P_DEFAULT);
    H5Lcreate_external("other.h5", "/gif", s->file, "gif", H5P_DEFAULT, H5P_DEFAULT);
}

static void soft_link(spot *s)
{
    H5Ldelete(s->gif, "frames", H5P_DEFAULT);
    H5Lcreate_soft("/gif/sha256", s->gif, "frames", H5P_DEFAULT, H5P_DEFAULT);
}

static void external_storage(spot *s)
{
    H5Pset_external(s->list, "/etc/hostname", 0, GIFS * 32);
    replace(s->gif, "sha256", H5T_STD_U8LE, 2, (hsize_t[]){GIFS, 32}, s->list);
}

static void virtual_dataset(spot *s)
{
    hid_t space = H5Screate_simple(5, rows, NULL), source = H5Screate_simple(5, rows, NULL);
    H5Pset_virtual(s->list, space, "/etc/other.h5", "/x", source);
    replace(s->gif, "frames", H5T_STD_U8LE, 5, rows, s->list);
    H5Sclose(space);
    H5Sclose(source);
}

/* A filter that only a plugin could provide; optional, so that the file can be made without it. */
static void filter_plugin(spot *s)
{
    H5Pset_chunk(s->list, 5, chunk);
    H5Pset_filter(s->list, 32001, H5Z_FLAG_OPTIONAL, 0, NULL);
    replace(s->gif, "frames", H5T_STD_U8LE, 5, rows, s->list);
}

static void other_filter(spot *s)
{
    H5Pset_chunk(s->list, 5, chunk);
    H5Pset_fletcher32(s->list);
    replace(s->gif, "frames", H5T_STD_U8LE, 5, rows, s->list);
}

static void two_filters(spot *s)
{
    H5Pset_chunk(s->list, 5, chunk);
    H5Pset_shuffle(s->list);
    H5Pset_deflate(s->list, 1);
    replace(s->gif, "frames", H5T_STD_U8LE, 5, rows, s->list);
}

static void shape_bomb(spot *s)                      /* 4 TiB declared, nothing stored */
{
    replace(s->gif, "n_frames", H5T_STD_I32LE, 1, (hsize_t[]){1ull << 40}, s->list);
}

static void empty_rows(spot *s)
{
    H5Pset_chunk(s->list, 5, chunk);
    replace(s->gif, "frames", H5T_STD_U8LE, 5, rows, s->list);
}

static void packed_nothing(spot *s)                  /* deflated rows that were never written */
{
    H5Pset_chunk(s->list, 5, chunk);
    H5Pset_deflate(s->list, 9);
    replace(s->gif, "frames", H5T_STD_U8LE, 5, rows, s->list);
}

static void packed_together(spot *s)
{
    hsize_t eight[5] = {8, T, S, S, 3};
    H5Pset_chunk(s->list, 5, eight);
    H5Pset_deflate(s->list, 1);
    replace(s->gif, "frames", H5T_STD_U8LE, 5, rows, s->list);
}

static void variable_length(spot *s)
{
    hid_t type = H5Tvlen_create(H5T_STD_U8LE);
    replace(s->gif, "sha256", type, 2, (hsize_t[]){GIFS, 32}, s->list);
    H5Tclose(type);
}

static void reference(spot *s)
{
    replace(s->gif, "sha256", H5T_STD_REF_OBJ, 2, (hsize_t[]){GIFS, 32}, s->list);
}

static void variable_text(spot *s)
{
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, H5T_VARIABLE);
    H5Adelete(s->file, "format");
    hid_t a = H5Acreate2(s->file, "format", type, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
}

static void other_rank(spot *s)
{
    hsize_t flat = GIFS * 32;
    H5Pset_chunk(s->list, 1, &flat);
    replace(s->gif, "frames", H5T_STD_U8LE, 1, &flat, s->list);
}

static void a_group_instead(spot *s)
{
    H5Ldelete(s->gif, "frames", H5P_DEFAULT);
    H5Gclose(H5Gcreate2(s->gif, "frames", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

static const struct attack {
    const char *name;
    void      (*make)(spot *);
    const char *where, *why;            /* both are in the message                                */
} attacks[] = {
    {"external link", external_link, "gif/frames", "soft or external link"},
    {"external link to a group", external_group, "gif/", "soft or external link"},
    {"soft link", soft_link, "gif/frames", "soft or external link"},
    {"external storage", external_storage, "gif/sha256", "external storage"},
    {"virtual dataset", virtual_dataset, "gif/frames", "virtual dataset"},
    {"filter plugin", filter_plugin, "gif/frames", "a filter other than deflate"},
    {"another filter", other_filter, "gif/frames", "a filter other than deflate"},
    {"two filters", two_filters, "gif/frames", "filters other than one deflate"},
    {"shape bomb", shape_bomb, "gif/n_frames", "1099511627776"},
    {"rows declared, not stored", empty_rows, "gif/frames", "are stored: refused"},
    {"packed rows, not stored", packed_nothing, "gif/frames", "row 0 is not in the file"},
    {"rows packed together", packed_together, "gif/frames", "several of them packed"},
    {"variable-length type", variable_length, "gif/sha256", "another element type"},
    {"reference type", reference, "gif/sha256", "another element type"},
    {"variable-length text", variable_text, "format", "a type that is refused"},
    {"another rank", other_rank, "gif/frames", "dimensions"},
    {"a group for a dataset", a_group_instead, "gif/frames", "cannot open it"},
};
enum { ATTACKS = sizeof attacks / sizeof *attacks };

static void make(const struct attack *a, const char *dir, char path[128])
{
    gq_shard_meta m = meta_of(true, false, false, GQ_CODEC_NONE);
    spot          s;

    build(dir, &m, 1);
    snprintf(path, 128, "%s/shard-00000.h5", dir);

    s.file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    s.gif = H5Gopen2(s.file, "gif", H5P_DEFAULT);
    s.list = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(s.file >= 0 && s.gif >= 0 && s.list >= 0);
    a->make(&s);
    H5Pclose(s.list);
    H5Gclose(s.gif);
    H5Fclose(s.file);
}

static void hostile_files_are_refused(void **state)
{
    double start = rig_now();
    long   refused = 0;
    (void)state;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    for (int i = 0; i < ATTACKS; i++) {
        const char *dir = gq_scratch();
        gq_error    err = {0};
        uint64_t    gifs, questions;
        char        path[128];

        make(&attacks[i], dir, path);
        gq_status s = gq_shard_verify(path, &gifs, &questions, &err);
        bool      right = s == GQ_EINPUT && strstr(err.text, path) &&
                     strstr(err.text, attacks[i].where) && strstr(err.text, attacks[i].why);
        refused += right;
        if (!right)
            print_message("%s: status %d: %s\n", attacks[i].name, (int)s, err.text);
        assert_int_equal(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
        gq_error_clear(&err);
        assert_ok(gq_remove_tree(dir, &err), &err);
    }
    rig_report(&(rig_result){.rig = "R10",
                             .what = "hostile HDF5 files, each refused with its reason",
                             .injected = ATTACKS,
                             .survived = refused,
                             .failed = ATTACKS - refused,
                             .seconds = rig_now() - start});
    assert_int_equal(refused, ATTACKS);
}

/* Without a manifest libhdf5 sees damaged structures, and may crash on them or loop: in its helper.
 * This process goes on with an error. */
static void a_crash_is_contained(void **state)
{
    gq_shard_meta m = meta_of(true, false, false, GQ_CODEC_NONE);
    const char   *dir = gq_scratch();
    double        start = rig_now();
    long          flips = rig_long() ? 1200 : 60, refused = 0, crashed = 0, lost = 0;
    gq_error      err = {0};
    gq_bytes      file;
    uint64_t      gifs, questions;
    char          path[128], note[128];
    (void)state;

    build(dir, &m, 1);
    snprintf(path, sizeof path, "%s/shard-00000.h5", dir);
    assert_ok(gq_shard_verify(path, &gifs, &questions, &err), &err);
    assert_int_equal(gifs, GIFS);
    assert_int_equal(questions, 39);
    assert_ok(gq_read_file(path, 1 << 24, &file, &err), &err);
    int fd = open(path, O_RDWR);
    for (long k = 0; k < flips; k++) {
        size_t  at = (size_t)(k * 1320 / flips);             /* libhdf5's structures are there */
        uint8_t bad = file.data[at] ^ (uint8_t)(1u << k % 8);
        assert_int_equal(pwrite(fd, &bad, 1, (off_t)at), 1);
        gq_error_clear(&err);
        gq_status s = gq_shard_verify(path, &gifs, &questions, &err);
        lost += s != GQ_OK && (s != GQ_EINPUT || !strstr(err.text, "shard-00000.h5"));
        refused += s != GQ_OK;
        crashed += s != GQ_OK && strstr(err.text, "crashes on this file");
        assert_int_equal(pwrite(fd, &file.data[at], 1, (off_t)at), 1);
    }
    close(fd);
    snprintf(note, sizeof note, "%ld refused, of those %ld by a crash of the helper", refused,
             crashed);
    rig_report(&(rig_result){.rig = "R10",
                             .what = "flipped bits in libhdf5's own structures",
                             .injected = flips,
                             .survived = flips - lost,
                             .failed = lost,
                             .seconds = rig_now() - start,
                             .note = note});
    assert_int_equal(lost, 0);
    assert_true(refused > 5);
    gq_bytes_free(&file);
    gq_error_clear(&err);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_files_are_refused),
        cmocka_unit_test(a_crash_is_contained),
    };
    return cmocka_run_group_tests_name("faults/hdf5", tests, NULL, NULL);
}
