/* rows.cu - moving and masking rows: concat_rows, expand_rows, mask_rows, dropout, kv_append.
 *
 * T, G: bytes of the backend's real and of a gradient (4 for a parameter's). "Adds": the gradient is added to
 * what is there, which costs one more read of it. All kernels are bound by memory; roof = copy bandwidth.
 *
 * move:     rows of n elements at strides, dst[s,i] (+)= src[s,i]: n rows (T + G) bytes. Serves concat_rows,
 *           both ways ([64,256,768] beside [64,40,768]: once per part), and expand_rows forward (source
 *           stride 0: the source stays in L2, so it writes B n T and reads n T). A block per row and MOVED 16-byte
 *           pieces of each thread, all loaded before the first is stored; elements of one type are not converted.
 * sum_over: dst[i] (+)= sum over b of src[b,i]: B n T + n G. A block has LANES accesses of columns and STRIPES
 *           stripes of rows: stripe s adds b = s, s + STRIPES, ... in order, 128 bytes of a thread under way, then
 *           the stripes are added by index. [512, 32 x 768] of bf16: 384 blocks, three per multiprocessor, with 16
 *           rows a thread: all 25 MB are asked for in two rounds. Predicted: 6.3 us at 4 TB/s, 9 with launch and
 *           tail. One row (B = 1): move.
 * scale:    mask_rows, both ways: y = x * u, rows D (2 T) + u. A warp per row.
 * drop:     dropout, both ways: n (T + G) bytes. A thread per Philox block, that is four elements. 10 rounds are
 *           some 20 integer instructions per element, which with bf16 takes about as long as the bytes.
 * append:   B T 2 C (2 T) bytes; a warp per row and half (keys, values). In decoding a launch and little more.
 * H200: concat_rows [64,288,768] both ways 3.5 TB/s, of 4.0 that a copy has.
 */
#include "kernels/cuda/lanes.h"

