/* decode.cu - attention of one query per sequence on a key/value cache: decoding, no gradient.
 *
 * kernel decode   q [B,1,..], k and v [B,Tk,..] -> o [B,1,C], or, with more than SPLIT keys, partial results.
 *                 Moves 2 D keys sizeof(T) bytes per head, each once, for 4 D keys operations: roof copy
 *                 bandwidth; with few heads the latency of one block, which keeps 2 EACH loads of 16 bytes per
 *                 thread in flight. A block owns one head and SPLIT keys; D / N lanes share a key (N elements in
 *                 16 bytes). With a table of biases by relative position they look up the key's row of it, which
 *                 is in L1. Online softmax per group of lanes over its keys in order, then the butterfly within
 *                 the warp, then warps by index.
 * kernel merge    partial results [splits][D+2] of each head, in order -> o. A few kilobytes.
 *
 * The split depends on nothing but the capacity of the cache, so neither does the result.
 */
#include "kernels/cuda/attention.h"

namespace {

enum { SPLIT = 512, WARPS = 8, EACH = 4 };        /* EACH: keys a group of lanes loads at a time  */

const float LOG2_E = 1.44269504088896340736f;

struct running {                        /* softmax over some keys: scaled maximum, sum of exp2    */
    float top, sum;
};

/* What exp2 is taken relative to: a maximum, or anything where no key is seen. */
__device__ __forceinline__ float base_of(float top) { return top == -INFINITY ? 0.0f : top; }

/* Column d of the softmax-weighted sum that n partial results [D sums, top, sum] make up. */
template <int D> __device__ __forceinline__ float merged(const float *part, int n, int d, running *r)
{
    float value = 0;
    *r = {-INFINITY, 0};
    for (int i = 0; i < n; i++)
        r->top = fmaxf(r->top, part[i * (D + 2) + D]);
    for (int i = 0; i < n; i++) {
        float weight = exp2f(part[i * (D + 2) + D] - base_of(r->top));
        r->sum = fmaf(part[i * (D + 2) + D + 1], weight, r->sum);
        value = fmaf(part[i * (D + 2) + d], weight, value);
    }
    return value;
}

template <class T, int D>
__global__ void __launch_bounds__(WARPS * 32) decode(gq_attention a, gq_attention_table t, float *partial)
{
    constexpr int N = gq_pack<T>::N, PIECES = D / N, GROUPS = WARPS * 32 / PIECES;
    GQ_SHARED(float, parts, [WARPS * (D + 2)]);
    int      pair = (int)blockIdx.x, b = pair / a.H, h = pair % a.H, warp = (int)threadIdx.x / 32;
    int      lane = (int)threadIdx.x % 32, piece = lane % PIECES, group = (int)threadIdx.x / PIECES;
    int      keys = gq_attention_keys(a, b), j0 = (int)blockIdx.y * SPLIT, end = j0 + SPLIT < keys ? j0 + SPLIT : keys;
    const T *q = (const T *)a.q + (int64_t)b * a.wq + a.qoff + h * D + piece * N;
    const T *k = (const T *)a.kv + (int64_t)b * a.Tk * a.wk + a.koff + h * D + piece * N;
    const T *v = (const T *)a.kv + (int64_t)b * a.Tk * a.wk + a.voff + h * D + piece * N;
    int      at = gq_attention_first(a, t, b);
    float    qs[N], sums[N] = {}, value;
    running  r = {-INFINITY, 0};

#pragma unroll
    for (int n = 0; n < N; n++)
        qs[n] = gq_load(q[n]) * (a.scale * LOG2_E);
    for (int first = j0; first < end; first += GROUPS * EACH) {
        gq_pack<T> ks[EACH], vs[EACH];
        bool       sees[EACH];
        float      s[EACH], top = r.top, shrink;
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            int j = first + e * GROUPS + group;
            sees[e] = j < end && gq_attention_sees(a, b, keys, 0, j);
            ks[e] = vs[e] = gq_pack<T>{};
            if (sees[e]) {
                ks[e] = gq_load16(k + j * a.wk);
                vs[e] = gq_load16(v + j * a.wk);
            }
        }
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            s[e] = 0;
#pragma unroll
            for (int n = 0; n < N; n++)
                s[e] = fmaf(qs[n], gq_load(ks[e].x[n]), s[e]);
#pragma unroll
            for (int by = PIECES / 2; by > 0; by >>= 1)
                s[e] += __shfl_xor_sync(0xffffffffu, s[e], by);
            if (t.p && sees[e])
                s[e] += gq_attention_bias<T>(a, t, h, first + e * GROUPS + group - at) * LOG2_E;
            s[e] = sees[e] ? s[e] : -INFINITY;
            top = fmaxf(top, s[e]);
        }
        shrink = exp2f(r.top - base_of(top));
        r.top = top;
        r.sum *= shrink;
#pragma unroll
        for (int n = 0; n < N; n++)
            sums[n] *= shrink;
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            float p = exp2f(s[e] - base_of(top));
            r.sum += p;
#pragma unroll
            for (int n = 0; n < N; n++)
                sums[n] = fmaf(p, gq_load(vs[e].x[n]), sums[n]);
        }
    }
