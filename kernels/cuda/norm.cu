/* norm.cu - layernorm and add_norm, of both kinds: with a mean, and without (RMSNorm).
 *
 * T: bytes of the backend's real, G: of the gradient of x (or of a and b), 4 for a parameter's; "adds" costs one
 * more read of G. All kernels are bound by memory: roof = copy bandwidth (H200: 4 TB/s of what is read and
 * written is reached by AdamW); statistics, gains and biases are noise beside the rows.
 *
 * normalise:     [rows,D] -> [rows,D]; layernorm rows D 2T bytes, add_norm rows D 4T (a, b; s, y). Mean, then the
 *                variance about it, then y, all from registers: a row is read once. RMSNorm leaves the mean and its
 *                barrier out.
 * row_gradients: x, dy (, dout s) -> din a (, din b): rows D (2T + G), for add_norm rows D (3T + 2G), and in the
 *                same pass the sums for gain and bias over a chunk of rows: x and dy are not read again.
 * fold:          chunk sums to the gradients: chunks 2 D 4 bytes, at most 3.2 MB, from L2; at most 17 loads a
 *                thread, all under way at once.
 *
 * Work: thread t of a block owns columns t N .. t N + N - 1 (N: 16 bytes) of several rows at a time (normalise 4, 2
 * where there are few; row_gradients ROWS), loads all of them before the first is used, and shares one barrier (two
 * in normalise) among them. Gains and biases are read once a block, and their gradients need no sum over threads.
 * bf16, D = 768: 96 threads; row_gradients 18 KB of loads under way a block and three to four blocks on a
 * multiprocessor, where 25 KB hide the latency of 4 TB/s.
 * Rows wider than OWNERS N columns (bf16 4,096; 512 where addresses allow no wide access): a block per row that
 * walks it three times (*_wide: rows D 4T, and gain_parts rows D 2T once more).
 *
 * Order of sums: in a row, a thread over its columns, lanes of a warp by halves, warps by index. For gain and bias,
 * rows of a chunk by index, then fold: chunks in FOLD ranges by index, ranges by index. The number of rows in a chunk
 * depends on rows and D alone.
 *
 * Registers (sm_90a, bf16): row_gradients 128, that is five blocks of 96 threads or two of 192 (D = 1,408) on a
 * multiprocessor; normalise 66, RMSNorm 98, that is six blocks of 96 threads.
 *
 * H200, bf16, where a copy has 4.0 TB/s: add_norm forward [512,32,768] 27 us (3.7 TB/s), backward 41 us (3.1),
 * [64,288,768] 48 us (3.0); layernorm backward [512,50,1408] 85 us (2.5); add_norm at 1,024 rows 3.1 us forward, 11 us
 * backward, where few blocks and the second launch count, not bytes.
 */
#include "kernels/cuda/lanes.h"

