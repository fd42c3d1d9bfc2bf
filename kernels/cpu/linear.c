/* linear.c - y = act(x w^T + b) + r: one product forward, two backward, and the column sums for the
 * bias. */
#include "kernels/cpu/act.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

typedef struct shape { int64_t rows, n, k; } shape;

static shape shape_of(const gq_call *c)
{
    return (shape){gq_rows(&c->in[0]), c->in[1].shape[0], c->in[1].shape[1]};
}

static void forward(const gq_call *c, gemm_operands operands)
{
    shape     s = shape_of(c);
    float    *y = c->out[0].p, *u = c->save[0].p;
    gemm_call g = {.kind = GEMM_NT,
                   .m = s.rows,
                   .n = s.n,
                   .k = s.k,
                   .a = c->in[0].p,
                   .lda = s.k,
                   .b = c->in[1].p,
                   .ldb = s.k,
                   .c = u && c->attr.act != GQ_NONE ? u : y,
                   .ldc = s.n,
                   .bias = c->in[2].p,
                   .act = c->attr.act,
                   .y = y,
                   .r = c->in[3].p,
                   .ldr = s.n,
                   .operands = operands};
    gemm(&g, c->work->pool, c->work->temp);
}

/* ---- backward -------------------------------------------------------------------------------- */

typedef struct slope_job {
    const gq_call *c;
    shape   s;
    float  *du;                        /* [rows,N] written when there is an activation, else NULL */
    float  *partial;                    /* [ranges,N] column sums, NULL: not wanted               */
    int64_t per;                        /* rows per range                                         */
} slope_job;

/* du = dy * act'(u) and its column sums, over a range of rows */
static void slope_rows(const void *ctx, int64_t lo, int64_t hi)
{
    const slope_job *j = ctx;
    const float *dy = j->c->dout[0].p, *u = j->c->save[0].p;
    float       *sum = j->partial ? j->partial + lo / j->per * j->s.n : NULL;
    int64_t      n = j->s.n;
    if (sum)
        memset(sum, 0, (size_t)n * sizeof(float));
    for (int64_t r = lo; r < hi; r++)
        for (int64_t i = 0; i < n; i += VL) {
            int64_t left = n - i;
            vf      d = load_part(dy + r * n + i, left);
            if (j->du) {
                d *= act_slope(j->c->attr.act, load_part(u + r * n + i, left));
                store_part(j->du + r * n + i, d, left);
            }
            if (sum)
                store_part(sum + i, load_part(sum + i, left) + d, left);
        }
}

/* db from the partial sums, in their order */
static void add_partials(const gq_call *c, const float *partial, int64_t count, int64_t n)
{
    float *db = c->din[2].p;
    for (int64_t p = 0; p < count; p++)
        put(db, partial + p * n, n, p > 0 || adds(c, 2));
}

static const float *output_gradient(const gq_call *c, shape s, char **temp)
{
    int64_t   per = partial_rows(s.rows, s.n), ranges = (s.rows + per - 1) / per;
    slope_job j = {.c = c, .s = s, .per = per};
    if (c->attr.act != GQ_NONE)
        j.du = temp_floats(temp, s.rows * s.n);
    if (c->din[2].p)
        j.partial = temp_floats(temp, ranges * s.n);
    if (j.du || j.partial)
        over(c, s.rows, per, slope_rows, &j);
    if (j.partial)
        add_partials(c, j.partial, ranges, s.n);
    return j.du ? j.du : c->dout[0].p;
}

static void backward(const gq_call *c, gemm_operands operands)
{
    shape s = shape_of(c);
    char *temp = c->work->temp;
    if (nothing_arrives(c))
        return;
    put_gradient(c, 3, c->dout[0].p);
    const float *du = output_gradient(c, s, &temp);
    if (c->din[0].p) {
        gemm_call g = {.kind = GEMM_NN,
                       .m = s.rows,
                       .n = s.k,
                       .k = s.n,
                       .a = du,
                       .lda = s.n,
                       .b = c->in[1].p,
                       .ldb = s.k,
                       .c = c->din[0].p,
                       .ldc = s.k,
                       .add = adds(c, 0),
                       .operands = operands};
        gemm(&g, c->work->pool, temp);
    }
    if (c->din[1].p) {
        gemm_call g = {.kind = GEMM_TN,
                       .m = s.n,
                       .n = s.k,
                       .k = s.rows,
                       .a = du,
                       .lda = s.n,
                       .b = c->in[0].p,
                       .ldb = s.k,
                       .c = c->din[1].p,
                       .ldc = s.k,
                       .add = adds(c, 1),
                       .operands = operands};
        gemm(&g, c->work->pool, temp);
    }
}

static size_t temp_bytes(const gq_call *c, int back, gemm_operands operands, int threads)
{
    shape  s = shape_of(c);
    size_t bytes = 0, dx, dw;
    if (!back)
        return gemm_temp(GEMM_NT, s.rows, s.n, s.k, operands, threads);
    if (c->attr.act != GQ_NONE)
        bytes += TEMP_ROUND(s.rows * s.n * 4);
    bytes += TEMP_ROUND(PARTIALS * s.n * 4);
    dx = gemm_temp(GEMM_NN, s.rows, s.k, s.n, operands, threads);
    dw = gemm_temp(GEMM_TN, s.n, s.k, s.rows, operands, threads);
    return bytes + (dx > dw ? dx : dw);
}

/* ---- the kernels ----------------------------------------------------------------------------- */

#define LINEAR_(name, operands)                                                                    \
    void   CPU(name##_fwd)(const gq_call *c) { forward(c, operands); }                             \
    void   CPU(name##_bwd)(const gq_call *c) { backward(c, operands); }                            \
    size_t CPU(name##_temp)(const gq_call *c, int back, int threads)                               \
    {                                                                                              \
        return temp_bytes(c, back, operands, threads);                                             \
    }

LINEAR_(linear, GEMM_FLOATS)
#ifdef GQ_BF16_DOT
LINEAR_(linear_pairs, GEMM_PAIRS)
#endif
#ifdef GQ_AMX
LINEAR_(linear_amx, GEMM_AMX)
#endif
