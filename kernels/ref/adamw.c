/* adamw.c - the optimiser step on flat arrays, and the sum of squares behind the gradient norm. */
#include "kernels/ref/ref.h"

enum { CHUNK = 65536 };              /* elements per partial sum: fixed, so the sum has one order */

void REF(adamw)(const gq_adamw_call *c, gq_work *work)
{
    real       *w = c->w, *m = c->m, *v = c->v;
    const real *g = c->g;
    (void)work;
    for (int64_t i = 0; i < c->n; i++) {
        double grad = g[i] * c->gscale;
        double first = c->beta1 * m[i] + (1 - c->beta1) * grad;
        double second = c->beta2 * v[i] + (1 - c->beta2) * grad * grad;
        double step = first / c->c1 / (sqrt(second / c->c2) + c->eps) + c->decay * w[i];
        m[i] = (real)first;
        v[i] = (real)second;
        w[i] = (real)(w[i] - c->lr * step);
    }
}

double REF(sumsq)(const void *values, int64_t n, gq_work *work)
{
    const real *x = values;
    double      total = 0;
    (void)work;
    for (int64_t first = 0; first < n; first += CHUNK) {
        double sum = 0;
        for (int64_t i = first; i < n && i < first + CHUNK; i++)
            sum += (double)x[i] * x[i];
        total += sum;
    }
    return total;
}
