/* formulas.h - every op once more, from its definition, in numbers that carry their error bound
 * (number.h).
 *
 * These are independent of kernels/ref: other expressions for the activations, masks by a plain
 * predicate, gradients in another order. They give the value each kernel must produce and how far
 * it may be from it. Operand letters and rules are those of kernels/kernels.h.
 *
 * A backend that stores bfloat16 computes in float all the same: its inputs are exact, its results
 * are rounded when they are stored (compare()), and what it hands from one kernel of an op to the
 * next in bfloat16 is kept() here: the product of a linear layer before its bias, or u before the
 * activation, and the activation before the residual, du, pixels, s of add_norm, attention
 * probabilities and dS, dlogits.
 */
#ifndef GIFQA_TESTS_OPS_FORMULAS_H
#define GIFQA_TESTS_OPS_FORMULAS_H

#include "tests/ops/harness.h"
#include "tests/ops/number.h"

typedef struct estimate {               /* owned arrays, shaped as in op_case                     */
    num *out[GQ_MAX_OUT], *save[GQ_MAX_SAVE], *din[GQ_MAX_IN];
    int64_t terms[GQ_MAX_IN];  /* longest sum behind one element of din: what acc = 1 adds one to */
} estimate;

static inline num *nums(int64_t n) { return zeros(n, sizeof(num)); }
static inline sum *sums(int64_t n) { return zeros(n, sizeof(sum)); }
static inline int64_t rows_of(const operand *o) { return o->rank ? count(o) / columns(o) : 0; }

/* ---- linear ---------------------------------------------------------------------------------- */

static inline num operand_of_gemm(num x)
{
    return (num){x.v, x.e + gemm_operand * (fabs(x.v) + x.e)};
}

/* How steep the gate of a gated activation x * gate(x) is at most, relative to x: |x| times the
 * derivative of the argument of its sigmoid; an error of the gate is amplified by it in the
 * slope. */
static inline double gate_steepness(int act, double x)
{
    switch (act) {
    case GQ_GELU_TANH:  return fabs(x) * 2 * sqrt(2 / M_PI) * (1 + 0.134145 * x * x);
    case GQ_QUICK_GELU: return fabs(x) * 1.702;
    default:            return 0;
    }
}

static inline double gate(int act, double x)
{
    switch (act) {
    case GQ_GELU:       return 0.5 * erfc(-x / sqrt(2));
    case GQ_GELU_TANH:  return 1 / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case GQ_QUICK_GELU: return 0.5 * (1 + tanh(0.851 * x));
    case GQ_RELU:       return x > 0;
    default:            return 1;
    }
}

static inline int gated(int act)
{
    return act == GQ_GELU || act == GQ_GELU_TANH || act == GQ_QUICK_GELU;
}

/* 1.13: the largest slope of the three gated activations (1.1290, at x = 1.41). */
static inline num activation(int act, num u)
{
    double v = u.v * gate(act, u.v);
    return gated(act) ? rounded(v, 1.13 * u.e + fabs(u.v) * FUNCTION_UNITS * unit) : (num){v, u.e};
}

static inline num activation_slope(int act, double x)
{
    double g = gate(act, x), steep = gate_steepness(act, x);
    if (!gated(act))
        return exact(g);
    if (act == GQ_GELU)
        g += x * exp(-x * x / 2) / sqrt(2 * M_PI);
    else
        g += copysign(steep, x) * g * (1 - g);
    return rounded(g, FUNCTION_UNITS * unit * (1 + steep));
}

static inline void linear_values(const op_case *c, const values *v, estimate *to)
{
    int64_t N = c->in[1].shape[0], K = c->in[1].shape[1], rows = rows_of(&c->in[0]);
    for (int64_t i = 0; i < rows * N; i++) {
        sum s = {0};
        num u;
        for (int64_t k = 0; k < K; k++)
            sum_add(&s, mul(operand_of_gemm(exact(v->in[0][i / N * K + k])),
                            operand_of_gemm(exact(v->in[1][i % N * K + k]))));
        double handed = fabs(s.v) + s.e;
        if (v->in[2])
            sum_add(&s, exact(v->in[2][i % N]));
        u = sum_of(&s);
        if (c->attr.act != GQ_NONE)
            handed = fmax(handed, fabs(u.v) + u.e);
        u.e += intermediate * handed;
        if (v->save[0])
            to->save[0][i] = rounded(u.v, u.e);
        to->out[0][i] = activation(c->attr.act, u);
        if (v->in[3])
            to->out[0][i] = add(kept(to->out[0][i]), exact(v->in[3][i]));
        to->out[0][i] = rounded(to->out[0][i].v, to->out[0][i].e);
    }
}

