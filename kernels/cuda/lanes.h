/* lanes.h - private to kernels/cuda: N neighbouring elements of T in one access, for kernels that move
 * elements between two types (activations T, gradients of parameters float).
 *
 * N is chosen so that the wider of the two types fills 16 bytes; 1 where an address or a row does not
 * allow it. A lane of 4 bf16 beside 4 floats is then 8 bytes, still one full line per warp.
 */
#ifndef GIFQA_KERNELS_CUDA_LANES_H
#define GIFQA_KERNELS_CUDA_LANES_H

#include "kernels/cuda/cuda.h"

template <class T, int N> struct alignas(sizeof(T) * N) gq_lane { T x[N]; };

/* Elements per access between S and G. */
template <class S, class G> struct gq_between {
    static constexpr int N = 16 / (sizeof(S) > sizeof(G) ? sizeof(S) : sizeof(G));
};

template <int N, class T> static __device__ __forceinline__ gq_lane<T, N> gq_lane_at(const T *p)
{
    return *reinterpret_cast<const gq_lane<T, N> *>(p);
}
template <int N, class T> static __device__ __forceinline__ void gq_lane_save(T *p, const gq_lane<T, N> &v)
{
    *reinterpret_cast<gq_lane<T, N> *>(p) = v;
}
template <int N, class T> static __device__ __forceinline__ void gq_lane_zero(T *p)
{
    gq_lane<T, N> zero;
    for (int i = 0; i < N; i++)
        gq_save(&zero.x[i], 0.0f);
    gq_lane_save<N>(p, zero);
}
/* p[0..N) = v, or += v */
template <int N, class T> static __device__ __forceinline__ void gq_lane_put(T *p, bool adds, const float v[N])
{
    gq_lane<T, N> to;
    if (adds)
        to = gq_lane_at<N>(p);
    for (int i = 0; i < N; i++)
        gq_save(&to.x[i], adds ? gq_load(to.x[i]) + v[i] : v[i]);
    gq_lane_save<N>(p, to);
}

/* Picks the types of a backward pass: S of what arrives (the backend's real), G of the gradient, which is
 * S or float. GQ_REAL2(real, S, type of the gradient, G, statement). */
#define GQ_REAL2(real, S, gradient, G, ...)                                                        \
    do {                                                                                           \
        if ((real) != GQ_BF16)          { typedef float S;   typedef float G;   __VA_ARGS__; }     \
        else if ((gradient) != GQ_BF16) { typedef gq_bf16 S; typedef float G;   __VA_ARGS__; }     \
        else                            { typedef gq_bf16 S; typedef gq_bf16 G; __VA_ARGS__; }     \
    } while (0)

static inline bool gq_adds(const gq_call *c, int k) { return (c->acc >> k & 1u) != 0; }
static inline size_t gq_dtype_bytes(int32_t dtype) { return dtype == GQ_BF16 ? 2 : 4; }

static inline void gq_cuda_zero(const gq_call *c, const gq_buf *b)
{
    gq_cuda *d = gq_cuda_of(c);
    GQ_CUDA(d, cudaMemsetAsync(b->p, 0, (size_t)gq_size(b) * gq_dtype_bytes(b->dtype), d->stream));
}

/* For ops with one output: when no gradient arrives, none leaves. */
static inline bool gq_nothing_arrives(const gq_call *c)
{
    if (c->dout[0].p)
        return false;
    for (int k = 0; k < GQ_MAX_IN; k++)
        if (c->din[k].p && !gq_adds(c, k))
            gq_cuda_zero(c, &c->din[k]);
    return true;
}

#endif
