/* Packing of rows: what is packed comes back, whatever its sizes; packed bytes that are too short,
 * too long, of another size or damaged are refused, and nothing is written beyond the row; rows that
 * declare more than their filters could have packed are refused. */
#include "support.h"

#include "core/io.h"
#include "core/mem.h"
#include "core/philox.h"
#include "data/shard_codec.h"

enum { GUARD = 64 };

typedef struct pair { gq_packer *in, *out; uint8_t *row, *back; } pair;

static bool here(gq_h5_pack pack)
{
    return pack < GQ_H5_SHUFFLE_ZSTD || !gq_shard_codec_lack(GQ_CODEC_DELTA_ZSTD);
}

static void open_pair(const gq_row_form *f, pair *p)
{
    gq_error err = {0};
    assert_ok(gq__packer_new(&f, 1, true, &p->in, &err), &err);
    assert_ok(gq__packer_new(&f, 1, false, &p->out, &err), &err);
    p->row = gq_malloc(f->bytes, 1);
    p->back = gq_malloc(f->bytes + GUARD, 1);
    for (size_t i = 0; i < f->bytes; i++)        /* waves: neither noise nor nothing */
        p->row[i] = (uint8_t)(i / 3 + (gq_philox_at(5, i, GQ_RNG_TEST, 0) & 3));
}

static void close_pair(pair *p)
{
    gq__packer_free(p->in);
    gq__packer_free(p->out);
    gq_free(p->row);
    gq_free(p->back);
}

static const char *unpack(pair *p, const gq_row_form *f, const void *stored, size_t n)
{
    memset(p->back, 0xA5, f->bytes + GUARD);
    const char *why = gq__unpack(p->out, f, stored, n, p->back);
    for (size_t i = 0; i < GUARD; i++)
        assert_int_equal(p->back[f->bytes + i], 0xA5);
    return why;
}

static void what_is_packed_comes_back(void **state)
{
    static const size_t sizes[] = {4, 8, 12, 60, 252, 1020, 4096, 30000};
    (void)state;
    for (int pack = GQ_H5_DEFLATE; pack < GQ_H5_PACKS; pack++)
        for (size_t k = 0; k < 3 * sizeof sizes / sizeof *sizes && here((gq_h5_pack)pack); k++) {
            static const size_t element[] = {1, 2, 4}, stride[] = {3, 21, 5000};
            gq_row_form f = {(gq_h5_pack)pack, sizes[k / 3], element[k % 3], stride[k % 3]};
            gq_error    err = {0};
            const void *stored;
            size_t      n;
            pair        p;
            open_pair(&f, &p);
            for (int again = 0; again < 2; again++) {
                uint64_t before = gq_mem_count();
                assert_ok(gq__pack(p.in, &f, p.row, &stored, &n, "x", &err), &err);
                assert_in_range(n, 1, gq__codec_bound(&f));
                assert_null(unpack(&p, &f, stored, n));
                assert_memory_equal(p.back, p.row, f.bytes);
                assert_int_equal(gq_mem_count(), before);
                p.row[0] ^= 1;
            }
            close_pair(&p);
        }
}

/* The bytes are those that the words of shard_codec.h say; shuffle: h5py reads it (shard.c). */
static void the_row_delta_is_the_one_described(void **state)
{
    static const uint8_t row[8] = {10, 200, 11, 201, 13, 199, 9, 3};
    gq_row_form          delta = {GQ_H5_DELTA_ZSTD, 8, 1, 3}, plain = delta;
    gq_error             err = {0};
    const void          *stored;
    size_t               n;
    pair                 p;
    (void)state;
    if (!here(GQ_H5_DELTA_ZSTD))
        skip();
    open_pair(&delta, &p);
    assert_ok(gq__pack(p.in, &delta, row, &stored, &n, "x", &err), &err);
    plain.stride = 8;                            /* so nothing is added */
    assert_null(unpack(&p, &plain, stored, n));
    for (int i = 0; i < 8; i++)
        assert_int_equal(p.back[i], i < 3 ? row[i] : (uint8_t)(row[i] - row[i - 3]));
    close_pair(&p);
}

static void other_sizes_are_refused(void **state)
{
    (void)state;
    for (int pack = GQ_H5_DEFLATE; pack < GQ_H5_PACKS; pack++) {
        gq_row_form f = {(gq_h5_pack)pack, 4000, 2, 40}, less = f;
        gq_error    err = {0};
        const void *stored;
        uint8_t    *copy;
        size_t      n;
        pair        p;
        if (!here(f.pack))
            continue;
        open_pair(&f, &p);
        assert_ok(gq__pack(p.in, &f, p.row, &stored, &n, "x", &err), &err);
        copy = gq_calloc(2 * n + 8, 1);
        memcpy(copy, stored, n);
        memcpy(copy + n, stored, n);
        less.bytes = 3998;
        assert_non_null(unpack(&p, &less, copy, n));         /* it holds more than a row */
        assert_non_null(unpack(&p, &f, copy, 2 * n));        /* two of them */
        copy[n] = 0;
        assert_non_null(unpack(&p, &f, copy, n + 1));        /* a byte behind it */
        memcpy(copy + n, (uint8_t[8]){0x50, 0x2A, 0x4D, 0x18}, 8);       /* zstd would skip this */
        assert_non_null(unpack(&p, &f, copy, n + 8));
        for (size_t cut = 0; cut < n; cut += 1 + cut / 7)
            assert_non_null(unpack(&p, &f, copy, cut));
        assert_null(unpack(&p, &f, copy, n));                /* and the packer is still good */
        gq_free(copy);
        close_pair(&p);
    }
}

