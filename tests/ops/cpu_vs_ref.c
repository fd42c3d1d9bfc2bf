/* cpu_vs_ref.c - every backend against the reference and against the formulas, op by op.
 *
 * For each case the formulas (formulas.h) give a value and the rounding error any correct
 * arithmetic of that precision may make. ref64 must agree with the formulas within the bound of
 * double; ref32 and every CPU rung this machine has must agree with ref64 within the bound of
 * float. The bound is taken twice: once for each side in double, and in float because products may
 * be associated otherwise than the formula writes them, which changes which intermediate is rounded
 * but not how many. Beyond the numbers: same bits with 1, 2, 3 and 4 threads, in a second run, at
 * another address; gradients that are not wanted or do not arrive; gradients added to what is
 * there; guards and poison as in harness.h.
 */
#include "tests/ops/contenders.h"

static gq_pool *pools[5];               /* by number of threads; [1] is NULL                      */

static void same_values(const op_case *c, const char *what, const values *a, const values *b)
{
    for (int k = 0; k < GQ_MAX_OUT; k++)
        same_bits(what, count(&c->out[k]), a->out[k], b->out[k]);
    for (int k = 0; k < GQ_MAX_SAVE; k++)
        if (!(c->op == GQ_OP_LM_LOSS && c->in[2].shape[0] > GQ_LM_CHUNK))
            same_bits(what, count(&c->save[k]), a->save[k], b->save[k]);
}

/* v with forward results of its own, to run into */
static values with_own_results(const op_case *c, const values *v)
{
    values w = *v;
    for (int k = 0; k < GQ_MAX_OUT; k++)
        w.out[k] = c->out[k].rank ? doubles(count(&c->out[k])) : NULL;
    for (int k = 0; k < GQ_MAX_SAVE; k++)
        w.save[k] = c->save[k].rank ? doubles(count(&c->save[k])) : NULL;
    return w;
}

/* ---- what a case must give ------------------------------------------------------------------- */

/* One case in one arithmetic. Backward gets the same saved tensors for everybody, rounded as that
 * arithmetic stores them, so that it is judged by itself. */
typedef struct expected {
    values   v;                         /* inputs; out and save of ref64                          */
    values   saved;                   /* the same, out and save rounded to float unless in double */
    estimate may;                       /* bounds, forward and backward                           */
    double  *out[GQ_MAX_OUT], *save[GQ_MAX_SAVE], *din[GQ_MAX_IN];
} expected;

static double *value_part(const num *x, int64_t n)
{
    double *v = doubles(n);
    for (int64_t i = 0; i < n; i++)
        v[i] = x[i].v;
    return v;
}

static double *in_float(const double *x, int64_t n)
{
    double *y = doubles(n);
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)x[i];
    return y;
}

static void new_gradients(const op_case *c, double *din[])
{
    for (int k = 0; k < GQ_MAX_IN; k++)
        din[k] = c->in[k].rank ? doubles(count(&c->in[k])) : NULL;
}

static void expect_forward(const op_case *c, expected *x, bool in_double)
{
    how_to_run how = {.be = &gq_backend_ref64};
    run_forward(c, &x->v, &how, x->v.out, x->v.save);
    op_rows[c->op].values(c, &x->v, &x->may);
    x->saved = x->v;
    for (int k = 0; k < GQ_MAX_OUT + GQ_MAX_SAVE; k++) {
        int      j = k < GQ_MAX_OUT ? k : k - GQ_MAX_OUT;
        int64_t  n = count(k < GQ_MAX_OUT ? &c->out[j] : &c->save[j]);
        double  *ours = k < GQ_MAX_OUT ? x->v.out[j] : x->v.save[j];
        double **want = k < GQ_MAX_OUT ? &x->out[j] : &x->save[j];
        *want = in_double ? value_part(k < GQ_MAX_OUT ? x->may.out[j] : x->may.save[j], n) : ours;
        *(k < GQ_MAX_OUT ? &x->saved.out[j] : &x->saved.save[j]) =
            in_double ? ours : in_float(ours, n);
    }
}