#pragma unroll
    for (int by = PIECES; by < 32; by <<= 1) {            /* the groups of a warp                 */
        float top = fmaxf(r.top, __shfl_xor_sync(0xffffffffu, r.top, by)), weight = exp2f(r.top - base_of(top));
        r.top = top;
        r.sum *= weight;
        r.sum += __shfl_xor_sync(0xffffffffu, r.sum, by);
#pragma unroll
        for (int n = 0; n < N; n++) {
            sums[n] *= weight;
            sums[n] += __shfl_xor_sync(0xffffffffu, sums[n], by);
        }
    }
    if (lane < PIECES) {
#pragma unroll
        for (int n = 0; n < N; n++)
            parts[warp * (D + 2) + piece * N + n] = sums[n];
        if (piece == 0) {
            parts[warp * (D + 2) + D] = r.top;
            parts[warp * (D + 2) + D + 1] = r.sum;
        }
    }
    __syncthreads();
    if (threadIdx.x >= D)
        return;
    value = merged<D>(parts, WARPS, (int)threadIdx.x, &r);
    if (gridDim.y == 1) {
        gq_save((T *)a.o + (int64_t)b * a.C + h * D + threadIdx.x, r.sum == 0.0f ? 0.0f : value / r.sum);
        return;
    }
    partial += ((int64_t)pair * gridDim.y + blockIdx.y) * (D + 2);
    partial[threadIdx.x] = value;
    if (threadIdx.x == 0) {
        partial[D] = r.top;
        partial[D + 1] = r.sum;
    }
}

template <class T, int D> __global__ void __launch_bounds__(D) merge(gq_attention a, const float *partial, int splits)
{
    int     pair = (int)blockIdx.x;
    running r;
    float   value = merged<D>(partial + (int64_t)pair * splits * (D + 2), splits, (int)threadIdx.x, &r);
    gq_save((T *)a.o + (int64_t)pair * D + threadIdx.x, r.sum == 0.0f ? 0.0f : value / r.sum);
}

int splits_of(const gq_attention *a) { return (int)gq_blocks(a->Tk, SPLIT); }

template <class T, int D> void run(gq_cuda *d, const gq_attention *a, const gq_attention_table *t, float *partial)
{
    unsigned pairs = (unsigned)(a->B * a->H), splits = (unsigned)splits_of(a);
    GQ_LAUNCH(d, (decode<T, D>), dim3(pairs, splits), dim3(WARPS * 32), 0, *a, *t, partial);
    if (splits > 1)
        GQ_LAUNCH(d, (merge<T, D>), dim3(pairs), dim3(D), 0, *a, partial, (int)splits);
}

}  // namespace

bool gq_attention_decode_has(const gq_call *c)
{
    gq_attention a = gq_attention_of(c);
    int64_t      n = c->in[0].dtype == GQ_BF16 ? 8 : 4;
    return a.Tq == 1 && !a.lse && a.p == 0.0f && (a.D == 32 || a.D == 64 || a.D == 128) && gq_aligned16(a.kv) &&
           (a.wk | a.koff | a.voff) % n == 0;
}

void gq_attention_decode(gq_cuda *d, int32_t real, const gq_attention *a, const gq_attention_table *t, void *temp)
{
    if (a->D == 32)
        GQ_REAL(real, T, run<T, 32>(d, a, t, (float *)temp));
    else if (a->D == 64)
        GQ_REAL(real, T, run<T, 64>(d, a, t, (float *)temp));
    else
        GQ_REAL(real, T, run<T, 128>(d, a, t, (float *)temp));
}

size_t gq_attention_decode_temp(const gq_attention *a)
{
    return (size_t)a->B * (size_t)a->H * (size_t)splits_of(a) * (size_t)(a->D + 2) * sizeof(float);
}
