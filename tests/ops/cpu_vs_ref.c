/* cpu_vs_ref.c - every backend of the CPU against the reference and against the formulas, op by op:
 * check.h says how. Then the optimiser, which is no op of a tape.
 */
#include "tests/ops/check.h"

static void test_op(void **state)
{
    contender who[8];
    check_op((gq_op)(intptr_t)*state, who, contenders(who), next_case);
}

/* ---- the optimiser, which is no op of a tape ------------------------------------------------- */

static const int64_t flat_sizes[] = {1, 7, 1023, 65536, 3 * 65536 + 17};

static num adamw_weight(double w, double g, num *m, num *v, const gq_adamw_call *a)
{
    num grad = mul(exact(g), stored(a->gscale)), denominator;
    *m = add(mul(stored(a->beta1), exact(m->v)), mul(stored(1 - a->beta1), grad));
    *v = add(mul(stored(a->beta2), exact(v->v)), mul(mul(stored(1 - a->beta2), grad), grad));
    denominator = add(root(quotient(*v, stored(a->c2))), stored(a->eps));
    return sub(exact(w), mul(stored(a->lr), add(quotient(quotient(*m, stored(a->c1)), denominator),
                                                mul(stored(a->decay), exact(w)))));
}

static void run_adamw(const contender *who, const operand *o, double *const x[4], gq_adamw_call a,
                      gq_pool *pool, double *const to[3])
{
    gq_work work = {.pool = pool};
    int     first = nblocks;
    gq_buf  b[4];
    for (int k = 0; k < 4; k++)
        b[k] = make_buffer(o, who->be, x[k], 1);
    a.w = b[0].p;
    a.m = b[1].p;
    a.v = b[2].p;
    a.g = b[3].p;
    a.n = count(o);
    who->be->adamw(&a, &work);
    check_untouched(o, who->be, x[3], &b[3], "adamw");
    for (int k = 0; k < 3; k++)
        from_buffer(&b[k], to[k]);
    drop_from(first, "adamw");
}

static void test_adamw(void **state)
{
    const gq_adamw_call a = {.lr = 3e-3,
                             .beta1 = 0.9,
                             .beta2 = 0.95,
                             .eps = 1e-8,
                             .decay = 0.1,
                             .gscale = 0.7,
                             .c1 = 1 - 0.9 * 0.9 * 0.9,
                             .c2 = 1 - 0.95 * 0.95 * 0.95};
    contender who[8];
    int       n = contenders(who);
    (void)state;
    for (int j = 0; j < n; j++)
        for (size_t s = 0; s < sizeof flat_sizes / sizeof flat_sizes[0]; s++) {
            operand o = reals(FILL_NORMAL, 1, flat_sizes[s], 1, 1), positive = o;
            double *x[4], *got[3], *again[3];
            positive.how = FILL_POSITIVE;
            unit = who[j].unit;
            for (uint32_t k = 0; k < 4; k++)
                x[k] = filled(k == 2 ? &positive : &o, s, k);             /* w, m, v >= 0, g      */
            for (int k = 0; k < 3; k++) {
                got[k] = doubles(count(&o));
                again[k] = doubles(count(&o));
            }
            run_adamw(&who[j], &o, x, a, NULL, got);
            for (int64_t i = 0; i < count(&o); i++) {
                num may[3] = {{0, 0}, exact(x[1][i]), exact(x[2][i])};
                may[0] = adamw_weight(x[0][i], x[3][i], &may[1], &may[2], &a);
                for (int k = 0; k < 3; k++)
                    compare(who[j].be->name, 1, &got[k][i], &may[k].v, &may[k]);
            }
            for (int threads = 2; threads <= 4; threads++) {
                run_adamw(&who[j], &o, x, a, pools[threads], again);
                for (int k = 0; k < 3; k++)
                    same_bits("adamw with threads", count(&o), got[k], again[k]);
            }
            drop_from(0, "adamw");
        }
}

/* In double whatever the backend, so float squares are exact and n additions remain. */
static void test_sumsq(void **state)
{
    contender who[8];
    int       n = contenders(who);
    (void)state;
    for (int j = 0; j < n; j++)
        for (size_t s = 0; s < sizeof flat_sizes / sizeof flat_sizes[0]; s++) {
            operand o = reals(FILL_NORMAL, 1, flat_sizes[s], 1, 1);
            double *x = filled(&o, s, 0), got, want;
            gq_buf  b = make_buffer(&o, who[j].be, x, 1);
            gq_work work = {0};
            sum     total = {0};
            num     may;
            unit = 0x1p-53;
            for (int64_t i = 0; i < count(&o); i++)
                sum_add(&total, mul(exact(x[i]), exact(x[i])));
            may = sum_of(&total);
            want = may.v;
            got = who[j].be->sumsq(b.p, count(&o), &work);
            compare(who[j].be->name, 1, &got, &want, &may);
            for (int threads = 2; threads <= 4; threads++) {
                work.pool = pools[threads];
                assert_true(who[j].be->sumsq(b.p, count(&o), &work) == got);
            }
            for (int k = 0; k < 2; k++) {
                x[count(&o) / 2] = k ? NAN : INFINITY;
                to_buffer(&o, who[j].be, x, b.p);
                assert_false(isfinite(who[j].be->sumsq(b.p, count(&o), &work)));
            }
            drop_from(0, "sumsq");
        }
    assert_true(gq_backend_ref32.sumsq(NULL, 0, &(gq_work){0}) == 0);
}

int main(void)
{
    struct CMUnitTest group[GQ_OP_COUNT + 2];
    gq_error          err = {0};
    int               failed;
    RUN_PER_OP(group, test_op);
    group[GQ_OP_COUNT] = (struct CMUnitTest)cmocka_unit_test(test_adamw);
    group[GQ_OP_COUNT + 1] = (struct CMUnitTest)cmocka_unit_test(test_sumsq);
    for (int threads = 2; threads <= 4; threads++)
        if (gq_pool_new(threads, &pools[threads], &err) != GQ_OK) {
            print_error("%s\n", err.text);
            return 1;
        }
    failed = cmocka_run_group_tests_name("ops", group, NULL, NULL);
    for (int threads = 2; threads <= 4; threads++)
        gq_pool_free(pools[threads]);
    return failed;
}
