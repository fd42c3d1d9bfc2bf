/* Search over many GIFs against a brute force in long double; files that are damaged anywhere. */
#include "support.h"

#include "core/bf16.h"
#include "core/io.h"
#include "core/mem.h"
#include "data/clipcut.h"
#include "data/search_file.h"

enum { GIFS = 300, DIM = 37, MOST_FRAMES = 23, ROWS = GIFS * MOST_FRAMES };

static char       *path;
static const char *dir;
static float       frames[GIFS][MOST_FRAMES][DIM];
static int64_t     count[GIFS];

static uint32_t state_of_dice = 7;
static float    dice(void) /* -1..1 */
{
    state_of_dice = state_of_dice * 1664525u + 1013904223u;
    return (float)(state_of_dice >> 8) / 8388608.0f - 1.0f;
}

static int make(void **state)
{
    (void)state;
    dir = strdup(gq_scratch());
    path = gq_path(dir, "index.bin");
    for (int g = 0; g < GIFS; g++) {
        count[g] = 1 + (g * 7 + g / 3) % MOST_FRAMES;
        for (int64_t i = 0; i < count[g] * DIM; i++)
            frames[g][i / DIM][i % DIM] = 3 * dice();
    }
    memcpy(frames[40], frames[250], sizeof frames[40]); /* ties */
    count[40] = count[250];
    return 0;
}

static int drop(void **state)
{
    (void)state;
    gq_remove_tree(dir, NULL);
    gq_free(path);
    free((char *)dir);
    return 0;
}

static void write_index(bool bf16, int64_t group)
{
    gq_search_opts    o = {.dim = DIM, .group = group, .bf16 = bf16, .tower = "the tower 12345"};
    gq_search_writer *w;
    gq_error          err = {0};

    assert_ok(gq_search_create(path, &o, &w, &err), &err);
    for (int g = 0; g < GIFS; g++) {
        char name[32];
        snprintf(name, sizeof name, "gif-%d", g);
        assert_ok(gq_search_add(w, name, frames[g][0], count[g], &err), &err);
    }
    assert_ok(gq_search_finish(w, &err), &err);
}

/* ---- the oracle ---- */

typedef struct found {
    int         gif;
    int64_t     frame;
    long double distance;
    bool        taken;
} found;
static found   truth[ROWS];
static int64_t truths;

static void normalise(long double *x)
{
    long double n = 0;
    for (int d = 0; d < DIM; d++)
        n += x[d] * x[d];
    for (int d = 0; d < DIM; d++)
        x[d] /= sqrtl(n);
}

static void measure(const float *query, bool bf16, int64_t group)
{
    long double q[DIM];
    for (int d = 0; d < DIM; d++)
        q[d] = query[d];
    normalise(q);
    truths = 0;
    for (int g = 0; g < GIFS; g++)
        for (int64_t f = 0; f < count[g]; f += group) {
            long double sum[DIM] = {0}, squared = 0;
            for (int64_t i = f; i < f + group && i < count[g]; i++) {
                long double x[DIM];
                for (int d = 0; d < DIM; d++)
                    x[d] = frames[g][i][d];
                normalise(x);
                for (int d = 0; d < DIM; d++)
                    sum[d] += x[d];
            }
            normalise(sum);
            for (int d = 0; d < DIM; d++) {
                float       stored = (float)sum[d];
                long double s = bf16 ? gq_bf16_to_f32(gq_f32_to_bf16(stored)) : stored;
                squared += (s - q[d]) * (s - q[d]);
            }
            truth[truths++] = (found){g, f, sqrtl(squared), false};
        }
}

/* The nearest that is not taken, of a GIF that gave fewer than `each`; -1: none. */
static int64_t next_truth(int64_t each)
{
    int64_t best = -1;
    for (int64_t i = 0; i < truths; i++) {
        int64_t gave = 0;
        for (int64_t j = 0; j < truths; j++)
            gave += truth[j].taken && truth[j].gif == truth[i].gif;
        if (!truth[i].taken && gave < each &&
            (best < 0 || truth[i].distance < truth[best].distance))
            best = i;
    }
    return best;
}

