/* mvm_loss.cu - masked video modelling (how far the student's rows h are from the teacher's rows t), and the
 * weighted sum of the losses.
 *
 * sse: |h-t|^2; mse: |h-t|^2 / D; cos: 2 - 2 <h,t> / (|h||t|), norms clamped below at 1e-8. Gradient: dh =
 * a (t - b h), a = -2 u inv_denom dloss (mse: / D; cos: / (|h||t|)), b = 1 (cos: <h,t> / |h|^2, 0 when clamped).
 *
 *   row_losses     row [R] double <- h, t [R,D]: reads 2 D sizeof(T) per row with u != 0. A warp per row, a
 *                  lane takes eight neighbours every 256 columns; lanes are added by a butterfly.
 *   add_rows       loss <- row [R] by one block, runs of rows added by index.
 *   row_gradients  dh [R,D] G <- h, t: reads 2 D sizeof(T) (cos: again, from L1), writes D sizeof(G).
 *   combine        one thread.
 * Roof of both row kernels: copy bandwidth. Rows with u = 0 (those that are not masked) are not read: their
 * share is zero. Not measured.
 */
#include "kernels/cuda/eight.h"
#include "kernels/cuda/lanes.h"

namespace {

enum { WARPS = 8, TERMS = 4 };

static __device__ __forceinline__ float smallest_norm() { return 1e-8f; }

struct row_sums { float ht, hh, tt, dd; };                        /* <h,t>, |h|^2, |t|^2, |h-t|^2 */

/* Of one row, by one warp; COS: the first three, else the last. */
template <bool COS, bool WIDE, class T>
static __device__ __forceinline__ row_sums sums_of(const T *h, const T *t, int64_t D)
{
    row_sums s = {0, 0, 0, 0};
    for (int64_t i = threadIdx.x % 32 * 8; i < D; i += 256) {
        float a[8], b[8];
        gq_load8<WIDE>(h + i, D - i, a);
        gq_load8<WIDE>(t + i, D - i, b);
#pragma unroll
        for (int k = 0; k < 8; k++)
            if (COS) {
                s.ht += a[k] * b[k];
                s.hh += a[k] * a[k];
                s.tt += b[k] * b[k];
            } else {
                s.dd += (a[k] - b[k]) * (a[k] - b[k]);
            }
    }
    if (!COS)
        return {0, 0, 0, gq_warp_sum(s.dd)};
    return {gq_warp_sum(s.ht), gq_warp_sum(s.hh), gq_warp_sum(s.tt), 0};
}

template <class T, bool COS, bool WIDE>
__global__ void __launch_bounds__(32 * WARPS)
    row_losses(const T *h, const T *t, const float *u, int64_t R, int64_t D, double scale, double *row)
{
    int64_t  r = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    row_sums s = {0, 0, 0, 0};
    if (r >= R)
        return;
    if (u[r] != 0)
        s = sums_of<COS, WIDE>(h + r * D, t + r * D, D);
    if (threadIdx.x % 32 != 0)
        return;
    if (u[r] == 0)
        row[r] = 0;
    else if (COS)
        row[r] = u[r] * (2 - 2 * (double)s.ht / ((double)fmaxf(sqrtf(s.hh), smallest_norm()) *
                                                 (double)fmaxf(sqrtf(s.tt), smallest_norm())));
    else
        row[r] = u[r] * ((double)s.dd / scale);
}

__global__ void __launch_bounds__(GQ_SUM_THREADS)
    add_rows(const double *row, int64_t R, const float *inv_denom, float *loss)
{
    double sum = gq_sum_in_order(row, R, 1);
    if (threadIdx.x == 0)
        *loss = (float)(sum * (double)*inv_denom);
}

template <class T, class G, bool COS, bool WIDE>
__global__ void __launch_bounds__(32 * WARPS)
    row_gradients(const T *h, const T *t, const float *u, int64_t R, int64_t D, float scale, const float *inv_denom,
                  const float *dloss, G *dh, bool adds)
{
    int64_t r = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (r >= R)
        return;
    float a = -2 * u[r] * (*inv_denom * *dloss / scale), b = 1;
    h += r * D;
    t += r * D;
    dh += r * D;
    if (COS && u[r] != 0) {
        row_sums s = sums_of<COS, WIDE>(h, t, D);
        float    norm = sqrtf(s.hh), clamped = fmaxf(norm, smallest_norm());
        a /= clamped * fmaxf(sqrtf(s.tt), smallest_norm());
        b = norm < smallest_norm() ? 0 : s.ht / (clamped * clamped);
    }
    if (u[r] == 0 && adds)
        return;
    for (int64_t i = threadIdx.x % 32 * 8; i < D; i += 256) {
        float x[8] = {}, y[8] = {}, was[8] = {};
        if (u[r] != 0) {
            gq_load8<WIDE>(h + i, D - i, x);
            gq_load8<WIDE>(t + i, D - i, y);
        }
        if (adds)
            gq_load8<WIDE>(dh + i, D - i, was);
#pragma unroll
        for (int k = 0; k < 8; k++)
            x[k] = was[k] + (u[r] != 0 ? a * (y[k] - b * x[k]) : 0.0f);
        gq_save8<WIDE>(dh + i, D - i, x);
    }
}

struct terms { const float *in[TERMS]; float w[TERMS]; };

__global__ void combine(terms a, float *y)
{
    double sum = 0;
    for (int k = 0; k < TERMS; k++)
        if (a.in[k])
            sum += (double)a.w[k] * (double)*a.in[k];
    if (threadIdx.x == 0)
        *y = (float)sum;
}

struct term_gradients { float *to[TERMS]; float w[TERMS]; bool adds[TERMS]; };

__global__ void combine_gradients(term_gradients a, const float *dy)
{
    for (int k = 0; k < TERMS; k++)
        if (threadIdx.x == 0 && a.to[k])
            gq_put(a.to[k], a.adds[k], a.w[k] * *dy);
}

/* May rows be read by 16 bytes? b: NULL, or what is written */
static bool wide(const gq_call *c, const gq_buf *b)
{
    return gq_cols(&c->in[0]) % 8 == 0 && gq_aligned16(c->in[0].p) && gq_aligned16(c->in[1].p) &&
           (!b || gq_aligned16(b->p));
}

static double row_scale(const gq_call *c)
{
    return c->attr.kind == GQ_MVM_MSE ? (double)gq_cols(&c->in[0]) : 1.0;
}

template <class T, bool COS, bool WIDE> static void forward(const gq_call *c)
{
    int64_t R = gq_rows(&c->in[0]);
    GQ_LAUNCH(gq_cuda_of(c), (row_losses<T, COS, WIDE>), gq_blocks(R, WARPS), 32 * WARPS, 0,
              (const T *)c->in[0].p, (const T *)c->in[1].p, (const float *)c->in[2].p, R, gq_cols(&c->in[0]),
              row_scale(c), (double *)c->work->temp);
}

template <class T, class G, bool COS, bool WIDE> static void backward(const gq_call *c)
{
    int64_t R = gq_rows(&c->in[0]);
    GQ_LAUNCH(gq_cuda_of(c), (row_gradients<T, G, COS, WIDE>), gq_blocks(R, WARPS), 32 * WARPS, 0,
              (const T *)c->in[0].p, (const T *)c->in[1].p, (const float *)c->in[2].p, R, gq_cols(&c->in[0]),
              (float)row_scale(c), (const float *)c->in[3].p, (const float *)c->dout[0].p, (G *)c->din[0].p,
              gq_adds(c, 0));
}

} // namespace

