/* The cache of embeddings by itself: what comes back is what went in, to the bit, or nothing. Every
 * truncation and every flipped byte of a file, files that are well formed and wrong, the limits of
 * directory and memory, directories that cannot be used, allocations that fail. */
#include "support.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "core/io.h"
#include "core/mem.h"
#include "train/embed_cache.h"

enum { DIM = 6, MOST = 1 << 20 };

static char dir[128];                   /* of the cache, below a scratch directory */

static int make(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s/deep/cache", gq_scratch());
    return 0;
}

static int drop(void **state)
{
    (void)state;
    *strstr(dir, "/deep") = 0;
    gq_remove_tree(dir, NULL);
    return 0;
}

static gq_embed_cache *opened(const char *where, uint64_t most)
{
    gq_embed_cache *c;
    gq_error        err = {0};
    assert_ok(gq__embeds_open(where, most, &c, &err), &err);
    return c;
}

static void key_of(int which, uint8_t key[GQ_EMBED_KEY])
{
    gq_sha256(&which, sizeof which, key);
}

static float number(int which, int64_t i)
{
    return (float)(which * 100 + i) * (i & 1 ? -0.37f : 1e-3f);
}

static gq_frame_set made(int which, int64_t n)
{
    gq_frame_set f = {.n = n, .dim = DIM, .width = 30, .height = (uint32_t)which, .flags = 2};

    f.delay_cs = gq_malloc((size_t)n, sizeof *f.delay_cs);
    f.embed = gq_malloc((size_t)n * DIM, sizeof *f.embed);
    assert_true(f.delay_cs && f.embed);
    for (int64_t i = 0; i < n; i++)
        f.delay_cs[i] = (int32_t)(i - 1);
    for (int64_t i = 0; i < n * DIM; i++)
        f.embed[i] = number(which, i);
    return f;
}

static void put(gq_embed_cache *c, int which, int64_t n)
{
    gq_frame_set f = made(which, n);
    uint8_t      key[GQ_EMBED_KEY];

    key_of(which, key);
    assert_non_null(gq__embeds_keep(c, key, &f));
    assert_null(f.embed);
}

/* Is it there, and what it was? */
static bool found(gq_embed_cache *c, int which, int64_t n, gq_origin want)
{
    gq_origin           from = GQ_COMPUTED;
    uint8_t             key[GQ_EMBED_KEY];
    const gq_frame_set *f;

    key_of(which, key);
    f = gq__embeds_find(c, key, DIM, &from);
    if (!f)
        return false;
    assert_int_equal(from, want);
    assert_true(f->n == n && f->dim == DIM && f->width == 30 && f->height == (uint32_t)which &&
                f->flags == 2 && !f->feature);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(f->delay_cs[i], i - 1);
    for (int64_t i = 0; i < n * DIM; i++)
        assert_true(f->embed[i] == number(which, i));
    return true;
}

/* The same through a new cache, which has nothing in memory. */
static bool on_disk(int which, int64_t n)
{
    gq_embed_cache *c = opened(dir, MOST);
    bool            there = found(c, which, n, GQ_FROM_DISK);
    gq__embeds_close(c);
    return there;
}

static char *path_of(int which)
{
    static char path[512];
    uint8_t     key[GQ_EMBED_KEY];
    char        hex[2 * GQ_EMBED_KEY + 1];

    key_of(which, key);
    gq_hex(key, sizeof key, hex);
    snprintf(path, sizeof path, "%s/%s.embeds", dir, hex);
    return path;
}

/* ---- what went in ---------------------------------------------------------------------------- */

static void comes_back(void **state)
{
    gq_embed_cache *c = opened(dir, MOST), *memory = opened(NULL, 0);
    uint8_t         key[GQ_EMBED_KEY];
    gq_origin       from;
    (void)state;

    assert_false(found(c, 1, 5, GQ_FROM_DISK)); /* there is not even a directory */
    put(c, 1, 5);
    put(c, 2, 1);
    assert_string_equal(gq__embeds_note(c), "");
    assert_true(found(c, 1, 5, GQ_FROM_MEMORY));
    assert_true(found(c, 2, 1, GQ_FROM_MEMORY));
    assert_false(found(c, 3, 1, GQ_FROM_MEMORY));
    assert_true(on_disk(1, 5) && on_disk(2, 1) && !on_disk(3, 1));
    key_of(1, key);
    assert_null(gq__embeds_find(c, key, DIM + 1, &from)); /* another model's */
    put(memory, 1, 5);
    assert_true(found(memory, 1, 5, GQ_FROM_MEMORY));
    gq__embeds_close(memory);
    gq__embeds_close(c);
}