static void compare(bool bf16, int64_t group, int64_t k, int64_t each, gq_pool *pool)
{
    static gq_search_hit hit[GQ_SEARCH_HITS], again[GQ_SEARCH_HITS];
    float                query[DIM];
    gq_search           *x;
    gq_error             err = {0};
    int64_t              n, m;

    for (int d = 0; d < DIM; d++)
        query[d] = 20 * dice();
    measure(query, bf16, group);
    assert_ok(gq_search_open(path, &x, &err), &err);
    assert_int_equal(gq_search_about(x)->gifs, GIFS);
    assert_int_equal(gq_search_about(x)->rows, truths);
    assert_memory_equal(gq_search_about(x)->tower, "the tower 12345", 16);
    assert_ok(gq_search_find(x, pool, query, k, each, hit, &n, &err), &err);
    for (int64_t i = 0; i < n; i++) {
        char    name[32];
        int64_t t = next_truth(each);
        assert_true(t >= 0);
        truth[t].taken = true;
        snprintf(name, sizeof name, "gif-%d", truth[t].gif);
        /* sums of 37 squares below 4 in float: 37 halves of an ulp of 4 at most, in the square */
        if (fabsl((long double)hit[i].distance - truth[t].distance) > 1e-5L ||
            strcmp(hit[i].gif, name) != 0 || hit[i].frame != truth[t].frame)
            fail_msg("hit %d: %s frame %d at %.9g, want %s frame %d at %.9Lg", (int)i, hit[i].gif,
                     (int)hit[i].frame, hit[i].distance, name, (int)truth[t].frame,
                     truth[t].distance);
    }
    assert_true(n == k || next_truth(each) < 0);
    assert_ok(gq_search_find(x, NULL, query, k, each, again, &m, &err), &err);
    assert_int_equal(m, n);
    assert_memory_equal(again, hit, (size_t)n * sizeof *hit);
    gq_search_close(x);
}

static void search_finds_what_brute_force_finds(void **state)
{
    gq_pool *pool;
    gq_error err = {0};
    (void)state;

    assert_ok(gq_pool_new(3, &pool, &err), &err);
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (int64_t group = 1; group <= 3; group += 2) {
            write_index(bf16, group);
            compare(bf16, group, 1, 1, pool);
            compare(bf16, group, 20, 1, pool);
            compare(bf16, group, 30, 3, pool);
            compare(bf16, group, 20, 1024, pool);
        }
    compare(true, 3, 1000, 1, pool); /* more than there are */
    gq_pool_free(pool);
}

static void equal_rows_come_in_order(void **state)
{
    gq_search    *x;
    gq_search_hit hit[2];
    gq_error      err = {0};
    int64_t       n;
    (void)state;

    write_index(false, 1);
    assert_ok(gq_search_open(path, &x, &err), &err);
    assert_ok(gq_search_find(x, NULL, frames[250][0], 2, 1, hit, &n, &err), &err);
    assert_int_equal(n, 2);
    assert_string_equal(hit[0].gif, "gif-40");
    assert_string_equal(hit[1].gif, "gif-250");
    assert_true(hit[0].distance == hit[1].distance && hit[0].distance < 1e-6);
    gq_search_close(x);
}

/* ---- rows that differ less than bfloat16 can tell ---- */

enum { CLOSE_GIFS = 60, CLOSE_FRAMES = 8, CLOSE_DIM = 100 };

typedef struct row {
    int64_t     gif, row;
    long double squared;
} row;

static int by_distance(const void *a, const void *b)
{
    const row *x = a, *y = b;
    if (x->squared != y->squared)
        return x->squared < y->squared ? -1 : 1;
    return x->row < y->row ? -1 : 1;
}

/* All rows of an index of vectors around one, by distance, in long double over the floats that the
 * index holds. Every ninth GIF has the frames of the one before it: ties. */