static void expect_backward(const op_case *c, expected *x, bool in_double)
{
    how_to_run how = {.be = &gq_backend_ref64, .wants = c->wants, .gives = c->gives};
    for (int k = 0; k < GQ_MAX_OUT; k++)
        if (!(c->gives >> k & 1))
            x->saved.dout[k] = NULL;
    op_rows[c->op].gradients(c, &x->saved, &x->may);
    new_gradients(c, x->din);
    if (!in_double)
        run_backward(c, &x->saved, &how, x->din);
    for (int k = 0; k < GQ_MAX_IN; k++)
        if (in_double && c->wants >> k & 1)
            x->din[k] = value_part(x->may.din[k], count(&c->in[k]));
}

/* ---- one backend, one case ------------------------------------------------------------------- */

static void check_forward(const op_case *c, const expected *x, const contender *who)
{
    how_to_run how = {.be = who->be, .shift = 1};
    values     got = with_own_results(c, &x->v), again;
    char       what[160];

    run_forward(c, &x->v, &how, got.out, got.save);
    for (int k = 0; k < GQ_MAX_OUT; k++) {
        snprintf(what, sizeof what, "%s, %s: out %d", c->name, who->be->name, k);
        compare(what, count(&c->out[k]), got.out[k], x->out[k], x->may.out[k]);
    }
    for (int k = 0; k < GQ_MAX_SAVE; k++) {
        snprintf(what, sizeof what, "%s, %s: save %d", c->name, who->be->name, k);
        compare(what, count(&c->save[k]), got.save[k], x->save[k], x->may.save[k]);
    }
    snprintf(what, sizeof what, "%s, %s, forward again", c->name, who->be->name);
    for (int threads = 1; threads <= 4; threads++) {
        how = (how_to_run){.be = who->be, .pool = pools[threads], .shift = (size_t)threads};
        again = with_own_results(c, &x->v);
        run_forward(c, &x->v, &how, again.out, again.save);
        same_values(c, what, &got, &again);
    }
    if (!(op_flags[c->op] & GQ_OP_SAVES)) {
        how.no_saves = 1;
        again = with_own_results(c, &x->v);
        run_forward(c, &x->v, &how, again.out, again.save);
        for (int k = 0; k < GQ_MAX_OUT; k++)
            same_bits(what, count(&c->out[k]), got.out[k], again.out[k]);
    }
}

/* Gradients `wants`, those of `acc` added to the prior values, which are one more term of each
 * sum. */
static void check_gradients(const op_case *c, const expected *x, const contender *who,
                            uint32_t wants, uint32_t acc, double *const got[])
{
    how_to_run how = {.be = who->be, .shift = 1, .wants = wants, .gives = c->gives, .acc = acc};
    char       what[160];

    run_backward(c, &x->saved, &how, got);
    for (int k = 0; k < GQ_MAX_IN; k++) {
        int64_t n = wants >> k & 1 ? count(&c->in[k]) : 0;
        double *want = doubles(n);
        num    *allowed = nums(n);
        for (int64_t i = 0; i < n; i++) {
            double prior = acc >> k & 1 ? x->v.prior[k][i] : 0;
            want[i] = prior + x->din[k][i];
            allowed[i] = x->may.din[k][i];
            allowed[i].e +=
                unit * (fabs(allowed[i].v) + (double)(x->may.terms[k] + 2) * fabs(prior));
        }
        snprintf(what, sizeof what, "%s, %s, acc %u: gradient %d", c->name, who->be->name, acc, k);
        compare(what, n, got[k], want, allowed);
    }
}

