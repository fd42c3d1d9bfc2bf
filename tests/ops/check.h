/* check.h - one backend, one op: every case against the reference and against the formulas.
 *
 * For each case the formulas (formulas.h) give a value and the rounding error any correct
 * arithmetic of that precision may make. ref64 must agree with the formulas within the bound of
 * double; every other backend must agree with ref64 within the bound of float. The bound is taken
 * twice: once for each side in double, and in float because products may be associated otherwise
 * than the formula writes them, which changes which intermediate is rounded but not how many.
 *
 * bfloat16 as `real`: inputs, saved tensors and gradients of outputs are first rounded to bfloat16
 * (to nearest, ties to even), and ref64 and the formulas start from these, so that inputs cost
 * nothing. Arithmetic is float, so the bound before storing is that of float, plus half a unit in
 * the last place (number.h, BF16_ERROR) of every tensor that goes from one kernel of the op to
 * the next in bfloat16 (formulas.h says which). A stored element must then be the rounding of some
 * number within that bound, which costs no further allowance because rounding keeps order: an exact
 * result must be stored exactly, truncation instead of rounding is found. `stat` results, among them
 * gradients of parameters, are float.
 *
 * Beyond the numbers: same bits in a second run, with 1, 2, 3 and 4 threads and at another address,
 * or, on a backend with `turn`, in another order of its threads, at aligned and at shifted addresses
 * (which may differ in their bits: wide accesses sum in another order); gradients that are not wanted
 * or do not arrive; gradients added to what is there; guards and poison as in harness.h.
 */
#ifndef GIFQA_TESTS_OPS_CHECK_H
#define GIFQA_TESTS_OPS_CHECK_H

#include "tests/ops/contenders.h"

static gq_pool *pools[5];               /* by number of threads; [1] is NULL, and where a program
                                         * makes none, all are                                    */

static double added = 0;                /* contender.added, for the op under test                 */

/* Run number i (1..4) of one that must give the same bits: as many threads at another address, or
 * the same address and another order of the threads. */
static inline how_to_run repeated(const contender *who, int i, size_t shift)
{
    if (who->turn)
        who->turn(i);
    return (how_to_run){.be = who->be, .pool = pools[i], .shift = who->turn ? shift : (size_t)i};
}

static inline int repeats(const contender *who) { return who->turn ? 2 : 4; }

static inline void same_values(const op_case *c, const char *what, const values *a, const values *b)
{
    for (int k = 0; k < GQ_MAX_OUT; k++)
        same_bits(what, count(&c->out[k]), a->out[k], b->out[k]);
    for (int k = 0; k < GQ_MAX_SAVE; k++)
        if (!(c->op == GQ_OP_LM_LOSS && c->in[2].shape[0] > GQ_LM_CHUNK))
            same_bits(what, count(&c->save[k]), a->save[k], b->save[k]);
}

/* v with forward results of its own, to run into */
static inline values with_own_results(const op_case *c, const values *v)
{
    values w = *v;
    for (int k = 0; k < GQ_MAX_OUT; k++)
        w.out[k] = c->out[k].rank ? doubles(count(&c->out[k])) : NULL;
    for (int k = 0; k < GQ_MAX_SAVE; k++)
        w.save[k] = c->save[k].rank ? doubles(count(&c->save[k])) : NULL;
    return w;
}

/* ---- what a case must give ------------------------------------------------------------------- */

/* One case in one arithmetic. Backward gets the same saved tensors for everybody, rounded as such a
 * backend stores them, so that it is judged by itself. */
typedef struct expected {
    values   v;                         /* inputs; out and save of ref64                          */
    values   saved;                     /* the same, out and save as a backend stores them        */
    estimate may;                       /* bounds, forward and backward                           */
    double  *out[GQ_MAX_OUT], *save[GQ_MAX_SAVE], *din[GQ_MAX_IN];
} expected;