namespace {

enum { BLOCK = 256, WARPS = BLOCK / 32, MOVED = 4, LANES = 8, STRIPES = 32 };

/* ---- moving ---------------------------------------------------------------------------------- */

/* chunks: blocks per row */
template <class S, class G, int N>
__global__ void move(const S *__restrict__ src, int64_t src_stride, G *__restrict__ dst, int64_t dst_stride, int64_t n,
                     unsigned chunks, bool adds)
{
    int64_t       row = blockIdx.x / chunks;
    int64_t       first = ((int64_t)(blockIdx.x % chunks) * BLOCK * MOVED + threadIdx.x) * N;
    gq_lane<S, N> v[MOVED];
    src += row * src_stride;
    dst += row * dst_stride;
#pragma unroll
    for (int k = 0; k < MOVED; k++)
        if (first + k * BLOCK * N < n)
            v[k] = gq_lane_at<N>(src + first + k * BLOCK * N);
#pragma unroll
    for (int k = 0; k < MOVED; k++) {
        G *to = dst + first + k * BLOCK * N;
        if (first + k * BLOCK * N >= n)
            continue;
        if constexpr (sizeof(S) == sizeof(G))
            if (!adds) {
                gq_lane_save<N>(to, v[k]);
                continue;
            }
        float x[N];
        for (int i = 0; i < N; i++)
            x[i] = gq_load(v[k].x[i]);
        gq_lane_put<N>(to, adds, x);
    }
}

typedef struct moved {
    const void *src;
    void       *dst;
    int64_t     src_stride, dst_stride, rows, n;        /* in elements                            */
    bool        adds;
} moved;

template <class S, class G, int N> void start_move_as(gq_cuda *d, const moved *m)
{
    unsigned chunks = gq_blocks(m->n, BLOCK * MOVED * N);
    GQ_LAUNCH(d, (move<S, G, N>), (unsigned)m->rows * chunks, BLOCK, 0, (const S *)m->src, m->src_stride, (G *)m->dst,
              m->dst_stride, m->n, chunks, m->adds);
}

template <class S, class G> void start_move(gq_cuda *d, const moved *m)
{
    constexpr int N = gq_between<S, G>::N;
    if ((m->n | m->src_stride | m->dst_stride) % N == 0 && gq_aligned16(m->src) && gq_aligned16(m->dst))
        start_move_as<S, G, N>(d, m);
    else
        start_move_as<S, G, 1>(d, m);
}

/* ---- sums over the first dimension ----------------------------------------------------------- */

template <class S, class G, int N>
__global__ void __launch_bounds__(LANES * STRIPES)
sum_over(const S *__restrict__ src, int64_t B, int64_t stride, int64_t n, G *__restrict__ dst, bool adds)
{
    constexpr int DEPTH = N == 1 ? 8 : 128 / (N * sizeof(S)), COLUMNS = LANES * N;
    GQ_SHARED(float, part, [STRIPES][COLUMNS]);
    int     lane = (int)threadIdx.x % LANES, stripe = (int)threadIdx.x / LANES;
    int64_t first = (int64_t)blockIdx.x * COLUMNS, i = first + lane * N;
    float   sum[N] = {};
    for (int64_t b = stripe; i < n && b < B; b += STRIPES * DEPTH) {
        gq_lane<S, N> v[DEPTH];
#pragma unroll
        for (int u = 0; u < DEPTH; u++)
            if (b + u * STRIPES < B)
                v[u] = gq_lane_at<N>(src + (b + u * STRIPES) * stride + i);
#pragma unroll
        for (int u = 0; u < DEPTH; u++)
            if (b + u * STRIPES < B)
                for (int e = 0; e < N; e++)
                    sum[e] += gq_load(v[u].x[e]);
    }
    for (int e = 0; e < N; e++)
        part[stripe][lane * N + e] = sum[e];
    __syncthreads();
    if (threadIdx.x >= COLUMNS || first + (int)threadIdx.x >= n)
        return;
    float total = 0;
#pragma unroll
    for (int s = 0; s < STRIPES; s++)
        total += part[s][threadIdx.x];
    gq_put(dst + first + threadIdx.x, adds, total);
}

template <class S, class G>
void start_sum_over(gq_cuda *d, const S *src, int64_t B, int64_t stride, int64_t n, G *dst, bool adds)
{
    constexpr int N = gq_between<S, G>::N;
    if (B == 1) {
        moved m = {src, dst, 0, 0, 1, n, adds};
        start_move<S, G>(d, &m);
    } else if ((n | stride) % N == 0 && gq_aligned16(src) && gq_aligned16(dst))
        GQ_LAUNCH(d, (sum_over<S, G, N>), gq_blocks(n, LANES * N), LANES * STRIPES, 0, src, B, stride, n, dst, adds);
    else
        GQ_LAUNCH(d, (sum_over<S, G, 1>), gq_blocks(n, LANES), LANES * STRIPES, 0, src, B, stride, n, dst, adds);
}

/* ---- masking --------------------------------------------------------------------------------- */

/* whole: u has a factor per element, else one per row */
template <class S, class G, int N, bool whole>
__global__ void scale(const S *__restrict__ x, const float *__restrict__ u, G *__restrict__ y, int64_t rows, int64_t D,
                      bool adds)
{
    int64_t r = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (r >= rows)
        return;
    float of_row = whole ? 0 : u[r];
#pragma unroll 4
    for (int64_t d = threadIdx.x % 32 * N; d < D; d += 32 * N) {
        gq_lane<S, N> from = gq_lane_at<N>(x + r * D + d);
        float         v[N];
        for (int i = 0; i < N; i++)
            v[i] = gq_load(from.x[i]) * of_row;
        if constexpr (whole) {
            gq_lane<float, N> f = gq_lane_at<N>(u + r * D + d);
            for (int i = 0; i < N; i++)
                v[i] = gq_load(from.x[i]) * f.x[i];
        }
        gq_lane_put<N>(y + r * D + d, adds, v);
    }
}

template <class S, class G, bool whole>
void start_scale(gq_cuda *d, const S *x, const float *u, G *y, int64_t rows, int64_t D, bool adds)
{
    constexpr int N = whole ? gq_between<S, float>::N : gq_between<S, G>::N;
    if (D % N == 0 && gq_aligned16(x) && gq_aligned16(y) && (!whole || gq_aligned16(u)))
        GQ_LAUNCH(d, (scale<S, G, N, whole>), gq_blocks(rows, WARPS), BLOCK, 0, x, u, y, rows, D, adds);
    else
        GQ_LAUNCH(d, (scale<S, G, 1, whole>), gq_blocks(rows, WARPS), BLOCK, 0, x, u, y, rows, D, adds);
}

void mask(const gq_call *c, const gq_buf *x, const gq_buf *y, bool adds)
{
    gq_cuda     *d = gq_cuda_of(c);
    const float *u = (const float *)c->in[1].p;
    int64_t      rows = gq_rows(&c->in[0]), D = gq_cols(&c->in[0]);
    if (gq_size(&c->in[1]) == rows * D)
        GQ_REAL2(x->dtype, S, y->dtype, G, (start_scale<S, G, true>(d, (const S *)x->p, u, (G *)y->p, rows, D, adds)));
    else
        GQ_REAL2(x->dtype, S, y->dtype, G, (start_scale<S, G, false>(d, (const S *)x->p, u, (G *)y->p, rows, D, adds)));
}

/* ---- dropout --------------------------------------------------------------------------------- */

/* N: 4 when both addresses allow it, else 1: the elements of an access. A thread has four in any case. */
template <class S, class G, int N>
__global__ void drop(const S *__restrict__ x, G *__restrict__ y, int64_t n, float p, float kept, uint32_t purpose,
                     const gq_step_block *step, bool adds)
{
    int64_t block = (int64_t)blockIdx.x * BLOCK + threadIdx.x;
    if (4 * block >= n)
        return;
    gq_philox draw = gq_philox_block(step->seed, (uint64_t)block, purpose, step->step * 64u + step->micro);
    if (N == 4 && 4 * block + 4 <= n) {
        gq_lane<S, 4> from = gq_lane_at<4>(x + 4 * block);
        float         v[4];
        for (int i = 0; i < 4; i++)
            v[i] = gq_u01(draw.w[i]) >= p ? gq_load(from.x[i]) * kept : 0.0f;    /* a dropped infinity leaves 0 */
        gq_lane_put<4>(y + 4 * block, adds, v);
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (4 * block + i < n)
            gq_put(y + 4 * block + i, adds, gq_u01(draw.w[i]) >= p ? gq_load(x[4 * block + i]) * kept : 0.0f);
}

template <class S, class G> void start_drop(const gq_call *c, const S *x, G *y, bool adds)
{
    gq_cuda *d = gq_cuda_of(c);
    int64_t  n = gq_size(&c->in[0]);
    float    p = c->attr.p, kept = 1.0f / (1.0f - p);
    if (gq_aligned16(x) && gq_aligned16(y))
        GQ_LAUNCH(d, (drop<S, G, 4>), gq_blocks(n, 4 * BLOCK), BLOCK, 0, x, y, n, p, kept, c->rng_op, d->step, adds);
    else
        GQ_LAUNCH(d, (drop<S, G, 1>), gq_blocks(n, 4 * BLOCK), BLOCK, 0, x, y, n, p, kept, c->rng_op, d->step, adds);
}

/* ---- the cache of keys and values ------------------------------------------------------------ */

template <class T, int N>
__global__ void append(const T *__restrict__ qkv, const int32_t *__restrict__ pos, T *__restrict__ cache, int64_t B,
                       int64_t rows, int64_t W, int64_t cap, int64_t C, int64_t koff, int64_t voff)
{
    int64_t w = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32, half = w % 2, r = w / 2, b = r / rows;
    if (b >= B)
        return;
    int64_t at = pos[b] + r % rows;
    if (at >= cap)
        return;
    const T *from = qkv + r * W + (half ? voff : koff);
    T       *to = cache + (b * cap + at) * 2 * C + half * C;
    for (int64_t d = threadIdx.x % 32 * N; d < C; d += 32 * N)
        gq_lane_save<N>(to + d, gq_lane_at<N>(from + d));
}

template <class T> void start_append(const gq_call *c)
{
    constexpr int  N = gq_between<T, T>::N;
    gq_cuda       *d = gq_cuda_of(c);
    const T       *qkv = (const T *)c->in[0].p;
    const int32_t *pos = (const int32_t *)c->in[2].p;
    T             *cache = (T *)c->in[1].p;
    int64_t        B = c->in[0].shape[0], rows = c->in[0].shape[1], W = c->in[0].shape[2], cap = c->in[1].shape[1];
    int64_t        C = c->attr.width, koff = c->attr.koff, voff = c->attr.voff;
    unsigned       blocks = gq_blocks(2 * B * rows, WARPS);
    if ((W | C | koff | voff) % N == 0 && gq_aligned16(qkv) && gq_aligned16(cache))
        GQ_LAUNCH(d, (append<T, N>), blocks, BLOCK, 0, qkv, pos, cache, B, rows, W, cap, C, koff, voff);
    else
        GQ_LAUNCH(d, (append<T, 1>), blocks, BLOCK, 0, qkv, pos, cache, B, rows, W, cap, C, koff, voff);
}

/* Part k of the concatenation `whole` (an output or its gradient): where it lies and how long it is. */
moved part_of(const gq_call *c, int k, void *whole, int32_t dtype)
{
    int64_t na = c->in[0].shape[1] * c->in[0].shape[2], nb = c->in[1].shape[1] * c->in[1].shape[2];
    moved   m = {};
    m.dst = (char *)whole + (k ? (size_t)na * gq_dtype_bytes(dtype) : 0);
    m.dst_stride = na + nb;
    m.src_stride = m.n = k ? nb : na;
    m.rows = c->in[0].shape[0];
    return m;
}

}

void gq_cuda_sum_over(gq_cuda *d, int32_t real, const void *src, int64_t B, int64_t stride, int64_t n, void *dst,
                      int32_t dst_type, bool adds)
{
    GQ_REAL2(real, S, dst_type, G, (start_sum_over<S, G>(d, (const S *)src, B, stride, n, (G *)dst, adds)));
}

extern "C" void gq_cuda_concat_rows_fwd(const gq_call *c)
{
    for (int k = 0; k < 2; k++) {
        moved m = part_of(c, k, c->out[0].p, c->out[0].dtype);
        m.src = c->in[k].p;
        GQ_REAL(c->out[0].dtype, T, (start_move<T, T>(gq_cuda_of(c), &m)));
    }
}

extern "C" void gq_cuda_concat_rows_bwd(const gq_call *c)
{
    if (gq_nothing_arrives(c))
        return;
    for (int k = 0; k < 2; k++) {
        moved m = part_of(c, k, c->dout[0].p, c->dout[0].dtype), back = m;
        back.src = m.dst;
        back.src_stride = m.dst_stride;
        back.dst = c->din[k].p;
        back.dst_stride = m.src_stride;
        back.adds = gq_adds(c, k);
        if (back.dst)
            GQ_REAL2(c->dout[0].dtype, S, c->din[k].dtype, G, (start_move<S, G>(gq_cuda_of(c), &back)));
    }
}

extern "C" void gq_cuda_expand_rows_fwd(const gq_call *c)
{
    moved m = {};
    m.src = c->in[0].p;
    m.dst = c->out[0].p;
    m.dst_stride = m.n = gq_size(&c->in[0]);
    m.rows = c->out[0].shape[0];
    GQ_REAL(c->out[0].dtype, T, (start_move<T, T>(gq_cuda_of(c), &m)));
}

extern "C" void gq_cuda_expand_rows_bwd(const gq_call *c)
{
    int64_t n = gq_size(&c->in[0]);
    if (!gq_nothing_arrives(c) && c->din[0].p)
        gq_cuda_sum_over(gq_cuda_of(c), c->dout[0].dtype, c->dout[0].p, c->out[0].shape[0], n, n, c->din[0].p,
                         c->din[0].dtype, gq_adds(c, 0));
}

extern "C" void gq_cuda_mask_rows_fwd(const gq_call *c) { mask(c, &c->in[0], &c->out[0], false); }

extern "C" void gq_cuda_mask_rows_bwd(const gq_call *c)
{
    if (!gq_nothing_arrives(c) && c->din[0].p)
        mask(c, &c->dout[0], &c->din[0], gq_adds(c, 0));
}

extern "C" void gq_cuda_dropout_fwd(const gq_call *c)
{
    GQ_REAL(c->out[0].dtype, T, (start_drop<T, T>(c, (const T *)c->in[0].p, (T *)c->out[0].p, false)));
}

extern "C" void gq_cuda_dropout_bwd(const gq_call *c)
{
    if (!gq_nothing_arrives(c) && c->din[0].p)
        GQ_REAL2(c->dout[0].dtype, S, c->din[0].dtype, G,
                 (start_drop<S, G>(c, (const S *)c->dout[0].p, (G *)c->din[0].p, gq_adds(c, 0))));
}

extern "C" void gq_cuda_kv_append_fwd(const gq_call *c) { GQ_REAL(c->in[1].dtype, T, start_append<T>(c)); }
