/* eight.h - private to kernels/cuda: eight neighbouring elements as floats, and long sums by one block.
 *
 * A sum over a row must not depend on the row's address: which thread adds which element is fixed in
 * units of eight, and only how the eight are fetched differs (16-byte accesses or one at a time).
 */
#ifndef GIFQA_KERNELS_CUDA_EIGHT_H
#define GIFQA_KERNELS_CUDA_EIGHT_H

#include "kernels/cuda/gpu.h"

/* x = p[0..8). WIDE: p is 16-byte aligned and all eight are there. Else elements from `left` on are zero. */
template <bool WIDE, class T> static __device__ __forceinline__ void gq_load8(const T *p, int64_t left, float x[8])
{
    constexpr int N = gq_pack<T>::N;
    if (WIDE) {
#pragma unroll
        for (int i = 0; i < 8; i += N) {
            gq_pack<T> v = gq_load16(p + i);
#pragma unroll
            for (int k = 0; k < N; k++)
                x[i + k] = gq_load(v.x[k]);
        }
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++)
            x[i] = i < left ? gq_load(p[i]) : 0.0f;
    }
}

template <bool WIDE, class T> static __device__ __forceinline__ void gq_save8(T *p, int64_t left, const float x[8])
{
    constexpr int N = gq_pack<T>::N;
    if (WIDE) {
#pragma unroll
        for (int i = 0; i < 8; i += N) {
            gq_pack<T> v;
#pragma unroll
            for (int k = 0; k < N; k++)
                gq_save(&v.x[k], x[i + k]);
            gq_save16(p + i, v);
        }
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++)
            if (i < left)
                gq_save(p + i, x[i]);
    }
}

/* x[0] + x[stride] + ... (n terms) in double, for blocks of GQ_SUM_THREADS; the result is thread 0's. A
 * thread adds a run of neighbours by index, then the runs are added by index: as fixed as one chain, and
 * short enough for some ten thousand terms. */
enum { GQ_SUM_THREADS = 256 };
template <class S> static __device__ double gq_sum_in_order(const S *x, int64_t n, int64_t stride)
{
    GQ_SHARED(double, run, [GQ_SUM_THREADS]);
    int64_t length = (n + GQ_SUM_THREADS - 1) / GQ_SUM_THREADS, first = threadIdx.x * length;
    double  sum = 0;
    for (int64_t i = first; i < first + length && i < n; i++)
        sum += (double)x[i * stride];
    run[threadIdx.x] = sum;
    __syncthreads();
    sum = 0;
    for (int i = 0; threadIdx.x == 0 && i < GQ_SUM_THREADS; i++)
        sum += run[i];
    return sum;
}

#endif