static inline void linear_gradients(const op_case *c, const values *v, estimate *to)
{
    int64_t N = c->in[1].shape[0], K = c->in[1].shape[1], rows = rows_of(&c->in[0]);
    num    *du = nums(rows * N);
    sum    *dx = sums(rows * K), *dw = sums(N * K);
    sum    *db = sums(N);
    for (int64_t i = 0; i < rows * N; i++) {
        double dy = v->dout[0] ? v->dout[0][i] : 0;
        int    act = c->attr.act;
        du[i] = act == GQ_NONE ? exact(dy)
                               : kept(mul(exact(dy), activation_slope(act, v->save[0][i])));
        sum_add(&db[i % N], du[i]);
        for (int64_t k = 0; k < K; k++) {
            num g = operand_of_gemm(du[i]);
            sum_add(&dx[i / N * K + k], mul(g, operand_of_gemm(exact(v->in[1][i % N * K + k]))));
            sum_add(&dw[i % N * K + k], mul(g, operand_of_gemm(exact(v->in[0][i / N * K + k]))));
        }
        if (to->din[3])
            to->din[3][i] = exact(dy);
    }
    for (int64_t i = 0; i < rows * K; i++)
        to->din[0][i] = sum_of(&dx[i]);
    for (int64_t i = 0; i < N * K; i++)
        to->din[1][i] = sum_of(&dw[i]);
    for (int64_t i = 0; i < N && to->din[2]; i++)
        to->din[2][i] = sum_of(&db[i]);
    to->terms[0] = N;
    to->terms[1] = to->terms[2] = rows;
}

/* ---- patch_embed ----------------------------------------------------------------------------- */

/* The contract fixes the float operations of a pixel; only fusing or a reciprocal of std may
 * differ: 4 roundings of the intermediate sizes in float, nothing in double. */
static inline num pixel_value(const op_case *c, const values *v, int64_t b, int64_t patch,
                              int64_t k)
{
    int64_t S = c->in[0].shape[1], p = c->attr.patch, side = S / p, ch = k / (p * p);
    int64_t y = patch / side * p + k % (p * p) / p, x = patch % side * p + k % p;
    float   unit_value = (float)v->in[0][((b * S + y) * S + x) * 3 + ch] * (1 / 255.f);
    float   value = (unit_value - c->attr.mean[ch]) / c->attr.std[ch];
    float   size = (unit_value + fabsf(c->attr.mean[ch])) / c->attr.std[ch];
    return kept((num){value, unit > 0x1p-30 ? 4 * unit * (double)size : 0});
}

static inline void patch_embed_values(const op_case *c, const values *v, estimate *to)
{
    int64_t D = c->out[0].shape[2], T = c->out[0].shape[1], first = v->in[2] != NULL,
            columns_w = c->in[1].shape[1];
    for (int64_t i = 0; i < count(&c->out[0]); i++) {
        int64_t d = i % D, t = i / D % T, b = i / D / T;
        sum     s = {0};
        for (int64_t k = 0; t >= first && k < columns_w; k++)
            sum_add(&s,
                    mul(pixel_value(c, v, b, t - first, k), exact(v->in[1][d * columns_w + k])));
        s.e += intermediate * (fabs(s.v) + s.e);
        if (t < first)
            sum_add(&s, exact(v->in[2][d]));
        if (v->in[3])
            sum_add(&s, exact(v->in[3][t * D + d]));
        to->out[0][i] = sum_of(&s);
        to->out[0][i] = rounded(to->out[0][i].v, to->out[0][i].e);
    }
}

