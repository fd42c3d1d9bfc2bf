/* clipcut.c - CLIP-Cut on the device chooses what data/clipcut.c chooses, and its distances have the same bits. */
#include "core/mem.h"
#include "core/philox.h"
#include "data/clipcut.h"
#include "tests/cuda_on_cpu/clipcut_on_cpu.h"
#include "tests/support.h"

enum { MOST = 150, DIM_MOST = 40, K_MOST = 200 };

static gq_device *device;

typedef struct chosen {
    int32_t frame[K_MOST], bad;
    double  frame_distance[MOST], group_distance[MOST];
} chosen;

static void *sent(const void *src, size_t bytes)
{
    void *p = device->alloc(device, bytes);
    assert_non_null(p);
    device->upload(device, p, src, bytes);
    return p;
}

static void received(void *dst, void *src, size_t bytes)
{
    device->download(device, dst, src, bytes);
    device->release(device, src);
}

static void choose(const float *frames, int64_t n, int64_t dim, const float *question, const gq_clipcut_opts *o,
                   chosen *to)
{
    size_t               groups = (size_t)((n - 1) / o->group + 1),
                         room = gq_shim_clipcut_temp(n, dim, (int32_t)o->group);
    gq_error             err = {0};
    gq_cuda_clipcut_call c = {
        .n = n, .dim = dim, .k = (int32_t)o->k, .group = (int32_t)o->group, .normalize = o->normalize,
        .reduce = (int32_t)o->reduce,
    };
    void *x, *q;
    c.frames = x = sent(frames, (size_t)(n * dim) * sizeof *frames);
    c.question = q = sent(question, (size_t)dim * sizeof *question);
    c.frame = device->alloc(device, (size_t)o->k * sizeof *c.frame);
    c.bad = device->alloc(device, sizeof *c.bad);
    c.frame_distance = device->alloc(device, (size_t)n * sizeof(double));
    c.group_distance = device->alloc(device, groups * sizeof(double));
    c.temp = device->alloc(device, room);
    device->fill(device, c.temp, 0xA5, room);
    gq_shim_clipcut(device, &c);
    received(to->frame, c.frame, (size_t)o->k * sizeof *c.frame);
    received(&to->bad, c.bad, sizeof *c.bad);
    received(to->frame_distance, c.frame_distance, (size_t)n * sizeof(double));
    received(to->group_distance, c.group_distance, groups * sizeof(double));
    device->release(device, c.temp);
    device->release(device, x);
    device->release(device, q);
    assert_ok(device->finish(device, &err), &err);
}

/* What the host says of the same: equal in every bit. */
static void same_as_host(const float *frames, int64_t n, int64_t dim, const float *question, const gq_clipcut_opts *o)
{
    gq_clipcut want;
    gq_error   err = {0};
    chosen     got;
    assert_ok(gq_clipcut_select(frames, n, dim, question, o, &want, &err), &err);
    choose(frames, n, dim, question, o, &got);
    assert_int_equal(got.bad, -1);
    for (int64_t i = 0; i < o->k; i++)
        assert_int_equal(got.frame[i], want.pick[i].frame);
    assert_memory_equal(got.frame_distance, want.frame_distance, (size_t)n * sizeof(double));
    assert_memory_equal(got.group_distance, want.group_distance, (size_t)want.groups * sizeof(double));
    gq_clipcut_free(&want);
}

/* Frames from `distinct` different ones, so that many are equal: as in an animation that stands still. */
static void make(uint64_t seed, int64_t n, int64_t dim, int64_t distinct, float *frames, float *question)
{
    for (int64_t f = 0; f < n; f++) {
        uint64_t as = gq_philox_at(seed, (uint64_t)f, GQ_RNG_TEST, 0) % (uint64_t)distinct;
        for (int64_t i = 0; i < dim; i++)
            frames[f * dim + i] = gq_normal_at(seed, as * DIM_MOST + (uint64_t)i, GQ_RNG_TEST + 1, 0);
    }
    for (int64_t i = 0; i < dim; i++)
        question[i] = gq_normal_at(seed, (uint64_t)i, GQ_RNG_TEST + 2, 0);
}

static void test_same_as_host(void **state)
{
    static float frames[MOST * DIM_MOST], question[DIM_MOST];
    (void)state;
    for (int i = 0; i < 240; i++) {
        int64_t n = 1 + i * 13 % MOST, dim = 1 + i * 29 % DIM_MOST;
        gq_clipcut_opts o = {.k = i % 10 == 9 ? K_MOST - i % 3 : 1 + i % 23,
                             .group = i % 17 == 3 ? MOST + 1 : 1 + i / 7 % 5,
                             .normalize = i % 3 != 0,
                             .reduce = (gq_clipcut_reduce)(i / 11 % 3)};
        make((uint64_t)i, n, dim, i % 2 ? 1 + i % 4 : 1000, frames, question);
        gq_shim_order((unsigned)i);
        same_as_host(frames, n, dim, question, &o);
    }
    gq_shim_order(0);
}

static void test_known(void **state)
{
    static const float east[2] = {1, 0};
    static const float path[7][2] = {{0, 1}, {1, 3}, {-1, 1}, {1, 0}, {-5, 1}, {-1, -2}, {3, 1}};
    static const struct { int64_t n, k, want[9]; } t[] = {
        {7, 1, {6}}, {7, 3, {1, 3, 6}}, {7, 4, {0, 1, 3, 6}}, {7, 9, {0, 1, 2, 3, 4, 5, 6, 6, 6}}, {1, 3, {0, 0, 0}},
    };
    static const int64_t first_of_equals[5] = {0, 1, 2, 3, 6};
    float                same[9][2];
    chosen               got;
    (void)state;
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        choose(path[0], t[i].n, 2, east, &GQ_CLIPCUT_DEFAULT(t[i].k), &got);
        for (int64_t j = 0; j < t[i].k; j++)
            assert_int_equal(got.frame[j], t[i].want[j]);
    }
    for (int f = 0; f < 9; f++)
        memcpy(same[f], path[1], sizeof same[f]);
    choose(same[0], 9, 2, east, &GQ_CLIPCUT_DEFAULT(5), &got);
    for (int64_t j = 0; j < 5; j++)
        assert_int_equal(got.frame[j], first_of_equals[j]);
}

/* What the host refuses is told by its index; nothing is written beyond the results. */
static void test_not_usable(void **state)
{
    static float frames[MOST * DIM_MOST], question[DIM_MOST];
    const float  bad[3] = {NAN, INFINITY, 0};
    (void)state;
    for (int k = 0; k < 3; k++)
        for (int normalize = 0; normalize < 2; normalize++) {
            gq_clipcut_opts o = {.k = 5, .group = 3, .normalize = normalize};
            bool            refused = k < 2 || normalize;
            chosen          got;
            make(5, 70, 7, 1000, frames, question);
            for (int i = 0; i < 7; i++)
                frames[41 * 7 + i] = frames[66 * 7 + i] = bad[k];
            choose(frames, 70, 7, question, &o, &got);
            assert_int_equal(got.bad, refused ? 41 : -1);
            for (int i = 0; i < 7; i++)
                question[i] = bad[k];
            choose(frames, 70, 7, question, &o, &got);
            assert_int_equal(got.bad, refused ? 70 : -1);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_host), cmocka_unit_test(test_known), cmocka_unit_test(test_not_usable),
    };
    gq_error          err = {0};
    const gq_backend *be = gq_backend_on_host(1, &err);
    if (!be) {
        print_error("%s\n", err.text);
        return 1;
    }
    device = be->device;
    return cmocka_run_group_tests_name("clipcut", tests, NULL, NULL);
}