static inline double *value_part(const num *x, int64_t n)
{
    double *v = doubles(n);
    for (int64_t i = 0; i < n; i++)
        v[i] = x[i].v;
    return v;
}

static inline double *stored_part(const operand *o, const gq_backend *be, const double *x)
{
    double *y = o->rank ? doubles(count(o)) : NULL;
    for (int64_t i = 0; i < count(o); i++)
        y[i] = x[i];
    round_to(element_type(o, be), y, count(o));
    return y;
}

static inline void new_gradients(const op_case *c, double *din[])
{
    for (int k = 0; k < GQ_MAX_IN; k++)
        din[k] = c->in[k].rank ? doubles(count(&c->in[k])) : NULL;
}

static inline void expect_forward(const op_case *c, expected *x, const gq_backend *be)
{
    how_to_run how = {.be = &gq_backend_ref64};
    run_forward(c, &x->v, &how, x->v.out, x->v.save);
    op_rows[c->op].values(c, &x->v, &x->may);
    x->saved = x->v;
    for (int k = 0; k < GQ_MAX_OUT + GQ_MAX_SAVE; k++) {
        int            j = k < GQ_MAX_OUT ? k : k - GQ_MAX_OUT;
        const operand *o = k < GQ_MAX_OUT ? &c->out[j] : &c->save[j];
        double        *ours = k < GQ_MAX_OUT ? x->v.out[j] : x->v.save[j];
        const num     *formula = k < GQ_MAX_OUT ? x->may.out[j] : x->may.save[j];
        *(k < GQ_MAX_OUT ? &x->out[j] : &x->save[j]) =
            be->real == GQ_F64 ? value_part(formula, count(o)) : ours;
        *(k < GQ_MAX_OUT ? &x->saved.out[j] : &x->saved.save[j]) = stored_part(o, be, ours);
    }
}

static inline void expect_backward(const op_case *c, expected *x, bool in_double)
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

