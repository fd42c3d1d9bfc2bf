/* linear.c - y = act(x w^T + b) + r, and the five activations with their slopes. */
#include "kernels/ref/ref.h"

#define SQRT_2_OVER_PI 0.79788456080286535588
#define SQRT_1_OVER_2  0.70710678118654752440
#define INV_SQRT_2_PI  0.39894228040143267794

double REF(act_value)(int act, double x)
{
    switch (act) {
    case GQ_GELU:       return 0.5 * x * (1 + erf(x * SQRT_1_OVER_2));
    case GQ_GELU_TANH:  return 0.5 * x * (1 + tanh(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x)));
    case GQ_QUICK_GELU: return x / (1 + exp(-1.702 * x));
    case GQ_RELU:       return x < 0 ? 0 : x;                         /* a NaN stays visible      */
    default:            return x;
    }
}

double REF(act_slope)(int act, double x)
{
    double t, s;
    switch (act) {
    case GQ_GELU:
        return 0.5 * (1 + erf(x * SQRT_1_OVER_2)) + x * INV_SQRT_2_PI * exp(-0.5 * x * x);
    case GQ_GELU_TANH:
        t = tanh(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x));
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * SQRT_2_OVER_PI * (1 + 0.134145 * x * x);
    case GQ_QUICK_GELU:
        s = 1 / (1 + exp(-1.702 * x));
        return s + 1.702 * x * s * (1 - s);
    case GQ_RELU:
        return x > 0 ? 1 : 0;
    default:
        return 1;
    }
}

void REF(linear_fwd)(const gq_call *c)
{
    const real *x = c->in[0].p, *w = c->in[1].p, *b = c->in[2].p, *res = c->in[3].p;
    real       *y = c->out[0].p, *u = c->save[0].p;
    int64_t     rows = gq_rows(&c->in[0]), K = gq_cols(&c->in[0]), N = c->in[1].shape[0];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t n = 0; n < N; n++) {
            double sum = b ? (double)b[n] : 0.0;
            for (int64_t k = 0; k < K; k++)
                sum += (double)x[r * K + k] * w[n * K + k];
            if (u)
                u[r * N + n] = (real)sum;
            y[r * N + n] =
                (real)(REF(act_value)(c->attr.act, sum) + (res ? (double)res[r * N + n] : 0.0));
        }
}

/* du = dy * act'(u), [rows,N]: everything else is a product with it */
static const double *gradient_of_u(const gq_call *c, int64_t size)
{
    const real *u = c->save[0].p, *dy = c->dout[0].p;
    double     *du = c->work->temp;
    for (int64_t i = 0; i < size; i++)
        du[i] = ref_get(dy, i) * (c->attr.act == GQ_NONE ? 1.0 : REF(act_slope)(c->attr.act, u[i]));
    return du;
}

void REF(linear_bwd)(const gq_call *c)
{
    const real *x = c->in[0].p, *w = c->in[1].p, *dy = c->dout[0].p;
    real       *dx = c->din[0].p, *dw = c->din[1].p, *db = c->din[2].p, *dres = c->din[3].p;
    int64_t     rows = gq_rows(&c->in[0]), K = gq_cols(&c->in[0]), N = c->in[1].shape[0];
    const double *du = gradient_of_u(c, rows * N);
    for (int64_t r = 0; dx && r < rows; r++)
        for (int64_t k = 0; k < K; k++) {
            double sum = 0;
            for (int64_t n = 0; n < N; n++)
                sum += du[r * N + n] * w[n * K + k];
            ref_put(&dx[r * K + k], ref_adds(c, 0), sum);
        }
    for (int64_t n = 0; dw && n < N; n++)
        for (int64_t k = 0; k < K; k++) {
            double sum = 0;
            for (int64_t r = 0; r < rows; r++)
                sum += du[r * N + n] * x[r * K + k];
            ref_put(&dw[n * K + k], ref_adds(c, 1), sum);
        }
    for (int64_t n = 0; db && n < N; n++) {
        double sum = 0;
        for (int64_t r = 0; r < rows; r++)
            sum += du[r * N + n];
        ref_put(&db[n], ref_adds(c, 2), sum);
    }
    for (int64_t i = 0; dres && i < rows * N; i++)
        ref_put(&dres[i], ref_adds(c, 3), ref_get(dy, i));
}

size_t REF(linear_temp)(const gq_call *c, int backward, int threads)
{
    (void)threads;
    return backward ? (size_t)(gq_rows(&c->in[0]) * c->in[1].shape[0]) * sizeof(double) : 0;
}