namespace {

enum {
    OWNERS = 512,                       /* threads of a block at most                             */
    ROWS = 4,                           /* rows under way in row_gradients                        */
    MANY_ROWS = 4096,                   /* from here on normalise has 4 rows a block              */
    MULTIPROCESSORS = 132,              /* for which chunks of rows are cut, whatever the GPU has */
    BLOCK = 128, WARPS = BLOCK / 32,    /* of the kernels for wide rows                           */
    FOLD = 32, FOLDED = 17,             /* warps of fold; chunks of one under way: 4 x 132 at most */
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

/* What was computed from *v is to be computed again, not to be kept in registers. */
template <class T, int N> __device__ __forceinline__ void forget(stored<T, N> *v)
{
    for (size_t k = 0; k < sizeof v->w / sizeof v->w[0]; k++)
        gq_opaque(&v->w[k]);
}

/* ---- sums over a row ------------------------------------------------------------------------- */

/* U sums at once over the block, each to all threads. part: an element per warp, shared; the next call takes another
 * one. Lanes exchange halves of the values as long as there are several: U + 3 shuffles and not 5 U. */
template <int U> __device__ __forceinline__ void block_sums(gq_lane<float, U> *v, gq_lane<float, U> *part)
{
    int lane = threadIdx.x % 32, warps = (int)blockDim.x / 32;
#pragma unroll
    for (int half = U / 2, apart = 16; half > 0; half /= 2, apart /= 2)
#pragma unroll
        for (int i = 0; i < half; i++) {
            bool  upper = (lane & apart) != 0;
            float keep = upper ? v->x[i + half] : v->x[i], give = upper ? v->x[i] : v->x[i + half];
            v->x[i] = keep + __shfl_xor_sync(0xffffffffu, give, apart);
        }
#pragma unroll
    for (int apart = 16 / U; apart > 0; apart /= 2)
        v->x[0] += __shfl_xor_sync(0xffffffffu, v->x[0], apart);
    if (lane % (32 / U) == 0)
        part[threadIdx.x / 32].x[lane / (32 / U)] = v->x[0];
    __syncthreads();
    *v = part[0];
    for (int w = 1; w < warps; w++) {
        gq_lane<float, U> more = part[w];
#pragma unroll
        for (int i = 0; i < U; i++)
            v->x[i] += more.x[i];
    }
}

/* One sum over the threads of a block for a wide row. part: [WARPS] shared. */
__device__ float row_sum(float v, float *part)
{
    v = gq_warp_sum(v);
    __syncthreads();                                          /* the last sum was read            */
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = v;
    __syncthreads();
    float sum = part[0];
    for (int w = 1; w < WARPS; w++)
        sum += part[w];
    return sum;
}

/* Threads that own N columns each of D, in whole warps. */
unsigned owners(int D, int N) { return gq_blocks(D, 32 * N) * 32; }

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
    bool     rms;
};

template <class T> __device__ void save_statistics(const forward_job<T> &o, int64_t r, float mean, float rstd)
{
    if (threadIdx.x == 0 && o.mean)
        o.mean[r] = mean;
    if (threadIdx.x == 0 && o.rstd)
        o.rstd[r] = rstd;
}

/* s = a + b to memory; x: s as it is stored, of which the statistics are. */
template <class T, int N>
__device__ void save_sum(const forward_job<T> &o, int64_t at, const stored<T, N> &a, const stored<T, N> &b, float x[N])
{
    gq_lane<T, N> s;
#pragma unroll
    for (int j = 0; j < N; j++) {
        gq_save(&s.x[j], element(a, j) + element(b, j));
        x[j] = gq_load(s.x[j]);
    }
    gq_lane_save<N>(o.s + at, s);
}

/* RMS: as o.rms; a branch here costs registers of both kinds. */
template <class T, int N, int U, bool RMS>
__global__ void __launch_bounds__(OWNERS) normalise(const forward_job<T> o)
{
    typedef gq_lane<float, U> sums;
    GQ_SHARED(sums, part, [2][OWNERS / 32]);
    int64_t      first = (int64_t)blockIdx.x * U;
    int          i = (int)threadIdx.x * N, live = o.rows - first < U ? (int)(o.rows - first) : U;
    bool         mine = i < o.D;
    stored<T, N> a[U], b[U], g, beta = {};
    float        x[U][N];
    float        share = 1 / (float)o.D;
    sums         mean = {}, rstd = {};
#pragma unroll
    for (int u = 0; u < U; u++) {
        int64_t at = (first + u) * o.D + i;
        a[u] = b[u] = stored<T, N>{};
        if (mine && u < live) {
            a[u] = stored_at<T, N>(o.a + at);
            if (o.b)
                b[u] = stored_at<T, N>(o.b + at);
        }
    }
    if (mine) {
        g = stored_at<T, N>(o.g + i);
        if (o.beta)
            beta = stored_at<T, N>(o.beta + i);
    }
#pragma unroll
    for (int u = 0; u < U; u++) {
        for (int j = 0; j < N; j++)
            x[u][j] = element(a[u], j);
        if (o.b && mine && u < live)
            save_sum<T, N>(o, (first + u) * o.D + i, a[u], b[u], x[u]);
        for (int j = 0; j < N; j++)
            mean.x[u] += x[u][j];
    }
    if (!RMS)
        block_sums<U>(&mean, part[0]);
#pragma unroll
    for (int u = 0; u < U; u++) {
        mean.x[u] = RMS ? 0.0f : mean.x[u] / (float)o.D;
        for (int j = 0; j < N; j++)
            rstd.x[u] += mine ? (x[u][j] - mean.x[u]) * (x[u][j] - mean.x[u]) : 0.0f;
    }
    block_sums<U>(&rstd, part[1]);
#pragma unroll
    for (int u = 0; u < U; u++) {
        gq_lane<T, N> y;
        if (u >= live)
            break;
        rstd.x[u] = rsqrtf(rstd.x[u] * share + o.eps);
        save_statistics(o, first + u, mean.x[u], rstd.x[u]);
        if (!mine)
            continue;
        for (int j = 0; j < N; j++)
            gq_save(&y.x[j], (x[u][j] - mean.x[u]) * rstd.x[u] * element(g, j) + element(beta, j));
        gq_lane_save<N>(o.y + (first + u) * o.D + i, y);
    }
}

template <class T, int N> __global__ void __launch_bounds__(BLOCK) normalise_wide(const forward_job<T> o)
{
    GQ_SHARED(float, part, [WARPS]);
    int64_t  row = (int64_t)blockIdx.x * o.D;
    const T *s = (o.b ? o.s : o.a) + row;                     /* a thread reads what it wrote     */
    float    sum = 0, squares = 0;
    for (int i = (int)threadIdx.x * N; i < o.D; i += BLOCK * N) {
        stored<T, N> a = stored_at<T, N>(o.a + row + i);
        float        x[N];
        for (int j = 0; j < N; j++)
            x[j] = element(a, j);
        if (o.b)
            save_sum<T, N>(o, row + i, a, stored_at<T, N>(o.b + row + i), x);
        for (int j = 0; j < N; j++)
            sum += x[j];
    }
    float mean = o.rms ? 0.0f : row_sum(sum, part) / (float)o.D;
    for (int i = (int)threadIdx.x * N; i < o.D; i += BLOCK * N) {
        stored<T, N> x = stored_at<T, N>(s + i);
        for (int j = 0; j < N; j++)
            squares += (element(x, j) - mean) * (element(x, j) - mean);
    }
    float rstd = 1 / sqrtf(row_sum(squares, part) / (float)o.D + o.eps);
    for (int i = (int)threadIdx.x * N; i < o.D; i += BLOCK * N) {
        stored<T, N>  x = stored_at<T, N>(s + i), g = stored_at<T, N>(o.g + i), beta = {};
        gq_lane<T, N> y;
        if (o.beta)
            beta = stored_at<T, N>(o.beta + i);
        for (int j = 0; j < N; j++)
            gq_save(&y.x[j], (element(x, j) - mean) * rstd * element(g, j) + element(beta, j));
        gq_lane_save<N>(o.y + row + i, y);
    }
    save_statistics(o, blockIdx.x, mean, rstd);
}

template <class T, int N, bool RMS> void start_rows(gq_cuda *d, const forward_job<T> &o)
{
    if (o.rows >= MANY_ROWS)
        GQ_LAUNCH(d, (normalise<T, N, 4, RMS>), gq_blocks(o.rows, 4), owners(o.D, N), 0, o);
    else
        GQ_LAUNCH(d, (normalise<T, N, 2, RMS>), gq_blocks(o.rows, 2), owners(o.D, N), 0, o);
}

template <class T, int N> void start_normalise(gq_cuda *d, const forward_job<T> &o)
{
    if (o.D > OWNERS * N)
        GQ_LAUNCH(d, (normalise_wide<T, N>), (unsigned)o.rows, BLOCK, 0, o);
    else if (o.rms)
        start_rows<T, N, true>(d, o);
    else
        start_rows<T, N, false>(d, o);
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
                        (float *)c->save[0].p, (float *)c->save[1].p, c->attr.eps, c->attr.rms != 0};
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
    float       *parts;                 /* [chunks][2][D]: sums for gain, for bias; may be NULL   */
    bool         rms;
};

