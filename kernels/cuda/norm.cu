/* norm.cu - layernorm and add_norm.
 *
 * T: bytes of the backend's real, G: of the gradient of x (or of a and b), 4 for a parameter's; "adds" costs one
 * more read of G. All kernels are bound by memory: roof = copy bandwidth (H100 and H200: some 3 and 4 TB/s of
 * what is read and written); statistics, gains and biases are noise beside the rows. Not measured on a GPU.
 *
 * normalise:     [rows,D] -> [rows,D]; layernorm rows D 2T bytes, add_norm rows D 4T (a, b; s, y). Mean, then the
 *                variance about it, then y, all from registers: a row is read once.
 * row_gradients: x, dy (, dout s) -> din a (, din b): rows D (2T + G), for add_norm rows D (3T + 2G). Where a
 *                warp has a row, the same pass also makes the sums for gain and bias, in registers over the rows
 *                of a chunk: x and dy are not read again.
 * gain_parts:    those sums for wide rows: rows D 2T once more. A thread per 16 bytes of columns.
 * fold:          chunk sums to the gradients: chunks 2 D 4 bytes, at most 2.4 MB at D = 768, from L2.
 *
 * Example, add_norm backward of bf16, 18,944 x 768: 145 MB, at 3 TB/s some 48 us, of which fold has 2 to 3.
 *
 * Work: a warp per row up to WARP_ROW columns (1,024; 256 one element at a time), beyond that a block. A thread
 * holds HELD elements of its row in registers, element (k THREADS + t) N + j for N elements per access; a row that
 * does not fit is walked in segments of HELD THREADS columns, there and back, so that only rows beyond 4,096
 * columns (1,024) are read again. Registers (sm_90a): row_gradients with sums 161 in bf16, three blocks per
 * multiprocessor, 232 in float, two; normalise at most 96.
 * Order of sums: in a row, a thread over its elements, lanes of a warp by halves, warps by index. For gain and
 * bias, rows w, w + 4, ... of a chunk in warp w, warps by index, then fold: chunks in 16 ranges by index, ranges
 * by index. The number of rows in a chunk depends on rows alone.
 */
#include "kernels/cuda/lanes.h"