/* ---- the column ------------------------------------------------------------------------------ */

extern "C" void gq_cuda_mvm_loss_fwd(const gq_call *c)
{
    bool cos = c->attr.kind == GQ_MVM_COS, by16 = wide(c, NULL);
    GQ_REAL(c->in[0].dtype, T,
            if (cos && by16) forward<T, true, true>(c);
            else if (cos) forward<T, true, false>(c);
            else if (by16) forward<T, false, true>(c);
            else forward<T, false, false>(c));
    GQ_LAUNCH(gq_cuda_of(c), add_rows, 1, GQ_SUM_THREADS, 0, (const double *)c->work->temp, gq_rows(&c->in[0]),
              (const float *)c->in[3].p, (float *)c->out[0].p);
}

extern "C" void gq_cuda_mvm_loss_bwd(const gq_call *c)
{
    bool cos = c->attr.kind == GQ_MVM_COS, by16 = wide(c, &c->din[0]);
    if (!c->din[0].p || gq_nothing_arrives(c))
        return;
    GQ_REAL2(c->in[0].dtype, T, c->din[0].dtype, G,
             if (cos && by16) backward<T, G, true, true>(c);
             else if (cos) backward<T, G, true, false>(c);
             else if (by16) backward<T, G, false, true>(c);
             else backward<T, G, false, false>(c));
}

extern "C" size_t gq_cuda_mvm_loss_temp(const gq_call *c, int backward, int threads)
{
    (void)threads;
    return backward ? 0 : (size_t)gq_rows(&c->in[0]) * sizeof(double);
}

extern "C" void gq_cuda_combine_fwd(const gq_call *c)
{
    terms a = {};
    for (int k = 0; k < TERMS; k++) {
        a.in[k] = (const float *)c->in[k].p;
        a.w[k] = c->attr.w[k];
    }
    GQ_LAUNCH(gq_cuda_of(c), combine, 1, 32, 0, a, (float *)c->out[0].p);
}

extern "C" void gq_cuda_combine_bwd(const gq_call *c)
{
    term_gradients a = {};
    if (gq_nothing_arrives(c))
        return;
    for (int k = 0; k < TERMS; k++) {
        a.to[k] = (float *)c->din[k].p;
        a.w[k] = c->attr.w[k];
        a.adds[k] = gq_adds(c, k);
    }
    GQ_LAUNCH(gq_cuda_of(c), combine_gradients, 1, 32, 0, a, (const float *)c->dout[0].p);
}