struct row_means { float mean, rstd, e, ex; };    /* of x; of e (RMSNorm: 0), of e xhat              */

/* dx = rstd (e - mean(e) - xhat mean(e xhat)) with e = dy g, to N columns of a row, which begin at `at`. */
template <class T, int N>
__device__ __forceinline__ void save_dx(const backward_job<T> &o, int64_t at, const stored<T, N> &x,
                                        const stored<T, N> &dy, const stored<T, N> &g, const stored<T, N> &dsum,
                                        const row_means &m)
{
    float v[N];
#pragma unroll
    for (int j = 0; j < N; j++) {
        float xhat = (element(x, j) - m.mean) * m.rstd;
        v[j] = m.rstd * (element(dy, j) * element(g, j) - m.e - xhat * m.ex) + element(dsum, j);
    }
    put_gradient<T, N>(o.d0, at, v);
    put_gradient<T, N>(o.d1, at, v);
}

template <class T, int N>
__device__ __forceinline__ stored<T, N> stored_if(const T *p, bool there, int64_t at)
{
    return p && there ? stored_at<T, N>(p + at) : stored<T, N>{};
}

template <class T, int N> __global__ void __launch_bounds__(OWNERS) row_gradients(const backward_job<T> o)
{
    typedef gq_lane<float, 2 * ROWS> sums;
    GQ_SHARED(sums, part, [2][OWNERS / 32]);
    int          i = (int)threadIdx.x * N, turn = 0;
    int64_t      first = (int64_t)blockIdx.x * o.chunk;
    int64_t      end = first + o.chunk < o.rows ? first + o.chunk : o.rows;
    bool         mine = i < o.D;
    stored<T, N> g = stored_if<T, N>(o.g, mine, i);
    float        dg[N] = {}, db[N] = {}, share = 1 / (float)o.D;
    for (int64_t r = first; r < end; r += ROWS, turn ^= 1) {
        stored<T, N> x[ROWS], dy[ROWS], dsum[ROWS];
        row_means    m[ROWS];
        sums         e = {};
#pragma unroll
        for (int u = 0; u < ROWS; u++) {
            bool there = mine && r + u < end;
            x[u] = stored_if<T, N>(o.x, there, (r + u) * o.D + i);
            dy[u] = stored_if<T, N>(o.dy, there, (r + u) * o.D + i);
            dsum[u] = stored_if<T, N>(o.dsum, there, (r + u) * o.D + i);
            m[u].mean = there ? o.mean[r + u] : 0.0f;
            m[u].rstd = there ? o.rstd[r + u] : 0.0f;
        }
#pragma unroll
        for (int u = 0; u < ROWS; u++)
            for (int j = 0; j < N; j++) {
                float dyj = element(dy[u], j), xhat = (element(x[u], j) - m[u].mean) * m[u].rstd;
                float de = dyj * element(g, j);
                e.x[2 * u] += de;
                e.x[2 * u + 1] += de * xhat;
                dg[j] += dyj * xhat;
                db[j] += dyj;
            }
        if (!o.d0.p && !o.d1.p)
            continue;
        block_sums<2 * ROWS>(&e, part[turn]);
#pragma unroll
        for (int u = 0; u < ROWS; u++)
            if (mine && r + u < end) {
                m[u].e = o.rms ? 0.0f : e.x[2 * u] * share;
                m[u].ex = e.x[2 * u + 1] * share;
                forget(&x[u]);
                forget(&dy[u]);
                save_dx<T, N>(o, (r + u) * o.D + i, x[u], dy[u], g, dsum[u], m[u]);
            }
    }
    if (o.parts && mine)
        for (int j = 0; j < N; j++) {
            o.parts[(int64_t)blockIdx.x * 2 * o.D + i + j] = dg[j];
            o.parts[((int64_t)blockIdx.x * 2 + 1) * o.D + i + j] = db[j];
        }
}