namespace {

enum {
    BLOCK = 128, WARPS = BLOCK / 32,
    CHUNKS = 384,               /* at most, of the sums over rows: three blocks per multiprocessor */
    PARTS_ROWS = 4,                     /* rows under way in gain_parts                           */
    FOLD = 16,                          /* warps of fold                                          */
};

/* Elements of a row in a thread's registers: few in the kernels for addresses that allow no wide access. */
template <int N> constexpr int HELD = N > 1 ? 32 : 8;
template <int N> constexpr int WARP_ROW = 32 * HELD<N>;

/* Of all threads that share a row; each gets it. part: [WARPS] shared. */
template <int THREADS> __device__ float row_sum(float v, float *part)
{
    v = gq_warp_sum(v);
    if (THREADS == 32)
        return v;
    __syncthreads();                                          /* the last sum was read            */
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = v;
    __syncthreads();
    float sum = part[0];
    for (int w = 1; w < WARPS; w++)
        sum += part[w];
    return sum;
}

__device__ int last_segment(int D, int span) { return (D - 1) / span * span; }

/* ---- forward --------------------------------------------------------------------------------- */

template <class T> struct forward_job {
    int64_t  rows;
    int      D;
    const T *a, *b;                     /* b: add_norm, then s = a + b is written to s            */
    T       *s;
    const T *g, *beta;                  /* beta may be NULL                                       */
    T       *y;
    float   *mean, *rstd;               /* NULL when nothing runs backward                        */
    float    eps;
};

/* The thread's share of columns from.. of row r. */
template <class T, int N, int THREADS>
__device__ void load_row(const forward_job<T> &o, int64_t r, int from, bool first, float x[HELD<N>])
{
    const T *a = (o.b && !first ? o.s : o.a) + r * o.D, *b = o.b + r * o.D;
    T       *s = o.s + r * o.D;
#pragma unroll
    for (int k = 0; k < HELD<N> / N; k++) {
        int i = from + (k * THREADS + (int)threadIdx.x % THREADS) * N;
        if (i >= o.D)
            continue;
        gq_lane<T, N> v = gq_lane_at<N>(a + i);
        if (o.b && first) {                                   /* statistics of s as it is stored  */
            gq_lane<T, N> w = gq_lane_at<N>(b + i);
            for (int j = 0; j < N; j++)
                gq_save(&v.x[j], gq_load(v.x[j]) + gq_load(w.x[j]));
            gq_lane_save<N>(s + i, v);
        }
        for (int j = 0; j < N; j++)
            x[k * N + j] = gq_load(v.x[j]);
    }
}

template <class T, int N>
__device__ void save_row(const forward_job<T> &o, int64_t r, int i, const float *x, float mean, float rstd)
{
    gq_lane<T, N> g = gq_lane_at<N>(o.g + i), b, y;
    if (o.beta)
        b = gq_lane_at<N>(o.beta + i);
    for (int j = 0; j < N; j++) {
        float v = (x[j] - mean) * rstd * gq_load(g.x[j]);
        gq_save(&y.x[j], o.beta ? v + gq_load(b.x[j]) : v);
    }
    gq_lane_save<N>(o.y + r * o.D + i, y);
}

template <class T, int N, int THREADS> __global__ void __launch_bounds__(BLOCK) normalise(const forward_job<T> o)
{
    constexpr int SPAN = HELD<N> * THREADS;
    GQ_SHARED(float, part, [WARPS]);
    int     t = threadIdx.x % THREADS, last = last_segment(o.D, SPAN);
    int64_t r = (int64_t)blockIdx.x * (BLOCK / THREADS) + threadIdx.x / THREADS;
    float   x[HELD<N>], sum = 0, squares = 0;
    if (r >= o.rows)
        return;
    for (int from = 0; from <= last; from += SPAN) {
        load_row<T, N, THREADS>(o, r, from, true, x);
#pragma unroll
        for (int e = 0; e < HELD<N>; e++)
            if (from + (e / N * THREADS + t) * N < o.D)
                sum += x[e];
    }
    float mean = row_sum<THREADS>(sum, part) / (float)o.D;
    for (int from = last; from >= 0; from -= SPAN) {
        if (from < last)
            load_row<T, N, THREADS>(o, r, from, false, x);
#pragma unroll
        for (int e = 0; e < HELD<N>; e++)
            if (from + (e / N * THREADS + t) * N < o.D)
                squares += (x[e] - mean) * (x[e] - mean);
    }
    float rstd = 1 / sqrtf(row_sum<THREADS>(squares, part) / (float)o.D + o.eps);
    for (int from = 0; from <= last; from += SPAN) {
        if (from > 0)
            load_row<T, N, THREADS>(o, r, from, false, x);
#pragma unroll
        for (int k = 0; k < HELD<N> / N; k++) {
            int i = from + (k * THREADS + t) * N;
            if (i < o.D)
                save_row<T, N>(o, r, i, x + k * N, mean, rstd);
        }
    }
    if (t == 0 && o.mean)
        o.mean[r] = mean;
    if (t == 0 && o.rstd)
        o.rstd[r] = rstd;
}

template <class T, int N> void start_normalise(gq_cuda *d, const forward_job<T> &o)
{
    if (o.D <= WARP_ROW<N>)
        GQ_LAUNCH(d, (normalise<T, N, 32>), gq_blocks(o.rows, WARPS), BLOCK, 0, o);
    else
        GQ_LAUNCH(d, (normalise<T, N, BLOCK>), (unsigned)o.rows, BLOCK, 0, o);
}

template <class T> bool wide_access(const gq_call *c, int D)
{
    bool aligned = D % gq_pack<T>::N == 0;
    for (int k = 0; k < GQ_MAX_IN; k++)
        aligned = aligned && gq_aligned16(c->in[k].p) && gq_aligned16(c->din[k].p);
    for (int k = 0; k < GQ_MAX_OUT; k++)
        aligned = aligned && gq_aligned16(c->out[k].p) && gq_aligned16(c->dout[k].p);
    return aligned;
}

template <class T> void forward(const gq_call *c, bool add)
{
    int            gain = add ? 2 : 1;
    forward_job<T> o = {gq_rows(&c->in[0]), (int)gq_cols(&c->in[0]), (const T *)c->in[0].p,
                        add ? (const T *)c->in[1].p : NULL, add ? (T *)c->out[0].p : NULL,
                        (const T *)c->in[gain].p, (const T *)c->in[gain + 1].p, (T *)c->out[gain - 1].p,
                        (float *)c->save[0].p, (float *)c->save[1].p, c->attr.eps};
    if (wide_access<T>(c, o.D))
        start_normalise<T, gq_pack<T>::N>(gq_cuda_of(c), o);
    else
        start_normalise<T, 1>(gq_cuda_of(c), o);
}

/* ---- backward -------------------------------------------------------------------------------- */

struct gradient { void *p; bool is_float, adds; };            /* float, or of the backend's real  */

template <class T, int N> __device__ void put_gradient(const gradient &to, int64_t i, const float v[N])
{
    constexpr int PIECE = N < 4 ? N : 4;
    if (!to.p)
        return;
    if (!to.is_float) {
        gq_lane_put<N>((T *)to.p + i, to.adds, v);
        return;
    }
    for (int j = 0; j < N; j += PIECE)
        gq_lane_put<PIECE>((float *)to.p + i + j, to.adds, v + j);
}

template <class T> struct backward_job {
    int64_t      rows, chunk;           /* chunk: rows of a block                                 */
    int          D;
    const T     *x, *g, *dy, *dsum;     /* dy, dsum: NULL is zero                                 */
    const float *mean, *rstd;           /* [rows]                                                 */
    gradient     d0, d1;
    float       *parts;                 /* [chunks][2][D]: sums for gain, for bias                */
};

template <size_t bytes> struct words_of { typedef uint32_t type; };
template <> struct words_of<2> { typedef uint16_t type; };
/* N elements as they are stored, in whole registers: an array of bf16 would take one for each element. */
template <class T, int N> struct stored {
    typename words_of<N * sizeof(T)>::type w[N * sizeof(T) < 4 ? 1 : N * sizeof(T) / 4];
};
template <class T, int N> __device__ stored<T, N> stored_at(const T *p)
{
    gq_lane<T, N> lane = gq_lane_at<N>(p);
    stored<T, N>  v;
    memcpy(&v, &lane, sizeof v);
    return v;
}
template <int N> __device__ float element(const stored<float, N> &v, int j) { return __uint_as_float(v.w[j]); }
template <int N> __device__ float element(const stored<gq_bf16, N> &v, int j)
{
    uint32_t w = v.w[j / 2];
    return __uint_as_float(j % 2 ? w & 0xffff0000u : w << 16);
}

/* What a thread holds of a segment. */
template <class T, int N> struct held {
    static constexpr int K = HELD<N> / N;
    stored<T, N> x[K], dy[K], g[K];
    int          g_from;                /* segment of g: it stays from row to row                 */
};

template <class T, int N, int THREADS>
__device__ void load_held(const backward_job<T> &o, int64_t r, int from, held<T, N> *h)
{
    const T *x = o.x + r * o.D, *dy = o.dy + r * o.D;
#pragma unroll
    for (int k = 0; k < h->K; k++) {
        int i = from + (k * THREADS + (int)threadIdx.x % THREADS) * N;
        if (i >= o.D)
            continue;
        h->x[k] = stored_at<T, N>(x + i);
        h->dy[k] = o.dy ? stored_at<T, N>(dy + i) : stored<T, N>{};
        if (h->g_from != from)
            h->g[k] = stored_at<T, N>(o.g + i);
    }
    h->g_from = from;
}

struct row_means { float mean, rstd, e, ex; };                /* of x; of e, of e xhat            */

/* dx = rstd (e - mean(e) - xhat mean(e xhat)) with e = dy g, to a segment of row r. */
template <class T, int N, int THREADS>
__device__ void save_dx(const backward_job<T> &o, int64_t r, int from, const held<T, N> *h, const row_means &m)
{
#pragma unroll
    for (int k = 0; k < h->K; k++) {
        int           i = from + (k * THREADS + (int)threadIdx.x % THREADS) * N;
        gq_lane<T, N> sum;
        float         v[N];
        if (i >= o.D)
            continue;
        if (o.dsum)
            sum = gq_lane_at<N>(o.dsum + r * o.D + i);
        for (int j = 0; j < N; j++) {
            float xhat = (element(h->x[k], j) - m.mean) * m.rstd;
            v[j] = m.rstd * (element(h->dy[k], j) * element(h->g[k], j) - m.e - xhat * m.ex);
            if (o.dsum)
                v[j] += gq_load(sum.x[j]);
        }
        put_gradient<T, N>(o.d0, r * o.D + i, v);
        put_gradient<T, N>(o.d1, r * o.D + i, v);
    }
}

/* The block's sums over its rows, from those of its warps. */
template <int N> __device__ void save_parts(float *to, int D, const float v[HELD<N>], float *sums)
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    __syncthreads();
#pragma unroll
    for (int e = 0; e < HELD<N>; e++)
        sums[warp * WARP_ROW<N> + (e / N * 32 + lane) * N + e % N] = v[e];
    __syncthreads();
    for (int i = threadIdx.x; i < D; i += BLOCK) {
        float sum = sums[i];
        for (int w = 1; w < WARPS; w++)
            sum += sums[w * WARP_ROW<N> + i];
        to[i] = sum;
    }
}