static inline void patch_embed_gradients(const op_case *c, const values *v, estimate *to)
{
    int64_t D = c->out[0].shape[2], T = c->out[0].shape[1], B = c->out[0].shape[0];
    int64_t first = v->in[2] != NULL, columns_w = c->in[1].shape[1];
    for (int64_t i = 0; i < D * columns_w; i++) {
        sum s = {0};
        for (int64_t r = 0; v->dout[0] && r < B * T; r++)
            if (r % T >= first)
                sum_add(&s, mul(exact(v->dout[0][r * D + i / columns_w]),
                                pixel_value(c, v, r / T, r % T - first, i % columns_w)));
        to->din[1][i] = sum_of(&s);
    }
    for (int64_t i = 0; i < T * D; i++) {
        sum s = {0};
        for (int64_t b = 0; v->dout[0] && b < B; b++)
            sum_add(&s, exact(v->dout[0][b * T * D + i]));
        if (to->din[2] && i < D)
            to->din[2][i] = sum_of(&s);
        if (to->din[3])
            to->din[3][i] = sum_of(&s);
    }
    to->terms[1] = to->terms[2] = to->terms[3] = B * T;
}

/* ---- embed, gather_rows, concat_rows, expand_rows, mask_rows, dropout ------------------------ */

/* sums[idx[r]] += dy[r], into din */
static inline void scatter(num *din, int64_t size, const double *idx, int64_t R, const double *dy,
                           int64_t D)
{
    sum *s = sums(size);
    for (int64_t i = 0; dy && i < R * D; i++)
        if (idx[i / D] >= 0)
            sum_add(&s[(int64_t)idx[i / D] * D + i % D], exact(dy[i]));
    for (int64_t i = 0; i < size; i++)
        din[i] = sum_of(&s[i]);
}

static inline void embed_values(const op_case *c, const values *v, estimate *to)
{
    int64_t D = columns(&c->in[1]);
    for (int64_t i = 0; i < count(&c->out[0]); i++) {
        num y = exact(v->in[1][(int64_t)v->in[0][i / D] * D + i % D]);
        to->out[0][i] = v->in[2] ? add(y, exact(v->in[2][i])) : y;
    }
}

static inline void embed_gradients(const op_case *c, const values *v, estimate *to)
{
    scatter(to->din[1], count(&c->in[1]), v->in[0], count(&c->in[0]), v->dout[0],
            columns(&c->in[1]));
    for (int64_t i = 0; to->din[2] && i < count(&c->in[2]); i++)
        to->din[2][i] = exact(v->dout[0] ? v->dout[0][i] : 0);
    to->terms[1] = count(&c->in[0]);
}

static inline void gather_rows_values(const op_case *c, const values *v, estimate *to)
{
    int64_t D = columns(&c->in[0]);
    for (int64_t i = 0; i < count(&c->out[0]); i++) {
        double at = v->in[1][i / D];
        to->out[0][i] = exact(at < 0 ? 0 : v->in[0][(int64_t)at * D + i % D]);
    }
}

static inline void gather_rows_gradients(const op_case *c, const values *v, estimate *to)
{
    scatter(to->din[0], count(&c->in[0]), v->in[1], count(&c->in[1]), v->dout[0],
            columns(&c->in[0]));
    to->terms[0] = count(&c->in[1]);
}

/* Element i of the concatenation: which input it is, and where in it. */
static inline int64_t concat_source(const op_case *c, int64_t i, int *k)
{
    int64_t D = c->in[0].shape[2], N = c->in[0].shape[1], P = c->in[1].shape[1];
    int64_t d = i % D, row = i / D % (N + P), b = i / D / (N + P);
    *k = row >= N;
    return *k ? (b * P + row - N) * D + d : (b * N + row) * D + d;
}

static inline void concat_rows_values(const op_case *c, const values *v, estimate *to)
{
    for (int64_t i = 0; i < count(&c->out[0]); i++) {
        int     k;
        int64_t at = concat_source(c, i, &k);
        to->out[0][i] = exact(v->in[k][at]);
    }
}

static inline void concat_rows_gradients(const op_case *c, const values *v, estimate *to)
{
    for (int64_t i = 0; i < count(&c->out[0]); i++) {
        int     k;
        int64_t at = concat_source(c, i, &k);
        to->din[k][at] = exact(v->dout[0] ? v->dout[0][i] : 0);
    }
}

static inline void expand_rows_values(const op_case *c, const values *v, estimate *to)
{
    for (int64_t i = 0; i < count(&c->out[0]); i++)
        to->out[0][i] = exact(v->in[0][i % count(&c->in[0])]);
}

