/* elementwise.cu - bias, activation and residual; the activation's gradient; glu; scale; column sums; conversions.
 * All are bound by copy bandwidth (H100: 3.35 TB/s). s is the size of T in bytes.
 *
 *  bias_act      x (u, r, y) [rows,n], bias [n]. Moves s rows n (2 + 1 for r + 1 for u) bytes. A thread has one
 *                16-byte column of x and ROWS rows of it, so that the bias is read once for ROWS rows and four
 *                loads are under way; blocks are as wide as a row needs. No reduction.
 *  act_gradient  dy, u, du [count]: 3 s count bytes, 16 a thread and operand. No reduction.
 *  gate          u [rows,2F] to y [rows,F]: 3 s rows F bytes. A thread has one 16-byte piece of y and the two of u
 *                that it is made of; a block is as wide as a row needs, as in bias_act.
 *  gate_gradient u, dy to du [rows,2F]: 5 s rows F bytes (7 where du is added to), 16 of each half a thread, both
 *                halves at once: u and dy are read once.
 *  chunk_sums    x [rows,n] to [rows / GQ_COLUMN_CHUNK, n] floats: s rows n + 4 n rows / 256 bytes. A block has one
 *                chunk of rows and 8 accesses of columns; its 32 stripes of threads add every 32nd row in order, all
 *                8 of them under way at once, then their sums are added by index.
 *  add_chunks    those [chunks,n] floats to [n]: 32 threads a column add every 32nd chunk in order, their sums are
 *                added by index. With one chunk, chunk_sums writes the result itself.
 *  scaled        dst (+)= a factor times src, [count], of two types; a conversion has the factor 1: (4 or 2) + (4 or
 *                2) bytes an element, and dst again when it is added to. The wider type moves in 16 bytes a thread.
 *
 * One element at a time where an address or a row is not a multiple of 16 bytes.
 */
#include "kernels/cuda/lanes.h"