/* gains: with the sums for gain and bias; a warp per row. */
template <class T, int N, int THREADS, bool gains>
__global__ void __launch_bounds__(BLOCK, gains ? (sizeof(T) == 2 ? 3 : 2) : 4) row_gradients(const backward_job<T> o)
{
    constexpr int SPAN = HELD<N> * THREADS;
    GQ_SHARED(float, shared, [gains ? WARPS * WARP_ROW<N> : WARPS]);
    int        t = threadIdx.x % THREADS, last = last_segment(o.D, SPAN);
    int64_t    first = (int64_t)blockIdx.x * o.chunk;
    int64_t    end = first + o.chunk < o.rows ? first + o.chunk : o.rows;
    float      dg[gains ? HELD<N> : 1] = {}, db[gains ? HELD<N> : 1] = {};
    held<T, N> h;
    h.g_from = -1;
    for (int64_t r = first + threadIdx.x / THREADS; r < end; r += BLOCK / THREADS) {
        row_means m = {o.mean[r], o.rstd[r], 0, 0};
        for (int from = 0; from <= last; from += SPAN) {
            load_held<T, N, THREADS>(o, r, from, &h);
#pragma unroll
            for (int e = 0; e < HELD<N>; e++)
                if (from + (e / N * THREADS + t) * N < o.D) {
                    float dy = element(h.dy[e / N], e % N);
                    float xhat = (element(h.x[e / N], e % N) - m.mean) * m.rstd;
                    float de = dy * element(h.g[e / N], e % N);
                    m.e += de;
                    m.ex += de * xhat;
                    if constexpr (gains) {
                        dg[e] += dy * xhat;
                        db[e] += dy;
                    }
                }
        }
        if (!o.d0.p && !o.d1.p)
            continue;
        m.e = row_sum<THREADS>(m.e, shared) / (float)o.D;
        m.ex = row_sum<THREADS>(m.ex, shared) / (float)o.D;
        for (int from = last; from >= 0; from -= SPAN) {
            if (from < last)
                load_held<T, N, THREADS>(o, r, from, &h);
            save_dx<T, N, THREADS>(o, r, from, &h, m);
        }
    }
    if constexpr (gains) {
        float *parts = o.parts + (int64_t)blockIdx.x * 2 * o.D;
        save_parts<N>(parts, o.D, dg, shared);
        save_parts<N>(parts + o.D, o.D, db, shared);
    }
}

