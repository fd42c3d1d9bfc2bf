/* rows.c - what the tables of tests/ops are too small for: lookups with more rows than a block lists, with runs
 * of repeats longer than a warp, rows wide enough for several slices and 16-byte accesses; sums in the
 * promised order, bit for bit; dropout's bits beside the CPU's. */
#include "core/bf16.h"
#include "core/mem.h"
#include "core/philox.h"
#include "tests/cuda_on_cpu/column.h"

static const gq_backend *cuda[2];       /* float, bf16                                            */

/* ---- numbers --------------------------------------------------------------------------------- */

static uint32_t draw(uint32_t stream, int64_t i) { return gq_philox_at(11, (uint64_t)i, GQ_RNG_TEST + stream, 0); }

static float as_stored(float f, int32_t dtype) { return dtype == GQ_BF16 ? gq_bf16_to_f32(gq_f32_to_bf16(f)) : f; }
static size_t bytes_of(int32_t dtype) { return dtype == GQ_BF16 ? 2 : 4; }

/* n numbers in (-1, 1) that `dtype` holds exactly */
static float *numbers(int64_t n, uint32_t stream, int32_t dtype)
{
    float *x = gq_calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = as_stored(2 * gq_u01(draw(stream, i)) - 1, dtype);
    return x;
}

/* ---- buffers --------------------------------------------------------------------------------- */

/* [rows, cols] of dtype on the device, `shift` elements off its alignment. x NULL: every byte 0xff. */
static gq_buf device_buffer(gq_device *d, int32_t dtype, int64_t rows, int64_t cols, const void *x, size_t shift)
{
    size_t n = (size_t)(rows * cols), size = bytes_of(dtype);
    gq_buf b = {.shape = {rows, cols, 1, 1}, .rank = 2, .dtype = dtype};
    char  *p = d->alloc(d, (n + shift) * size);
    assert_non_null(p);
    b.p = p + shift * size;
    d->fill(d, p, 0xff, (n + shift) * size);
    if (x && dtype == GQ_BF16) {
        uint16_t *half = gq_calloc(n, 2);
        for (size_t i = 0; i < n; i++)
            half[i] = gq_f32_to_bf16(((const float *)x)[i]);
        d->upload(d, b.p, half, n * 2);
        gq_free(half);
    } else if (x) {
        d->upload(d, b.p, x, n * size);
    }
    return b;
}

static void release(gq_device *d, gq_buf *b, size_t shift)
{
    if (b->p)
        d->release(d, (char *)b->p - shift * bytes_of(b->dtype));
}

static float *fetched(gq_device *d, const gq_buf *b)
{
    size_t n = (size_t)gq_size(b);
    float *x = gq_calloc(n, sizeof *x);
    if (b->dtype == GQ_BF16) {
        uint16_t *half = gq_calloc(n, 2);
        d->download(d, half, b->p, n * 2);
        for (size_t i = 0; i < n; i++)
            x[i] = gq_bf16_to_f32(half[i]);
        gq_free(half);
    } else {
        d->download(d, x, b->p, n * sizeof *x);
    }
    return x;
}

static void run(const gq_backend *be, gq_op op, gq_call *c, int backward)
{
    static const gq_step_block step = {0x0123456789abcdefu, 7, 3};
    const gq_op_kernels *k = &be->ops[op];
    gq_error             err = {0};
    gq_work              work = {.device = be->device};
    c->work = &work;
    c->step = &step;
    work.temp_bytes = k->temp ? k->temp(c, backward, 1) : 0;
    work.temp = be->device->alloc(be->device, work.temp_bytes + 1);
    be->device->fill(be->device, work.temp, 0xff, work.temp_bytes);
    be->device->set_step(be->device, &step);
    (backward ? k->bwd : k->fwd)(c);
    be->device->release(be->device, work.temp);
    if (be->device->finish(be->device, &err) != GQ_OK)
        fail_msg("%s", err.text);
}

/* ---- lookups --------------------------------------------------------------------------------- */

typedef struct lookup {
    int64_t V, R, D;
    uint32_t kinds;                     /* ids are drawn from so many of the V, spread evenly     */
    size_t  shift;
    int     none;                       /* every fifth id is -1                                   */
} lookup;