/* ---- what must not come back ----------------------------------------------------------------- */

static void write_bytes(const char *path, const void *data, size_t n)
{
    gq_error err = {0};
    assert_ok(gq_write_unsynced(path, data, n, &err), &err);
}

static void damage_is_a_miss(void **state)
{
    gq_embed_cache *c = opened(dir, MOST);
    gq_bytes        good, again;
    gq_error        err = {0};
    (void)state;

    put(c, 1, 2);
    assert_ok(gq_read_file(path_of(1), MOST, &good, &err), &err);
    assert_int_equal(good.size, 64 + 2 * 4 + 2 * DIM * 4 + 16);
    for (size_t i = 0; i < good.size; i++) {
        write_bytes(path_of(1), good.data, i);
        assert_false(on_disk(1, 2));
        good.data[i] ^= (uint8_t)(1u << i % 8);
        write_bytes(path_of(1), good.data, good.size);
        good.data[i] ^= (uint8_t)(1u << i % 8);
        assert_false(on_disk(1, 2));
    }
    write_bytes(path_of(1), good.data, good.size + 1); /* with the NUL behind it */
    assert_false(on_disk(1, 2));
    put(c, 1, 2); /* computed again, it is written again */
    assert_ok(gq_read_file(path_of(1), MOST, &again, &err), &err);
    assert_int_equal(again.size, good.size);
    assert_memory_equal(again.data, good.data, good.size);
    assert_true(on_disk(1, 2));
    write_bytes(path_of(2), good.data, good.size); /* another key's */
    assert_false(on_disk(2, 2));
    gq_bytes_free(&good);
    gq_bytes_free(&again);
    gq__embeds_close(c);
}

/* A file with a right checksum that someone made up */
static void forge(size_t at, const void *data, size_t n, size_t size)
{
    gq_bytes good;
    uint8_t  b[512];
    gq_error err = {0};

    assert_ok(gq_read_file(path_of(1), MOST, &good, &err), &err);
    assert_true(size <= sizeof b && good.size <= sizeof b);
    memset(b, 0, sizeof b);
    memcpy(b, good.data, good.size);
    memcpy(b + at, data, n);
    gq_xxh128(b, size - 16, b + size - 16);
    write_bytes(path_of(1), b, size);
    gq_bytes_free(&good);
}