static inline void expand_rows_gradients(const op_case *c, const values *v, estimate *to)
{
    for (int64_t i = 0; i < count(&c->in[0]); i++) {
        sum s = {0};
        for (int64_t b = 0; v->dout[0] && b < c->out[0].shape[0]; b++)
            sum_add(&s, exact(v->dout[0][b * count(&c->in[0]) + i]));
        to->din[0][i] = sum_of(&s);
    }
    to->terms[0] = c->out[0].shape[0];
}

static inline num row_factor(const op_case *c, const values *v, int64_t i)
{
    return exact(v->in[1][count(&c->in[1]) == count(&c->in[0]) ? i : i / columns(&c->in[0])]);
}

static inline void mask_rows_values(const op_case *c, const values *v, estimate *to)
{
    for (int64_t i = 0; i < count(&c->in[0]); i++)
        to->out[0][i] = mul(exact(v->in[0][i]), row_factor(c, v, i));
}

static inline void mask_rows_gradients(const op_case *c, const values *v, estimate *to)
{
    for (int64_t i = 0; i < count(&c->in[0]); i++)
        to->din[0][i] = mul(exact(v->dout[0] ? v->dout[0][i] : 0), row_factor(c, v, i));
}

/* What dropout multiplies element e with: 0 or 1/(1-p). */
static inline num dropout_factor(const op_case *c, int64_t e)
{
    uint32_t word = test_step.step * 64 + test_step.micro;
    uint32_t bits = gq_philox_block(test_step.seed, (uint64_t)e / 4, TEST_RNG_OP, word).w[e % 4];
    if ((double)(bits >> 8) / 16777216.0 < (double)c->attr.p)
        return exact(0);
    return quotient(exact(1), sub(exact(1), exact(c->attr.p)));
}

static inline void dropout_values(const op_case *c, const values *v, estimate *to)
{
    for (int64_t i = 0; i < count(&c->in[0]); i++)
        to->out[0][i] = mul(exact(v->in[0][i]), dropout_factor(c, i));
}

static inline void dropout_gradients(const op_case *c, const values *v, estimate *to)
{
    for (int64_t i = 0; i < count(&c->in[0]); i++)
        to->din[0][i] = mul(exact(v->dout[0] ? v->dout[0][i] : 0), dropout_factor(c, i));
}

/* ---- glu, scale ------------------------------------------------------------------------------ */

static inline void glu_values(const op_case *c, const values *v, estimate *to)
{
    int64_t F = columns(&c->out[0]);
    for (int64_t i = 0; i < count(&c->out[0]); i++) {
        const double *u = v->in[0] + i / F * 2 * F + i % F;
        to->out[0][i] = mul(activation(c->attr.act, exact(u[0])), exact(u[F]));
    }
}

static inline void glu_gradients(const op_case *c, const values *v, estimate *to)
{
    int64_t F = columns(&c->out[0]);
    for (int64_t i = 0; i < count(&c->out[0]); i++) {
        int64_t at = i / F * 2 * F + i % F;
        double  a = v->in[0][at], b = v->in[0][at + F];
        num     up = exact(v->dout[0] ? v->dout[0][i] : 0);
        num     slope = c->attr.act == GQ_NONE ? exact(1) : activation_slope(c->attr.act, a);
        to->din[0][at] = mul(mul(up, exact(b)), slope);
        to->din[0][at + F] = mul(up, activation(c->attr.act, exact(a)));
    }
}

static inline void scale_values(const op_case *c, const values *v, estimate *to)
{
    for (int64_t i = 0; i < count(&c->in[0]); i++)
        to->out[0][i] = mul(exact(v->in[0][i]), exact(c->attr.scale));
}

static inline void scale_gradients(const op_case *c, const values *v, estimate *to)
{
    for (int64_t i = 0; i < count(&c->in[0]); i++)
        to->din[0][i] = mul(exact(v->dout[0] ? v->dout[0][i] : 0), exact(c->attr.scale));
}

/* ---- layernorm, add_norm --------------------------------------------------------------------- */