static int64_t close_rows(int64_t dim, float spread, const float *query, row *list)
{
    static float      base[CLOSE_DIM], frame[CLOSE_FRAMES * CLOSE_DIM];
    static float      unit[CLOSE_FRAMES * CLOSE_DIM];
    gq_search_opts    o = {.dim = dim, .group = 1};
    gq_clipcut_opts   cut = {.k = 1, .group = 1, .normalize = true};
    gq_search_writer *w;
    gq_error          err = {0};
    int64_t           n = 0, frames_of = 0;
    long double       length = 0;

    for (int64_t d = 0; d < dim; d++) {
        base[d] = dice();
        length += (long double)query[d] * query[d];
    }
    assert_ok(gq_search_create(path, &o, &w, &err), &err);
    for (int64_t g = 0; g < CLOSE_GIFS; g++) {
        char name[32];
        if (g % 9 != 8)
            frames_of = 1 + g % CLOSE_FRAMES;
        for (int64_t i = 0; g % 9 != 8 && i < frames_of * dim; i++)
            frame[i] = base[i % dim] + spread * dice();
        snprintf(name, sizeof name, "%d", (int)g);
        assert_ok(gq_search_add(w, name, frame, frames_of, &err), &err);
        assert_ok(gq_clipcut_vectors(frame, frames_of, dim, &cut, unit, &err), &err);
        for (int64_t f = 0; f < frames_of; f++, n++) {
            list[n] = (row){.gif = g, .row = n};
            for (int64_t d = 0; d < dim; d++) {
                long double off = unit[f * dim + d] - query[d] / sqrtl(length);
                list[n].squared += off * off;
            }
        }
    }
    assert_ok(gq_search_finish(w, &err), &err);
    qsort(list, (size_t)n, sizeof *list, by_distance);
    return n;
}

static void same_as_list(const row *list, int64_t rows, const float *query, int64_t k, int64_t each,
                         gq_pool *pool)
{
    static gq_search_hit hit[GQ_SEARCH_HITS];
    int64_t              gave[CLOSE_GIFS] = {0}, n, at = 0;
    gq_search           *x;
    gq_error             err = {0};

    assert_ok(gq_search_open(path, &x, &err), &err);
    assert_ok(gq_search_find(x, pool, query, k, each, hit, &n, &err), &err);
    for (int64_t i = 0; i < rows && at < k; i++)
        if (gave[list[i].gif]++ < each) {
            assert_true(at < n);
            if (hit[at].row != list[i].row)
                fail_msg("hit %d of %d, %d of a GIF: row %d at %.17g, want %d at %.17Lg", (int)at,
                         (int)k, (int)each, (int)hit[at].row, hit[at].distance, (int)list[i].row,
                         sqrtl(list[i].squared));
            assert_true(fabs(hit[at].distance - (double)sqrtl(list[i].squared)) < 1e-14);
            at++;
        }
    assert_int_equal(at, n);
    gq_search_close(x);
}

static void close_rows_are_told_apart(void **state)
{
    static const int64_t dims[] = {2, 31, 32, 33, 64, CLOSE_DIM};
    static const float   spreads[] = {1, 0.05F, 3e-3F, 1e-4F, 3e-6F};
    static row           list[CLOSE_GIFS * CLOSE_FRAMES];
    float                query[CLOSE_DIM];
    gq_pool             *pool;
    gq_error             err = {0};
    (void)state;

    assert_ok(gq_pool_new(3, &pool, &err), &err);
    for (size_t i = 0; i < 30; i++) {
        int64_t dim = dims[i % 6], rows;
        for (int64_t d = 0; d < dim; d++)
            query[d] = dice();
        memset(list, 0, sizeof list);
        rows = close_rows(dim, spreads[i / 6], query, list);
        same_as_list(list, rows, query, 1, 1, NULL);
        same_as_list(list, rows, query, 10, 1, pool);
        same_as_list(list, rows, query, 25, 2, pool);
        same_as_list(list, rows, query, 100, 1024, NULL);
        same_as_list(list, rows, query, 1024, 3, pool); /* more than there are */
    }
    gq_pool_free(pool);
}

/* ---- damage ---- */

typedef struct answer {
    int64_t       n;
    gq_search_hit hit[3];
} answer;