static void check_backward(const op_case *c, const expected *x, const contender *who)
{
    double *first[GQ_MAX_IN], *other[GQ_MAX_IN];
    char    what[160];

    new_gradients(c, first);
    new_gradients(c, other);
    check_gradients(c, x, who, c->wants, 0, first);
    check_gradients(c, x, who, c->wants, c->wants, other);
    for (uint32_t k = 0; k < GQ_MAX_IN; k++)
        if (c->wants >> k & 1 && c->wants != 1u << k) {
            check_gradients(c, x, who, 1u << k, 0, other);
            check_gradients(c, x, who, c->wants, 1u << k, other);
        }
    snprintf(what, sizeof what, "%s, %s, backward again", c->name, who->be->name);
    for (int threads = 1; threads <= 4; threads++) {
        how_to_run how = {.be = who->be,
                          .pool = pools[threads],
                          .shift = (size_t)threads,
                          .wants = c->wants,
                          .gives = c->gives};
        run_backward(c, &x->saved, &how, other);
        for (int k = 0; k < GQ_MAX_IN; k++)
            if (c->wants >> k & 1)
                same_bits(what, count(&c->in[k]), first[k], other[k]);
    }
}

/* No gradient arrives: every element of every wanted gradient becomes zero. */
static void check_no_gradient(const op_case *c, const values *v, const contender *who)
{
    how_to_run how = {.be = who->be, .wants = c->wants};
    double    *din[GQ_MAX_IN];
    new_gradients(c, din);
    run_backward(c, v, &how, din);
    for (int k = 0; k < GQ_MAX_IN; k++)
        for (int64_t i = 0; c->wants >> k & 1 && i < count(&c->in[k]); i++)
            if (din[k][i] != 0)
                fail_msg("%s, %s: gradient %d is %g without a gradient of the output", c->name,
                         who->be->name, k, din[k][i]);
}

/* NaN and infinity in the input: nothing is promised about the numbers, only that it ends within
 * its buffers. */
static void check_not_finite(const op_case *c, const values *v, const contender *who)
{
    how_to_run how = {.be = who->be, .pool = pools[2], .wants = c->wants, .gives = c->gives};
    values     w = with_own_results(c, v);
    double    *din[GQ_MAX_IN];
    new_gradients(c, din);
    for (int k = 0; k < GQ_MAX_IN; k++)
        if (c->in[k].rank && c->in[k].dtype == GQ_F32) {
            w.in[k] = doubles(count(&c->in[k]));
            memcpy(w.in[k], v->in[k], (size_t)count(&c->in[k]) * sizeof(double));
            w.in[k][0] = NAN;
            w.in[k][count(&c->in[k]) / 2] = k % 2 ? INFINITY : -INFINITY;
        }
    run_forward(c, &w, &how, w.out, w.save);
    if (c->wants)
        run_backward(c, &w, &how, din);
}

static void check_case(const op_case *c, const expected *x, const contender *who)
{
    int first = nblocks;
    check_forward(c, x, who);
    if (c->wants) {
        check_backward(c, x, who);
        check_no_gradient(c, &x->saved, who);
    }
    check_not_finite(c, &x->v, who);
    drop_from(first, c->name);
}

static void test_op(void **state)
{
    gq_op     op = (gq_op)(intptr_t)*state;
    contender who[8];
    int       n = contenders(who), cases = 0;
    op_case   c;
    check_row(op);
    for (; next_case(op, cases, &c); cases++) {
        expected x;
        for (int j = 0; j < n; j++) {
            if (j == 0 || who[j].unit != who[j - 1].unit ||
                who[j].gemm_operand != who[j - 1].gemm_operand) {
                drop_from(0, c.name);
                unit = who[j].unit;
                gemm_operand = op == GQ_OP_LINEAR ? who[j].gemm_operand : 0;
                x = (expected){.v = values_of(&c, (uint64_t)(100 * op + cases)),
                               .may = estimate_of(&c)};
                expect_forward(&c, &x, who[j].be->real == GQ_F64);
                if (c.wants)
                    expect_backward(&c, &x, who[j].be->real == GQ_F64);
            }
            check_case(&c, &x, &who[j]);
        }
        drop_from(0, c.name);
    }
    assert_true(cases > 0);
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