/* One row x[D] to y[D], with its statistics. */
static inline void norm_row(const op_case *c, const num *x, int64_t D, const double *g,
                            const double *b, num *y, num *mean, num *rstd)
{
    sum total = {0}, squares = {0};
    for (int64_t d = 0; d < D; d++)
        sum_add(&total, x[d]);
    *mean = c->attr.rms ? exact(0) : quotient(sum_of(&total), exact((double)D));
    for (int64_t d = 0; d < D; d++)
        sum_add(&squares, mul(sub(x[d], *mean), sub(x[d], *mean)));
    *rstd = quotient(exact(1),
                     root(add(quotient(sum_of(&squares), exact((double)D)), exact(c->attr.eps))));
    for (int64_t d = 0; d < D; d++) {
        y[d] = mul(mul(sub(x[d], *mean), *rstd), exact(g[d]));
        if (b)
            y[d] = add(y[d], exact(b[d]));
    }
}

static inline void layernorm_values(const op_case *c, const values *v, estimate *to)
{
    int64_t D = columns(&c->in[0]);
    num    *x = nums(D);
    for (int64_t r = 0; r < rows_of(&c->in[0]); r++) {
        for (int64_t d = 0; d < D; d++)
            x[d] = exact(v->in[0][r * D + d]);
        norm_row(c, x, D, v->in[1], v->in[2], to->out[0] + r * D, to->save[0] + r, to->save[1] + r);
    }
}

static inline void add_norm_values(const op_case *c, const values *v, estimate *to)
{
    int64_t D = columns(&c->in[0]);
    num    *x = nums(D);
    for (int64_t r = 0; r < rows_of(&c->in[0]); r++) {
        for (int64_t d = 0; d < D; d++) {
            to->out[0][r * D + d] = stored(v->in[0][r * D + d] + v->in[1][r * D + d]);
            x[d] = kept(to->out[0][r * D + d]);
        }
        norm_row(c, x, D, v->in[2], v->in[3], to->out[1] + r * D, to->save[0] + r, to->save[1] + r);
    }
}

/* Backward of the norm of x: dx[D] of row r, and its share of the gain's and bias' sums. */
static inline void norm_row_gradient(const op_case *c, const values *v, int64_t r, int64_t D,
                                     const double *x, const double *g, const double *dy, num *dx,
                                     sum *dg, sum *db)
{
    sum mean_e = {0}, mean_ex = {0};
    num n = exact((double)D), rstd = exact(v->save[1][r]);
    for (int64_t d = 0; d < D; d++) {
        num up = exact(dy ? dy[r * D + d] : 0),
            hat = mul(sub(exact(x[r * D + d]), exact(v->save[0][r])), rstd);
        if (!c->attr.rms)
            sum_add(&mean_e, mul(up, exact(g[d])));
        sum_add(&mean_ex, mul(mul(up, exact(g[d])), hat));
        sum_add(&dg[d], mul(up, hat));
        sum_add(&db[d], up);
    }
    for (int64_t d = 0; d < D; d++) {
        num up = exact(dy ? dy[r * D + d] : 0),
            hat = mul(sub(exact(x[r * D + d]), exact(v->save[0][r])), rstd);
        num e = sub(mul(up, exact(g[d])), quotient(sum_of(&mean_e), n));
        dx[d] = mul(rstd, sub(e, mul(hat, quotient(sum_of(&mean_ex), n))));
    }
}

static inline void norm_gradients(const op_case *c, const values *v, estimate *to, const double *x,
                                  int gain, const double *dy, const double *dsum)
{
    int64_t D = columns(&c->in[0]), rows = rows_of(&c->in[0]);
    num    *dx = nums(D);
    sum    *dg = sums(D), *db = sums(D);
    for (int64_t r = 0; r < rows; r++) {
        norm_row_gradient(c, v, r, D, x, v->in[gain], dy, dx, dg, db);
        for (int64_t d = 0; d < D; d++)
            for (int k = 0; k < gain; k++)                    /* layernorm: x; add_norm: a and b  */
                to->din[k][r * D + d] = dsum ? add(dx[d], exact(dsum[r * D + d])) : dx[d];
    }
    for (int64_t d = 0; d < D; d++) {
        to->din[gain][d] = sum_of(&dg[d]);
        if (to->din[gain + 1])
            to->din[gain + 1][d] = sum_of(&db[d]);
    }
    to->terms[gain] = to->terms[gain + 1] = rows;
}

static inline void layernorm_gradients(const op_case *c, const values *v, estimate *to)
{
    norm_gradients(c, v, to, v->in[0], 1, v->dout[0], NULL);
}