namespace {

enum { THREADS = 256, ROWS = 4, LANES = 8, STRIPES = 32 };

constexpr float SQRT_2_OVER_PI = 0.797884561f, SQRT_1_OVER_2 = 0.707106781f, INV_SQRT_2_PI = 0.398942280f;

/* The formulas of kernels/ref/linear.c. A NaN stays visible. */
__device__ __forceinline__ float act_value(int act, float x)
{
    switch (act) {
    case GQ_GELU:       return 0.5f * x * (1.0f + erff(x * SQRT_1_OVER_2));
    case GQ_GELU_TANH:  return 0.5f * x * (1.0f + tanhf(SQRT_2_OVER_PI * (x + 0.044715f * x * x * x)));
    case GQ_QUICK_GELU: return x / (1.0f + expf(-1.702f * x));
    case GQ_RELU:       return x < 0.0f ? 0.0f : x;
    default:            return x;
    }
}

__device__ __forceinline__ float act_slope(int act, float x)
{
    float t;
    switch (act) {
    case GQ_GELU:
        return 0.5f * (1.0f + erff(x * SQRT_1_OVER_2)) + x * INV_SQRT_2_PI * expf(-0.5f * x * x);
    case GQ_GELU_TANH:
        t = tanhf(SQRT_2_OVER_PI * (x + 0.044715f * x * x * x));
        return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * SQRT_2_OVER_PI * (1.0f + 0.134145f * x * x);
    case GQ_QUICK_GELU:
        t = 1.0f / (1.0f + expf(-1.702f * x));
        return t + 1.702f * x * t * (1.0f - t);
    case GQ_RELU:
        return x > 0.0f ? 1.0f : 0.0f;
    default:
        return 1.0f;
    }
}

/* The block of a kernel that has N elements of a row of n a thread: as wide as the row needs, and as many rows as fit.
 * tiles: blocks side by side in a row. */
dim3 blocks_of_rows(int64_t n, int N, int64_t *tiles)
{
    int64_t lanes = (n + N - 1) / N, wide;
    *tiles = gq_blocks(lanes, THREADS);
    wide = (lanes + *tiles - 1) / *tiles;                /* lanes of a tile, the last one filled too */
    unsigned x = (unsigned)((wide + 31) / 32 * 32);
    return dim3(x, THREADS / x);
}

/* ---- bias, activation, residual -------------------------------------------------------------- */

template <class T> struct act_args { const T *x, *bias, *r; T *y, *u; int64_t rows, n, tiles; int act; };

template <class T, int N> __global__ void __launch_bounds__(THREADS) bias_act(act_args<T> a)
{
    int64_t       column = ((int64_t)(blockIdx.x % a.tiles) * blockDim.x + threadIdx.x) * N;
    int64_t       row = ((int64_t)(blockIdx.x / a.tiles) * blockDim.y + threadIdx.y) * ROWS;
    gq_lane<T, N> x[ROWS], r[ROWS], bias;
    if (column >= a.n)
        return;
    if (a.bias)
        bias = gq_lane_at<N>(a.bias + column);
#pragma unroll
    for (int k = 0; k < ROWS; k++)
        if (row + k < a.rows) {
            x[k] = gq_lane_at<N>(a.x + (row + k) * a.n + column);
            if (a.r)
                r[k] = gq_lane_at<N>(a.r + (row + k) * a.n + column);
        }
#pragma unroll
    for (int k = 0; k < ROWS; k++)
        if (row + k < a.rows) {
            gq_lane<T, N> y, u;
#pragma unroll
            for (int i = 0; i < N; i++) {
                float v = gq_load(x[k].x[i]) + (a.bias ? gq_load(bias.x[i]) : 0.0f);
                gq_save(&u.x[i], v);
                v = act_value(a.act, v);
                gq_save(&y.x[i], a.r ? v + gq_load(r[k].x[i]) : v);
            }
            if (a.u)
                gq_lane_save<N>(a.u + (row + k) * a.n + column, u);
            gq_lane_save<N>(a.y + (row + k) * a.n + column, y);
        }
}

template <class T, int N> void start_bias_act(gq_cuda *d, act_args<T> a)
{
    dim3 block = blocks_of_rows(a.n, N, &a.tiles);
    GQ_LAUNCH(d, (bias_act<T, N>), dim3((unsigned)(a.tiles * gq_blocks(a.rows, (int64_t)block.y * ROWS))), block, 0, a);
}

template <class T> void bias_act_of(gq_cuda *d, const act_args<T> &a)
{
    bool wide = a.n % gq_pack<T>::N == 0 && gq_aligned16(a.x) && gq_aligned16(a.bias) && gq_aligned16(a.r) &&
                gq_aligned16(a.y) && gq_aligned16(a.u);
    if (wide)
        start_bias_act<T, gq_pack<T>::N>(d, a);
    else
        start_bias_act<T, 1>(d, a);
}

/* ---- gradient of the activation -------------------------------------------------------------- */

template <class T, int N>
__global__ void __launch_bounds__(THREADS) act_gradient(int act, const T *dy, const T *u, T *du, int64_t count)
{
    int64_t       i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N;
    gq_lane<T, N> g, at;
    if (i >= count)
        return;
    g = gq_lane_at<N>(dy + i);
    at = gq_lane_at<N>(u + i);
#pragma unroll
    for (int k = 0; k < N; k++)
        gq_save(&g.x[k], gq_load(g.x[k]) * act_slope(act, gq_load(at.x[k])));
    gq_lane_save<N>(du + i, g);
}

template <class T> void act_gradient_of(gq_cuda *d, int act, const T *dy, const T *u, T *du, int64_t count)
{
    constexpr int N = gq_pack<T>::N;
    if (count % N == 0 && gq_aligned16(dy) && gq_aligned16(u) && gq_aligned16(du))
        GQ_LAUNCH(d, (act_gradient<T, N>), dim3(gq_blocks(count, THREADS * N)), dim3(THREADS), 0, act, dy, u, du, count);
    else
        GQ_LAUNCH(d, (act_gradient<T, 1>), dim3(gq_blocks(count, THREADS)), dim3(THREADS), 0, act, dy, u, du, count);
}

/* ---- gated linear unit ----------------------------------------------------------------------- */

template <class T, class G> struct gate_args {
    const T *u, *dy;
    T       *y;
    G       *du;
    int64_t  rows, F, tiles;
    int      act;
    bool     adds;
};

/* Where in y this thread's N elements begin; false: it has none. */
template <class T, class G, int N>
__device__ __forceinline__ bool gate_at(const gate_args<T, G> &a, int64_t *row, int64_t *f)
{
    *f = ((int64_t)(blockIdx.x % a.tiles) * blockDim.x + threadIdx.x) * N;
    *row = (int64_t)(blockIdx.x / a.tiles) * blockDim.y + threadIdx.y;
    return *f < a.F && *row < a.rows;
}

template <class T, class G, int N> __global__ void __launch_bounds__(THREADS) gate(gate_args<T, G> a)
{
    int64_t row, f;
    if (!gate_at<T, G, N>(a, &row, &f))
        return;
    gq_lane<T, N> x = gq_lane_at<N>(a.u + row * 2 * a.F + f), by = gq_lane_at<N>(a.u + (row * 2 + 1) * a.F + f), y;
#pragma unroll
    for (int i = 0; i < N; i++)
        gq_save(&y.x[i], act_value(a.act, gq_load(x.x[i])) * gq_load(by.x[i]));
    gq_lane_save<N>(a.y + row * a.F + f, y);
}

template <class T, class G, int N> __global__ void __launch_bounds__(THREADS) gate_gradient(gate_args<T, G> a)
{
    int64_t row, f;
    float   dx[N], dby[N];
    if (!gate_at<T, G, N>(a, &row, &f))
        return;
    gq_lane<T, N> x = gq_lane_at<N>(a.u + row * 2 * a.F + f), by = gq_lane_at<N>(a.u + (row * 2 + 1) * a.F + f);
    gq_lane<T, N> dy = gq_lane_at<N>(a.dy + row * a.F + f);
#pragma unroll
    for (int i = 0; i < N; i++) {
        float up = gq_load(dy.x[i]), v = gq_load(x.x[i]);
        dx[i] = up * gq_load(by.x[i]) * act_slope(a.act, v);
        dby[i] = up * act_value(a.act, v);
    }
    gq_lane_put<N>(a.du + row * 2 * a.F + f, a.adds, dx);
    gq_lane_put<N>(a.du + (row * 2 + 1) * a.F + f, a.adds, dby);
}

template <class T, class G, int N> void start_gate(gq_cuda *d, gate_args<T, G> a)
{
    dim3 block = blocks_of_rows(a.F, N, &a.tiles);
    dim3 grid((unsigned)(a.tiles * gq_blocks(a.rows, block.y)));
    if (a.du)
        GQ_LAUNCH(d, (gate_gradient<T, G, N>), grid, block, 0, a);
    else
        GQ_LAUNCH(d, (gate<T, G, N>), grid, block, 0, a);
}

/* y NULL: the gradient */
template <class T, class G> void gate_of(const gq_call *c, T *y, G *du)
{
    constexpr int   N = gq_between<T, G>::N;
    gate_args<T, G> a = {(const T *)c->in[0].p, (const T *)c->dout[0].p, y, du, gq_rows(&c->in[0]),
                         gq_cols(&c->in[0]) / 2, 0, c->attr.act, gq_adds(c, 0)};
    if (a.F % N == 0 && gq_aligned16(a.u) && gq_aligned16(a.dy) && gq_aligned16(a.y) && gq_aligned16(a.du))
        start_gate<T, G, N>(gq_cuda_of(c), a);
    else
        start_gate<T, G, 1>(gq_cuda_of(c), a);
}

/* ---- column sums ----------------------------------------------------------------------------- */

/* Block b: tile b % tiles of the columns, chunk b / tiles of the rows. to: [chunks,n]; with one chunk the result. */
template <class T, class G, int N>
__global__ void __launch_bounds__(THREADS) chunk_sums(const T *x, int64_t rows, int64_t n, int64_t tiles, G *to, bool adds)
{
    GQ_SHARED(float, part, [STRIPES][LANES * N]);
    int     lane = threadIdx.x % LANES, stripe = threadIdx.x / LANES;
    int64_t first = (int64_t)(blockIdx.x % tiles) * LANES * N, chunk = blockIdx.x / tiles;
    int64_t column = first + lane * N, end = (chunk + 1) * GQ_COLUMN_CHUNK;
    float   sum[N] = {};
    if (end > rows)
        end = rows;
    if (column < n) {
        constexpr int EACH = GQ_COLUMN_CHUNK / STRIPES;
        int64_t       r = chunk * GQ_COLUMN_CHUNK + stripe;
        gq_lane<T, N> v[EACH];
#pragma unroll
        for (int u = 0; u < EACH; u++)
            if (r + u * STRIPES < end)
                v[u] = gq_lane_at<N>(x + (r + u * STRIPES) * n + column);
#pragma unroll
        for (int u = 0; u < EACH; u++)
            if (r + u * STRIPES < end)
                for (int k = 0; k < N; k++)
                    sum[k] += gq_load(v[u].x[k]);
    }
#pragma unroll
    for (int k = 0; k < N; k++)
        part[stripe][lane * N + k] = sum[k];
    __syncthreads();
    int c = threadIdx.x;
    if (c >= LANES * N || first + c >= n)
        return;
    float s = 0;
#pragma unroll
    for (int k = 0; k < STRIPES; k++)
        s += part[k][c];
    gq_put(to + chunk * n + first + c, adds, s);
}

template <class G>
__global__ void __launch_bounds__(THREADS) add_chunks(const float *part, int64_t chunks, int64_t n, G *out, bool adds)
{
    GQ_SHARED(float, sums, [STRIPES][LANES]);
    int     lane = threadIdx.x % LANES, stripe = threadIdx.x / LANES;
    int64_t column = (int64_t)blockIdx.x * LANES + lane;
    float   sum = 0;
    if (column < n) {
#pragma unroll 4
        for (int64_t c = stripe; c < chunks; c += STRIPES)
            sum += part[c * n + column];
    }
    sums[stripe][lane] = sum;
    __syncthreads();
    if (stripe == 0 && column < n) {
        float s = 0;
        for (int k = 0; k < STRIPES; k++)
            s += sums[k][lane];
        gq_put(out + column, adds, s);
    }
}

template <class T, class G>
void start_chunk_sums(gq_cuda *d, const T *x, int64_t rows, int64_t n, G *to, bool adds)
{
    constexpr int N = gq_pack<T>::N;
    unsigned      chunks = gq_blocks(rows, GQ_COLUMN_CHUNK);
    int64_t       wide = gq_blocks(n, LANES * N), narrow = gq_blocks(n, LANES);
    if (n % N == 0 && gq_aligned16(x))
        GQ_LAUNCH(d, (chunk_sums<T, G, N>), dim3((unsigned)wide * chunks), dim3(THREADS), 0, x, rows, n, wide, to, adds);
    else
        GQ_LAUNCH(d, (chunk_sums<T, G, 1>), dim3((unsigned)narrow * chunks), dim3(THREADS), 0, x, rows, n, narrow, to, adds);
}

template <class T, class G>
void column_sums_of(gq_cuda *d, const T *x, int64_t rows, int64_t n, G *out, bool adds, float *temp)
{
    if (rows <= GQ_COLUMN_CHUNK) {
        start_chunk_sums<T, G>(d, x, rows, n, out, adds);
        return;
    }
    start_chunk_sums<T, float>(d, x, rows, n, temp, false);
    GQ_LAUNCH(d, add_chunks<G>, dim3(gq_blocks(n, LANES)), dim3(THREADS), 0, temp, gq_blocks(rows, GQ_COLUMN_CHUNK), n, out,
              adds);
}

/* ---- conversions and scale ------------------------------------------------------------------- */

template <class S, class G, int N>
__global__ void __launch_bounds__(THREADS) scaled(G *dst, const S *src, int64_t count, float by, bool adds)
{
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N;
    float   v[N];
    if (i >= count)
        return;
    gq_lane<S, N> from = gq_lane_at<N>(src + i);
#pragma unroll
    for (int k = 0; k < N; k++)
        v[k] = gq_load(from.x[k]) * by;
    gq_lane_put<N>(dst + i, adds, v);
}

template <class S, class G> void scale_of(gq_cuda *d, G *dst, const S *src, int64_t count, float by, bool adds)
{
    constexpr int N = gq_between<S, G>::N;
    if (count % N == 0 && gq_aligned16(dst) && gq_aligned16(src))
        GQ_LAUNCH(d, (scaled<S, G, N>), gq_blocks(count, THREADS * N), THREADS, 0, dst, src, count, by, adds);
    else
        GQ_LAUNCH(d, (scaled<S, G, 1>), gq_blocks(count, THREADS), THREADS, 0, dst, src, count, by, adds);
}

}  // namespace