/* What a checksum of the stored bytes cannot see: that the packed bytes are wrong. Both streams end
 * with a checksum of what was packed, so no flipped bit gives other numbers. */
static void damage_is_refused(void **state)
{
    (void)state;
    for (int pack = GQ_H5_DEFLATE; pack < GQ_H5_PACKS; pack++) {
        gq_row_form f = {(gq_h5_pack)pack, 1200, 2, 40};
        gq_error    err = {0};
        const void *stored;
        uint8_t    *copy;
        size_t      n;
        pair        p;
        int         refused = 0;
        if (!here(f.pack))
            continue;
        open_pair(&f, &p);
        assert_ok(gq__pack(p.in, &f, p.row, &stored, &n, "x", &err), &err);
        copy = gq_malloc(n, 1);
        memcpy(copy, stored, n);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (unpack(&p, &f, copy, n))
                refused++;
            else                                 /* a bit that says nothing, or it is seen */
                assert_memory_equal(p.back, p.row, f.bytes);
            copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_true(refused > (int)(7 * n));
        gq_free(copy);
        close_pair(&p);
    }
}

static void codecs_have_names(void **state)
{
    gq_shard_codec c;
    (void)state;
    for (int k = 0; k < GQ_CODECS; k++) {
        assert_true(gq_shard_codec_find(gq_shard_codec_name[k], &c));
        assert_int_equal(c, k);
        assert_non_null(strstr(gq_shard_codec_names, gq_shard_codec_name[k]));
        for (size_t element = 1; element <= 4; element *= 2) {
            gq_h5_pack pack = gq__codec_pack(c, element);
            assert_true(gq__codec_allows(c, element, pack));
            assert_int_equal(strstr(gq__codec_note(pack), "any HDF5 tool") != NULL,
                             c != GQ_CODEC_DELTA_ZSTD);
            gq_shard_codec other = (gq_shard_codec)((k + 1) % GQ_CODECS);
            assert_false(gq__codec_allows(other, element, pack));
        }
    }
    assert_false(gq_shard_codec_find("zip", &c));
    assert_false(gq__codec_allows(GQ_CODEC_DELTA_ZSTD, 2, GQ_H5_DELTA_ZSTD));   /* has no stride */
    assert_true(gq__codec_allows(GQ_CODEC_GZIP, 2, GQ_H5_DEFLATE));
}

/* Five rows of a GiB, in so many bytes each: what a file says that has them. */
static gq_status declare(gq_h5_pack pack, size_t stored, gq_error *err)
{
    const gq_h5_shape row = {2, {1 << 14, 1 << 16}};
    const char       *dir = gq_scratch();
    char              path[128];
    uint8_t          *bytes = gq_calloc(stored, 1);
    gq_h5            *f;
    gq_h5_rows       *rows;
    gq_h5_chunk      *chunk;
    gq_h5_pack        have;
    snprintf(path, sizeof path, "%s/rows.h5", dir);
    assert_ok(gq_h5_create(path, &f, err), err);
    assert_ok(gq_h5_rows_begin(f, "gif/frames", GQ_H5_U8, &row, pack, 3, &rows, err), err);
    for (int k = 0; k < 5; k++)
        assert_ok(gq_h5_rows_add(rows, bytes, stored, err), err);
    assert_ok(gq_h5_rows_end(rows, err), err);
    assert_ok(gq_h5_finish(f, err), err);
    assert_ok(gq_h5_open(path, &f, err), err);
    gq_status s = gq_h5_get_rows(f, "gif/frames", GQ_H5_U8, &row, 5, 3, &have, &chunk, err);
    gq_h5_close(f);
    gq_free(chunk);
    gq_free(bytes);
    assert_int_equal(gq_remove_tree(dir, NULL), GQ_OK);
    return s;
}

static void declared_sizes_are_possible(void **state)
{
    enum { GIB = 1 << 30 };
    gq_error err = {0};
    (void)state;
    assert_ok(declare(GQ_H5_DEFLATE, GIB / 1032, &err), &err);
    assert_fails(declare(GQ_H5_DEFLATE, GIB / 2000, &err), GQ_EINPUT, &err, "are stored: refused");
    assert_ok(declare(GQ_H5_DELTA_ZSTD, GIB / 32768, &err), &err);
    assert_fails(declare(GQ_H5_DELTA_ZSTD, GIB / 40000, &err), GQ_EINPUT, &err,
                 "are stored: refused");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_comes_back),
        cmocka_unit_test(the_row_delta_is_the_one_described),
        cmocka_unit_test(other_sizes_are_refused),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(codecs_have_names),
        cmocka_unit_test(declared_sizes_are_possible),
    };
    return cmocka_run_group_tests_name("data/shard_codec", tests, NULL, NULL);
}