static inline void add_norm_gradients(const op_case *c, const values *v, estimate *to)
{
    norm_gradients(c, v, to, v->out[0], 2, v->dout[1], v->dout[0]);
}

#include "tests/ops/formulas_attention.h"

/* ---- losses ---------------------------------------------------------------------------------- */

static inline num logit(const op_case *c, const values *v, int64_t r, int64_t word)
{
    int64_t D = columns(&c->in[1]), row = (int64_t)v->in[2][r];
    sum     s = {0};
    for (int64_t d = 0; d < D; d++)
        sum_add(&s, mul(exact(v->in[0][row * D + d]), exact(v->in[1][word * D + d])));
    return rounded(s.v, sum_of(&s).e);
}

/* The largest logit and log sum exp; *best is -1 when the two largest are too close for the
 * arithmetic to tell, unless they are exactly equal: then it is the lower index. */
static inline num row_lse(const num *z, int64_t V, int64_t *best)
{
    int64_t top = 0;
    sum     s = {0};
    for (int64_t w = 1; w < V; w++)
        if (z[w].v > z[top].v)
            top = w;
    *best = top;
    for (int64_t w = 0; w < V; w++) {
        sum_add(&s, exponential(sub(z[w], exact(z[top].v))));
        if (w != top && z[w].v != z[top].v && z[top].v - z[w].v <= z[top].e + z[w].e)
            *best = -1;
    }
    return add(exact(z[top].v), logarithm(sum_of(&s)));
}

static inline void lm_loss_values(const op_case *c, const values *v, estimate *to)
{
    int64_t R = count(&c->in[2]), V = c->in[1].shape[0], best;
    num    *z = nums(V);
    sum     total = {0};
    for (int64_t r = 0; r < R; r++) {
        int64_t label = (int64_t)v->in[3][r];
        num     nll = exact(0), right = exact(0);
        for (int64_t w = 0; w < V; w++)
            z[w] = logit(c, v, r, w);
        to->save[0][r] = row_lse(z, V, &best);
        if (label >= 0) {
            nll = sub(to->save[0][r], z[label]);
            right = (num){best == label, best < 0};
            for (int64_t w = 0; w < V && R <= GQ_LM_CHUNK; w++)
                to->save[1][r * V + w] = z[w];
        } else {
            to->save[0][r] = exact(NAN);                      /* not defined; nor are the logits  */
            for (int64_t w = 0; w < V && R <= GQ_LM_CHUNK; w++)
                to->save[1][r * V + w] = exact(NAN);
        }
        sum_add(&total, nll);
        to->out[1][2 * r] = nll;
        to->out[1][2 * r + 1] = right;
    }
    for (int64_t i = 0; R > GQ_LM_CHUNK && i < count(&c->save[1]); i++)
        to->save[1][i] = exact(NAN);
    to->out[0][0] = mul(sum_of(&total), exact(v->in[4][0]));
}

static inline void lm_loss_gradients(const op_case *c, const values *v, estimate *to)
{
    int64_t R = count(&c->in[2]), V = c->in[1].shape[0], D = columns(&c->in[1]),
            n = count(&c->in[0]);
    sum    *dh = sums(n), *dw = sums(V * D);
    num     factor = mul(exact(v->dout[0] ? v->dout[0][0] : 0), exact(v->in[4][0]));
    for (int64_t i = 0; i < R * V; i++) {
        int64_t r = i / V, w = i % V, row = (int64_t)v->in[2][r] * D;
        num     p, dz;
        if (v->in[3][r] < 0)
            continue;
        p = exponential(sub(logit(c, v, r, w), stored(v->save[0][r])));
        dz = kept(mul(sub(p, exact(v->in[3][r] == (double)w)), factor));
        for (int64_t d = 0; d < D; d++) {
            sum_add(&dh[row + d], mul(dz, exact(v->in[1][w * D + d])));
            sum_add(&dw[w * D + d], mul(dz, exact(v->in[0][row + d])));
        }
    }
    for (int64_t i = 0; i < n; i++)
        to->din[0][i] = sum_of(&dh[i]);
    for (int64_t i = 0; i < V * D; i++)
        to->din[1][i] = sum_of(&dw[i]);
    to->terms[0] = R * V;
    to->terms[1] = R;
}

typedef struct cosine { num dot, h, t; int clamped; } cosine;             /* <h,t>, clamped norms */