static gq_status open_and_find(answer *out, gq_error *err)
{
    gq_search *x;
    gq_status  s = gq_search_open(path, &x, err);

    memset(out, 0, sizeof *out);
    if (s == GQ_OK)
        s = gq_search_find(x, NULL, frames[3][0], 3, 1, out->hit, &out->n, err);
    for (int i = 0; i < 3; i++)
        out->hit[i].gif = NULL; /* goes with the index */
    gq_search_close(x);
    return s;
}

/* One byte changed, anywhere, or bytes missing: bad input with the file and the place, and never a
 * wrong answer. Lower halves are looked at where they matter; elsewhere the answer stays. */
static void damage_is_found(void **state)
{
    gq_bytes whole;
    gq_error err = {0};
    answer   good, now;
    (void)state;

    for (int bf16 = 0; bf16 < 2; bf16++) {
        size_t missed = 0, tried = 0;
        write_index(bf16, 3);
        assert_ok(open_and_find(&good, &err), &err);
        assert_ok(gq_read_file(path, 1 << 24, &whole, &err), &err);
        for (size_t at = 0; at < whole.size; at += at < 64 || at + 128 >= whole.size ? 1 : 997) {
            gq_status s;
            whole.data[at] ^= 0x10;
            assert_ok(gq_write_unsynced(path, whole.data, whole.size, &err), &err);
            gq_error_clear(&err);
            s = open_and_find(&now, &err);
            tried++;
            missed += s == GQ_OK;
            if (s == GQ_OK)
                assert_memory_equal(&now, &good, sizeof now);
            else if (s != GQ_EINPUT || !strstr(err.text, "index.bin: ") ||
                     (at >= 8 && !strstr(err.text, "byte ")))
                fail_msg("byte %zu changed: %d, '%s'", at, (int)s, err.text);
            whole.data[at] ^= 0x10;
        }
        assert_true(bf16 ? missed == 0 : missed < tried / 2);
        for (size_t size = 0; size < whole.size; size += size < 200 ? 1 : 4999) {
            assert_ok(gq_write_unsynced(path, whole.data, size, &err), &err);
            gq_error_clear(&err);
            assert_fails(open_and_find(&now, &err), GQ_EINPUT, &err, "index.bin: ");
        }
        gq_bytes_free(&whole);
    }
}