/* Sums for gain and bias of a chunk (blockIdx.x) in BLOCK N columns (blockIdx.y). */
template <class T, int N> __global__ void __launch_bounds__(BLOCK) gain_parts(const backward_job<T> o)
{
    int     i = (int)(blockIdx.y * BLOCK + threadIdx.x) * N;
    int64_t first = blockIdx.x * o.chunk, at = (int64_t)blockIdx.x * 2 * o.D + i;
    int64_t end = first + o.chunk < o.rows ? first + o.chunk : o.rows;
    float   dg[N] = {}, db[N] = {};
    if (i >= o.D)
        return;
    for (int64_t r = first; o.dy && r < end; r += PARTS_ROWS) {
        gq_lane<T, N> x[PARTS_ROWS], dy[PARTS_ROWS];
#pragma unroll
        for (int u = 0; u < PARTS_ROWS; u++)
            if (r + u < end) {
                x[u] = gq_lane_at<N>(o.x + (r + u) * o.D + i);
                dy[u] = gq_lane_at<N>(o.dy + (r + u) * o.D + i);
            }
#pragma unroll
        for (int u = 0; u < PARTS_ROWS; u++)
            for (int j = 0; r + u < end && j < N; j++) {
                dg[j] += gq_load(dy[u].x[j]) * ((gq_load(x[u].x[j]) - o.mean[r + u]) * o.rstd[r + u]);
                db[j] += gq_load(dy[u].x[j]);
            }
    }
    for (int j = 0; j < N; j++) {
        o.parts[at + j] = dg[j];
        o.parts[at + o.D + j] = db[j];
    }
}