static inline cosine cosine_of(const double *h, const double *t, int64_t D)
{
    sum dot = {0}, hh = {0}, tt = {0};
    num clamp = exact(1e-8);
    for (int64_t d = 0; d < D; d++) {
        sum_add(&dot, mul(exact(h[d]), exact(t[d])));
        sum_add(&hh, mul(exact(h[d]), exact(h[d])));
        sum_add(&tt, mul(exact(t[d]), exact(t[d])));
    }
    return (cosine){sum_of(&dot), sqrt(hh.v) < 1e-8 ? clamp : root(sum_of(&hh)),
                    sqrt(tt.v) < 1e-8 ? clamp : root(sum_of(&tt)), sqrt(hh.v) < 1e-8};
}

static inline void mvm_loss_values(const op_case *c, const values *v, estimate *to)
{
    int64_t D = columns(&c->in[0]);
    sum     total = {0};
    for (int64_t r = 0; r < rows_of(&c->in[0]); r++) {
        const double *h = v->in[0] + r * D, *t = v->in[1] + r * D;
        num           row;
        sum           squares = {0};
        for (int64_t d = 0; d < D; d++) {
            num gap = sub(exact(h[d]), exact(t[d]));
            sum_add(&squares, mul(gap, gap));
        }
        row = sum_of(&squares);
        if (c->attr.kind == GQ_MVM_MSE)
            row = quotient(row, exact((double)D));
        if (c->attr.kind == GQ_MVM_COS) {
            cosine a = cosine_of(h, t, D);
            row = sub(exact(2), scaled(quotient(a.dot, mul(a.h, a.t)), 2));
        }
        sum_add(&total, mul(exact(v->in[2][r]), row));
    }
    to->out[0][0] = mul(sum_of(&total), exact(v->in[3][0]));
}

static inline void mvm_loss_gradients(const op_case *c, const values *v, estimate *to)
{
    int64_t D = columns(&c->in[0]);
    num     up = mul(exact(v->dout[0] ? v->dout[0][0] : 0), exact(v->in[3][0]));
    for (int64_t i = 0; i < count(&c->in[0]); i++) {
        int64_t r = i / D;
        double  h = v->in[0][i], t = v->in[1][i];
        num     slope = scaled(sub(exact(h), exact(t)), 2);
        if (c->attr.kind == GQ_MVM_MSE)
            slope = quotient(slope, exact((double)D));
        if (c->attr.kind == GQ_MVM_COS) {
            cosine a = cosine_of(v->in[0] + r * D, v->in[1] + r * D, D);
            num    across = quotient(exact(t), mul(a.h, a.t));
            num along = quotient(quotient(quotient(mul(a.dot, exact(h)), mul(a.h, a.t)), a.h), a.h);
            slope = scaled(a.clamped ? across : sub(across, along), -2);
        }
        to->din[0][i] = mul(mul(slope, up), exact(v->in[2][r]));
    }
}

static inline void combine_values(const op_case *c, const values *v, estimate *to)
{
    sum s = {0};
    for (int k = 0; k < 4; k++)
        if (v->in[k])
            sum_add(&s, mul(exact(c->attr.w[k]), exact(v->in[k][0])));
    to->out[0][0] = sum_of(&s);
}

static inline void combine_gradients(const op_case *c, const values *v, estimate *to)
{
    for (int k = 0; k < 4; k++)
        if (v->in[k])
            to->din[k][0] = mul(exact(c->attr.w[k]), exact(v->dout[0] ? v->dout[0][0] : 0));
}

/* ---- kv_append ------------------------------------------------------------------------------- */

static inline void kv_append_values(const op_case *c, const values *v, estimate *to)
{
    int64_t T = c->in[0].shape[1], W = c->in[0].shape[2], cap = c->in[1].shape[1],
            C = c->attr.width;
    for (int64_t i = 0; i < count(&c->in[1]); i++) {
        int64_t d = i % (2 * C), row = i / (2 * C) % cap, b = i / (2 * C) / cap,
                t = row - (int64_t)v->in[2][b];
        int64_t column = d < C ? c->attr.koff + d : c->attr.voff + d - C;
        to->out[0][i] = exact(t >= 0 && t < T ? v->in[0][(b * T + t) * W + column] : v->in[1][i]);
    }
}

#endif