void gq_cuda_bias_act(gq_cuda *d, int32_t real, int act, const void *x, const void *bias, const void *r, void *y,
                      void *u, int64_t rows, int64_t n)
{
    GQ_REAL(real, T, act_args<T> a = {}; a.x = (const T *)x; a.bias = (const T *)bias; a.r = (const T *)r; a.y = (T *)y;
            a.u = (T *)u; a.rows = rows; a.n = n; a.act = act; bias_act_of<T>(d, a));
}

void gq_cuda_act_backward(gq_cuda *d, int32_t real, int act, const void *dy, const void *u, void *du, int64_t count)
{
    GQ_REAL(real, T, act_gradient_of<T>(d, act, (const T *)dy, (const T *)u, (T *)du, count));
}

size_t gq_cuda_column_sums_temp(int64_t rows, int64_t n)
{
    return rows > GQ_COLUMN_CHUNK ? (size_t)gq_blocks(rows, GQ_COLUMN_CHUNK) * (size_t)n * sizeof(float) : 0;
}

void gq_cuda_column_sums(gq_cuda *d, int32_t real, const void *x, int64_t rows, int64_t n, void *out, int32_t out_type,
                         bool adds, void *temp)
{
    if (rows == 0 && !adds)
        GQ_CUDA(d, cudaMemsetAsync(out, 0, (size_t)n * gq_dtype_bytes(out_type), d->stream));
    if (rows == 0)
        return;
    GQ_REAL2(real, T, out_type, G,
             (column_sums_of<T, G>(d, (const T *)x, rows, n, (G *)out, adds, (float *)temp)));
}