/* The chunks' sums to the gradient of the gain (blockIdx.y 0) and of the bias (1); 32 columns a block. */
template <class T>
__global__ void __launch_bounds__(32 * FOLD)
fold(const float *__restrict__ parts, int chunks, int D, const gradient dg, const gradient db)
{
    GQ_SHARED(float, sums, [FOLD][32]);
    int      lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int      i = (int)blockIdx.x * 32 + lane, per = (chunks + FOLD - 1) / FOLD;
    int      end = (warp + 1) * per < chunks ? (warp + 1) * per : chunks;
    gradient to = blockIdx.y ? db : dg;
    float    sum = 0;
    if (i < D && to.p) {
#pragma unroll 8
        for (int k = warp * per; k < end; k++)
            sum += parts[(int64_t)(2 * k + (int)blockIdx.y) * D + i];
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || i >= D)
        return;
    for (int w = 1; w < FOLD; w++)
        sum += sums[w][lane];
    put_gradient<T, 1>(to, i, &sum);
}

/* Rows whose sums one block makes: a multiple of WARPS. */
int64_t chunk_rows(int64_t rows) { return ((rows + CHUNKS - 1) / CHUNKS + WARPS - 1) / WARPS * WARPS; }

template <class T, int N> void start_backward(gq_cuda *d, backward_job<T> o, bool gains)
{
    bool     warps = o.D <= WARP_ROW<N>;
    unsigned chunks = gq_blocks(o.rows, chunk_rows(o.rows));
    if (gains) {
        o.chunk = chunk_rows(o.rows);
        if (warps)
            GQ_LAUNCH(d, (row_gradients<T, N, 32, true>), chunks, BLOCK, 0, o);
        else
            GQ_LAUNCH(d, (gain_parts<T, N>), dim3(chunks, gq_blocks(o.D, BLOCK * N)), BLOCK, 0, o);
    }
    if ((gains && warps) || (!o.d0.p && !o.d1.p))
        return;
    o.chunk = warps ? WARPS : 1;
    if (warps)
        GQ_LAUNCH(d, (row_gradients<T, N, 32, false>), gq_blocks(o.rows, o.chunk), BLOCK, 0, o);
    else
        GQ_LAUNCH(d, (row_gradients<T, N, BLOCK, false>), gq_blocks(o.rows, o.chunk), BLOCK, 0, o);
}

gradient gradient_of(const gq_call *c, int k)
{
    return {c->din[k].p, c->din[k].dtype == GQ_F32, gq_adds(c, k)};
}

template <class T> void backward(const gq_call *c, bool add)
{
    gq_cuda        *d = gq_cuda_of(c);
    int             gain = add ? 2 : 1;
    const gq_buf   *x = add ? &c->out[0] : &c->in[0];
    gradient        dg = gradient_of(c, gain), db = gradient_of(c, gain + 1);
    bool            gains = dg.p || db.p;
    backward_job<T> o = {gq_rows(x), 0, (int)gq_cols(x), (const T *)x->p, (const T *)c->in[gain].p,
                         (const T *)c->dout[gain - 1].p, add ? (const T *)c->dout[0].p : NULL,
                         (const float *)c->save[0].p, (const float *)c->save[1].p, gradient_of(c, 0),
                         add ? gradient_of(c, 1) : gradient{}, (float *)c->work->temp};
    if (wide_access<T>(c, o.D))
        start_backward<T, gq_pack<T>::N>(d, o, gains);
    else
        start_backward<T, 1>(d, o, gains);
    if (gains)
        GQ_LAUNCH(d, fold<T>, dim3(gq_blocks(o.D, 32), 2), 32 * FOLD, 0, o.parts,
                  (int)gq_blocks(o.rows, chunk_rows(o.rows)), o.D, dg, db);
}

size_t parts_bytes(const gq_call *c, int backward)
{
    int64_t rows = gq_rows(&c->in[0]);
    return backward ? (size_t)gq_blocks(rows, chunk_rows(rows)) * 2 * gq_cols(&c->in[0]) * sizeof(float) : 0;
}

}

/* ---- the column ------------------------------------------------------------------------------ */

extern "C" {

void gq_cuda_layernorm_fwd(const gq_call *c) { GQ_REAL(c->in[0].dtype, T, forward<T>(c, false)); }
void gq_cuda_layernorm_bwd(const gq_call *c) { GQ_REAL(c->in[0].dtype, T, backward<T>(c, false)); }
void gq_cuda_add_norm_fwd(const gq_call *c) { GQ_REAL(c->in[0].dtype, T, forward<T>(c, true)); }
void gq_cuda_add_norm_bwd(const gq_call *c) { GQ_REAL(c->out[0].dtype, T, backward<T>(c, true)); }

size_t gq_cuda_layernorm_temp(const gq_call *c, int backward, int) { return parts_bytes(c, backward); }
size_t gq_cuda_add_norm_temp(const gq_call *c, int backward, int) { return parts_bytes(c, backward); }

}