static void forgeries_are_a_miss(void **state)
{
    static const uint32_t big[][2] = {
        {0, DIM}, {2, 0}, {0xffffffff, 0xffffffff}, {0x40000000, DIM}, {0x80000000, 0x80000000},
        {2, DIM + 1}, {3, DIM}, {1, DIM}};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    gq_embed_cache    *c = opened(dir, MOST);
    size_t             size = 64 + 2 * 4 + 2 * DIM * 4 + 16;
    (void)state;

    for (size_t i = 0; i < sizeof big / sizeof *big; i++) {
        put(c, 1, 2);
        forge(40, big[i], sizeof big[i], size);
        assert_false(on_disk(1, 2));
    }
    for (size_t i = 0; i < 3; i++) {
        put(c, 1, 2);
        forge(size - 20, &bad[i], sizeof bad[i], size);
        assert_false(on_disk(1, 2));
    }
    put(c, 1, 2);
    forge(8, "x", 0, size); /* the forger can do it when he wants */
    assert_true(on_disk(1, 2));
    gq__embeds_close(c);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void age(const char *path, int seconds)
{
    struct timespec t[2] = {{1700000000 - seconds, 0}, {1700000000 - seconds, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static void a_directory_has_a_limit(void **state)
{
    size_t          each = 64 + 2 * 4 + 2 * DIM * 4 + 16;
    gq_embed_cache *c = opened(dir, 3 * each + 10);
    char            left[600], other[600];
    (void)state;

    for (int i = 1; i <= 3; i++) {
        put(c, i, 2);
        age(path_of(i), i == 2 ? 500 : 100 - i);       /* the second is the oldest */
    }
    snprintf(left, sizeof left, "%s/.tmp-%s-17", dir, strrchr(path_of(9), '/') + 1);
    snprintf(other, sizeof other, "%s/notes.txt", dir);
    write_bytes(left, "killed while it was written", 27);
    write_bytes(other, "a person's", 10);
    age(left, 9000);
    age(other, 9000);
    assert_true(on_disk(1, 2) && on_disk(2, 2) && on_disk(3, 2));
    put(c, 4, 2);
    assert_true(on_disk(1, 2) && !on_disk(2, 2) && on_disk(3, 2) && on_disk(4, 2));
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(access(other, F_OK), 0); /* not ours */
    put(c, 5, 2);
    assert_true(!on_disk(1, 2) && on_disk(3, 2) && on_disk(4, 2) && on_disk(5, 2));
    put(c, 6, 40); /* larger than all the directory may be */
    assert_true(!on_disk(6, 40) && on_disk(5, 2) && found(c, 6, 40, GQ_FROM_MEMORY));
    assert_string_equal(gq__embeds_note(c), "");
    gq__embeds_close(c);
}

static void memory_has_a_limit(void **state)
{
    gq_embed_cache *c = opened(NULL, 0);
    (void)state;

    for (int i = 0; i < 16; i++)
        put(c, i, 1);
    assert_true(found(c, 0, 1, GQ_FROM_MEMORY)); /* now the second was asked for the longest ago */
    put(c, 16, 1);
    assert_false(found(c, 1, 1, GQ_FROM_MEMORY));
    for (int i = 0; i <= 16; i++)
        if (i != 1)
            assert_true(found(c, i, 1, GQ_FROM_MEMORY));
    for (int i = 20; i < 23; i++)
        put(c, i, (40 << 20) / (4 + 4 * DIM)); /* 40 MiB each: only one of them fits */
    assert_false(found(c, 0, 1, GQ_FROM_MEMORY));
    assert_false(found(c, 21, (40 << 20) / (4 + 4 * DIM), GQ_FROM_MEMORY));
    assert_true(found(c, 22, (40 << 20) / (4 + 4 * DIM), GQ_FROM_MEMORY));
    gq__embeds_close(c);
}

/* ---- what can go wrong ----------------------------------------------------------------------- */

static void an_unusable_directory_is_told(void **state)
{
    char            file[256];
    gq_embed_cache *c;
    gq_error        err = {0};
    (void)state;

    assert_ok(gq_mkdirs(dir, &err), &err);
    snprintf(file, sizeof file, "%s/file", dir);
    write_bytes(file, "x", 1);
    c = opened(file, MOST);
    assert_false(found(c, 1, 2, GQ_FROM_DISK));
    put(c, 1, 2);
    assert_non_null(strstr(gq__embeds_note(c), file));
    assert_true(found(c, 1, 2, GQ_FROM_MEMORY));
    gq__embeds_close(c);
    assert_int_equal(mkdir(path_of(1), 0777), 0); /* a directory where the entry should be */
    c = opened(dir, MOST);
    assert_false(found(c, 1, 2, GQ_FROM_DISK));
    put(c, 1, 2);
    assert_true(*gq__embeds_note(c) != 0);
    put(c, 2, 2);
    assert_string_equal(gq__embeds_note(c), "");
    gq__embeds_close(c);
    assert_int_equal(rmdir(path_of(1)), 0);
}

static void no_allocation_is_vital(void **state)
{
    bool done = false;
    (void)state;

    for (uint64_t n = 1; !done; n++) {
        gq_embed_cache *c;
        gq_error        err = {0};
        uint64_t        before;
        assert_true(n < 500);
        gq_mem_fail_at(0, false);
        gq_frame_set f = made(1, 2);
        uint8_t      key[GQ_EMBED_KEY];
        key_of(1, key);
        before = gq_mem_count();
        gq_mem_fail_at(n, false);
        if (gq__embeds_open(dir, MOST, &c, &err) == GQ_OK) {
            gq_origin from;
            assert_non_null(gq__embeds_keep(c, key, &f));
            assert_non_null(gq__embeds_find(c, key, DIM, &from));
            gq__embeds_close(c);
            if (gq__embeds_open(dir, MOST, &c, &err) == GQ_OK) {
                bool there = gq__embeds_find(c, key, DIM, &from) != NULL;
                done = gq_mem_count() - before < n;
                assert_true(there || !done);
                gq__embeds_close(c);
            }
        }
        gq_mem_fail_at(0, false);
        gq_frame_set_free(&f);
    }
    assert_true(on_disk(1, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(comes_back, make, drop),
        cmocka_unit_test_setup_teardown(damage_is_a_miss, make, drop),
        cmocka_unit_test_setup_teardown(forgeries_are_a_miss, make, drop),
        cmocka_unit_test_setup_teardown(a_directory_has_a_limit, make, drop),
        cmocka_unit_test(memory_has_a_limit),
        cmocka_unit_test_setup_teardown(an_unusable_directory_is_told, make, drop),
        cmocka_unit_test_setup_teardown(no_allocation_is_vital, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
