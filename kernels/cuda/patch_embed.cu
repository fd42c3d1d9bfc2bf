/* patch_embed.cu - patches of p x p pixels as rows of a matrix product.
 *
 * Shapes: frames u8 [B,S,S,3], w [D,K] with K = 3pp, out [B,t,D] with t = n + c tokens of n = (S/p)^2 patches
 * (ViT-B/32: S 224, p 32, K 3072, n 49, c 1, D 768; 64 GIFs x 8 frames: B 512). T = bytes of real.
 *
 * unfold:  the operand [B t, K]: patch rows in (ch, y, x) order, and a row of zeros for each class row, so that
 *          the product lands in `out` as it lies (and reads dout as it lies in backward) for 1/t more work. Reads
 *          3 B S S, writes B t K T bytes: 77 + 157 MB, about 70 us at 3.3 TB/s. A warp per line of pixels, 8 (4)
 *          pixels of three channels per lane: 24 bytes in, three times 16 bytes out, whole sectors of 32 bytes.
 *          Some 20 instructions per value (a division by contract) take about two thirds of that time.
 * product: out += rows w^T through cuBLASLt: 2 B t K D = 121 GFLOP, 0.15 ms at 788 TFLOP/s. Tensor cores.
 * start:   positions and class row are what the product adds to (beta 1), so they cost no rounding of
 *          their own: writes B t D T, 39 MB, read once more by the product. Left out when neither is there.
 * backward: dw = dout^T rows, same operand and work; dcls, dpos: sums over B in order (rows.cu), B t D T bytes.
 *
 * The operand is made for GROUP elements at a time, 512 frames of ViT-B/32, which bounds the workspace; dw of
 * several groups adds up in the order of the groups. Not measured on a GPU.
 */
#include "kernels/cuda/lanes.h"

namespace {

#ifdef GQ_ON_HOST
enum { GROUP = 600 };                               /* the tests shall meet several groups           */
#else
enum { GROUP = 80 << 20 };
#endif
enum { BLOCK = 256, WARPS = BLOCK / 32 };

typedef struct shape {
    int64_t B, S, p, side, K, D, cls, tokens, group;    /* side: patches per line; group: frames    */
} shape;

shape shape_of(const gq_call *c)
{
    shape s = {};
    s.B = c->in[0].shape[0];
    s.S = c->in[0].shape[1];
    s.p = c->attr.patch;
    s.side = s.S / s.p;
    s.K = 3 * s.p * s.p;
    s.D = c->in[1].shape[0];
    s.tokens = c->out[0].shape[1];
    s.cls = s.tokens - s.side * s.side;
    s.group = GROUP / (s.tokens * s.K);
    s.group = s.group < 1 ? 1 : s.group < s.B ? s.group : s.B;
    return s;
}

typedef struct channels { float mean[3], std[3]; } channels;

__device__ __forceinline__ float pixel(uint8_t v, float mean, float std)
{
    return (gq_product((float)v, 1 / 255.f) - mean) / std;      /* each step rounded: the same pixels everywhere */
}

/* The 3 N bytes of N pixels, in accesses of min(N, 8) bytes. */
template <int N> __device__ __forceinline__ void bytes_of(const uint8_t *from, uint8_t v[3 * N])
{
    for (int i = 0; i < 3; i++) {
        gq_lane<uint8_t, N> part = gq_lane_at<N>(from + i * N);
        for (int k = 0; k < N; k++)
            v[i * N + k] = part.x[k];
    }
}

/* lines: frames x side p. N divides p. */
template <class T, int N>
__global__ void unfold(const uint8_t *__restrict__ frames, T *__restrict__ rows, shape s, channels of, int64_t lines)
{
    int64_t line = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (line >= lines)
        return;
    int      p = (int)s.p, height = (int)s.side * p, y = (int)(line % height), lane = (int)threadIdx.x % 32;
    int64_t  frame = line / height;
    T       *first = rows + frame * s.tokens * s.K;
    const uint8_t *from = frames + (frame * s.S + y) * s.S * 3;
    for (int64_t k = lane * N; y == 0 && s.cls && k < s.K; k += 32 * N)
        gq_lane_zero<N>(first + k);
    first += (s.cls + y / p * s.side) * s.K + y % p * p;
    for (int x = lane * N; x < height; x += 32 * N) {
        uint8_t v[3 * N];
        T      *to = first + x / p * s.K + x % p;
        bytes_of<N>(from + 3 * x, v);
#pragma unroll
        for (int ch = 0; ch < 3; ch++) {
            gq_lane<T, N> out;
            for (int i = 0; i < N; i++)
                gq_save(&out.x[i], pixel(v[3 * i + ch], of.mean[ch], of.std[ch]));
            gq_lane_save<N>(to + ch * p * p, out);
        }
    }
}

/* out = positions, plus the class row in row 0; a row of `out` per warp */
template <class T, int N>
__global__ void start(const T *__restrict__ cls, const T *__restrict__ pos, T *__restrict__ out, int64_t rows,
                      int64_t tokens, int64_t D)
{
    int64_t r = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32, t = r % tokens;
    if (r >= rows)
        return;
    for (int64_t d = threadIdx.x % 32 * N; d < D; d += 32 * N) {
        gq_lane<T, N> p, k;
        float         v[N] = {};
        if (pos)
            p = gq_lane_at<N>(pos + t * D + d);
        if (cls && t == 0)
            k = gq_lane_at<N>(cls + d);
        for (int i = 0; i < N; i++)
            v[i] = (pos ? gq_load(p.x[i]) : 0.0f) + (cls && t == 0 ? gq_load(k.x[i]) : 0.0f);
        gq_lane_put<N>(out + r * D + d, false, v);
    }
}

template <class T> void start_unfold(const gq_call *c, const shape *s, int64_t first, int64_t frames)
{
    constexpr int  N = gq_between<T, T>::N;
    const uint8_t *from = (const uint8_t *)c->in[0].p + first * s->S * s->S * 3;
    T             *rows = (T *)c->work->temp;
    int64_t        lines = frames * s->side * s->p;
    channels       of;
    memcpy(of.mean, c->attr.mean, sizeof of.mean);
    memcpy(of.std, c->attr.std, sizeof of.std);
    if (s->p % N == 0 && s->S % N == 0 && (uintptr_t)from % N == 0)
        GQ_LAUNCH(gq_cuda_of(c), (unfold<T, N>), gq_blocks(lines, WARPS), BLOCK, 0, from, rows, *s, of, lines);
    else
        GQ_LAUNCH(gq_cuda_of(c), (unfold<T, 1>), gq_blocks(lines, WARPS), BLOCK, 0, from, rows, *s, of, lines);
}

template <class T> void start_start(const gq_call *c, const shape *s)
{
    constexpr int N = gq_between<T, T>::N;
    const T      *cls = (const T *)c->in[2].p, *pos = (const T *)c->in[3].p;
    T            *out = (T *)c->out[0].p;
    int64_t       rows = s->B * s->tokens;
    if (s->D % N == 0 && gq_aligned16(cls) && gq_aligned16(pos) && gq_aligned16(out))
        GQ_LAUNCH(gq_cuda_of(c), (start<T, N>), gq_blocks(rows, WARPS), BLOCK, 0, cls, pos, out, rows, s->tokens, s->D);
    else
        GQ_LAUNCH(gq_cuda_of(c), (start<T, 1>), gq_blocks(rows, WARPS), BLOCK, 0, cls, pos, out, rows, s->tokens, s->D);
}

/* Where the tokens of frame `first` begin in a buffer like `out`. */
void *at_frame(const gq_buf *b, const shape *s, int64_t first)
{
    return (char *)b->p + (size_t)(first * s->tokens * s->D) * gq_dtype_bytes(b->dtype);
}

}

