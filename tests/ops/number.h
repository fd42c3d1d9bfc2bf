/* number.h - numbers that carry a bound of their own rounding error.
 *
 * `num` is a value and a bound e: whatever floating-point arithmetic with unit roundoff `unit`
 * (2^-24 for float, 2^-53 for double) makes of the same formula on the same inputs lies within e of
 * the value. Each operation adds the bounds of its operands, amplified by its derivative, and its
 * own rounding: the standard running error analysis (Higham, "Accuracy and Stability of Numerical
 * Algorithms", 2nd ed., 3.3). Sums allow any order of n terms: (n-1) roundings of at most the sum
 * of the magnitudes. Fused multiply-add only leaves roundings out. The values themselves are
 * computed in double; that error is far below any float bound, and for double both sides are
 * allowed their bound.
 */
#ifndef GIFQA_TESTS_OPS_NUMBER_H
#define GIFQA_TESTS_OPS_NUMBER_H

#include <math.h>
#include <stdint.h>

typedef struct num { double v, e; } num;

static double unit = 0x1p-24;           /* roundoff of the arithmetic under test                  */

/* Roundings to bfloat16, which has 8 bits of significand: half a unit in the last place is at most
 * 2^-8 of the value. Bounds are doubled when results are compared, because both sides compute; these
 * roundings happen on one side only, so half of each is put into the bound: 2^-9. Where an op's
 * result is itself stored as bfloat16 nothing is added here: compare() rounds the ends of the
 * interval that the result before storing must be in, and rounding keeps order. */
#define BF16_ERROR 0x1p-9
static double gemm_operand = 0;         /* given operands of a matrix product: BF16_ERROR or 0    */
static double intermediate = 0;         /* computed tensors between two kernels of an op: the same */

/* Units an elementary function (exp, log, erf, tanh, sigmoid) may be off: 4 ulp, relative; for the
 * functions that end in [-1,1] absolute. kernels/cpu/vec.h states at most 2e-7 = 3.4 units of
 * float. */
enum { FUNCTION_UNITS = 8 };

static inline num exact(double v) { return (num){v, 0}; }
static inline num stored(double v) { return (num){v, unit * fabs(v)}; }          /* rounded once  */
static inline num rounded(double v, double e) { return (num){v, e + unit * (fabs(v) + e)}; }
static inline num kept(num a)           /* as an intermediate tensor                              */
{
    return (num){a.v, a.e + intermediate * (fabs(a.v) + a.e)};
}
static inline num add(num a, num b) { return rounded(a.v + b.v, a.e + b.e); }
static inline num sub(num a, num b) { return rounded(a.v - b.v, a.e + b.e); }
static inline num mul(num a, num b)
{
    return rounded(a.v * b.v, fabs(a.v) * b.e + fabs(b.v) * a.e + a.e * b.e);
}
static inline num scaled(num a, double exactly) { return mul(a, exact(exactly)); }

static inline num quotient(num a, num b)
{
    double q = a.v / b.v;
    return rounded(q, b.e < fabs(b.v) ? (a.e + fabs(q) * b.e) / (fabs(b.v) - b.e) : INFINITY);
}

static inline num root(num a)               /* |sqrt(a+d) - sqrt(a)| <= min(|d|/sqrt(a), sqrt|d|) */
{
    double s = sqrt(a.v);
    return rounded(s, fmin(s > 0 ? a.e / s : INFINITY, sqrt(a.e)));
}

static inline num exponential(num a)
{
    double v = exp(a.v);                                 /* 1e-37: a result below may become zero */
    return rounded(v, v * expm1(a.e) + FUNCTION_UNITS * unit * v + 1e-37);
}

static inline num logarithm(num a)
{
    double v = log(a.v);
    return rounded(v,
                   (a.e < a.v ? -log1p(-a.e / a.v) : INFINITY) + FUNCTION_UNITS * unit * fabs(v));
}

/* a sum in progress */
typedef struct sum { double v, e, magnitude; int64_t n; } sum;

static inline void sum_add(sum *s, num a)
{
    s->v += a.v;
    s->e += a.e;
    s->magnitude += fabs(a.v) + a.e;
    s->n++;
}

static inline num sum_of(const sum *s)
{
    double n = (double)s->n * unit;
    return (num){s->v, s->e + (n < 0.5 ? n / (1 - n) : INFINITY) * s->magnitude};
}

#endif