template <class T, int N> __global__ void __launch_bounds__(BLOCK) row_gradients_wide(const backward_job<T> o)
{
    GQ_SHARED(float, part, [WARPS]);
    int64_t   row = (int64_t)blockIdx.x * o.D;
    row_means m = {o.mean[blockIdx.x], o.rstd[blockIdx.x], 0, 0};
    for (int i = (int)threadIdx.x * N; i < o.D; i += BLOCK * N) {
        stored<T, N> x = stored_at<T, N>(o.x + row + i), dy = stored_if<T, N>(o.dy, true, row + i);
        stored<T, N> g = stored_at<T, N>(o.g + i);
        for (int j = 0; j < N; j++) {
            float de = element(dy, j) * element(g, j);
            m.e += de;
            m.ex += de * ((element(x, j) - m.mean) * m.rstd);
        }
    }
    m.e = o.rms ? 0.0f : row_sum(m.e, part) / (float)o.D;
    m.ex = row_sum(m.ex, part) / (float)o.D;
    for (int i = (int)threadIdx.x * N; i < o.D; i += BLOCK * N)
        save_dx<T, N>(o, row + i, stored_at<T, N>(o.x + row + i), stored_if<T, N>(o.dy, true, row + i),
                      stored_at<T, N>(o.g + i), stored_if<T, N>(o.dsum, true, row + i), m);
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
#pragma unroll 4
    for (int64_t r = first; r < end; r++) {
        stored<T, N> x = stored_at<T, N>(o.x + r * o.D + i), dy = stored_if<T, N>(o.dy, true, r * o.D + i);
        for (int j = 0; j < N; j++) {
            dg[j] += element(dy, j) * ((element(x, j) - o.mean[r]) * o.rstd[r]);
            db[j] += element(dy, j);
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
    for (int k = warp * per; i < D && to.p && k < end; k += FOLDED) {
        float v[FOLDED];
#pragma unroll
        for (int u = 0; u < FOLDED; u++)
            v[u] = k + u < end ? parts[(int64_t)(2 * (k + u) + (int)blockIdx.y) * D + i] : 0.0f;
#pragma unroll
        for (int u = 0; u < FOLDED; u++)
            sum += v[u];
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || i >= D)
        return;
    for (int w = 1; w < FOLD; w++)
        sum += sums[w][lane];
    put_gradient<T, 1>(to, i, &sum);
}

/* Rows whose sums one block makes, a multiple of ROWS: as many blocks as 132 multiprocessors hold at once in bf16, four
 * each up to D = 768, two at 1,408. */
int64_t chunk_rows(int64_t rows, int64_t D)
{
    int64_t each = D <= 768 ? 4 : D <= 1536 ? 2 : 1;
    return gq_blocks(gq_blocks(rows, MULTIPROCESSORS * each), ROWS) * (int64_t)ROWS;
}

template <class T, int N> void start_backward(gq_cuda *d, backward_job<T> o)
{
    bool dx = o.d0.p || o.d1.p;
    o.chunk = o.parts ? chunk_rows(o.rows, o.D) : (int64_t)ROWS;
    if (o.D <= OWNERS * N) {
        if (dx || o.parts)
            GQ_LAUNCH(d, (row_gradients<T, N>), gq_blocks(o.rows, o.chunk), owners(o.D, N), 0, o);
        return;
    }
    if (o.parts)
        GQ_LAUNCH(d, (gain_parts<T, N>), dim3(gq_blocks(o.rows, o.chunk), gq_blocks(o.D, BLOCK * N)), BLOCK, 0, o);
    if (dx)
        GQ_LAUNCH(d, (row_gradients_wide<T, N>), (unsigned)o.rows, BLOCK, 0, o);
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
                         add ? gradient_of(c, 1) : gradient{}, gains ? (float *)c->work->temp : NULL,
                         c->attr.rms != 0};
    if (wide_access<T>(c, o.D))
        start_backward<T, gq_pack<T>::N>(d, o);
    else
        start_backward<T, 1>(d, o);
    if (gains)
        GQ_LAUNCH(d, fold<T>, dim3(gq_blocks(o.D, 32), 2), 32 * FOLD, 0, o.parts,
                  (int)gq_blocks(o.rows, chunk_rows(o.rows, o.D)), o.D, dg, db);
}

size_t parts_bytes(const gq_call *c, int backward)
{
    int64_t rows = gq_rows(&c->in[0]), D = gq_cols(&c->in[0]);
    return backward ? (size_t)gq_blocks(rows, chunk_rows(rows, D)) * 2 * (size_t)D * sizeof(float) : 0;
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