extern "C" void gq_cuda_patch_embed_fwd(const gq_call *c)
{
    shape   s = shape_of(c);
    int32_t real = c->out[0].dtype;
    bool    adds = c->in[2].p || c->in[3].p;
    gq_gemm g = {};
    g.n = g.ldd = s.D;
    g.k = g.lda = g.ldb = s.K;
    g.batch = g.tb = 1;
    g.type_ab = g.type_d = g.type_bias = real;
    g.alpha = 1;
    g.beta = adds;
    if (adds)
        GQ_REAL(real, T, start_start<T>(c, &s));
    for (int64_t first = 0; first < s.B; first += s.group) {
        int64_t frames = s.B - first < s.group ? s.B - first : s.group;
        g.m = frames * s.tokens;
        GQ_REAL(real, T, start_unfold<T>(c, &s, first, frames));
        gq_cuda_gemm(gq_cuda_of(c), &g, c->work->temp, c->in[1].p, at_frame(&c->out[0], &s, first), NULL, NULL);
    }
}

extern "C" void gq_cuda_patch_embed_bwd(const gq_call *c)
{
    shape    s = shape_of(c);
    gq_cuda *d = gq_cuda_of(c);
    int32_t  real = c->dout[0].dtype;
    int64_t  size = s.tokens * s.D;
    gq_gemm  g = {};
    if (gq_nothing_arrives(c))
        return;
    if (c->din[2].p)
        gq_cuda_sum_over(d, real, c->dout[0].p, s.B, size, s.D, c->din[2].p, c->din[2].dtype, gq_adds(c, 2));
    if (c->din[3].p)
        gq_cuda_sum_over(d, real, c->dout[0].p, s.B, size, size, c->din[3].p, c->din[3].dtype, gq_adds(c, 3));
    g.m = g.lda = s.D;
    g.n = g.ldb = g.ldd = s.K;
    g.batch = g.ta = 1;
    g.type_ab = real;
    g.type_d = g.type_bias = c->din[1].dtype;
    g.alpha = 1;
    g.beta = gq_adds(c, 1);
    for (int64_t first = 0; c->din[1].p && first < s.B; first += s.group) {
        int64_t frames = s.B - first < s.group ? s.B - first : s.group;
        g.k = frames * s.tokens;
        GQ_REAL(real, T, start_unfold<T>(c, &s, first, frames));
        gq_cuda_gemm(d, &g, at_frame(&c->dout[0], &s, first), c->work->temp, c->din[1].p, NULL, NULL);
        g.beta = 1;
    }
}

/* Both directions need the operand of one group. */
extern "C" size_t gq_cuda_patch_embed_temp(const gq_call *c, int backward, int threads)
{
    shape s = shape_of(c);
    return (size_t)(s.group * s.tokens * s.K) * gq_dtype_bytes(c->in[1].dtype);
}
