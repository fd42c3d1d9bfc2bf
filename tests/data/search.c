/* Search over many GIFs against a brute force in long double; files that are damaged anywhere. */
#include "support.h"

#include "core/bf16.h"
#include "core/io.h"
#include "core/mem.h"
#include "data/search.h"

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

static gq_status open_and_find(gq_error *err)
{
    gq_search    *x;
    gq_search_hit hit[3];
    int64_t       n;
    gq_status     s = gq_search_open(path, &x, err);

    if (s == GQ_OK)
        s = gq_search_find(x, NULL, frames[3][0], 3, 1, hit, &n, err);
    gq_search_close(x);
    return s;
}

/* One byte changed, anywhere, or bytes missing: bad input, and never a wrong answer. */
static void damage_is_found(void **state)
{
    gq_bytes whole;
    gq_error err = {0};
    (void)state;

    write_index(true, 3);
    assert_ok(open_and_find(&err), &err);
    assert_ok(gq_read_file(path, 1 << 24, &whole, &err), &err);
    for (size_t at = 0; at < whole.size; at += at < 64 || at + 64 >= whole.size ? 1 : 997) {
        whole.data[at] ^= 0x10;
        assert_ok(gq_write_unsynced(path, whole.data, whole.size, &err), &err);
        assert_fails(open_and_find(&err), GQ_EINPUT, &err, "index.bin: ");
        whole.data[at] ^= 0x10;
    }
    for (size_t size = 0; size < whole.size; size += size < 130 ? 1 : 4999) {
        assert_ok(gq_write_unsynced(path, whole.data, size, &err), &err);
        assert_fails(open_and_find(&err), GQ_EINPUT, &err, "index.bin: ");
    }
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
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests_name("search", tests, make, drop);
}