void gq_cuda_convert(gq_cuda *d, void *dst, int32_t dst_type, const void *src, int32_t src_type, int64_t count, bool adds)
{
    GQ_REAL(src_type, S, if (dst_type == GQ_BF16) scale_of(d, (gq_bf16 *)dst, (const S *)src, count, 1.0f, adds);
            else scale_of(d, (float *)dst, (const S *)src, count, 1.0f, adds));
}

extern "C" void gq_cuda_scale_fwd(const gq_call *c)
{
    GQ_REAL(c->in[0].dtype, T, (scale_of<T, T>(gq_cuda_of(c), (T *)c->out[0].p, (const T *)c->in[0].p,
                                               gq_size(&c->in[0]), c->attr.scale, false)));
}

extern "C" void gq_cuda_scale_bwd(const gq_call *c)
{
    if (!gq_nothing_arrives(c) && c->din[0].p)
        GQ_REAL2(c->dout[0].dtype, S, c->din[0].dtype, G,
                 (scale_of<S, G>(gq_cuda_of(c), (G *)c->din[0].p, (const S *)c->dout[0].p, gq_size(&c->in[0]),
                                 c->attr.scale, gq_adds(c, 0))));
}

extern "C" void gq_cuda_glu_fwd(const gq_call *c)
{
    GQ_REAL(c->in[0].dtype, T, (gate_of<T, T>(c, (T *)c->out[0].p, NULL)));
}

extern "C" void gq_cuda_glu_bwd(const gq_call *c)
{
    if (!gq_nothing_arrives(c) && c->din[0].p)
        GQ_REAL2(c->in[0].dtype, T, c->din[0].dtype, G, (gate_of<T, G>(c, NULL, (G *)c->din[0].p)));
}
