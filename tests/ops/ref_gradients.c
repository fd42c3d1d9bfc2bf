/* ref_gradients.c - the backward of every op in ref64 against finite differences of its forward.
 *
 * L(x) = sum_k <dout_k, out_k(x)> with random dout is a random projection of the outputs; backward
 * must give its gradient. The 4-point central difference
 *     D(h) = (8 (L(x+h) - L(x-h)) - (L(x+2h) - L(x-2h))) / 12h = L' - h^4/30 L^(5) + O(h^6)
 * is taken at h and h/2. Its two errors are bounded from what is known, not tuned:
 *  - truncation: D(h) - D(h/2) is 15/16 h^4/30 L^(5), fifteen times the truncation of D(h/2); half
 *    of the difference leaves a factor 7 for the higher orders;
 *  - rounding: each L is off by at most dL, the bound of formulas.h for double; D(h/2) by
 *    18 dL / (12 h/2) = 3 dL / h, and the difference of the two D by 4.5 dL / h.
 * A bound that grew large would make the test empty, so it must stay below 1e-6 of the gradient's
 * size.
 */
#include "tests/ops/ops.h"

static const double step = 0x1p-9;
enum { SAMPLES = 40 };             /* elements tried of each input; all of them when it has fewer */

/* L, and how far it may be off when `off` is wanted */
static double projection(const op_case *c, const values *v, uint32_t gives, double *off)
{
    how_to_run how = {.be = &gq_backend_ref64};
    values     w = *v;
    int        first = nblocks;
    sum        total = {0};
    estimate   may = estimate_of(c);
    for (int k = 0; k < GQ_MAX_OUT; k++)
        w.out[k] = c->out[k].rank ? doubles(count(&c->out[k])) : NULL;
    for (int k = 0; k < GQ_MAX_SAVE; k++)
        w.save[k] = c->save[k].rank ? doubles(count(&c->save[k])) : NULL;
    run_forward(c, &w, &how, w.out, w.save);
    if (off)
        op_rows[c->op].values(c, &w, &may);
    for (int k = 0; k < GQ_MAX_OUT; k++)
        for (int64_t i = 0; gives >> k & 1 && i < count(&c->out[k]); i++)
            sum_add(&total,
                    mul(exact(v->dout[k][i]), (num){w.out[k][i], off ? 2 * may.out[k][i].e : 0}));
    if (off)
        *off = sum_of(&total).e;
    drop_from(first, c->name);
    return total.v;
}

/* D(h) for element i of input k */
static double difference(const op_case *c, values *v, uint32_t gives, int k, int64_t i, double h)
{
    static const double at[4] = {1, -1, 2, -2}, weight[4] = {8, -8, -1, 1};
    double middle = v->in[k][i], total = 0;
    for (int p = 0; p < 4; p++) {
        v->in[k][i] = middle + at[p] * h;
        total += weight[p] * projection(c, v, gives, NULL);
    }
    v->in[k][i] = middle;
    return total / (12 * h);
}

static void check_input(const op_case *c, values *v, uint32_t gives, int k, const double *stored,
                        const double *added)
{
    int64_t n = count(&c->in[k]);
    double  off, size = 0;
    projection(c, v, gives, &off);
    for (int64_t i = 0; i < n; i++)
        size = fmax(size, fabs(stored[i]));
    for (int64_t s = 0; s < (n < SAMPLES ? n : SAMPLES); s++) {
        int64_t i = n <= SAMPLES ? s : gq_below_at(7, (uint64_t)s, GQ_RNG_TEST, 0, (uint32_t)n);
        double  d1 = difference(c, v, gives, k, i, step),
               d2 = difference(c, v, gives, k, i, step / 2);
        double  bound = 0.5 * fabs(d1 - d2) + (3 + 0.5 * 4.5) * off / step;
        double  rounding = 0x1p-52 * (fabs(v->prior[k][i]) + fabs(stored[i]));
        if (!(fabs(stored[i] - d2) <= bound))
            fail_msg("%s: d in[%d][%lld] is %.12g, finite differences say %.12g +- %.2g", c->name,
                     k, (long long)i, stored[i], d2, bound);
        if (!(bound <= 1e-6 * (size + 1)))
            fail_msg("%s: in[%d][%lld]: the bound %.2g says nothing about a gradient of size %.3g",
                     c->name, k, (long long)i, bound, size);
        if (!(fabs(added[i] - v->prior[k][i] - stored[i]) <= 2 * rounding))
            fail_msg("%s: in[%d][%lld]: added gives %.12g, want %.12g + %.12g", c->name, k,
                     (long long)i, added[i], v->prior[k][i], stored[i]);
    }
}

/* All gradients stored, then all added, with the outputs `gives` carrying a gradient. */
static void check_case(const op_case *c, uint32_t gives)
{
    values     v = values_of(c, 1000);
    how_to_run how = {.be = &gq_backend_ref64, .wants = c->wants, .gives = gives};
    double    *stored[GQ_MAX_IN], *added[GQ_MAX_IN];
    for (int k = 0; k < GQ_MAX_IN; k++) {
        stored[k] = c->in[k].rank ? doubles(count(&c->in[k])) : NULL;
        added[k] = c->in[k].rank ? doubles(count(&c->in[k])) : NULL;
    }
    run_forward(c, &v, &how, v.out, v.save);
    run_backward(c, &v, &how, stored);
    how.acc = c->wants;
    run_backward(c, &v, &how, added);
    for (int k = 0; k < GQ_MAX_IN; k++)
        if (c->wants >> k & 1)
            check_input(c, &v, gives, k, stored[k], added[k]);
    drop_from(0, c->name);
}

static void test_op(void **state)
{
    gq_op   op = (gq_op)(intptr_t)*state;
    op_case c;
    int     checked = 0;
    check_row(op);
    unit = 0x1p-53;
    for (int i = 0; next_case(op, i, &c); i++)
        /* every set of outputs with a gradient */
        for (uint32_t gives = 1; gives <= c.gives; gives++)
            if (!c.rough && c.wants && (gives & ~c.gives) == 0) {
                check_case(&c, gives);
                checked++;
            }
    if (checked == 0 && !(op_flags[op] & GQ_OP_NOGRAD))
        fail_msg("op '%s' has no case smooth enough for finite differences", op_names[op]);
}

int main(void)
{
    struct CMUnitTest group[GQ_OP_COUNT];
    RUN_PER_OP(group, test_op);
    return cmocka_run_group_tests_name("ref_gradients", group, NULL, NULL);
}
