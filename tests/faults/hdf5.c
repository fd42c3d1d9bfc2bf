/* Hostile HDF5: files that would make libhdf5 read other files, load code or allocate terabytes are
 * refused with the reason, before anything of it happens; a crash inside libhdf5 stays inside the
 * helper process that looks at files of strangers.
 */
#include <fcntl.h>
#include <hdf5.h>
#include <sys/resource.h>
#include <zlib.h>

#include "data/shard_made.h"
#include "faults/report.h"

enum { NONE = GQ_CODEC_NONE, GZIP = GQ_CODEC_GZIP, ZSTD = GQ_CODEC_DELTA_ZSTD };

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

/* Puts bytes in the place of a packed row, and the checksums right again. */
static void forge(spot *s, hsize_t row, const void *bytes, size_t n)
{
    uint64_t hash[GIFS], all;
    hsize_t  at[5] = {row};
    hid_t    set = H5Dopen2(s->gif, "frames", H5P_DEFAULT);
    assert_true(H5Dwrite_chunk(set, H5P_DEFAULT, 0, at, n, bytes) >= 0);
    H5Dclose(set);
    set = H5Dopen2(s->gif, "frames_xxh64", H5P_DEFAULT);
    H5Dread(set, H5T_STD_U64LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, hash);
    hash[row] = gq_xxh64(bytes, n);
    all = gq_xxh64(hash, sizeof hash);
    assert_true(H5Dwrite(set, H5T_STD_U64LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, hash) >= 0);
    hid_t a = H5Aopen(set, "xxh64", H5P_DEFAULT);
    assert_true(H5Awrite(a, H5T_STD_U64LE, &all) >= 0);
    H5Aclose(a);
    H5Dclose(set);
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

static void three_filters(spot *s)
{
    H5Pset_chunk(s->list, 5, chunk);
    H5Pset_shuffle(s->list);
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

static void deflated_in_none(spot *s)                /* the codec says that rows are not packed */
{
    H5Pset_chunk(s->list, 5, chunk);
    H5Pset_deflate(s->list, 1);
    replace(s->gif, "frames", H5T_STD_U8LE, 5, rows, s->list);
    for (hsize_t g = 0; g < GIFS; g++) {
        static const uint8_t none[T * S * S * 3];
        uint8_t              packed[200];
        uLongf               n = sizeof packed;
        compress(packed, &n, none, sizeof none);
        forge(s, g, packed, n);
    }
}

static void unknown_codec(spot *s)
{
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, 5);
    H5Adelete(s->file, "codec");
    hid_t a = H5Acreate2(s->file, "codec", type, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, type, "lzip");
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
}

static void deflate_bomb(spot *s)                    /* 1 MiB where a row has 225 bytes */
{
    static uint8_t zeros[1 << 20], packed[4096];
    uLongf         n = sizeof packed;
    assert_int_equal(compress(packed, &n, zeros, sizeof zeros), Z_OK);
    forge(s, 7, packed, 200);                        /* fits, and its first 200 bytes are valid */
}

static void deflated_too_long(spot *s)
{
    uint8_t more[T * S * S * 3 + 1] = {0}, packed[300];
    uLongf  n = sizeof packed;
    compress(packed, &n, more, sizeof more);
    forge(s, 7, packed, n);
}

static void deflate_and_more(spot *s)
{
    uint8_t row[T * S * S * 3] = {0}, packed[300] = {0};
    uLongf  n = sizeof packed - 1;
    compress(packed, &n, row, sizeof row);
    forge(s, 7, packed, n + 1);
}

static void no_deflate(spot *s)
{
    forge(s, 7, "this is no zlib stream, whatever its checksum says", 50);
}

static void longer_than_possible(spot *s)
{
    static uint8_t more[4096];
    forge(s, 7, more, sizeof more);
}

/* Frames by hand: magic, single segment with a size of eight bytes, one RLE block of zeros. */
static void zstd_bomb(spot *s)
{
    static const uint8_t frame[] = {0x28, 0xB5, 0x2F, 0xFD, 0xE0, 0, 0, 0, 0, 0, 1, 0, 0,
                                    0x03, 0x00, 0x08, 0};
    forge(s, 7, frame, sizeof frame);                /* says 1 TiB */
}

static void zstd_of_unknown_size(spot *s)
{
    static const uint8_t frame[] = {0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x50, 0x0B, 0x07, 0x00, 0};
    forge(s, 7, frame, sizeof frame);                /* 225 zeros, and a window of 1 MiB */
}

static void zstd_lies(spot *s)                       /* says 225, holds 1 MiB */
{
    static const uint8_t frame[] = {0x28, 0xB5, 0x2F, 0xFD, 0x20, 225, 0x03, 0x00, 0x80, 0};
    forge(s, 7, frame, sizeof frame);
}

static void other_stride(spot *s)
{
    unsigned one = 1;
    H5Pset_chunk(s->list, 5, chunk);
    H5Pset_filter(s->list, 407, H5Z_FLAG_OPTIONAL, 1, &one);
    H5Pset_filter(s->list, 32015, H5Z_FLAG_OPTIONAL, 1, &one);
    replace(s->gif, "frames", H5T_STD_U8LE, 5, rows, s->list);
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
    int         codec;                  /* of the shard that is changed                           */
} attacks[] = {
    {"external link", external_link, "gif/frames", "soft or external link", NONE},
    {"external link to a group", external_group, "gif/", "soft or external link", NONE},
    {"soft link", soft_link, "gif/frames", "soft or external link", NONE},
    {"external storage", external_storage, "gif/sha256", "external storage", NONE},
    {"virtual dataset", virtual_dataset, "gif/frames", "virtual dataset", NONE},
    {"filter plugin", filter_plugin, "gif/frames", "a filter other than those of a shard", NONE},
    {"another filter", other_filter, "gif/frames", "a filter other than those of a shard", NONE},
    {"three filters", three_filters, "gif/frames", "more filters than a shard uses", NONE},
    {"another stride", other_stride, "gif/frames", "other parameters", ZSTD},
    {"packed, and the codec none", deflated_in_none, "gif/frames",
     "not packed by its codec, none", NONE},
    {"an unknown codec", unknown_codec, "shard-00000.h5",
     "codec 'lzip' is not one of none, gzip", NONE},
    {"a bomb of deflate", deflate_bomb, "row 7 (gif-7.gif)", "to 225 bytes", GZIP},
    {"deflate, too long", deflated_too_long, "row 7 (gif-7.gif)", "to 225 bytes", GZIP},
    {"deflate and a byte", deflate_and_more, "row 7 (gif-7.gif)", "to 225 bytes", GZIP},
    {"no deflate", no_deflate, "row 7 (gif-7.gif)", "not a zlib stream", GZIP},
    {"a row too long", longer_than_possible, "gif/frames: row 7 has 4096", "1 to", GZIP},
    {"a bomb of zstd", zstd_bomb, "row 7 (gif-7.gif)", "not one zstd frame", ZSTD},
    {"zstd of unknown size", zstd_of_unknown_size, "row 7 (gif-7.gif)", "not one zstd frame", ZSTD},
    {"zstd that lies", zstd_lies, "row 7 (gif-7.gif)", "cannot be unpacked", ZSTD},
    {"shape bomb", shape_bomb, "gif/n_frames", "1099511627776", NONE},
    {"rows declared, not stored", empty_rows, "gif/frames", "are stored: refused", NONE},
    {"packed rows, not stored", packed_nothing, "gif/frames", "row 0 is not in the file", NONE},
    {"rows packed together", packed_together, "gif/frames", "several of them packed", NONE},
    {"variable-length type", variable_length, "gif/sha256", "another element type", NONE},
    {"reference type", reference, "gif/sha256", "another element type", NONE},
    {"variable-length text", variable_text, "format", "a type that is refused", NONE},
    {"another rank", other_rank, "gif/frames", "dimensions", NONE},
    {"a group for a dataset", a_group_instead, "gif/frames", "cannot open it", NONE},
};
enum { ATTACKS = sizeof attacks / sizeof *attacks };

static void make(const struct attack *a, const char *dir, char path[128])
{
    gq_shard_meta m = meta_of(true, false, false, (gq_shard_codec)a->codec);
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
    long   refused = 0, tried = 0;
    (void)state;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    for (int i = 0; i < ATTACKS; i++) {
        if (gq_shard_codec_lack((gq_shard_codec)attacks[i].codec))
            continue;
        tried++;
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
                             .injected = tried,
                             .survived = refused,
                             .failed = tried - refused,
                             .not_run = ATTACKS - tried,
                             .seconds = rig_now() - start});
    assert_int_equal(refused, tried);
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
