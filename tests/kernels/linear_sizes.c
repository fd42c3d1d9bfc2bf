/* The matrix product of every CPU rung at sizes around its decisions: operands in place or packed,
 * few rows against a large matrix, blocks along each dimension, tiles cut on each side. The oracle
 * is the sum in double; the bound is that of a float sum in any order, (k + 4) 2^-24 times the sum
 * of the magnitudes. 1 and 3 threads must agree bitwise. */
#include "support.h"

#include <math.h>

#include "core/mem.h"
#include "core/philox.h"
#include "kernels/kernels.h"

typedef struct size { int64_t rows, n, k; } size;

static const size sizes[] = {
    {1, 1, 1}, {3, 5, 2}, {12, 32, 17}, {13, 33, 40},
    {25, 31, 64}, {47, 16, 33}, {48, 48, 1}, {11, 160, 7},
    {16, 16, 32}, {17, 48, 31}, {32, 17, 33}, {33, 15, 96},                /* AMX tiles           */
    {65, 129, 515}, {66, 257, 260}, {100, 70, 1000},         /* B packed although stored in order */
    {1, 700, 130}, {2, 523, 129}, {5, 515, 257},                       /* few rows                */
    {7, 600, 128}, {32, 521, 131}, {33, 521, 131},                     /* few rows                */
    {30, 17, 4100}, {70, 40, 4104},                                    /* two blocks along k      */
    {600, 10, 4000}, {40, 4300, 1000},                                 /* two blocks of A, of B   */
    {1100, 10, 4000},                                                  /* ... of A in pairs       */
};