static inline void check_forward(const op_case *c, const expected *x, const contender *who, size_t shift)
{
    how_to_run how = {.be = who->be, .shift = shift};
    values     got = with_own_results(c, &x->v), again;
    char       what[160];

    run_forward(c, &x->v, &how, got.out, got.save);
    for (int k = 0; k < GQ_MAX_OUT; k++) {
        snprintf(what, sizeof what, "%s, %s: out %d", c->name, who->be->name, k);
        compare_as(element_type(&c->out[k], who->be), what, count(&c->out[k]), got.out[k], x->out[k],
                   x->may.out[k]);
    }
    for (int k = 0; k < GQ_MAX_SAVE; k++) {
        snprintf(what, sizeof what, "%s, %s: save %d", c->name, who->be->name, k);
        compare_as(element_type(&c->save[k], who->be), what, count(&c->save[k]), got.save[k],
                   x->save[k], x->may.save[k]);
    }
    snprintf(what, sizeof what, "%s, %s, forward again", c->name, who->be->name);
    for (int i = 1; i <= repeats(who); i++) {
        how = repeated(who, i, shift);
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
static inline void check_gradients(const op_case *c, const expected *x, const contender *who,
                                   size_t shift, uint32_t wants, uint32_t acc, double *const got[])
{
    how_to_run how = {.be = who->be, .shift = shift, .wants = wants, .gives = c->gives, .acc = acc};
    char       what[160];

    run_backward(c, &x->saved, &how, got);
    for (int k = 0; k < GQ_MAX_IN; k++) {
        operand gradient = gradient_of(c->in[k]);
        int64_t n = wants >> k & 1 ? count(&c->in[k]) : 0;
        double *want = doubles(n);
        num    *allowed = nums(n);
        for (int64_t i = 0; i < n; i++) {
            double prior = acc >> k & 1 ? x->v.prior[k][i] : 0;
            want[i] = prior + x->din[k][i];
            allowed[i] = x->may.din[k][i];
            allowed[i].e +=
                unit * (fabs(allowed[i].v) + (double)(x->may.terms[k] + 2) * fabs(prior));
            if (acc >> k & 1 && !gradient.stat)
                allowed[i].e += added * fabs(allowed[i].v);
        }
        snprintf(what, sizeof what, "%s, %s, acc %u: gradient %d", c->name, who->be->name, acc, k);
        compare_as(element_type(&gradient, who->be), what, n, got[k], want, allowed);
    }
}

static inline void check_backward(const op_case *c, const expected *x, const contender *who, size_t shift)
{
    double *first[GQ_MAX_IN], *other[GQ_MAX_IN];
    char    what[160];

    new_gradients(c, first);
    new_gradients(c, other);
    check_gradients(c, x, who, shift, c->wants, 0, first);
    check_gradients(c, x, who, shift, c->wants, c->wants, other);
    for (uint32_t k = 0; k < GQ_MAX_IN; k++)
        if (c->wants >> k & 1 && c->wants != 1u << k) {
            check_gradients(c, x, who, shift, 1u << k, 0, other);
            check_gradients(c, x, who, shift, c->wants, 1u << k, other);
        }
    snprintf(what, sizeof what, "%s, %s, backward again", c->name, who->be->name);
    for (int i = 1; i <= repeats(who); i++) {
        how_to_run how = repeated(who, i, shift);
        how.wants = c->wants;
        how.gives = c->gives;
        run_backward(c, &x->saved, &how, other);
        for (int k = 0; k < GQ_MAX_IN; k++)
            if (c->wants >> k & 1)
                same_bits(what, count(&c->in[k]), first[k], other[k]);
    }
}

/* No gradient arrives: every element of every wanted gradient becomes zero. */
static inline void check_no_gradient(const op_case *c, const values *v, const contender *who)
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
static inline void check_not_finite(const op_case *c, const values *v, const contender *who)
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

static inline void check_case(const op_case *c, const expected *x, const contender *who)
{
    int first = nblocks;
    if (who->turn)
        who->turn(0);
    for (size_t shift = who->turn ? 0 : 1; shift <= 1; shift++) {
        check_forward(c, x, who, shift);
        if (c->wants)
            check_backward(c, x, who, shift);
        drop_from(first, c->name);
    }
    if (c->wants)
        check_no_gradient(c, &x->saved, who);
    check_not_finite(c, &x->v, who);
    drop_from(first, c->name);
}

static inline bool same_arithmetic(const contender *a, const contender *b)
{
    return a->unit == b->unit && a->gemm_operand == b->gemm_operand &&
           a->intermediate == b->intermediate && a->added == b->added && a->be->real == b->be->real;
}

/* All cases that `next` describes, with all of who[n]. */
static inline void check_op(gq_op op, const contender *who, int n, bool (*next)(gq_op, int, op_case *))
{
    int      cases = 0;
    op_case  c;
    expected x;
    check_row(op);
    for (; next(op, cases, &c); cases++) {
        for (int j = 0; j < n; j++) {
            if (j == 0 || !same_arithmetic(&who[j], &who[j - 1])) {
                drop_from(0, c.name);
                unit = who[j].unit;
                gemm_operand = op == GQ_OP_LINEAR ? who[j].gemm_operand : 0;
                intermediate = who[j].intermediate;
                added = op == GQ_OP_LINEAR ? who[j].added : 0;
                x = (expected){.v = values_of(&c, (uint64_t)(100 * op + cases)),
                               .may = estimate_of(&c)};
                round_values(&c, who[j].be, &x.v);
                expect_forward(&c, &x, who[j].be);
                if (c.wants)
                    expect_backward(&c, &x, who[j].be->real == GQ_F64);
            }
            check_case(&c, &x, &who[j]);
        }
        drop_from(0, c.name);
    }
    assert_true(cases > 0);
}

#endif