/* A file whose checksums are right all the same: what a table may not say, and what is told. */
static void tables_out_of_order_are_refused(void **state)
{
    static const struct {
        int         table;              /* GQ_SEARCH_TABLES: the names; -1: the head; -2: counts */
        size_t      at;                 /* number of the table, byte of the others */
        uint64_t    value;
        const char *needle;
    } cases[] = {
        {GQ_SEARCH_ROW, 0, 1, "rows of GIFs is out of order"},
        {GQ_SEARCH_ROW, 7, 0, "rows of GIFs is out of order"},
        {GQ_SEARCH_ROW, GIFS, 1u << 30, "rows of GIFs is out of order"},
        {GQ_SEARCH_NAME, 5, UINT64_MAX, "places of names is out of order"},
        {GQ_SEARCH_GIF, 1, 0, "GIFs of blocks is out of order"},
        {GQ_SEARCH_SLACK, 1, 0x7FF0000000000000u, "the bound of block 1 is no length"},
        {GQ_SEARCH_SLACK, 0, 0xBFF0000000000000u, "the bound of block 0 is no length"},
        {GQ_SEARCH_SUM, 1, 7, "rows "},
        {GQ_SEARCH_LOW, 0, 7, "rows 0 to "}, /* where the nearest is */
        {GQ_SEARCH_TABLES, 5, 'x', "the name of GIF 0 has no end"},
        {-1, 8, 1, "byte 8: format version 1, this program reads 2; make it again"},
        {-1, 12, 2, "byte 12: numbers of kind 2"},
        {-1, 16, 65537, "byte 16: rows of 65537 numbers"},
        {-1, 20, 0, "byte 20: rows of 0 frames"},
        {-1, 60, 1, "byte 40: the end of its head"},
        {-2, 0, 301, "do not fill a file of"},
        {-2, 8, 1, "do not fill a file of"},
        {-2, 16, 0, "do not fill a file of"},
    };
    gq_bytes whole, copy;
    gq_error err = {0};
    answer   out;
    (void)state;

    write_index(false, 1);
    assert_ok(gq_read_file(path, 1 << 24, &whole, &err), &err);
    copy = whole;
    copy.data = malloc(whole.size);
    assert_non_null(copy.data);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gq_search_tail t;
        size_t         n[GQ_SEARCH_TABLES], at, all = 0;
        memcpy(copy.data, whole.data, whole.size);
        memcpy(&t, copy.data + copy.size - sizeof t, sizeof t);
        for (int k = 0; k < GQ_SEARCH_TABLES; k++)
            all += n[k] = 8 * (k < 2    ? t.gifs + 1
                               : k == 2 ? t.blocks + 1
                                        : t.blocks);
        at = copy.size - sizeof t - t.name_bytes - all;
        for (int k = 0; k < cases[i].table; k++)
            at += n[k];
        if (cases[i].table == GQ_SEARCH_TABLES)
            copy.data[at + cases[i].at] = (uint8_t)cases[i].value;
        else if (cases[i].table == -1)
            memcpy(copy.data + cases[i].at, &cases[i].value, 4);
        else if (cases[i].table == -2)
            memcpy((uint8_t *)&t + cases[i].at, &cases[i].value, 8);
        else
            memcpy(copy.data + at + 8 * cases[i].at, &cases[i].value, 8);
        t.head = gq_xxh64(copy.data, GQ_SEARCH_HEAD);
        if (cases[i].table >= 0 && cases[i].table < GQ_SEARCH_TABLES)
            t.table[cases[i].table] = gq_xxh64(copy.data + at, n[cases[i].table]);
        if (cases[i].table == GQ_SEARCH_TABLES)
            t.names = gq_xxh64(copy.data + at, t.name_bytes);
        t.sum = gq_search_tail_sum(&t);
        memcpy(copy.data + copy.size - sizeof t, &t, sizeof t);
        assert_ok(gq_write_unsynced(path, copy.data, copy.size, &err), &err);
        gq_error_clear(&err);
        assert_fails(open_and_find(&out, &err), GQ_EINPUT, &err, cases[i].needle);
        gq_error_clear(&err);
    }
    free(copy.data);
    gq_bytes_free(&whole);
}

static void what_cannot_be_is_refused(void **state)
{
    gq_search_opts    o = {.dim = DIM, .group = 0};
    gq_search_writer *w;
    gq_search        *x;
    gq_search_hit     hit;
    gq_error          err = {0};
    float             zero[DIM] = {0};
    int64_t           n;
    (void)state;

    assert_fails(gq_search_create(path, &o, &w, &err), GQ_EUSAGE, &err, "0 frames a row");
    o.group = 1;
    assert_ok(gq_search_create(path, &o, &w, &err), &err);
    assert_fails(gq_search_add(w, "empty", zero, 0, &err), GQ_EINPUT, &err, "empty: no frames");
    assert_fails(gq_search_add(w, "zero", zero, 1, &err), GQ_ENUMERIC, &err, "zero: frame 0");
    assert_fails(gq_search_finish(w, &err), GQ_EINPUT, &err, "no GIFs");
    write_index(false, 1);
    err = (gq_error){0};
    assert_ok(gq_search_open(path, &x, &err), &err);
    assert_fails(gq_search_find(x, NULL, zero, 1, 1, &hit, &n, &err), GQ_ENUMERIC, &err, "query");
    assert_fails(gq_search_find(x, NULL, frames[0][0], 0, 1, &hit, &n, &err), GQ_EUSAGE, &err,
                 "0 hits");
    gq_search_close(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(search_finds_what_brute_force_finds),
        cmocka_unit_test(equal_rows_come_in_order),
        cmocka_unit_test(close_rows_are_told_apart),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(tables_out_of_order_are_refused),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests_name("search", tests, make, drop);
}
