/* The functions of kernels/cpu/vec.h against libm in double, densely sampled. The header is
 * compiled here with the widest vectors the test's own compiler options allow; cpu_vs_ref covers
 * every rung. */
#include "support.h"

#include <stdbool.h>

#if defined(__AVX512F__)
#define GQ_VLEN 16
#elif defined(__AVX2__) && defined(__FMA__)
#define GQ_VLEN 8
#else
#define GQ_VLEN 4
#endif
#define GQ_RUNG test
#include "kernels/cpu/act.h"

enum { STEPS = 1 << 20 };

typedef vf (*vector_fn)(vf);

static vf f_exp(vf x) { return vexp(x); }
static vf f_sigmoid(vf x) { return vsigmoid(x); }
static vf f_tanh(vf x) { return vtanh(x); }
static vf f_log(vf x) { return vlog(x); }
static vf f_erf(vf x) { return verf(x); }
static vf f_phi(vf x) { return vphi(x); }

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double phi(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }

static float one(vector_fn f, float x)
{
    vf v = f(vset(x));
    for (int i = 1; i < VL; i++)
        assert_memory_equal(&v, (float *)&v + i, sizeof(float));       /* all lanes alike         */
    return v[0];
}

static double largest(vector_fn f, double (*want)(double), double lo, double hi, bool relative)
{
    double worst = 0;
    for (int i = 0; i <= STEPS; i += VL) {
        vf x;
        for (int l = 0; l < VL; l++)
            x[l] = (float)(lo + (hi - lo) * (i + l) / STEPS);
        vf y = f(x);
        for (int l = 0; l < VL; l++) {
            double w = want((double)x[l]), e = fabs((double)y[l] - w) / (relative ? fabs(w) : 1);
            worst = e > worst ? e : worst;
        }
    }
    return worst;
}

static void errors(void **state)
{
    (void)state;
    struct {
        const char *name;
        vector_fn   f;
        double    (*want)(double);
        double      lo, hi;
        bool        relative;
        double      bound;
    } row[] = {
        {"exp", f_exp, exp, -87, 88.7, true, 1.0e-7},
        {"exp", f_exp, exp, -1, 1, true, 1.0e-7},
        {"exp denormal", f_exp, exp, -110, -87, false, 1.5e-45},
        {"sigmoid", f_sigmoid, sigmoid, -87, 100, true, 2.5e-7},
        {"log", f_log, log, .5, 8, false, 1.5e-7},
        {"log", f_log, log, 8, 70000, true, 1.0e-7},
        {"tanh", f_tanh, tanh, -20, 20, false, 2.0e-7},
        {"tanh", f_tanh, tanh, -.1, .1, false, 2.0e-7},
        {"erf", f_erf, erf, -6, 6, false, 1.0e-7},
        {"erf", f_erf, erf, -.5, .5, false, 1.0e-7},
        {"phi", f_phi, phi, -12, 12, false, 1.0e-7},
        {"phi tail", f_phi, phi, -5, -1, true, 4e-3},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        double e = largest(row[i].f, row[i].want, row[i].lo, row[i].hi, row[i].relative);
        print_message("%-12s [%g, %g] %s error %.3g (bound %.3g)\n", row[i].name, row[i].lo,
                      row[i].hi, row[i].relative ? "relative" : "absolute", e, row[i].bound);
        assert_true(e <= row[i].bound);
    }
}

static void special(void **state)
{
    (void)state;
    assert_true(one(f_exp, -INFINITY) == 0 && one(f_exp, -1e30f) == 0 && one(f_exp, 0) == 1);
    assert_true(isinf(one(f_exp, INFINITY)) && isinf(one(f_exp, 1000)) &&
                isfinite(one(f_exp, 88.72f)));
    assert_true(isnan(one(f_exp, NAN)) && isnan(one(f_sigmoid, NAN)));
    assert_true(isnan(one(f_erf, NAN)) && isnan(one(f_phi, NAN)));
    assert_true(one(f_sigmoid, -INFINITY) < 1e-38f && one(f_sigmoid, INFINITY) == 1);
    assert_true(one(f_erf, INFINITY) == 1 && one(f_erf, -INFINITY) == -1 && one(f_erf, 0) == 0);
    assert_true(one(f_phi, -100) == 0 && one(f_phi, 100) == 1);
}

static void tails(void **state)
{
    (void)state;
    float data[VL + 2], out[VL + 2];
    for (int i = 0; i < VL + 2; i++)
        data[i] = (float)(i + 1);
    for (int n = 0; n <= VL; n++) {
        vf v = vload_n(data + 1, n);
        for (int i = 0; i < VL; i++)
            assert_true(v[i] == (i < n ? data[i + 1] : 0));
        memset(out, 0, sizeof out);
        vstore_n(out + 1, vload(data + 1), n);
        for (int i = 0; i < VL + 2; i++)
            assert_true(out[i] == (i >= 1 && i <= n ? data[i] : 0));
    }
    assert_true(vsum(vload(data)) == VL * (VL + 1) / 2.0f);
    assert_true(vmax_lane(vload(data)) == VL);
    for (int i = 0; i < VL; i++)
        assert_true(vpush(vload(data))[i] == (float)i);
}

/* slopes by central differences of the value in double; values by libm */
static double act_exact(int act, double u)
{
    switch (act) {
    case GQ_GELU: return u * phi(u);
    case GQ_GELU_TANH:
        return 0.5 * u * (1 + tanh(0.79788456080286535588 * (u + 0.044715 * u * u * u)));
    case GQ_QUICK_GELU: return u * sigmoid(1.702 * u);
    case GQ_RELU: return u > 0 ? u : 0;
    default: return u;
    }
}

static void activations(void **state)
{
    (void)state;
    for (int act = GQ_NONE; act <= GQ_RELU; act++) {
        double worst = 0, worst_slope = 0;
        for (float u = -12; u < 12; u += 0.0013f) {
            double h = 1e-5,
                   d = (act_exact(act, (double)u + h) - act_exact(act, (double)u - h)) / (2 * h);
            double scale = fabs((double)u) > 1 ? fabs((double)u) : 1;
            double e = fabs((double)act_value(act, vset(u))[0] - act_exact(act, (double)u)) / scale;
            double s = fabs((double)act_slope(act, vset(u))[0] - d) / scale;
            worst = e > worst ? e : worst;
            if (act != GQ_RELU || fabs((double)u) > 2e-5)
                worst_slope = s > worst_slope ? s : worst_slope;
        }
        assert_true(worst < 2e-7);
        assert_true(worst_slope < 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),
        cmocka_unit_test(special),
        cmocka_unit_test(tails),
        cmocka_unit_test(activations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