static float *random_floats(int64_t n, uint32_t stream)
{
    float *x = gq_malloc((size_t)n, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = 2 * gq_u01(gq_philox_at(1, (uint64_t)i, GQ_RNG_TEST, stream)) - 1;
    return x;
}

/* All NaN: what is not written shows. */
static float *poisoned(int64_t n)
{
    float *x = gq_malloc((size_t)n, sizeof *x);
    assert_non_null(x);
    return memset(x, 0xff, (size_t)n * sizeof *x);
}

static gq_buf buffer(float *p, int64_t rows, int64_t cols)
{
    return (gq_buf){.p = p, .shape = {rows, cols, 1, 1}, .rank = 2, .dtype = GQ_F32};
}

/* sum over l of a[l * as] * b[l * bs], and of the magnitudes */
static double dot(const float *a, int64_t as, const float *b, int64_t bs, int64_t k,
                  double *magnitude)
{
    double s = 0, m = 0;
    for (int64_t l = 0; l < k; l++) {
        double v = (double)a[l * as] * (double)b[l * bs];
        s += v;
        m += fabs(v);
    }
    *magnitude = m;
    return s;
}

typedef struct problem {
    size   s;
    float *x, *w, *bias, *r, *dy;
    float *y, *dx, *dw, *db;            /* results                                                */
} problem;

static void run(const gq_backend *be, const problem *p, gq_pool *pool)
{
    const gq_op_kernels *k = &be->ops[GQ_OP_LINEAR];
    gq_work work = {.pool = pool};
    gq_call              c = {.work = &work,
                              .in = {buffer(p->x, p->s.rows, p->s.k), buffer(p->w, p->s.n, p->s.k),
                                     buffer(p->bias, 1, p->s.n), buffer(p->r, p->s.rows, p->s.n)}};
    c.in[2].rank = 1;
    c.in[2].shape[0] = p->s.n;
    for (int back = 0; back < 2; back++) {
        if (back) {
            c.dout[0] = buffer(p->dy, p->s.rows, p->s.n);
            c.din[0] = c.in[0], c.din[1] = c.in[1], c.din[2] = c.in[2];
            c.din[0].p = p->dx, c.din[1].p = p->dw, c.din[2].p = p->db;
        } else {
            c.out[0] = buffer(p->y, p->s.rows, p->s.n);
        }
        work.temp_bytes = k->temp(&c, back, gq_pool_size(pool));
        work.temp = gq_aligned(64, work.temp_bytes);
        assert_non_null(work.temp);
        (back ? k->bwd : k->fwd)(&c);
        gq_free(work.temp);
    }
}

static void near(const gq_backend *be, size s, const char *what, float got, double want,
                 double magnitude, int64_t k, double operand)
{
    double bound = magnitude * ((double)(k + 4) * 0x1p-24 + 2.01 * operand) + 1e-37;
    if (!(fabs((double)got - want) <= bound))
        fail_msg("%s, %s at %d x %d x %d: got %.9g, want %.9g, bound %.3g", be->name, what,
                 (int)s.rows, (int)s.n, (int)s.k, (double)got, want, bound);
}

/* Every element of small results, a spread of the large ones. */
static void compare(const gq_backend *be, const problem *p, double operand)
{
    size    s = p->s;
    int64_t step_y = s.rows * s.n / 800 + 1, step_dx = s.rows * s.k / 800 + 1,
            step_dw = s.n * s.k / 800 + 1;
    double  m;
    for (int64_t e = 0; e < s.rows * s.n; e += step_y) {
        int64_t i = e / s.n, j = e % s.n;
        double  v = dot(p->x + i * s.k, 1, p->w + j * s.k, 1, s.k, &m);
        near(be, s, "y", p->y[e], v + (double)p->bias[j] + (double)p->r[e],
             m + fabs((double)p->bias[j]) + fabs((double)p->r[e]), s.k, operand);
    }
    for (int64_t e = 0; e < s.rows * s.k; e += step_dx) {
        double v = dot(p->dy + e / s.k * s.n, 1, p->w + e % s.k, s.k, s.n, &m);
        near(be, s, "dx", p->dx[e], v, m, s.n, operand);
    }
    for (int64_t e = 0; e < s.n * s.k; e += step_dw) {
        double v = dot(p->dy + e / s.k, s.n, p->x + e % s.k, s.k, s.rows, &m);
        near(be, s, "dw", p->dw[e], v, m, s.rows, operand);
    }
    for (int64_t j = 0; j < s.n; j++) {
        static const float one = 1;
        double v = dot(p->dy + j, s.n, &one, 0, s.rows, &m);
        near(be, s, "db", p->db[j], v, m, s.rows, 0);
    }
}

static problem make(size s, const problem *from)
{
    problem p = {.s = s};
    if (from)
        p = *from;
    else
        p = (problem){s,
                      random_floats(s.rows * s.k, 1),
                      random_floats(s.n * s.k, 2),
                      random_floats(s.n, 3),
                      random_floats(s.rows * s.n, 4),
                      random_floats(s.rows * s.n, 5),
                      NULL, NULL, NULL, NULL};
    p.y = poisoned(s.rows * s.n);
    p.dx = poisoned(s.rows * s.k);
    p.dw = poisoned(s.n * s.k);
    p.db = poisoned(s.n);
    return p;
}

static void drop_results(problem *p)
{
    gq_free(p->y);
    gq_free(p->dx);
    gq_free(p->dw);
    gq_free(p->db);
}

static void drop(problem *p)
{
    drop_results(p);
    gq_free(p->x);
    gq_free(p->w);
    gq_free(p->bias);
    gq_free(p->r);
    gq_free(p->dy);
}

static void check(const gq_backend *be, size s, double operand, gq_pool *pool)
{
    problem one = make(s, NULL), many = make(s, &one);
    run(be, &one, NULL);
    compare(be, &one, operand);
    run(be, &many, pool);
    assert_memory_equal(one.y, many.y, (size_t)(s.rows * s.n) * sizeof(float));
    assert_memory_equal(one.dx, many.dx, (size_t)(s.rows * s.k) * sizeof(float));
    assert_memory_equal(one.dw, many.dw, (size_t)(s.n * s.k) * sizeof(float));
    assert_memory_equal(one.db, many.db, (size_t)s.n * sizeof(float));
    drop_results(&many);
    drop(&one);
}

enum { RUNGS = 4, ALL_RUNGS = 6 };      /* with float operands; those with bf16 follow            */

/* NULL, and a message: not on this machine */
static const gq_backend *rung(int r)
{
    static const char *const names[ALL_RUNGS] = {"scalar",     "avx2",       "avx512",
                                                 "avx512bf16", "avx512bf16", "amx"};
    const gq_backend *be = r < RUNGS ? gq_backend_cpu(names[r]) : gq_backend_cpu_bf16(names[r]);
    if (!be)
        print_message("not on this machine: %s%s\n", names[r],
                      r < RUNGS ? "" : " with bf16 operands");
    return be;
}

static void every_rung(void **state)
{
    gq_error err = {0};
    gq_pool *pool;
    (void)state;
    assert_ok(gq_pool_new(3, &pool, &err), &err);
    for (int r = 0; r < ALL_RUNGS; r++) {
        const gq_backend *be = rung(r);
        for (size_t i = 0; be && i < sizeof sizes / sizeof *sizes; i++)
            check(be, sizes[i], r < RUNGS ? 0 : 0x1p-8, pool);
    }
    gq_pool_free(pool);
}

/* NaN and infinity reach the row of y and the column of dw they belong to, and nothing else. */
static void not_finite(void **state)
{
    const size s = {19, 37, 45};
    (void)state;
    for (int r = 0; r < ALL_RUNGS; r++) {
        const gq_backend *be = rung(r);
        problem           p = make(s, NULL);
        p.x[2 * s.k + 3] = (float)NAN;
        p.x[5 * s.k + 44] = INFINITY;
        if (be)
            run(be, &p, NULL);
        for (int64_t e = 0; be && e < s.rows * s.n; e++) {
            assert_int_equal(!isfinite(p.y[e]), e / s.n == 2 || e / s.n == 5);
            assert_int_equal(!!isnan(p.y[e]), e / s.n == 2);
        }
        for (int64_t e = 0; be && e < s.n * s.k; e++) {
            assert_int_equal(!isfinite(p.dw[e]), e % s.k == 3 || e % s.k == 44);
            assert_int_equal(!!isnan(p.dw[e]), e % s.k == 3);
        }
        for (int64_t e = 0; be && e < s.rows * s.k; e++)
            assert_true(isfinite(p.dx[e]));
        drop(&p);
    }
}

static void choice(void **state)
{
    (void)state;
    assert_non_null(gq_backend_cpu("scalar"));
    assert_string_equal(gq_backend_cpu("scalar")->name, "cpu-scalar");
    assert_null(gq_backend_cpu("avx1024"));
    assert_non_null(gq_backend_cpu(NULL));
    assert_ptr_equal(gq_backend_cpu(NULL), gq_backend_cpu("auto"));
    assert_null(gq_backend_cpu_bf16("scalar"));
    assert_ptr_equal(gq_backend_cpu_bf16(NULL), gq_backend_cpu_bf16("auto"));
    if (gq_backend_cpu_bf16("amx"))
        assert_ptr_equal(gq_backend_cpu_bf16(NULL), gq_backend_cpu_bf16("amx"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_rung), cmocka_unit_test(not_finite),
                                       cmocka_unit_test(choice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