static int32_t *ids_of(const lookup *l)
{
    int32_t *ids = gq_calloc((size_t)l->R, sizeof *ids);
    assert_non_null(ids);
    for (int64_t r = 0; r < l->R; r++)
        ids[r] = l->none && draw(1, r) % 5 == 0 ? -1 : (int32_t)(draw(2, r) % l->kinds * (uint64_t)l->V / l->kinds);
    return ids;
}

/* The gradient of the table, of type `dtype`: repeats in the order of the rows, in float, stored once. */
static void check_lookup(const gq_backend *be, const lookup *l, gq_op op, int32_t dtype, int adds)
{
    int      k = op == GQ_OP_EMBED;     /* the operand that is looked up                          */
    int32_t *ids = ids_of(l);
    float   *table = numbers(l->V * l->D, 3, be->real), *dy = numbers(l->R * l->D, 4, be->real);
    float   *prior = numbers(l->V * l->D, 5, dtype), *sum = gq_calloc((size_t)(l->V * l->D), sizeof *sum), *got;
    gq_device *d = be->device;
    gq_call  c = {.acc = adds ? 1u << k : 0};
    c.in[k] = device_buffer(d, be->real, l->V, l->D, table, l->shift);
    c.in[!k] = device_buffer(d, GQ_I32, l->R, 1, ids, 0);
    c.out[0] = device_buffer(d, be->real, l->R, l->D, NULL, l->shift);
    c.dout[0] = device_buffer(d, be->real, l->R, l->D, dy, l->shift);
    c.din[k] = device_buffer(d, dtype, l->V, l->D, adds ? prior : NULL, l->shift);
    if (op == GQ_OP_EMBED)              /* of base, which is written in the same pass             */
        c.din[2] = device_buffer(d, be->real, l->R, l->D, NULL, l->shift);
    run(be, op, &c, 0);
    got = fetched(d, &c.out[0]);
    for (int64_t i = 0; i < l->R * l->D; i++)
        assert_true(got[i] == (ids[i / l->D] < 0 ? 0 : table[ids[i / l->D] * l->D + i % l->D]));
    gq_free(got);
    run(be, op, &c, 1);
    for (int64_t i = 0; i < l->R * l->D; i++)
        if (ids[i / l->D] >= 0)
            sum[ids[i / l->D] * l->D + i % l->D] += dy[i];
    got = fetched(d, &c.din[k]);
    for (int64_t i = 0; i < l->V * l->D; i++)
        if (got[i] != as_stored(adds ? prior[i] + sum[i] : sum[i], dtype))
            fail_msg("%s, %ld rows into [%ld,%ld], shift %zu, type %d: element %ld is %.9g, not %.9g", be->name,
                     (long)l->R, (long)l->V, (long)l->D, l->shift, dtype, (long)i, (double)got[i], (double)sum[i]);
    if (op == GQ_OP_EMBED) {
        gq_free(got);
        got = fetched(d, &c.din[2]);
        assert_memory_equal(got, dy, (size_t)(l->R * l->D) * sizeof *dy);
        release(d, &c.din[2], l->shift);
    }
    for (int i = 0; i < 2; i++)
        release(d, &c.in[i], i == k ? l->shift : 0);
    release(d, &c.out[0], l->shift);
    release(d, &c.dout[0], l->shift);
    release(d, &c.din[k], l->shift);
    void *own[] = {ids, table, dy, prior, sum, got};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        gq_free(own[i]);
}

static void test_lookups(void **state)
{
    static const lookup t[] = {
        {1, 1, 8, 1, 0, 0},         {3, 32, 8, 1, 0, 0},       {3, 33, 8, 1, 0, 0},       {50, 64, 768, 7, 0, 1},
        {40, 300, 264, 3, 0, 1},    {300, 2047, 8, 300, 0, 1}, {300, 2048, 8, 300, 0, 0}, {300, 2049, 8, 2, 0, 1},
        {5000, 6200, 8, 977, 0, 1}, {97, 4500, 12, 97, 1, 1},  {4, 200, 33, 2, 1, 0},     {7, 5000, 3, 1, 0, 0},
    };
    (void)state;
    need_column(cuda);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        for (int bf16 = 0; bf16 < 2; bf16++)
            for (int as_float = !bf16; as_float < 2; as_float++)
                for (int adds = 0; adds < 2; adds++) {
                    column_order((unsigned)(2 * i + (size_t)adds));
                    check_lookup(cuda[bf16], &t[i], GQ_OP_GATHER_ROWS, as_float ? GQ_F32 : GQ_BF16, adds);
                    if (!t[i].none)
                        check_lookup(cuda[bf16], &t[i], GQ_OP_EMBED, as_float ? GQ_F32 : GQ_BF16, adds);
                }
    column_order(0);
}

/* ---- one operand, elementwise or summed ------------------------------------------------------ */

/* Backward of a one-operand op on [rows,D] -> [outer,rows,D]; *got is owned by the caller. */
static float *gradient(const gq_backend *be, gq_op op, int64_t outer, int64_t rows, int64_t D, const float *dy,
                       const float *prior, int32_t dtype, float p, size_t shift)
{
    gq_device *d = be->device;
    gq_call    c = {.acc = prior != NULL, .rng_op = 41, .attr = {.p = p}};
    float     *got;
    c.in[0] = device_buffer(d, be->real, rows, D, NULL, shift);
    c.out[0] = device_buffer(d, be->real, outer, rows * D, NULL, shift);
    c.dout[0] = device_buffer(d, be->real, outer, rows * D, dy, shift);
    c.din[0] = device_buffer(d, dtype, rows, D, prior, shift);
    run(be, op, &c, 1);
    got = fetched(d, &c.din[0]);
    release(d, &c.in[0], shift);
    release(d, &c.out[0], shift);
    release(d, &c.dout[0], shift);
    release(d, &c.din[0], shift);
    return got;
}

static void test_expand(void **state)
{
    enum { STRIPES = 32 };              /* of kernels/cuda/rows.cu: the promised order            */
    static const struct { int64_t B, n, D; size_t shift; } t[] = {
        {1, 3, 8, 0}, {15, 2, 264, 0}, {16, 1, 8, 0}, {53, 4, 136, 0}, {41, 3, 8, 1}, {37, 5, 7, 0},
        {600, 2, 72, 0},
    };
    (void)state;
    need_column(cuda);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        for (int kind = 0; kind < 6; kind++) {
            const gq_backend *be = cuda[kind % 3 > 0];
            int32_t           dtype = kind % 3 == 2 ? GQ_BF16 : GQ_F32;
            int64_t           n = t[i].n * t[i].D;
            float *dy = numbers(t[i].B * n, 6, be->real), *prior = kind < 3 ? NULL : numbers(n, 7, dtype), *got;
            got = gradient(be, GQ_OP_EXPAND_ROWS, t[i].B, t[i].n, t[i].D, dy, prior, dtype, 0, t[i].shift);
            for (int64_t k = 0; k < n; k++) {
                float stripe[STRIPES] = {0}, sum = 0;
                for (int64_t b = 0; b < t[i].B; b++)
                    stripe[b % STRIPES] += dy[b * n + k];
                for (int s = 0; s < STRIPES; s++)
                    sum += stripe[s];
                assert_true(got[k] == as_stored(prior ? prior[k] + sum : sum, dtype));
            }
            gq_free(dy);
            gq_free(prior);
            gq_free(got);
        }
}

/* The same elements as core/philox.h says, whatever the type, the alignment and the tail. */
static void test_dropout(void **state)
{
    static const int64_t sizes[] = {1, 3, 4, 1027, 4096};
    const float          p = 0.3f, kept = 1.0f / (1.0f - p);
    (void)state;
    need_column(cuda);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int kind = 0; kind < 12; kind++) {
            const gq_backend *be = cuda[kind % 3 > 0];
            int32_t           dtype = kind % 3 == 2 ? GQ_BF16 : GQ_F32;
            int64_t           n = sizes[s];
            float *dy = numbers(n, 8, be->real), *prior = kind < 6 ? NULL : numbers(n, 9, dtype), *got;
            got = gradient(be, GQ_OP_DROPOUT, 1, n, 1, dy, prior, dtype, p, (size_t)kind / 3 % 2);
            for (int64_t e = 0; e < n; e++) {
                int   keeps = gq_u01(gq_philox_at(0x0123456789abcdefu, (uint64_t)e, 41, 7 * 64 + 3)) >= p;
                float v = keeps ? dy[e] * kept : 0;
                assert_true(got[e] == as_stored(prior ? prior[e] + v : v, dtype));
            }
            gq_free(dy);
            gq_free(prior);
            gq_free(got);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lookups), cmocka_unit_test(test_expand),
                                       cmocka_unit_test(test_dropout)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
